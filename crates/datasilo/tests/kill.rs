//! Real processes that are killed at random moments, over one store.
//!
//! A child (this test binary, started again) commits, loads, checkpoints and compacts, and says through
//! a pipe what it begins and what was acknowledged. After each SIGKILL, everything
//! acknowledged must be there, since no power was lost, and nothing by halves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use datasilo::{Durability, Options, Silo, SiloReader, Strictness};
use support::history::{
    Contents, DOCS, Event, Generator, LOG, apply, counter_of, difference, dump, keyspace_options,
    open_and_dump, options, perform,
};
use support::{assert_no_leftovers, campaign, scratch, seed};

const CHILD_DIR: &str = "SILO_KILL_CHILD_DIR";
const CHILD_SEED: &str = "SILO_KILL_CHILD_SEED";

/// What event number `at` does; the same in the child that does it and in the parent's model.
fn event(seed: u64, at: usize) -> Event {
    let mut generator = Generator::new(seed.wrapping_mul(0x9E37_79B9).wrapping_add(at as u64));
    let count = generator.below(8);
    match generator.below(24) {
        0 => Event::Bulk(generator.ops(40, false)),
        1..8 => Event::Batch(generator.ops(count, false), Durability::Power),
        _ => Event::Batch(generator.ops(count, false), Durability::Process),
    }
}

fn store_options(background: bool) -> Options {
    options(16 << 10).background(background).checkpoint_ops(400).checkpoint_bytes(32 << 10)
}

/// Tells the parent something, unless it is gone.
fn tell(word: &str, number: usize) {
    let mut out = std::io::stdout().lock();
    let told = out.write_all(format!("@{word} {number}\n").as_bytes()).and_then(|()| out.flush());
    if told.is_err() {
        std::process::exit(0);
    }
}

fn run_child(dir: &Path, seed: u64) -> ! {
    let mut generator = Generator::new(u64::from(std::process::id()) ^ seed << 20);
    let own = store_options(generator.below(2) == 0);
    let mut silo = None;
    let mut at = 0;
    loop {
        if silo.is_none() {
            let open = Silo::open(dir, own.clone()).unwrap();
            for name in [DOCS, LOG] {
                open.create_keyspace(name, &keyspace_options(name)).unwrap();
            }
            at = counter_of(&dump(&open.snapshot()).unwrap());
            tell("open", at);
            silo = Some(open);
        }
        let between = match generator.below(60) {
            0..3 => Some(Event::Checkpoint),
            3..5 => Some(Event::Compact),
            5 => Some(Event::Close),
            6 => Some(Event::Sync),
            _ => None,
        };
        if let Some(between) = between {
            perform(&mut silo, dir, &own, at, &between).unwrap();
            continue;
        }
        tell("begin", at);
        perform(&mut silo, dir, &own, at, &event(seed, at)).unwrap();
        at += 1;
        tell("done", at);
    }
}

/// Not a test of its own: where the killed processes come in.
#[test]
fn a_child_process_enters_here() {
    if let (Ok(dir), Ok(seed)) = (std::env::var(CHILD_DIR), std::env::var(CHILD_SEED)) {
        run_child(&PathBuf::from(dir), seed.parse().unwrap());
    }
}

/// What a child said before it was killed.
#[derive(Default)]
struct Words {
    begun: usize,
    done: usize,
}

/// Starts a child, kills it after a while, and returns what it had said.
fn run_and_kill(dir: &Path, seed: u64, after: Duration, known: usize) -> Words {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_process_enters_here", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let listener = std::thread::spawn(move || {
        let mut words = Words { begun: known, done: known };
        for line in out.lines().map_while(Result::ok) {
            let Some((_, said)) = line.split_once('@') else {
                continue;
            };
            // The last line may be cut.
            match said.split_once(' ').and_then(|(word, n)| Some((word, n.parse::<usize>().ok()?))) {
                Some(("begin", at)) => words.begun = words.begun.max(at + 1),
                Some(("done", at)) => words.done = words.done.max(at),
                _ => {}
            }
        }
        words
    });
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(ended.is_none(), "the child ended by itself: {}", String::from_utf8_lossy(&output.stderr));
    listener.join().unwrap()
}

/// The parent's idea of the store.
struct Model {
    seed: u64,
    contents: Contents,
    written: usize,
}

impl Model {
    fn advance_to(&mut self, written: usize) {
        for name in [DOCS, LOG] {
            self.contents.entry(name.to_owned()).or_default();
        }
        for at in self.written..written {
            match event(self.seed, at) {
                Event::Batch(ops, _) | Event::Bulk(ops) => apply(&mut self.contents, &ops, at + 1),
                _ => unreachable!("only these are numbered"),
            }
        }
        self.written = written;
    }

    fn compare(&mut self, found: &Contents, words: &Words, round: u32) {
        let written = counter_of(found);
        assert!(
            (words.done..=words.begun).contains(&written),
            "round {round}: {written} are there, {} were acknowledged, {} begun",
            words.done,
            words.begun
        );
        if written == 0 {
            return; // the keyspaces may not be there yet
        }
        self.advance_to(written);
        assert!(*found == self.contents, "round {round}: {}", difference(found, &self.contents));
    }
}

#[test]
fn what_was_acknowledged_survives_kills() {
    let started = Instant::now();
    let root = scratch();
    let dir = root.path().join("silo");
    let mut generator = Generator::new(seed());
    let mut model = Model { seed: seed(), contents: Contents::new(), written: 0 };
    let mut round = 0;
    loop {
        // Some are killed while they open, some after hundreds of commits.
        let longest = [12, 30, 60, 120][generator.below(4)];
        let after = Duration::from_micros(3000 + generator.below(longest * 1000) as u64);
        let words = run_and_kill(&dir, model.seed, after, model.written);
        if dir.join("MANIFEST").exists() {
            let reader = SiloReader::open(&dir, store_options(false)).unwrap();
            reader.check(Strictness::Strict).unwrap();
            model.compare(&dump(&reader.snapshot()).unwrap(), &words, round);
            if round % 4 == 3 {
                let (silo, found) = open_and_dump(&dir, &store_options(false)).unwrap();
                model.compare(&found, &words, round);
                assert_no_leftovers(&silo, &dir);
            }
        } else {
            assert!(words.done == 0 && model.written == 0, "the silo is gone");
        }
        round += 1;
        match campaign() {
            Some(limit) if started.elapsed() < limit => {}
            None if round < 60 => {}
            _ => break,
        }
    }
    println!("{round} kills, {} commits and loads", model.written);
    assert!(model.written > round as usize, "the children come to do something");
}
