//! Random reads by integer key.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use datasilo::{IntKey, Keyspace, KeyspaceOptions, Options, Silo, Snapshot};
use memmap2::Mmap;

use super::inputs::Map;
use super::log::{Frame, frame_bytes, push_frame};
use super::scan::files_of;
use crate::lab::files::{PageAdvice, evict, map_path};
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "read-path",
    question: "How is a value found by its key, and what do wider look-ups and page advice give?",
    strategies: &[
        ("vector", "a plain vector of (offset, length) over the mapped file"),
        ("dense-8", "a dense array of offsets of 8 bytes; the length is in the frame"),
        ("dense-4", "a dense array of 4 bytes: offsets in units of 8"),
        ("std-map", "a hash map of the standard library, with a quick hasher"),
        ("hash-4-load-50", "open addressing, slots of 4 bytes, half full; keys are compared in the frame"),
        ("hash-4-load-80", "the same, four fifths full"),
        ("hash-8-load-50", "slots of 8 bytes with a tag of 32 bits, half full"),
        ("hash-8-load-80", "the same, four fifths full"),
        ("ours-get", "the engine's `get`, which checks the checksum"),
        ("ours-get-unverified", "the same without"),
        ("ours-multi-1", "`multi_get_each`, one key a call, unverified"),
        ("ours-multi-4", "four keys a call"),
        ("ours-multi-8", "eight keys a call"),
        ("ours-multi-16", "sixteen keys a call"),
        ("ours-multi-32", "thirty-two keys a call"),
    ],
    baseline: "vector",
    limit: "the baseline is the limit: a vector of (offset, length)",
    memory: false,
    decision: "Slots of 8 bytes with a tag, and look-ups of many keys at a time wherever documents are fetched: `get` alone pays for its snapshot, index and checksum. Index and \
        segments are mapped with random advice, so that a cold read reads a page and no more. That is for data larger than memory: a file that soon lies in the cache as a \
        whole is read faster without advice, because the kernel then reads around each fault, and the shapes `cold` of small files show it.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let reads = scale.pick(20_000, 200_000, 1_000_000);
    let shape = |name: String, memory: u64| Shape {
        memory_bytes: memory,
        ..Shape::new(name, reads, "reads", 8_000.0, 0)
    };
    let sizes: &[(&str, u64)] = match scale {
        Scale::Small => &[("50k", 50_000)],
        Scale::Medium => &[("1M", 1_000_000)],
        Scale::Production => &[("1M", 1_000_000), ("14.6M", 14_600_000), ("107M", 107_000_000)],
    };
    let mut shapes = Vec::new();
    for (name, keys) in sizes {
        for draw in ["uniform", "zipf"] {
            shapes.push(shape(format!("{name}-{draw}-warm"), keys * 110));
        }
    }
    let (name, keys) = sizes[sizes.len().min(2) - 1];
    for advice in ["none", "random", "willneed"] {
        let cold = shape(format!("{name}-uniform-cold-{advice}"), keys * 110);
        // Each read may be one of the device.
        shapes.push(Shape {
            items: scale.pick(1_000, 4_000, 4_000),
            round_seconds: scale.pick(2.0, 5.0, 30.0),
            ..cold
        });
    }
    shapes
}

fn key_count(shape: &str) -> u64 {
    match shape.split('-').next() {
        Some("50k") => 50_000,
        Some("14.6M") => 14_600_000,
        Some("107M") => 107_000_000,
        _ => 1_000_000,
    }
}

/// The value of a key, 24 to 155 bytes for up to 14.6 M keys, 24 beyond.
fn value_len(key: u64, keys: u64) -> usize {
    if keys > 20_000_000 { 24 } else { 24 + (mix(key) % 132) as usize }
}

fn pool(seed: u64) -> Vec<u8> {
    let mut pool = vec![0; 1 << 16];
    Random::new(seed, 70).fill(&mut pool);
    pool
}

fn value_of(key: u64, keys: u64, pool: &[u8]) -> &[u8] {
    let at = mix(key ^ 0xabcd) as usize % (pool.len() - 256);
    &pool[at..at + value_len(key, keys)]
}

/// Keys are stored in mixed order, so that the order of the file says nothing.
fn stored_keys(keys: u64) -> impl Iterator<Item = u64> {
    // A step that shares no factor with the number of keys visits each once.
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let step = (keys * 5 / 8..keys.max(2)).find(|step| gcd(*step, keys) == 1).unwrap_or(1);
    (0..keys).map(move |at| (u128::from(at) * u128::from(step) % u128::from(keys)) as u64)
}

