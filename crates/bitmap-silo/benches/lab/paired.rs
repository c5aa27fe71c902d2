//! Paired measuring: contenders take turns, medians are compared.
//!
//! All work is done by one thread, and its processor time is taken: what else runs on a machine then
//! matters less.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "times are small and positive, and there is at least one sample"
)]

use std::time::Duration;

use cpu_time::ThreadTime;

/// One way to do a piece of work; answers a checksum that all ways must agree on.
pub(crate) struct Way<'a> {
    pub(crate) name: &'static str,
    run: Box<dyn FnMut() -> u64 + 'a>,
}

pub(crate) fn way<'a>(name: &'static str, run: impl FnMut() -> u64 + 'a) -> Way<'a> {
    Way { name, run: Box::new(run) }
}

/// How long and how often to measure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) sample: Duration,
    pub(crate) samples: usize,
}

/// Median nanoseconds of each way, taken in turns after one run of each for warmth and proof of
/// equality.
pub(crate) fn medians(ways: &mut [Way<'_>], effort: Effort) -> Vec<f64> {
    let mut repeats = Vec::new();
    let mut expected = None;
    for way in ways.iter_mut() {
        let answer = (way.run)();
        assert_eq!(*expected.get_or_insert(answer), answer, "{} answers otherwise", way.name);
        let start = ThreadTime::now();
        std::hint::black_box((way.run)());
        let once = start.elapsed().as_secs_f64().max(1e-9);
        repeats.push((effort.sample.as_secs_f64() / once).clamp(1.0, 1e6) as usize);
    }
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..effort.samples {
        for ((way, repeats), times) in ways.iter_mut().zip(&repeats).zip(&mut times) {
            let start = ThreadTime::now();
            for _ in 0..*repeats {
                std::hint::black_box((way.run)());
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / *repeats as f64);
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
        .collect()
}

/// Geometric mean.
pub(crate) fn mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}
