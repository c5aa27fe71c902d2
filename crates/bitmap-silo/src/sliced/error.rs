//! What can be wrong with layers.

use crate::error::BitmapError;

/// Why bitmaps are no bit-sliced numbers, or numbers no layers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlicedError {
    /// No layer, or more than 64.
    #[error("{width} layers; numbers have 1 to 64 bits")]
    Width {
        /// How many were asked for.
        width: usize,
    },
    /// A number with more bits than there are layers.
    #[error("number {number} of slot {slot} does not fit {width} bits; give the field more layers")]
    Number {
        /// Its slot.
        slot: u32,
        /// The number.
        number: u64,
        /// Layers there are.
        width: usize,
    },
    /// More numbers than a chunk has slots.
    #[error("{numbers} numbers for one chunk; pass at most 65,536")]
    ChunkLength {
        /// How many were passed.
        numbers: usize,
    },
    /// A slot in a layer that has no number.
    #[error("layer {layer} has {slots} slots without a number; rebuild the field's layers")]
    Stray {
        /// The layer: the bit that it holds.
        layer: usize,
        /// How many there are.
        slots: u64,
    },
    /// Numbers outside the bounds recorded for their chunk.
    #[error("chunk {chunk} has numbers outside its recorded bounds; rebuild the field's zones")]
    Zone {
        /// The chunk.
        chunk: u16,
    },
    /// What writing a layer fails with.
    #[error(transparent)]
    Bitmap(#[from] BitmapError),
}
