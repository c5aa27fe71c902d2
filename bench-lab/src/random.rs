//! Random numbers that stay the same for ever: the generator is a published one, and what is derived from its
//! 64-bit words is derived here.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Stream number `stream` of a seed: each block of rows, each strategy's input has one of its own.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(mix(seed) ^ mix(stream ^ 0x5bd1_e995)))
    }

    /// The next 64 bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is not zero; uniform up to a bias of `bound` / 2³².
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.word() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number from 0 up to 1, 1 left out.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// True with a probability.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// About normal (four uniform numbers), mean 0, deviation 1.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        let word = self.word();
        let sum: u64 = (0..4).map(|i| (word >> (16 * i)) & 0xffff).sum();
        // Four uniform numbers have variance 4/12.
        (sum as f64 / 65_536.0 - 2.0) * 1.732_050_8
    }

    /// Fills bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Shuffles a list.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at as u32 + 1) as usize);
        }
    }
}

/// A bijection of 64-bit numbers that leaves no pattern (`SplitMix64`'s finaliser).
#[must_use]
#[inline]
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Draws indices by given weights in constant time (Vose's alias method).
#[derive(Debug, Clone)]
pub struct Weighted {
    /// Threshold out of 2³² and the index to take above it.
    cells: Vec<(u32, u32)>,
}

impl Weighted {
    /// From weights that are not negative, at least one of them positive.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let weights: Vec<f64> = weights.into_iter().collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..scaled.len()).partition(|&i| scaled[i] < 1.0);
        let mut cells: Vec<(u32, u32)> = (0..scaled.len() as u32).map(|i| (u32::MAX, i)).collect();
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            cells[low] = ((scaled[low] * 4_294_967_296.0) as u32, high as u32);
            scaled[high] -= 1.0 - scaled[low];
            if scaled[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        Self { cells }
    }

    /// The next index.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        self.at(random.word())
    }

    /// The index that 64 random bits stand for.
    #[must_use]
    #[inline]
    pub fn at(&self, word: u64) -> u32 {
        let index = ((word >> 32) * self.cells.len() as u64) >> 32;
        let (threshold, other) = self.cells[index as usize];
        if (word as u32) < threshold { index as u32 } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_met() {
        let weights = [5.0, 0.0, 1.0, 10.0, 4.0];
        let table = Weighted::new(weights);
        let mut random = Random::new(1, 2);
        let mut counts = [0_u32; 5];
        for _ in 0..200_000 {
            counts[table.draw(&mut random) as usize] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            assert!((f64::from(*count) - weight * 10_000.0).abs() < 1_000.0, "{counts:?}");
        }
    }

    #[test]
    fn streams_never_change() {
        let mut random = Random::new(7, 3);
        assert_eq!([random.word(), random.word()], [1_222_802_036_274_589_074, 14_050_672_126_652_444_682]);
    }

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let mut random = Random::new(1, 1);
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let deviation = (draws.iter().map(|x| x * x).sum::<f64>() / 1e5).sqrt();
        assert!(mean.abs() < 0.02 && (deviation - 1.0).abs() < 0.02, "{mean} {deviation}");
    }
}
