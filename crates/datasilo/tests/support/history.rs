//! Workloads as lists of events, and what a silo must hold after any part of one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datasilo::{
    BulkSession, Durability, KeyspaceOptions, MergeOperator, MergeResult, Options, Silo, Snapshot, Strictness,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Appends operands to the value: not idempotent and not commutative, so that an operand lost,
/// doubled or out of order shows.
#[derive(Debug)]
pub struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let mut value = base.unwrap_or_default().to_vec();
        for operand in operands {
            value.extend_from_slice(operand);
        }
        Ok(value)
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(operands.concat())
    }
}

/// Options under which edges come up often.
pub fn options(segment_bytes: u64) -> Options {
    Options::new()
        .segment_bytes(segment_bytes)
        .allocate_bytes(4096)
        .region_bytes(1024)
        .background(false)
        .merge_operator(Arc::new(Append))
}

/// Keyspaces that histories use.
pub const DOCS: &str = "docs";
pub const LOG: &str = "log";
pub const EXTRA: &str = "extra";
/// Key in [`DOCS`] that holds the number of the last event that wrote, plus one.
pub const COUNTER: &[u8] = b"counter";

pub fn keyspace_options(name: &str) -> KeyspaceOptions {
    match name {
        LOG => KeyspaceOptions::new().merge_operator("append"),
        EXTRA => KeyspaceOptions::new().align(64),
        _ => KeyspaceOptions::new(),
    }
}

/// A mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put(&'static str, Vec<u8>, Vec<u8>),
    Delete(&'static str, Vec<u8>),
    Merge(&'static str, Vec<u8>, Vec<u8>),
}

impl Op {
    fn keyspace(&self) -> &'static str {
        match self {
            Self::Put(name, ..) | Self::Delete(name, ..) | Self::Merge(name, ..) => name,
        }
    }
}

/// What is done to a silo.
#[derive(Debug, Clone)]
pub enum Event {
    Open,
    Close,
    Create(&'static str),
    Drop(&'static str),
    Batch(Vec<Op>, Durability),
    Bulk(Vec<Op>),
    Sync,
    Checkpoint,
    Compact,
    Backup,
    /// Stands for an event that a crash undid.
    Undone,
}

impl Event {
    /// Changes values.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Batch(..) | Self::Bulk(_))
    }

    /// Changes which keyspaces there are.
    pub fn is_structural(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Drop(_))
    }

    /// When acknowledged, everything written before it and by it survives a loss of power.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Batch(_, durability) => *durability == Durability::Power,
            Self::Bulk(_) | Self::Sync | Self::Close => true,
            _ => false,
        }
    }
}

/// Values by keyspace and key.
pub type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Applies mutations, and the counter, to a model.
pub fn apply(contents: &mut Contents, ops: &[Op], counter: usize) {
    for op in ops {
        let Some(keyspace) = contents.get_mut(op.keyspace()) else {
            continue;
        };
        match op {
            Op::Put(_, key, value) => _ = keyspace.insert(key.clone(), value.clone()),
            Op::Delete(_, key) => _ = keyspace.remove(key),
            Op::Merge(_, key, operand) => keyspace.entry(key.clone()).or_default().extend(operand),
        }
    }
    let docs = contents.get_mut(DOCS).expect("events that write come after the keyspaces");
    docs.insert(COUNTER.to_vec(), (counter as u64).to_le_bytes().to_vec());
}

/// What a silo holds if of these events, those that write are there up to `written` and those
/// that are structural up to `structural`.
pub fn contents_after(events: &[Event], written: usize, structural: usize) -> Contents {
    let mut contents = Contents::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Create(name) if at < structural => {
                contents.entry((*name).to_owned()).or_default();
            }
            Event::Drop(name) if at < structural => _ = contents.remove(*name),
            Event::Batch(ops, _) | Event::Bulk(ops) if at < written => {
                apply(&mut contents, ops, at + 1);
            }
            _ => {}
        }
    }
    contents
}

