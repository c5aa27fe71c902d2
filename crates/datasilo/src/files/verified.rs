//! Which parts of a mapped file were verified, for the life of the mapping.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One bit for each of a number of things, set once.
#[derive(Debug)]
pub(crate) struct VerifiedBits {
    words: OnceLock<Box<[AtomicU64]>>,
    count: u64,
}

impl VerifiedBits {
    /// Room for `count` bits; memory is taken at the first one set.
    pub(crate) fn new(count: u64) -> Self {
        Self { words: OnceLock::new(), count }
    }

    #[inline]
    fn word(&self, bit: u64) -> Option<&AtomicU64> {
        let words = self.words.get_or_init(|| {
            let len = usize::try_from(self.count.div_ceil(64)).expect("counts of pages fit usize");
            (0..len).map(|_| AtomicU64::new(0)).collect()
        });
        words.get(usize::try_from(bit / 64).ok()?)
    }

    /// True if the bit is set, or could be set because `verify` says so.
    #[inline]
    pub(crate) fn check(&self, bit: u64, verify: impl FnOnce() -> bool) -> bool {
        let Some(word) = self.word(bit) else {
            return verify();
        };
        let mask = 1 << (bit % 64);
        if word.load(Ordering::Relaxed) & mask != 0 {
            return true;
        }
        // Two threads may verify the same thing at once; both come to the same answer.
        let good = verify();
        if good {
            word.fetch_or(mask, Ordering::Relaxed);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_good_is_not_verified_again_and_what_was_bad_is() {
        let bits = VerifiedBits::new(70);
        assert!(!bits.check(69, || false));
        assert!(bits.check(69, || true));
        assert!(bits.check(69, || unreachable!("already verified")));
        assert!(!bits.check(68, || false));
        assert!(bits.check(1000, || true), "out of range is verified each time");
        assert!(!bits.check(1000, || false));
    }
}
