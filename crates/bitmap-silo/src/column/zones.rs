//! Bounds of the columns of a field, chunk by chunk.

use super::error::ColumnError;
use crate::container::CHUNK_SLOTS;

const TAG_ZONES: u8 = 0xc3;
const HEADER_BYTES: usize = 8;
const ZONE_BYTES: usize = 24;

/// Bounds of the keys of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The chunk: the upper 16 bits of its slots.
    pub chunk: u16,
    /// At most so many of its slots have a key, 1 to 65,536.
    pub count: u32,
    /// No key is lower.
    pub lowest: u64,
    /// No key is higher.
    pub highest: u64,
}

impl Zone {
    /// Widens these bounds to those of both.
    fn widen(&mut self, other: &Zone) {
        self.count = self.count.saturating_add(other.count).min(CHUNK_SLOTS);
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
    }
}

/// The zones of a field, chunks ascending: a value, and equally the operand that widens one.
///
/// Bounds are true and may be wide: changes only widen them, and the count of changes is added to
/// that of the slots, whether they are new or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    zones: Vec<Zone>,
}

impl Zones {
    /// The zones of (slot, key) pairs in any order: what adding them widens bounds by.
    pub fn of_entries(entries: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let zone = |(slot, key)| Zone {
            chunk: crate::frozen::split_slot(slot).0,
            count: 1,
            lowest: key,
            highest: key,
        };
        Self::of(entries.into_iter().map(zone))
    }

    /// Zones in any order; those of one chunk are widened to one.
    pub fn of(zones: impl IntoIterator<Item = Zone>) -> Self {
        let mut this = Self::default();
        let mut sorted = true;
        for zone in zones {
            match this.zones.last_mut() {
                Some(last) if last.chunk == zone.chunk => last.widen(&zone),
                last => {
                    sorted &= last.is_none_or(|last| last.chunk < zone.chunk);
                    this.zones.push(zone);
                }
            }
        }
        if !sorted {
            this.zones.sort_by_key(|zone| zone.chunk);
            this.zones.dedup_by(|zone, kept| {
                let same = zone.chunk == kept.chunk;
                if same {
                    kept.widen(zone);
                }
                same
            });
        }
        this
    }

    /// The zones, chunks ascending; chunks that are missing have no key.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Whether no chunk has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// The zone of a chunk; O(log n).
    #[must_use]
    pub fn get(&self, chunk: u16) -> Option<&Zone> {
        let at = self.zones.binary_search_by_key(&chunk, |zone| zone.chunk).ok()?;
        self.zones.get(at)
    }

    /// These zones widened by others: how operands fold onto a value and combine. O(n).
    #[must_use]
    pub fn widened(&self, by: &Zones) -> Zones {
        let mut zones = Vec::with_capacity(self.zones.len().max(by.zones.len()));
        let mut mine = self.zones.iter().peekable();
        for other in &by.zones {
            while let Some(zone) = mine.next_if(|zone| zone.chunk < other.chunk) {
                zones.push(*zone);
            }
            let mut wide = *other;
            if let Some(zone) = mine.next_if(|zone| zone.chunk == other.chunk) {
                wide.widen(zone);
            }
            zones.push(wide);
        }
        zones.extend(mine);
        Zones { zones }
    }

    /// The stored form; no bytes for no chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some(count) = u32::try_from(self.zones.len()).ok().filter(|count| *count > 0) else {
            return Vec::new();
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + ZONE_BYTES * self.zones.len());
        out.extend_from_slice(&[TAG_ZONES, 0, 0, 0]);
        out.extend_from_slice(&count.to_le_bytes());
        for zone in &self.zones {
            out.extend_from_slice(&u32::from(zone.chunk).to_le_bytes());
            out.extend_from_slice(&zone.count.to_le_bytes());
            out.extend_from_slice(&zone.lowest.to_le_bytes());
            out.extend_from_slice(&zone.highest.to_le_bytes());
        }
        out
    }

    /// Reads the stored form; every rule is checked.
    ///
    /// # Errors
    /// [`ColumnError`] where the bytes are no zones.
    pub fn decode(bytes: &[u8]) -> Result<Self, ColumnError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let length = |expected| ColumnError::length("zones", expected, bytes.len());
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| length(HEADER_BYTES))?;
        let [tag, zero @ .., n0, n1, n2, n3] = *header;
        if tag != TAG_ZONES || zero != [0; 3] {
            return Err(ColumnError::malformed("no tag of zones", 0));
        }
        let count = u32::from_le_bytes([n0, n1, n2, n3]);
        if count == 0 || count > CHUNK_SLOTS {
            return Err(ColumnError::malformed("a count that is not 1 to 65,536", 4));
        }
        let (entries, left) = rest.as_chunks::<ZONE_BYTES>();
        if entries.len() != count as usize || !left.is_empty() {
            return Err(length(HEADER_BYTES + ZONE_BYTES * count as usize));
        }
        let mut zones = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let offset = HEADER_BYTES + ZONE_BYTES * index;
            let zone = read_zone(entry)
                .ok_or_else(|| ColumnError::malformed("a zone that bounds nothing", offset))?;
            if zones.last().is_some_and(|last: &Zone| last.chunk >= zone.chunk) {
                return Err(ColumnError::malformed("chunks do not ascend", offset));
            }
            zones.push(zone);
        }
        Ok(Self { zones })
    }
}

fn read_zone(entry: &[u8; ZONE_BYTES]) -> Option<Zone> {
    let word = |at: usize| entry.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let key = |at: usize| entry.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let zone =
        Zone { chunk: u16::try_from(word(0)?).ok()?, count: word(4)?, lowest: key(8)?, highest: key(16)? };
    let valid = (1..=CHUNK_SLOTS).contains(&zone.count) && zone.lowest <= zone.highest;
    valid.then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn widened_zones_bound_every_entry_in_any_grouping() {
        let mut rng = SmallRng::seed_from_u64(2);
        let entries: Vec<(u32, u64)> =
            (0..500).map(|_| (rng.random_range(0..20 << 16), rng.random_range(0..1000))).collect();
        let whole = Zones::of_entries(entries.iter().copied());
        let parts: Vec<Zones> =
            entries.chunks(7).map(|part| Zones::of_entries(part.iter().copied())).collect();
        let left = parts.iter().fold(Zones::default(), |sum, part| sum.widened(part));
        let right = parts.iter().rev().fold(Zones::default(), |sum, part| part.widened(&sum));
        assert_eq!((&left, &right), (&whole, &whole));
        for (slot, key) in entries {
            let zone = whole.get((slot >> 16) as u16).unwrap();
            assert!((zone.lowest..=zone.highest).contains(&key));
        }
        assert_eq!(whole.zones().iter().map(|zone| zone.count).sum::<u32>(), 500);
        assert_eq!(Zones::decode(&whole.encode()).unwrap(), whole);
    }

    #[test]
    fn every_flip_and_cut_of_zones_is_an_error_or_zones() {
        let bytes = Zones::of_entries([(3, 9), (70_000, 2), (70_001, 5), (u32::MAX, u64::MAX)]).encode();
        assert_eq!(bytes.len(), 8 + 3 * 24);
        for len in 1..bytes.len() {
            assert!(Zones::decode(&bytes[..len]).is_err());
        }
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            if let Ok(zones) = Zones::decode(&flipped) {
                assert_eq!(zones.encode(), flipped);
            }
        }
    }
}
