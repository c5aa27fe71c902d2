//! Small silos of known content, and ways to damage them.
//!
//! A [`Specimen`] is the files of a silo in memory together with its history: what every key held
//! after each commit. Tests put the files into a directory, damage them, and compare what the
//! engine says with the history. Every test file uses a part of this module.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datasilo::{
    Durability, Error, Keyspace, KeyspaceOptions, MergeOperator, MergeResult, Options, RepairReport, Silo,
    SiloReader, Snapshot, Strictness, repair,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Names of the keyspaces: no settings, values aligned to 64 bytes, merges.
pub(crate) const KEYSPACES: [&str; 3] = ["plain", "wide", "log"];
/// The keyspace with a merge operator.
pub(crate) const MERGED: &str = "log";

/// Appends operands to values.
#[derive(Debug)]
pub(crate) struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok([base.unwrap_or_default(), &operands.concat()].concat())
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(operands.concat())
    }
}

/// Tiny segments, nothing in the background.
pub(crate) fn options() -> Options {
    Options::new()
        .segment_bytes(16 << 10)
        .allocate_bytes(4096)
        .region_bytes(1024)
        .merge_operator(Arc::new(Append))
        .background(false)
        .create(false)
}

/// The settings of a keyspace.
pub(crate) fn keyspace_options(name: &str) -> KeyspaceOptions {
    match name {
        "wide" => KeyspaceOptions::new().align(64),
        MERGED => KeyspaceOptions::new().merge_operator("append"),
        _ => KeyspaceOptions::new(),
    }
}

