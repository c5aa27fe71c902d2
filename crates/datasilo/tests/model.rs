//! Random operations on a silo, compared with plain maps; failures shrink.
//!
//! The default run starts from a fixed seed. `SILO_SEED` chooses another one, and with
//! `SILO_CAMPAIGN_SECONDS` each test goes on with seed after seed for that long.
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

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use datasilo::{BulkWriter, Durability, Options, Silo, SiloReader, Snapshot, Strictness, repair};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use support_model::operators::affine_step;
use support_model::world::{Change, KINDS, World, has_operator, settings};
use support_model::{bytes, campaign, dirs, seed, tiny, tiny_with_maintenance};

/// Which key: few of several lengths, which meet often, or one of many.
#[derive(Debug, Clone, Copy)]
enum KeyChoice {
    Few(u8),
    Many(u16),
}

impl KeyChoice {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Few(0) => Vec::new(),
            Self::Few(1) => vec![7; 300],
            Self::Few(2) => vec![7; 254],
            Self::Few(n) => u64::from(n).to_le_bytes().to_vec(),
            Self::Many(n) => (1000 + u64::from(n)).to_le_bytes().to_vec(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Put,
    Delete,
    Merge,
}

/// A mutation; `len` and `seed` make the value.
#[derive(Debug, Clone)]
struct Mutation {
    kind: usize,
    key: KeyChoice,
    verb: Verb,
    len: usize,
    seed: u64,
}

impl Mutation {
    fn change(&self) -> Change {
        match self.verb {
            Verb::Delete => Change::Delete,
            Verb::Merge if has_operator(self.kind) => Change::Merge(self.operand()),
            // Keyspaces of numbers have values of their own shape.
            _ if KINDS[self.kind].2 == "affine" => {
                let register = |n: u64| {
                    let number = bytes(self.seed + n, 4);
                    [n as u8, number[0], number[1], number[2], number[3]]
                };
                Change::Put((0..self.len.min(5000) as u64 / 20).flat_map(register).collect())
            }
            _ => Change::Put(bytes(self.seed, self.len)),
        }
    }

    fn operand(&self) -> Vec<u8> {
        if KINDS[self.kind].2 == "affine" {
            let steps = (self.len as u64 / 40).min(100);
            let step = |n| affine_step((self.seed + n) as u8 % 8, self.seed as u32 | 1, n as u32 + 1);
            (0..=steps).flat_map(step).collect()
        } else {
            bytes(self.seed, if self.len > 3000 { self.len / 4 } else { self.len / 8 })
        }
    }
}

/// How the mutations of a bulk session get their ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranks {
    ByWriter,
    /// Every mutation is given one, in an order of its own.
    Shuffled,
    /// Given now and then; mutations in between count on.
    Blocks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finish,
    Abandon,
    Crash,
}

