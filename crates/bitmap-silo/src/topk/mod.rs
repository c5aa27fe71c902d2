//! The first records by a column, under a filter.
//!
//! [`TopK`] keeps the chunks in a heap by the best key that each can still give: first the bound of
//! its zone, then the next key in its page's order. It takes from the best, so it touches the
//! chunks that hold the page asked for and hardly any others. The filter is probed slot by slot
//! while that is cheap; a chunk that is asked more often has it evaluated once, and a chunk with
//! few slots in the filter has their keys looked up instead of walking.
//!
//! Ties are broken by a second column in the direction of the sort. Where that one ascends with the
//! slots, as ids do after a load, the order of the page already is the answer. Otherwise a tie is
//! gathered and sorted, and a tie too long for that is walked in the order of the second column.
//!
//! * `order` — what is asked for: direction, absent numbers, cursor.
//! * `stream` — entries of all chunks, best first.
//! * `chunk` — the candidates of one chunk.
//! * `ties` — equal keys in the order of the second column.
//! * `jump`, `outline` — many records to be skipped, by counting.
//! * `absent` — slots without a key.
//! * `aggregate` — sums, bounds and quantiles over the same columns.

mod absent;
mod aggregate;
mod chunk;
mod jump;
mod order;
mod outline;
mod stream;
mod ties;

pub(crate) use aggregate::rank_of;
pub use aggregate::{Totals, quantile, sum_f64, totals};
pub use order::{Cursor, Hit, Nulls, SortSource, TopK};
