//! Keys whose hashes collide: equal tags, full lines, full pages, spilled tables.
//!
//! A silo's hash seed is random and secret; these tests read it and search for keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::bytes::file_header::SegmentRole;
use crate::bytes::index::{Geometry, PAGE_SLOTS};
use crate::files::run::{Run, SegmentMap, Target, key_hash};
use crate::files::run_builder::{RunBuilder, RunSpec};
use crate::files::segment::{Segment, SegmentSpec};
use crate::storage::{DirFiles, OsStorage};
use crate::{Durability, Keyspace, KeyspaceOptions, Options, Silo, Strictness};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

struct Bench {
    dir: tempfile::TempDir,
    silo: Option<Silo>,
    model: Model,
}

fn options() -> Options {
    Options::new().segment_bytes(1 << 24).allocate_bytes(1 << 16).background(false)
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path(), options()).unwrap();
        silo.create_keyspace("k", &KeyspaceOptions::new()).unwrap();
        Self { dir, silo: Some(silo), model: Model::new() }
    }

    fn silo(&self) -> &Silo {
        self.silo.as_ref().unwrap()
    }

    fn space(&self) -> Keyspace {
        self.silo().keyspace("k").unwrap()
    }

    /// Numbered keys with these hash properties.
    fn keys(&self, count: usize, from: u64, fits: impl Fn(u64) -> bool) -> Vec<Vec<u8>> {
        let seed = self.silo().core.hash_seed;
        let all = (from..).map(|number: u64| number.to_le_bytes().to_vec());
        all.filter(|key| fits(key_hash(key, seed))).take(count).collect()
    }

    fn put(&mut self, keys: &[Vec<u8>], value: &[u8]) {
        let space = self.space();
        let mut batch = self.silo().batch();
        for key in keys {
            batch.put(&space, key, value).unwrap();
        }
        self.silo().commit(&mut batch, Durability::Process).unwrap();
        self.model.extend(keys.iter().map(|key| (key.clone(), value.to_vec())));
    }

    fn delete(&mut self, keys: &[Vec<u8>]) {
        let space = self.space();
        let mut batch = self.silo().batch();
        for key in keys {
            batch.delete(&space, key).unwrap();
            self.model.remove(key);
        }
        self.silo().commit(&mut batch, Durability::Process).unwrap();
    }

    /// Everything is found, nothing else is, and the structures agree.
    fn verify(&self, absent: &[Vec<u8>]) {
        let (space, snapshot) = (self.space(), self.silo().snapshot());
        for (key, value) in &self.model {
            assert_eq!(snapshot.get(&space, key).unwrap().as_deref(), Some(&value[..]));
        }
        for key in absent.iter().filter(|key| !self.model.contains_key(*key)) {
            assert_eq!(snapshot.get(&space, key).unwrap(), None);
        }
        let listed: Model = snapshot
            .iter(&space)
            .unwrap()
            .map(|e| e.unwrap())
            .map(|(k, v)| (k.to_vec(), v.to_vec()))
            .collect();
        assert!(listed == self.model, "{} entries are listed, {} are right", listed.len(), self.model.len());
        self.silo().check(Strictness::Strict).unwrap();
    }

    fn checkpoint(&self) {
        self.silo().checkpoint().unwrap();
    }

    fn reopen(&mut self) {
        self.silo.take().unwrap().close().unwrap();
        self.silo = Some(Silo::open(self.dir.path(), options()).unwrap());
    }

    fn runs(&self) -> Vec<Arc<Run>> {
        self.silo().core.version.load().keyspaces[0].runs.clone()
    }
}

