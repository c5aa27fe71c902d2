//! Operands, and values of a store that are neither pages nor plain bitmaps.

use datasilo::MergeOperator;

use super::Input;
use super::bitmaps::made_blob;
use crate::Query;
use crate::column::{ColumnDelta, Direction, Zones};
use crate::postings::{PostingsDelta, Splits};
use crate::sliced::{Comparison, SlicedView};
use crate::store::{parse_stored, store_operators};
use crate::view::BitmapView;

/// Merge operands of every kind: what one reader accepts, folding and combining accept too, and both
/// come to the same.
///
/// # Panics
/// Where they do not.
pub fn operands(data: &[u8]) {
    let mut input = Input(data);
    let kind = usize::from(input.u8());
    let base = input.part();
    let parts = [input.part(), input.part(), input.rest()];
    if let Ok(delta) = ColumnDelta::decode(parts[0]) {
        assert!(ColumnDelta::decode(&delta.encode()).is_ok_and(|again| again == delta));
    }
    if let Ok(zones) = Zones::decode(parts[0]) {
        assert!(Zones::decode(&zones.encode()).is_ok_and(|again| again == zones));
    }
    if let Ok(delta) = PostingsDelta::decode(parts[0]) {
        let mut again = Vec::new();
        delta.encode_into(&mut again);
        assert_eq!(again, parts[0], "operations have one form");
    }
    let operators = store_operators();
    let Some(operator) = operators.get(kind % operators.len()) else { return };
    merge(operator.as_ref(), base, &parts);
}

fn merge(operator: &dyn MergeOperator, base: &[u8], parts: &[&[u8]]) {
    let accepted = parts.iter().all(|part| operator.check_operand(part).is_ok());
    let combined = operator.combine(parts);
    let base = (!base.is_empty()).then_some(base);
    let folded = operator.fold(b"key", base, parts);
    if !accepted {
        assert!(combined.is_err() && folded.is_err(), "operands are taken that are not accepted");
    }
    if let Ok(combined) = combined {
        assert!(operator.check_operand(&combined).is_ok(), "a combined operand is not accepted");
        assert!(operator.combine(&[&combined]).is_ok_and(|again| again == combined));
        if let Ok(folded) = folded {
            assert!(operator.fold(b"key", base, &[&combined]).is_ok_and(|other| other == folded));
        }
    }
    let extended =
        parts.iter().try_fold(None, |delta, part| operator.extend(delta.as_ref(), &[part]).map(Some));
    assert_eq!(extended.is_ok(), operator.combine(parts).is_ok());
}

/// Values of a store: bitmaps with headers, lists of pages, of fields, of promoted values, splits.
pub fn stored(data: &[u8]) {
    let mut input = Input(data);
    let mut bytes = match input.u8() % 4 {
        0 => made_blob(input.part()),
        1 => {
            let blob = made_blob(input.part());
            let mut bytes = vec![4, 0, 0, 0];
            bytes.extend_from_slice(&u32::from(input.u8()).to_le_bytes());
            bytes.extend_from_slice(&input.edge().to_le_bytes());
            bytes.extend_from_slice(&blob);
            bytes
        }
        _ => input.rest().to_vec(),
    };
    input.damage(&mut bytes);
    parse_stored(&bytes);
    if let Ok(splits) = Splits::open(&bytes) {
        let _ = (splits.validate().is_ok(), splits.len(), splits.iter().count());
        let _ = splits.page_of(input.edge(), input.edge32());
        let _ = splits.pages_of_range(input.edge()..=input.edge());
        let _ = splits.replaced(0..1, &[]).map(|bytes| bytes.len());
    }
}

/// Bit-sliced numbers over layers that need not fit each other.
pub fn sliced(data: &[u8]) {
    let mut input = Input(data);
    let blobs: Vec<Vec<u8>> = (0..=2 + input.u8() % 4).map(|_| made_blob(input.part())).collect();
    let Some(views): Option<Vec<BitmapView<'_>>> = blobs.iter().map(|b| BitmapView::open(b).ok()).collect()
    else {
        return;
    };
    let Some((existence, layers)) = views.split_first() else { return };
    let entries: Vec<(u32, u64)> =
        (0..8).map(|_| (input.edge32() % (8 << 16), input.edge() % (1 << layers.len()))).collect();
    let zones = Zones::of_entries(entries);
    let Ok(view) = SlicedView::new(*existence, layers.to_vec(), &zones) else { return };
    let _ = view.check().is_ok();
    let (low, high) = (input.edge(), input.edge());
    let filter = Query::new(BitmapView::range(5, 200_000), 8 << 16);
    for filter in [None, Some(&filter)] {
        let _ = (view.count_and_sum(filter), view.extreme(filter, true), view.extreme(filter, false));
        let _ = (view.quantile(filter, 0.3), view.totals(filter));
        let _ = view.count(Comparison::Between(low, high), filter);
        let _ = view.compare(Comparison::Between(low, high), filter).len();
        for direction in [Direction::Ascending, Direction::Descending] {
            let _ = view.top(filter, direction, 30);
        }
    }
    let _ = view.get(input.edge32());
}
