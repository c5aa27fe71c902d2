//! Index runs: table geometry, slots, pages, parts and chains.

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::{FileNumber, FrameAddress};
use super::checksum;

/// Length of a table page, and of the header page, in bytes.
pub(crate) const PAGE_LEN: usize = 4096;
/// Slots of a page; the last word of the page is its trailer.
pub(crate) const PAGE_SLOTS: usize = 511;
/// Cache lines of a page.
pub(crate) const PAGE_LINES: usize = 64;
/// Slots of a cache line.
pub(crate) const LINE_SLOTS: usize = 8;

/// Bits of a slot that hold the tag.
pub(crate) const TAG_BITS: u32 = 22;
const ADDRESS_BITS: u32 = 42;
const PART_WORD_BITS: u32 = 25;
/// The most parts that a run can name; part 0 is its own chain area.
pub(crate) const MAX_PARTS: usize = (1 << (ADDRESS_BITS - PART_WORD_BITS)) - 1;
const _: () = assert!(TAG_BITS + ADDRESS_BITS == 64);

/// Pages are filled to this share on average: a home page overflows once in millions.
const TARGET_LOAD_PERCENT: u64 = 80;

/// Length of an index header in bytes.
pub(crate) const INDEX_HEADER_LEN: usize = size_of::<IndexHeader>();
const _: () = assert!(INDEX_HEADER_LEN == 64);
const _: () = assert!(size_of::<PageTrailer>() == 8);
const _: () = assert!(size_of::<PartRow>() == 8);
const _: () = assert!(size_of::<ChainHeader>() == 8);

/// See the format page, "Index header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct IndexHeader {
    pub(crate) page_count: U64,
    pub(crate) entry_count: U64,
    pub(crate) chain_bytes: U64,
    pub(crate) part_count: U32,
    pub(crate) multiplier: u8,
    pub(crate) shift: u8,
    pub(crate) hash_bits: u8,
    pub(crate) flags: u8,
    pub(crate) hash_seed: U64,
    pub(crate) parts_crc: U32,
    pub(crate) spill_pages: U32,
    pub(crate) reserved: [u8; 12],
    pub(crate) crc: U32,
}

impl IndexHeader {
    pub(crate) fn expected_crc(&self) -> u32 {
        let covered = self.as_bytes().split_last_chunk::<4>().map_or(&[][..], |(head, _)| head);
        checksum::crc(covered)
    }
}

/// See the format page, "Page trailer".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct PageTrailer {
    pub(crate) check: U32,
    pub(crate) flags: U32,
}

/// `PageTrailer::flags`: keys of this page lie in a later one.
pub(crate) const PAGE_SPILLS: u32 = 1;

/// See the format page, "Part row".
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct PartRow {
    pub(crate) segment: U32,
    pub(crate) part: U32,
}

/// See the format page, "Chain header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ChainHeader {
    pub(crate) crc: U32,
    pub(crate) count: U32,
}

/// Which part of a segment an address lies in, and the word within the part.
pub(crate) fn part_of(address: FrameAddress) -> (PartRow, u32) {
    let row = PartRow { segment: address.segment().into(), part: (address.word() >> PART_WORD_BITS).into() };
    (row, address.word() & ((1 << PART_WORD_BITS) - 1))
}

/// The address in a segment's coordinates of a word of one of its parts. `None` if out of range.
pub(crate) fn address_in_part(row: PartRow, word: u32) -> Option<FrameAddress> {
    let base = row.part.get().checked_shl(PART_WORD_BITS)?;
    if base >> PART_WORD_BITS != row.part.get() {
        return None;
    }
    Some(FrameAddress::new(row.segment.get(), base | word))
}

/// A slot of a page: a tag and an address within the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u64);

