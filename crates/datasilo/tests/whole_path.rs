//! One long walk through everything a program can do with a silo, twice over.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use datasilo::{
    Durability, IntKey, Keyspace, KeyspaceOptions, MergeOperator, MergeResult, Options, Silo, SiloReader,
    Snapshot, Strictness, repair,
};

const KEYS: u32 = 2000;
const MERGED_KEYS: u32 = 50;

/// Operands are appended to the value.
#[derive(Debug)]
struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok([base.unwrap_or_default(), &operands.concat()].concat())
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(operands.concat())
    }
}

fn options() -> Options {
    Options::new()
        .segment_bytes(1 << 16)
        .allocate_bytes(4096)
        .region_bytes(4096)
        .merge_operator(Arc::new(Append))
        .background(false)
}

/// Three keyspaces, and what they hold after some rounds.
struct Store {
    plain: Keyspace,
    aligned: Keyspace,
    merged: Keyspace,
}

impl Store {
    fn open(silo: &Silo) -> Self {
        let create = |name, options: KeyspaceOptions| silo.create_keyspace(name, &options).unwrap();
        Self {
            plain: create("plain", KeyspaceOptions::new()),
            aligned: create("aligned", KeyspaceOptions::new().align(64)),
            merged: create("merged", KeyspaceOptions::new().merge_operator("append")),
        }
    }

    fn aligned_value(round: u8, key: u32) -> Vec<u8> {
        vec![round; key as usize * 37 % 9000]
    }

    fn write(&self, silo: &Silo, round: u8) {
        let mut batch = silo.batch();
        for key in 0..KEYS {
            batch.put(&self.plain, IntKey::from(key), format!("{round}-{key}")).unwrap();
            batch.put(&self.aligned, IntKey::from(key), Self::aligned_value(round, key)).unwrap();
            batch.merge(&self.merged, IntKey::from(key % MERGED_KEYS), format!("{round}.")).unwrap();
            if batch.len() >= 300 {
                silo.commit(&mut batch, Durability::Process).unwrap();
            }
        }
        silo.commit(&mut batch, Durability::Process).unwrap();
        silo.delete(&self.plain, IntKey::from(u32::from(round)), Durability::Power).unwrap();
    }

    fn verify(&self, snapshot: &Snapshot, round: u8) {
        for key in 0..KEYS {
            let plain = snapshot.get(&self.plain, IntKey::from(key)).unwrap();
            let expected = (key != u32::from(round)).then(|| format!("{round}-{key}").into_bytes());
            assert_eq!(plain.as_deref(), expected.as_deref());
            let aligned = snapshot.get(&self.aligned, IntKey::from(key)).unwrap().unwrap();
            assert_eq!(aligned.as_ref(), Self::aligned_value(round, key));
            assert!(aligned.as_ptr().addr().is_multiple_of(64));
        }
        let appended: String = (0..=round).map(|r| format!("{r}.").repeat(40)).collect();
        for key in 0..MERGED_KEYS {
            let value = snapshot.get(&self.merged, IntKey::from(key)).unwrap().unwrap();
            assert_eq!(value.as_ref(), appended.as_bytes());
        }
        for (keyspace, count) in [(&self.plain, KEYS - 1), (&self.aligned, KEYS), (&self.merged, MERGED_KEYS)]
        {
            let entries: Vec<_> = snapshot.iter(keyspace).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(entries.len(), count as usize);
        }
    }

    fn load_aligned(&self, silo: &Silo, round: u8) {
        let session = silo.bulk(&[&self.aligned]).unwrap();
        let mut writer = session.writer();
        for key in 0..KEYS {
            writer.put(&self.aligned, IntKey::from(key), Self::aligned_value(round, key)).unwrap();
        }
        writer.close().unwrap();
        assert_eq!(session.finish().unwrap().ops, u64::from(KEYS));
    }
}

/// A backup is a silo of its own: it takes writes, and survives a repair.
fn live_in_a_backup(silo: &Silo, store: &Store, round: u8, path: &Path) {
    silo.backup(path).unwrap();
    let copy = Silo::open(path, options()).unwrap();
    store.verify(&copy.snapshot(), round);
    copy.put(&store.plain, b"more", b"data", Durability::Process).unwrap();
    copy.close().unwrap();
    repair(path, &options()).unwrap();
    let copy = Silo::open(path, options()).unwrap();
    copy.check(Strictness::Strict).unwrap();
    assert_eq!(copy.snapshot().get(&store.plain, b"more").unwrap().as_deref(), Some(&b"data"[..]));
    copy.delete(&store.plain, b"more", Durability::Process).unwrap();
    store.verify(&copy.snapshot(), round);
}

#[test]
fn everything_holds_together_over_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silo");
    for round in 0..3u8 {
        let silo = Silo::open(&path, options()).unwrap();
        assert_eq!(silo.recovery().batches, 0, "the silo was closed cleanly");
        let store = Store::open(&silo);
        store.write(&silo, round);
        let held = silo.snapshot();
        store.verify(&held, round);
        silo.check(Strictness::Strict).unwrap();
        silo.checkpoint().unwrap();
        store.verify(&silo.snapshot(), round);
        silo.compact().unwrap();
        silo.check(Strictness::Strict).unwrap();
        store.verify(&silo.snapshot(), round);
        store.verify(&held, round);
        let reader = SiloReader::open(&path, options()).unwrap();
        store.verify(&reader.snapshot(), round);
        live_in_a_backup(&silo, &store, round, &dir.path().join(format!("backup-{round}")));
        store.load_aligned(&silo, round);
        store.verify(&silo.snapshot(), round);
        silo.check(Strictness::Strict).unwrap();
        silo.put(&store.plain, b"late", b"x", Durability::Process).unwrap();
        reader.refresh().unwrap();
        assert!(reader.snapshot().contains(&store.plain, b"late").unwrap());
        silo.delete(&store.plain, b"late", Durability::Process).unwrap();
        let stats = silo.stats().unwrap();
        assert_eq!(stats.keyspaces.first().map(|k| k.entries), Some(u64::from(KEYS) - 1));
        silo.close().unwrap();
    }
}
