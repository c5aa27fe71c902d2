//! Evaluation of expressions, one chunk of 65,536 slots at a time.
//!
//! An [`Expr`](crate::Expr) is compiled into a tree of [`node::Node`]s. The tree is walked by
//! keys: every node says at which key it may have slots next, conjunctions leap-frog over the
//! keys of their operands, and only chunks that all of them may have are loaded. A chunk is then
//! combined in buffers that fit the first-level cache and handed to the consumer, which counts,
//! collects or ranks without a bitmap ever being made.
//!
//! * [`query`] — the public face: count, exists, first slots, bitmap, chunk consumer, parallel.
//! * [`node`] — the compiled tree and how it moves.
//! * [`product`] — a conjunction of unions and negated unions on one chunk.
//! * [`filter`] — narrowing a list of candidates by the other operands.
//! * [`meet`] — the intersection of frozen bitmaps without a tree.
//! * [`chunkwise`] — chunks in any order, and single slots.
//! * [`probe`] — one chunk that is asked slot by slot.
//! * [`groups`] — how many slots of an answer are in each of many bitmaps.
//! * [`tally`] — parity and threshold on one chunk.
//! * [`explain`] — what an evaluation did.

mod chunkwise;
mod explain;
mod filter;
mod groups;
pub(crate) mod meet;
mod node;
mod probe;
mod product;
mod query;
mod tally;

pub use chunkwise::ChunkFilter;
pub use explain::Explanation;
pub use groups::count_groups;
pub(crate) use probe::ChunkProbe;
pub use query::Query;
