//! What programs see: silos, keyspaces, batches, snapshots.

pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod frame_buffer;
pub(crate) mod iter;
pub(crate) mod keyspace;
pub(crate) mod place;
pub(crate) mod reader;
pub(crate) mod silo;
pub(crate) mod snapshot;
pub(crate) mod upkeep;
