//! Crashes, by replay: what a silo asked of the file system is recorded, and every state that
//! the file system may be found in afterwards is opened with the real engine.
//!
//! The oracle: every state opens; what was acknowledged as durable is whole; the rest is a prefix in
//! commit order, no batch and no bulk session by halves; the silo is free of damage,
//! accepts a new commit and keeps it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails by panicking, and its numbers are small"
)]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use datasilo::{Durability, Error, KeyspaceOptions, Options, Silo, SiloReader, Strictness};
use support::disk::{Call, DataLoss, Image, Loss, NameLoss, RecordingStorage, crash};
use support::history::{
    Contents, DOCS, EXTRA, Event, Generator, LOG, Op, backup_dir, commit, contents_after, counter_of,
    difference, dump, open_and_dump, options, perform,
};
use support::{assert_no_leftovers, campaign, copy_dir, keep_for_inspection, scratch, seed};

const SILO: &str = "above/silo";

/// Events and the calls that they led to.
struct Recorded {
    events: Vec<Event>,
    calls: Vec<Call>,
    options: Options,
}

/// Performs events in an empty directory and records the calls.
fn record(events: Vec<Event>, options: &Options) -> Recorded {
    let root = scratch();
    let storage = RecordingStorage::new(root.path());
    let own = options.clone().storage(std::sync::Arc::new(storage.clone()));
    let mut silo = None;
    for (at, event) in events.iter().enumerate() {
        storage.note(Call::Begin(at));
        perform(&mut silo, &root.path().join(SILO), &own, at, event).unwrap();
        storage.note(Call::Done(at));
    }
    let calls = storage.calls();
    Recorded { events, calls, options: options.clone() }
}

/// Numbers of events begun and done by these calls.
fn progress(calls: &[Call]) -> (usize, usize) {
    let mut progress = (0, 0);
    for call in calls {
        match call {
            Call::Begin(at) => progress.0 = at + 1,
            Call::Done(at) => progress.1 = at + 1,
            _ => {}
        }
    }
    progress
}

/// What survived: events below `.0` that write and events below `.1` that are structural.
type Survived = (usize, usize);

/// Finds out what of a history survived, and whether that may be.
fn judge(found: &Contents, events: &[Event], calls: &[Call], killed: bool) -> Result<Survived, String> {
    let (begun, done) = progress(calls);
    let written = counter_of(found);
    let promised = if killed {
        done
    } else {
        (0..done).rev().find(|&at| events[at].is_durable()).map_or(0, |at| at + 1)
    };
    let least = (0..promised).rev().find(|&at| events[at].writes()).map_or(0, |at| at + 1);
    if written < least || written > begun {
        return Err(format!("written up to {written}, promised {least}, begun {begun}"));
    }
    let mut answer = String::new();
    for structural in [done, begun] {
        let expected = contents_after(events, written, structural);
        if expected == *found {
            return Ok((written, structural));
        }
        answer = difference(found, &expected);
    }
    Err(format!("written up to {written} of {begun}, but not as a prefix: {answer}"))
}

/// What a reader sees of a state; `None` if there is no silo yet.
fn read_only(dir: &Path, options: &Options) -> Result<Option<Contents>, String> {
    let reader = match SiloReader::open(dir, options.clone()) {
        Err(Error::NotASilo { .. }) => return Ok(None),
        result => result.map_err(|e| format!("reader: {e}"))?,
    };
    reader.check(Strictness::Strict).map_err(|e| format!("reader's check: {e}"))?;
    dump(&reader.snapshot()).map(Some)
}

/// Opens a state and holds it against the oracle.
fn examine(
    image: &Image,
    events: &[Event],
    calls: &[Call],
    killed: bool,
    options: &Options,
) -> Result<Survived, String> {
    let root = scratch();
    image.materialise(root.path());
    let dir = root.path().join(SILO);
    let result = examine_in(&dir, events, calls, killed, options);
    result.map_err(|what| {
        image.materialise(&fresh(&root.path().join("kept")));
        let kept = keep_for_inspection(&root.path().join("kept").join(SILO), "state");
        format!("{what} (state kept in {})", kept.display())
    })
}

