//! Silos of released format versions are read by today's code, for ever.
//!
//! `tests/golden/v1/README.md` says how its files were made.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

mod damage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use damage::{Files, KEYSPACES, keyspace_options, options, read_all, read_files, scratch, write_files};
use datasilo::{Durability, Keyspace, Silo, SiloReader, Strictness, repair};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// The silo's files, of which the trailing zeros are not committed.
fn golden_files() -> Files {
    let mut files = read_files(&golden());
    files.remove("README.md");
    files
}

fn value(number: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at + number as usize * 7) % 251).unwrap()).collect()
}

/// Long enough that a checkpoint keeps a short operand beside it, in a chain; or so short that it folds.
fn base(number: u32) -> String {
    format!("<{number:0width$}>", width = if number.is_multiple_of(2) { 60 } else { 2 })
}

/// What the golden silo holds.
fn expected() -> damage::State {
    let mut state = BTreeMap::new();
    for number in 0..20u32 {
        let key = format!("key{number}").into_bytes();
        let len = [0, 5, 300, 4096, 4097, 9000][number as usize % 6];
        if number % 5 != 4 {
            state.insert(("plain", key.clone()), value(number, if number < 6 { len } else { 40 }));
        }
        state.insert(("wide", key.clone()), value(number, 100));
        state.insert(("log", key), format!("{}<b><c>", base(number)).into_bytes());
    }
    state.insert(("wide", vec![b'k'; 300]), b"long key".to_vec());
    state
}

/// Writes the golden silo: checkpoints, folds, chains, deletes, a bulk session, a compaction and a
/// log tail that was never checkpointed.
fn write_golden(dir: &Path) -> Silo {
    let silo = Silo::open(dir, options().create(true)).unwrap();
    let spaces: Vec<Keyspace> =
        KEYSPACES.iter().map(|name| silo.create_keyspace(name, &keyspace_options(name)).unwrap()).collect();
    let (plain, wide, log) = (&spaces[0], &spaces[1], &spaces[2]);
    let expected = expected();
    for round in 0..2 {
        let mut batch = silo.batch();
        for number in 0..20u32 {
            let key = format!("key{number}");
            let stale = vec![0xEE; 30];
            let plain_value = expected.get(&("plain", key.clone().into_bytes()));
            batch.put(plain, &key, if round == 0 { &stale } else { plain_value.unwrap_or(&stale) }).unwrap();
            if round == 0 {
                batch.put(wide, &key, &stale).unwrap();
                batch.put(log, &key, base(number)).unwrap();
            } else {
                batch.merge(log, &key, b"<b>").unwrap();
            }
            if round == 1 && number % 5 == 4 {
                batch.delete(plain, &key).unwrap();
            }
        }
        silo.commit(&mut batch, Durability::Power).unwrap();
        silo.checkpoint().unwrap();
    }
    silo.compact().unwrap();
    let session = silo.bulk(&[wide]).unwrap();
    let mut writer = session.writer();
    for number in 0..20u32 {
        writer.put(wide, format!("key{number}"), value(number, 100)).unwrap();
    }
    writer.close().unwrap();
    session.finish().unwrap();
    for number in 0..20u32 {
        silo.merge(log, format!("key{number}"), b"<c>", Durability::Process).unwrap();
    }
    silo.put(wide, vec![b'k'; 300], b"long key", Durability::Power).unwrap();
    silo
}

/// Writes the golden files anew if asked to, which only a new format version should need.
#[test]
fn the_golden_silo_can_be_written_again() {
    let dir = scratch();
    let path = dir.path().join("silo");
    let silo = write_golden(&path);
    let mut files = read_files(&path);
    files.remove("LOCK");
    drop(silo);
    assert_reads(&files);
    if std::env::var_os("SILO_WRITE_GOLDEN").is_some() {
        for bytes in files.iter_mut().filter(|(name, _)| name.starts_with("seg-")).map(|(_, b)| b) {
            let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
            bytes.truncate(used.next_multiple_of(8));
        }
        let readme = std::fs::read(golden().join("README.md")).unwrap_or_default();
        files.insert("README.md".to_owned(), readme);
        write_files(&golden(), &files);
    }
}

fn assert_reads(files: &Files) {
    let dir = scratch();
    let state = expected();
    let mut keys: Vec<damage::Key> = state.keys().cloned().collect();
    keys.extend(KEYSPACES.map(|name| (name, b"absent".to_vec())));
    keys.extend([4, 9, 14].map(|number| ("plain", format!("key{number}").into_bytes())));
    write_files(dir.path(), files);
    let reader = SiloReader::open(dir.path(), options()).unwrap();
    let reading = read_all(&reader.snapshot(), &keys);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    assert_eq!(reading.differences(&state), Vec::<String>::new());
    drop(reader);
    {
        let silo = Silo::open(dir.path(), options()).unwrap();
        silo.check(Strictness::Strict).unwrap();
        assert_eq!(read_all(&silo.snapshot(), &keys).differences(&state), Vec::<String>::new());
        silo.compact().unwrap();
        assert_eq!(read_all(&silo.snapshot(), &keys).differences(&state), Vec::<String>::new());
    }
    write_files(dir.path(), files);
    std::fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    repair(dir.path(), &options()).unwrap();
    let silo = Silo::open(dir.path(), options()).unwrap();
    assert_eq!(read_all(&silo.snapshot(), &keys).differences(&state), Vec::<String>::new());
}

#[test]
fn a_silo_of_version_1_is_read_written_and_repaired() {
    let files = golden_files();
    assert!(files.len() > 5, "the golden files are missing: {:?}", files.keys());
    assert_reads(&files);
}
