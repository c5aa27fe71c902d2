//! I/O errors: for every N, call number N of a workload fails.
//!
//! The oracle: no panic, no hang; a failed call leaves no trace and does not endanger later ones;
//! reads go on; after a failed sync nothing is accepted until the silo is opened again; at the
//! end the contents are those of the acknowledged events, and no file is left over.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails by panicking, and its numbers are small"
)]

mod support;

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use datasilo::{Durability, Error, IntKey, KeyspaceOptions, Options, Silo, SiloReader};
use support::faulty::{Fault, FaultyStorage, Hit, Kind};
use support::history::{
    Contents, DOCS, EXTRA, Event, Generator, LOG, Op, backup_dir, contents_after, difference, dump,
    open_and_dump, options, perform,
};
use support::{Watchdog, assert_no_leftovers, campaign, copy_dir, scratch, seed};

fn put(keyspace: &'static str, key: &str, len: usize) -> Op {
    Op::Put(keyspace, key.as_bytes().to_vec(), vec![key.len() as u8 + 1; len])
}

fn merge(key: &str, operand: &str) -> Op {
    Op::Merge(LOG, key.as_bytes().to_vec(), operand.as_bytes().to_vec())
}

/// A history that touches every operation and does little besides.
fn history() -> Vec<Event> {
    use Durability::{Power, Process};
    vec![
        Event::Open,
        Event::Create(DOCS),
        Event::Create(LOG),
        Event::Batch(vec![put(DOCS, "a", 100), merge("m", "1"), merge("m", "2")], Process),
        Event::Batch(vec![put(DOCS, "b", 2500), merge("m", "3")], Power),
        Event::Batch(vec![put(DOCS, "c", 2500), merge("m", "4")], Process),
        Event::Checkpoint,
        Event::Create(EXTRA),
        Event::Batch(vec![put(EXTRA, "x", 300), put(EXTRA, "y", 1), merge("m", "5")], Process),
        Event::Bulk((0..6).map(|i| put(DOCS, &format!("bulk-{i}"), i * 300)).collect()),
        Event::Batch(vec![put(DOCS, "bulk-3", 3), merge("m", "6")], Process),
        Event::Compact,
        Event::Batch(vec![put(DOCS, "d", 300), merge("m", "7")], Process),
        Event::Backup,
        Event::Drop(EXTRA),
        Event::Batch(vec![put(DOCS, "e", 6000), merge("n", "1")], Power),
        Event::Close,
        Event::Open,
        Event::Batch(vec![put(DOCS, "f", 9), merge("n", "2")], Power),
        Event::Close,
    ]
}

/// A silo whose storage fails, and what it must hold.
struct Subject {
    storage: FaultyStorage,
    options: Options,
    dir: PathBuf,
    events: Vec<Event>,
    silo: Option<Silo>,
    reader: Option<SiloReader>,
}

impl Subject {
    fn new(root: &Path, storage: &FaultyStorage, events: &[Event]) -> Self {
        Self {
            storage: storage.clone(),
            options: options(4096).storage(Arc::new(storage.clone())),
            dir: root.join("above").join("silo"),
            events: events.to_vec(),
            silo: None,
            reader: None,
        }
    }

    fn contents(&self, done: usize) -> Contents {
        contents_after(&self.events, done, done)
    }

    /// Performs all events, each until it succeeds.
    fn run(&mut self) -> Result<(), String> {
        for at in 0..self.events.len() {
            self.step(at).map_err(|what| format!("event {at} {}: {what}", name(&self.events[at])))?;
            if at % 4 == 3 {
                self.refresh(at + 1).map_err(|what| format!("refresh after event {at}: {what}"))?;
            }
        }
        self.storage.heal();
        self.reader = None;
        let plain = options(4096);
        let (silo, found) = open_and_dump(&self.dir, &plain)?;
        same(&found, &self.contents(self.events.len())).map_err(|what| format!("at the end: {what}"))?;
        assert_no_leftovers(&silo, &self.dir);
        for at in (0..self.events.len()).filter(|&at| matches!(self.events[at], Event::Backup)) {
            let copy = backup_dir(&self.dir, at);
            let (_, copied) = open_and_dump(&copy, &plain).map_err(|what| format!("backup: {what}"))?;
            same(&copied, &self.contents(at)).map_err(|what| format!("backup: {what}"))?;
        }
        Ok(())
    }

