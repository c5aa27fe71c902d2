//! Places of values, for programs that read the same keys again and again.

use crate::bytes::address::FileNumber;
use crate::files::run::key_hash;

use super::keyspace::Keyspace;
use super::snapshot::{Snapshot, Value};

/// Where a value lies, as long as the silo's structure stays as it is.
///
/// It spares the index: [`Snapshot::get_at`] finds the value again by a look at the memtables alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    generation: u64,
    /// Hash of the key with the silo's seed: the place of another key, or in another silo, does not pass for this one.
    hash: u64,
    keyspace: u32,
    segment: FileNumber,
    start: u64,
    /// Values stay below 4 GiB.
    len: u32,
    /// Whether all of the value was verified.
    verified: bool,
}

impl Value<'_> {
    /// Where it lies. Ask after [`Value::bytes`], which verifies it.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a value's length has 32 bits in its frame")]
    pub fn place(&self, snapshot: &Snapshot) -> Place {
        let frame = &self.frame;
        Place {
            generation: snapshot.generation(),
            hash: key_hash(frame.frame.key(), snapshot.version.hash_seed),
            keyspace: self.keyspace,
            segment: frame.segment.number(),
            start: frame.address().offset() + frame.frame.value_offset() as u64,
            len: u32::try_from(frame.frame.value_len()).expect("values stay below 4 GiB"),
            verified: snapshot.verify,
        }
    }
}

impl Snapshot {
    /// The value of a key, where a snapshot of the same generation found it with nothing pending. Nothing where
    /// that is not certain: the structure has changed, the key may have been written since, or the place is that of another key.
    #[must_use]
    #[inline]
    pub fn get_at(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>, place: &Place) -> Option<&[u8]> {
        if place.generation != self.version.generation || (self.verify && !place.verified) {
            return None;
        }
        let hash = key_hash(key.as_ref(), self.version.hash_seed);
        if (place.keyspace, place.hash) != (keyspace.meta.id, hash) {
            return None;
        }
        let mut written = self.version.memtables.iter().filter(|memtable| !memtable.is_empty());
        if written.any(|memtable| memtable.versions(keyspace.meta.id, hash).next().is_some()) {
            return None;
        }
        let segment = self.version.segments.get(place.segment)?;
        let start = usize::try_from(place.start).ok()?;
        segment.bytes().get(start..start.checked_add(place.len as usize)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Durability, KeyspaceOptions, Options, Silo};

    #[test]
    fn a_place_is_good_until_the_key_or_the_structure_changes() {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), Options::new().background(false)).unwrap();
        let keyspace = silo.create_keyspace("k", &KeyspaceOptions::new()).unwrap();
        let other = silo.create_keyspace("other", &KeyspaceOptions::new()).unwrap();
        let long = vec![7; 20_000];
        silo.put(&keyspace, b"a", &long, Durability::Process).unwrap();
        silo.put(&keyspace, b"b", b"short", Durability::Process).unwrap();
        let place = |key: &[u8]| {
            let snapshot = silo.snapshot();
            let base = snapshot.get_parts(&keyspace, key).unwrap().unwrap().base.unwrap();
            base.bytes().unwrap();
            base.place(&snapshot)
        };
        // What is in a memtable is never certain.
        assert_eq!(silo.snapshot().get_at(&keyspace, b"a", &place(b"a")), None);
        silo.checkpoint().unwrap();
        let (a, b) = (place(b"a"), place(b"b"));
        let before = silo.snapshot();
        assert_eq!(before.get_at(&keyspace, b"a", &a), Some(&long[..]));
        assert_eq!(before.get_at(&keyspace, b"b", &b), Some(&b"short"[..]));
        assert_eq!(before.unverified().get_at(&keyspace, b"b", &b), Some(&b"short"[..]));
        assert_eq!(before.get_at(&keyspace, b"a", &b), None, "the place of another key");
        assert_eq!(before.get_at(&other, b"b", &b), None, "the place in another keyspace");
        silo.put(&keyspace, b"b", b"newer", Durability::Process).unwrap();
        assert_eq!(silo.snapshot().get_at(&keyspace, b"a", &a), Some(&long[..]));
        assert_eq!(silo.snapshot().get_at(&keyspace, b"b", &b), None);
        silo.checkpoint().unwrap();
        assert_eq!(silo.snapshot().get_at(&keyspace, b"a", &a), None, "another generation");
        assert_eq!(before.get_at(&keyspace, b"a", &a), Some(&long[..]), "the old snapshot has its own");
        let unverified = silo.snapshot().unverified();
        let base = unverified.get_parts(&keyspace, b"a").unwrap().unwrap().base.unwrap();
        let unverified = base.place(&unverified);
        assert_eq!(silo.snapshot().get_at(&keyspace, b"a", &unverified), None);
    }
}