/// More keys than one page holds, all with their home in the same page of two.
fn crowd_one_page(top_bit: u64) {
    let mut bench = Bench::new();
    let crowd = bench.keys(900, 0, |hash| hash >> 63 == top_bit);
    let absent = bench.keys(500, 1 << 40, |_| true);
    bench.put(&crowd[..700], b"first");
    bench.checkpoint();
    let runs = bench.runs();
    assert_eq!((runs[0].geometry().page_count(), runs[0].is_spilled()), (2, true));
    assert_eq!(runs[0].table_pages(), 2 + top_bit, "the last page spills behind the table");
    bench.verify(&absent);
    bench.verify(&crowd);
    // A second run of the same crowd is merged with the first: newer ones win.
    bench.put(&crowd[300..900], b"second");
    bench.checkpoint();
    bench.verify(&absent);
    bench.delete(&crowd[..200]);
    bench.verify(&crowd);
    bench.checkpoint();
    bench.verify(&crowd);
    bench.silo().compact().unwrap();
    bench.verify(&crowd);
    bench.reopen();
    bench.verify(&crowd);
}

#[test]
fn a_page_with_more_keys_than_slots_spills_into_the_next() {
    crowd_one_page(0);
}

#[test]
fn the_last_page_spills_behind_the_table() {
    crowd_one_page(1);
}

#[test]
fn keys_of_one_line_spread_over_the_page() {
    let mut bench = Bench::new();
    // One page, whose line is the top six bits: the last line, so that probing goes round.
    let line = bench.keys(400, 0, |hash| hash >> 58 == 63);
    let absent = bench.keys(100, 1 << 40, |hash| hash >> 58 == 63);
    bench.put(&line, b"v");
    bench.checkpoint();
    assert!(!bench.runs()[0].is_spilled());
    bench.verify(&absent);
    bench.delete(&line[..399]);
    bench.checkpoint();
    bench.verify(&line);
}

#[test]
fn keys_with_equal_tags_are_told_apart_by_their_bytes() {
    let mut bench = Bench::new();
    let seed = bench.silo().core.hash_seed;
    let mut by_tag: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
    for number in 0..400_000u64 {
        let key = number.to_le_bytes().to_vec();
        by_tag.entry(key_hash(&key, seed) >> 42).or_default().push(key);
    }
    // The 22 bits that a table of one page knows are the tag.
    let twins: Vec<Vec<Vec<u8>>> = by_tag.into_values().filter(|keys| keys.len() >= 3).take(100).collect();
    assert!(twins.len() == 100, "too few collisions to test");
    let nth = |n: usize| twins.iter().map(|keys| keys[n].clone()).collect::<Vec<_>>();
    bench.put(&nth(0), b"zero");
    bench.put(&nth(1), b"one");
    bench.checkpoint();
    bench.verify(&nth(2));
    bench.delete(&nth(0));
    bench.put(&nth(2), b"two");
    bench.checkpoint();
    bench.verify(&nth(0));
    bench.put(&nth(1), b"newer");
    bench.checkpoint();
    bench.verify(&nth(0));
    bench.silo().compact().unwrap();
    bench.reopen();
    bench.verify(&nth(0));
}

#[test]
fn tables_grown_beyond_what_old_tags_know_are_merged_by_their_keys() {
    let bench = Bench::new();
    let mut from = 0;
    let mut samples = Vec::new();
    for count in [100, 3000, 40_000, 420_000] {
        let keys = bench.keys(count, from, |_| true);
        from += count as u64;
        samples.extend(keys.iter().take(50).cloned());
        let space = bench.space();
        for chunk in keys.chunks(10_000) {
            let mut batch = bench.silo().batch();
            for key in chunk {
                batch.put(&space, key, key).unwrap();
            }
            bench.silo().commit(&mut batch, Durability::Process).unwrap();
        }
        bench.checkpoint();
        let snapshot = bench.silo().snapshot();
        for key in &samples {
            assert_eq!(snapshot.get(&space, key).unwrap().as_deref(), Some(&key[..]));
        }
        for absent in bench.keys(500, 1 << 40, |_| true) {
            assert_eq!(snapshot.get(&space, absent).unwrap(), None);
        }
        let entries: u64 = bench.runs().iter().map(|run| run.entry_count()).sum();
        assert_eq!(entries, from, "no key is lost or doubled by merging");
    }
    assert!(
        bench.runs().iter().any(|run| run.geometry().shift() >= 7),
        "the table is too small to test this"
    );
    bench.silo().check(Strictness::Strict).unwrap();
}