    fn step(&mut self, at: usize) -> Result<(), String> {
        for _ in 0..4 {
            let event = self.events[at].clone();
            let Err(error) = perform(&mut self.silo, &self.dir, &self.options, at, &event) else {
                // A failure that nobody needs to hear of, such as of removing an old file.
                let _ = self.storage.take_hit();
                self.storage.heal();
                return Ok(());
            };
            self.storage.heal();
            let Some(hit) = self.storage.take_hit() else {
                return Err(format!("failed without a fault: {error}"));
            };
            let told = |what: String| format!("{what}, after {hit:?} and {error}");
            if self.recover(at, &hit).map_err(told)? {
                return Ok(());
            }
        }
        Err("does not succeed however often it is tried".to_owned())
    }

    /// Looks at a silo whose call failed. True if the event turned out to be done.
    fn recover(&mut self, at: usize, hit: &Hit) -> Result<bool, String> {
        let (before, after) = (self.contents(at), self.contents(at + 1));
        // Only where the device's answer is missing may the outcome be open.
        let in_doubt = matches!(hit.kind, Kind::Sync | Kind::SyncDir | Kind::Rename);
        let allowed = |found: &Contents| match same(found, &before) {
            Err(_) if in_doubt && *found == after => Ok(()),
            result => result,
        };
        self.after_a_kill_now(&allowed)?;
        let Some(silo) = self.silo.take() else {
            // Opening or closing failed. What was closed lets go of its lock, and can be opened.
            return Ok(matches!(self.events[at], Event::Close));
        };
        let found = dump(&silo.snapshot()).map_err(|what| format!("reading: {what}"))?;
        allowed(&found).map_err(|what| format!("reading: {what}"))?;
        let poisoned = match silo.sync() {
            Ok(()) => false,
            Err(Error::Poisoned { .. }) => true,
            Err(other) => return Err(format!("a sync after the fault: {other}")),
        };
        if !poisoned {
            if must_poison(hit, &silo, &self.dir) {
                return Err("a failed sync does not stop the writer".to_owned());
            }
            same(&found, &before)?;
            if hit.kind != Kind::Remove {
                // What failed leaves no files behind either: on a full disk they would take its room.
                std::fs::remove_file(self.dir.join("MANIFEST.tmp")).ok();
                assert_no_leftovers(&silo, &self.dir);
            } else if matches!(self.events[at], Event::Backup) {
                std::fs::remove_dir_all(backup_dir(&self.dir, at)).ok();
            }
            self.silo = Some(silo);
            return Ok(false);
        }
        let docs = silo.keyspace(DOCS);
        if let Ok(docs) = docs {
            match silo.put(&docs, b"refused", b"", Durability::Process) {
                Err(Error::Poisoned { .. }) => {}
                other => return Err(format!("a commit to a stopped writer: {other:?}")),
            }
        }
        drop(silo);
        let silo = Silo::open(&self.dir, self.options.clone()).map_err(|e| format!("reopening: {e}"))?;
        let found = dump(&silo.snapshot()).map_err(|what| format!("after reopening: {what}"))?;
        allowed(&found).map_err(|what| format!("after reopening: {what}"))?;
        self.silo = Some(silo);
        Ok(before != after && found == after)
    }

    /// What would be found if the process were killed right now.
    fn after_a_kill_now(&self, allowed: &dyn Fn(&Contents) -> Result<(), String>) -> Result<(), String> {
        if !self.dir.is_dir() {
            return Ok(());
        }
        let copy = scratch();
        copy_dir(&self.dir, copy.path());
        let (silo, found) =
            open_and_dump(copy.path(), &options(4096)).map_err(|what| format!("after a kill: {what}"))?;
        assert_no_leftovers(&silo, copy.path());
        allowed(&found).map_err(|what| format!("after a kill: {what}"))
    }

    /// A reader beside the writer moves forward, at the latest when it tries again.
    fn refresh(&mut self, done: usize) -> Result<(), String> {
        let mut result = self.try_refresh();
        if result.is_err() && self.storage.take_hit().is_some() {
            self.storage.heal();
            result = self.try_refresh();
        }
        let found = result.map_err(|e| e.to_string())?;
        same(&found?, &self.contents(done))
    }