#[derive(Debug, Clone)]
enum Step {
    Batch { mutations: Vec<Mutation>, power: bool },
    Bulk { writers: Vec<Vec<Mutation>>, ranks: Ranks, threads: bool, end: End },
    Drop(usize),
    Create(usize),
    Checkpoint,
    Compact,
    Sync,
    Hold,
    Release(usize),
    OpenReader,
    Refresh,
    Reopen { promote: bool },
    Crash { lose_mark: bool },
    Backup { repaired: bool },
    Verify,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let key = prop_oneof![
        3 => (0u8..6).prop_map(KeyChoice::Few),
        2 => (0u16..300).prop_map(KeyChoice::Many),
    ];
    let verb = prop_oneof![5 => Just(Verb::Put), 2 => Just(Verb::Delete), 5 => Just(Verb::Merge)];
    let len = prop_oneof![
        2 => Just(0usize),
        12 => 1usize..200,
        6 => 200usize..1500,
        2 => 4000usize..4200,
        1 => 8000usize..20_480,
    ];
    (0..KINDS.len(), key, verb, len, 0u64..1_000_000).prop_map(|(kind, key, verb, len, seed)| Mutation {
        kind,
        key,
        verb,
        len,
        seed,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let bulk_mutations = proptest::collection::vec(proptest::collection::vec(mutation(), 0..25), 1..4);
    let ranks = prop_oneof![Just(Ranks::ByWriter), Just(Ranks::Shuffled), Just(Ranks::Blocks)];
    let end = prop_oneof![4 => Just(End::Finish), 1 => Just(End::Abandon), 1 => Just(End::Crash)];
    prop_oneof![
        30 => (proptest::collection::vec(mutation(), 0..20), any::<bool>())
            .prop_map(|(mutations, power)| Step::Batch { mutations, power }),
        4 => (bulk_mutations, ranks, any::<bool>(), end)
            .prop_map(|(writers, ranks, threads, end)| Step::Bulk { writers, ranks, threads, end }),
        1 => (0..KINDS.len()).prop_map(Step::Drop),
        2 => (0..KINDS.len()).prop_map(Step::Create),
        6 => Just(Step::Checkpoint),
        4 => Just(Step::Compact),
        1 => Just(Step::Sync),
        3 => Just(Step::Hold),
        1 => (0usize..8).prop_map(Step::Release),
        2 => Just(Step::OpenReader),
        4 => Just(Step::Refresh),
        2 => any::<bool>().prop_map(|promote| Step::Reopen { promote }),
        3 => any::<bool>().prop_map(|lose_mark| Step::Crash { lose_mark }),
        1 => any::<bool>().prop_map(|repaired| Step::Backup { repaired }),
        4 => Just(Step::Verify),
    ]
}

/// Capacities of one run.
#[derive(Debug, Clone, Copy)]
struct Capacities {
    segment_kib: u64,
    region_kib: usize,
}

fn capacities() -> impl Strategy<Value = Capacities> {
    let segment_kib = prop_oneof![Just(4u64), Just(16), Just(64)];
    let region_kib = prop_oneof![Just(1usize), Just(8)];
    (segment_kib, region_kib).prop_map(|(segment_kib, region_kib)| Capacities { segment_kib, region_kib })
}

/// A silo beside the world that it should hold.
struct Machine {
    root: tempfile::TempDir,
    options: Options,
    dir: PathBuf,
    dirs_made: usize,
    silo: Option<Silo>,
    world: World,
    /// Every key ever written.
    keys: BTreeSet<Vec<u8>>,
    held: Vec<(Snapshot, World)>,
    reader: Option<SiloReader>,
}

impl Machine {
    fn new(options: Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("silo0");
        let silo = Silo::open(&dir, options.clone()).unwrap();
        let keys = [b"absent".to_vec(), vec![]].into();
        let (held, reader, world) = (Vec::new(), None, World::default());
        let mut machine =
            Self { root, options, dir, dirs_made: 1, silo: Some(silo), world, keys, held, reader };
        (0..KINDS.len()).for_each(|kind| machine.create(kind));
        machine
    }

    fn silo(&self) -> &Silo {
        self.silo.as_ref().unwrap()
    }

    fn new_dir(&mut self) -> PathBuf {
        self.dirs_made += 1;
        self.root.path().join(format!("silo{}", self.dirs_made))
    }

    fn create(&mut self, kind: usize) {
        self.silo().create_keyspace(KINDS[kind].0, &settings(kind)).unwrap();
        self.world.keyspaces.entry(kind).or_default();
    }

    fn exists(&self, mutation: &Mutation) -> bool {
        self.world.keyspaces.contains_key(&mutation.kind)
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Batch { mutations, power } => self.batch(mutations, *power),
            Step::Bulk { writers, ranks, threads, end } => self.bulk(writers, *ranks, *threads, *end),
            Step::Drop(kind) => {
                if self.world.keyspaces.remove(kind).is_some() {
                    self.silo().drop_keyspace(KINDS[*kind].0).unwrap();
                }
            }
            Step::Create(kind) => self.create(*kind),
            Step::Checkpoint => {
                self.silo().checkpoint().unwrap();
            }
            Step::Compact => {
                self.silo().compact().unwrap();
            }
            Step::Sync => self.silo().sync().unwrap(),
            Step::Hold => self.held.push((self.silo().snapshot(), self.world.clone())),
            Step::Release(at) => {
                if *at < self.held.len() {
                    self.held.swap_remove(*at);
                }
            }
            Step::OpenReader => {
                let reader = SiloReader::open(&self.dir, self.options.clone()).unwrap();
                self.reader = Some(reader);
                self.verify_reader();
            }
            Step::Refresh => {
                if let Some(reader) = &self.reader {
                    reader.refresh().unwrap();
                    self.verify_reader();
                    self.held.push((reader.snapshot(), self.world.clone()));
                }
            }
            Step::Reopen { promote } => {
                self.silo.take().unwrap().close().unwrap();
                self.silo = Some(match &self.reader {
                    Some(reader) if *promote => reader.promote().unwrap(),
                    _ => Silo::open(&self.dir, self.options.clone()).unwrap(),
                });
                assert_eq!(self.silo().recovery(), datasilo::RecoveryReport::default());
            }
            Step::Crash { lose_mark } => self.crash(*lose_mark),
            Step::Backup { repaired } => self.backup(*repaired),
            Step::Verify => self.verify(),
        }
    }

    fn batch(&mut self, mutations: &[Mutation], power: bool) {
        let silo = self.silo();
        let mut batch = silo.batch();
        let present: Vec<&Mutation> = mutations.iter().filter(|m| self.exists(m)).collect();
        for mutation in &present {
            let keyspace = silo.keyspace(KINDS[mutation.kind].0).unwrap();
            let key = mutation.key.bytes();
            match mutation.change() {
                Change::Put(value) => batch.put(&keyspace, key, value).unwrap(),
                Change::Delete => batch.delete(&keyspace, key).unwrap(),
                Change::Merge(operand) => batch.merge(&keyspace, key, operand).unwrap(),
            }
        }
        let before = silo.snapshot().seq();
        let durability = if power { Durability::Power } else { Durability::Process };
        let seq = silo.commit(&mut batch, durability).unwrap();
        assert_eq!(seq, before + present.len() as u64);
        assert!(batch.is_empty());
        for mutation in present {
            let key = mutation.key.bytes();
            self.world.change(mutation.kind, &key, &mutation.change());
            self.keys.insert(key);
        }
    }

    fn bulk(&mut self, writers: &[Vec<Mutation>], ranks: Ranks, threads: bool, end: End) {
        let silo = self.silo.as_ref().unwrap();
        let kinds: BTreeSet<usize> =
            writers.iter().flatten().filter(|m| self.exists(m)).map(|m| m.kind).collect();
        let keyspaces: BTreeMap<usize, _> =
            kinds.iter().map(|&kind| (kind, silo.keyspace(KINDS[kind].0).unwrap())).collect();
        let session = silo.bulk(&keyspaces.values().collect::<Vec<_>>()).unwrap();
        let mut ordered: BTreeMap<u64, &Mutation> = BTreeMap::new();
        let mut plans: Vec<(BulkWriter, Vec<(Option<u64>, &Mutation)>)> = Vec::new();
        for (index, mutations) in writers.iter().enumerate() {
            let mut plan = Vec::new();
            for (position, mutation) in mutations.iter().filter(|m| self.exists(m)).enumerate() {
                let (index, position) = (index as u64, position as u64);
                // Ranks differ, and their order is neither that of writers nor of positions.
                let (given, rank) = match ranks {
                    Ranks::ByWriter => (None, (index << 36) + position),
                    Ranks::Shuffled => {
                        let rank = (position * 7 + index * 3) % 31 * 1000 + position * 4 + index;
                        (Some(rank), rank)
                    }
                    Ranks::Blocks => {
                        let block = 900_000 - (position / 4) * 100_000 + index * 1000;
                        (position.is_multiple_of(4).then_some(block), block + position % 4)
                    }
                };
                plan.push((given, mutation));
                assert!(ordered.insert(rank, mutation).is_none());
            }
            plans.push((session.writer(), plan));
        }
        // Values to replace come from this moment, or, stale, from an earlier one.
        let now = silo.snapshot();
        let snapshots: Vec<&Snapshot> = self.held.iter().map(|held| &held.0).chain([&now, &now]).collect();
        let write = |(mut writer, plan): (BulkWriter, Vec<(Option<u64>, &Mutation)>)| {
            for (at, (rank, mutation)) in plan.into_iter().enumerate() {
                if let Some(rank) = rank {
                    writer.set_rank(rank).unwrap();
                }
                let (keyspace, key) = (&keyspaces[&mutation.kind], mutation.key.bytes());
                match mutation.change() {
                    Change::Put(value) => {
                        let known = snapshots[(at + value.len()) % snapshots.len()].get_parts(keyspace, &key);
                        // The keyspace may be younger than the snapshot, or have no plain value.
                        match known.ok().flatten().and_then(|parts| parts.base) {
                            Some(old) => writer.replace(keyspace, &old, value).unwrap(),
                            None => writer.put(keyspace, key, value).unwrap(),
                        }
                    }
                    Change::Delete => writer.delete(keyspace, key).unwrap(),
                    Change::Merge(operand) => writer.merge(keyspace, key, operand).unwrap(),
                }
            }
            writer.close().unwrap();
        };
        if threads {
            std::thread::scope(|scope| {
                for plan in plans {
                    scope.spawn(|| write(plan));
                }
            });
        } else {
            plans.into_iter().for_each(write);
        }
        self.world.verify(&silo.snapshot(), &BTreeSet::new());
        match end {
            End::Finish => {
                let report = session.finish().unwrap();
                assert_eq!(report.ops, ordered.len() as u64);
                for mutation in ordered.into_values() {
                    let key = mutation.key.bytes();
                    self.world.change(mutation.kind, &key, &mutation.change());
                    self.keys.insert(key);
                }
                let snapshot = silo.snapshot();
                self.world.verify(&snapshot, &self.keys);
            }
            End::Abandon => drop(session),
            End::Crash => {
                let to = self.root.path().join(format!("silo{}", self.dirs_made + 1));
                dirs::copy(&self.dir, &to);
                drop(session);
                self.dirs_made += 1;
                self.move_to(to);
            }
        }
    }

    /// Goes on in a copy of the directory, as it is left when the process dies now.
    fn crash(&mut self, lose_mark: bool) {
        let to = self.new_dir();
        dirs::copy(&self.dir, &to);
        if lose_mark {
            // The mark is written but not synced: it may be lost.
            let _ = std::fs::remove_file(to.join("MARK"));
        }
        self.move_to(to);
    }

    fn move_to(&mut self, dir: PathBuf) {
        self.silo = None;
        self.reader = None;
        self.dir = dir;
        // A reader recovers in memory, before and without the writer.
        let reader = SiloReader::open(&self.dir, self.options.clone()).unwrap();
        self.world.verify(&reader.snapshot(), &self.keys);
        self.silo = Some(Silo::open(&self.dir, self.options.clone()).unwrap());
        self.held.push((reader.snapshot(), self.world.clone()));
        reader.refresh().unwrap();
        self.reader = Some(reader);
        self.verify_reader();
        self.verify();
    }

    fn backup(&mut self, repaired: bool) {
        let target = self.new_dir();
        self.silo().backup(&target).unwrap();
        if repaired {
            repair(&target, &self.options).unwrap();
        }
        let copy = Silo::open(&target, self.options.clone()).unwrap();
        self.world.verify(&copy.snapshot(), &self.keys);
        copy.check(Strictness::Strict).unwrap();
    }

    fn verify(&self) {
        self.world.verify(&self.silo().snapshot(), &self.keys);
        self.world.verify_stats(self.silo());
        self.silo().check(Strictness::Strict).unwrap();
    }

    fn verify_reader(&self) {
        let reader = self.reader.as_ref().unwrap();
        self.world.verify(&reader.snapshot(), &self.keys);
        reader.check(Strictness::Strict).unwrap();
    }

    /// Looks at everything once more, before and after the silo is closed.
    fn finish(mut self) {
        self.verify();
        self.held.push((self.silo().snapshot(), self.world.clone()));
        self.verify_held();
        self.silo.take().unwrap().close().unwrap();
        self.verify_held();
        let silo = Silo::open(&self.dir, self.options.clone()).unwrap();
        self.world.verify(&silo.snapshot(), &self.keys);
        silo.check(Strictness::Strict).unwrap();
    }

    fn verify_held(&self) {
        for (snapshot, world) in &self.held {
            world.verify(snapshot, &self.keys);
        }
    }
}

/// Runs cases from the seed on: so many, or for as long as the campaign goes.
fn explore<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let started = Instant::now();
    let mut seed = seed();
    loop {
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_time: 120_000,
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let result = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
            test(value);
            Ok::<(), TestCaseError>(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, input)) => {
                panic!("SILO_SEED={seed}: {why}\nsmallest input: {input:#?}")
            }
            Err(other) => panic!("SILO_SEED={seed}: {other}"),
        }
        if campaign().is_none_or(|time| started.elapsed() >= time) {
            return;
        }
        seed = seed.wrapping_add(1);
    }
}