/// A run of entries with hashes of the test's choice; their targets are words 1, 2, 3, ….
fn artificial(hashes: &[u64], geometry: Geometry) -> (tempfile::TempDir, Run) {
    let dir = tempfile::tempdir().unwrap();
    let files = DirFiles::new(Arc::new(OsStorage), dir.path());
    let spec = SegmentSpec {
        number: 1,
        silo_id: [5; 16],
        role: SegmentRole::Log,
        generation: 1,
        capacity: 4096,
        previous: None,
    };
    let segment = Arc::new(Segment::create(&files, &spec).unwrap());
    let mut segments = SegmentMap::default();
    segments.insert(Arc::clone(&segment));
    let spec = RunSpec { number: 2, silo_id: [5; 16], generation: 1, keyspace: 1, hash_seed: 3, geometry };
    let mut builder = RunBuilder::new(&files, spec).unwrap();
    for (at, &hash) in hashes.iter().enumerate() {
        builder.push(hash, &Target::Frame(segment.address((at as u64 + 1) * 8))).unwrap();
    }
    let record = builder.finish().unwrap();
    let run = Run::open(&files, &record, 1, 3, &segments).unwrap();
    (dir, run)
}

/// The words offered for a hash, and how many there were.
fn offered(run: &Run, hash: u64) -> Vec<u32> {
    let mut words = Vec::new();
    let found: Option<()> = run
        .find(hash, |slot| {
            words.push(run.frame_of(slot)?.unwrap().1);
            Ok(None)
        })
        .unwrap();
    assert!(found.is_none());
    words
}

#[test]
fn a_hash_with_few_values_still_leads_to_every_entry() {
    for values in [&[0][..], &[u64::MAX], &[1 << 63], &[0, 1 << 63, u64::MAX], &[0, 1 << 42, 2 << 42]] {
        for count in [1, 7, 8, 64, PAGE_SLOTS, PAGE_SLOTS + 1, 1500] {
            let mut hashes: Vec<u64> = (0..count).map(|at| values[at % values.len()]).collect();
            hashes.sort_unstable();
            let geometry = Geometry::for_entries(count as u64);
            for geometry in [geometry, geometry.with_hash_bits(u32::from(geometry.shift()) + 6)] {
                let (_dir, run) = artificial(&hashes, geometry);
                for (at, &hash) in hashes.iter().enumerate() {
                    let words = offered(&run, hash);
                    assert!(
                        words.contains(&u32::try_from(at + 1).unwrap()),
                        "entry {at} of {count} cannot be found"
                    );
                    assert!(words.len() <= count, "entries are offered twice");
                }
                // Absent hashes come to an end, and are offered no more than there is.
                for absent in [1 << 62, 3 << 62, 0x0123_4567_89ab_cdef] {
                    assert!(offered(&run, absent).len() <= count);
                }
                let mut seen = 0;
                run.for_each_slot(|_| {
                    seen += 1;
                    Ok(())
                })
                .unwrap();
                assert_eq!(seen, count);
            }
        }
    }
}

#[test]
fn a_good_hash_offers_hardly_more_than_the_right_entry() {
    let mut hashes: Vec<u64> = (0..50_000u64).map(|number| key_hash(&number.to_le_bytes(), 3)).collect();
    hashes.sort_unstable();
    let (_dir, run) = artificial(&hashes, Geometry::for_entries(hashes.len() as u64));
    let total: usize = hashes.iter().map(|&hash| offered(&run, hash).len()).sum();
    assert!(total < hashes.len() + hashes.len() / 100, "{total} candidates for {} entries", hashes.len());
}
