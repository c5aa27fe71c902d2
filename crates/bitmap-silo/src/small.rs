//! The small form: a handful of slots in a handful of bytes.
//!
//! A portable blob spends 8 + 10 n bytes on n slots that share no chunk. Fields with millions of
//! values consist of such sets, so they are stored as a sorted list or, up to 64 slots, as
//! variable-length gaps. The page `docs/format/bitmap-silo-v1.md` specifies both.

use crate::error::BitmapError;
use crate::frozen::FrozenBitmap;

/// First byte of a list.
pub(crate) const TAG_LIST: u8 = 1;
/// First byte of varints.
pub(crate) const TAG_VARINTS: u8 = 2;
/// Most slots written as varints; they are decoded whole when opened.
pub const VARINTS_MAX: usize = 64;
/// Longest varint of 32 bits.
const VARINT_BYTES_MAX: usize = 5;

/// A set of slots in the small form, borrowed or decoded.
#[derive(Clone, Copy)]
pub struct SmallBitmap<'a> {
    slots: Slots<'a>,
}

#[derive(Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "copied rarely; allocating would cost more")]
enum Slots<'a> {
    List(&'a [[u8; 4]]),
    Decoded { slots: [[u8; 4]; VARINTS_MAX], len: usize },
}

impl std::fmt::Debug for SmallBitmap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> SmallBitmap<'a> {
    /// Opens the small form; O(slots), nothing allocated. All of it is checked.
    ///
    /// # Errors
    /// [`BitmapError`] where the tag is another, a list is cut or does not ascend, or varints are
    /// cut, overlong, too many or pass 2³² − 1.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        let slots = match bytes.split_first() {
            Some((&TAG_LIST, rest)) => Slots::List(open_list(rest)?),
            Some((&TAG_VARINTS, rest)) => open_varints(rest)?,
            _ => return Err(BitmapError::malformed("no tag of the small form", 0)),
        };
        Ok(Self { slots })
    }

    /// The slots, little-endian, ascending.
    fn slots(&self) -> &[[u8; 4]] {
        match &self.slots {
            Slots::List(list) => list,
            Slots::Decoded { slots, len } => slots.get(..*len).unwrap_or(&[]),
        }
    }

    /// Number of slots; O(1).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.slots().len() as u64
    }

    /// Whether no slot is in. No valid small form is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    /// Whether `slot` is in; O(log n).
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        let at = self.lower_bound(slot);
        self.get(at) == Some(slot)
    }

    /// Number of slots at most `slot`; O(log n).
    #[must_use]
    pub fn rank(&self, slot: u32) -> u64 {
        self.slots().partition_point(|s| u32::from_le_bytes(*s) <= slot) as u64
    }

    /// The slot with `rank` slots below it; O(1).
    #[must_use]
    pub fn select(&self, rank: u64) -> Option<u32> {
        self.get(usize::try_from(rank).ok()?)
    }

    /// The slots in ascending order, from either end.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + '_ {
        self.slots().iter().map(|s| u32::from_le_bytes(*s))
    }

    /// Index of the first slot that is at least `slot`.
    pub(crate) fn lower_bound(&self, slot: u32) -> usize {
        self.slots().partition_point(|s| u32::from_le_bytes(*s) < slot)
    }

    /// The slot at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<u32> {
        self.slots().get(index).map(|s| u32::from_le_bytes(*s))
    }
}

fn open_list(rest: &[u8]) -> Result<&[[u8; 4]], BitmapError> {
    let (list, []) = rest.as_chunks::<4>() else {
        return Err(BitmapError::malformed("a list that is no multiple of four bytes", 1));
    };
    if list.is_empty() {
        return Err(BitmapError::malformed("an empty small form", 1));
    }
    let ascending = list.windows(2).fold(true, |ok, pair| match pair {
        [x, y] => ok & (u32::from_le_bytes(*x) < u32::from_le_bytes(*y)),
        _ => ok,
    });
    if ascending { Ok(list) } else { Err(BitmapError::malformed("list slots do not ascend strictly", 1)) }
}

fn open_varints<'a>(rest: &[u8]) -> Result<Slots<'a>, BitmapError> {
    let mut slots = [[0; 4]; VARINTS_MAX];
    let (mut len, mut at, mut next) = (0, 0, 0_u64);
    while at < rest.len() {
        let (gap, used) = read_varint(rest.get(at..).unwrap_or(&[]))
            .ok_or_else(|| BitmapError::malformed("a varint cut short or overlong", at + 1))?;
        let slot = u32::try_from(next + u64::from(gap))
            .map_err(|_| BitmapError::malformed("a slot past 32 bits", at + 1))?;
        *slots.get_mut(len).ok_or_else(|| BitmapError::malformed("more than 64 varints", at + 1))? =
            slot.to_le_bytes();
        next = u64::from(slot) + 1;
        at += used;
        len += 1;
    }
    if len == 0 {
        return Err(BitmapError::malformed("an empty small form", 1));
    }
    Ok(Slots::Decoded { slots, len })
}

/// Value and length of the varint that the bytes start with.
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = index == 0 || *byte != 0;
            return u32::try_from(value).ok().filter(|_| shortest).map(|v| (v, index + 1));
        }
    }
    None
}

/// The bytes of a varint, lowest first, and how many they are; without a branch, as lengths are
/// unpredictable.
pub(crate) fn varint(value: u32) -> (u64, usize) {
    let value = u64::from(value);
    let group = |index: u32| (value >> (7 * index) & 0x7f) << (8 * index);
    let groups = group(0) | group(1) | group(2) | group(3) | group(4);
    let more = (value | 1).ilog2() / 7;
    let continues = 0x80_8080_8080 & ((1_u64 << (8 * more)) - 1);
    (groups | continues, more as usize + 1)
}

/// Appends the gaps between ascending slots as varints.
fn push_gaps(slots: impl Iterator<Item = u32>, slot_count: usize, out: &mut Vec<u8>) {
    let mut at = out.len();
    // Eight bytes are written for each and the unused ones overwritten by the next.
    out.resize(at + VARINT_BYTES_MAX * slot_count + 8, 0);
    let mut next = 0_u32;
    for slot in slots {
        let (bytes, len) = varint(slot.wrapping_sub(next));
        if let Some(to) = out.get_mut(at..at + 8) {
            to.copy_from_slice(&bytes.to_le_bytes());
            at += len;
        }
        next = slot.wrapping_add(1);
    }
    out.truncate(at);
}

/// Appends the stored form of a bitmap: the small form where four bytes per slot are less than
/// the blob, the blob otherwise, nothing for the empty set.
pub fn store_into(bitmap: &FrozenBitmap<'_>, out: &mut Vec<u8>) {
    let slot_count = bitmap.len();
    if slot_count == 0 {
        return;
    }
    if slot_count.saturating_mul(4) >= bitmap.as_bytes().len() as u64 {
        out.extend_from_slice(bitmap.as_bytes());
    } else {
        // Fewer slots than a quarter of the bytes of a blob in memory.
        store_slots_into(bitmap.iter(), usize::try_from(slot_count).unwrap_or(usize::MAX), out);
    }
}

/// Appends the small form of ascending slots.
pub(crate) fn store_slots_into(slots: impl Iterator<Item = u32>, slot_count: usize, out: &mut Vec<u8>) {
    if slot_count <= VARINTS_MAX {
        out.push(TAG_VARINTS);
        push_gaps(slots, slot_count, out);
    } else {
        out.push(TAG_LIST);
        slots.for_each(|slot| out.extend_from_slice(&slot.to_le_bytes()));
    }
}
