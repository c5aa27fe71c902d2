//! Where a page ended, as an opaque text.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version, 1 |
//! | 8 | hash of filter and order |
//! | 1 | bit 0: there is a sort key; bit 1: the id is text |
//! | 8 | sort key, if there is one |
//! | rest | sort key of the id (8 bytes), or its text |

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitmap_silo::column::Direction;
use xxhash_rust::xxh3::xxh3_64;

use super::request::Query;
use crate::document::bytes::Bytes;
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::value::{Id, Value, integer_key, value_of_key};

const VERSION: u8 = 1;
const HAS_KEY: u8 = 1;
const ID_IS_TEXT: u8 = 2;

/// The last record of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Its sort key; none where it has no value, or the order is by id.
    pub(super) key: Option<u64>,
    pub(super) id: Id,
}

/// What a cursor is bound to: the meaning of filter and order, not their spelling in one release.
fn query_hash(schema: &Schema, query: &Query) -> u64 {
    let sort = query.sort.as_ref();
    let field = sort.map_or(schema.id.name.as_str(), |(field, _)| field.as_str());
    let direction = match sort.map_or(Direction::Descending, |(_, direction)| *direction) {
        Direction::Ascending => "asc",
        Direction::Descending => "desc",
    };
    let parts = serde_json::json!([query.filter.to_json(), field, direction]);
    xxh3_64(parts.to_string().as_bytes())
}

impl Cursor {
    pub(super) fn encode(&self, schema: &Schema, query: &Query) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&query_hash(schema, query).to_le_bytes());
        let text = matches!(self.id, Id::Text(_));
        bytes.push(if self.key.is_some() { HAS_KEY } else { 0 } | if text { ID_IS_TEXT } else { 0 });
        bytes.extend(self.key.iter().flat_map(|key| key.to_le_bytes()));
        match &self.id {
            Id::Int(x) => bytes.extend_from_slice(&integer_key(schema.id.kind, *x).to_le_bytes()),
            Id::Text(text) => bytes.extend_from_slice(text.as_bytes()),
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn decode(schema: &Schema, query: &Query, text: &str) -> Result<Self> {
        let no_cursor = || Error::Query(format!("{text:?} is no cursor: use one as an answer gave it"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| no_cursor())?;
        let mut bytes = Bytes(&bytes);
        if bytes.u8().ok_or_else(no_cursor)? != VERSION {
            return Err(Error::Query(
                "the cursor is of another version: start from the first page".to_owned(),
            ));
        }
        let hash = u64::from_le_bytes(bytes.array().ok_or_else(no_cursor)?);
        if hash != query_hash(schema, query) {
            return Err(Error::Query(
                "the cursor belongs to another query: repeat filter and order as they were".to_owned(),
            ));
        }
        Self::decode_place(schema, bytes).ok_or_else(no_cursor)
    }

    fn decode_place(schema: &Schema, mut bytes: Bytes<'_>) -> Option<Self> {
        let flags = bytes.u8().filter(|flags| flags & !(HAS_KEY | ID_IS_TEXT) == 0)?;
        let key = if flags & HAS_KEY != 0 { Some(u64::from_le_bytes(bytes.array()?)) } else { None };
        if (flags & ID_IS_TEXT != 0) != schema.id.is_string() {
            return None;
        }
        let id = if schema.id.is_string() {
            Id::Text(std::str::from_utf8(bytes.0).ok()?.to_owned())
        } else {
            let id = u64::from_le_bytes(bytes.array()?);
            match value_of_key(schema.id.kind, id) {
                Value::Int(x) if bytes.is_empty() => Id::Int(x),
                _ => return None,
            }
        };
        Some(Self { key, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::schema::{FieldType, IdField};

    #[test]
    fn cursors_are_bound_to_their_query_and_survive_strangers() {
        for kind in [FieldType::Signed(32), FieldType::String] {
            let schema = Schema::new(IdField::new("id", kind), vec![]).unwrap();
            let query = Query::new(Filter::eq("id", 5));
            for key in [None, Some(7)] {
                let id = if kind == FieldType::String { Id::from("ü") } else { Id::from(-3) };
                let cursor = Cursor { key, id };
                let text = cursor.encode(&schema, &query);
                assert_eq!(Cursor::decode(&schema, &query, &text).unwrap(), cursor);
                let sorted = query.clone().sort("id", Direction::Ascending);
                for other in [Query::new(Filter::eq("id", 6)), sorted] {
                    let message = Cursor::decode(&schema, &other, &text).unwrap_err().to_string();
                    assert!(message.contains("another query"), "{message}");
                }
                // The order that is meant when none is named.
                let same = query.clone().sort("id", Direction::Descending);
                assert!(Cursor::decode(&schema, &same, &text).is_ok());
                for cut in 0..text.len() {
                    let _ = Cursor::decode(&schema, &query, &text[..cut]);
                }
                assert!(Cursor::decode(&schema, &query, &text[..12]).is_err());
                assert!(Cursor::decode(&schema, &query, "ü!").is_err());
            }
        }
    }
}
