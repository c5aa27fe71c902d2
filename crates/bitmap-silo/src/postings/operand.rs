//! Pending operations as the bytes of a merge frame.

use super::delta::{Op, PostingsDelta, Reset, Tier};
use super::error::PostingsError;

/// First byte of operations.
pub(super) const TAG: u8 = 0x70;
/// Second byte of operations.
pub(super) const VERSION: u8 = 1;
/// Longest varint.
const VARINT_BYTES_MAX: usize = 10;
/// Bits of a group's head that say what happens to the value.
const RESET_BITS: u32 = 2;
const NOTHING: u64 = 0;
const CLEAR: u64 = 1;
const PROMOTE: u64 = 2;

#[expect(clippy::cast_possible_truncation, reason = "seven bits are left")]
fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes with a position.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn malformed(&self, what: &'static str) -> PostingsError {
        PostingsError::malformed(what, self.at)
    }

    fn varint(&mut self) -> Result<u64, PostingsError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let mut number = 0_u64;
        for (index, byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let fits = index + 1 < VARINT_BYTES_MAX || bits <= 1;
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if !fits || (*byte == 0 && index > 0) {
                    return Err(self.malformed("a varint that is overlong or past 64 bits"));
                }
                self.at += index + 1;
                return Ok(number);
            }
        }
        Err(self.malformed("a varint cut short or overlong"))
    }

    /// The number that lies `gap` behind the first one that can come.
    fn next(&self, next: Option<u64>, gap: u64) -> Result<u64, PostingsError> {
        next.and_then(|next| next.checked_add(gap))
            .ok_or_else(|| self.malformed("a value or slot past the last there is"))
    }
}

impl PostingsDelta {
    /// Appends the operations in the form that [`PostingsDelta::decode`] reads.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let tier = self.combined();
        out.extend([TAG, VERSION]);
        let mut next = 0_u64;
        let mut resets = tier.resets.iter().peekable();
        let mut groups = tier.ops.chunk_by(|a, b| a.value == b.value).peekable();
        loop {
            let op_value = groups.peek().and_then(|ops| ops.first()).map(|op| op.value);
            let reset_value = resets.peek().map(|reset| reset.value);
            let Some(value) = op_value.into_iter().chain(reset_value).min() else { break };
            let ops = if op_value == Some(value) { groups.next().unwrap_or(&[]) } else { &[] };
            let reset = resets.next_if(|reset| reset.value == value);
            push_varint(value.wrapping_sub(next), out);
            next = value.wrapping_add(1);
            push_group(ops, reset, out);
        }
    }

    /// Reads operations from bytes that may be anything; O(bytes).
    ///
    /// # Errors
    /// [`PostingsError`] where the bytes are not the one form of some operations.
    pub fn decode(bytes: &[u8]) -> Result<Self, PostingsError> {
        if !bytes.starts_with(&[TAG, VERSION]) {
            return Err(PostingsError::malformed("not postings operations of version 1", 0));
        }
        let mut reader = Reader { bytes, at: 2 };
        let mut tier = Tier::default();
        let mut next = Some(0);
        while reader.at < bytes.len() {
            let gap = reader.varint()?;
            let value = reader.next(next, gap)?;
            next = value.checked_add(1);
            read_group(value, &mut reader, &mut tier)?;
        }
        Ok(Self::from_tier(tier))
    }
}

/// Appends what happens to one value.
fn push_group(ops: &[Op], reset: Option<&Reset>, out: &mut Vec<u8>) {
    let head = (ops.len() as u64) << RESET_BITS;
    match reset.map(|reset| reset.promoted) {
        None => push_varint(head | NOTHING, out),
        Some(None) => push_varint(head | CLEAR, out),
        Some(Some(slot_count)) => {
            push_varint(head | PROMOTE, out);
            push_varint(u64::from(slot_count), out);
        }
    }
    let mut next = 0_u32;
    for op in ops {
        let gap = op.slot.wrapping_sub(next);
        push_varint(u64::from(gap) << 1 | u64::from(op.add), out);
        next = op.slot.wrapping_add(1);
    }
}

/// Reads what happens to `value`.
fn read_group(value: u64, reader: &mut Reader<'_>, tier: &mut Tier) -> Result<(), PostingsError> {
    let head = reader.varint()?;
    let promoted = match head & ((1 << RESET_BITS) - 1) {
        NOTHING if head == 0 => return Err(reader.malformed("a group that does nothing")),
        NOTHING => None,
        CLEAR => Some(None),
        PROMOTE => {
            let count = reader.varint()?;
            Some(Some(u32::try_from(count).map_err(|_| reader.malformed("a count past 32 bits"))?))
        }
        _ => return Err(reader.malformed("an unknown kind of operation")),
    };
    tier.resets.extend(promoted.map(|promoted| Reset { value, promoted }));
    let mut next = Some(0);
    for _ in 0..head >> RESET_BITS {
        let number = reader.varint()?;
        let slot = u32::try_from(reader.next(next, number >> 1)?)
            .map_err(|_| reader.malformed("a slot past 32 bits"))?;
        next = Some(u64::from(slot) + 1);
        tier.ops.push(Op { value, slot, add: number & 1 == 1 });
    }
    Ok(())
}
