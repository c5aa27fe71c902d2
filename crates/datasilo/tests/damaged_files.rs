//! Files cut, extended, swapped, restored from earlier, deleted: the right answer or an error.

mod damage;

use damage::{
    Bench, Cases, Damage, ENDS, End, Files, KEYSPACES, MERGED, Outcome, SHAPES, Shape, Specimen, demand,
    groups, keyspace_options, options, read_all, scratch, seconds, seed, write_files,
};
use datasilo::{Durability, Error, Silo, SiloReader, Strictness, repair};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Tries the files with a reader, a writer and, if asked, repair.
fn attempt(specimen: &Specimen, bench: &Bench, files: &Files) -> Result<(), String> {
    let keys = specimen.keys();
    write_files(&bench.path, files);
    demand(specimen.try_reading(&bench.path, &keys)).map_err(|what| format!("reading: {what}"))?;
    write_files(&bench.path, files);
    demand(specimen.try_writing(&bench.path, &keys)).map_err(|what| format!("writing: {what}"))
}

/// Lengths worth trying: around every structure's edges, and some others.
fn lengths(name: &str, bytes: &[u8], rng: &mut SmallRng) -> Vec<usize> {
    let len = bytes.len();
    let mut lengths = vec![0, 1, 8, 31, 32, 63, 64, 65, 104, 128, 4095, 4096, 4097, 8192, len / 2, len - 1];
    if name.starts_with("seg-") {
        for group in groups(bytes) {
            lengths.extend([
                group.start,
                group.start + 1,
                group.start + 39,
                group.start + 40,
                group.end - 1,
                group.end - 8,
            ]);
        }
    }
    lengths.extend((0..16).map(|_| rng.random_range(0..len.max(1))));
    lengths.extend([len + 1, len + 8, len + 64, len + 4096, len + 70_000]);
    lengths.retain(|&l| l != len);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

fn resized(bytes: &[u8], len: usize, fill: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(len, fill);
    bytes
}

#[test]
fn a_file_of_another_length_is_an_error_or_harmless() {
    let mut rng = SmallRng::seed_from_u64(seed());
    for shape in SHAPES {
        for end in ENDS {
            let specimen = Specimen { may_be_short: true, ..Specimen::new(shape, end, rng.random()) };
            let bench = Bench::new();
            let keys = specimen.keys();
            let mut cases = Cases::new((seconds(8) / 8).max(1));
            for (name, bytes) in &specimen.files {
                for len in lengths(name, bytes, &mut rng) {
                    for fill in [0, 0xA5] {
                        let mut files = specimen.files.clone();
                        files.insert(name.clone(), resized(bytes, len, fill));
                        let story = || {
                            format!(
                                "{shape:?} {end:?} {name} of {} cut or grown to {len} with {fill}",
                                bytes.len()
                            )
                        };
                        cases.run(story, || {
                            attempt(&specimen, &bench, &files)?;
                            write_files(&bench.path, &files);
                            let hit = Damage { hits: vec![(name.clone(), len.min(bytes.len())..usize::MAX)] };
                            specimen.try_repair(&bench.path, &keys, &hit).map(|_| ())
                        });
                        if len < bytes.len() {
                            break;
                        }
                    }
                }
            }
            cases.finish();
        }
    }
}

#[test]
fn a_stretch_of_zeros_or_noise_is_an_error_or_harmless() {
    let mut rng = SmallRng::seed_from_u64(seed() + 1);
    for shape in SHAPES {
        for end in ENDS {
            let mut specimen = Specimen::new(shape, end, rng.random());
            let bench = Bench::new();
            let keys = specimen.keys();
            let mut cases = Cases::new((seconds(8) / 8).max(1));
            let names: Vec<String> = specimen.files.keys().filter(|n| *n != "LOCK").cloned().collect();
            while cases.go_on() && cases.count < 400 {
                let name = &names[rng.random_range(0..names.len())];
                let mut files = specimen.files.clone();
                let bytes = files.get_mut(name).unwrap();
                let len = [8, 40, 64, 512, 4096][rng.random_range(0..5)];
                let start = rng.random_range(0..bytes.len()) / 8 * 8;
                let stretch = start..(start + len).min(bytes.len());
                let zeros: bool = rng.random();
                bytes[stretch.clone()].iter_mut().for_each(|b| *b = if zeros { 0 } else { rng.random() });
                // Zeros to the end, from where a commit begins, are a log that ends there.
                specimen.may_be_short =
                    name.starts_with("seg-") && bytes[stretch.start..].iter().all(|byte| *byte == 0);
                // A lost mark is no damage that could be told from a loss of power.
                if name == "MARK" {
                    continue;
                }
                let hit = Damage { hits: vec![(name.clone(), stretch.clone())] };
                cases.run(
                    || format!("{shape:?} {end:?} {name} {stretch:?} zeros: {zeros}"),
                    || {
                        attempt(&specimen, &bench, &files)?;
                        write_files(&bench.path, &files);
                        specimen.try_repair(&bench.path, &keys, &hit).map(|_| ())
                    },
                );
            }
            cases.finish();
        }
    }
}

#[test]
fn a_file_taken_from_elsewhere_is_an_error_or_harmless() {
    let mut rng = SmallRng::seed_from_u64(seed() + 2);
    for shape in SHAPES {
        for end in ENDS {
            let content = rng.random();
            let specimen = Specimen { may_be_short: true, ..Specimen::new(shape, end, content) };
            let twin = Specimen::new(shape, end, content);
            let bench = Bench::new();
            let mut cases = Cases::new(600);
            let names: Vec<String> = specimen.files.keys().cloned().collect();
            for name in &names {
                // The same file of another silo, of earlier moments, and other files of this one.
                let others = names.iter().map(|other| (other.clone(), &specimen.files[other]));
                let earlier = specimen
                    .earlier
                    .iter()
                    .filter_map(|files| Some(("earlier".to_owned(), files.get(name)?)));
                let foreign = twin.files.get(name).map(|bytes| ("another silo's".to_owned(), bytes));
                for (source, bytes) in others.chain(earlier).chain(foreign) {
                    let mut files = specimen.files.clone();
                    files.insert(name.clone(), bytes.clone());
                    cases.run(
                        || format!("{shape:?} {end:?} {name} from {source}"),
                        || attempt(&specimen, &bench, &files),
                    );
                }
            }
            cases.finish();
        }
    }
}

#[test]
fn a_missing_file_is_an_error_or_harmless() {
    let mut rng = SmallRng::seed_from_u64(seed() + 3);
    for shape in SHAPES {
        for end in ENDS {
            let specimen = Specimen::new(shape, end, rng.random());
            let bench = Bench::new();
            let keys = specimen.keys();
            let mut cases = Cases::new(600);
            for (name, bytes) in &specimen.files {
                let mut files = specimen.files.clone();
                files.remove(name);
                cases.run(
                    || format!("{shape:?} {end:?} without {name}"),
                    || {
                        attempt(&specimen, &bench, &files)?;
                        write_files(&bench.path, &files);
                        let hit = Damage { hits: vec![(name.clone(), 0..bytes.len())] };
                        specimen.try_repair(&bench.path, &keys, &hit).map(|_| ())
                    },
                );
            }
            for (name, garbage) in
                [("LOCK", &b"\xFF\xFE not a number"[..]), ("MARK", &[0x5A; 128]), ("MARK", b"")]
            {
                let mut files = specimen.files.clone();
                files.insert(name.to_owned(), garbage.to_vec());
                cases.run(
                    || format!("{shape:?} {end:?} garbage in {name}"),
                    || attempt(&specimen, &bench, &files),
                );
            }
            cases.finish();
        }
    }
}

#[test]
fn a_lost_manifest_is_named_and_repair_brings_everything_back() {
    let mut rng = SmallRng::seed_from_u64(seed() + 4);
    for shape in SHAPES {
        for end in ENDS {
            for garbage in [None, Some(vec![0; 100]), Some(b"SILOMAN1 and then nothing of use".to_vec())] {
                let specimen = Specimen::new(shape, end, rng.random());
                let bench = Bench::new();
                let mut files = specimen.files.clone();
                files.remove("MANIFEST");
                let lost = garbage.is_none();
                files.extend(garbage.map(|bytes| ("MANIFEST".to_owned(), bytes)));
                write_files(&bench.path, &files);
                let told = [
                    Silo::open(&bench.path, options()).map(|_| ()).unwrap_err(),
                    Silo::open(&bench.path, options().create(true)).map(|_| ()).unwrap_err(),
                    SiloReader::open(&bench.path, options()).map(|_| ()).unwrap_err(),
                ];
                for error in told {
                    assert_eq!(matches!(error, Error::NotASilo { .. }), lost, "{error}");
                    assert!(error.to_string().contains("repair"), "{error}");
                }
                let report = specimen.try_repair(&bench.path, &specimen.keys(), &Damage::default()).unwrap();
                assert!(report.manifest_rebuilt && report.lost_bytes == 0, "{shape:?} {end:?} {report:?}");
                let silo = Silo::open(&bench.path, options()).unwrap();
                for name in KEYSPACES {
                    let space = silo.create_keyspace(name, &keyspace_options(name)).unwrap();
                    assert_eq!(space.merge_operator(), (name == MERGED).then_some("append"));
                }
            }
        }
    }
}

/// Writes to, checkpoints, compacts, and reopens a silo that was repaired: it is a silo like others.
#[test]
fn a_repaired_silo_can_be_written_compacted_and_read() {
    for (shape, end) in [(Shape::Layers, End::Killed), (Shape::Bulk, End::Closed)] {
        let specimen = Specimen::new(shape, end, seed());
        let bench = Bench::new();
        let mut files = specimen.files.clone();
        files.remove("MANIFEST");
        write_files(&bench.path, &files);
        repair(&bench.path, &options()).unwrap();
        let mut expected = specimen.last().clone();
        for round in 0..3 {
            let silo = Silo::open(&bench.path, options()).unwrap();
            for name in KEYSPACES {
                let space = silo.keyspace(name).unwrap();
                let key = format!("{name}-{round:03}").into_bytes();
                silo.put(&space, &key, b"<99999>", Durability::Power).unwrap();
                expected.insert((name, key), b"<99999>".to_vec());
            }
            silo.checkpoint().unwrap();
            silo.compact().unwrap();
            silo.check(Strictness::Strict).unwrap();
            let reading = read_all(&silo.snapshot(), &specimen.keys());
            assert!(reading.errors.is_empty());
            assert_eq!(reading.differences(&expected), Vec::<String>::new());
        }
    }
}

#[test]
fn a_silo_read_under_a_damaged_copy_does_not_mix_with_it() {
    // Two silos with the same content in one process: handles do not share anything by path or number.
    let specimen = Specimen::new(Shape::Layers, End::Closed, seed());
    let dir = scratch();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    write_files(&good, &specimen.files);
    let mut files = specimen.files.clone();
    for (name, bytes) in &mut files {
        if name.starts_with("seg-") {
            bytes[200..].fill(0x33);
        }
    }
    write_files(&bad, &files);
    let keys = specimen.keys();
    assert_ne!(specimen.try_reading(&bad, &keys), Outcome::Right);
    assert_eq!(specimen.try_reading(&good, &keys), Outcome::Right);
}

#[test]
fn zeros_to_the_end_of_a_log_lose_no_more_than_commits_that_were_not_durable() {
    let mut torn = 0;
    for shape in SHAPES {
        let specimen = Specimen { may_be_short: true, ..Specimen::new(shape, End::Killed, 7) };
        let bench = Bench::new();
        let keys = specimen.keys();
        let segments = specimen.files.keys().filter(|name| name.starts_with("seg-"));
        for name in segments.rev().take(2) {
            for start in (0..specimen.files[name].len().min(4096)).step_by(8) {
                let mut files = specimen.files.clone();
                files.get_mut(name).unwrap()[start..].iter_mut().for_each(|byte| *byte = 0);
                write_files(&bench.path, &files);
                match specimen.try_writing(&bench.path, &keys) {
                    Outcome::Wrong(what) => panic!("{shape:?} {name} from {start}: {what}"),
                    Outcome::Torn => torn += 1,
                    Outcome::Right | Outcome::Refused => {}
                }
            }
        }
    }
    assert!(torn > 0, "no case cut a commit off");
}
