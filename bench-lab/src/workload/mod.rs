//! The workload: the feed of an image site.
//!
//! Rows come in [`Block`]s of 65,536, each from a random stream of its own, so that any number of threads makes the same rows.
//! Within a block, posts follow each other, each of one user; the rows of a post share what images of a post share. What
//! is drawn how:
//!
//! | column | shape |
//! |---|---|
//! | imageId | ascending with 13.5 % gaps; 12.7 % of rows come out of order, by local swaps |
//! | userId | Zipf (exponent 0.75) over one user per 190 rows; early users have more |
//! | postId | runs of 1 to 20 rows, mean 4.8; ascending with gaps |
//! | nsfwLevel | 7 values; a user and a post have one that most of their rows share |
//! | baseModel | 60 values, Zipf, 12 % null; a user has a favourite |
//! | tags | 31,000, flat Zipf for the first 3,000 and steep after them; a user has 48, a post draws most from those |
//! | sortAt, createdAt | seconds over three and a half years, ascending with jitter; 7 % are published up to weeks later |
//! | counters | zero-inflated, log-normal; a post's rows are popular together |
//! | remixOf | 6 %; the id of a row that exists, recent ones more often |

mod block;
mod files;
mod parquet;
mod queries;
mod silo;
mod tables;
mod text;

pub use block::{BLOCK_ROWS, Block, Row, Workload, flag};
pub use files::{Columns, Format, TagForm, Written, write_workload};
pub use queries::{CLASSES, LabQuery, QUERY_VARIANTS, generate_queries};
pub use silo::{files_in, load_silo};
pub use tables::{AVAILABILITY, BASE_MODELS, BLOCKED_FOR, LEVELS, TAG_COUNT, TYPES};
