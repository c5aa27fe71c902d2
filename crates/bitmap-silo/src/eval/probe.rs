//! One chunk of a query that is asked slot by slot.

use smallvec::SmallVec;

use crate::container::{CHUNK_SLOTS, ContainerRef};
use crate::delta::ChunkDelta;
use crate::expr::Expr;
use crate::frozen::split_slot;
use crate::pages::Page;
use crate::view::{Base, BitmapView};

/// A chunk of a conjunction of unions, negated or not, resolved to what is stored of it: a slot is looked for without
/// looking for its chunk again in every bitmap.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkProbe<'a> {
    members: SmallVec<[Member<'a>; 2]>,
    clauses: SmallVec<[Clause; 2]>,
}

/// Members up to `end` from where the clause before ends.
#[derive(Clone, Copy, Debug)]
struct Clause {
    end: usize,
    negated: bool,
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
            Base::Frozen(view) => {
                Some(Self::Container(view.container(chunk).unwrap_or(ContainerRef::EMPTY)))
            }
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
    /// Resolves a chunk of an expression; none where that is more than a conjunction of unions of stored bitmaps.
    pub(super) fn of(expr: &Expr<'a>, chunk: u16, universe: u64) -> Option<Self> {
        let mut probe = Self::default();
        let within = (u64::from(chunk) * u64::from(CHUNK_SLOTS) + u64::from(CHUNK_SLOTS)) <= universe;
        probe.conjoin(expr, chunk, within).then_some(probe)
    }

    /// Adds the clauses of a conjunction; answers whether it is one.
    fn conjoin(&mut self, expr: &Expr<'a>, chunk: u16, within: bool) -> bool {
        match expr {
            Expr::And(operands) if !operands.is_empty() => {
                operands.iter().all(|operand| self.conjoin(operand, chunk, within))
            }
            // What is taken away is asked last.
            Expr::AndNot(keep, remove) => {
                self.conjoin(keep, chunk, within) && self.add(remove, chunk, true)
            }
            Expr::Not(operand) => within && self.add(operand, chunk, true),
            other => self.add(other, chunk, false),
        }
    }

    /// Adds a clause: a bitmap or a union of some; answers whether it is one.
    fn add(&mut self, expr: &Expr<'a>, chunk: u16, negated: bool) -> bool {
        let operands = match expr {
            Expr::Or(operands) => operands,
            one => std::slice::from_ref(one),
        };
        for operand in operands {
            let Expr::Bitmap(view) = operand else { return false };
            let Some(member) = Member::of(view, chunk) else { return false };
            self.members.push(member);
        }
        self.clauses.push(Clause { end: self.members.len(), negated });
        true
    }

    /// Whether the query has a slot of the chunk.
    #[inline]
    pub(crate) fn contains(&self, low: u16) -> bool {
        let mut from = 0;
        self.clauses.iter().all(|Clause { end, negated }| {
            let members = self.members.get(from..*end).unwrap_or(&[]);
            from = *end;
            members.iter().any(|member| member.contains(low)) != *negated
        })
    }

    /// Starts loading what tells whether a slot is in.
    pub(crate) fn prefetch(&self, low: u16) {
        for member in &self.members {
            if let Stored::Container(container) = &member.stored {
                container.prefetch(low);
            }
        }
    }
}
