//! Several processes at one silo: one writer, readers beside it, and sudden ends of either.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_for_each,
    clippy::format_push_string,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "a test stops at the first surprise, its numbers are small, and it tells one story"
)]

mod support_model;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use datasilo::{
    Durability, Error, IntKey, Keyspace, KeyspaceOptions, Silo, SiloReader, Snapshot, Strictness,
};

use support_model::children::{Role, asked_to_end, role, say};
use support_model::{campaign, dirs, tiny, tiny_with_maintenance};

const ENTRY: &str = "child_plays_the_role_that_it_is_given";
/// Keys that every batch sets to its token, in each of two keyspaces.
const GROUP: u64 = 10;
const BULK_KEYS: u64 = 30;

/// What the children do; nothing in the test run itself.
#[test]
fn child_plays_the_role_that_it_is_given() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "hold" => {
            let _silo = Silo::open(&dir, tiny()).unwrap();
            say("ready");
            let ended = asked_to_end();
            while !ended() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        "write" => {
            let silo = Silo::open(&dir, tiny_with_maintenance()).unwrap();
            let mut writer = Writer::new(&silo);
            for round in 0u64.. {
                let token = writer.step(round);
                say(token);
            }
        }
        "read" => {
            let ended = asked_to_end();
            let reader = SiloReader::open(&dir, tiny()).unwrap();
            let mut last = State::default();
            let mut refreshes = 0u64;
            say("ready");
            while !ended() {
                reader.refresh().unwrap();
                let state = State::of(&reader.snapshot());
                assert!(state.token >= last.token && state.bulk >= last.bulk, "{state:?} after {last:?}");
                last = state;
                refreshes += 1;
            }
            say(format!("{refreshes} {}", last.token));
        }
        "look" => {
            let reader = SiloReader::open(&dir, tiny()).unwrap();
            reader.check(Strictness::Strict).unwrap();
            reader.refresh().unwrap();
            say(State::of(&reader.snapshot()).token);
            assert!(reader.promote().is_err(), "a read-only directory has no writer");
        }
        other => panic!("no role is called {other:?}"),
    }
}

/// Keyspaces of the tests.
struct Keyspaces {
    groups: [Keyspace; 2],
    log: Keyspace,
    bulk: Keyspace,
}

impl Keyspaces {
    fn create(silo: &Silo) -> Self {
        let create = |name: &str, options: KeyspaceOptions| silo.create_keyspace(name, &options).unwrap();
        Self {
            groups: [create("a", KeyspaceOptions::new()), create("b", KeyspaceOptions::new().align(16))],
            log: create("log", KeyspaceOptions::new().merge_operator("append")),
            bulk: create("bulk", KeyspaceOptions::new()),
        }
    }
}

/// Commits batches that set every key of the group to a token and append it to a log, with
/// checkpoints, compactions and bulk sessions in between.
struct Writer<'s> {
    silo: &'s Silo,
    keyspaces: Keyspaces,
    token: u64,
}

impl<'s> Writer<'s> {
    fn new(silo: &'s Silo) -> Self {
        let keyspaces = Keyspaces::create(silo);
        let token = State::of(&silo.snapshot()).token;
        Self { silo, keyspaces, token }
    }

    /// Does a round's work and returns the token acknowledged last.
    fn step(&mut self, round: u64) -> u64 {
        self.token += 1;
        let mut value = self.token.to_le_bytes().to_vec();
        value.resize(8 + (self.token as usize * 13) % 150, 7);
        let mut batch = self.silo.batch();
        for keyspace in &self.keyspaces.groups {
            (0..GROUP).for_each(|key| batch.put(keyspace, IntKey::from(key), &value).unwrap());
        }
        // The log begins anew now and then, so that it stays short.
        if self.token.is_multiple_of(100) {
            batch.delete(&self.keyspaces.log, b"log").unwrap();
        }
        batch.merge(&self.keyspaces.log, b"log", self.token.to_le_bytes()).unwrap();
        let durability = if round.is_multiple_of(9) { Durability::Power } else { Durability::Process };
        self.silo.commit(&mut batch, durability).unwrap();
        if round % 23 == 7 {
            self.silo.checkpoint().unwrap();
        }
        if round % 41 == 11 {
            self.silo.compact().unwrap();
        }
        if round % 31 == 5 {
            let session = self.silo.bulk(&[&self.keyspaces.bulk]).unwrap();
            let mut writers = [session.writer(), session.writer()];
            for key in 0..BULK_KEYS {
                let writer = &mut writers[key as usize % 2];
                writer.put(&self.keyspaces.bulk, IntKey::from(key), &value).unwrap();
            }
            drop(writers);
            session.finish().unwrap();
        }
        self.token
    }
}

