//! Where things lie in the silo.

use bitmap_silo::store::{Field as StoreField, FieldKind, Store, StoreReader};
use datasilo::{Keyspace, KeyspaceOptions, Silo, Snapshot};

use crate::error::Result;
use crate::schema::Schema;

/// Prefix of the index store's keyspaces.
pub(crate) const STORE_PREFIX: &str = "index";
/// Key of the schema in the keyspace `engine`.
pub(crate) const SCHEMA_KEY: &[u8] = b"schema";
/// Key of the number of slots in the keyspace `engine`: those below it were given out.
pub(crate) const SLOTS_KEY: &[u8] = b"slots";

/// The engine's own keyspaces.
#[derive(Debug, Clone)]
pub(crate) struct Spaces {
    /// Schema and number of slots.
    pub(crate) engine: Keyspace,
    /// Slot to document.
    pub(crate) documents: Keyspace,
    /// Terms and their codes.
    pub(crate) terms: Keyspace,
}

const NAMES: [&str; 3] = ["engine", "documents", "terms"];

impl Spaces {
    pub(crate) fn create(silo: &Silo) -> Result<Self> {
        Self::of(|name| silo.create_keyspace(name, &KeyspaceOptions::new()))
    }

    pub(crate) fn open(snapshot: &Snapshot) -> Result<Self> {
        Self::of(|name| snapshot.keyspace(name))
    }

    fn of(mut open: impl FnMut(&str) -> datasilo::Result<Keyspace>) -> Result<Self> {
        let [engine, documents, terms] = NAMES;
        Ok(Self { engine: open(engine)?, documents: open(documents)?, terms: open(terms)? })
    }
}

/// Values of the field `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Slots with a record.
    Alive,
    /// Slots of records without a value in the field of this number.
    Null(u16),
    /// Slots of records with an empty set in the field of this number.
    Empty(u16),
}

impl State {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Alive => 0,
            Self::Null(number) => 1 + 2 * u32::from(number),
            Self::Empty(number) => 2 + 2 * u32::from(number),
        }
    }
}

/// The indexes of a field.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldIndexes {
    pub(crate) filter: Option<StoreField>,
    pub(crate) high: Option<StoreField>,
    pub(crate) sort: Option<StoreField>,
}

/// The fields of the index store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Bitmaps of [`State`]s.
    pub(crate) state: StoreField,
    /// Slot to the sort key of the id.
    pub(crate) id: StoreField,
    /// Sort key or hash of the id to slot.
    pub(crate) slots: StoreField,
    /// By position in the schema.
    pub(crate) fields: Vec<FieldIndexes>,
}

impl Layout {
    /// Creates what is missing.
    pub(crate) fn create(schema: &Schema, store: &Store, silo: &Silo) -> Result<Self> {
        Self::of(schema, |name, kind| Ok(store.create_field(silo, name, kind)?))
    }

    pub(crate) fn open(schema: &Schema, reader: &StoreReader<'_>) -> Result<Self> {
        Self::of(schema, |name, _| Ok(reader.field(name)?))
    }

    fn of(schema: &Schema, mut open: impl FnMut(&str, FieldKind) -> Result<StoreField>) -> Result<Self> {
        let mut fields = Vec::with_capacity(schema.fields.len());
        let state = open("state", FieldKind::Bitmap)?;
        let id = open("id", FieldKind::Column)?;
        let slots = open("slots", FieldKind::Postings)?;
        for field in &schema.fields {
            let mut one = |on: bool, kind: FieldKind| {
                on.then(|| open(&index_name(field.number(), kind), kind)).transpose()
            };
            fields.push(FieldIndexes {
                filter: one(field.index.filter, FieldKind::Bitmap)?,
                high: one(field.index.high, FieldKind::Postings)?,
                sort: one(field.index.sort, FieldKind::Column)?,
            });
        }
        Ok(Self { state, id, slots, fields })
    }
}

/// Name of a field's index in the store.
pub(crate) fn index_name(number: u16, kind: FieldKind) -> String {
    match kind {
        FieldKind::Bitmap => format!("{number}.filter"),
        FieldKind::Postings => format!("{number}.high"),
        _ => format!("{number}.sort"),
    }
}
