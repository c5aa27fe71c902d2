//! From a document to its index entries.
//!
//! This is the only definition of what is indexed: put, merge, delete, repair and check go through it, and the
//! columnar form of the bulk load is compared with it by tests.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::document::Document;
use crate::schema::{Field, FieldType, Schema};
use crate::value::{Id, Value, integer_key, sort_key};

/// An entry of a record's slot in an index. Fields are given by position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry<'a> {
    /// The slot has a record.
    Alive,
    /// The id, by which the slot is found.
    Id(IdEntry<'a>),
    /// The field has no value.
    Null(usize),
    /// The field has an empty set.
    Empty(usize),
    /// The field has this value: a bit in the value's bitmap.
    Value(usize, Term<'a>),
    /// The field has this number, or a text of this hash: a pair in the postings.
    High(usize, u64),
    /// The field has this sort key: an entry in the column.
    Sort(usize, u64),
}

/// An id as an index knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdEntry<'a> {
    /// The sort key of an integer.
    Key(u64),
    Text(&'a str),
}

/// A value with a bitmap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Term<'a> {
    /// The sort key of a number.
    Key(u64),
    Text(Cow<'a, str>),
}

/// The number under which postings have a text.
pub(crate) fn text_hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// The text by which a field is found.
pub(crate) fn indexed_text<'a>(field: &Field, text: &'a str) -> Cow<'a, str> {
    if field.fold_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
}

/// All entries of a document, ascending, none twice.
pub(crate) fn entries<'a>(schema: &Schema, document: &'a Document) -> Vec<Entry<'a>> {
    let mut entries = vec![Entry::Alive];
    entries.push(Entry::Id(match &document.id {
        Id::Int(x) => IdEntry::Key(integer_key(schema.id.kind, *x)),
        Id::Text(text) => IdEntry::Text(text),
    }));
    for (at, (field, value)) in schema.fields.iter().zip(&document.values).enumerate() {
        field_entries(at, field, value, &mut entries);
    }
    entries.sort_unstable();
    entries.dedup();
    entries
}

/// Appends the entries of one field.
pub(crate) fn field_entries<'a>(at: usize, field: &Field, value: &'a Value, entries: &mut Vec<Entry<'a>>) {
    if field.index.is_none() {
        return;
    }
    match value {
        Value::Null => return entries.push(Entry::Null(at)),
        Value::List(items) if items.is_empty() => return entries.push(Entry::Empty(at)),
        _ => {}
    }
    for item in value.items() {
        if let (Value::Text(text), FieldType::String) = (item, field.kind) {
            let text = indexed_text(field, text);
            if field.index.high {
                entries.push(Entry::High(at, text_hash(&text)));
            }
            if field.index.filter {
                entries.push(Entry::Value(at, Term::Text(text)));
            }
        } else if let Some(key) = sort_key(field.kind, item) {
            if field.index.filter {
                entries.push(Entry::Value(at, Term::Key(key)));
            }
            if field.index.high {
                entries.push(Entry::High(at, key));
            }
            if field.index.sort {
                entries.push(Entry::Sort(at, key));
            }
        }
    }
}

/// What of two ascending lists only the first has, and what only the second has.
pub(crate) fn difference<'e, 'a>(
    old: &'e [Entry<'a>],
    new: &'e [Entry<'a>],
) -> (Vec<&'e Entry<'a>>, Vec<&'e Entry<'a>>) {
    let only = |these: &'e [Entry<'a>], those: &[Entry<'a>]| {
        these.iter().filter(|entry| those.binary_search(entry).is_err()).collect()
    };
    (only(old, new), only(new, old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{IdField, IndexKinds};

    #[test]
    fn a_document_has_one_entry_per_value_and_kind() {
        let none = IndexKinds::none;
        let mut folded = Field::new("name", FieldType::String).index(none().filter());
        folded.fold_case = true;
        let fields = vec![
            Field::new("tags", FieldType::Unsigned(32)).multi().index(none().filter()),
            folded,
            Field::new("n", FieldType::Signed(8)).index(none().high().sort()),
            Field::new("note", FieldType::String),
            Field::new("url", FieldType::String).index(none().high()),
        ];
        let schema = Schema::new(IdField::new("id", FieldType::Unsigned(64)), fields).unwrap();
        let document = |values: Vec<Value>| Document { id: Id::from(7), values };
        let old = document(vec![[1, 2].into(), "SD".into(), 5.into(), "x".into(), Value::Null]);
        let new = document(vec![Value::List(vec![]), "sd".into(), 6.into(), "y".into(), "u".into()]);
        let (old, new) = (entries(&schema, &old), entries(&schema, &new));
        let key = |x| integer_key(FieldType::Signed(8), x);
        let wanted = vec![
            Entry::Alive,
            Entry::Id(IdEntry::Key(7)),
            Entry::Null(4),
            Entry::Value(0, Term::Key(1)),
            Entry::Value(0, Term::Key(2)),
            Entry::Value(1, Term::Text("sd".into())),
            Entry::High(2, key(5)),
            Entry::Sort(2, key(5)),
        ];
        assert_eq!(old, wanted);
        let (gone, come) = difference(&old, &new);
        let gone_wanted = [&wanted[2], &wanted[3], &wanted[4], &wanted[6], &wanted[7]];
        assert_eq!(gone, gone_wanted);
        let come_wanted =
            [Entry::Empty(0), Entry::High(2, key(6)), Entry::High(4, text_hash("u")), Entry::Sort(2, key(6))];
        assert_eq!(come, come_wanted.iter().collect::<Vec<_>>());
    }
}