/// Everything a snapshot holds, by scan, and each key again by look-up.
pub fn dump(snapshot: &Snapshot) -> Result<Contents, String> {
    let mut contents = Contents::new();
    for keyspace in snapshot.keyspaces() {
        let values = contents.entry(keyspace.name().to_owned()).or_default();
        for entry in snapshot.iter(&keyspace).map_err(|e| format!("scan: {e}"))? {
            let (key, value) = entry.map_err(|e| format!("scan of {}: {e}", keyspace.name()))?;
            let found = snapshot.get(&keyspace, key).map_err(|e| format!("get {key:?}: {e}"))?;
            if found.as_deref() != Some(&*value) {
                return Err(format!("{}: scan and look-up of {key:?} disagree", keyspace.name()));
            }
            if values.insert(key.to_vec(), value.into_owned()).is_some() {
                return Err(format!("{}: the scan has {key:?} twice", keyspace.name()));
            }
        }
        for key in (0..24).map(nth_key) {
            let found = snapshot.get(&keyspace, &key).map_err(|e| format!("get {key:?}: {e}"))?;
            if found.as_deref() != values.get(&key).map(Vec::as_slice) {
                return Err(format!("{}: look-up and scan of {key:?} disagree", keyspace.name()));
            }
        }
    }
    Ok(contents)
}

/// The event up to which contents were written, by their own account.
pub fn counter_of(contents: &Contents) -> usize {
    let value = contents.get(DOCS).and_then(|docs| docs.get(COUNTER));
    value.map_or(0, |bytes| {
        u64::from_le_bytes(bytes.as_slice().try_into().expect("the counter has 8 bytes")) as usize
    })
}

/// Says where two contents differ, in one line.
pub fn difference(found: &Contents, expected: &Contents) -> String {
    for (name, values) in expected {
        let Some(other) = found.get(name) else {
            return format!("keyspace {name} is missing");
        };
        for (key, value) in values {
            match other.get(key) {
                Some(other) if other == value => {}
                Some(other) => {
                    return format!("{name}/{key:?}: {} bytes, expected {}", other.len(), value.len());
                }
                None => return format!("{name}/{key:?} is missing"),
            }
        }
        if let Some(key) = other.keys().find(|key| !values.contains_key(*key)) {
            return format!("{name}/{key:?} should not be there");
        }
    }
    let strange = found.keys().find(|name| !expected.contains_key(*name));
    strange.map_or_else(|| "none".to_owned(), |name| format!("keyspace {name} should not be there"))
}

/// Commits mutations as one batch.
pub fn commit(silo: &Silo, ops: &[Op], counter: usize, durability: Durability) -> datasilo::Result<u64> {
    let mut batch = silo.batch();
    for op in ops {
        match op {
            Op::Put(name, key, value) => batch.put(&silo.keyspace(name)?, key, value)?,
            Op::Delete(name, key) => batch.delete(&silo.keyspace(name)?, key)?,
            Op::Merge(name, key, operand) => batch.merge(&silo.keyspace(name)?, key, operand)?,
        }
    }
    batch.put(&silo.keyspace(DOCS)?, COUNTER, (counter as u64).to_le_bytes())?;
    let ops = batch.len();
    let result = silo.commit(&mut batch, durability);
    match &result {
        Ok(_) => assert!(batch.is_empty()),
        Err(_) => assert!(batch.len() == ops || batch.is_empty(), "a failed batch is whole"),
    }
    result
}

/// Loads mutations in one bulk session.
pub fn bulk(silo: &Silo, ops: &[Op], counter: usize) -> datasilo::Result<()> {
    let keyspaces = silo.keyspaces();
    let all: Vec<_> = keyspaces.iter().collect();
    let session: BulkSession<'_> = silo.bulk(&all)?;
    let mut writer = session.writer();
    for op in ops {
        match op {
            Op::Put(name, key, value) => writer.put(&silo.keyspace(name)?, key, value)?,
            Op::Delete(name, key) => writer.delete(&silo.keyspace(name)?, key)?,
            Op::Merge(name, key, operand) => writer.merge(&silo.keyspace(name)?, key, operand)?,
        }
    }
    writer.put(&silo.keyspace(DOCS)?, COUNTER, (counter as u64).to_le_bytes())?;
    writer.close()?;
    session.finish().map(|_| ())
}

/// Where event number `at` puts a backup of a silo.
pub fn backup_dir(silo: &Path, at: usize) -> PathBuf {
    silo.with_file_name(format!("backup-{at}"))
}

