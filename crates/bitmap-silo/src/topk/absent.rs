//! Records without a key, by the tie column or by slot.

use super::jump::{JUMP_MIN, Jump, Landing};
use super::order::{Cursor, Hit, Page, TopK};
use super::stream::{Begin, Candidates, Stream};
use crate::column::Direction;
use crate::container::Scratch;
use crate::container::cursor::{Ascent, Descent};
use crate::eval::Query;
use crate::frozen::{join_slot, split_slot};

/// Answers the records without a key, in order, until the page is full.
pub(super) fn collect<E>(order: &TopK<'_, E>, page: &mut Page) -> Result<(), E> {
    let after = match order.after {
        Some(Cursor { key: None, tie, slot }) => Some((tie, slot)),
        _ => None,
    };
    let TopK { sort, filter, direction, .. } = *order;
    match (order.tie, filter) {
        (Some(tie), _) => {
            let candidates = Candidates { source: tie, filter, equals: Some((sort, None)), direction };
            let mut begin = Begin::of(direction, after);
            if let (Begin::At(from), true) = (begin, page.skipped_yet() >= JUMP_MIN) {
                let jump = Jump::new(tie, filter, direction).absent_in(sort);
                let last = match direction {
                    Direction::Ascending => u64::MAX,
                    Direction::Descending => 0,
                };
                match jump.run(from, last, page)? {
                    Landing::At(key) => begin = Begin::At(key),
                    Landing::End => return Ok(()),
                }
            }
            let mut stream = Stream::new(candidates, None, begin, None);
            while !page.is_full() {
                let Some(entry) = stream.next(None)? else { break };
                page.push(Hit { slot: entry.slot, key: None });
            }
            Ok(())
        }
        (None, Some(filter)) => by_slot(order, filter, after.map(|(_, slot)| slot), page),
        (None, None) => Ok(()),
    }
}

/// Slots of the filter without a key, in slot order.
fn by_slot<E>(order: &TopK<'_, E>, filter: &Query<'_>, after: Option<u32>, page: &mut Page) -> Result<(), E> {
    let mut filter = filter.chunk_filter();
    let (mut words, mut present) = (Scratch::new(), Scratch::new());
    let highest = filter.highest_chunk();
    let ascending = order.direction == Direction::Ascending;
    let first = after.map_or(if ascending { 0 } else { highest }, |slot| split_slot(slot).0);
    let mut next = Some(first.min(if ascending { u16::MAX } else { highest }));
    while let Some(chunk) = next.filter(|chunk| *chunk <= highest && !page.is_full()) {
        next = if ascending { chunk.checked_add(1) } else { chunk.checked_sub(1) };
        if filter.bound(chunk) == 0 {
            continue;
        }
        words.load(filter.evaluate(chunk));
        order.sort.column(chunk)?.present_into(&mut present);
        words.and_not(present.as_bitset(0).into());
        let slots = words.as_bitset(0).into();
        let follows =
            |low: u16| after.is_none_or(|after| order.direction.precedes(&after, &join_slot(chunk, low)));
        let (mut up, mut down) = (Ascent::new(slots), Descent::from(slots, u16::MAX));
        while let Some(low) = if ascending { up.next() } else { down.next() } {
            if page.is_full() {
                break;
            }
            if follows(low) {
                page.push(Hit { slot: join_slot(chunk, low), key: None });
            }
        }
    }
    Ok(())
}
