//! Documents to bytes and back; see `docs/format/silo-engine-v1.md`.

use super::bytes::{Bytes, put_varint, zigzag};
use super::{Document, DocumentType, FieldSet};
use crate::error::{Error, Result};
use crate::schema::{Field, FieldType};
use crate::value::{Id, Value, bits_of_key, integer_key};

/// Appends an integer of a type.
pub(crate) fn put_integer(out: &mut Vec<u8>, kind: FieldType, x: i128) {
    #[expect(clippy::cast_possible_truncation, reason = "the value fits its type")]
    put_integer_bits(out, kind, x as i64);
}

/// The same of the low 64 bits of an integer.
pub(crate) fn put_integer_bits(out: &mut Vec<u8>, kind: FieldType, bits: i64) {
    let unsigned = matches!(kind, FieldType::Unsigned(_));
    put_varint(out, if unsigned { bits.cast_unsigned() } else { zigzag(bits) });
}

/// Appends a set of integers, given by their sort keys, which ascend: the first, then the differences.
pub(crate) fn put_set_of_keys(out: &mut Vec<u8>, kind: FieldType, keys: impl Iterator<Item = u64>) {
    let mut before: Option<u64> = None;
    for key in keys {
        match before {
            None => put_integer_bits(out, kind, bits_of_key(kind, key)),
            Some(before) => put_varint(out, key - before),
        }
        before = Some(key);
    }
}

fn put_value(out: &mut Vec<u8>, kind: FieldType, value: &Value) {
    match value {
        // Presence bits stand for nulls; sets hold neither nulls nor sets.
        Value::Null | Value::List(_) => {}
        Value::Bool(x) => out.push(u8::from(*x)),
        Value::Int(x) => put_integer(out, kind, *x),
        #[expect(clippy::cast_possible_truncation, reason = "values of the field are 32-bit floats")]
        Value::Float(x) if kind == FieldType::Float(32) => {
            out.extend_from_slice(&(*x as f32).to_bits().to_le_bytes());
        }
        Value::Float(x) => out.extend_from_slice(&x.to_bits().to_le_bytes()),
        Value::Text(x) => {
            put_varint(out, x.len() as u64);
            out.extend_from_slice(x.as_bytes());
        }
    }
}

/// Appends a field's value, a set behind its length; nothing for null.
fn put_field_value(out: &mut Vec<u8>, kind: FieldType, value: &Value) {
    let Value::List(items) = value else { return put_value(out, kind, value) };
    let mut block = Vec::new();
    if kind.is_integer() {
        let keys = items.iter().filter_map(|item| match item {
            Value::Int(x) => Some(integer_key(kind, *x)),
            _ => None,
        });
        put_set_of_keys(&mut block, kind, keys);
    } else {
        for item in items {
            put_value(&mut block, kind, item);
        }
    }
    put_varint(out, block.len() as u64);
    out.extend_from_slice(&block);
}

fn integer(bytes: &mut Bytes<'_>, kind: FieldType) -> Option<i128> {
    let x = match kind {
        FieldType::Unsigned(_) => i128::from(bytes.varint()?),
        _ => i128::from(bytes.zigzag()?),
    };
    let (low, high) = kind.integer_range()?;
    (low..=high).contains(&x).then_some(x)
}

fn one(bytes: &mut Bytes<'_>, kind: FieldType) -> Option<Value> {
    Some(match kind {
        FieldType::Bool => Value::Bool(match bytes.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        }),
        FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(_) => {
            Value::Int(integer(bytes, kind)?)
        }
        FieldType::Float(bits) => {
            let x = match bits {
                32 => f64::from(f32::from_le_bytes(bytes.array()?)),
                _ => f64::from_le_bytes(bytes.array()?),
            };
            if x.is_nan() {
                return None;
            }
            Value::Float(x)
        }
        FieldType::String => Value::Text(bytes.text()?.to_owned()),
    })
}

fn set(mut bytes: Bytes<'_>, kind: FieldType) -> Option<Value> {
    let mut items: Vec<Value> = Vec::new();
    while !bytes.is_empty() {
        let item = match items.last() {
            Some(Value::Int(before)) if kind.is_integer() => {
                let next = before + i128::from(bytes.varint()?);
                let (_, high) = kind.integer_range()?;
                if next > high {
                    return None;
                }
                Value::Int(next)
            }
            _ => one(&mut bytes, kind)?,
        };
        if items.last().is_some_and(|before| before.compare(&item).is_ge()) {
            return None;
        }
        items.push(item);
    }
    Some(Value::List(items))
}

/// Reads or skips a field's value.
fn field_value(bytes: &mut Bytes<'_>, field: &Field, wanted: bool) -> Option<Value> {
    if !wanted {
        return skip(bytes, field.kind, field.multi).map(|()| Value::Null);
    }
    if field.multi { set(Bytes(bytes.block()?), field.kind) } else { one(bytes, field.kind) }
}

/// Skips a value.
fn skip(bytes: &mut Bytes<'_>, kind: FieldType, multi: bool) -> Option<()> {
    match kind {
        _ if multi => bytes.block().map(drop),
        FieldType::Bool => bytes.take(1).map(drop),
        FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(_) => bytes.skip_varint(),
        FieldType::Float(bits) => bytes.take(usize::from(bits / 8)).map(drop),
        FieldType::String => bytes.block().map(drop),
    }
}

