//! What fuzzers ask of the private parts of a store.

use datasilo::MergeOperator;

use super::decoded::Operator;
use super::fields::FieldList;
use super::heavy;
use super::keys::BitmapKey;
use super::operator::BitmapOperator;
use super::value::StoredValue;
use crate::column::{ColumnDelta, Zones};
use crate::postings::PostingsDelta;

/// All merge operators.
pub(crate) fn store_operators() -> [Box<dyn MergeOperator>; 4] {
    [
        Box::new(BitmapOperator),
        Box::new(Operator::<ColumnDelta>::NEW),
        Box::new(Operator::<Zones>::NEW),
        Box::new(Operator::<PostingsDelta>::NEW),
    ]
}

/// Reads bytes as each of the values that are no pages.
///
/// # Panics
/// Where what was read is written otherwise.
pub(crate) fn parse_stored(bytes: &[u8]) {
    let _ = BitmapKey::parse(bytes);
    if let Ok(list) = FieldList::decode(Some(bytes)) {
        let again = FieldList::decode(Some(&list.encode()));
        assert!(again.is_ok_and(|again| again.encode() == list.encode()), "a list of fields changes");
    }
    if let Ok(values) = heavy::decode(bytes)
        && !values.is_empty()
    {
        assert_eq!(heavy::encode_heavy(&values), bytes, "promoted values change");
    }
    let valid = StoredValue::validate(bytes).is_ok();
    if let Ok(StoredValue::Set { len, view }) = StoredValue::open(bytes) {
        let counted = view.to_bitmap().view().len();
        assert!(!valid || counted == len, "a valid value has {counted} slots, not {len}");
    }
}