impl Slot {
    /// A place that no entry is in.
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn new(tag: u32, ordinal: u32, word: u32) -> Self {
        debug_assert!(tag < 1 << TAG_BITS && ordinal as usize <= MAX_PARTS && word < 1 << PART_WORD_BITS);
        Self(u64::from(tag) << ADDRESS_BITS | u64::from(ordinal) << PART_WORD_BITS | u64::from(word))
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    pub(crate) fn tag(self) -> u32 {
        (self.0 >> ADDRESS_BITS) as u32
    }

    /// Row of the part table plus one; 0 for the chain area.
    pub(crate) fn ordinal(self) -> usize {
        ((self.0 >> PART_WORD_BITS) & MAX_PARTS as u64) as usize
    }

    pub(crate) fn word(self) -> u32 {
        (self.0 & ((1 << PART_WORD_BITS) - 1)) as u32
    }
}

/// Shape of a table, and how hashes map to its pages.
///
/// A table of m × 2^shift pages keeps of each key the top `hash_bits` bits q of its hash: the page
/// is (q × m) >> w and the tag the low w = `hash_bits` − shift bits of that product. Since m is
/// known, q can be divided out again: tables are merged, and grow, without reading keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    multiplier: u64,
    shift: u32,
    hash_bits: u32,
}

impl Geometry {
    /// Shape for so many entries, with the widest tags.
    pub(crate) fn for_entries(entries: u64) -> Self {
        let capacity = PAGE_SLOTS as u64 * TARGET_LOAD_PERCENT / 100;
        let pages = entries.div_ceil(capacity).max(1);
        // Doubling tables would waste half: 8 to 15 times a power of two is within 12.5 %.
        let mut shift = 0;
        while pages.div_ceil(1 << shift) > 15 {
            shift += 1;
        }
        let multiplier = pages.div_ceil(1 << shift);
        Self { multiplier, shift, hash_bits: shift + TAG_BITS }
    }

    /// The same shape, but knowing only the top `bits` bits of hashes.
    pub(crate) fn with_hash_bits(self, bits: u32) -> Self {
        Self { hash_bits: bits.min(self.shift + TAG_BITS), ..self }
    }

    /// The shape that a header describes, if there can be such a one.
    pub(crate) fn from_header(header: &IndexHeader) -> Option<Self> {
        let shape = Self {
            multiplier: u64::from(header.multiplier),
            shift: u32::from(header.shift),
            hash_bits: u32::from(header.hash_bits),
        };
        let width = shape.hash_bits.checked_sub(shape.shift)?;
        let valid = (1..=15).contains(&shape.multiplier)
            && (shape.shift == 0 || shape.multiplier >= 8)
            && shape.shift <= 27
            && (6..=TAG_BITS).contains(&width)
            && shape.page_count() == header.page_count.get();
        valid.then_some(shape)
    }

    pub(crate) fn page_count(self) -> u64 {
        self.multiplier << self.shift
    }

    pub(crate) fn multiplier(self) -> u8 {
        u8::try_from(self.multiplier).expect("at most 15")
    }

    pub(crate) fn shift(self) -> u8 {
        u8::try_from(self.shift).expect("at most 27")
    }

    /// How many high bits of the hash the table knows.
    pub(crate) fn hash_bits(self) -> u32 {
        self.hash_bits
    }

    fn tag_width(self) -> u32 {
        self.hash_bits - self.shift
    }

    /// Home page and tag of a hash.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the tag has at most 22 bits")]
    pub(crate) fn place(self, hash: u64) -> (u64, u32) {
        let product = (hash >> (64 - self.hash_bits)) * self.multiplier;
        let width = self.tag_width();
        (product >> width, (product & ((1 << width) - 1)) as u32)
    }

    /// Home line of a tag within its page.
    #[inline]
    pub(crate) fn line(self, tag: u32) -> usize {
        (tag >> (self.tag_width() - 6)) as usize
    }

    /// The top `hash_bits` bits of the hash, in their place, of a tag in its home page.
    /// `None` if no hash leads there.
    pub(crate) fn hash_of(self, page: u64, tag: u32) -> Option<u64> {
        if page >= self.page_count() || tag >> self.tag_width() != 0 {
            return None;
        }
        let product = page << self.tag_width() | u64::from(tag);
        product.is_multiple_of(self.multiplier).then(|| (product / self.multiplier) << (64 - self.hash_bits))
    }
}

/// The check of a page: ties the slots to the file and to the page's place in it.
pub(crate) fn page_check(slots: &[u8], number: FileNumber, page: u64, flags: u32) -> u32 {
    let seed = (u64::from(number) << 32) + page * 2 + u64::from(flags & PAGE_SPILLS);
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the check")]
    let check = xxh3_64_with_seed(slots, seed) as u32;
    check
}