impl DocumentType {
    /// Appends a document's bytes.
    pub fn encode_into(&self, document: &Document, out: &mut Vec<u8>) {
        let id_kind = self.schema().id.kind;
        put_value(out, id_kind, &document.id.to_value());
        let value = |at: usize| document.values.get(at).unwrap_or(&Value::Null);
        let present = self.in_order().iter().filter(|(_, at)| !value(*at).is_null());
        let presence_len = present.clone().next_back().map_or(0, |(number, _)| usize::from(*number) / 8 + 1);
        put_varint(out, presence_len as u64);
        let start = out.len();
        out.resize(start + presence_len, 0);
        for (number, _) in present.clone() {
            if let Some(byte) = out.get_mut(start + usize::from(*number) / 8) {
                *byte |= 1 << (number % 8);
            }
        }
        for (_, at) in present {
            let Some(field) = self.schema().fields.get(*at) else { continue };
            put_field_value(out, field.kind, value(*at));
        }
    }

    /// A document's bytes.
    #[must_use]
    pub fn encode(&self, document: &Document) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(document, &mut out);
        out
    }

    /// The document of some bytes; fields that are not wanted are left null and only skipped.
    ///
    /// # Errors
    /// [`Error::Damaged`] for bytes that no document has.
    pub fn decode(&self, bytes: &[u8], wanted: &FieldSet) -> Result<Document> {
        self.read(bytes, wanted).ok_or_else(|| malformed(bytes))
    }

    /// The id of a document's bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] for bytes that no document has.
    pub fn decode_id(&self, bytes: &[u8]) -> Result<Id> {
        self.read_id(&mut Bytes(bytes)).ok_or_else(|| malformed(bytes))
    }

    fn read_id(&self, bytes: &mut Bytes<'_>) -> Option<Id> {
        match one(bytes, self.schema().id.kind)? {
            Value::Int(x) => Some(Id::Int(x)),
            Value::Text(x) => Some(Id::Text(x)),
            _ => None,
        }
    }

    fn read(&self, bytes: &[u8], wanted: &FieldSet) -> Option<Document> {
        let mut bytes = Bytes(bytes);
        let mut document = self.empty(self.read_id(&mut bytes)?);
        let presence = bytes.block()?;
        if presence.last() == Some(&0) {
            return None;
        }
        for (byte_at, byte) in presence.iter().enumerate() {
            let mut bits = *byte;
            while bits != 0 {
                let number = byte_at * 8 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let at = (*self.by_number.get(number)?)?;
                let value = field_value(&mut bytes, self.schema().fields.get(at)?, wanted.contains(at))?;
                if let Some(place) = document.values.get_mut(at) {
                    *place = value;
                }
            }
        }
        bytes.is_empty().then_some(document)
    }
}

/// What a set was before something was added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetBefore {
    Null,
    Empty,
    Full,
}

/// Buffers for adding to sets.
#[derive(Debug, Default)]
pub(crate) struct SetRoom {
    old: Vec<u64>,
    block: Vec<u8>,
}

impl DocumentType {
    /// Appends to `out` a document's bytes with integers, given by their sort keys, added to the set of the field at
    /// a position. The keys ascend, none twice. Nothing else of the document is decoded.
    ///
    /// # Errors
    /// [`Error::Damaged`] for bytes that no document has.
    pub(crate) fn add_to_set(
        &self,
        bytes: &[u8],
        at: usize,
        added: &[u64],
        room: &mut SetRoom,
        out: &mut Vec<u8>,
    ) -> Result<SetBefore> {
        self.splice_set(bytes, at, added, room, out).ok_or_else(|| malformed(bytes))
    }

    fn splice_set(
        &self,
        bytes: &[u8],
        at: usize,
        added: &[u64],
        room: &mut SetRoom,
        out: &mut Vec<u8>,
    ) -> Option<SetBefore> {
        let field = self.schema().fields.get(at)?;
        let target = usize::from(field.number());
        let mut rest = Bytes(bytes);
        skip(&mut rest, self.schema().id.kind, false)?;
        let id = bytes.get(..bytes.len() - rest.0.len())?;
        let presence = rest.block()?;
        let values = rest.0;
        let present =
            |number: usize| presence.get(number / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1);
        for number in (0..target).filter(|number| present(*number)) {
            let before = (*self.by_number.get(number)?)?;
            let before = self.schema().fields.get(before)?;
            skip(&mut rest, before.kind, before.multi)?;
        }
        let lead = values.get(..values.len() - rest.0.len())?;
        room.old.clear();
        let before = if present(target) {
            let mut block = Bytes(rest.block()?);
            let mut last = None;
            while !block.is_empty() {
                let next = match last {
                    None => integer_key(field.kind, integer(&mut block, field.kind)?),
                    Some(last) => block.varint()?.checked_add(last)?,
                };
                room.old.push(next);
                last = Some(next);
            }
            if room.old.is_empty() { SetBefore::Empty } else { SetBefore::Full }
        } else {
            SetBefore::Null
        };
        let SetRoom { old, block } = room;
        block.clear();
        if old.is_empty() {
            put_set_of_keys(block, field.kind, added.iter().copied());
        } else {
            old.extend_from_slice(added);
            old.sort_unstable();
            old.dedup();
            put_set_of_keys(block, field.kind, old.iter().copied());
        }
        out.extend_from_slice(id);
        put_varint(out, presence.len().max(target / 8 + 1) as u64);
        let start = out.len();
        out.extend_from_slice(presence);
        out.resize(out.len().max(start + target / 8 + 1), 0);
        *out.get_mut(start + target / 8)? |= 1 << (target % 8);
        out.extend_from_slice(lead);
        put_varint(out, block.len() as u64);
        out.extend_from_slice(block);
        out.extend_from_slice(rest.0);
        Some(before)
    }
}

fn malformed(bytes: &[u8]) -> Error {
    Error::damaged("document", format!("its {} bytes do not fit the schema", bytes.len()))
}
