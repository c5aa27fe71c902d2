//! Every kind of bad input gets its own error, and a message that says what to do.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod damage;

use std::path::Path;

use damage::{Append, keyspace_options, options, scratch};
use datasilo::{Durability, Error, KeyspaceOptions, Options, Silo, SiloReader, destroy, repair};

/// Fails unless the error is of this kind and its message has all the words.
macro_rules! assert_refused {
    ($result:expr, $variant:pat, $($word:expr),+) => {
        match $result.map(|_| ()) {
            Err(error @ $variant) => {
                let message = error.to_string();
                for word in [$($word.to_string()),+] {
                    assert!(message.contains(&word), "{message:?} does not say {word:?}");
                }
            }
            other => panic!("expected {}, got {other:?}", stringify!($variant)),
        }
    };
}

fn new_silo(dir: &Path) -> Silo {
    Silo::open(dir, options().create(true)).unwrap()
}

#[test]
fn a_path_that_is_a_file_is_no_silo() {
    let dir = scratch();
    let file = dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    assert_refused!(
        Silo::open(&file, Options::new()),
        Error::NotADirectory { .. },
        "not a directory",
        "another path"
    );
    assert_refused!(SiloReader::open(&file, Options::new()), Error::NotADirectory { .. }, "not a directory");
    assert_refused!(repair(&file, &options()), Error::NotADirectory { .. }, "not a directory");
    assert_refused!(destroy(&file, &options()), Error::NotADirectory { .. }, "not a directory");
}