fn fresh(dir: &Path) -> PathBuf {
    std::fs::create_dir(dir).unwrap();
    dir.to_path_buf()
}

fn examine_in(
    dir: &Path,
    events: &[Event],
    calls: &[Call],
    killed: bool,
    options: &Options,
) -> Result<Survived, String> {
    let seen = read_only(dir, options)?;
    let (_, done) = progress(calls);
    if seen.is_none() && events[..done].iter().any(|event| matches!(event, Event::Open)) {
        return Err("the silo was created, and there is none".to_owned());
    }
    let (silo, found) = open_and_dump(dir, options)?;
    let survived = judge(&found, events, calls, killed)?;
    if seen.is_some_and(|seen| seen != found) {
        return Err("a reader sees something else than the writer".to_owned());
    }
    assert_no_leftovers(&silo, dir);
    // Backups that were finished are whole, too.
    for at in (0..done).filter(|&at| matches!(events[at], Event::Backup)) {
        let (_, copy) = open_and_dump(&backup_dir(dir, at), options).map_err(|e| format!("backup: {e}"))?;
        if copy != contents_after(events, at, at) {
            return Err("a backup is not what it was made of".to_owned());
        }
    }
    // It goes on, and keeps what it is given.
    let probe = silo.create_keyspace("probe", &KeyspaceOptions::new());
    let probe = probe.map_err(|e| format!("create: {e}"))?;
    silo.put(&probe, b"probe", b"value", Durability::Process).map_err(|e| format!("put: {e}"))?;
    drop(silo);
    let (_, mut again) = open_and_dump(dir, options).map_err(|e| format!("reopening: {e}"))?;
    let kept = again.remove("probe").unwrap_or_default();
    if kept.get(b"probe".as_slice()).is_none_or(|value| value != b"value") {
        return Err("a commit after the recovery was lost".to_owned());
    }
    if again != found {
        return Err(format!("reopening changed the contents: {}", difference(&again, &found)));
    }
    Ok(survived)
}

/// Ways to lose power that are looked at after each cut; `count` of them at random.
fn losses(generator: &mut Generator, count: usize) -> Vec<Loss> {
    let fixed = [(DataLoss::Kept, NameLoss::Kept), (DataLoss::Dropped, NameLoss::Dropped)];
    let mut losses: Vec<Loss> =
        fixed.into_iter().map(|(data, names)| Loss { data, names, seed: 0 }).collect();
    losses.extend((0..count).map(|_| random_loss(generator)));
    losses
}

fn random_loss(generator: &mut Generator) -> Loss {
    let data = [
        DataLoss::Kept,
        DataLoss::Dropped,
        DataLoss::Zeros,
        DataLoss::Torn(512),
        DataLoss::Torn(512),
        DataLoss::Torn(4096),
    ];
    let names = [NameLoss::Kept, NameLoss::Dropped, NameLoss::Prefix, NameLoss::Subset];
    Loss {
        data: data[generator.below(data.len())],
        names: names[generator.below(names.len())],
        seed: generator.below(1 << 30) as u64,
    }
}