/// What a program does with a value.
#[inline]
fn consume(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks::<8>();
    let sum = words.iter().fold(value.len() as u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// Open addressing over offsets in units of eight bytes; the key is in the frame.
struct HashIndex<Slot> {
    slots: Vec<Slot>,
}

trait HashSlot: Copy + Default + PartialEq {
    fn new(hash: u64, place: u32) -> Self;
    /// The place, unless the tag says that it is another key's.
    fn place(self, hash: u64) -> Option<u32>;
}

impl HashSlot for u32 {
    fn new(_: u64, place: u32) -> Self {
        place + 1
    }

    fn place(self, _: u64) -> Option<u32> {
        Some(self - 1)
    }
}

impl HashSlot for u64 {
    fn new(hash: u64, place: u32) -> Self {
        hash << 32 | u64::from(place + 1)
    }

    fn place(self, hash: u64) -> Option<u32> {
        (self >> 32 == hash & 0xffff_ffff).then_some(self as u32 - 1)
    }
}

impl<Slot: HashSlot> HashIndex<Slot> {
    fn new(places: &[u64], load: f64) -> Self {
        let mut slots = vec![Slot::default(); (places.len() as f64 / load) as usize + 1];
        for (key, offset) in (0..).zip(places) {
            let hash = mix(key);
            let mut at = Self::start(hash, slots.len());
            while slots[at] != Slot::default() {
                at = if at + 1 == slots.len() { 0 } else { at + 1 };
            }
            slots[at] = Slot::new(hash, (offset / 8) as u32);
        }
        Self { slots }
    }

    fn start(hash: u64, len: usize) -> usize {
        ((u128::from(hash) * len as u128) >> 64) as usize
    }

    #[inline]
    fn get<'a>(&self, key: u64, map: &'a Mmap) -> &'a [u8] {
        let hash = mix(key);
        let mut at = Self::start(hash, self.slots.len());
        loop {
            if let Some(place) = self.slots[at].place(hash) {
                let frame = Frame::at(&map[place as usize * 8..]).unwrap();
                if frame.key == key {
                    return frame.value;
                }
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }
}

fn write_log(path: &Path, keys: u64, pool: &[u8]) -> Result<Vec<u64>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut offsets = vec![0; keys as usize];
    let (mut at, mut frame) = (0, Vec::new());
    for key in stored_keys(keys) {
        frame.clear();
        push_frame(&mut frame, key, value_of(key, keys, pool), true);
        file.write_all(&frame)?;
        offsets[key as usize] = at;
        at += frame.len() as u64;
    }
    file.into_inner()?.sync_all()?;
    assert!(at < 8 << 32, "places are 32-bit numbers of eight bytes");
    Ok(offsets)
}

fn load(dir: &Path, keys: u64, pool: &[u8]) -> Result<()> {
    let silo = Silo::open(dir, Options::new().background(false))?;
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new())?;
    let session = silo.bulk(&[&keyspace])?;
    let mut writer = session.writer();
    stored_keys(keys)
        .try_for_each(|key| writer.put(&keyspace, IntKey::from(key), value_of(key, keys, pool)))?;
    writer.close()?;
    session.finish()?;
    Ok(silo.close()?)
}

fn multi(snapshot: &Snapshot, keyspace: &Keyspace, keys: &[u64], width: usize) -> Result<u64> {
    let mut sum = 0_u64;
    let mut window = [IntKey::from(0_u64); 32];
    for batch in keys.chunks(width) {
        for (slot, key) in window.iter_mut().zip(batch) {
            *slot = IntKey::from(*key);
        }
        snapshot.multi_get_each(keyspace, &window[..batch.len()], |_, value| {
            sum = sum.wrapping_add(value.map_or(0, |value| consume(&value)));
        })?;
    }
    Ok(sum)
}

/// The file of the plain log, mapped, and an open silo; both anew where the cache is to be cold.
struct Open {
    map: Mmap,
    snapshot: Option<(Silo, Snapshot, Keyspace)>,
}

