//! A column page, read in place.

use super::error::ColumnError;
use super::presence::{self, Presence, index, low16};
use super::walk::Direction;
use crate::container::{CHUNK_SLOTS, Scratch};
use crate::kernels::{Le16, prefetch};

/// First byte of a page.
pub(super) const TAG_PAGE: u8 = 0xc1;
/// Bytes of a page's header.
pub(super) const HEADER_BYTES: usize = 24;
/// Widest value that is read with one shifted load; wider ones take 64 bits.
pub(super) const PACKED_BITS_MAX: u32 = 56;
/// Zero bytes behind the values.
pub(super) const VALUES_SLACK: usize = 8;

/// The keys of one chunk, borrowed from bytes at any alignment.
///
/// *Positions* number its entries by (key, slot). Opening trusts the bytes, which a store has
/// checked by their checksum; where they are wrong all the same, reads answer wrongly but stay
/// inside them. [`validate`](Self::validate) checks everything.
#[derive(Clone, Copy, Debug)]
pub struct ColumnPage<'a> {
    count: u32,
    width: u32,
    mask: u64,
    min: u64,
    max: u64,
    presence: Presence<'a>,
    values: &'a [u8],
    /// Slots by (key, slot); none where that is the order of the slots.
    order: Option<&'a [Le16]>,
    /// Key of every [`SAMPLE_EVERY`]th position, where there is an order.
    samples: &'a [[u8; 8]],
}

/// Positions between two samples.
pub(super) const SAMPLE_EVERY: u32 = 256;

/// Bytes of `count` packed values.
pub(super) fn values_bytes(count: usize, width: u32) -> usize {
    if width == 0 { 0 } else { (count * width as usize).div_ceil(64) * 8 + VALUES_SLACK }
}

/// Bits in which values up to `highest` are stored.
pub(super) fn width_of(highest: u64) -> u32 {
    let width = u64::BITS - highest.leading_zeros();
    if width > PACKED_BITS_MAX { u64::BITS } else { width }
}

