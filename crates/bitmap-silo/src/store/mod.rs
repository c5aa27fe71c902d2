//! Index structures in a silo: fields with bitmaps, columns and postings, changed in the same
//! batches as whatever they index.
//!
//! * `handle` — [`Store`]: keyspaces, fields, who may write.
//! * `fields` — names, numbers and kinds. `keys` — where things are.
//! * `batch`, `write` — [`StoreBatch`] collects operations, [`Writer`] turns them into operands.
//! * `value`, `operand`, `operator` — stored bitmaps, operations on them, how these fold.
//! * `reader`, `stored` — [`StoreReader`] and the [`StoredBitmap`]s it lends.
//! * `maintain` — what became empty goes, what has grown is split.
//!
//! `docs/format/bitmap-silo-v1.md` specifies the bytes.

mod batch;
mod error;
mod fields;
mod handle;
mod keys;
mod maintain;
mod operand;
mod operator;
mod reader;
mod stored;
mod value;
mod write;

pub use batch::StoreBatch;
pub use error::{StoreError, StoreResult};
pub use fields::{Field, FieldKind};
pub use handle::Store;
pub use maintain::{MaintainReport, Upkeep};
pub use reader::StoreReader;
pub use stored::StoredBitmap;
pub use write::Writer;
