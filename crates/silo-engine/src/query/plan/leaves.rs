//! Leaves of a predicate: which bitmaps have the slots that pass a test.

use std::ops::{Bound, RangeInclusive};

use bitmap_silo::BitmapBuf;
use bitmap_silo::store::StoredBitmap;

use super::super::ranges;
use super::explain::describe;
use super::{Node, Plan, Planner, values_of};
use crate::document::FieldSet;
use crate::engine::layout::State;
use crate::entries::{indexed_text, text_hash};
use crate::error::{Error, Result};
use crate::filter::{FieldRef, Leaf, Test};
use crate::schema::Field;
use crate::terms::{Coded, code_of_key, direct_codes};
use crate::value::{Id, Value};

impl<'v> Planner<'v, '_> {
    /// The slots that pass a leaf's test, negation left aside.
    pub(super) fn leaf(&self, leaf: &Leaf) -> Result<Plan<'v>> {
        let label = describe(self.schema, &Leaf { negated: false, ..leaf.clone() });
        let node = match leaf.field {
            FieldRef::Id => self.id_leaf(&leaf.test)?,
            FieldRef::Field(at) => match self.schema.fields.get(at) {
                Some(field) => self.field_leaf(at, field, &leaf.test)?,
                None => return Err(Error::Query(format!("there is no field at position {at}"))),
            },
        };
        Ok(Plan::new(node, label))
    }

    fn id_leaf(&self, test: &Test) -> Result<Node<'v>> {
        let mut ids = Vec::new();
        match test {
            Test::Keys(keys) => {
                for key in keys {
                    if let Value::Int(x) = crate::value::value_of_key(self.schema.id.kind, *key) {
                        ids.push(Id::Int(x));
                    }
                }
            }
            Test::Texts(texts) => ids.extend(texts.iter().cloned().map(Id::Text)),
            Test::Range(low, high) => {
                return Ok(made(ranges::alone(&[(self.view.ids()?, *low..=*high, false)])?));
            }
            test @ (Test::TextRange(..) | Test::Prefix(_)) => return self.text_id_leaf(test),
            Test::Null | Test::Empty => return Ok(Node::Nothing),
        }
        let mut slots = Vec::with_capacity(ids.len());
        for id in &ids {
            slots.extend(self.view.slot_of(id)?);
        }
        slots.sort_unstable();
        Ok(made(slots.into_iter().collect()))
    }

    /// Text ids in a range: found by the order of ids.
    fn text_id_leaf(&self, test: &Test) -> Result<Node<'v>> {
        let Some((low, high)) = self.view.text_id_keys(test)? else { return Ok(Node::Nothing) };
        Ok(made(ranges::alone(&[(self.view.ids()?, low..=high, false)])?))
    }

    fn field_leaf(&self, at: usize, field: &Field, test: &Test) -> Result<Node<'v>> {
        let indexes = self.view.indexes(at)?;
        if field.index.is_none() {
            return Err(Error::Query(format!(
                "{:?} is only stored and cannot be filtered by: give it an index in the schema",
                field.name
            )));
        }
        match test {
            Test::Null => return Ok(stored(self.view.state(State::Null(field.number()))?)),
            Test::Empty => return Ok(stored(self.view.state(State::Empty(field.number()))?)),
            _ => {}
        }
        if let Some(index) = &indexes.filter {
            let codes = self.codes(field, test)?;
            let reader = self.view.reader();
            let mut parts = Vec::with_capacity(codes.len());
            for code in codes {
                let bitmap = reader.bitmap(index, code)?;
                if !bitmap.is_empty() {
                    parts.push(Plan::new(
                        Node::Stored(Box::new(bitmap)),
                        format!("{} with code {code}", field.name),
                    ));
                }
            }
            return Ok(values_of(field, parts));
        }
        if let Some(index) = &indexes.high {
            return match test {
                Test::Texts(texts) => self.texts(at, field, texts),
                Test::Keys(keys) => {
                    let postings = self.view.reader().postings(index)?;
                    let mut parts = Vec::with_capacity(keys.len());
                    for key in keys {
                        let slots = postings.slots(*key)?;
                        if !slots.is_empty() {
                            let label = format!("{} = …", field.name);
                            parts.push(Plan::new(Node::Postings(slots.into_leaf()), label));
                        }
                    }
                    Ok(values_of(field, parts))
                }
                Test::Range(low, high) => {
                    Ok(made(self.view.reader().postings(index)?.slots_in(*low..=*high)?))
                }
                _ => Err(Error::Query(format!(
                    "{:?} is text with an index of kind \"high\", which knows whole values only: use = or IN, or index it as \"filter\"",
                    field.name
                ))),
            };
        }
        // Only a column: one range for each key.
        let Some(index) = &indexes.sort else { return Ok(Node::Nothing) };
        let ranges: Vec<RangeInclusive<u64>> = match test {
            Test::Keys(keys) => keys.iter().map(|key| *key..=*key).collect(),
            Test::Range(low, high) => vec![*low..=*high],
            _ => Vec::new(),
        };
        let mut parts = Vec::new();
        for range in ranges {
            let found = ranges::alone(&[(self.view.column(index)?, range, false)])?;
            if !found.is_empty() {
                parts.push(Plan::new(Node::Made(found), field.name.clone()));
            }
        }
        Ok(values_of(field, parts))
    }

    /// Codes of the values with bitmaps that pass a test.
    fn codes(&self, field: &Field, test: &Test) -> Result<Vec<u32>> {
        let (view, terms) = (self.view, &self.view.engine.terms);
        let (number, kind) = (field.number(), field.kind);
        let find = |coded: &Coded| terms.find(view.snapshot(), number, coded);
        let mut codes = Vec::new();
        match test {
            Test::Keys(keys) => {
                for key in keys {
                    codes.extend(find(&code_of_key(kind, *key))?);
                }
            }
            Test::Texts(texts) => {
                for text in texts {
                    codes.extend(find(&Coded::Listed(text.as_bytes().to_vec()))?);
                }
            }
            Test::Range(low, high) => {
                if let (Some((low, high)), Some(index)) =
                    (direct_codes(kind, *low, *high), self.filter_index(field))
                {
                    let _ = view.reader().values(&index)?.for_each::<()>(|code| {
                        if (low..=high).contains(&code) {
                            codes.push(code);
                        }
                        std::ops::ControlFlow::Continue(())
                    });
                }
                let (low, high) = (low.to_be_bytes(), high.to_be_bytes());
                let sorted = terms.sorted(view.snapshot(), number, kind)?;
                codes.extend(sorted.codes(|term| term < low.as_slice(), |term| term <= high.as_slice()));
            }
            Test::TextRange(low, high) => {
                let sorted = terms.sorted(view.snapshot(), number, kind)?;
                let before = |term: &[u8]| match low {
                    Bound::Included(low) => term < low.as_bytes(),
                    Bound::Excluded(low) => term <= low.as_bytes(),
                    Bound::Unbounded => false,
                };
                let within = |term: &[u8]| match high {
                    Bound::Included(high) => term <= high.as_bytes(),
                    Bound::Excluded(high) => term < high.as_bytes(),
                    Bound::Unbounded => true,
                };
                codes.extend(sorted.codes(before, within));
            }
            Test::Prefix(prefix) => {
                let prefix = prefix.as_bytes();
                let sorted = terms.sorted(view.snapshot(), number, kind)?;
                codes.extend(sorted.codes(|term| term < prefix, |term| term.starts_with(prefix)));
            }
            Test::Null | Test::Empty => {}
        }
        codes.sort_unstable();
        Ok(codes)
    }

    fn filter_index(&self, field: &Field) -> Option<bitmap_silo::store::Field> {
        let at = self.schema.position(&field.name)?;
        self.view.indexes(at).ok()?.filter.clone()
    }

    /// Records with one of some texts in a field that is indexed by hash: candidates are compared in their documents.
    fn texts(&self, at: usize, field: &Field, texts: &[String]) -> Result<Node<'v>> {
        let Some(index) = &self.view.indexes(at)?.high else { return Ok(Node::Nothing) };
        let postings = self.view.reader().postings(index)?;
        let mut wanted = FieldSet::none(self.schema);
        wanted.insert(at);
        let mut slots = Vec::new();
        for text in texts {
            let candidates = postings.slots(text_hash(text))?.to_vec();
            for (slot, document) in candidates.iter().zip(self.view.documents(&candidates, &wanted)?) {
                let values = document.values.get(at).map(Value::items).unwrap_or_default();
                let equal = |value: &Value| match value {
                    Value::Text(value) => indexed_text(field, value) == text.as_str(),
                    _ => false,
                };
                if values.iter().any(equal) {
                    slots.push(*slot);
                }
            }
        }
        Ok(made_of(slots))
    }
}

fn stored(bitmap: StoredBitmap<'_>) -> Node<'_> {
    if bitmap.is_empty() { Node::Nothing } else { Node::Stored(Box::new(bitmap)) }
}

pub(super) fn made<'v>(bitmap: BitmapBuf) -> Node<'v> {
    if bitmap.is_empty() { Node::Nothing } else { Node::Made(bitmap) }
}

fn made_of<'v>(mut slots: Vec<u32>) -> Node<'v> {
    slots.sort_unstable();
    slots.dedup();
    made(slots.into_iter().collect())
}
