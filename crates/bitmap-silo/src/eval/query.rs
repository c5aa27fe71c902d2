//! Evaluating expressions.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::chunkwise::ChunkFilter;
use super::explain::{Explanation, explain};
use super::node::{Compiler, Node};
use crate::container::{BITSET_BYTES, ContainerRef, Layout};
use crate::expr::Expr;
use crate::frozen::{BitmapBuf, BitmapWriter, join_slot};

/// Blocks of chunks per thread of a parallel evaluation: enough to even out their costs.
const BLOCKS_PER_THREAD: usize = 4;

/// An expression ready to be evaluated within a universe of slots.
///
/// Every method evaluates anew, chunk by chunk in ascending order, and reads only the containers
/// that can matter: chunks that an operand of a conjunction lacks are skipped on the headers.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    expr: Expr<'a>,
    universe: u64,
}

impl<'a> Query<'a> {
    /// A query in the universe of slots 0 to `universe` − 1, at most 2³²; only negation asks for
    /// it.
    pub fn new(expr: impl Into<Expr<'a>>, universe: u64) -> Self {
        Self { expr: expr.into(), universe: universe.min(1 << 32) }
    }

    /// The expression.
    #[must_use]
    pub fn expr(&self) -> &Expr<'a> {
        &self.expr
    }

    /// Number of slots of the universe.
    #[must_use]
    pub fn universe(&self) -> u64 {
        self.universe
    }

    /// This query made ready for slots and chunks in any order.
    #[must_use]
    pub fn chunk_filter(&self) -> ChunkFilter<'a> {
        ChunkFilter::new(self)
    }

    pub(super) fn compile(&self) -> Node<'a> {
        Compiler { universe: self.universe, leaf_count: 0 }.compile(&self.expr)
    }

    /// Calls `f` with key and container of every chunk that is not empty, ascending, until it
    /// breaks. The container lives until `f` returns; its cardinality is exact. This is how
    /// consumers rank, page or aggregate without a bitmap.
    pub fn for_each_chunk<B>(
        &self,
        mut f: impl FnMut(u16, ContainerRef<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.for_each_chunk_in(0, u16::MAX, &mut f)
    }

    /// As [`for_each_chunk`](Self::for_each_chunk), over the chunks from `first` to `last`, both
    /// inclusive: what a thread or a page of a larger evaluation asks for.
    pub fn for_each_chunk_in<B>(
        &self,
        first: u16,
        last: u16,
        f: &mut impl FnMut(u16, ContainerRef<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut node = self.compile();
        let mut from = Some(first);
        while let Some(key) = from.and_then(|key| node.seek(key)).filter(|key| *key <= last) {
            if node.load(key) != 0 {
                f(key, node.container())?;
            }
            from = key.checked_add(1);
        }
        ControlFlow::Continue(())
    }

    /// Number of slots that match. Stores no result.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count_in(0, u16::MAX)
    }

    fn count_in(&self, first: u16, last: u16) -> u64 {
        let mut node = self.compile();
        let (mut from, mut total) = (Some(first), 0);
        while let Some(key) = from.and_then(|key| node.seek(key)).filter(|key| *key <= last) {
            total += u64::from(node.count(key));
            from = key.checked_add(1);
        }
        total
    }

    /// Whether any slot matches; stops at the first chunk with one.
    #[must_use]
    pub fn exists(&self) -> bool {
        let mut node = self.compile();
        let mut from = Some(0);
        while let Some(key) = from.and_then(|key| node.seek(key)) {
            if node.count(key) != 0 {
                return true;
            }
            from = key.checked_add(1);
        }
        false
    }

    /// The smallest `limit` slots that match, ascending; stops when it has them.
    #[must_use]
    pub fn first(&self, limit: usize) -> Vec<u32> {
        let mut slots = Vec::new();
        if limit > 0 {
            let _ = self.for_each_chunk(|key, container| {
                let mut ascent = crate::container::cursor::Ascent::new(container);
                while let Some(low) = ascent.next() {
                    slots.push(join_slot(key, low));
                    if slots.len() == limit {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
        }
        slots
    }

    /// All slots that match, as a bitmap in quick layout: right for a result that is used once;
    /// [`FrozenBitmap::to_buf`](crate::FrozenBitmap::to_buf) makes it smallest.
    #[must_use]
    pub fn to_bitmap(&self) -> BitmapBuf {
        self.write_in(0, u16::MAX).finish()
    }

    fn write_in(&self, first: u16, last: u16) -> BitmapWriter {
        let mut node = self.compile();
        let bound = node.bound();
        let share = usize::from(last - first) + 1;
        let containers = bound.containers.min(share);
        let bytes = bound.bytes.min(containers * BITSET_BYTES);
        let mut writer = BitmapWriter::with_capacity(Layout::Quick, containers, bytes);
        let mut from = Some(first);
        while let Some(key) = from.and_then(|key| node.seek(key)).filter(|key| *key <= last) {
            let cardinality = node.load(key);
            // Keys ascend, as evaluation does.
            let pushed = writer.push_counted(key, node.container(), cardinality);
            debug_assert!(pushed.is_ok(), "evaluation ascends");
            from = key.checked_add(1);
        }
        writer
    }

    /// First and last key of each block of a parallel evaluation.
    fn blocks(&self) -> Vec<(u16, u16)> {
        let highest = highest_key(&self.expr, self.universe);
        let blocks = (rayon::current_num_threads() * BLOCKS_PER_THREAD).max(1);
        let keys = usize::from(highest) + 1;
        let per_block = keys.div_ceil(blocks);
        let key = |at: usize| u16::try_from(at.min(keys) - usize::from(at >= keys)).unwrap_or(u16::MAX);
        (0..keys.div_ceil(per_block))
            .map(|block| {
                let start = block * per_block;
                (key(start), key((start + per_block).min(keys) - 1))
            })
            .collect()
    }

    /// As [`count`](Self::count), on the threads of the current rayon pool.
    #[must_use]
    pub fn par_count(&self) -> u64 {
        self.blocks().into_par_iter().map(|(first, last)| self.count_in(first, last)).sum()
    }

    /// As [`to_bitmap`](Self::to_bitmap), on the threads of the current rayon pool: each takes
    /// whole chunks, and their parts are concatenated.
    #[must_use]
    pub fn par_to_bitmap(&self) -> BitmapBuf {
        let parts: Vec<BitmapWriter> =
            self.blocks().into_par_iter().map(|(first, last)| self.write_in(first, last)).collect();
        match BitmapWriter::concatenate(&parts) {
            Ok(bitmap) => bitmap,
            Err(error) => unreachable!("blocks of chunks ascend: {error}"),
        }
    }

    /// As [`for_each_chunk`](Self::for_each_chunk) over all chunks, on the threads of the current
    /// rayon pool, in no order; `f` makes one value per block of chunks from its chunks' values,
    /// and `reduce` combines them.
    pub fn par_fold_chunks<T: Send>(
        &self,
        identity: impl Fn() -> T + Sync + Send,
        fold: impl Fn(T, u16, ContainerRef<'_>) -> T + Sync + Send,
        reduce: impl Fn(T, T) -> T + Sync + Send,
    ) -> T {
        self.blocks()
            .into_par_iter()
            .map(|(first, last)| {
                let mut value = Some(identity());
                let _ = self.for_each_chunk_in::<()>(first, last, &mut |key, container| {
                    value = value.take().map(|value| fold(value, key, container));
                    ControlFlow::Continue(())
                });
                value.unwrap_or_else(&identity)
            })
            .reduce(&identity, &reduce)
    }

    /// Evaluates and says what was estimated, found, visited and skipped, node by node. Costs an
    /// evaluation of every subexpression.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        explain(self)
    }
}

/// A key that no matching chunk is above.
pub(super) fn highest_key(expr: &Expr<'_>, universe: u64) -> u16 {
    fn highest(expr: &Expr<'_>, universe: u16) -> u16 {
        let max = |operands: &[Expr<'_>]| {
            operands.iter().map(|operand| highest(operand, universe)).max().unwrap_or(universe)
        };
        match expr {
            Expr::Bitmap(view) => view.highest_key(),
            Expr::And(operands) => {
                operands.iter().map(|operand| highest(operand, universe)).min().unwrap_or(universe)
            }
            Expr::Not(_) | Expr::AtLeast(0, _) => universe,
            Expr::AndNot(keep, _) => highest(keep, universe),
            Expr::Or(operands) | Expr::Xor(operands) | Expr::AtLeast(_, operands) => max(operands),
        }
    }
    highest(expr, u16::try_from(universe.saturating_sub(1) >> 16).unwrap_or(u16::MAX))
}
