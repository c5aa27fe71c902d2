//! The formats of all files: encoding, decoding and validation of bytes in memory.
//!
//! Nothing here does I/O or reads a clock. The specification is `docs/format/datasilo-v1.md`.

pub(crate) mod address;
pub(crate) mod checksum;
pub(crate) mod field;
pub(crate) mod file_header;
pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod index;
pub(crate) mod manifest;
pub(crate) mod mark;

#[cfg(test)]
mod format_page;
