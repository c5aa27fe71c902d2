//! A bitmap in any of the forms that operations take.

use roaring::RoaringBitmap;

use crate::container::BITSET_BYTES;
use crate::delta::Delta;
use crate::error::BitmapError;
use crate::frozen::{BitmapBuf, FrozenBitmap};
use crate::pages::Page;
use crate::small::{SmallBitmap, TAG_LIST, TAG_VARINTS};

/// A borrowed bitmap: stored in either form, in memory, or a range of slots; with or without
/// pending operations on top.
///
/// Operands of set algebra and leaves of expressions are views. Cheap to make and to copy; nothing
/// is read before the chunks are asked for.
#[derive(Clone, Copy, Debug)]
pub struct BitmapView<'a> {
    pub(crate) base: Base<'a>,
    pub(crate) delta: Option<&'a Delta>,
}

/// What the pending operations are applied to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base<'a> {
    Empty,
    Frozen(FrozenBitmap<'a>),
    Small(SmallBitmap<'a>),
    Memory(&'a RoaringBitmap),
    /// First and last slot, both inclusive.
    Range(u32, u32),
    /// Parts stored apart, ascending, with operations of their own.
    Pages(&'a [Page<'a>]),
}

impl<'a> BitmapView<'a> {
    /// The empty bitmap.
    pub const EMPTY: BitmapView<'static> = BitmapView { base: Base::Empty, delta: None };

    /// Opens a stored value of either form, told apart by its first byte; no bytes are the empty
    /// bitmap. O(containers) or O(slots of the small form); nothing allocated.
    ///
    /// # Errors
    /// As [`FrozenBitmap::open`] and [`SmallBitmap::open`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        let base = match bytes.first() {
            None => Base::Empty,
            Some(&(TAG_LIST | TAG_VARINTS)) => Base::Small(SmallBitmap::open(bytes)?),
            Some(_) => Base::Frozen(FrozenBitmap::open(bytes)?),
        };
        Ok(Self { base, delta: None })
    }

    /// All slots from `first` to `last`, both inclusive; empty where `first > last`.
    #[must_use]
    pub fn range(first: u32, last: u32) -> Self {
        let base = if first <= last { Base::Range(first, last) } else { Base::Empty };
        Self { base, delta: None }
    }

    /// This bitmap with pending operations applied on top; they replace earlier ones.
    #[must_use]
    pub fn patched(self, delta: &'a Delta) -> Self {
        Self { delta: Some(delta).filter(|delta| !delta.is_empty()), ..self }
    }

    /// Whether `slot` is in; as fast as the form underneath.
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        if let Some(decided) = self.delta.and_then(|delta| delta.get(slot)) {
            return decided;
        }
        match &self.base {
            Base::Empty => false,
            Base::Frozen(view) => view.contains(slot),
            Base::Small(view) => view.contains(slot),
            Base::Memory(bitmap) => bitmap.contains(slot),
            Base::Range(first, last) => (*first..=*last).contains(&slot),
            Base::Pages(pages) => {
                let (key, _) = crate::frozen::split_slot(slot);
                let at = pages.partition_point(|page| page.last < key);
                pages.get(at).is_some_and(|page| page.first <= key && page.contains(slot))
            }
        }
    }

    /// Number of slots without the pending operations; O(containers).
    #[must_use]
    pub fn base_len(&self) -> u64 {
        match &self.base {
            Base::Empty => 0,
            Base::Frozen(view) => view.len(),
            Base::Small(view) => view.len(),
            Base::Memory(bitmap) => bitmap.len(),
            Base::Range(first, last) => u64::from(last - first) + 1,
            Base::Pages(pages) => pages.iter().map(|page| page.base_len).sum(),
        }
    }

    /// About how many chunks are not empty, for ordering; O(1) for stored forms.
    pub(crate) fn chunk_estimate(&self) -> u64 {
        let base = match &self.base {
            Base::Empty => 0,
            Base::Frozen(view) => view.container_count() as u64,
            Base::Small(view) => view.len(),
            Base::Memory(bitmap) => match (bitmap.min(), bitmap.max()) {
                (Some(min), Some(max)) => u64::from((max >> 16) - (min >> 16)) + 1,
                _ => 0,
            },
            Base::Range(first, last) => u64::from((last >> 16) - (first >> 16)) + 1,
            Base::Pages(pages) => pages.iter().map(Page::chunk_estimate).sum(),
        };
        base + self.delta.map_or(0, |delta| delta.chunk_count() as u64)
    }

    /// At most how many slots the chunk of `key` has; O(log containers).
    pub(crate) fn chunk_bound(&self, key: u16) -> u32 {
        let (low, high) = (u32::from(key) << 16, u32::from(key) << 16 | 0xffff);
        let base = match &self.base {
            Base::Empty => 0,
            Base::Frozen(view) => {
                let at = view.seek_key(0, key);
                if view.key_at(at) == Some(key) { view.cardinality_at(at) } else { 0 }
            }
            Base::Small(view) => {
                let end = high.checked_add(1).map_or(view.len(), |end| view.lower_bound(end) as u64);
                let slots = end.saturating_sub(view.lower_bound(low) as u64);
                u32::try_from(slots).unwrap_or(u32::MAX)
            }
            Base::Memory(bitmap) => u32::try_from(bitmap.range_cardinality(low..=high)).unwrap_or(u32::MAX),
            Base::Range(first, last) => {
                let end = u64::from((*last).min(high)) + 1;
                u32::try_from(end.saturating_sub(u64::from((*first).max(low)))).unwrap_or(u32::MAX)
            }
            Base::Pages(pages) => {
                let at = pages.partition_point(|page| page.last < key);
                pages.get(at).filter(|page| page.first <= key).map_or(0, |page| page.chunk_bound(key))
            }
        };
        let ops = self.delta.and_then(|delta| delta.chunk(key));
        let more = ops.map_or(0, |ops| u32::try_from(ops.set_count()).unwrap_or(u32::MAX));
        base.saturating_add(more).min(crate::container::CHUNK_SLOTS)
    }

    /// How large the bitmap can get, for reserving room.
    pub(crate) fn bound(&self) -> Bound {
        let containers = usize::try_from(self.chunk_estimate()).unwrap_or(0).min(1 << 16);
        let base = match &self.base {
            Base::Empty => 0,
            Base::Frozen(view) => view.as_bytes().len(),
            Base::Small(view) => 2 * usize::try_from(view.len()).unwrap_or(0),
            Base::Memory(_) => containers * BITSET_BYTES,
            Base::Range(..) => 6 * containers,
            Base::Pages(pages) => pages.iter().map(Page::body_bytes).sum(),
        };
        let pending = self.delta.map_or(0, |delta| 2 * delta.op_count());
        Bound { containers, bytes: base + usize::try_from(pending).unwrap_or(0) }
    }

    /// A key that no chunk is above.
    pub(crate) fn highest_key(&self) -> u16 {
        let base = match &self.base {
            Base::Empty => 0,
            Base::Frozen(view) => view.key_at(view.container_count().wrapping_sub(1)).unwrap_or(0),
            Base::Small(view) => key_of(view.iter().next_back()),
            Base::Memory(bitmap) => key_of(bitmap.max()),
            Base::Range(_, last) => key_of(Some(*last)),
            Base::Pages(pages) => pages.iter().map(Page::highest_key).max().unwrap_or(0),
        };
        base.max(self.delta.and_then(|delta| delta.keys().next_back()).unwrap_or(0))
    }
}

/// How large a bitmap can get: containers, and bytes of their bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) containers: usize,
    pub(crate) bytes: usize,
}

/// Key of a slot, or zero.
fn key_of(slot: Option<u32>) -> u16 {
    crate::frozen::split_slot(slot.unwrap_or(0)).0
}

impl<'a> From<FrozenBitmap<'a>> for BitmapView<'a> {
    fn from(view: FrozenBitmap<'a>) -> Self {
        Self { base: Base::Frozen(view), delta: None }
    }
}

impl<'a> From<SmallBitmap<'a>> for BitmapView<'a> {
    fn from(view: SmallBitmap<'a>) -> Self {
        Self { base: Base::Small(view), delta: None }
    }
}

impl<'a> From<&'a BitmapBuf> for BitmapView<'a> {
    fn from(buf: &'a BitmapBuf) -> Self {
        Self::from(buf.view())
    }
}

impl<'a> From<&'a RoaringBitmap> for BitmapView<'a> {
    fn from(bitmap: &'a RoaringBitmap) -> Self {
        Self { base: Base::Memory(bitmap), delta: None }
    }
}
