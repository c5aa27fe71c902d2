//! One chunk of a query that is asked slot by slot.

use smallvec::SmallVec;

use crate::container::{CHUNK_SLOTS, ContainerRef};
use crate::delta::ChunkDelta;
use crate::expr::Expr;
use crate::frozen::split_slot;
use crate::pages::Page;
use crate::view::{Base, BitmapView};

/// A chunk of a conjunction of bitmaps, negated or not, resolved to what is stored of it: a slot is looked for without
/// looking for its chunk again in every bitmap. Unions are not resolved: for the few slots that are asked for, one of
/// several bitmaps costs more to find than it saves.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkProbe<'a> {
    /// Each with whether it must not have a slot.
    members: SmallVec<[(Member<'a>, bool); 2]>,
}

/// A chunk of one bitmap.
#[derive(Clone, Debug)]
struct Member<'a> {
    stored: Stored<'a>,
    pending: Option<Box<Pending<'a>>>,
}

/// A chunk of a stored form.
#[derive(Clone, Debug)]
enum Stored<'a> {
    Container(ContainerRef<'a>),
    /// Of the small form, ascending.
    List(SmallVec<[u16; 8]>),
}

/// What is pending on a chunk.
#[derive(Clone, Debug)]
struct Pending<'a> {
    /// Stored slots to set and to clear.
    ops: Option<[Stored<'a>; 2]>,
    /// Newer than these.
    delta: Option<&'a ChunkDelta>,
}

impl<'a> Stored<'a> {
    /// The chunk of a bitmap in a stored form.
    fn of(base: &Base<'a>, chunk: u16) -> Option<Self> {
        match base {
            Base::Empty => Some(Self::Container(ContainerRef::EMPTY)),
            Base::Frozen(view) => Some(Self::Container(view.container(chunk).unwrap_or(ContainerRef::EMPTY))),
            Base::Small(view) => {
                let slots = (view.lower_bound(u32::from(chunk) << 16)..).map_while(|at| view.get(at));
                let of_chunk = slots.map(split_slot).take_while(|(key, _)| *key == chunk);
                Some(Self::List(of_chunk.map(|(_, low)| low).collect()))
            }
            Base::Memory(_) | Base::Range(..) | Base::Pages(_) => None,
        }
    }

    #[inline]
    fn contains(&self, low: u16) -> bool {
        match self {
            Self::Container(container) => container.contains(low),
            Self::List(slots) => slots.binary_search(&low).is_ok(),
        }
    }
}

impl<'a> Member<'a> {
    fn of(view: &BitmapView<'a>, chunk: u16) -> Option<Self> {
        let delta = view.delta.and_then(|delta| delta.chunk(chunk));
        if let Base::Pages(pages) = view.base {
            let at = pages.partition_point(|page| page.last < chunk);
            return match pages.get(at).filter(|page| page.first <= chunk) {
                Some(_) if delta.is_some() => None,
                Some(page) => Self::of_page(page, chunk),
                None => Some(Self::new(Stored::Container(ContainerRef::EMPTY), None, delta)),
            };
        }
        Some(Self::new(Stored::of(&view.base, chunk)?, None, delta))
    }

    fn of_page(page: &'a Page<'a>, chunk: u16) -> Option<Self> {
        let ops = match &page.ops {
            Some(ops) => Some([Stored::of(&ops.sets.base, chunk)?, Stored::of(&ops.clears.base, chunk)?]),
            None => None,
        };
        let delta = page.delta.as_ref().and_then(|delta| delta.chunk(chunk));
        Some(Self::new(Stored::of(&page.base.base, chunk)?, ops, delta))
    }

    fn new(stored: Stored<'a>, ops: Option<[Stored<'a>; 2]>, delta: Option<&'a ChunkDelta>) -> Self {
        let pending = (ops.is_some() || delta.is_some()).then(|| Box::new(Pending { ops, delta }));
        Self { stored, pending }
    }

    #[inline]
    fn contains(&self, low: u16) -> bool {
        match &self.pending {
            None => self.stored.contains(low),
            Some(pending) => pending.get(low).unwrap_or_else(|| self.stored.contains(low)),
        }
    }
}

impl Pending<'_> {
    /// What is pending on a slot.
    fn get(&self, low: u16) -> Option<bool> {
        if let Some(decided) = self.delta.and_then(|delta| delta.get(low)) {
            return Some(decided);
        }
        match &self.ops {
            Some([sets, _]) if sets.contains(low) => Some(true),
            Some([_, clears]) if clears.contains(low) => Some(false),
            _ => None,
        }
    }
}

impl<'a> ChunkProbe<'a> {
    /// Resolves a chunk of an expression; none where that is more than a conjunction of stored bitmaps.
    pub(super) fn of(expr: &Expr<'a>, chunk: u16, universe: u64) -> Option<Self> {
        let mut probe = Self::default();
        let within = (u64::from(chunk) * u64::from(CHUNK_SLOTS) + u64::from(CHUNK_SLOTS)) <= universe;
        probe.conjoin(expr, chunk, within).then_some(probe)
    }

