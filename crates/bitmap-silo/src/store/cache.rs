//! What was decoded from stored operands, kept while they are in use.
//!
//! A checkpoint that does not fold a key leaves its operands combined in the log. Those of bitmaps are
//! read in place; those of columns and postings, and zones, are decoded once and kept until the silo's
//! structure changes.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use datasilo::Snapshot;

/// Decoded values by the address of their bytes, in one generation of a silo: while that lasts, the
/// bytes at an address of it stay the same.
#[derive(Debug, Default)]
pub(crate) struct DecodedCache {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    generation: u64,
    decoded: HashMap<(usize, usize), Arc<dyn Any + Send + Sync>>,
}

impl DecodedCache {
    /// What `decode` makes of bytes lent by `snapshot`, or made of them before.
    pub(crate) fn get<T: Any + Send + Sync, E>(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let key = (bytes.as_ptr().addr(), bytes.len());
        let generation = snapshot.generation();
        {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            if inner.generation == generation
                && let Some(found) = inner.decoded.get(&key)
                && let Ok(found) = Arc::clone(found).downcast()
            {
                return Ok(found);
            }
        }
        let decoded = Arc::new(decode(bytes)?);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.generation < generation {
            inner.generation = generation;
            inner.decoded.clear();
        }
        // Snapshots of earlier generations decode anew.
        if inner.generation == generation {
            inner.decoded.insert(key, Arc::clone(&decoded) as Arc<dyn Any + Send + Sync>);
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasilo::{Durability, KeyspaceOptions, Options, Silo};

    #[test]
    fn what_was_decoded_lasts_as_long_as_the_generation() {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), Options::new().background(false)).unwrap();
        let keyspace = silo.create_keyspace("k", &KeyspaceOptions::new()).unwrap();
        let cache = DecodedCache::default();
        let first = |bytes: &[u8]| bytes.first().copied().ok_or("no bytes");
        let mut bytes = vec![1];
        let before = silo.snapshot();
        assert_eq!(cache.get(&before, &bytes, first).as_deref(), Ok(&1));
        // Not in a silo: there, bytes at an address do not change within a generation.
        bytes[0] = 2;
        assert_eq!(cache.get(&before, &bytes, first).as_deref(), Ok(&1));
        silo.put(&keyspace, b"key", b"value", Durability::Process).unwrap();
        silo.checkpoint().unwrap();
        assert!(silo.snapshot().generation() > before.generation());
        assert_eq!(cache.get(&silo.snapshot(), &bytes, first).as_deref(), Ok(&2));
        bytes[0] = 3;
        assert_eq!(cache.get(&before, &bytes, first).as_deref(), Ok(&3), "an older one decodes anew");
        assert_eq!(cache.get(&silo.snapshot(), &bytes, first).as_deref(), Ok(&2));
        assert_eq!(cache.get(&silo.snapshot(), &[], first).as_deref(), Err(&"no bytes"));
    }
}
