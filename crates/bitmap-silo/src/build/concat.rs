//! Parts of one bitmap that own ascending chunks, joined by copying.

use crate::error::BitmapError;
use crate::frozen::header::{OFFSETS_FROM, header_bytes, write_cookie};
use crate::frozen::{BitmapBuf, FrozenBitmap};

/// The bitmap of parts whose chunks ascend from part to part. Bodies are copied, never looked
/// at: O(bytes), at about the speed of copying.
///
/// # Errors
/// [`BitmapError::PartOrder`] where a part starts at or below the last chunk before it.
pub fn concatenate(parts: &[FrozenBitmap<'_>]) -> Result<BitmapBuf, BitmapError> {
    let mut bytes = Vec::new();
    concatenate_into(parts, &mut bytes)?;
    Ok(BitmapBuf::from_valid(bytes))
}

/// Appends the blob of parts whose chunks ascend from part to part, as [`concatenate`] does.
///
/// # Errors
/// [`BitmapError::PartOrder`] where a part starts at or below the last chunk before it; `out` is
/// then as it was.
pub fn concatenate_into(parts: &[FrozenBitmap<'_>], out: &mut Vec<u8>) -> Result<(), BitmapError> {
    let mut last = None;
    for (index, part) in parts.iter().enumerate() {
        if let Some(first) = part.key_at(0) {
            if last.is_some_and(|last| last >= first) {
                return Err(BitmapError::PartOrder { part: index });
            }
            last = part.key_at(part.container_count() - 1);
        }
    }
    let count = parts.iter().map(FrozenBitmap::container_count).sum();
    let has_runs = parts.iter().any(FrozenBitmap::has_runs);
    let bodies_start = header_bytes(count, has_runs);
    out.reserve(bodies_start + parts.iter().map(|part| part.bodies().len()).sum::<usize>());
    let written = write_cookie(count, has_runs, out);
    debug_assert!(written.is_ok(), "memory takes all of it");
    if has_runs {
        let mut flags = vec![0_u8; count.div_ceil(8)];
        let all = parts.iter().flat_map(FrozenBitmap::run_flags);
        for (index, _) in all.enumerate().filter(|(_, has_runs)| *has_runs) {
            if let Some(byte) = flags.get_mut(index / 8) {
                *byte |= 1 << (index % 8);
            }
        }
        out.extend_from_slice(&flags);
    }
    for part in parts {
        out.extend_from_slice(part.descriptions().as_flattened());
    }
    if !has_runs || count >= OFFSETS_FROM {
        let mut start = bodies_start;
        for part in parts {
            for offset in part.body_offsets() {
                let offset = u32::try_from(start + offset).unwrap_or(u32::MAX);
                out.extend_from_slice(&offset.to_le_bytes());
            }
            start += part.bodies().len();
        }
    }
    for part in parts {
        out.extend_from_slice(part.bodies());
    }
    Ok(())
}