/// Keyspace and key.
pub(crate) type Key = (&'static str, Vec<u8>);
/// What every key holds at one moment.
pub(crate) type State = BTreeMap<Key, Vec<u8>>;
/// Name and bytes of every file.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A directory in memory, if there is such a thing.
pub(crate) fn scratch() -> tempfile::TempDir {
    let fast = Path::new("/dev/shm");
    if fast.is_dir() { tempfile::tempdir_in(fast).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The files of a directory.
pub(crate) fn read_files(dir: &Path) -> Files {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Makes a directory hold exactly these files.
pub(crate) fn write_files(dir: &Path, files: &Files) {
    std::fs::create_dir_all(dir).unwrap();
    let present = read_files(dir);
    for name in present.keys().filter(|name| !files.contains_key(*name)) {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    for (name, bytes) in files {
        if present.get(name) != Some(bytes) {
            // A new file each time: nobody's mapping of the old one may change under it.
            let _ = std::fs::remove_file(dir.join(name));
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }
}

/// How a silo came to its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A few commits, never checkpointed before the end.
    Log,
    /// Several checkpoints with overwrites, deletes and chains between them, and a log tail.
    Layers,
    /// A bulk session over older values, then commits.
    Bulk,
    /// Overwrites, compacted, then commits.
    Compacted,
}

/// All shapes.
pub(crate) const SHAPES: [Shape; 4] = [Shape::Log, Shape::Layers, Shape::Bulk, Shape::Compacted];

/// How a silo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Closed.
    Closed,
    /// The process was killed.
    Killed,
}

/// Both ends.
pub(crate) const ENDS: [End; 2] = [End::Closed, End::Killed];

/// A silo's files and history.
pub(crate) struct Specimen {
    pub(crate) shape: Shape,
    pub(crate) end: End,
    pub(crate) files: Files,
    /// The state after each commit.
    pub(crate) history: Vec<State>,
    /// Every value that a commit gave to a key, also if the same commit replaced it.
    pub(crate) puts: BTreeSet<(Key, Vec<u8>)>,
    /// Position in `history` of the last commit that was made durable.
    pub(crate) durable: usize,
    /// Commits that were not durable may be gone without a trace: the end of the log was cut off.
    pub(crate) may_be_short: bool,
    /// Files as they were at earlier moments.
    pub(crate) earlier: Vec<Files>,
}

/// Writes a silo and notes what it should hold.
struct Author {
    silo: Silo,
    spaces: Vec<Keyspace>,
    rng: SmallRng,
    history: Vec<State>,
    puts: BTreeSet<(Key, Vec<u8>)>,
    durable: usize,
    token: u32,
}

impl Author {
    fn new(dir: &Path, seed: u64) -> Self {
        let silo = Silo::open(dir, options().create(true)).unwrap();
        let spaces = KEYSPACES
            .iter()
            .map(|name| silo.create_keyspace(name, &keyspace_options(name)).unwrap())
            .collect();
        Self {
            silo,
            spaces,
            rng: SmallRng::seed_from_u64(seed),
            history: vec![State::new()],
            puts: BTreeSet::new(),
            durable: 0,
            token: 0,
        }
    }

    fn key(space: &str, number: u32) -> Vec<u8> {
        match number {
            // One key longer than one byte can say.
            13 => format!("{space}-{number:03}-{}", "k".repeat(260)).into_bytes(),
            _ => format!("{space}-{number:03}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        self.token += 1;
        let len = match self.rng.random_range(0..40) {
            0..6 => 0,
            6 => 4096 + self.rng.random_range(1..3000),
            7 => 9000,
            _ => self.rng.random_range(1..60),
        };
        let mut value = format!("{:05}:", self.token).into_bytes();
        value.resize(len.max(if len == 0 { 0 } else { 6 }), b'v');
        if len == 0 {
            value.clear();
        }
        value
    }

    /// An operand that can be told from all others.
    fn operand(&mut self) -> Vec<u8> {
        self.token += 1;
        format!("<{:05}>", self.token).into_bytes()
    }

    /// Commits a batch over keys `keys`.
    fn commit(&mut self, keys: Range<u32>, ops: usize, durability: Durability) {
        let mut batch = self.silo.batch();
        let mut state = self.history.last().unwrap().clone();
        for _ in 0..ops {
            let at = self.rng.random_range(0..KEYSPACES.len());
            let name = KEYSPACES[at];
            let key = Self::key(name, self.rng.random_range(keys.clone()));
            let space = self.spaces[at].clone();
            match self.rng.random_range(0..10) {
                0 | 1 => {
                    batch.delete(&space, &key).unwrap();
                    state.remove(&(name, key));
                }
                2..8 if name == MERGED => {
                    let operand = self.operand();
                    batch.merge(&space, &key, &operand).unwrap();
                    state.entry((name, key)).or_default().extend(operand);
                }
                _ => {
                    let value = if name == MERGED { self.operand() } else { self.value() };
                    batch.put(&space, &key, &value).unwrap();
                    self.puts.insert(((name, key.clone()), value.clone()));
                    state.insert((name, key), value);
                }
            }
        }
        self.silo.commit(&mut batch, durability).unwrap();
        self.history.push(state);
        if durability == Durability::Power {
            self.durable = self.history.len() - 1;
        }
    }

    fn bulk(&mut self, keys: Range<u32>) {
        let silo = &self.silo;
        let all: Vec<&Keyspace> = self.spaces.iter().collect();
        let session = silo.bulk(&all).unwrap();
        let mut writer = session.writer();
        let mut state = self.history.last().unwrap().clone();
        for number in keys {
            for (at, name) in KEYSPACES.into_iter().enumerate() {
                let key = Self::key(name, number);
                self.token += 1;
                let value = format!("<{:05}>", self.token).into_bytes();
                if name == MERGED {
                    writer.merge(&self.spaces[at], &key, &value).unwrap();
                    state.entry((name, key)).or_default().extend(value);
                } else if number % 7 == 3 {
                    writer.delete(&self.spaces[at], &key).unwrap();
                    state.remove(&(name, key));
                } else {
                    writer.put(&self.spaces[at], &key, &value).unwrap();
                    self.puts.insert(((name, key.clone()), value.clone()));
                    state.insert((name, key), value);
                }
            }
        }
        writer.close().unwrap();
        session.finish().unwrap();
        self.history.push(state);
        self.durable = self.history.len() - 1;
    }

    fn checkpoint(&mut self) {
        self.silo.checkpoint().unwrap();
        self.durable = self.history.len() - 1;
    }
}

impl Specimen {
    /// Makes a silo. The same arguments make the same content, with other random ids.
    pub(crate) fn new(shape: Shape, end: End, seed: u64) -> Self {
        let dir = scratch();
        let path = dir.path().join("silo");
        let mut author = Author::new(&path, seed);
        let mut earlier = Vec::new();
        let (process, power) = (Durability::Process, Durability::Power);
        match shape {
            Shape::Log => {
                author.commit(0..20, 12, process);
                author.commit(0..20, 12, power);
                earlier.push(read_files(&path));
                author.commit(0..30, 12, process);
            }
            Shape::Layers => {
                for round in 0..3 {
                    author.commit(0..24, 20 >> round, process);
                    author.commit(0..24, 10 >> round, process);
                    author.checkpoint();
                    earlier.push(read_files(&path));
                }
                author.commit(0..24, 8, power);
                author.commit(0..24, 8, process);
            }
            Shape::Bulk => {
                author.commit(0..20, 20, process);
                author.bulk(5..25);
                earlier.push(read_files(&path));
                author.commit(0..24, 10, power);
            }
            Shape::Compacted => {
                for _ in 0..4 {
                    author.commit(0..12, 16, process);
                    author.checkpoint();
                }
                earlier.push(read_files(&path));
                author.silo.compact().unwrap();
                earlier.push(read_files(&path));
                author.commit(0..12, 6, power);
                author.commit(0..24, 6, process);
            }
        }
        // Commits that no sync covers: what a loss of power may take.
        author.commit(0..24, 6, process);
        author.commit(0..24, 6, process);
        let Author { silo, history, puts, mut durable, .. } = author;
        let files = match end {
            End::Killed => {
                let files = read_files(&path);
                drop(silo);
                files
            }
            End::Closed => {
                silo.close().unwrap();
                durable = history.len() - 1;
                read_files(&path)
            }
        };
        Self { shape, end, files, history, puts, durable, may_be_short: false, earlier }
    }

    /// What the keys hold in the end.
    pub(crate) fn last(&self) -> &State {
        self.history.last().unwrap()
    }

    /// Every key that ever was, and some that never were.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.history.iter().flat_map(|state| state.keys().cloned()).collect();
        for space in KEYSPACES {
            keys.extend((900..904).map(|number| (space, Author::key(space, number))));
            keys.push((space, Vec::new()));
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// The segments, by name.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.files.iter().filter(|(name, _)| name.starts_with("seg-"))
    }
}

/// What reading everything gave.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What each key that could be read held; `None`: absent.
    pub(crate) values: BTreeMap<Key, Option<Vec<u8>>>,
    /// Entries of complete iterations, by keyspace.
    pub(crate) listed: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Errors met.
    pub(crate) errors: Vec<Error>,
    /// Contradictions.
    pub(crate) wrong: Vec<String>,
}

/// Reads all keys in several ways.
pub(crate) fn read_all(snapshot: &Snapshot, keys: &[Key]) -> Reading {
    let mut reading = Reading::default();
    for name in KEYSPACES {
        let space = match snapshot.keyspace(name) {
            Ok(space) => space,
            Err(error) => {
                reading.wrong.push(format!("keyspace {name} is gone: {error}"));
                continue;
            }
        };
        let own: Vec<&Key> = keys.iter().filter(|(space, _)| *space == name).collect();
        for key in &own {
            match snapshot.get(&space, &key.1) {
                Ok(value) => {
                    reading.values.insert((*key).clone(), value.map(Cow::into_owned));
                }
                Err(error) => reading.errors.push(error),
            }
        }
        let raw: Vec<&[u8]> = own.iter().map(|key| key.1.as_slice()).collect();
        match snapshot.multi_get(&space, &raw) {
            Ok(values) => {
                for (key, value) in own.iter().zip(values) {
                    if reading.values.get(*key) != Some(&value.map(Cow::into_owned)) {
                        reading.wrong.push(format!("multi_get and get differ on {name} {}", brief(&key.1)));
                    }
                }
            }
            Err(error) => reading.errors.push(error),
        }
        let mut listed = BTreeMap::new();
        let mut complete = true;
        match snapshot.iter(&space) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok((key, value)) => {
                            if listed.insert(key.to_vec(), value.into_owned()).is_some() {
                                reading.wrong.push(format!("{name} lists a key twice"));
                            }
                        }
                        Err(error) => {
                            complete = false;
                            reading.errors.push(error);
                        }
                    }
                }
            }
            Err(error) => {
                complete = false;
                reading.errors.push(error);
            }
        }
        for (key, value) in &listed {
            if let Some(got) = reading.values.get(&(name, key.clone()))
                && got.as_ref() != Some(value)
            {
                reading.wrong.push(format!("iter and get differ on {name} {}", brief(key)));
            }
        }
        if complete {
            reading.listed.insert(name, listed.clone());
        }
        let mut visited = BTreeMap::new();
        let walked = snapshot.for_each(&space, |key, value| {
            visited.insert(key.to_vec(), value.into_owned());
            Ok::<(), Error>(())
        });
        match walked {
            Ok(()) if complete && visited != listed => {
                reading.wrong.push(format!("iter and for_each differ on {name}"));
            }
            Ok(()) => {}
            Err(error) => reading.errors.push(error),
        }
    }
    reading
}

impl Reading {
    /// What is wrong if the silo should hold this state, errors aside.
    pub(crate) fn differences(&self, state: &State) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        for (key, got) in &self.values {
            if got.as_ref() != state.get(key) {
                wrong.push(format!(
                    "{} {} is {} and not {}",
                    key.0,
                    brief(&key.1),
                    show(got.as_ref()),
                    show(state.get(key))
                ));
            }
        }
        for (name, listed) in &self.listed {
            let expected: BTreeMap<&[u8], &[u8]> = state
                .iter()
                .filter(|(k, _)| k.0 == *name)
                .map(|(k, v)| (k.1.as_slice(), v.as_slice()))
                .collect();
            let listed: BTreeMap<&[u8], &[u8]> =
                listed.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
            if listed != expected {
                wrong.push(format!(
                    "iter lists {} entries of {name}, {} are right",
                    listed.len(),
                    expected.len()
                ));
            }
        }
        wrong
    }
}

