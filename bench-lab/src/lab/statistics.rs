//! Medians, quartiles and intervals.

use crate::random::Random;

/// The value below which a share of the samples lies, interpolated; 0 where there are none.
#[must_use]
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The middle one.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The median of ratios and the interval that holds it with 95 % (percentile bootstrap).
#[must_use]
pub fn ratio_interval(ratios: &[f64]) -> (f64, f64, f64) {
    let mut random = Random::new(ratios.len() as u64, 0xb007);
    let count = ratios.len() as u32;
    if count == 0 {
        return (0.0, 0.0, 0.0);
    }
    let medians: Vec<f64> = (0..1_000)
        .map(|_| {
            let resampled: Vec<f64> = (0..count).map(|_| ratios[random.below(count) as usize]).collect();
            median(&resampled)
        })
        .collect();
    (median(ratios), quantile(&medians, 0.025), quantile(&medians, 0.975))
}

/// The ratio of the medians of two independent sets of samples, and the interval that holds it with 95 %.
#[must_use]
pub fn independent_ratio(new: &[f64], old: &[f64]) -> (f64, f64, f64) {
    if new.is_empty() || old.is_empty() {
        return (0.0, 0.0, 0.0);
    }
    let mut random = Random::new(1, 0xb008);
    let mut resampled = |samples: &[f64]| {
        let count = samples.len() as u32;
        let draws: Vec<f64> = (0..count).map(|_| samples[random.below(count) as usize]).collect();
        median(&draws)
    };
    let ratios: Vec<f64> = (0..1_000).map(|_| resampled(new) / resampled(old)).collect();
    (median(new) / median(old), quantile(&ratios, 0.025), quantile(&ratios, 0.975))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "interpolation of these is exact")]
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|share| quantile(&samples, share)), [1.0, 1.75, 2.5, 4.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn intervals_hold_the_median_and_grow_with_noise() {
        let calm: Vec<f64> = (0..20).map(|i| 2.0 + f64::from(i % 5) * 0.01).collect();
        let wild: Vec<f64> = (0..20).map(|i| 2.0 + f64::from(i % 5)).collect();
        let (middle, low, high) = ratio_interval(&calm);
        assert!(low <= middle && middle <= high && high - low < 0.05);
        let (_, wild_low, wild_high) = ratio_interval(&wild);
        assert!(wild_high - wild_low > high - low);
        let (ratio, low, high) = independent_ratio(&wild, &calm);
        assert!(low <= ratio && ratio <= high && low > 0.9);
    }
}