fn open(log: &Path, silo: Option<&Path>, advice: PageAdvice, cold: bool) -> Result<Open> {
    if cold {
        evict(log)?;
        if let Some(dir) = silo {
            files_of(dir)?.iter().try_for_each(|path| evict(path))?;
        }
    }
    let snapshot = match silo {
        Some(dir) => {
            let silo = Silo::open(dir, Options::new().background(false))?;
            let keyspace = silo.keyspace("records")?;
            let snapshot = silo.snapshot();
            Some((silo, snapshot, keyspace))
        }
        None => None,
    };
    Ok(Open { map: map_path(log, advice)?, snapshot })
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let keys = key_count(&shape.name);
    let seed = lab.settings.seed;
    let pool = pool(seed);
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let (log, silo) = (scratch.path().join("log"), scratch.path().join("silo"));
    let offsets = write_log(&log, keys, &pool)?;
    load(&silo, keys, &pool)?;
    let mut random = Random::new(seed, 71);
    let is_zipf = shape.name.contains("-zipf-");
    let draw = |random: &mut Random| {
        if is_zipf {
            // Zipf with exponent 1, spread over the keys.
            let rank = (keys as f64).powf(random.unit()) as u64;
            mix(rank) % keys
        } else {
            random.word() % keys
        }
    };
    let wanted: Vec<u64> = (0..shape.items).map(|_| draw(&mut random)).collect();
    let cold = shape.name.contains("-cold-");
    let advice = match shape.name.rsplit('-').next() {
        Some("random") => PageAdvice::Random,
        Some("willneed") => PageAdvice::WillNeed,
        _ => PageAdvice::None,
    };
    let (log, silo, wanted, offsets) = (&log, &silo, &wanted, &offsets);
    let of = |sum: &(Open, u64)| Ok(Digest::of([sum.1]));
    let frame_at = |map: &Mmap, at: u64| consume(Frame::at(&map[at as usize..]).unwrap().value);
    let plain = |name, find: Box<dyn Fn(&Mmap, u64) -> u64>| {
        let opened = move || open(log, None, advice, cold);
        let read = move |open: Open| {
            let sum = wanted.iter().map(|key| find(&open.map, *key)).fold(0, u64::wrapping_add);
            Ok((open, sum))
        };
        Strategy::with_input(name, opened, read, of)
    };
    let hash_4 = |load| HashIndex::<u32>::new(offsets, load);
    let hash_8 = |load| HashIndex::<u64>::new(offsets, load);
    let mut strategies = Vec::new();
    let mut add = |name, find: &dyn Fn() -> Box<dyn Fn(&Mmap, u64) -> u64>| {
        if lab.wants(name) {
            strategies.push(plain(name, find()));
        }
    };
    let header = super::log::HEADER_BYTES as u64;
    add("vector", &|| {
        let place = |(key, offset): (u64, &u64)| (*offset, value_len(key, keys) as u32);
        let pairs: Vec<(u64, u32)> = (0..).zip(offsets).map(place).collect();
        Box::new(move |map, key| {
            let (offset, len) = pairs[key as usize];
            let start = (offset + header) as usize;
            consume(&map[start..start + len as usize])
        })
    });
    add("dense-8", &|| {
        let offsets = offsets.clone();
        Box::new(move |map, key| frame_at(map, offsets[key as usize]))
    });
    add("dense-4", &|| {
        let narrow: Vec<u32> = offsets.iter().map(|offset| (offset / 8) as u32).collect();
        Box::new(move |map, key| frame_at(map, u64::from(narrow[key as usize]) * 8))
    });
    add("std-map", &|| {
        let std_map: Map<u64, u64> = (0..).zip(offsets.iter().copied()).collect();
        Box::new(move |map, key| frame_at(map, std_map[&key]))
    });
    for (name, load) in [("hash-4-load-50", 0.5), ("hash-4-load-80", 0.8)] {
        add(name, &|| {
            let index = hash_4(load);
            Box::new(move |map, key| consume(index.get(key, map)))
        });
    }
    for (name, load) in [("hash-8-load-50", 0.5), ("hash-8-load-80", 0.8)] {
        add(name, &|| {
            let index = hash_8(load);
            Box::new(move |map, key| consume(index.get(key, map)))
        });
    }
    let ours = |name, width: usize, verified: bool| {
        let opened = move || open(log, Some(silo), PageAdvice::None, cold);
        let read = move |open: Open| {
            let (_, snapshot, keyspace) = open.snapshot.as_ref().context("the silo was not opened")?;
            let unverified = snapshot.unverified();
            let snapshot = if verified { snapshot } else { &unverified };
            let mut sum = 0_u64;
            if width == 0 {
                for key in wanted {
                    let value = snapshot.get(keyspace, IntKey::from(*key))?.context("a key is missing")?;
                    sum = sum.wrapping_add(consume(&value));
                }
            } else {
                sum = multi(snapshot, keyspace, wanted, width)?;
            }
            Ok((open, sum))
        };
        Strategy::with_input(name, opened, read, of)
    };
    strategies.push(ours("ours-get", 0, true));
    strategies.push(ours("ours-get-unverified", 0, false));
    for (name, width) in [
        ("ours-multi-1", 1),
        ("ours-multi-4", 4),
        ("ours-multi-8", 8),
        ("ours-multi-16", 16),
        ("ours-multi-32", 32),
    ] {
        strategies.push(ours(name, width, false));
    }
    debug_assert!(frame_bytes(24) == 40, "frames are multiples of eight bytes");
    lab.measure(strategies)
}
