//! Sums, bounds and quantiles of a column under a filter.

use super::order::SortSource;
use crate::column::{ColumnView, Zone};
use crate::container::{ContainerRef, Scratch};
use crate::eval::{ChunkFilter, Query};

/// Keys up to this number are selected from in memory.
const SELECT_MAX: u64 = 1 << 20;
/// Buckets of a pass of the quantile search.
const BUCKET_BITS: u32 = 14;

/// Number, sum and bounds of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many records have a key.
    pub count: u64,
    /// Sum of the keys as unsigned numbers.
    pub sum: u128,
    /// The lowest key.
    pub min: Option<u64>,
    /// The highest key.
    pub max: Option<u64>,
}

impl Totals {
    fn add_all(&mut self, view: &ColumnView<'_>) {
        let (Some(min), Some(max)) = (view.min(), view.max()) else { return };
        self.count += u64::from(view.len());
        self.sum += view.sum();
        self.widen(min, max);
    }

    fn widen(&mut self, min: u64, max: u64) {
        self.min = Some(self.min.map_or(min, |least| least.min(min)));
        self.max = Some(self.max.map_or(max, |most| most.max(max)));
    }

    fn add(&mut self, keys: &[u64]) {
        let (Some(min), Some(max)) = (keys.iter().min(), keys.iter().max()) else { return };
        self.count += keys.len() as u64;
        let high: u64 = keys.iter().map(|key| key >> 32).sum();
        let low: u64 = keys.iter().map(|key| key & u64::from(u32::MAX)).sum();
        self.sum += (u128::from(high) << 32) + u128::from(low);
        self.widen(*min, *max);
    }

    /// Sum of the signed numbers, where keys were made from those.
    #[must_use]
    pub fn sum_i64(&self) -> i128 {
        // At most 2³² keys below 2⁶⁴ each.
        self.sum.cast_signed() - (i128::from(self.count) << 63)
    }

    /// Mean of the unsigned numbers.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    pub fn mean_u64(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Mean of the signed numbers, where keys were made from those.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    pub fn mean_i64(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_i64() as f64 / self.count as f64)
    }
}

/// Number, sum and bounds of the keys of the records that the filter matches, or of all.
///
/// # Errors
/// What the source fails with.
pub fn totals<E>(source: &dyn SortSource<Error = E>, filter: Option<&Query<'_>>) -> Result<Totals, E> {
    let mut totals = Totals::default();
    if filter.is_none() {
        for zone in source.zones() {
            totals.add_all(&source.column(zone.chunk)?);
        }
        return Ok(totals);
    }
    for_each_batch(source, filter, |_| true, |keys| totals.add(keys))?;
    Ok(totals)
}

/// Sum of the numbers that `number` makes of the keys of matching records, and their count: for
/// floats. Errors of rounding are compensated for (Neumaier 1974).
///
/// # Errors
/// What the source fails with.
pub fn sum_f64<E>(
    source: &dyn SortSource<Error = E>,
    filter: Option<&Query<'_>>,
    number: impl Fn(u64) -> f64,
) -> Result<(f64, u64), E> {
    let (mut sum, mut lost, mut count) = (0.0_f64, 0.0, 0);
    for_each_key(
        source,
        filter,
        |_| true,
        |key| {
            let number = number(key);
            let next = sum + number;
            lost += if sum.abs() >= number.abs() { (sum - next) + number } else { (number - next) + sum };
            (sum, count) = (next, count + 1);
        },
    )?;
    // An infinite sum has lost nothing that a float could say.
    Ok((if sum.is_finite() { sum + lost } else { sum }, count))
}