/// Runs jobs on all cores and fails with the messages of those that failed.
fn in_parallel<T: Sync>(jobs: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = work(job) {
                        failures.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let mut text = String::new();
    for failure in failures.iter().take(10) {
        writeln!(text, "  {failure}").unwrap();
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{text}", failures.len(), jobs.len());
}

fn put(keyspace: &'static str, key: &str, len: usize) -> Op {
    Op::Put(keyspace, key.as_bytes().to_vec(), vec![key.len() as u8 + 1; len])
}

fn merge(key: &str, operand: &str) -> Op {
    Op::Merge(LOG, key.as_bytes().to_vec(), operand.as_bytes().to_vec())
}

/// A short history that touches every operation.
fn short_history() -> Vec<Event> {
    use Durability::{Power, Process};
    vec![
        Event::Open,
        Event::Create(DOCS),
        Event::Create(LOG),
        Event::Batch(vec![put(DOCS, "a", 100), merge("key-1", "1"), merge("key-1", "2")], Process),
        Event::Batch(vec![put(DOCS, "b", 2000), merge("key-1", "3")], Power),
        Event::Batch(vec![put(DOCS, "c", 1500), merge("key-2", "1")], Process),
        Event::Batch(vec![put(DOCS, "d", 1500), Op::Delete(DOCS, b"a".to_vec())], Process),
        Event::Checkpoint,
        Event::Batch(vec![merge("key-1", "4"), merge("key-1", "5"), put(DOCS, "b", 10)], Process),
        Event::Create(EXTRA),
        Event::Batch(vec![put(EXTRA, "x", 700), put(EXTRA, "y", 1), merge("key-1", "6")], Power),
        Event::Batch(vec![put(DOCS, "e", 5000)], Process),
        Event::Bulk((0..20).map(|i| put(DOCS, &format!("bulk-{i}"), i * 20)).collect()),
        Event::Batch(vec![put(DOCS, "bulk-3", 3), merge("key-2", "2")], Process),
        Event::Compact,
        Event::Batch(vec![put(DOCS, "f", 300), Op::Delete(DOCS, b"bulk-4".to_vec())], Process),
        Event::Drop(EXTRA),
        Event::Batch(vec![merge("key-1", "7")], Process),
        Event::Backup,
        Event::Batch(vec![merge("key-2", "3")], Process),
        Event::Sync,
        Event::Batch(vec![merge("key-2", "4")], Process),
        Event::Close,
        Event::Open,
        Event::Batch(vec![put(DOCS, "g", 9000), merge("key-2", "5")], Process),
        Event::Batch(vec![put(DOCS, "h", 9)], Power),
        Event::Compact,
        Event::Close,
    ]
}

#[test]
fn every_cut_of_a_short_history_recovers() {
    let recorded = record(short_history(), &options(4096));
    let mut generator = Generator::new(seed());
    let mut jobs = Vec::new();
    for cut in 0..=recorded.calls.len() {
        jobs.extend(losses(&mut generator, 2).into_iter().map(|loss| (cut, loss)));
    }
    println!("{} calls, {} states", recorded.calls.len(), jobs.len());
    in_parallel(&jobs, |&(cut, loss)| {
        let calls = &recorded.calls[..cut];
        let killed = loss.data == DataLoss::Kept && loss.names == NameLoss::Kept;
        examine(&crash(calls, loss), &recorded.events, calls, killed, &recorded.options)
            .map(|_| ())
            .map_err(|what| format!("cut {cut} {:?} {loss:?}: {what}", calls.last()))
    });
}

#[test]
fn a_commit_beside_a_compaction_does_not_outlive_those_before_it() {
    use Durability::{Power, Process};
    let events = vec![
        Event::Open,
        Event::Create(DOCS),
        Event::Create(LOG),
        Event::Batch(vec![put(DOCS, "a", 10)], Power),
        Event::Batch(vec![put(DOCS, "b", 10)], Process),
        Event::Batch(vec![put(DOCS, "c", 10)], Process),
    ];
    let root = scratch();
    let storage = RecordingStorage::new(root.path());
    let own = options(4096).storage(std::sync::Arc::new(storage.clone()));
    let dir = root.path().join(SILO);
    let mut silo = None;
    for (at, event) in events.iter().enumerate().take(5) {
        storage.note(Call::Begin(at));
        perform(&mut silo, &dir, &own, at, event).unwrap();
        storage.note(Call::Done(at));
    }
    // The compaction ends the segment with the last commit, and is about to sync it. Another
    // thread commits now, into the next segment.
    let silo = std::sync::Arc::new(silo.unwrap());
    let (other, recorder) = (std::sync::Arc::clone(&silo), storage.clone());
    let (sender, receiver) = std::sync::mpsc::channel();
    let ops = match &events[5] {
        Event::Batch(ops, _) => ops.clone(),
        _ => unreachable!(),
    };
    storage.before_next_sync(move || {
        recorder.note(Call::Begin(5));
        commit(&other, &ops, 6, Process).unwrap();
        recorder.note(Call::Done(5));
        sender.send(recorder.calls()).unwrap();
    });
    silo.compact().unwrap();
    let calls = receiver.recv().unwrap();
    for seed in 0..60 {
        let loss = Loss { data: DataLoss::Torn(4096), names: NameLoss::Kept, seed };
        let result = examine(&crash(&calls, loss), &events, &calls, false, &options(4096));
        result.unwrap_or_else(|what| panic!("{loss:?}: {what}"));
    }
}

#[test]
fn a_reader_takes_what_a_recovery_wrote_again_only_once() {
    let root = scratch();
    let killed = root.path().join("killed");
    {
        let silo = Silo::open(root.path().join("first"), options(4096)).unwrap();
        let log = silo.create_keyspace(LOG, &KeyspaceOptions::new().merge_operator("append")).unwrap();
        silo.merge(&log, b"key", b"1", Durability::Power).unwrap();
        silo.merge(&log, b"key", b"2", Durability::Process).unwrap();
        copy_dir(silo.path(), &killed);
    }
    // The second merge was not synced, so recovery writes it again, into a new segment. Its old
    // copy stays where it was, behind the end of the old segment.
    let reader = SiloReader::open(&killed, options(4096)).unwrap();
    let silo = Silo::open(&killed, options(4096)).unwrap();
    reader.refresh().unwrap();
    let log = silo.keyspace(LOG).unwrap();
    silo.put(&log, b"large", vec![0; 9000], Durability::Process).unwrap();
    reader.refresh().unwrap();
    let snapshot = reader.snapshot();
    assert_eq!(snapshot.get(&log, b"key").unwrap().unwrap().as_ref(), b"12");
    assert!(snapshot.contains(&log, b"large").unwrap());
}

/// A commit of one of several threads.
#[derive(Clone, Copy)]
struct ThreadCommit {
    thread: usize,
    number: usize,
    seq: u64,
    durable: bool,
    /// Calls when it was acknowledged.
    done_at: usize,
}

const THREADS: usize = 4;

/// What each thread's counter says in a state.
fn counters(image: &Image, options: &Options) -> Result<Vec<usize>, String> {
    let root = scratch();
    image.materialise(root.path());
    let (_, found) = open_and_dump(&root.path().join(SILO), options)?;
    let docs = found.get(DOCS).cloned().unwrap_or_default();
    let log = found.get(LOG).cloned().unwrap_or_default();
    (0..THREADS)
        .map(|thread| {
            let key = format!("thread-{thread}").into_bytes();
            let count = docs.get(&key).map_or(0, Vec::len);
            let merged = log.get(&key).map_or(0, Vec::len);
            if merged == count { Ok(count) } else { Err(format!("{merged} merges and a count of {count}")) }
        })
        .collect()
}

/// Several threads commit side by side; returns their commits and all calls.
fn record_threads(options: &Options) -> (Vec<ThreadCommit>, Vec<Call>) {
    let root = scratch();
    let storage = RecordingStorage::new(root.path());
    let own = options.clone().storage(std::sync::Arc::new(storage.clone()));
    let silo = Silo::open(root.path().join(SILO), own).unwrap();
    let docs = silo.create_keyspace(DOCS, &KeyspaceOptions::new()).unwrap();
    let log = silo.create_keyspace(LOG, &KeyspaceOptions::new().merge_operator("append")).unwrap();
    let commits = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (silo, docs, log, storage, commits) = (&silo, &docs, &log, &storage, &commits);
            scope.spawn(move || {
                let key = format!("thread-{thread}");
                for number in 1..=30 {
                    let durable = number % 3 == thread % 3;
                    let mut batch = silo.batch();
                    batch.put(docs, &key, vec![1; number]).unwrap();
                    batch.put(docs, format!("{key}-{}", number % 5), vec![2; 150]).unwrap();
                    batch.merge(log, &key, b"x").unwrap();
                    let durability = if durable { Durability::Power } else { Durability::Process };
                    let seq = silo.commit(&mut batch, durability).unwrap();
                    let done_at = storage.calls().len();
                    commits.lock().unwrap().push(ThreadCommit { thread, number, seq, durable, done_at });
                    if number % 11 == thread {
                        silo.checkpoint().unwrap();
                    }
                }
            });
        }
    });
    (commits.into_inner().unwrap(), storage.calls())
}