/// Appends a chain to a chain area.
pub(crate) fn encode_chain(area: &mut Vec<u8>, addresses: &[FrameAddress]) {
    let count = u32::try_from(addresses.len()).expect("chains are short");
    let mut body = Vec::with_capacity(4 + addresses.len() * 8);
    body.extend_from_slice(&count.to_le_bytes());
    for address in addresses {
        body.extend_from_slice(&address.to_bits().to_le_bytes());
    }
    area.extend_from_slice(&checksum::crc(&body).to_le_bytes());
    area.extend_from_slice(&body);
}

/// Reads the chain that starts `bytes`, checked. `None` if it is damaged.
pub(crate) fn decode_chain(bytes: &[u8]) -> Option<Vec<FrameAddress>> {
    let (header, rest) = ChainHeader::ref_from_prefix(bytes).ok()?;
    let len = (header.count.get() as usize).checked_mul(8)?;
    let body = bytes.get(4..8 + len)?;
    if checksum::crc(body) != header.crc.get() {
        return None;
    }
    let addresses = rest.get(..len)?.chunks_exact(8).filter_map(|b| b.first_chunk::<8>());
    Some(addresses.map(|b| FrameAddress::from_bits(u64::from_le_bytes(*b))).collect())
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "ratios and small numbers")]
mod tests {
    use super::*;

    fn hashes() -> impl Iterator<Item = u64> {
        (0..2000u64).map(|i| xxh3_64_with_seed(&i.to_le_bytes(), 1)).chain([0, u64::MAX])
    }

    #[test]
    fn page_and_tag_give_the_known_bits_back() {
        for entries in [0, 1, 409, 5000, 100_000, 50_000_000, 10_000_000_000] {
            let wide = Geometry::for_entries(entries);
            for shape in [wide, wide.with_hash_bits(wide.hash_bits() - 6)] {
                for hash in hashes() {
                    let (page, tag) = shape.place(hash);
                    assert!(page < shape.page_count() && shape.line(tag) < PAGE_LINES);
                    let mask = u64::MAX << (64 - shape.hash_bits());
                    assert_eq!(shape.hash_of(page, tag), Some(hash & mask));
                }
            }
        }
    }

    #[test]
    fn places_are_in_hash_order() {
        let shape = Geometry::for_entries(70_000);
        let mut sorted: Vec<u64> = hashes().collect();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|w| shape.place(w[0]) <= shape.place(w[1])));
    }

    #[test]
    fn tables_are_at_most_an_eighth_too_large() {
        for entries in (4000..400_000_000).step_by(1_234_567) {
            let load = entries as f64 / (Geometry::for_entries(entries).page_count() * 511) as f64;
            assert!((0.70..=0.801).contains(&load), "{entries}: {load}");
        }
    }

    #[test]
    fn slots_keep_their_parts() {
        let slot = Slot::new((1 << TAG_BITS) - 1, MAX_PARTS as u32, (1 << PART_WORD_BITS) - 1);
        assert_eq!(slot.0, u64::MAX);
        let slot = Slot::new(5, 6, 7);
        assert_eq!((slot.tag(), slot.ordinal(), slot.word()), (5, 6, 7));
    }

    #[test]
    fn addresses_pass_through_parts() {
        let address = FrameAddress::new(9, 5 << PART_WORD_BITS | 0x4D);
        let (row, word) = part_of(address);
        assert_eq!((row.part.get(), word), (5, 77));
        assert_eq!(address_in_part(row, word), Some(address));
        assert_eq!(address_in_part(PartRow { segment: 1.into(), part: 128.into() }, 0), None);
    }

    #[test]
    fn damaged_chains_are_refused() {
        let addresses = [FrameAddress::new(1, 8), FrameAddress::new(3, 16)];
        let mut area = Vec::new();
        encode_chain(&mut area, &addresses);
        assert_eq!(area.len(), 24);
        assert_eq!(decode_chain(&area), Some(addresses.to_vec()));
        for bit in 0..area.len() * 8 {
            let mut damaged = area.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_chain(&damaged), None);
        }
        assert_eq!(decode_chain(&area[..20]), None);
    }
}
