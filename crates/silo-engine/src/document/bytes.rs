//! Varints and the reading of untrusted bytes.

/// Appends seven bits per byte, lowest first.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut x: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    let low = |x: u64| x as u8;
    if x < 0x80 {
        out.push(low(x));
        return;
    }
    // Copied whole and cut off again, which is faster than byte by byte.
    let mut bytes = [0; 10];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        *byte = low(x) | 0x80;
        x >>= 7;
        if x == 0 {
            *byte &= 0x7f;
            break;
        }
    }
    out.extend_from_slice(&bytes);
    out.truncate(out.len() - bytes.len() + len);
}

/// Small numbers of either sign as small unsigned ones.
pub(crate) fn zigzag(x: i64) -> u64 {
    ((x << 1) ^ (x >> 63)).cast_unsigned()
}

fn unzigzag(x: u64) -> i64 {
    (x >> 1).cast_signed() ^ -(x & 1).cast_signed()
}

/// Reads bytes from front to back. Every method is none where the bytes end early or are malformed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut x = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            x |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(x);
            }
        }
        None
    }

    /// Passes a varint without making sure that it has no more than 64 bits.
    #[inline]
    pub(crate) fn skip_varint(&mut self) -> Option<()> {
        let last = self.0.iter().take(10).position(|byte| *byte < 0x80)?;
        self.0 = self.0.get(last + 1..)?;
        Some(())
    }

    pub(crate) fn zigzag(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    /// Bytes behind their length.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.block()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_longer_ones_are_refused() {
        for x in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, x);
            let mut bytes = Bytes(&out);
            assert_eq!((bytes.varint(), bytes.is_empty()), (Some(x), true));
            for cut in 0..out.len() {
                assert_eq!(Bytes(&out[..cut]).varint(), None);
            }
        }
        assert_eq!(Bytes(&[0xff; 11]).varint(), None);
        assert_eq!(Bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(), None);
        for x in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(x)), x);
        }
    }
}
