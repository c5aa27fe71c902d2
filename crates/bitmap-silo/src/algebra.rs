//! Set algebra on bitmaps of any form.
//!
//! Counting two operands allocates nothing; the operations that make a bitmap are evaluations of
//! one-level expressions.

use crate::delta::Delta;
use crate::eval::{Query, meet};
use crate::expr::Expr;
use crate::frozen::{BitmapBuf, FrozenBitmap};
use crate::pages::count_replaced;
use crate::source::Source;
use crate::view::{Base, BitmapView};

/// Slots of the whole universe; the operations here never negate.
const UNIVERSE: u64 = 1 << 32;

fn query(expr: Expr<'_>) -> Query<'_> {
    Query::new(expr, UNIVERSE)
}

/// Slots in all of the bitmaps; empty where there is none.
pub fn intersection<'a, V: Into<BitmapView<'a>>>(views: impl IntoIterator<Item = V>) -> BitmapBuf {
    let operands: Vec<Expr<'a>> = views.into_iter().map(Expr::bitmap).collect();
    if operands.is_empty() { BitmapBuf::default() } else { query(Expr::And(operands)).to_bitmap() }
}

/// Slots in all of the frozen bitmaps; empty where there is none. As [`intersection`], and faster
/// for small ones.
#[must_use]
pub fn intersection_of_frozen(views: &[FrozenBitmap<'_>]) -> BitmapBuf {
    meet::intersection(views)
}

impl FrozenBitmap<'_> {
    /// Slots in both bitmaps.
    #[must_use]
    pub fn and(&self, other: &FrozenBitmap<'_>) -> BitmapBuf {
        meet::intersection(&[*self, *other])
    }

    /// Number of slots in both bitmaps. Stores nothing.
    #[must_use]
    pub fn intersection_len(&self, other: &FrozenBitmap<'_>) -> u64 {
        meet::intersection_len(self, other)
    }
}

/// Slots in any of the bitmaps.
pub fn union<'a, V: Into<BitmapView<'a>>>(views: impl IntoIterator<Item = V>) -> BitmapBuf {
    query(Expr::or(views.into_iter().map(Expr::bitmap))).to_bitmap()
}

/// Number of slots in all of the bitmaps; zero where there is none. Stores no result.
pub fn intersection_len<'a, V: Into<BitmapView<'a>>>(views: impl IntoIterator<Item = V>) -> u64 {
    let views: Vec<BitmapView<'a>> = views.into_iter().map(Into::into).collect();
    match views.as_slice() {
        [] => 0,
        [a, b] => a.intersection_len(b),
        _ => query(Expr::and(views.into_iter().map(Expr::Bitmap))).count(),
    }
}

/// Number of slots in any of the bitmaps. Stores no result.
pub fn union_len<'a, V: Into<BitmapView<'a>>>(views: impl IntoIterator<Item = V>) -> u64 {
    let views: Vec<BitmapView<'a>> = views.into_iter().map(Into::into).collect();
    match views.as_slice() {
        [a, b] => a.union_len(b),
        _ => query(Expr::or(views.into_iter().map(Expr::Bitmap))).count(),
    }
}

impl<'a> BitmapView<'a> {
    /// Slots in both bitmaps.
    #[must_use]
    pub fn and(&self, other: &BitmapView<'a>) -> BitmapBuf {
        if let (Base::Frozen(_), Base::Frozen(_)) = (&self.base, &other.base) {
            return meet::intersection_of_patched(self, other);
        }
        query(Expr::And(vec![Expr::Bitmap(*self), Expr::Bitmap(*other)])).to_bitmap()
    }

    /// Slots in either bitmap.
    #[must_use]
    pub fn or(&self, other: &BitmapView<'a>) -> BitmapBuf {
        query(Expr::Or(vec![Expr::Bitmap(*self), Expr::Bitmap(*other)])).to_bitmap()
    }

    /// Slots in exactly one of the bitmaps.
    #[must_use]
    pub fn xor(&self, other: &BitmapView<'a>) -> BitmapBuf {
        query(Expr::Xor(vec![Expr::Bitmap(*self), Expr::Bitmap(*other)])).to_bitmap()
    }

    /// Slots in this bitmap and not in the other.
    #[must_use]
    pub fn and_not(&self, other: &BitmapView<'a>) -> BitmapBuf {
        query(Expr::Bitmap(*self).and_not(Expr::Bitmap(*other))).to_bitmap()
    }

    /// This bitmap, with pending operations applied, as a blob in quick layout.
    #[must_use]
    pub fn to_bitmap(&self) -> BitmapBuf {
        query(Expr::Bitmap(*self)).to_bitmap()
    }

    /// Number of slots, exact whatever is pending: O(containers), and the chunks that pending
    /// operations touch.
    #[must_use]
    pub fn len(&self) -> u64 {
        // Only touched chunks are looked at, and of those the slots with operations; the others count as recorded.
        let total = match self.base {
            Base::Pages(pages) => pages.iter().fold(0_u64, |total, page| total.saturating_add(page.len())),
            _ => self.base_len(),
        };
        let Some(delta) = self.delta else { return total };
        let mut base = Source::new(&BitmapView { delta: None, ..*self });
        delta.chunks().fold(total, |total, (key, ops)| {
            let before = base.load_at(*key);
            let container = base.container();
            count_replaced(total, before, ops.count_after(before, |slot| container.contains(slot)))
        })
    }

    /// Number of slots at most, whatever is pending, without a look at chunks: O(pages, chunks with operations in memory).
    #[must_use]
    pub fn len_bound(&self) -> u64 {
        let base = match self.base {
            Base::Pages(pages) => {
                pages.iter().fold(0_u64, |total, page| total.saturating_add(page.len_bound()))
            }
            _ => self.base_len(),
        };
        base.saturating_add(self.delta.map_or(0, Delta::total_set_count))
    }

    /// Whether no slot is in; reads chunks until one has a slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut source = Source::new(self);
        let mut from = Some(0);
        while let Some(key) = from.and_then(|key| source.seek(key)) {
            if source.load(key) != 0 {
                return false;
            }
            from = key.checked_add(1);
        }
        true
    }

    /// Number of slots in both bitmaps. Stores nothing.
    #[must_use]
    pub fn intersection_len(&self, other: &BitmapView<'_>) -> u64 {
        if let (Base::Frozen(a), Base::Frozen(b)) = (&self.base, &other.base)
            && self.delta.is_none()
            && other.delta.is_none()
        {
            return meet::intersection_len(a, b);
        }
        let mut total = 0;
        self.meet(other, |in_both| {
            total += u64::from(in_both);
            false
        });
        total
    }

    /// Number of slots in either bitmap. Stores nothing.
    #[must_use]
    pub fn union_len(&self, other: &BitmapView<'_>) -> u64 {
        (self.len() + other.len()).saturating_sub(self.intersection_len(other))
    }

    /// Number of slots in this bitmap and not in the other. Stores nothing.
    #[must_use]
    pub fn difference_len(&self, other: &BitmapView<'_>) -> u64 {
        self.len().saturating_sub(self.intersection_len(other))
    }

    /// Number of slots in exactly one of the bitmaps. Stores nothing.
    #[must_use]
    pub fn symmetric_difference_len(&self, other: &BitmapView<'_>) -> u64 {
        (self.len() + other.len()).saturating_sub(2 * self.intersection_len(other))
    }

    /// Whether any slot is in both bitmaps; stops at the first chunk with one.
    #[must_use]
    pub fn intersects(&self, other: &BitmapView<'_>) -> bool {
        let mut found = false;
        self.meet(other, |in_both| {
            found = in_both != 0;
            found
        });
        found
    }

    /// Hands the cardinality of each common chunk's intersection to `visit` until that answers
    /// true.
    fn meet(&self, other: &BitmapView<'_>, mut visit: impl FnMut(u32) -> bool) {
        let (mut a, mut b) = (Source::new(self), Source::new(other));
        let mut from = Some(0);
        while let Some(key) = from
            && let Some(x) = a.seek(key)
            && let Some(y) = b.seek(x)
        {
            if x != y {
                from = Some(y);
                continue;
            }
            let in_both = meet::chunk_intersection_len(&mut a, &mut b, x);
            if in_both != 0 && visit(in_both) {
                return;
            }
            from = x.checked_add(1);
        }
    }
}
