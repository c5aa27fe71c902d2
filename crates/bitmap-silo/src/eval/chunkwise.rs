//! A query asked about chunks in any order, and about single slots.

use super::node::Node;
use super::probe::ChunkProbe;
use super::query::Query;
use crate::container::{CHUNK_SLOTS, ContainerRef};
use crate::expr::Expr;

/// A query made ready to be asked about single slots and chunks, in any order.
///
/// This is how something that has an order of its own, such as top-k by a column, filters: it
/// probes slots while few are asked for, and has a chunk evaluated once that pays.
#[derive(Debug)]
pub struct ChunkFilter<'a> {
    expr: Expr<'a>,
    universe: u64,
    node: Node<'a>,
    /// The chunk last evaluated.
    at: Option<u16>,
}

impl<'a> ChunkFilter<'a> {
    pub(super) fn new(query: &Query<'a>) -> Self {
        Self { expr: query.expr().clone(), universe: query.universe(), node: query.compile(), at: None }
    }

    /// Whether a slot matches: a look-up in each bitmap that has to be asked.
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        contains(&self.expr, slot, u64::from(slot) < self.universe)
    }

    /// A chunk made ready to be asked slot by slot; none where the query is more than a conjunction of stored bitmaps.
    pub(crate) fn probe(&self, chunk: u16) -> Option<ChunkProbe<'a>> {
        ChunkProbe::of(&self.expr, chunk, self.universe)
    }

    /// At most how many slots of a chunk match, from what is recorded of the bitmaps' chunks;
    /// nothing is evaluated.
    #[must_use]
    pub fn bound(&self, chunk: u16) -> u32 {
        let first = u64::from(chunk) << 16;
        let within = self.universe.saturating_sub(first).min(u64::from(CHUNK_SLOTS));
        bound(&self.expr, chunk, u32::try_from(within).unwrap_or(CHUNK_SLOTS))
    }

    /// The slots of a chunk that match, with their exact number. Chunks may be asked for in any
    /// order; ascending ones are found a little faster.
    pub fn evaluate(&mut self, chunk: u16) -> ContainerRef<'_> {
        if self.at.is_some_and(|at| at >= chunk) {
            self.node.rewind();
        }
        self.at = Some(chunk);
        if self.node.seek(chunk) != Some(chunk) || self.node.load(chunk) == 0 {
            return ContainerRef::EMPTY;
        }
        self.node.container()
    }

    /// A chunk above which nothing matches.
    #[must_use]
    pub fn highest_chunk(&self) -> u16 {
        super::query::highest_key(&self.expr, self.universe)
    }
}

fn contains(expr: &Expr<'_>, slot: u32, within: bool) -> bool {
    let is_in = |operand: &Expr<'_>| contains(operand, slot, within);
    match expr {
        Expr::Bitmap(view) => view.contains(slot),
        Expr::And(operands) if operands.is_empty() => within,
        Expr::And(operands) => operands.iter().all(is_in),
        Expr::Or(operands) => operands.iter().any(is_in),
        Expr::Xor(operands) => operands.iter().filter(|operand| is_in(operand)).count() % 2 == 1,
        Expr::Not(operand) => within && !is_in(operand),
        Expr::AndNot(keep, remove) => is_in(keep) && !is_in(remove),
        Expr::AtLeast(0, _) => within,
        Expr::AtLeast(count, operands) => {
            operands.iter().filter(|operand| is_in(operand)).take(*count).count() == *count
        }
    }
}

fn bound(expr: &Expr<'_>, chunk: u16, within: u32) -> u32 {
    let each = |operands: &[Expr<'_>]| -> smallvec::SmallVec<[u32; 8]> {
        operands.iter().map(|operand| bound(operand, chunk, within)).collect()
    };
    let sum = |operands: &[Expr<'_>]| each(operands).iter().fold(0_u32, |sum, b| sum.saturating_add(*b));
    match expr {
        Expr::Bitmap(view) => view.chunk_bound(chunk),
        Expr::And(operands) => each(operands).into_iter().min().unwrap_or(within),
        Expr::Or(operands) | Expr::Xor(operands) => sum(operands).min(CHUNK_SLOTS),
        Expr::Not(_) | Expr::AtLeast(0, _) => within,
        Expr::AndNot(keep, _) => bound(keep, chunk, within),
        Expr::AtLeast(count, operands) => {
            (sum(operands) / u32::try_from(*count).unwrap_or(u32::MAX)).min(CHUNK_SLOTS)
        }
    }
}
