//! Handles of keyspaces, and keys of fixed width.

use std::sync::Arc;

use crate::state::version::KeyspaceMeta;

/// A keyspace of a silo: a set of keys of its own, with its own index and settings.
///
/// Handles are cheap to clone and stay valid until the keyspace is dropped.
#[derive(Debug, Clone)]
pub struct Keyspace {
    pub(crate) meta: Arc<KeyspaceMeta>,
}

impl Keyspace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// Its id: durable, and never given to another keyspace of the silo.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.meta.id
    }

    /// Alignment of its values in bytes.
    #[must_use]
    pub fn align(&self) -> usize {
        self.meta.align()
    }

    /// Name of its merge operator.
    #[must_use]
    pub fn merge_operator(&self) -> Option<&str> {
        self.meta.operator.as_ref().map(|operator| operator.name())
    }
}

/// A key made of an integer, in the little-endian bytes that keyspaces of integers use.
///
/// ```
/// use datasilo::IntKey;
/// assert_eq!(IntKey::from(7u32).as_ref(), [7, 0, 0, 0]);
/// assert_eq!(IntKey::from(7u64).as_ref().len(), 8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntKey {
    bytes: [u8; 8],
    len: u8,
}

impl From<u32> for IntKey {
    fn from(key: u32) -> Self {
        Self { bytes: u64::from(key).to_le_bytes(), len: 4 }
    }
}

impl From<u64> for IntKey {
    fn from(key: u64) -> Self {
        Self { bytes: key.to_le_bytes(), len: 8 }
    }
}

impl AsRef<[u8]> for IntKey {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl IntKey {
    /// The integer of a 4-byte key.
    #[must_use]
    pub fn to_u32(key: &[u8]) -> Option<u32> {
        key.try_into().ok().map(u32::from_le_bytes)
    }

    /// The integer of an 8-byte key.
    #[must_use]
    pub fn to_u64(key: &[u8]) -> Option<u64> {
        key.try_into().ok().map(u64::from_le_bytes)
    }
}
