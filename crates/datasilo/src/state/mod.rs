//! What is in memory, and how it changes: memtable, versions, commits, recovery, checkpoint,
//! compaction, checks.

pub(crate) mod background;
pub(crate) mod backup;
pub(crate) mod bulk;
pub(crate) mod check;
pub(crate) mod checkpoint;
pub(crate) mod commit;
pub(crate) mod compaction;
pub(crate) mod core;
pub(crate) mod index_update;
pub(crate) mod live;
pub(crate) mod load;
pub(crate) mod memtable;
mod moved;
pub(crate) mod read;
pub(crate) mod recovery;
pub(crate) mod repair;
pub(crate) mod replacements;
pub(crate) mod replay;
pub(crate) mod sync;
pub(crate) mod version;
