//! One chunk of 65,536 slots: views over container bodies, a scratch bitset, and operations on
//! them.
//!
//! * [`ContainerRef`] — an array, bitset or run container, borrowed from bytes at any alignment.
//! * [`Scratch`] — a bitset of 65,536 bits in memory, the target of word-parallel work.
//! * [`Layout`] — which encodings a writer considers.

pub(crate) mod chunk;
pub(crate) mod cursor;
pub(crate) mod encode;
pub(crate) mod intervals;
pub(crate) mod pair;
pub(crate) mod scratch;
pub(crate) mod view;

pub use encode::Layout;
pub use scratch::Scratch;
pub use view::{ArrayRef, BitsetRef, ContainerKind, ContainerRef, RunsRef};

/// Slots in one chunk.
pub const CHUNK_SLOTS: u32 = 1 << 16;
/// Most values an array container holds; more make a bitset container.
pub const ARRAY_MAX: u32 = 4096;
/// Bytes of a bitset container's body.
pub const BITSET_BYTES: usize = 8192;
/// Most runs a run container can have: every other slot.
pub const RUNS_MAX: usize = 32_768;