impl<'a> ColumnPage<'a> {
    /// The page without keys.
    pub const EMPTY: ColumnPage<'static> = ColumnPage {
        count: 0,
        width: 0,
        mask: 0,
        min: u64::MAX,
        max: 0,
        presence: Presence::Prefix(0),
        values: &[],
        order: None,
        samples: &[],
    };

    /// Opens a page by its header; O(1), nothing allocated. No bytes are the empty page.
    ///
    /// # Errors
    /// [`ColumnError`] where the header is malformed or calls for another length.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ColumnError> {
        if bytes.is_empty() {
            return Ok(Self::EMPTY);
        }
        let short = || ColumnError::length("the header of a page", HEADER_BYTES, bytes.len());
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(short)?;
        let [tag, width, form, order, n0, n1, n2, n3, bounds @ ..] = *header;
        let ([min, max], _) = bounds.as_chunks::<8>() else { return Err(short()) };
        if tag != TAG_PAGE {
            return Err(ColumnError::malformed("no tag of a column page", 0));
        }
        let width = u32::from(width);
        if width > PACKED_BITS_MAX && width != u64::BITS {
            return Err(ColumnError::malformed("a width of 57 to 63 or above 64 bits", 1));
        }
        let count = u32::from_le_bytes([n0, n1, n2, n3]);
        if count == 0 || count > CHUNK_SLOTS {
            return Err(ColumnError::malformed("a count that is not 1 to 65,536", 4));
        }
        let n = count as usize;
        let presence_bytes =
            presence::form_bytes(form, n).ok_or_else(|| ColumnError::malformed("no form of presence", 2))?;
        let (order_bytes, sample_bytes) = match order {
            0 => (0, 0),
            1 => (2 * n, 8 * n.div_ceil(SAMPLE_EVERY as usize)),
            _ => return Err(ColumnError::malformed("an order neither left out nor stored", 3)),
        };
        let value_bytes = values_bytes(n, width);
        let expected = HEADER_BYTES + presence_bytes + value_bytes + order_bytes + sample_bytes;
        let wrong = || ColumnError::length("a page", expected, bytes.len());
        if bytes.len() != expected {
            return Err(wrong());
        }
        let (present, rest) = rest.split_at_checked(presence_bytes).ok_or_else(wrong)?;
        let (values, rest) = rest.split_at_checked(value_bytes).ok_or_else(wrong)?;
        let (slots, samples) = rest.split_at_checked(order_bytes).ok_or_else(wrong)?;
        Ok(Self {
            count,
            width,
            mask: if width == 0 { 0 } else { u64::MAX >> (u64::BITS - width) },
            min: u64::from_le_bytes(*min),
            max: u64::from_le_bytes(*max),
            presence: Presence::open(form, present, count).ok_or_else(wrong)?,
            values,
            order: (order == 1).then_some(slots.as_chunks().0),
            samples: samples.as_chunks().0,
        })
    }

    /// Checks every rule of the format that opening takes on trust. O(n).
    ///
    /// # Errors
    /// [`ColumnError::Malformed`] with the rule that is broken.
    pub fn validate(&self) -> Result<(), ColumnError> {
        if self.count == 0 {
            return Ok(());
        }
        self.presence.validate(HEADER_BYTES)?;
        let malformed = |what| Err(ColumnError::malformed(what, HEADER_BYTES));
        if self.min > self.max || self.width != width_of(self.max - self.min) {
            return malformed("bounds do not go with the width");
        }
        let used_bits = self.count as usize * self.width as usize;
        if (used_bits..self.values.len() * 8)
            .any(|bit| self.values.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
        {
            return malformed("unused bits of the values are not zero");
        }
        let mut before = None;
        for position in 0..self.count {
            let Some((key, low)) = self.entry(position) else {
                return malformed("the order names a slot without a key");
            };
            if key < self.min || key > self.max || before.is_some_and(|before| before >= (key, low)) {
                return malformed("the order is not that of the keys");
            }
            let sample = self.samples.get((position / SAMPLE_EVERY) as usize);
            if position % SAMPLE_EVERY == 0 && sample.is_some_and(|sample| *sample != key.to_le_bytes()) {
                return malformed("a sample is not the key of its position");
            }
            before = Some((key, low));
        }
        let ends = (self.entry(0).map(|(key, _)| key), before.map(|(key, _)| key));
        if ends != (Some(self.min), Some(self.max)) {
            return malformed("the bounds are not those of the keys");
        }
        let in_slots = (1..self.count).all(|rank| self.value(rank - 1) <= self.value(rank));
        if self.order.is_some() == in_slots {
            return malformed("an order is stored exactly where keys do not ascend with slots");
        }
        Ok(())
    }

    /// Number of slots with a key.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether no slot has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The lowest key.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// The highest key.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Whether keys never descend from one slot to the next.
    #[must_use]
    pub fn ascends(&self) -> bool {
        self.order.is_none()
    }

    /// Whether `low` has a key; O(1), or O(log n) for up to 4,096 scattered slots.
    #[must_use]
    pub fn contains(&self, low: u16) -> bool {
        self.presence.rank(low).is_some()
    }

    /// The key of `low`; as fast as [`contains`](Self::contains).
    #[must_use]
    #[inline]
    pub fn get(&self, low: u16) -> Option<u64> {
        self.value(self.presence.rank(low)?)
    }

    /// Starts loading what the key of a slot is read from, as far as that is known without reading.
    #[inline]
    pub(crate) fn prefetch(&self, low: u16) {
        match &self.presence {
            Presence::Prefix(_) => prefetch(self.values, usize::from(low) * self.width as usize / 8),
            Presence::List(_) => {}
            Presence::Bitset { bits, ranks, .. } => {
                prefetch(*bits, usize::from(low >> 6));
                prefetch(*ranks, usize::from(low >> 6));
            }
        }
    }

    /// Starts loading the first slots of a walk over everything.
    pub(crate) fn prefetch_order(&self, direction: Direction) {
        let first = match direction {
            Direction::Ascending => 0,
            Direction::Descending => (self.count as usize).saturating_sub(1),
        };
        match self.order {
            Some(order) => prefetch(order, first),
            None => prefetch(self.values, first * self.width as usize / 8),
        }
    }

    /// The first slots of such a walk, where an order is stored.
    pub(crate) fn first_slots(&self, direction: Direction, count: usize) -> impl Iterator<Item = u16> + 'a {
        let order = self.order.unwrap_or(&[]);
        let part = match direction {
            Direction::Ascending => order.get(..count.min(order.len())),
            Direction::Descending => order.get(order.len().saturating_sub(count)..),
        };
        part.unwrap_or(&[]).iter().map(|low| u16::from_le_bytes(*low))
    }

    /// The key of the present slot with `rank` present ones below it.
    #[inline]
    pub(super) fn value(&self, rank: u32) -> Option<u64> {
        if rank >= self.count {
            return None;
        }
        if self.width == 0 {
            return Some(self.min);
        }
        let bit = rank as usize * self.width as usize;
        let word = u64::from_le_bytes(*self.values.get(bit / 8..)?.first_chunk()?);
        Some(self.min.wrapping_add(word >> (bit % 8) & self.mask))
    }

    /// Writes the keys of the present slots with ranks from `first` on to `out`; answers how many
    /// there were.
    pub fn decode(&self, first: u32, out: &mut [u64]) -> usize {
        let len = (self.count.saturating_sub(first) as usize).min(out.len());
        let out = out.get_mut(..len).unwrap_or(&mut []);
        match self.width {
            0 => out.fill(self.min),
            64 => {
                let bytes = self.values.get(8 * first as usize..).unwrap_or(&[]);
                for (to, word) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *to = self.min.wrapping_add(u64::from_le_bytes(*word));
                }
            }
            width => {
                let width = width as usize;
                let mut bit = first as usize * width;
                for to in out {
                    let word = self.values.get(bit / 8..).and_then(|bytes| bytes.first_chunk());
                    let word = word.map_or(0, |word| u64::from_le_bytes(*word));
                    *to = self.min.wrapping_add(word >> (bit % 8) & self.mask);
                    bit += width;
                }
            }
        }
        len
    }

    /// Sum of all keys.
    #[must_use]
    pub fn sum(&self) -> u128 {
        const BATCH: usize = 64;
        let mut total = u128::from(self.min().unwrap_or(0)) * u128::from(self.count);
        if self.width > 47 {
            let mut keys = [0; BATCH];
            let mut rank = 0;
            loop {
                let len = self.decode(rank, &mut keys);
                let part = keys.get(..len).unwrap_or(&[]).iter();
                total += part.map(|key| u128::from(key.wrapping_sub(self.min))).sum::<u128>();
                rank += index(len);
                if len == 0 {
                    return total;
                }
            }
        }
        // Differences of one chunk this narrow add up in a word. Eight values are as many bytes as
        // one has bits.
        let width = self.width as usize;
        let value = |bytes: &[u8], bit: usize| {
            let word = bytes.get(bit / 8..).and_then(|bytes| bytes.first_chunk());
            word.map_or(0, |word| u64::from_le_bytes(*word)) >> (bit % 8) & self.mask
        };
        let (eights, rest) = (self.count as usize / 8, self.count as usize % 8);
        let mut sum = 0_u64;
        for eight in 0..if width == 0 { 0 } else { eights } {
            let Some(bytes) = self.values.get(eight * width..(eight + 1) * width + 7) else { break };
            sum += (0..8).map(|at| value(bytes, at * width)).sum::<u64>();
        }
        let tail = self.values.get(eights * width..).unwrap_or(&[]);
        sum += (0..rest).map(|at| value(tail, at * width)).sum::<u64>();
        total += u128::from(sum);
        total
    }

    /// Key and slot at a position.
    #[inline]
    #[must_use]
    pub fn entry(&self, position: u32) -> Option<(u64, u16)> {
        match self.order {
            Some(order) => {
                let low = u16::from_le_bytes(*order.get(position as usize)?);
                Some((self.get(low)?, low))
            }
            None => Some((self.value(position)?, self.presence.select(position)?)),
        }
    }

    fn key_at(&self, position: u32) -> Option<u64> {
        match self.order {
            Some(order) => self.get(u16::from_le_bytes(*order.get(position as usize)?)),
            None => self.value(position),
        }
    }

    /// Number of entries whose key is below `key`; O(log n).
    #[must_use]
    pub fn lower_bound(&self, key: u64) -> u32 {
        if key <= self.min {
            return 0;
        }
        if key > self.max {
            return self.count;
        }
        let below = |position: u32| self.key_at(position).is_some_and(|k| k < key);
        // The bound lies behind the last sample below the key, and not behind the next one.
        let sampled = index(self.samples.partition_point(|sample| u64::from_le_bytes(*sample) < key));
        match sampled.checked_sub(1) {
            Some(block) => {
                let first = (block * SAMPLE_EVERY + 1).min(self.count);
                let end = (first + SAMPLE_EVERY - 1).min(self.count);
                first + partition(end - first, |offset| below(first + offset))
            }
            None if self.samples.is_empty() => partition(self.count, below),
            None => 0,
        }
    }

    /// Number of entries whose key is at most `key`; O(log n).
    #[must_use]
    pub fn upper_bound(&self, key: u64) -> u32 {
        key.checked_add(1).map_or(self.count, |above| self.lower_bound(above))
    }

    /// Number of entries below (`key`, `low`), or also at it.
    pub(super) fn bound_of(&self, key: u64, low: u16, or_at: bool) -> u32 {
        let (first, end) = (self.lower_bound(key), self.upper_bound(key));
        let below = partition(end.saturating_sub(first), |offset| {
            self.entry(first + offset).is_some_and(|(_, l)| l < low || (or_at && l == low))
        });
        first + below
    }

    /// Number of slots whose key is from `lowest` to `highest`, both inclusive; O(log n).
    #[must_use]
    pub fn range_count(&self, lowest: u64, highest: u64) -> u32 {
        if lowest > highest { 0 } else { self.upper_bound(highest).saturating_sub(self.lower_bound(lowest)) }
    }

    /// Makes `words` the slots whose key is from `lowest` to `highest`, both inclusive; answers how
    /// many.
    pub fn range_into(&self, lowest: u64, highest: u64, words: &mut Scratch) -> u32 {
        let (first, end) =
            if lowest > highest { (0, 0) } else { (self.lower_bound(lowest), self.upper_bound(highest)) };
        let found = end.saturating_sub(first);
        if found > self.count / 2 {
            // Fewer slots are left out than in.
            self.presence.load_into(words);
            self.for_slots(0, first, |low| words.remove(low));
            self.for_slots(end, self.count, |low| words.remove(low));
        } else {
            words.clear();
            self.for_slots(first, end, |low| words.insert(low));
        }
        found
    }

    /// Calls `f` with the slots at positions from `first` up to `end`.
    fn for_slots(&self, first: u32, end: u32, mut f: impl FnMut(u16)) {
        if first >= end {
            return;
        }
        match (self.order, self.presence) {
            (Some(order), _) => {
                let part = order.get(first as usize..end as usize).unwrap_or(&[]);
                for low in part {
                    f(u16::from_le_bytes(*low));
                }
            }
            (None, Presence::Prefix(_)) => (first..end).for_each(|low| f(low16(low))),
            (None, presence) => (first..end).filter_map(|rank| presence.select(rank)).for_each(f),
        }
    }

    /// Makes `words` the slots with a key.
    pub fn present_into(&self, words: &mut Scratch) {
        self.presence.load_into(words);
    }

    /// Calls `f` with every slot that has a key and the key, in slot order.
    pub fn for_each(&self, mut f: impl FnMut(u16, u64)) {
        const BATCH: usize = 256;
        let mut keys = [0; BATCH];
        let mut slots = Scratch::new();
        let scattered = !matches!(self.presence, Presence::Prefix(_));
        if scattered {
            self.presence.load_into(&mut slots);
        }
        let mut slots =
            scattered.then(|| crate::container::cursor::Ascent::new(slots.as_bitset(self.count).into()));
        let mut rank = 0;
        loop {
            let len = self.decode(rank, &mut keys);
            if len == 0 {
                return;
            }
            for (at, key) in keys.iter().take(len).enumerate() {
                let low = match &mut slots {
                    None => Some(low16(rank + index(at))),
                    Some(slots) => slots.next(),
                };
                let Some(low) = low else { return };
                f(low, *key);
            }
            rank += index(len);
        }
    }

    /// The slots by (key, slot), little-endian; none where that is slot order.
    pub(super) fn order(&self) -> Option<&'a [Le16]> {
        self.order
    }

    /// Whether the slots with a key are the first ones of the chunk.
    pub(super) fn is_prefix(&self) -> bool {
        matches!(self.presence, Presence::Prefix(_))
    }

    /// The present slot with `rank` present ones below it.
    pub(super) fn slot_at(&self, rank: u32) -> Option<u16> {
        self.presence.select(rank)
    }

    /// The highest slot with a key.
    pub(super) fn last_slot(&self) -> Option<u16> {
        self.presence.select(self.count.checked_sub(1)?)
    }
}

/// The first of `0..len` for which `below` does not hold, if it holds for a prefix.
fn partition(len: u32, mut below: impl FnMut(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