fn brief(key: &[u8]) -> String {
    format!("{:.16}", key.escape_ascii().to_string())
}

fn show(value: Option<&Vec<u8>>) -> String {
    value.map_or_else(
        || "absent".to_owned(),
        |v| format!("{:.24} ({} bytes)", v.escape_ascii().to_string(), v.len()),
    )
}

/// What opening and reading a damaged silo came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything as it was.
    Right,
    /// Some error, and nothing wrong.
    Refused,
    /// A torn tail: a whole prefix of the commits.
    Torn,
    /// A wrong answer, in words.
    Wrong(String),
}

impl Specimen {
    /// Judges what was read. `dropped` is what recovery reported; a reader does not report it.
    pub(crate) fn judge(&self, reading: &Reading, dropped: Option<u64>) -> Outcome {
        let differences = reading.differences(self.last());
        if differences.is_empty() {
            return if reading.errors.is_empty() { Outcome::Right } else { Outcome::Refused };
        }
        if self.end == End::Killed && (self.may_be_short || dropped != Some(0)) {
            let prefix = (self.durable..self.history.len())
                .any(|at| reading.differences(&self.history[at]).is_empty());
            if prefix {
                return Outcome::Torn;
            }
        }
        Outcome::Wrong(format!("{} (dropped {dropped:?})", differences.join("; ")))
    }

