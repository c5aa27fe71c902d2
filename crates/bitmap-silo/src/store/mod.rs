//! Index structures in a silo: fields with bitmaps, columns and postings, changed in the same
//! batches as whatever they index.
//!
//! * `handle` — [`Store`]: keyspaces, fields, who may write.
//! * `fields` — names, numbers and kinds. `keys` — where things are.
//! * `batch`, `write` — [`StoreBatch`] collects operations, [`Writer`] turns them into operands.
//! * `value`, `operand`, `operator`, `stored` — bitmaps: their bytes, operations on them, how these
//!   fold, and [`StoredBitmap`], which presents both as one.
//! * `decoded`, `cache` — the same for columns and postings, whose operations are decoded.
//! * `reader`, `columns`, `lists`, `unique`, `heavy` — [`StoreReader`], and columns and postings as it lends
//!   them.
//! * `bulk` — loads. `maintain` — what became empty goes, what has grown is split. `check` — whether
//!   all is well.
//!
//! `docs/format/bitmap-silo-v1.md` specifies the bytes.

mod batch;
mod bulk;
mod cache;
mod check;
mod columns;
mod decoded;
mod error;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzed;
mod handle;
mod heavy;
mod keys;
mod lists;
mod maintain;
mod operand;
mod operator;
mod places;
mod reader;
mod stored;
mod unique;
mod value;
mod write;

pub use batch::StoreBatch;
pub use bulk::{StoreBulk, StoreBulkWriter};
pub use check::StoreCheck;
pub use columns::StoredColumn;
pub use error::{StoreError, StoreResult};
pub use fields::{Field, FieldKind};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzed::{parse_stored, store_operators};
pub use handle::{FieldsAt, Store};
pub use lists::{PostingLeaf, PostingSlots, StoredPostings};
pub use maintain::{HEAVY_FROM, MaintainReport, PAGE_PAIRS, Upkeep};
pub use reader::StoreReader;
pub use stored::StoredBitmap;
pub use unique::UniqueCursor;
pub use write::Writer;