/// What a snapshot shows; making it asserts that no batch and no session is torn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct State {
    token: u64,
    bulk: u64,
}

impl State {
    fn of(snapshot: &Snapshot) -> Self {
        let token = |name: &str, keys: u64| {
            let Ok(keyspace) = snapshot.keyspace(name) else {
                return 0;
            };
            let number = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
            let get = |key| snapshot.get(&keyspace, IntKey::from(key)).unwrap().map_or(0, |v| number(&v));
            let tokens: Vec<u64> = (0..keys).map(get).collect();
            assert!(tokens.windows(2).all(|w| w[0] == w[1]), "torn in {name:?}: {tokens:?}");
            let scanned: Vec<u64> =
                snapshot.iter(&keyspace).unwrap().map(|entry| number(&entry.unwrap().1)).collect();
            assert!(scanned.iter().all(|&t| t == tokens[0]), "torn scan of {name:?}: {scanned:?}");
            assert_eq!(scanned.len() as u64, if tokens[0] == 0 { 0 } else { keys });
            tokens[0]
        };
        let state = Self { token: token("a", GROUP), bulk: token("bulk", BULK_KEYS) };
        assert_eq!(token("b", GROUP), state.token, "two keyspaces of one batch");
        if let Ok(log) = snapshot.keyspace("log") {
            let bytes = snapshot.get(&log, b"log").unwrap().unwrap_or_default();
            let tokens: Vec<u64> =
                bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect();
            let first = (state.token / 100 * 100).max(1);
            assert_eq!(tokens, (first..=state.token).collect::<Vec<_>>(), "the log");
        }
        state
    }
}

/// How long readers look on: briefly, or their share of a campaign.
fn time() -> Duration {
    campaign().map_or(Duration::from_millis(1500), |time| time / 4)
}

#[test]
fn second_writer_is_refused_and_told_the_process() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("silo");
    let mut holder = Role::start(ENTRY, "hold", &dir);
    assert_eq!(holder.next().unwrap(), "ready");
    let refused = Silo::open(&dir, tiny()).unwrap_err();
    assert!(matches!(&refused, Error::Locked { pid: Some(pid), .. } if *pid == holder.pid()), "{refused}");
    let reader = SiloReader::open(&dir, tiny()).unwrap();
    assert!(matches!(reader.promote(), Err(Error::Locked { .. })));
    holder.kill();
    let silo = Silo::open(&dir, tiny()).unwrap();
    let again = Silo::open(&dir, tiny()).unwrap_err();
    assert!(matches!(&again, Error::Locked { pid, .. } if *pid == Some(std::process::id())), "{again}");
    let keyspace = silo.create_keyspace("k", &KeyspaceOptions::new()).unwrap();
    silo.put(&keyspace, b"key", b"value", Durability::Process).unwrap();
    drop(silo);
    // The refusal did not take the lock away, nor does a clean end keep it.
    reader.promote().unwrap().put(&keyspace, b"key", b"more", Durability::Process).unwrap();
}

#[test]
fn readers_in_other_processes_see_whole_states_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("silo");
    let silo = Silo::open(&dir, tiny_with_maintenance()).unwrap();
    let mut writer = Writer::new(&silo);
    let mut readers: Vec<Role> = (0..2).map(|_| Role::start(ENTRY, "read", &dir)).collect();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.next().unwrap(), "ready"));
    let end = Instant::now() + time();
    let mut round = 0;
    while Instant::now() < end || round < 100 {
        writer.step(round);
        round += 1;
    }
    for reader in readers {
        let (status, last) = reader.end();
        assert!(status.success());
        let last = last.unwrap();
        let (refreshes, token) = last.split_once(' ').unwrap();
        assert!(refreshes.parse::<u64>().unwrap() > 5, "{last}");
        assert!(token.parse::<u64>().unwrap() <= writer.token);
    }
    let reader = SiloReader::open(&dir, tiny()).unwrap();
    assert_eq!(State::of(&reader.snapshot()).token, writer.token, "a fresh reader sees everything");
    silo.check(Strictness::Strict).unwrap();
}

