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
    segment: FileNumber,
    /// Whether all of the value was verified.
    verified: bool,
    start: usize,
    len: usize,
}

impl Value<'_> {
    /// Where it lies. Ask after [`Value::bytes`], which verifies it.
    #[must_use]
    pub fn place(&self, snapshot: &Snapshot) -> Place {
        let frame = self.frame();
        Place {
            generation: snapshot.generation(),
            segment: frame.segment.number(),
            verified: snapshot.verify,
            start: frame.word as usize * 8 + frame.frame.value_offset(),
            len: frame.frame.value_len(),
        }
    }
}

impl Snapshot {
    /// The value of a key, where a snapshot of the same generation found it with nothing pending. Nothing where
    /// that is not certain: the structure has changed, or the key may have been written since.
    #[must_use]
    #[inline]
    pub fn get_at(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>, place: &Place) -> Option<&[u8]> {
        if place.generation != self.version.generation || (self.verify && !place.verified) {
            return None;
        }
        let mut written = self.version.memtables.iter().filter(|memtable| !memtable.is_empty()).peekable();
        if written.peek().is_some() {
            let hash = key_hash(key.as_ref(), self.version.hash_seed);
            if written.any(|memtable| memtable.versions(keyspace.meta.id, hash).next().is_some()) {
                return None;
            }
        }
        let segment = self.version.segments.get(place.segment)?;
        segment.bytes().get(place.start..place.start.checked_add(place.len)?)
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
