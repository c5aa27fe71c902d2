//! Texts of a load's filter fields, numbered as they come.

use std::sync::{Mutex, PoisonError};

use ahash::AHashMap;

/// The texts of one field, shared by the load's threads.
#[derive(Debug, Default)]
pub(super) struct LoadTerms {
    numbers: Mutex<AHashMap<Box<str>, u32>>,
}

/// What one thread knows of them.
#[derive(Debug, Default)]
pub(super) struct TermCache {
    known: AHashMap<Box<str>, u32>,
}

/// Texts that a thread remembers; beyond it asks again.
const MOST_KNOWN: usize = 1 << 18;

impl LoadTerms {
    /// The number of a text.
    pub(super) fn number(&self, cache: &mut TermCache, text: &str) -> u32 {
        if let Some(number) = cache.known.get(text) {
            return *number;
        }
        let number = {
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            match numbers.get(text) {
                Some(number) => *number,
                None => *numbers.entry(text.into()).or_insert(next),
            }
        };
        if cache.known.len() < MOST_KNOWN {
            cache.known.insert(text.into(), number);
        }
        number
    }

    /// All texts with their numbers, in the order of the texts.
    pub(super) fn into_sorted(self) -> Vec<(Box<str>, u32)> {
        let numbers = self.numbers.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut texts: Vec<_> = numbers.into_iter().collect();
        texts.sort_unstable();
        texts
    }
}