#[test]
fn killed_writer_leaves_its_readers_alive_and_nothing_lost() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("silo");
    drop(Silo::open(&dir, tiny()).unwrap());
    let watcher = SiloReader::open(&dir, tiny()).unwrap();
    let mut other = Role::start(ENTRY, "read", &dir);
    assert_eq!(other.next().unwrap(), "ready");
    let started = Instant::now();
    let mut rounds = 0u64;
    while rounds < 6 || campaign().is_some_and(|time| started.elapsed() < time / 4) {
        let mut child = Role::start(ENTRY, "write", &dir);
        let mut acknowledged = 0;
        for _ in 0..20 + rounds % 6 * 17 {
            acknowledged = child.next().unwrap().parse().unwrap();
            if acknowledged % 16 == 0 {
                watcher.refresh().unwrap();
                assert!(State::of(&watcher.snapshot()).token >= acknowledged);
            }
        }
        let held = watcher.snapshot();
        let before = State::of(&held);
        for said in child.kill() {
            acknowledged = said.parse().unwrap();
        }
        watcher.refresh().unwrap();
        let seen = State::of(&watcher.snapshot());
        // One more batch may have been committed than was said.
        assert!((acknowledged..=acknowledged + 1).contains(&seen.token), "{seen:?}, not {acknowledged}");
        let silo = watcher.promote().unwrap();
        assert_eq!(State::of(&silo.snapshot()), seen, "what a reader saw is kept");
        silo.check(Strictness::Strict).unwrap();
        assert_eq!(State::of(&held), before, "snapshots are held over the promotion");
        let mut writer = Writer::new(&silo);
        let token = writer.step(rounds);
        watcher.refresh().unwrap();
        assert_eq!(State::of(&watcher.snapshot()).token, token);
        if rounds.is_multiple_of(2) {
            silo.close().unwrap();
        }
        rounds += 1;
    }
    let (status, _) = other.end();
    assert!(status.success(), "the reader in another process lived through it all");
}

#[test]
fn killed_readers_harm_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("silo");
    let silo = Silo::open(&dir, tiny_with_maintenance()).unwrap();
    let mut writer = Writer::new(&silo);
    for round in 0..4 {
        let mut readers: Vec<Role> = (0..2).map(|_| Role::start(ENTRY, "read", &dir)).collect();
        readers.iter_mut().for_each(|reader| assert_eq!(reader.next().unwrap(), "ready"));
        for n in 0..40 {
            writer.step(round * 40 + n);
        }
        for reader in readers {
            reader.kill();
        }
        for n in 0..5 {
            writer.step(n);
        }
    }
    silo.check(Strictness::Strict).unwrap();
    silo.compact().unwrap();
    let used: u64 = silo.stats().unwrap().file_bytes;
    let token = writer.token;
    silo.close().unwrap();
    assert!(dirs::total_bytes(&dir) < used + (64 << 10), "no file stays behind for a dead reader");
    let silo = Silo::open(&dir, tiny()).unwrap();
    assert_eq!(State::of(&silo.snapshot()).token, token);
}

/// Makes a directory and its files unwritable, or writable again.
fn set_writable(dir: &Path, writable: bool) {
    let (of_dir, of_file) = if writable { (0o755, 0o644) } else { (0o555, 0o444) };
    for entry in std::fs::read_dir(dir).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), PermissionsExt::from_mode(of_file)).unwrap();
    }
    std::fs::set_permissions(dir, PermissionsExt::from_mode(of_dir)).unwrap();
}

#[test]
fn reader_works_in_a_read_only_directory_and_changes_no_file() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let dir = root.path().join("silo");
    let silo = Silo::open(&dir, tiny()).unwrap();
    let mut writer = Writer::new(&silo);
    for round in 0..60 {
        writer.step(round);
    }
    let token = writer.token;
    let crashed = root.path().join("crashed");
    dirs::copy(&dir, &crashed);
    silo.close().unwrap();
    // Permissions do not bind root: the child becomes somebody else where it can, and needs a
    // copy of this program that it can reach.
    let program = root.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    for dir in [&dir, &crashed] {
        let before = dirs::contents(dir);
        set_writable(dir, false);
        let mut command = Command::new(&program);
        if is_root {
            command.uid(65_534);
        }
        let (status, said) = Role::from_command(command, ENTRY, "look", dir).end();
        assert!(status.success());
        assert_eq!(said.unwrap().parse::<u64>().unwrap(), token);
        assert_eq!(dirs::contents(dir), before);
        set_writable(dir, true);
        // The same as this user, who might have been able to change something.
        let reader = SiloReader::open(dir, tiny()).unwrap();
        reader.refresh().unwrap();
        reader.check(Strictness::Strict).unwrap();
        assert_eq!(State::of(&reader.snapshot()).token, token);
        assert_eq!(dirs::contents(dir), before);
    }
}
