//! Column pages and postings pages.

use std::convert::Infallible;
use std::sync::Arc;

use super::Input;
use crate::Query;
use crate::column::{ColumnDelta, ColumnPage, ColumnView, Direction, PageBuilder, Zone};
use crate::container::Scratch;
use crate::postings::{Posting, PostingOp, PostingsDelta, PostingsPage, PostingsView, split};
use crate::topk::{Nulls, SortSource, TopK, quantile, totals};
use crate::view::BitmapView;

/// Bytes of a column page: those of the input, or of a page with some damage.
fn page_bytes(input: &mut Input<'_>) -> Vec<u8> {
    if input.one_in(8) {
        return input.part().to_vec();
    }
    let (mut slots, mut keys) = (Vec::new(), Vec::new());
    let step = 1 + u16::from(input.u8() % 4) * if input.one_in(4) { 3000 } else { 1 };
    let count = usize::from(input.u8()) * if input.one_in(8) { 40 } else { 1 };
    let (base, mask) = (input.edge() / 2, input.edge());
    let mut random = input.edge() | 1;
    let mut slot = 0_u16;
    for _ in 0..count {
        slots.push(slot);
        random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        keys.push(base.wrapping_add(random & mask));
        let Some(next) = slot.checked_add(step) else { break };
        slot = next;
    }
    let mut bytes = PageBuilder::new().build(&slots, &keys).unwrap_or_default();
    input.damage(&mut bytes);
    bytes
}

/// One chunk as a column.
struct OneChunk<'a> {
    view: ColumnView<'a>,
    zone: [Zone; 1],
}

impl SortSource for OneChunk<'_> {
    type Error = Infallible;

    fn zones(&self) -> &[Zone] {
        &self.zone
    }

    fn column(&self, _: u16) -> Result<ColumnView<'_>, Infallible> {
        Ok(self.view.clone())
    }
}

/// Column pages with changes on top: valid ones answer alike by every way, any one stays in its bytes.
///
/// # Panics
/// Where two ways to ask a valid page answer differently.
pub fn column(data: &[u8]) {
    let mut input = Input(data);
    let bytes = page_bytes(&mut input);
    let Ok(page) = ColumnPage::open(&bytes) else { return };
    let valid = page.validate().is_ok();
    let ops: Vec<(u16, Option<u64>)> =
        (0..input.u8() % 16).map(|_| (input.edge16(), (input.one_in(2)).then(|| input.edge()))).collect();
    let delta = Arc::new(ColumnDelta::from_ops(ops));
    for view in [ColumnView::from(page), ColumnView::new(Some(page), Some(Arc::clone(&delta)))] {
        look(&view, valid, &mut input);
    }
    let folded = crate::column::fold(&page, &delta);
    if valid {
        let again = ColumnPage::open(&folded).and_then(|page| page.validate());
        assert!(again.is_ok(), "a folded page is not valid: {again:?}");
    }
}

fn look(view: &ColumnView<'_>, valid: bool, input: &mut Input<'_>) {
    let mut by_slot = Vec::new();
    view.for_each(|low, key| by_slot.push((key, low)));
    let mut batched = 0;
    view.for_each_batch(|keys| batched += keys.len());
    let ascending: Vec<(u64, u16)> = view.walk(Direction::Ascending).collect();
    let descending: Vec<(u64, u16)> = view.walk(Direction::Descending).collect();
    let (low, high) = (input.edge(), input.edge());
    let start = (input.edge(), input.edge16());
    let from = view.walk_from(Direction::Ascending, start.0, start.1).count();
    let after = view.walk_after(Direction::Descending, start.0, start.1).count();
    let mut words = Scratch::new();
    let ranged = (view.range_count(low, high), view.range_into(low, high, &mut words));
    let present = view.present_into(&mut words);
    let slots: Vec<u16> = (0..40).map(|_| input.edge16()).collect();
    let mut keys = Vec::new();
    view.get_many(&slots, &mut keys);
    let (sum, len) = (view.sum(), view.len());
    let _ = (view.min(), view.max(), view.ascends());
    let bounds = (view.page().min().unwrap_or(0), view.page().max().unwrap_or(0));
    let lowest = ascending.iter().map(|(key, _)| *key).fold(bounds.0, u64::min);
    let highest = ascending.iter().map(|(key, _)| *key).fold(bounds.1, u64::max);
    let zone = [Zone { chunk: 2, count: view.len_bound().clamp(1, 65_536), lowest, highest }];
    let source = OneChunk { view: view.clone(), zone };
    let filter = Query::new(BitmapView::range((2 << 16) + 3, (2 << 16) + 40_000), 3 << 16);
    let mut hits = Vec::new();
    for direction in [Direction::Ascending, Direction::Descending] {
        for filtered in [false, true] {
            let mut top = TopK::new(&source).direction(direction).nulls(Nulls::Last).ties(&source);
            if filtered {
                top = top.filter(&filter);
            }
            let Ok(found) = top.first(20);
            hits.push(found);
        }
    }
    let Ok(_) = totals(&source, Some(&filter));
    let Ok(_) = quantile(&source, Some(&filter), 0.5);
    if !valid {
        return;
    }
    assert_eq!(by_slot.len(), len as usize);
    assert_eq!((batched, present), (by_slot.len(), len));
    assert_eq!(sum, by_slot.iter().map(|(key, _)| u128::from(*key)).sum());
    by_slot.sort_unstable();
    assert_eq!(ascending, by_slot);
    assert!(descending.iter().eq(by_slot.iter().rev()));
    let within = by_slot.iter().filter(|(key, _)| (low..=high).contains(key)).count();
    assert_eq!((ranged.0 as usize, ranged.1 as usize), (within, within));
    assert_eq!(from, by_slot.iter().filter(|entry| **entry >= start).count());
    assert_eq!(after, by_slot.iter().filter(|entry| **entry < start).count());
    for (low, key) in slots.into_iter().zip(keys) {
        let found = by_slot.iter().find(|(_, slot)| *slot == low).map(|(key, _)| *key);
        assert_eq!((key, view.get(low)), (found, found));
    }
    if let Some(first) = hits.first() {
        let first = first.iter().filter_map(|hit| Some((hit.key?, hit.slot - (2 << 16))));
        assert!(first.eq(by_slot.iter().take(20).map(|(key, low)| (*key, u32::from(*low)))));
    }
}