#[test]
fn a_directory_without_a_silo_is_named() {
    let dir = scratch();
    let missing = dir.path().join("missing");
    assert_refused!(Silo::open(&missing, options()), Error::NotASilo { .. }, "missing", "does not exist");
    assert_refused!(SiloReader::open(&missing, options()), Error::NotASilo { .. }, "does not exist");
    assert_refused!(Silo::open(dir.path(), options()), Error::NotASilo { .. }, "allow creating one");
    std::fs::write(dir.path().join("notes.txt"), b"x").unwrap();
    let create = options().create(true);
    assert_refused!(Silo::open(dir.path(), create), Error::NotASilo { .. }, "other files", "empty directory");
    assert_refused!(SiloReader::open(dir.path(), options()), Error::NotASilo { .. }, "MANIFEST");
    assert_refused!(repair(dir.path(), &options()), Error::NotASilo { .. }, "nothing to repair");
    assert_refused!(destroy(dir.path(), &options()), Error::NotASilo { .. }, "not a silo");
    assert!(dir.path().join("notes.txt").exists());
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_an_error_of_the_system() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    let path = dir.path().join("silo");
    drop(new_silo(&path));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let result = Silo::open(&path, options());
    // Permissions mean nothing to root.
    if std::fs::read_dir(&path).is_err() {
        assert_refused!(result, Error::Io { .. }, "cannot", "silo");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let dir = scratch();
    let silo = new_silo(dir.path());
    let pid = std::process::id();
    assert_refused!(Silo::open(dir.path(), options()), Error::Locked { .. }, pid, "read-only");
    assert_refused!(repair(dir.path(), &options()), Error::Locked { .. }, pid);
    assert_refused!(destroy(dir.path(), &options()), Error::Locked { .. }, pid);
    drop(silo);
    drop(Silo::open(dir.path(), options()).unwrap());
}

#[test]
fn names_and_settings_of_keyspaces_are_checked() {
    let dir = scratch();
    let silo = new_silo(dir.path());
    let plain = KeyspaceOptions::new();
    silo.create_keyspace("docs", &plain).unwrap();
    silo.create_keyspace("tags", &plain).unwrap();
    assert_refused!(silo.keyspace("doc"), Error::UnknownKeyspace { .. }, "\"doc\"", "docs, tags");
    assert_refused!(silo.snapshot().keyspace("doc"), Error::UnknownKeyspace { .. }, "docs, tags");
    assert_refused!(silo.drop_keyspace("doc"), Error::UnknownKeyspace { .. }, "docs, tags");
    assert_refused!(
        silo.create_keyspace("docs", &KeyspaceOptions::new().align(8)),
        Error::KeyspaceMismatch { .. },
        "docs",
        "alignment 1",
        "alignment 8",
        "another name"
    );
    assert_refused!(
        silo.create_keyspace("docs", &KeyspaceOptions::new().merge_operator("append")),
        Error::KeyspaceMismatch { .. },
        "append"
    );
    assert_refused!(silo.create_keyspace("", &plain), Error::InvalidKeyspace { .. }, "1 to 255 bytes");
    assert_refused!(
        silo.create_keyspace(&"n".repeat(256), &plain),
        Error::InvalidKeyspace { .. },
        "1 to 255 bytes"
    );
    let odd = KeyspaceOptions::new().align(3);
    assert_refused!(silo.create_keyspace("odd", &odd), Error::InvalidKeyspace { .. }, "1, 2, 4");
    silo.create_keyspace(&"n".repeat(255), &plain).unwrap();
}

#[test]
fn a_missing_merge_operator_is_named() {
    let dir = scratch();
    let silo = new_silo(dir.path());
    let unknown = KeyspaceOptions::new().merge_operator("sum");
    assert_refused!(silo.create_keyspace("n", &unknown), Error::OperatorMissing { .. }, "sum", "register");
    let plain = silo.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    assert_refused!(
        silo.merge(&plain, b"k", b"x", Durability::Process),
        Error::NoMergeOperator { .. },
        "plain"
    );
    silo.create_keyspace("log", &keyspace_options("log")).unwrap();
    drop(silo);
    let without = Options::new().create(false);
    assert_refused!(
        Silo::open(dir.path(), without.clone()),
        Error::OperatorMissing { .. },
        "log",
        "append",
        "register"
    );
    assert_refused!(SiloReader::open(dir.path(), without.clone()), Error::OperatorMissing { .. }, "append");
    Silo::open(dir.path(), without.merge_operator(std::sync::Arc::new(Append))).unwrap();
}

#[test]
fn keys_and_values_have_limits() {
    let dir = scratch();
    let silo = new_silo(dir.path());
    let plain = silo.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    let log = silo.create_keyspace("log", &keyspace_options("log")).unwrap();
    let longest = vec![7; 65_535];
    silo.put(&plain, &longest, b"v", Durability::Process).unwrap();
    assert!(silo.snapshot().contains(&plain, &longest).unwrap());
    let mut batch = silo.batch();
    let too_long = vec![7; 65_536];
    assert_refused!(batch.put(&plain, &too_long, b""), Error::KeyTooLong { .. }, 65_536, 65_535);
    assert_refused!(batch.delete(&plain, &too_long), Error::KeyTooLong { .. }, 65_535);
    assert_refused!(batch.merge(&log, &too_long, b""), Error::KeyTooLong { .. }, 65_535);
    // Zeroed memory that nobody touches is only reserved: its length is refused before it is read.
    let too_large = vec![0u8; 1 << 32];
    assert_refused!(
        batch.put(&plain, b"k", &too_large),
        Error::ValueTooLarge { .. },
        1u64 << 32,
        "several keys"
    );
    assert!(batch.is_empty());
    assert!(silo.snapshot().get(&plain, &too_long).unwrap().is_none());
}

#[test]
fn handles_of_dropped_keyspaces_are_refused() {
    let dir = scratch();
    let silo = new_silo(dir.path());
    let old = silo.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    silo.put(&old, b"k", b"v", Durability::Process).unwrap();
    let before = silo.snapshot();
    silo.drop_keyspace("plain").unwrap();
    let new = silo.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    assert_refused!(
        silo.put(&old, b"k", b"v", Durability::Process),
        Error::KeyspaceDropped { .. },
        "plain",
        old.id(),
        "dropped"
    );
    assert_refused!(silo.snapshot().get(&old, b"k"), Error::KeyspaceDropped { .. }, "plain");
    assert_refused!(silo.snapshot().iter(&old), Error::KeyspaceDropped { .. }, "plain");
    assert_refused!(silo.bulk(&[&old]), Error::KeyspaceDropped { .. }, "plain");
    assert!(silo.snapshot().get(&new, b"k").unwrap().is_none());
    assert!(before.get(&old, b"k").unwrap().is_some(), "snapshots from before still see it");
}

#[test]
fn a_batch_of_another_silo_is_refused() {
    let dir = scratch();
    let (one, two) = (new_silo(&dir.path().join("one")), new_silo(&dir.path().join("two")));
    let space = one.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    two.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    let mut batch = one.batch();
    batch.put(&space, b"k", b"v").unwrap();
    assert_refused!(
        two.commit(&mut batch, Durability::Process),
        Error::InvalidOption { .. },
        "another silo",
        "batch()"
    );
    one.commit(&mut batch, Durability::Process).unwrap();
}

#[test]
fn impossible_options_are_named() {
    let dir = scratch();
    let wrong = [
        ("segment_bytes", options().segment_bytes(4095)),
        ("segment_bytes", options().segment_bytes(64 << 30)),
        ("region_bytes", options().region_bytes(1)),
        ("allocate_bytes", options().allocate_bytes(1)),
        ("checkpoint_ops", options().checkpoint_ops(0)),
        ("dead_ratio", options().dead_ratio(0.0)),
        ("dead_ratio", options().dead_ratio(f64::NAN)),
        ("compaction_bytes_per_second", options().compaction_bytes_per_second(Some(0))),
    ];
    for (name, options) in wrong {
        assert_refused!(
            Silo::open(dir.path(), options.clone()),
            Error::InvalidOption { .. },
            name,
            "must be"
        );
        assert_refused!(repair(dir.path(), &options), Error::InvalidOption { .. }, name);
    }
}

#[test]
fn a_backup_does_not_overwrite() {
    let dir = scratch();
    let silo = new_silo(&dir.path().join("silo"));
    let target = dir.path().join("target");
    silo.backup(&target).unwrap();
    assert_refused!(silo.backup(&target), Error::AlreadyExists { .. }, "target", "empty directory");
}

#[test]
fn newer_versions_and_unknown_features_are_refused_with_advice() {
    let dir = scratch();
    let silo = new_silo(dir.path());
    let plain = silo.create_keyspace("plain", &keyspace_options("plain")).unwrap();
    silo.put(&plain, b"k", b"v", Durability::Process).unwrap();
    silo.close().unwrap();
    let files = damage::read_files(dir.path());
    for (name, bytes) in &files {
        let crc_at = if name == "MANIFEST" { 28 } else { 60 };
        if bytes.len() < 64 || name == "MARK" {
            continue;
        }
        for (at, features) in [(8, false), (12, true)] {
            let mut files = files.clone();
            let changed = files.get_mut(name).unwrap();
            changed[at] ^= 2;
            let crc = crc32fast::hash(&changed[..crc_at]);
            changed[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
            damage::write_files(dir.path(), &files);
            if features {
                assert_refused!(
                    Silo::open(dir.path(), options()),
                    Error::UnsupportedFeatures { .. },
                    name,
                    "0x2",
                    "update"
                );
                assert_refused!(
                    SiloReader::open(dir.path(), options()),
                    Error::UnsupportedFeatures { .. },
                    name
                );
            } else {
                assert_refused!(
                    Silo::open(dir.path(), options()),
                    Error::UnsupportedVersion { found: 3, .. },
                    name,
                    "update"
                );
                assert_refused!(
                    SiloReader::open(dir.path(), options()),
                    Error::UnsupportedVersion { .. },
                    name
                );
            }
            // A newer silo must not be "repaired" into an older one; index runs are made anew anyway.
            if !name.starts_with("idx-") {
                assert!(repair(dir.path(), &options()).is_err(), "{name}");
                assert!(
                    damage::read_files(dir.path())
                        .iter()
                        .all(|(n, b)| n == "LOCK" || files.get(n) == Some(b))
                );
            }
        }
    }
}
