//! Sorting lists of a few numbers.

/// Lists of up to so many numbers are sorted by rank.
const MOST: usize = 16;
/// Bits of a key, which is not negative as a 32-bit integer.
const KEY_BITS: u32 = 31;

/// Sorts numbers, ascending.
///
/// In a short list of numbers that have all but 31 bits in common, the place of each is how many are less, which is
/// counted for all of them at once; no branch depends on the numbers, whose order in a file is hard to foresee.
pub(super) fn sort_numbers(numbers: &mut [u64]) {
    let count = numbers.len();
    let (in_all, in_any) = numbers.iter().fold((u64::MAX, 0), |(all, any), x| (all & x, any | x));
    if !(2..=MOST).contains(&count) || (in_all ^ in_any) >> KEY_BITS != 0 {
        numbers.sort_unstable();
        return;
    }
    let mut unsorted = [0u64; MOST];
    let mut keys = [0i32; MOST];
    let mut ranks = [0u32; MOST];
    for ((copy, key), number) in unsorted.iter_mut().zip(&mut keys).zip(&*numbers) {
        *copy = *number;
        *key = (*number & ((1 << KEY_BITS) - 1)) as i32;
    }
    for other in keys.iter().take(count) {
        for (rank, key) in ranks.iter_mut().zip(&keys) {
            *rank += u32::from(other < key);
        }
    }
    // Equal numbers have one rank, which is too low for all but one of them.
    if ranks.iter().take(count).sum::<u32>() as usize != count * (count - 1) / 2 {
        numbers.sort_unstable();
        return;
    }
    for (rank, number) in ranks.iter().zip(&unsorted).take(count) {
        if let Some(place) = numbers.get_mut(*rank as usize) {
            *place = *number;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn lists_of_any_length_and_size_are_sorted() {
        let mut random = StdRng::seed_from_u64(7);
        for bound in [1, 3, 50, 1 << 31, (1 << 31) + 1, u64::MAX] {
            for len in (0..=MOST + 2).cycle().take(2000) {
                let mut numbers: Vec<u64> = (0..len).map(|_| random.random_range(0..bound)).collect();
                let mut expected = numbers.clone();
                expected.sort_unstable();
                sort_numbers(&mut numbers);
                assert_eq!(numbers, expected);
            }
        }
        // Bits in common above those of keys, and not.
        for high in [1 << KEY_BITS, u64::MAX << KEY_BITS, 1 << 63] {
            for low in [0, high] {
                let mut numbers = [high + 7, low + 9, high + ((1 << KEY_BITS) - 1), low, high + 8];
                let mut expected = numbers;
                expected.sort_unstable();
                sort_numbers(&mut numbers);
                assert_eq!(numbers, expected);
            }
        }
    }
}