    /// Adds the members of a conjunction; answers whether it is one.
    fn conjoin(&mut self, expr: &Expr<'a>, chunk: u16, within: bool) -> bool {
        match expr {
            Expr::And(operands) if !operands.is_empty() => {
                operands.iter().all(|operand| self.conjoin(operand, chunk, within))
            }
            // What is taken away is asked last.
            Expr::AndNot(keep, remove) => self.conjoin(keep, chunk, within) && self.add(remove, chunk, true),
            Expr::Not(operand) => within && self.add(operand, chunk, true),
            other => self.add(other, chunk, false),
        }
    }

    /// Adds a bitmap; answers whether it is a stored one.
    fn add(&mut self, expr: &Expr<'a>, chunk: u16, negated: bool) -> bool {
        let Expr::Bitmap(view) = expr else { return false };
        let Some(member) = Member::of(view, chunk) else { return false };
        self.members.push((member, negated));
        true
    }

    /// Whether the query has a slot of the chunk.
    #[inline]
    pub(crate) fn contains(&self, low: u16) -> bool {
        self.members.iter().all(|(member, negated)| member.contains(low) != *negated)
    }

    /// Starts loading what tells whether a slot is in.
    pub(crate) fn prefetch(&self, low: u16) {
        for (member, _) in &self.members {
            if let Stored::Container(container) = &member.stored {
                container.prefetch(low);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::super::Query;
    use super::*;
    use crate::delta::Delta;
    use crate::frozen::BitmapBuf;
    use crate::pages::StoredOps;

    /// Slots of three chunks: few in the first, many in the second, runs in the third.
    fn slots(rng: &mut SmallRng) -> BitmapBuf {
        let mut slots: Vec<u32> = (0..20).map(|_| rng.random_range(0..1 << 16)).collect();
        slots.extend((0..9000).map(|_| rng.random_range(1_u32 << 16..2 << 16)));
        let start = rng.random_range(2_u32 << 16..(3 << 16) - 5000);
        slots.extend(start..start + 4000);
        slots.sort_unstable();
        slots.dedup();
        slots.into_iter().collect()
    }

    fn delta(rng: &mut SmallRng) -> Delta {
        Delta::from_ops((0..300).map(|_| (rng.random_range(0..3 << 16), rng.random())))
    }

    #[test]
    fn slots_asked_for_one_by_one_are_those_of_the_view() {
        let rng = &mut SmallRng::seed_from_u64(5);
        for _ in 0..8 {
            let sets: Vec<BitmapBuf> = (0..5).map(|_| slots(rng)).collect();
            let views: Vec<BitmapView<'_>> = sets.iter().map(BitmapView::from).collect();
            let [plain, base, on, off, patched] = views[..] else { panic!("five") };
            let ops_off = off.and_not(&on);
            let pages = [Page {
                first: 0,
                last: u16::MAX,
                base,
                base_len: base.len(),
                ops: Some(Box::new(StoredOps { sets: on, clears: (&ops_off).into() })),
                delta: Some(Arc::new(delta(rng))),
            }];
            let of_pages = BitmapView { base: Base::Pages(&pages), delta: None };
            let newer = delta(rng);
            let patched = patched.patched(&newer);
            let small_bytes = [1_u8, 7, 0, 0, 0, 9, 0, 1, 0];
            let small = BitmapView::open(&small_bytes).unwrap();
            let queries = [
                Expr::Bitmap(of_pages),
                Expr::and([Expr::Bitmap(of_pages), Expr::Bitmap(plain), Expr::Bitmap(patched)]),
                Expr::and([Expr::Bitmap(small), Expr::Bitmap(patched)]),
                Expr::Bitmap(plain).and_not(Expr::Bitmap(of_pages)),
                Expr::Bitmap(patched).and_not(Expr::Bitmap(small)),
                Expr::and([Expr::Bitmap(plain), Expr::Not(Box::new(Expr::Bitmap(patched)))]),
            ];
            for view in [of_pages, patched, small] {
                let len = Query::new(Expr::Bitmap(view), 1 << 32).count();
                assert_eq!(view.len(), len);
                assert!(view.len_bound() >= len);
            }
            for expr in &queries {
                let filter = Query::new(expr.clone(), 3 << 16).chunk_filter();
                for chunk in 0..3 {
                    let probe = filter.probe(chunk).unwrap();
                    for low in 0..=u16::MAX {
                        let slot = crate::frozen::join_slot(chunk, low);
                        assert_eq!(probe.contains(low), filter.contains(slot), "{slot} of {expr:?}");
                    }
                }
            }
            let not = Expr::Not(Box::new(Expr::Bitmap(patched)));
            assert!(ChunkProbe::of(&not, 3, 3 << 16).is_none(), "the universe ends within the chunk");
            assert!(ChunkProbe::of(&Expr::Xor(vec![Expr::Bitmap(patched)]), 0, 3 << 16).is_none());
            assert!(
                ChunkProbe::of(&Expr::or([Expr::Bitmap(patched), Expr::Bitmap(small)]), 0, 3 << 16).is_none()
            );
        }
    }
}
