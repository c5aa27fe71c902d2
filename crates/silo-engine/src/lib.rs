//! Records with a schema over a silo: documents, indexes, queries.

pub mod columns;