    /// Opens read-only, reads everything, checks.
    pub(crate) fn try_reading(&self, dir: &Path, keys: &[Key]) -> Outcome {
        let reader = match SiloReader::open(dir, options()) {
            Ok(reader) => reader,
            Err(error) => return refusal(&error),
        };
        let snapshot = reader.snapshot();
        let reading = read_all(&snapshot, keys);
        let outcome = self.judge(&reading, None);
        match reader.check(Strictness::Lenient) {
            Ok(report) => with_check(outcome, &reading, report.problems.len()),
            Err(error) => Outcome::Wrong(format!("a lenient check failed: {error}")),
        }
    }

    /// Opens for writing, reads everything, checks.
    pub(crate) fn try_writing(&self, dir: &Path, keys: &[Key]) -> Outcome {
        let silo = match Silo::open(dir, options()) {
            Ok(silo) => silo,
            Err(error) => return refusal(&error),
        };
        let reading = read_all(&silo.snapshot(), keys);
        let outcome = self.judge(&reading, Some(silo.recovery().dropped_bytes));
        match silo.check(Strictness::Lenient) {
            Ok(report) => with_check(outcome, &reading, report.problems.len()),
            Err(error) => Outcome::Wrong(format!("a lenient check failed: {error}")),
        }
    }

