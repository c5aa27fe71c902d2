//! The list of a postings field's values that have bitmaps of their own.

use std::collections::BTreeSet;

use datasilo::Snapshot;

use super::error::{StoreError, StoreResult};
use super::handle::Spaces;
use super::keys::Key;

/// First bytes of the list: tag, version 1.
const HEAD: [u8; 4] = [0x54, 1, 0, 0];

/// The list as it is stored: ascending values.
pub(crate) fn encode_heavy(values: &BTreeSet<u64>) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<BTreeSet<u64>, &'static str> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let values = bytes.strip_prefix(&HEAD).ok_or("not a list of heavy values of version 1")?;
    let (values, []) = values.as_chunks::<8>() else {
        return Err("a list that is no multiple of eight bytes");
    };
    let values = || values.iter().map(|value| u64::from_le_bytes(*value));
    if values().is_sorted_by(|a, b| a < b) { Ok(values().collect()) } else { Err("values do not ascend") }
}

/// Reads the list of a field.
pub(crate) fn read_heavy(spaces: &Spaces, snapshot: &Snapshot, field: u32) -> StoreResult<BTreeSet<u64>> {
    let bytes = snapshot.get(&spaces.splits, Key::heavy(field))?;
    decode(bytes.as_deref().unwrap_or(&[]))
        .map_err(|what| StoreError::malformed(format!("the heavy values of field {field}"), what))
}
