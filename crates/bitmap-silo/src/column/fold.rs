//! Folding pending changes into a page.

use super::build::encode_into;
use super::delta::ColumnDelta;
use super::page::ColumnPage;
use super::view::ColumnView;
use crate::container::Scratch;

/// The page that a page becomes by pending changes; no bytes where no key is left. Linear in the
/// page; only the changes are sorted.
#[must_use]
pub fn fold(page: &ColumnPage<'_>, delta: &ColumnDelta) -> Vec<u8> {
    let view = ColumnView::new(Some(*page), Some(std::sync::Arc::new(delta.clone())));
    let room = page.len() as usize + delta.op_bound();
    let (mut slots, mut keys) = (Vec::with_capacity(room), Vec::with_capacity(room));
    view.for_each(|low, key| {
        slots.push(low);
        keys.push(key);
    });
    let mut out = Vec::new();
    let (Some(min), Some(max)) = (keys.iter().min(), keys.iter().max()) else {
        return out;
    };
    let order = (!keys.is_sorted()).then(|| {
        let merged = merged_order(page, delta);
        // The order of a page that nobody validated may name slots without keys, or some twice.
        if merged.len() == slots.len() { merged } else { sorted_order(&slots, &keys) }
    });
    encode_into(&slots, &keys, (*min, *max), order.as_deref(), &mut out);
    out
}

/// The slots by their keys.
fn sorted_order(slots: &[u16], keys: &[u64]) -> Vec<u16> {
    let mut entries: Vec<(u64, u16)> = keys.iter().copied().zip(slots.iter().copied()).collect();
    entries.sort_unstable();
    entries.into_iter().map(|(_, low)| low).collect()
}

/// The page's order without the changed slots, merged with theirs.
fn merged_order(page: &ColumnPage<'_>, delta: &ColumnDelta) -> Vec<u16> {
    let ops = delta.resolved();
    let mut changed = Scratch::new();
    ops.iter().for_each(|(low, _)| changed.insert(*low));
    let mut set: Vec<(u64, u16)> = ops.iter().filter_map(|(low, key)| Some(((*key)?, *low))).collect();
    set.sort_unstable();
    let mut order = Vec::with_capacity(page.len() as usize + set.len());
    let mut kept = 0;
    // Where each changed entry comes is found by search; what lies between is copied.
    for (key, low) in set {
        let until = page.bound_of(key, low, false);
        copy_order(page, kept, until, &changed, &mut order);
        kept = until;
        order.push(low);
    }
    copy_order(page, kept, page.len(), &changed, &mut order);
    order
}

/// Appends the slots at positions from `first` up to `end` that are not changed.
fn copy_order(page: &ColumnPage<'_>, first: u32, end: u32, changed: &Scratch, order: &mut Vec<u16>) {
    if first >= end {
        return;
    }
    if let Some(stored) = page.order() {
        let part = stored.get(first as usize..end as usize).unwrap_or(&[]);
        order.extend(part.iter().map(|low| u16::from_le_bytes(*low)).filter(|low| !changed.contains(*low)));
    } else {
        let slots = (first..end).filter_map(|rank| page.slot_at(rank));
        order.extend(slots.filter(|low| !changed.contains(*low)));
    }
}
