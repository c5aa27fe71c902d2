//! Hash functions for maps with integer keys.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, RandomState};

use anyhow::Result;

use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "maps",
    question: "Which hash function do the hot maps with u64 keys use?",
    strategies: &[
        ("std", "SipHash, the standard library's default"),
        ("ahash", "ahash"),
        ("foldhash", "foldhash, quality"),
        ("foldhash-fast", "foldhash, fast"),
        ("rustc-hash", "FxHash as in the compiler"),
        ("xxh3", "XXH3, the hash that is stable on disk"),
        ("limit-dense", "a vector, the key being the index"),
    ],
    baseline: "std",
    limit: "a vector, the key being the index",
    memory: false,
    decision: "In-memory maps on hot paths do not use SipHash. What lies on disk is hashed by XXH3, whose function is fixed.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let items = scale.pick(100_000, 1_460_000, 14_600_000);
    ["count-31k", "count-2M", "insert", "look-up"]
        .map(|name| Shape::new(name, items, "operations", 1_200.0, 60))
        .into()
}

fn count<S: BuildHasher + Default>(keys: &[u64]) -> HashMap<u64, u32, S> {
    let mut map: HashMap<u64, u32, S> = HashMap::default();
    for key in keys {
        *map.entry(*key).or_default() += 1;
    }
    map
}

fn digest<S>(map: &HashMap<u64, u32, S>) -> Result<u64> {
    let mut digest = Digest::default();
    map.iter().for_each(|(key, count)| digest.add(mix(*key) ^ u64::from(*count)));
    Ok(digest.value())
}

fn strategy<'a, S: BuildHasher + Default + 'a>(
    name: &'static str,
    keys: &'a [u64],
    look_up: bool,
) -> Strategy<'a> {
    if look_up {
        let map = count::<S>(keys);
        let sum = move || {
            // Every second key is absent.
            let found = keys
                .iter()
                .map(|key| map.get(&(key ^ 1)).copied().unwrap_or(0) + map.get(key).copied().unwrap_or(0));
            Ok(found.map(u64::from).sum::<u64>())
        };
        Strategy::new(name, sum, |sum| Ok(Digest::of([*sum])))
    } else {
        Strategy::new(name, move || Ok(count::<S>(keys)), digest)
    }
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let mut random = Random::new(lab.settings.seed, 100);
    let bound = match shape.name.as_str() {
        "count-31k" => 31_000,
        "count-2M" => 2_000_000,
        _ => u32::MAX,
    };
    let sparse = bound == u32::MAX;
    let keys: Vec<u64> =
        (0..shape.items).map(|at| if sparse { at * 2 } else { u64::from(random.below(bound)) }).collect();
    let mut keys = keys;
    if sparse {
        random.shuffle(&mut keys);
    }
    let look_up = shape.name == "look-up";
    let keys = &keys;
    let highest = keys.iter().copied().max().unwrap_or(0) as usize;
    let mut dense = vec![0_u32; highest + 2];
    lab.measure(vec![
        strategy::<RandomState>("std", keys, look_up),
        strategy::<ahash::RandomState>("ahash", keys, look_up),
        strategy::<foldhash::quality::RandomState>("foldhash", keys, look_up),
        strategy::<foldhash::fast::RandomState>("foldhash-fast", keys, look_up),
        strategy::<rustc_hash::FxBuildHasher>("rustc-hash", keys, look_up),
        strategy::<BuildHasherDefault<xxhash_rust::xxh3::Xxh3Default>>("xxh3", keys, look_up),
        Strategy::limit("limit-dense", move || {
            keys.iter().for_each(|key| dense[*key as usize] += 1);
            Ok(dense[0])
        }),
    ])
}