/// Does event number `at` of a history to a silo in `dir`.
pub fn perform(
    silo: &mut Option<Silo>,
    dir: &Path,
    options: &Options,
    at: usize,
    event: &Event,
) -> datasilo::Result<()> {
    let open = silo.as_ref();
    let open = || open.expect("the silo is open");
    match event {
        Event::Open => *silo = Some(Silo::open(dir, options.clone())?),
        Event::Close => silo.take().expect("the silo is open").close()?,
        Event::Create(name) => _ = open().create_keyspace(name, &keyspace_options(name))?,
        Event::Drop(name) => open().drop_keyspace(name)?,
        Event::Batch(ops, durability) => _ = commit(open(), ops, at + 1, *durability)?,
        Event::Bulk(ops) => bulk(open(), ops, at + 1)?,
        Event::Sync => open().sync()?,
        Event::Checkpoint => _ = open().checkpoint()?,
        Event::Compact => _ = open().compact()?,
        Event::Backup => {
            open().backup(backup_dir(dir, at))?;
        }
        Event::Undone => unreachable!("it is never done"),
    }
    Ok(())
}

/// Opens, checks and reads a silo that must be whole.
pub fn open_and_dump(dir: &Path, options: &Options) -> Result<(Silo, Contents), String> {
    let silo = Silo::open(dir, options.clone()).map_err(|e| format!("open: {e}"))?;
    let report = silo.check(Strictness::Strict).map_err(|e| format!("check: {e}"))?;
    if !report.is_clean() {
        return Err(format!("check: {:?}", report.problems));
    }
    let contents = dump(&silo.snapshot())?;
    Ok((silo, contents))
}

/// One of the keys that random histories use.
fn nth_key(number: u32) -> Vec<u8> {
    match number {
        23 => vec![7; 300],
        _ => format!("key-{number}").into_bytes(),
    }
}

/// Makes histories.
#[derive(Debug)]
pub struct Generator {
    rng: StdRng,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(3000..9000),
            1..=3 => 0,
            _ => self.rng.random_range(1..120),
        };
        let first: u8 = self.rng.random();
        (0..len).map(|at: usize| first.wrapping_add((at / 7) as u8)).collect()
    }

    fn key(&mut self) -> Vec<u8> {
        nth_key(self.rng.random_range(0..24))
    }

    /// Some mutations, of keyspaces that are there.
    pub fn ops(&mut self, count: usize, extra: bool) -> Vec<Op> {
        (0..count)
            .map(|_| {
                let name = match self.rng.random_range(0..if extra { 10 } else { 8 }) {
                    0..4 => DOCS,
                    4..8 => LOG,
                    _ => EXTRA,
                };
                match self.rng.random_range(0..10) {
                    0..2 => Op::Delete(name, self.key()),
                    2..8 if name == LOG => {
                        let len = self.rng.random_range(1..30);
                        Op::Merge(name, self.key(), vec![self.rng.random(); len])
                    }
                    _ => Op::Put(name, self.key(), self.value()),
                }
            })
            .collect()
    }

    /// The next event of a silo that is open and, if `extra`, has that keyspace.
    pub fn event(&mut self, extra: bool) -> Event {
        match self.rng.random_range(0..100) {
            0..6 => Event::Checkpoint,
            6..10 => Event::Compact,
            10..14 => {
                let count = self.rng.random_range(1..40);
                Event::Bulk(self.ops(count, extra))
            }
            24 => Event::Backup,
            14..18 => {
                if extra {
                    Event::Drop(EXTRA)
                } else {
                    Event::Create(EXTRA)
                }
            }
            18..21 => Event::Sync,
            21..24 => Event::Close,
            _ => {
                let durable = self.rng.random_range(0..3) == 0;
                let durability = if durable { Durability::Power } else { Durability::Process };
                let count = self.rng.random_range(0..8);
                Event::Batch(self.ops(count, extra), durability)
            }
        }
    }

    /// A history of about `count` events, from nothing.
    pub fn history(&mut self, count: usize) -> Vec<Event> {
        let mut events = vec![Event::Open, Event::Create(DOCS), Event::Create(LOG)];
        let mut extra = false;
        while events.len() < count {
            let event = self.event(extra);
            match event {
                Event::Create(EXTRA) => extra = true,
                Event::Drop(EXTRA) => extra = false,
                _ => {}
            }
            let closed = matches!(event, Event::Close);
            events.push(event);
            if closed {
                events.push(Event::Open);
            }
        }
        events.push(Event::Close);
        events
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }
}