#[test]
fn commits_of_many_threads_survive_in_their_order() {
    for round in 0..3 {
        let own = options(4096 << round);
        let (commits, calls) = record_threads(&own);
        let mut generator = Generator::new(seed() + round);
        let jobs: Vec<(usize, Loss)> =
            (0..200).map(|_| (generator.below(calls.len() + 1), random_loss(&mut generator))).collect();
        in_parallel(&jobs, |&(cut, loss)| {
            let told = |what: String| format!("round {round} cut {cut} {loss:?}: {what}");
            let counters = counters(&crash(&calls[..cut], loss), &own).map_err(told)?;
            let killed = loss.data == DataLoss::Kept && loss.names == NameLoss::Kept;
            let survived = |commit: &ThreadCommit| commit.number <= counters[commit.thread];
            let last = commits.iter().filter(|c| survived(c)).map(|c| c.seq).max().unwrap_or(0);
            for commit in commits.iter().filter(|commit| !survived(commit)) {
                let place = format!("{} of thread {}", commit.number, commit.thread);
                if commit.done_at <= cut && (commit.durable || killed) {
                    return Err(told(format!("commit {place} was acknowledged and is gone")));
                }
                if commit.seq < last {
                    return Err(told(format!("commit {place} is gone, and a later one is there")));
                }
            }
            Ok(())
        });
    }
}