    /// Repairs, opens, checks and reads everything. `damaged` are the stretches of files that were
    /// hit, and so may be lost.
    pub(crate) fn try_repair(
        &self,
        dir: &Path,
        keys: &[Key],
        damaged: &Damage,
    ) -> Result<RepairReport, String> {
        let report = repair(dir, &options()).map_err(|error| format!("repair failed: {error}"))?;
        let silo = Silo::open(dir, options())
            .map_err(|error| format!("open after repair failed: {error} {report:?}"))?;
        silo.check(Strictness::Strict)
            .map_err(|error| format!("check after repair failed: {error} {report:?}"))?;
        let reading = read_all(&silo.snapshot(), keys);
        if let Some(error) = reading.errors.first() {
            return Err(format!("reading after repair failed: {error} {report:?}"));
        }
        if let Some(wrong) = reading.wrong.first() {
            return Err(format!("{wrong} {report:?}"));
        }
        if self.may_be_short && self.judge(&reading, None) == Outcome::Torn {
            return Ok(report);
        }
        let reported = report.lost_bytes > 0 || !report.missing_files.is_empty();
        for (key, got) in &reading.values {
            if got.as_ref() == self.last().get(key) {
                continue;
            }
            let story = format!("{} {} is {} {report:?}", key.0, brief(&key.1), show(got.as_ref()));
            if !reported {
                return Err(format!("changed without a report: {story}"));
            }
            if !damaged.hits(&self.files, &key.1, self.end == End::Killed) {
                return Err(format!("changed though no frame of it was hit: {story}"));
            }
            let once = match got {
                None => true, // every key was absent once
                Some(value) if key.0 == MERGED => is_selection(value),
                Some(value) => self.puts.contains(&(key.clone(), value.clone())),
            };
            if !once {
                return Err(format!("was never committed: {story}"));
            }
        }
        Ok(report)
    }
}

/// True if a value of the merge keyspace consists of whole operands in the order of their commits:
/// what remains when some are lost.
fn is_selection(value: &[u8]) -> bool {
    let tokens: Vec<&[u8]> = value.chunks(7).collect();
    tokens.iter().all(|t| t.len() == 7 && t[0] == b'<' && t[6] == b'>')
        && tokens.windows(2).all(|w| w[0] < w[1])
}

/// Damage is an error of these kinds, and says where it is.
fn refusal(error: &Error) -> Outcome {
    match error {
        Error::Corrupt(_)
        | Error::UnsupportedVersion { .. }
        | Error::UnsupportedFeatures { .. }
        | Error::NotASilo { .. }
        | Error::OperatorMissing { .. } => Outcome::Refused,
        other => Outcome::Wrong(format!("damage gave {other:?}")),
    }
}

/// A check finds what reads ran into.
fn with_check(outcome: Outcome, reading: &Reading, problems: usize) -> Outcome {
    if problems == 0
        && let Some(error) = reading.errors.first()
    {
        return Outcome::Wrong(format!("a lenient check did not find what a read ran into: {error}"));
    }
    if let Some(other) = reading.errors.iter().find(|error| !matches!(error, Error::Corrupt(_))) {
        return Outcome::Wrong(format!("a read of damage gave {other:?}"));
    }
    outcome
}

/// Where a silo was damaged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Damage {
    /// File and stretch.
    pub(crate) hits: Vec<(String, Range<usize>)>,
}

