//! Fields: names, durable numbers and kinds, kept as one value.

use std::sync::Arc;

use super::error::{StoreError, StoreResult};

/// What a field's index structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldKind {
    /// A bitmap of slots for each of few values, which are numbered in 32 bits.
    Bitmap,
    /// One 64-bit sort key per slot.
    Column,
    /// Pairs of a 64-bit number and a slot, for many numbers; also unique ids.
    Postings,
}

impl FieldKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Bitmap => 1,
            Self::Column => 2,
            Self::Postings => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Bitmap, Self::Column, Self::Postings].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

/// A field of a store. Handles are cheap to clone and stay valid until the field is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: Arc<str>,
    id: u32,
    kind: FieldKind,
}

impl Field {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number: durable, and never given to another field of the store.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What its index structure is.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Refuses a field of another kind.
    pub(crate) fn expect(&self, wanted: FieldKind) -> StoreResult<()> {
        if self.kind == wanted {
            return Ok(());
        }
        Err(StoreError::FieldKind { name: self.name.to_string(), existing: self.kind, wanted })
    }
}

/// Version of the value.
const VERSION: u8 = 1;
/// The longest name, in bytes.
const MAX_NAME_LEN: usize = 255;
/// Where messages say that a broken list is.
const PLACE: &str = "the list of fields";

/// The fields of a store as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldList {
    next_id: u32,
    /// In the order of their numbers.
    live: Vec<Field>,
    /// Dropped fields whose entries are not all removed yet.
    dropping: Vec<(u32, FieldKind)>,
}

impl FieldList {
    pub(crate) fn live(&self) -> &[Field] {
        &self.live
    }

    pub(crate) fn dropping(&self) -> &[(u32, FieldKind)] {
        &self.dropping
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Field> {
        self.live.iter().find(|field| field.name() == name)
    }

    pub(crate) fn get(&self, name: &str) -> StoreResult<&Field> {
        self.find(name).ok_or_else(|| {
            let known: Vec<&str> = self.live.iter().map(Field::name).collect();
            StoreError::UnknownField { name: name.to_owned(), known: known.join(", ") }
        })
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<&Field> {
        self.live.binary_search_by_key(&id, Field::id).ok().and_then(|at| self.live.get(at))
    }

    /// Refuses a field that is not here, or not of this kind.
    pub(crate) fn check(&self, field: &Field, wanted: FieldKind) -> StoreResult<()> {
        match self.by_id(field.id) {
            Some(own) if own.name == field.name => own.expect(wanted),
            _ => Err(StoreError::NoSuchField { name: field.name.to_string(), id: field.id }),
        }
    }

    /// Adds a field under the next number.
    pub(crate) fn add(&mut self, name: &str, kind: FieldKind) -> StoreResult<Field> {
        let invalid = |why| StoreError::InvalidField { name: name.to_owned(), why };
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return Err(invalid("a name has 1 to 255 bytes"));
        }
        let next = self.next_id.checked_add(1).ok_or_else(|| invalid("all field numbers are used up"))?;
        let field = Field { name: name.into(), id: self.next_id, kind };
        self.next_id = next;
        self.live.push(field.clone());
        Ok(field)
    }

    /// Moves a field to those being dropped.
    pub(crate) fn begin_drop(&mut self, id: u32) {
        if let Ok(at) = self.live.binary_search_by_key(&id, Field::id) {
            let field = self.live.remove(at);
            self.dropping.push((id, field.kind));
        }
    }

    /// Forgets a dropped field, whose entries are gone.
    pub(crate) fn end_drop(&mut self, id: u32) {
        self.dropping.retain(|(dropped, _)| *dropped != id);
    }

    /// The list as it is stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0];
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&self.next_id.to_le_bytes());
        out.extend_from_slice(&count(self.live.len()));
        out.extend_from_slice(&count(self.dropping.len()));
        for field in &self.live {
            out.extend_from_slice(&field.id.to_le_bytes());
            out.push(field.kind.to_byte());
            // Names have at most 255 bytes.
            out.push(u8::try_from(field.name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(field.name.as_bytes());
        }
        for (id, kind) in &self.dropping {
            out.extend_from_slice(&id.to_le_bytes());
            out.push(kind.to_byte());
        }
        out
    }

    /// Reads the list; no value is the empty list.
    pub(crate) fn decode(bytes: Option<&[u8]>) -> StoreResult<Self> {
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        let cut = || StoreError::malformed(PLACE, "it is cut short");
        let Some((&[version, ..], mut rest)) = bytes.split_first_chunk::<4>() else {
            return Err(cut());
        };
        if version != VERSION {
            return Err(StoreError::malformed(
                PLACE,
                format!("version {version} is unknown: update the program"),
            ));
        }
        let number = |rest: &mut &[u8]| -> StoreResult<u32> {
            let (number, after) = rest.split_first_chunk().ok_or_else(cut)?;
            *rest = after;
            Ok(u32::from_le_bytes(*number))
        };
        let byte = |rest: &mut &[u8]| -> StoreResult<u8> {
            let (byte, after) = rest.split_first().ok_or_else(cut)?;
            *rest = after;
            Ok(*byte)
        };
        let kind = |byte: u8| {
            FieldKind::from_byte(byte).ok_or_else(|| {
                StoreError::malformed(PLACE, format!("kind {byte} is unknown: update the program"))
            })
        };
        let mut list = Self { next_id: number(&mut rest)?, ..Self::default() };
        let (live_count, dropping_count) = (number(&mut rest)?, number(&mut rest)?);
        for _ in 0..live_count {
            let (id, kind) = (number(&mut rest)?, kind(byte(&mut rest)?)?);
            let (name, after) = {
                let len = usize::from(byte(&mut rest)?);
                rest.split_at_checked(len).ok_or_else(cut)?
            };
            rest = after;
            let name =
                std::str::from_utf8(name).map_err(|_| StoreError::malformed(PLACE, "a name is not UTF-8"))?;
            if id >= list.next_id || list.live.last().is_some_and(|last| last.id >= id) {
                return Err(StoreError::malformed(PLACE, "numbers do not ascend below the next one"));
            }
            list.live.push(Field { name: name.into(), id, kind });
        }
        for _ in 0..dropping_count {
            let id = number(&mut rest)?;
            list.dropping.push((id, kind(byte(&mut rest)?)?));
        }
        if !rest.is_empty() {
            return Err(StoreError::malformed(PLACE, "bytes behind its end"));
        }
        Ok(list)
    }
}