/// A silo that lives through crashes: each life begins with a recovery from the last one's end.
struct Lives {
    generator: Generator,
    options: Options,
    events: Vec<Event>,
    /// Calls that led to the current state, with what is not durable of them.
    calls: Vec<Call>,
    loss: Loss,
}

impl Lives {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let segment_bytes = [4096, 16384, 65536][generator.below(3)];
        Self {
            generator,
            options: options(segment_bytes),
            events: Vec::new(),
            calls: Vec::new(),
            loss: Loss::KILLED,
        }
    }

    /// Recovers, goes on for a while, and crashes again, possibly while recovering.
    fn live(&mut self) -> Result<(), String> {
        let image = crash(&self.calls, self.loss);
        let killed = self.loss.data == DataLoss::Kept && self.loss.names == NameLoss::Kept;
        let (written, structural) = examine(&image, &self.events, &self.calls, killed, &self.options)?;
        self.forget_undone(written, structural);
        if !killed {
            // What is found after a loss of power is durable.
            self.calls = image.as_calls();
            if !self.events.is_empty() {
                self.calls.push(Call::Begin(self.events.len()));
                self.calls.push(Call::Done(self.events.len()));
                self.events.push(Event::Sync);
            }
        }
        let before = self.calls.len();
        let root = scratch();
        image.materialise(root.path());
        let storage = RecordingStorage::resume(root.path(), std::mem::take(&mut self.calls));
        let own = self.options.clone().storage(std::sync::Arc::new(storage.clone()));
        let mut silo = None;
        let count = self.generator.below(12);
        let end = self.events.len() + 1 + count;
        while self.events.len() < end {
            let event = self.next_event(silo.is_some());
            let at = self.events.len();
            storage.note(Call::Begin(at));
            let done = perform(&mut silo, &root.path().join(SILO), &own, at, &event);
            done.map_err(|e| format!("{event:?}: {e}"))?;
            storage.note(Call::Done(at));
            self.events.push(event);
        }
        let mut calls = storage.calls();
        let cut = before + self.generator.below(calls.len() - before + 1);
        calls.truncate(cut);
        self.events.truncate(progress(&calls).0);
        self.calls = calls;
        self.loss =
            if self.generator.below(3) == 0 { Loss::KILLED } else { random_loss(&mut self.generator) };
        Ok(())
    }

    /// The events that the crash undid never happened.
    fn forget_undone(&mut self, written: usize, structural: usize) {
        for (at, event) in self.events.iter_mut().enumerate() {
            if (event.writes() && at >= written) || (event.is_structural() && at >= structural) {
                *event = Event::Undone;
            }
        }
        let begun = self.events.len();
        if progress(&self.calls).1 == begun {
            return;
        }
        // The last event was under way. What survived of it is promised once the next open is done.
        match &mut self.events[begun - 1] {
            Event::Batch(_, durability) => *durability = Durability::Process,
            event if !event.writes() && !event.is_structural() => *event = Event::Undone,
            _ => {}
        }
    }

    fn next_event(&mut self, open: bool) -> Event {
        if !open {
            return Event::Open;
        }
        let contents = contents_after(&self.events, self.events.len(), self.events.len());
        for name in [DOCS, LOG] {
            if !contents.contains_key(name) {
                return Event::Create(name);
            }
        }
        self.generator.event(contents.contains_key(EXTRA))
    }
}