impl Damage {
    /// One byte.
    pub(crate) fn at(name: &str, offset: usize) -> Self {
        Self { hits: vec![(name.to_owned(), offset..offset + 1)] }
    }

    /// True if a frame of this key lies in a group that was hit: frames of a group are found one
    /// after the other, so damage can hide those behind it. Or in a batch that was hit: at the end of
    /// a log that was not sealed it does not count by halves.
    fn hits(&self, files: &Files, key: &[u8], by_batch: bool) -> bool {
        self.hits.iter().any(|(name, range)| {
            let Some(bytes) = files.get(name).filter(|_| name.starts_with("seg-")) else {
                return false;
            };
            let stretches = if by_batch { batches(bytes) } else { groups(bytes) };
            stretches
                .into_iter()
                .filter(|group| group.start < range.end && range.start < group.end)
                .any(|group| memchr(&bytes[group], key))
        })
    }
}

fn memchr(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len().max(1)).any(|window| window == needle)
}

/// The groups of an undamaged segment; see the format page.
pub(crate) fn groups(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = 64;
    while bytes.get(at..at + 4) == Some(b"SGRP") {
        let words = u32::from_le_bytes(bytes[at + 20..at + 24].try_into().unwrap());
        let end = at + 40 + words as usize * 8;
        groups.push(at..end);
        at = end;
    }
    groups
}

/// The batches of an undamaged segment; see the format page.
pub(crate) fn batches(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    for group in groups(bytes) {
        match batches.last_mut() {
            Some(batch) if bytes[group.start + 37] & 1 == 0 => batch.end = group.end,
            _ => batches.push(group),
        }
    }
    batches
}

/// Runs cases one after the other; ends the process if one hangs.
pub(crate) struct Cases {
    started: Instant,
    budget: Duration,
    current: Arc<AtomicU64>,
    failures: Vec<String>,
    pub(crate) count: u64,
}

/// A case may take this long, on a machine with other things to do.
const HANG: Duration = Duration::from_mins(1);

impl Cases {
    pub(crate) fn new(default_seconds: u64) -> Self {
        let current = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&current);
        std::thread::spawn(move || {
            let mut before = 0;
            loop {
                std::thread::sleep(HANG);
                let Some(current) = watched.upgrade() else {
                    return;
                };
                let now = current.load(Ordering::Relaxed);
                if now == before && now != 0 {
                    eprintln!("case {now} hangs");
                    std::process::abort();
                }
                before = now;
            }
        });
        Self {
            started: Instant::now(),
            budget: Duration::from_secs(seconds(default_seconds)),
            current,
            failures: Vec::new(),
            count: 0,
        }
    }

    /// True if there is time for another case.
    pub(crate) fn go_on(&self) -> bool {
        self.started.elapsed() < self.budget && self.failures.len() < 20
    }

    /// Runs a case; an error or a panic is a failure.
    pub(crate) fn run(&mut self, name: impl FnOnce() -> String, case: impl FnOnce() -> Result<(), String>) {
        self.count += 1;
        self.current.store(self.count, Ordering::Relaxed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(case));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(what)) => self.failures.push(format!("{}: {what}", name())),
            Err(_) => self.failures.push(format!("{}: panicked", name())),
        }
    }

    /// Fails the test if any case did.
    pub(crate) fn finish(self) {
        println!("{} cases in {:?}", self.count, self.started.elapsed());
        assert!(self.failures.is_empty(), "{} failures:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

/// Seconds that a test may take: a campaign gives more.
pub(crate) fn seconds(default: u64) -> u64 {
    std::env::var("SILO_CAMPAIGN_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

/// The seed of everything random in a test.
pub(crate) fn seed() -> u64 {
    std::env::var("SILO_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// A path that the specimen is put at again and again.
pub(crate) struct Bench {
    _dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = scratch();
        let path = dir.path().join("silo");
        Self { _dir: dir, path }
    }
}

/// An error unless the outcome is allowed.
pub(crate) fn demand(outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Wrong(what) => Err(what),
        _ => Ok(()),
    }
}
