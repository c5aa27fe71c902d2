//! Random work for a while, with everything that must stay bounded: size on disk, descriptors,
//! mappings, memory. `SILO_CAMPAIGN_SECONDS` makes it long.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support_model;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use datasilo::{Durability, IntKey, Silo, SiloReader, Snapshot, Strictness};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use support_model::operators::affine_step;
use support_model::world::{Change, KINDS, World, has_operator, settings};
use support_model::{bytes, campaign, dirs, seed, tiny_with_maintenance};

const KEYS: u64 = 400;

/// Resident memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn change(rng: &mut SmallRng, kind: usize, grown: bool) -> Change {
    match rng.random_range(0..10u32) {
        0..=1 => Change::Delete,
        // Values that operands made long begin anew.
        2..=6 if has_operator(kind) && !grown => Change::Merge(match kind {
            4 => affine_step(rng.random_range(0..8), rng.random::<u32>() | 1, rng.random()).to_vec(),
            _ => bytes(rng.random(), rng.random_range(0..40)),
        }),
        _ if kind == 4 => Change::Put(vec![1, 2, 0, 0, 0]),
        _ => Change::Put(bytes(rng.random(), rng.random_range(0..400))),
    }
}

struct Soak {
    rng: SmallRng,
    dir: tempfile::TempDir,
    world: World,
    silo: Option<Silo>,
    live_bytes: usize,
}

impl Soak {
    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("silo")
    }

    fn open(&mut self) {
        let options = tiny_with_maintenance().segment_bytes(64 << 10).checkpoint_ops(300);
        let silo = Silo::open(self.path(), options.checkpoint_bytes(64 << 10)).unwrap();
        for (kind, (name, ..)) in KINDS.iter().enumerate() {
            silo.create_keyspace(name, &settings(kind)).unwrap();
            self.world.keyspaces.entry(kind).or_default();
        }
        self.silo = Some(silo);
    }

    fn silo(&self) -> &Silo {
        self.silo.as_ref().unwrap()
    }

    fn next_change(&mut self, kind: usize) -> (IntKey, Change) {
        let key = IntKey::from(self.rng.random_range(0..KEYS));
        let value = self.world.keyspaces.get(&kind).and_then(|entries| entries.get(key.as_ref()));
        let grown = value.is_some_and(|value| value.len() > 500);
        let change = change(&mut self.rng, kind, grown);
        (key, change)
    }

    fn commit(&mut self) {
        let mut batch = self.silo().batch();
        for _ in 0..self.rng.random_range(1..30) {
            let kind = self.rng.random_range(0..KINDS.len());
            let keyspace = self.silo().keyspace(KINDS.get(kind).unwrap().0).unwrap();
            let (key, change) = self.next_change(kind);
            match &change {
                Change::Put(value) => batch.put(&keyspace, key, value).unwrap(),
                Change::Delete => batch.delete(&keyspace, key).unwrap(),
                Change::Merge(operand) => batch.merge(&keyspace, key, operand).unwrap(),
            }
            self.world.change(kind, key.as_ref(), &change);
        }
        let power = self.rng.random_ratio(1, 30);
        let durability = if power { Durability::Power } else { Durability::Process };
        self.silo().commit(&mut batch, durability).unwrap();
    }

    fn bulk(&mut self) {
        let kind = self.rng.random_range(0..KINDS.len());
        let changes: Vec<_> = (0..self.rng.random_range(0..300)).map(|_| self.next_change(kind)).collect();
        let silo = self.silo.as_ref().unwrap();
        let keyspace = silo.keyspace(KINDS.get(kind).unwrap().0).unwrap();
        let session = silo.bulk(&[&keyspace]).unwrap();
        let mut writer = session.writer();
        for (key, change) in &changes {
            match change {
                Change::Put(value) => writer.put(&keyspace, key, value).unwrap(),
                Change::Delete => writer.delete(&keyspace, key).unwrap(),
                Change::Merge(operand) => writer.merge(&keyspace, key, operand).unwrap(),
            }
        }
        writer.close().unwrap();
        if self.rng.random_ratio(1, 4) {
            return; // abandoned
        }
        session.finish().unwrap();
        for (key, change) in &changes {
            self.world.change(kind, key.as_ref(), change);
        }
    }

    /// Compacts and looks at everything that must not grow.
    fn settle(&mut self) {
        let keys: BTreeSet<Vec<u8>> = (0..KEYS).map(|n| n.to_le_bytes().to_vec()).collect();
        self.silo().compact().unwrap();
        self.silo().check(Strictness::Strict).unwrap();
        self.world.verify(&self.silo().snapshot(), &keys);
        self.world.verify_stats(self.silo());
        let entries = self.world.keyspaces.values().flat_map(|entries| entries.iter());
        self.live_bytes = entries.map(|(key, value)| key.len() + value.len() + 100).sum();
        let on_disk = dirs::total_bytes(&self.path());
        let allowed = self.live_bytes as u64 * 3 + (512 << 10);
        assert!(on_disk < allowed, "{on_disk} bytes on disk for {} live ones", self.live_bytes);
        // The maintenance thread holds what it compacts until it is done.
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.silo().stats().unwrap().pinned_bytes > 0 {
            assert!(Instant::now() < deadline, "segments stay pinned without a snapshot");
            std::thread::sleep(Duration::from_millis(5));
        }
        let stats = self.silo().stats().unwrap();
        assert!(stats.keyspaces.iter().all(|keyspace| keyspace.index_runs <= 3));
    }
}

#[test]
fn nothing_grows_without_bound() {
    let time = campaign().unwrap_or(Duration::from_secs(6));
    let dir = tempfile::tempdir().unwrap();
    let rng = SmallRng::seed_from_u64(seed());
    let mut soak = Soak { rng, dir, world: World::default(), silo: None, live_bytes: 0 };
    soak.open();
    let reader = SiloReader::open(soak.path(), tiny_with_maintenance()).unwrap();
    let started = Instant::now();
    let mut first: Option<(usize, usize, u64)> = None;
    let mut held: Option<(Snapshot, World)> = None;
    let mut rounds = 0;
    while started.elapsed() < time || rounds < 3 {
        for _ in 0..150 {
            soak.commit();
        }
        match soak.rng.random_range(0..5u32) {
            0 => soak.bulk(),
            1 => reader.refresh().unwrap(),
            2 => {
                soak.silo.take().unwrap().close().unwrap();
                soak.open();
            }
            3 => held = Some((soak.silo().snapshot(), soak.world.clone())),
            _ => {
                if let Some((snapshot, world)) = held.take() {
                    world.verify(&snapshot, &BTreeSet::new());
                }
            }
        }
        rounds += 1;
        if rounds % 4 == 0 {
            held = None;
            soak.settle();
            reader.refresh().unwrap();
            soak.world.verify(&reader.snapshot(), &BTreeSet::new());
            let now = (dirs::open_descriptors(), dirs::mappings_of(soak.dir.path()), resident_kib());
            let base = *first.get_or_insert(now);
            assert!(now.0 < base.0 + 60, "descriptors: {now:?} after {base:?}");
            assert!(now.1 < base.1 + 60, "mappings: {now:?} after {base:?}");
            assert!(now.2 < base.2 + (100 << 10), "resident KiB: {now:?} after {base:?}");
        }
    }
    drop(held);
    soak.settle();
    println!("{rounds} rounds, {} bytes live, {:?} at the end", soak.live_bytes, first);
}