/// Pages of pairs with operations on top, likewise.
///
/// # Panics
/// Where two ways to ask a valid page answer differently.
pub fn postings(data: &[u8]) {
    let mut input = Input(data);
    let bytes = if input.one_in(8) { input.part().to_vec() } else { postings_bytes(&mut input) };
    let Ok(page) = PostingsPage::open(&bytes) else { return };
    let valid = page.validate().is_ok();
    let delta = PostingsDelta::from_ops(posting_ops(&mut input, 8));
    for view in [PostingsView::from(page), PostingsView::patched(page, &delta)] {
        // A page may claim very many pairs in few bytes.
        if view.len() > 1 << 16 {
            let _ = view
                .range(0..=u64::MAX)
                .take(10)
                .map(|posting| posting.slots.take(10).count())
                .sum::<usize>();
            continue;
        }
        look_up(&view, valid, &mut input);
        if valid {
            let parts = split(&view, 1 + usize::from(input.u8()));
            let parts = parts.unwrap_or_else(|error| panic!("a valid page does not split: {error}"));
            let mut len = 0;
            for (_, bytes) in &parts {
                let part = PostingsPage::open(bytes).and_then(|page| page.validate().map(|()| page.len()));
                len += part.unwrap_or_else(|error| panic!("a part of a split page is not valid: {error}"));
            }
            assert_eq!(len, view.len());
        } else {
            let _ = split(&view, 100);
        }
    }
}

fn postings_bytes(input: &mut Input<'_>) -> Vec<u8> {
    let mut ops = posting_ops(input, 64);
    let (value, slot, step) = (input.edge(), input.edge32(), input.edge() % 5);
    let count = u32::from(input.u8()) * if input.one_in(8) { 20 } else { 1 };
    for index in 0..count {
        let value = value.wrapping_add(u64::from(index / 3) * step);
        ops.push(PostingOp::Add { value, slot: slot.wrapping_add(index * 2) });
    }
    let delta = PostingsDelta::from_ops(ops);
    let built = crate::postings::fold(&PostingsView::patched(PostingsPage::default(), &delta));
    let mut bytes = built.unwrap_or_else(|error| panic!("operations do not fold: {error}"));
    input.damage(&mut bytes);
    bytes
}

fn posting_ops(input: &mut Input<'_>, max: u8) -> Vec<PostingOp> {
    (0..input.u8() % max)
        .map(|_| {
            let (value, slot) = (input.edge(), input.edge32());
            match input.u8() % 8 {
                0 => PostingOp::Remove { value, slot },
                1 => PostingOp::Clear { value },
                2 => PostingOp::Promote { value, slot_count: slot },
                _ => PostingOp::Add { value, slot },
            }
        })
        .collect()
}

fn look_up(view: &PostingsView<'_>, valid: bool, input: &mut Input<'_>) {
    let owned = |posting: Posting<'_>| (posting.value, posting.promoted, posting.slots.collect::<Vec<u32>>());
    let all: Vec<(u64, Option<u32>, Vec<u32>)> = view.range(0..=u64::MAX).map(owned).collect();
    let mut back: Vec<_> = view.range_descending(0..=u64::MAX).map(owned).collect();
    let (low, high) = (input.edge(), input.edge());
    let ranged = (view.range_count(low..=high), view.range(low..=high).map(owned).collect::<Vec<_>>().len());
    let mut probes: Vec<u64> = (0..8).map(|_| input.edge()).collect();
    probes.extend(all.iter().map(|(value, ..)| *value).take(8));
    for value in probes {
        let slots: Vec<u32> = view.slots(value).collect();
        let reversed: Vec<u32> = view.slots(value).rev().collect();
        let first = view.get_unique(value);
        let counts = (view.count(value), view.get(value).slots.len(), view.promoted(value));
        let held: Vec<bool> = slots.iter().take(5).map(|slot| view.contains(value, *slot)).collect();
        let _ = view.contains(value, input.edge32());
        if valid {
            assert!(reversed.iter().rev().eq(&slots));
            assert_eq!((counts.0, counts.1), (slots.len(), slots.len()));
            assert_eq!(first, slots.first().copied());
            assert!(held.iter().all(|held| *held));
            let whole = all.iter().find(|(found, ..)| *found == value);
            assert_eq!(slots, whole.map_or(&[][..], |(.., slots)| slots));
            assert_eq!(counts.2, whole.and_then(|(_, promoted, _)| *promoted));
        }
    }
    if valid {
        back.reverse();
        assert_eq!(all, back);
        assert_eq!(view.len(), all.iter().map(|(.., slots)| slots.len()).sum());
        let within = || all.iter().filter(|(value, ..)| (low..=high).contains(value));
        assert_eq!(ranged, (within().map(|(.., slots)| slots.len()).sum(), within().count()));
    }
}
