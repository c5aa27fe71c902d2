//! Equal keys in the order of a second column that does not ascend with the slots.

use super::order::{Hit, Page, SortSource, TopK};
use super::stream::{Begin, Candidates, Entry, Stream};
use crate::column::ColumnView;
use crate::frozen::split_slot;

/// Ties gathered before another way is considered.
const GATHER_MIN: u64 = 1024;

/// A tie in a stream.
pub(super) struct Ties<'s, 'a, E> {
    pub(super) order: &'s TopK<'a, E>,
    pub(super) stream: &'s mut Stream<'a, E>,
    /// The hit before; with the same key where slots were found to stand for ties no longer.
    pub(super) before: Option<Hit>,
}

/// A record of a tie: key in the second column, slot.
type Member = (Option<u64>, u32);

impl<'a, E> Ties<'_, 'a, E> {
    /// Answers all records with the key of `first`, in order, until the page is full.
    pub(super) fn collect(&mut self, first: Entry, page: &mut Page) -> Result<(), E> {
        let Some(tie) = self.order.tie else { return Ok(()) };
        let (key, direction) = (first.key, self.order.direction);
        let mut keys = Keys { source: tie, chunk: None };
        let mut after = self.stream.after(key);
        if let Some(before) = self.before.filter(|before| before.key == Some(key)) {
            after = Some((keys.get(before.slot)?, before.slot));
        }
        let mut members: Vec<Member> = Vec::new();
        let limit = gather_limit(tie, page.wanted());
        let mut next = Some(first);
        while let Some(entry) = next {
            let member = (keys.get(entry.slot)?, entry.slot);
            if after.is_none_or(|after| direction.precedes(&after, &member)) {
                members.push(member);
            }
            if members.len() as u64 > limit {
                return self.walk(tie, key, after, page);
            }
            next = self.stream.next(Some(key))?;
        }
        let wanted = page.wanted();
        if wanted < members.len() {
            members.select_nth_unstable_by(wanted, |a, b| direction.compare(a, b));
            members.truncate(wanted);
        }
        members.sort_unstable_by(|a, b| direction.compare(a, b));
        for (_, slot) in members {
            page.push(Hit { slot, key: Some(key) });
        }
        Ok(())
    }

    /// As [`collect`](Self::collect) for a long tie: walks the second column in its order and
    /// keeps what has the key.
    fn walk(
        &mut self,
        tie: &'a dyn SortSource<Error = E>,
        key: u64,
        after: Option<Member>,
        page: &mut Page,
    ) -> Result<(), E> {
        let TopK { sort, filter, direction, .. } = *self.order;
        let candidates = Candidates { source: tie, filter, equals: Some((sort, Some(key))), direction };
        let mut stream = Stream::new(candidates, None, Begin::of(direction, after), None);
        while !page.is_full() {
            let Some(entry) = stream.next(None)? else {
                self.stream.skip_key(key);
                return Ok(());
            };
            page.push(Hit { slot: entry.slot, key: Some(key) });
        }
        Ok(())
    }
}

/// The size of a tie from which on walking the second column takes less than gathering the tie, if
/// its members are spread evenly: for `wanted` of `g` among `n`, walking looks at `wanted × n / g`.
fn gather_limit<E>(tie: &dyn SortSource<Error = E>, wanted: usize) -> u64 {
    let records: u64 = tie.zones().iter().map(|zone| u64::from(zone.count)).sum();
    (2 * records).saturating_mul(wanted as u64).isqrt().max(GATHER_MIN)
}

/// Keys of a column for slots that mostly share chunks with those before.
struct Keys<'a, E> {
    source: &'a dyn SortSource<Error = E>,
    chunk: Option<(u16, ColumnView<'a>)>,
}

impl<E> Keys<'_, E> {
    fn get(&mut self, slot: u32) -> Result<Option<u64>, E> {
        let (number, low) = split_slot(slot);
        if let Some((_, view)) = self.chunk.as_ref().filter(|(at, _)| *at == number) {
            return Ok(view.get(low));
        }
        let view = self.source.column(number)?;
        let key = view.get(low);
        self.chunk = Some((number, view));
        Ok(key)
    }
}
