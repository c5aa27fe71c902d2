//! Taking prefixes of the bytes of a blob, with errors that say where.

use crate::error::BitmapError;

/// Splits off the first `need` bytes of `rest`, the tail of a blob of `len` bytes.
pub(super) fn take<'a>(
    what: &'static str,
    rest: &'a [u8],
    need: usize,
    len: usize,
) -> Result<(&'a [u8], &'a [u8]), BitmapError> {
    rest.split_at_checked(need).ok_or_else(|| BitmapError::truncated(what, len - rest.len(), need, len))
}

/// Splits off the first `N` bytes of `rest`, the tail of a blob of `len` bytes.
pub(super) fn take_array<'a, const N: usize>(
    what: &'static str,
    rest: &'a [u8],
    len: usize,
) -> Result<(&'a [u8; N], &'a [u8]), BitmapError> {
    rest.split_first_chunk().ok_or_else(|| BitmapError::truncated(what, len - rest.len(), N, len))
}
