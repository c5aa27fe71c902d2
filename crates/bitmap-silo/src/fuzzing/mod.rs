//! Entry points for fuzzers: hostile bytes for everything that is read in place.
//!
//! Each function takes what a fuzzer made up: bytes as they are, or a recipe for bytes that get far
//! into a parser. What is accepted must answer alike by every way to ask it, and like `roaring` where
//! that accepts it too; what is merely opened may answer anything, without a panic.
//!
//! The same functions run on generated input in the unit tests of this module.

mod bitmaps;
mod pages;
mod stored;

pub use bitmaps::{algebra, frozen, hostile_views, made_blob};
pub use pages::{column, postings};
pub use stored::{operands, sliced, stored};

#[cfg(test)]
mod tests;

/// Takes bytes off the front of the input; zeros once it is used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.u8())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    /// True for one byte in so many.
    fn one_in(&mut self, many: u8) -> bool {
        self.u8().is_multiple_of(many)
    }

    /// A number that is often near an edge.
    fn edge(&mut self) -> u64 {
        match self.u8() % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (self.u8() % 64),
            3 => (1_u64 << (self.u8() % 64)).wrapping_sub(1),
            4 => u64::from(self.u8()),
            5 => u64::from(self.u16()),
            6 => u64::from(self.u32()),
            _ => u64::from_le_bytes(self.number()),
        }
    }

    /// The lower 32 bits of such a number.
    fn edge32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.edge().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The lower 16 bits of such a number.
    fn edge16(&mut self) -> u16 {
        let [a, b, ..] = self.edge().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// Some bytes off the front, as they are.
    fn part(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16()).min(self.0.len());
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        part
    }

    /// All that is left.
    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Overwrites, cuts off or appends bytes, a few times.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.u8() % 4 {
            let at = usize::from(self.u16()) % bytes.len().max(1);
            let value = self.edge().to_le_bytes();
            let width = 1 << (self.u8() % 4);
            match self.u8() % 8 {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_slice(value.get(..width).unwrap_or_default()),
                2 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (width % 8);
                    }
                }
                _ => {
                    if let Some(place) = bytes.get_mut(at..at + width) {
                        place.copy_from_slice(value.get(..width).unwrap_or_default());
                    }
                }
            }
        }
    }
}