/// The `q`-quantile, exactly: the lowest key such that at least the share `q` of the matching
/// records' keys are not above it; the lowest key of all for `q` = 0. None where no record has a
/// key.
///
/// Two to five passes over the matching keys; chunks outside the range still in question are not
/// read.
///
/// # Errors
/// What the source fails with.
pub fn quantile<E>(
    source: &dyn SortSource<Error = E>,
    filter: Option<&Query<'_>>,
    q: f64,
) -> Result<Option<u64>, E> {
    let Totals { count, min: Some(mut low), max: Some(mut high), .. } = totals(source, filter)? else {
        return Ok(None);
    };
    // Keys below the one sought, among those from `low` to `high`.
    let mut rank = rank_of(q, count);
    let mut left = count;
    while low < high {
        let inside = |zone: &Zone| zone.lowest <= high && zone.highest >= low;
        if left <= SELECT_MAX {
            let mut keys = Vec::with_capacity(usize::try_from(left).unwrap_or(0));
            let in_range = |key: &u64| (low..=high).contains(key);
            for_each_key(source, filter, inside, |key| keys.extend(Some(key).filter(in_range)))?;
            let at = usize::try_from(rank).unwrap_or(usize::MAX).min(keys.len().saturating_sub(1));
            return Ok((!keys.is_empty()).then(|| *keys.select_nth_unstable(at).1));
        }
        let shift = (u64::BITS - (high - low).leading_zeros()).saturating_sub(BUCKET_BITS);
        let mut buckets = vec![0_u64; 1 << BUCKET_BITS];
        for_each_key(source, filter, inside, |key| {
            let bucket = key.checked_sub(low).and_then(|above| usize::try_from(above >> shift).ok());
            if let Some(count) = bucket.filter(|_| key <= high).and_then(|bucket| buckets.get_mut(bucket)) {
                *count += 1;
            }
        })?;
        let mut found = (high, left);
        for (start, count) in (0_u64..).zip(&buckets) {
            if rank < *count {
                found = (low + (start << shift), *count);
                break;
            }
            rank -= count;
        }
        high = high.min(found.0.saturating_add((1 << shift) - 1));
        (low, left) = found;
    }
    Ok(Some(low))
}

/// Number of keys below the `q`-quantile of `count` keys.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of slots are exact as floats, and the share is clamped"
)]
pub(crate) fn rank_of(q: f64, count: u64) -> u64 {
    let not_above = (q.clamp(0.0, 1.0) * count as f64).ceil() as u64;
    not_above.clamp(1, count.max(1)) - 1
}

/// Calls `f` with the key of every matching record in the chunks whose zone `wanted` accepts.
fn for_each_key<E>(
    source: &dyn SortSource<Error = E>,
    filter: Option<&Query<'_>>,
    wanted: impl Fn(&Zone) -> bool,
    mut f: impl FnMut(u64),
) -> Result<(), E> {
    for_each_batch(source, filter, wanted, |keys| keys.iter().for_each(|key| f(*key)))
}

/// As [`for_each_key`], with at most a chunk's keys at a time.
fn for_each_batch<E>(
    source: &dyn SortSource<Error = E>,
    filter: Option<&Query<'_>>,
    wanted: impl Fn(&Zone) -> bool,
    mut f: impl FnMut(&[u64]),
) -> Result<(), E> {
    let mut found = Vec::new();
    let mut filter: Option<ChunkFilter<'_>> = filter.map(Query::chunk_filter);
    let mut words = Scratch::new();
    for zone in source.zones().iter().filter(|zone| wanted(zone)) {
        match &mut filter {
            None => source.column(zone.chunk)?.for_each_batch(&mut f),
            Some(filter) if filter.bound(zone.chunk) == 0 => {}
            Some(filter) => {
                let slots = filter.evaluate(zone.chunk);
                if !slots.is_empty() {
                    found.clear();
                    let view = source.column(zone.chunk)?;
                    for_each_of(&view, slots, &mut words, |key| found.push(key));
                    f(&found);
                }
            }
        }
    }
    Ok(())
}

/// Calls `f` with the keys of some slots: by look-up where they are few, else by reading all.
fn for_each_of(view: &ColumnView<'_>, slots: ContainerRef<'_>, words: &mut Scratch, mut f: impl FnMut(u64)) {
    if slots.cardinality() < view.len_bound() / 4 {
        slots.for_each(|low| view.get(low).into_iter().for_each(&mut f));
    } else {
        words.load(slots);
        view.for_each(|low, key| {
            if words.contains(low) {
                f(key);
            }
        });
    }
}
