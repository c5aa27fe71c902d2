//! Flipped bits: every file of small silos, closed or killed, read and written afterwards.
//!
//! Allowed is the right answer or an error. Of a killed silo, damage above the last synced position
//! may also read as a torn tail: a whole prefix of the commits, reported as dropped bytes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

mod damage;

use std::path::Path;

use damage::{
    Bench, Cases, Damage, ENDS, Files, Key, Outcome, SHAPES, Specimen, demand, seconds, seed, write_files,
};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Bits to flip: all of small files, of headers and of file ends; of the rest one in each byte
/// that is not zero, and some of the zeros. In random order, so that any number of them is a sample.
fn bits(files: &Files, rng: &mut SmallRng) -> Vec<(String, usize)> {
    let mut bits = Vec::new();
    for (name, bytes) in files {
        let dense = bytes.len() <= 1024;
        for (at, byte) in bytes.iter().enumerate() {
            if dense || at < 128 || at + 32 > bytes.len() {
                bits.extend((0..8).map(|bit| (name.clone(), at * 8 + bit)));
            } else if *byte != 0 || rng.random_range(0..16) == 0 {
                bits.push((name.clone(), at * 8 + rng.random_range(0..8)));
            }
        }
    }
    bits.shuffle(rng);
    bits
}

fn every_specimen(mut visit: impl FnMut(Specimen, &mut SmallRng)) {
    let mut rng = SmallRng::seed_from_u64(seed());
    for shape in SHAPES {
        for end in ENDS {
            let specimen = Specimen::new(shape, end, rng.random());
            visit(specimen, &mut rng);
        }
    }
}

/// Seconds for each specimen.
fn share(default: u64) -> u64 {
    (seconds(default) / 8).max(1)
}

fn flip(specimen: &Specimen, name: &str, bit: usize) -> Files {
    let mut files = specimen.files.clone();
    files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
    files
}

#[test]
fn undamaged_specimens_read_back_and_repair_changes_nothing() {
    every_specimen(|specimen, _| {
        let bench = Bench::new();
        let keys = specimen.keys();
        for attempt in [Specimen::try_reading, Specimen::try_writing] {
            write_files(&bench.path, &specimen.files);
            assert_eq!(attempt(&specimen, &bench.path, &keys), Outcome::Right, "{:?}", specimen.shape);
        }
        write_files(&bench.path, &specimen.files);
        let report = specimen.try_repair(&bench.path, &keys, &Damage::default()).unwrap();
        assert_eq!((report.lost_bytes, report.manifest_rebuilt), (0, false));
        assert!(report.damaged_segments.is_empty() && report.missing_files.is_empty());
    });
}

/// Flips bits of every specimen, one at a time, and looks at what becomes of it.
fn every_flipped_bit(look: impl Fn(&Specimen, &Path, &[Key], &str, usize) -> Result<(), String>) {
    every_specimen(|specimen, rng| {
        let bench = Bench::new();
        let keys = specimen.keys();
        let mut cases = Cases::new(share(8));
        for (name, bit) in bits(&specimen.files, rng) {
            if !cases.go_on() {
                break;
            }
            let story = || {
                format!("{:?} {:?} {name} bit {} of byte {}", specimen.shape, specimen.end, bit % 8, bit / 8)
            };
            cases.run(story, || {
                write_files(&bench.path, &flip(&specimen, &name, bit));
                look(&specimen, &bench.path, &keys, &name, bit / 8)
            });
        }
        cases.finish();
    });
}

#[test]
fn a_flipped_bit_is_an_error_or_harmless_to_readers() {
    every_flipped_bit(|specimen, path, keys, _, _| demand(specimen.try_reading(path, keys)));
}

#[test]
fn a_flipped_bit_is_an_error_or_harmless_to_writers() {
    every_flipped_bit(|specimen, path, keys, _, _| demand(specimen.try_writing(path, keys)));
}

#[test]
fn repair_after_a_flipped_bit_loses_at_most_the_group_that_was_hit() {
    every_flipped_bit(|specimen, path, keys, name, byte| {
        specimen.try_repair(path, keys, &Damage::at(name, byte)).map(|_| ())
    });
}