#[test]
fn random_histories_agree_with_maps() {
    let strategy = (capacities(), proptest::collection::vec(step(), 1..50));
    explore(60, &strategy, |(capacities, steps)| {
        let options =
            tiny().segment_bytes(capacities.segment_kib << 10).region_bytes(capacities.region_kib << 10);
        let mut machine = Machine::new(options);
        steps.iter().for_each(|step| machine.run(step));
        machine.finish();
    });
}

/// Copying the files of a silo at work is no crash, so these steps turn into clean ends.
fn without_crashes(step: Step) -> Step {
    match step {
        Step::Crash { .. } => Step::Reopen { promote: true },
        Step::Bulk { writers, ranks, threads, end: End::Crash } => {
            Step::Bulk { writers, ranks, threads, end: End::Abandon }
        }
        step => step,
    }
}

#[test]
fn random_histories_agree_with_maps_while_maintenance_runs() {
    let steps = proptest::collection::vec(step().prop_map(without_crashes), 1..60);
    explore(40, &(capacities(), steps), |(capacities, steps)| {
        let options = tiny_with_maintenance()
            .segment_bytes(capacities.segment_kib << 10)
            .region_bytes(capacities.region_kib << 10);
        let mut machine = Machine::new(options);
        steps.iter().for_each(|step| machine.run(step));
        machine.finish();
    });
}

/// Batches alone, with a checkpoint or compaction in between: the quickest way to shrink a
/// failure of the read path.
#[test]
fn batches_and_maintenance_alone_agree_with_maps() {
    let step = prop_oneof![
        6 => (proptest::collection::vec(mutation(), 1..6), Just(false))
            .prop_map(|(mutations, power)| Step::Batch { mutations, power }),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Compact),
        1 => Just(Step::Verify),
        1 => Just(Step::Hold),
    ];
    explore(60, &proptest::collection::vec(step, 1..25), |steps| {
        let mut machine = Machine::new(tiny());
        steps.iter().for_each(|step| machine.run(step));
        machine.finish();
    });
}