#[test]
fn lives_full_of_crashes_lose_nothing_that_was_promised() {
    let started = Instant::now();
    let mut round = 0;
    loop {
        let seeds: Vec<u64> = (0..16).map(|i| seed() * 1_000_000 + round * 16 + i).collect();
        in_parallel(&seeds, |&seed| {
            let mut lives = Lives::new(seed);
            for life in 0..30 {
                let loss = lives.loss;
                lives.live().map_err(|what| format!("seed {seed}, life {life}, {loss:?}: {what}"))?;
            }
            Ok(())
        });
        round += 1;
        if campaign().is_none_or(|limit| started.elapsed() > limit) {
            break;
        }
    }
    println!("{} silos of 30 lives each", round * 16);
}

/// Calls of opening a state, after those that made it.
fn record_recovery(image: &Image, options: &Options) -> Result<Vec<Call>, String> {
    let root = scratch();
    image.materialise(root.path());
    let storage = RecordingStorage::resume(root.path(), image.as_calls());
    let own = options.clone().storage(std::sync::Arc::new(storage.clone()));
    let silo = Silo::open(root.path().join(SILO), own).map_err(|e| format!("recovery: {e}"))?;
    let calls = storage.calls();
    drop(silo);
    Ok(calls)
}

#[test]
fn a_crash_during_recovery_changes_nothing() {
    let recorded = record(short_history(), &options(4096));
    let mut generator = Generator::new(seed() + 1);
    let jobs: Vec<(usize, Loss)> =
        (0..60).map(|_| (generator.below(recorded.calls.len()), random_loss(&mut generator))).collect();
    in_parallel(&jobs, |&(cut, loss)| {
        let calls = &recorded.calls[..cut];
        let first = crash(calls, loss);
        let recovery = record_recovery(&first, &recorded.options)?;
        let base = first.as_calls().len();
        let killed = loss.data == DataLoss::Kept && loss.names == NameLoss::Kept;
        let judge = |image: &Image| examine(image, &recorded.events, calls, killed, &recorded.options);
        let told = |what| format!("cut {cut} {loss:?}: {what}");
        let survived = judge(&first).map_err(told)?;
        let mut generator = Generator::new(cut as u64);
        for second in base..=recovery.len() {
            let all = losses(&mut generator, 1);
            let again = &all[second % all.len()];
            let place = format!("{again:?} at {:?} of the recovery", recovery[..second].last());
            let after = judge(&crash(&recovery[..second], *again));
            match after.map_err(|what| told(format!("{place}: {what}")))? {
                same if same == survived => {}
                other => return Err(told(format!("{place}: {survived:?} became {other:?}"))),
            }
        }
        Ok(())
    });
}

#[test]
fn long_random_histories_recover_at_sampled_cuts() {
    let started = Instant::now();
    let mut round = 0;
    loop {
        let mut generator = Generator::new(seed() * 1000 + round);
        let segment_bytes = [4096, 16384, 65536][generator.below(3)];
        let recorded = record(generator.history(120), &options(segment_bytes));
        let jobs: Vec<(usize, Loss)> = (0..400)
            .map(|_| (generator.below(recorded.calls.len() + 1), random_loss(&mut generator)))
            .collect();
        in_parallel(&jobs, |&(cut, loss)| {
            let calls = &recorded.calls[..cut];
            let killed = loss.data == DataLoss::Kept && loss.names == NameLoss::Kept;
            examine(&crash(calls, loss), &recorded.events, calls, killed, &recorded.options)
                .map(|_| ())
                .map_err(|what| format!("round {round} cut {cut} {loss:?}: {what}"))
        });
        round += 1;
        match campaign() {
            Some(limit) if started.elapsed() < limit => {}
            None if round < 2 => {}
            _ => break,
        }
    }
    println!("{round} histories, 400 states each");
}