    fn try_refresh(&mut self) -> datasilo::Result<Result<Contents, String>> {
        let reader = match self.reader.take() {
            None => SiloReader::open(&self.dir, self.options.clone())?,
            Some(reader) => {
                let refreshed = reader.refresh();
                let reader = self.reader.insert(reader);
                refreshed?;
                return Ok(dump(&reader.snapshot()));
            }
        };
        let reader = self.reader.insert(reader);
        Ok(dump(&reader.snapshot()))
    }
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Open => "open",
        Event::Close => "close",
        Event::Create(_) => "create",
        Event::Drop(_) => "drop",
        Event::Batch(_, Durability::Power) => "durable batch",
        Event::Batch(..) => "batch",
        Event::Bulk(_) => "bulk",
        Event::Sync => "sync",
        Event::Checkpoint => "checkpoint",
        Event::Compact => "compact",
        Event::Backup => "backup",
        Event::Undone => "nothing",
    }
}

fn same(found: &Contents, expected: &Contents) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(difference(found, expected)) }
}

/// A failed sync of the silo's directory, or of a log segment in use, is final for the writer.
fn must_poison(hit: &Hit, silo: &Silo, dir: &Path) -> bool {
    match hit.kind {
        Kind::SyncDir => hit.path == dir,
        Kind::Sync => {
            let stats = silo.stats().unwrap();
            let mut in_use = stats.segments.iter().filter(|s| !s.sealed);
            in_use.any(|s| hit.path.ends_with(format!("seg-{:010}", s.number)))
        }
        _ => false,
    }
}

/// Fails one call of a history; panics count as failures.
fn try_fault(events: &[Event], at: u64, fault: Fault) -> Result<(), String> {
    let _watchdog = Watchdog::new(format!("call {at} {fault:?}"), Duration::from_mins(1));
    let root = scratch();
    let storage = FaultyStorage::failing(at, fault);
    let mut subject = Subject::new(root.path(), &storage, events);
    let run = std::panic::catch_unwind(AssertUnwindSafe(|| subject.run()));
    let result = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "panicked".to_owned()))
    });
    // Whatever state a failed case is in, it must not bring the others down.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(subject)));
    result.map_err(|what| format!("call {at} {fault:?}: {what}"))
}

/// Calls of a history to which a fault applies.
fn calls_of(events: &[Event], fault: Fault) -> Vec<u64> {
    let root = scratch();
    let storage = FaultyStorage::counting();
    Subject::new(root.path(), &storage, events).run().unwrap();
    let log = storage.log();
    (0..).zip(log).filter(|(_, kind)| fault.applies_to(*kind)).map(|(at, _)| at).collect()
}

/// Fails each of these calls in a run of its own, on all cores.
fn fail_each(events: &[Event], calls: &[u64], fault: Fault) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&at) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = try_fault(events, at, fault) {
                        failures.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let mut text = String::new();
    for failure in failures.iter().take(12) {
        writeln!(text, "  {failure}").unwrap();
    }
    println!("{} calls failed with {fault:?}", calls.len());
    assert!(failures.is_empty(), "{} of {} went wrong:\n{text}", failures.len(), calls.len());
}

fn fail_all(fault: Fault) {
    let events = history();
    let calls = calls_of(&events, fault);
    fail_each(&events, &calls, fault);
}

#[test]
fn an_io_error_of_any_call_leaves_no_trace() {
    fail_all(Fault::Io);
}

#[test]
fn a_full_disk_at_any_call_leaves_no_trace() {
    fail_all(Fault::Full);
}

#[test]
fn a_disk_full_for_the_rest_of_an_event_leaves_no_trace() {
    fail_all(Fault::LastingFull);
}

#[test]
fn a_kind_of_call_failing_for_the_rest_of_an_event_leaves_no_trace() {
    fail_all(Fault::Lasting);
}

#[test]
fn interrupted_calls_are_not_noticed() {
    fail_all(Fault::Interrupted);
}

#[test]
fn writes_cut_short_are_not_noticed() {
    fail_all(Fault::Short);
}

#[test]
fn a_write_that_fails_half_way_leaves_no_trace() {
    fail_all(Fault::Torn);
}

#[test]
fn a_call_that_fails_after_its_work_leaves_no_trace() {
    fail_all(Fault::Done);
}

#[test]
fn a_checkpoint_that_failed_is_finished_by_the_next() {
    let root = scratch();
    let storage = FaultyStorage::default();
    let own = options(4096).storage(Arc::new(storage.clone()));
    let silo = Silo::open(root.path(), own).unwrap();
    let docs = silo.create_keyspace(DOCS, &KeyspaceOptions::new()).unwrap();
    silo.put(&docs, b"key", b"value", Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    // What is left to do is to seal the segment, which needs room for a manifest.
    storage.fail_in(0, Fault::Full);
    assert!(matches!(silo.compact(), Err(Error::DiskFull { .. })));
    silo.compact().unwrap();
    let stats = silo.stats().unwrap();
    assert!(stats.segments.iter().all(|segment| segment.sealed), "{:?}", stats.segments);
}

#[test]
fn a_keyspace_dropped_after_a_failed_checkpoint_gives_its_space_back() {
    let root = scratch();
    let storage = FaultyStorage::default();
    let own = options(64 << 10).storage(Arc::new(storage.clone()));
    let silo = Silo::open(root.path(), own).unwrap();
    let docs = silo.create_keyspace(DOCS, &KeyspaceOptions::new()).unwrap();
    let extra = silo.create_keyspace(EXTRA, &KeyspaceOptions::new()).unwrap();
    silo.put(&docs, b"key", b"value", Durability::Process).unwrap();
    silo.put(&extra, b"key", vec![1; 30_000], Durability::Process).unwrap();
    storage.fail_in(0, Fault::LastingFull);
    assert!(matches!(silo.checkpoint(), Err(Error::DiskFull { .. })));
    storage.heal();
    silo.drop_keyspace(EXTRA).unwrap();
    silo.compact().unwrap();
    let bytes: u64 = silo.stats().unwrap().segments.iter().map(|segment| segment.bytes).sum();
    assert!(bytes < 10_000, "{bytes} bytes are left of segments");
}

#[test]
fn random_histories_survive_random_faults() {
    let faults = [
        Fault::Io,
        Fault::Full,
        Fault::Torn,
        Fault::Short,
        Fault::Done,
        Fault::Lasting,
        Fault::LastingFull,
        Fault::Interrupted,
    ];
    let started = Instant::now();
    let mut round = 0;
    loop {
        let mut generator = Generator::new(seed() * 1000 + round);
        let events = generator.history(50);
        let fault = faults[round as usize % faults.len()];
        let calls = calls_of(&events, fault);
        let chosen: Vec<u64> = (0..25).map(|_| calls[generator.below(calls.len())]).collect();
        println!("round {round}");
        fail_each(&events, &chosen, fault);
        round += 1;
        match campaign() {
            Some(limit) if started.elapsed() < limit => {}
            None if round < 8 => {}
            _ => break,
        }
    }
}

#[test]
fn a_repair_that_ends_early_loses_no_damaged_file() {
    let origin = scratch();
    let silo = Silo::open(origin.path(), Options::new()).unwrap();
    let docs = silo.create_keyspace(DOCS, &KeyspaceOptions::new()).unwrap();
    for number in 0..50u64 {
        silo.put(&docs, IntKey::from(number), b"a value to damage", Durability::Process).unwrap();
    }
    silo.close().unwrap();
    let name = "seg-0000000001";
    let mut damaged = std::fs::read(origin.path().join(name)).unwrap();
    let at = damaged.windows(5).position(|bytes| bytes == b"value").unwrap();
    damaged[at] ^= 1;
    std::fs::write(origin.path().join(name), &damaged).unwrap();
    for call in 0..1000 {
        let copy = scratch();
        copy_dir(origin.path(), copy.path());
        let storage = FaultyStorage::failing(call, Fault::Io);
        let repaired = datasilo::repair(copy.path(), &Options::new().storage(Arc::new(storage.clone())));
        let hit = storage.take_hit();
        assert!(repaired.is_ok() || hit.is_some(), "{repaired:?}");
        // Opening removes what no manifest names.
        drop(Silo::open(copy.path(), Options::new()).unwrap());
        let kept = [name.to_owned(), format!("{name}.damaged")];
        let kept = kept.iter().filter_map(|name| std::fs::read(copy.path().join(name)).ok());
        assert!(kept.into_iter().any(|bytes| bytes == damaged), "lost by a failure of {hit:?}");
        if hit.is_none() {
            assert!(call > 20, "repair made only {call} calls");
            return;
        }
    }
    panic!("repair makes too many calls");
}
