//! Pages far down an order: what comes before them is counted, not walked.
//!
//! An *outline* of the order is drawn first: the keys at a few places of each chunk's order, twice as far from its
//! beginning each time, as deep as the page may lie. From it two keys are guessed between which the page is. Then every
//! chunk is looked at once: the entries before the first key are counted, a stretch of the order at a time, and those
//! between the keys are gathered. If the page is among these, a selection finds it; otherwise the count
//! says where to guess next. A key with so many records that there is nothing between is skipped chunk by
//! chunk, where slots stand for ties.
//!
//! Counts are exact, only where to cut is guessed: a bad guess costs another look.

use std::ops::Range;

use super::order::{Hit, Page, SortSource};
use super::outline::Outline;
use super::stream::are_disjoint;
use crate::column::{ColumnView, Direction};
use crate::container::{ContainerRef, Scratch};
use crate::eval::{ChunkFilter, Query};
use crate::frozen::{join_slot, split_slot};
use crate::kernels::Bits;

/// Records to be skipped from which on they are counted.
pub(super) const JUMP_MIN: usize = 512;
/// Share of the records to be skipped by which the first guess stays before them, and goes beyond the page.
const SPREAD: f64 = 0.2;
/// Records up to which those between two keys are gathered; where more are expected, the first key is gone to, and
/// guessed from again.
const BETWEEN_MAX: f64 = 8_192.0;
/// Records beyond the page that a guess includes, so that a small one does not miss it.
const SLACK: f64 = 64.0;
/// Entries up to which a chunk's filter is asked slot by slot.
const PROBED_MAX: u32 = 16;
/// Chunks that are looked at for how many entries pass.
const SAMPLED_CHUNKS: usize = 8;
/// Looks after which what is left is walked.
const LOOKS_MAX: usize = 16;
/// Gathered entries beyond which what is left is walked.
const GATHERED_MAX: usize = 1 << 20;

/// Where the rest of an order begins.
pub(super) enum Landing {
    /// With the first entry that has this key or a later one.
    At(u64),
    /// Nothing is left.
    End,
}

/// An order of which many records are to be skipped.
pub(super) struct Jump<'a, E> {
    source: &'a dyn SortSource<Error = E>,
    tie: Option<&'a dyn SortSource<Error = E>>,
    /// Only slots without a key in this column.
    absent_in: Option<&'a dyn SortSource<Error = E>>,
    direction: Direction,
    filter: Option<ChunkFilter<'a>>,
    /// By the index of their zone.
    opened: Vec<Option<Opened<'a>>>,
    words: Scratch,
    lows: Vec<u16>,
}

/// A chunk with candidates.
pub(super) struct Opened<'a> {
    number: u16,
    pub(super) view: ColumnView<'a>,
    /// Share of its entries that is expected to pass, at most.
    pub(super) density: f64,
    /// Records of the tie under way.
    tied: usize,
}

/// Keys that cut an order into what was passed before `from`, what is counted, what is gathered from
/// `first` on, and what follows from `behind` on; none is the end.
#[derive(Clone, Copy)]
struct Cut {
    from: u64,
    first: Option<u64>,
    behind: Option<u64>,
}

/// What lies in a cut.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Records counted.
    before: usize,
    /// Records between the keys.
    between: usize,
    /// Records that were expected where those counted are, before any scale.
    expected: f64,
    /// Records that were expected between the keys.
    expected_between: f64,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.before += other.before;
        self.between += other.between;
        self.expected += other.expected;
        self.expected_between += other.expected_between;
    }
}

pub(super) fn flip(direction: Direction, key: u64) -> u64 {
    match direction {
        Direction::Ascending => !key,
        Direction::Descending => key,
    }
}

/// The key after a key.
fn next_key(direction: Direction, key: u64) -> Option<u64> {
    match direction {
        Direction::Ascending => key.checked_add(1),
        Direction::Descending => key.checked_sub(1),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(count: usize) -> f64 {
    count as f64
}

impl<'a, E> Jump<'a, E> {
    pub(super) fn new(
        source: &'a dyn SortSource<Error = E>,
        filter: Option<&Query<'a>>,
        direction: Direction,
    ) -> Self {
        Self {
            source,
            tie: None,
            absent_in: None,
            direction,
            filter: filter.map(Query::chunk_filter),
            opened: source.zones().iter().map(|_| None).collect(),
            words: Scratch::new(),
            lows: Vec::new(),
        }
    }

    pub(super) fn ties(self, tie: Option<&'a dyn SortSource<Error = E>>) -> Self {
        Self { tie, ..self }
    }

    /// Leaves out slots with a key in this column; the page's records are without a key then.
    pub(super) fn absent_in(self, column: &'a dyn SortSource<Error = E>) -> Self {
        Self { absent_in: Some(column), ..self }
    }

    /// Skips records from the first entry with the key `from` or a later one up to the last with the key
    /// `last`, and answers those of the page that it comes to.
    pub(super) fn run(mut self, mut from: u64, last: u64, page: &mut Page) -> Result<Landing, E> {
        let end = next_key(self.direction, last);
        let (mut scale, mut spread) = (1.0_f64, SPREAD);
        let mut sampled = self.filter.is_none() && self.absent_in.is_none();
        for _ in 0..LOOKS_MAX {
            if page.is_full() || page.skipped_yet() < JUMP_MIN {
                return Ok(Landing::At(from));
            }
            let (skip, wanted) = (float(page.skipped_yet()), float(page.wanted()));
            let mut outline = Outline::new(self.source.zones(), self.direction, from, end);
            if !sampled {
                let until = outline.key_of(&mut self, skip / 2.0)?;
                scale = self.sample(Cut { from, first: until, behind: until }, &outline)?;
                sampled = true;
            }
            let first = match spread {
                spread if spread < 1.0 => outline.key_of(&mut self, skip * (1.0 - spread) / scale)?,
                _ => Some(from),
            };
            // Far from the page, it is only come nearer to.
            let nears = 2.0 * spread * skip > BETWEEN_MAX && first != Some(from);
            let behind = if nears {
                first
            } else {
                outline.key_of(&mut self, (wanted * (1.0 + spread) + SLACK) / scale)?
            };
            let tied = first.filter(|_| behind == first && behind != end && !nears);
            let found = if let Some(key) = tied {
                let behind = next_key(self.direction, key);
                self.count_tied(Cut { from, first, behind })?
            } else {
                let mut entries = Vec::new();
                let found =
                    self.measure_all(Cut { from, first, behind }, Some(&outline), Some(&mut entries))?;
                let Some(found) = found else { return Ok(Landing::At(from)) };
                if found.before <= page.skipped_yet() && found.before + found.between > page.skipped_yet() {
                    page.skip(found.before);
                    self.answer(entries, page)?;
                    return Ok(behind.map_or(Landing::End, Landing::At));
                }
                found
            };
            let expected = found.expected + found.expected_between;
            if found.before > page.skipped_yet() {
                // Too far: what was found tells how dense records are there.
                scale = float(found.before) / found.expected.max(1.0);
                spread = if spread >= 0.5 { 1.0 } else { 0.5 };
                continue;
            }
            page.skip(found.before);
            let next = if let Some(key) = tied {
                if !self.skip_tied(key, page)? {
                    return Ok(Landing::At(key));
                }
                next_key(self.direction, key)
            } else {
                page.skip(found.between);
                scale = float(found.before + found.between).max(0.5) / expected.max(1.0);
                behind
            };
            match next.filter(|_| next != end) {
                Some(next) => from = next,
                None => return Ok(Landing::End),
            }
        }
        Ok(Landing::At(from))
    }

    /// Opens the chunk of a zone if the filter may have slots in it.
    pub(super) fn open(&mut self, index: usize) -> Result<Option<&Opened<'a>>, E> {
        let zone = self.source.zones().get(index);
        let (Some(place), Some(chunk)) = (self.opened.get_mut(index), zone.map(|zone| zone.chunk)) else {
            return Ok(None);
        };
        if place.is_none() {
            let bound = self.filter.as_ref().map(|filter| filter.bound(chunk));
            if bound == Some(0) {
                return Ok(None);
            }
            let view = self.source.column(chunk)?;
            let density = match bound {
                Some(bound) => (f64::from(bound) / f64::from(view.len_bound().max(1))).min(1.0),
                None => 1.0,
            };
            *place = Some(Opened { number: chunk, view, density, tied: 0 });
        }
        Ok(place.as_ref())
    }

    /// How many of the records that are expected in a part of the order are there, from some chunks.
    fn sample(&mut self, cut: Cut, outline: &Outline) -> Result<f64, E> {
        let open: Vec<usize> = (0..self.opened.len())
            .filter(|index| self.opened.get(*index).is_some_and(Option::is_some))
            .collect();
        let mut found = Found::default();
        for index in open.iter().step_by(open.len().div_ceil(SAMPLED_CHUNKS).max(1)) {
            found += self.measure(*index, cut, Some(outline), None)?;
        }
        Ok(float(found.before).max(0.5) / found.expected.max(1.0))
    }

    /// What all chunks have in a cut; nothing where that is too much to gather.
    fn measure_all(
        &mut self,
        cut: Cut,
        outline: Option<&Outline>,
        mut gathered: Option<&mut Vec<(u64, u32)>>,
    ) -> Result<Option<Found>, E> {
        let mut all = Found::default();
        for index in 0..self.opened.len() {
            all += self.measure(index, cut, outline, gathered.as_deref_mut())?;
            if gathered.as_ref().is_some_and(|entries| entries.len() > GATHERED_MAX) {
                return Ok(None);
            }
        }
        Ok(Some(all))
    }

    /// What all chunks have before a key, and with it, which is kept for [`skip_tied`](Self::skip_tied).
    fn count_tied(&mut self, cut: Cut) -> Result<Found, E> {
        // The outline goes only as far as the key, so that chunks that begin with it may be closed still.
        if let Some(key) = cut.first {
            for (index, zone) in self.source.zones().iter().enumerate() {
                if (zone.lowest..=zone.highest).contains(&key) {
                    self.open(index)?;
                }
            }
        }
        let mut all = Found::default();
        for index in 0..self.opened.len() {
            let found = self.measure(index, cut, None, None)?;
            if let Some(Some(chunk)) = self.opened.get_mut(index) {
                chunk.tied = found.between;
            }
            all += found;
        }
        Ok(all)
    }

    /// What the chunk of a zone has in a cut.
    fn measure(
        &mut self,
        index: usize,
        cut: Cut,
        outline: Option<&Outline>,
        mut gathered: Option<&mut Vec<(u64, u32)>>,
    ) -> Result<Found, E> {
        let Self { direction, filter, words, lows, .. } = self;
        let direction = *direction;
        let mut found = Found::default();
        let Some(Some(chunk)) = self.opened.get(index) else { return Ok(found) };
        let (view, page) = (&chunk.view, chunk.view.page());
        let [counted, between] = stretches(view, direction, cut, outline.map(|outline| (outline, index)));
        if counted.is_empty() && between.is_empty() && view.delta().is_none() {
            return Ok(found);
        }
        found.expected = f64::from(length(&counted)) * chunk.density;
        found.expected_between = f64::from(length(&between)) * chunk.density;
        let both = length(&counted) + length(&between);
        if let (true, Some(filter), None, None) = (both <= PROBED_MAX, &*filter, view.delta(), self.absent_in)
        {
            for (positions, is_between) in [(counted, false), (between, true)] {
                page.for_each_at(positions, None, lows, |low| {
                    let slot = join_slot(chunk.number, low);
                    if filter.contains(slot) {
                        found.before += usize::from(!is_between);
                        found.between += usize::from(is_between);
                        if let (true, Some(entries), Some(key)) = (is_between, &mut gathered, page.get(low)) {
                            entries.push((key, slot));
                        }
                    }
                });
            }
            return Ok(found);
        }
        let everything = filter.is_none();
        let slots = match filter {
            Some(filter) => filter.evaluate(chunk.number),
            None => ContainerRef::FULL,
        };
        if slots.is_empty() {
            return Ok(found);
        }
        let mut note = |low: u16, key: u64| {
            let is_before = |bound: Option<u64>| bound.is_none_or(|bound| direction.precedes(&key, &bound));
            if direction.precedes(&key, &cut.from) || !is_before(cut.behind) {
            } else if is_before(cut.first) {
                found.before += 1;
            } else {
                found.between += 1;
                if let Some(entries) = &mut gathered {
                    entries.push((key, join_slot(chunk.number, low)));
                }
            }
        };
        let few = slots.cardinality() < both / 4;
        if let (ContainerRef::Array(list), true, None) = (slots, few, self.absent_in) {
            for low in list.iter() {
                if let Some(key) = view.get(low) {
                    note(low, key);
                }
            }
            return Ok(found);
        }
        let bits: Option<&Bits> = match (slots, view.delta(), self.absent_in) {
            (ContainerRef::Bitset(bitset), None, None) => Some(bitset.bits()),
            (_, None, None) if everything => None,
            (slots, delta, absent_in) => {
                words.load(slots);
                if let Some(column) = absent_in {
                    let mut present = Scratch::new();
                    column.column(chunk.number)?.present_into(&mut present);
                    words.and_not(present.as_bitset(0).into());
                }
                if let Some(delta) = delta {
                    for (low, key) in delta.ops() {
                        if words.contains(low) {
                            words.remove(low);
                            if let Some(key) = key {
                                note(low, key);
                            }
                        }
                    }
                }
                Some(words.bits())
            }
        };
        found.before += page.count_at(counted, bits) as usize;
        match gathered {
            None => found.between += page.count_at(between, bits) as usize,
            Some(entries) => {
                let first = entries.len();
                page.for_each_at(between, bits, lows, |low| {
                    if let Some(key) = page.get(low) {
                        entries.push((key, join_slot(chunk.number, low)));
                    }
                });
                found.between += entries.len() - first;
            }
        }
        Ok(found)
    }

    fn hit(&self, key: u64, slot: u32) -> Hit {
        Hit { slot, key: self.absent_in.is_none().then_some(key) }
    }

    /// Skips and answers records with one key, after they were counted. False where nothing was done, because their order is neither
    /// that of the chunks nor are they few enough to be sorted.
    fn skip_tied(&mut self, key: u64, page: &mut Page) -> Result<bool, E> {
        let cut = Cut { from: key, first: Some(key), behind: next_key(self.direction, key) };
        if self.tie.is_some_and(|tie| !are_disjoint(tie.zones())) {
            let mut entries = Vec::new();
            if self.measure_all(cut, None, Some(&mut entries))?.is_none() {
                return Ok(false);
            }
            self.answer(entries, page)?;
            return Ok(true);
        }
        let count = self.opened.len();
        for step in 0..count {
            let index = match self.direction {
                Direction::Ascending => step,
                Direction::Descending => count - 1 - step,
            };
            if page.is_full() {
                break;
            }
            let tied = self.opened.get(index).and_then(Option::as_ref).map_or(0, |chunk| chunk.tied);
            if tied <= page.skipped_yet() {
                page.skip(tied);
                continue;
            }
            let mut entries = Vec::new();
            self.measure(index, cut, None, Some(&mut entries))?;
            self.answer(entries, page)?;
        }
        Ok(true)
    }

    /// Answers gathered records from those to be skipped on, as far as the page goes. They follow each other in the
    /// order without a gap.
    fn answer(&self, mut entries: Vec<(u64, u32)>, page: &mut Page) -> Result<(), E> {
        let direction = self.direction;
        let skip = page.skipped_yet();
        let Some(last) = page.wanted().min(entries.len()).checked_sub(1).filter(|last| *last >= skip) else {
            page.skip(entries.len().min(skip));
            return Ok(());
        };
        // Only keys are compared, so that what ties with the page's ends is kept.
        let (_, (best, _), rest) = entries.select_nth_unstable_by(skip, |a, b| direction.compare(&a.0, &b.0));
        let best = *best;
        let worst = match last.checked_sub(skip + 1) {
            Some(at) => rest.select_nth_unstable_by(at, |a, b| direction.compare(&a.0, &b.0)).1.0,
            None => best,
        };
        let all = entries.len();
        entries.retain(|(key, _)| !direction.precedes(key, &best));
        page.skip(all - entries.len());
        entries.retain(|(key, _)| !direction.precedes(&worst, key));
        entries.sort_unstable_by(|a, b| direction.compare(a, b));
        if let Some(tie) = self.tie
            && ties_matter(tie, &entries)?
        {
            let mut keyed = Vec::with_capacity(entries.len());
            for (key, slot) in entries {
                let (chunk, low) = split_slot(slot);
                keyed.push((key, tie.column(chunk)?.get(low), slot));
            }
            keyed.sort_unstable_by(|a, b| direction.compare(a, b));
            for (key, _, slot) in keyed {
                page.push(self.hit(key, slot));
            }
            return Ok(());
        }
        for (key, slot) in entries {
            page.push(self.hit(key, slot));
        }
        Ok(())
    }
}

/// Whether any two of the sorted entries have one key and slots that do not stand for their ties.
fn ties_matter<E>(tie: &dyn SortSource<Error = E>, entries: &[(u64, u32)]) -> Result<bool, E> {
    let disjoint = are_disjoint(tie.zones());
    let mut known: Option<u16> = None;
    for [(key, slot), (next_key, next_slot)] in entries.array_windows() {
        if key != next_key {
            continue;
        }
        let (chunk, next_chunk) = (split_slot(*slot).0, split_slot(*next_slot).0);
        if chunk != next_chunk {
            if !disjoint {
                return Ok(true);
            }
        } else if known != Some(chunk) {
            if !tie.column(chunk)?.ascends() {
                return Ok(true);
            }
            known = Some(chunk);
        }
    }
    Ok(false)
}

fn length(positions: &Range<u32>) -> u32 {
    positions.end.saturating_sub(positions.start)
}

/// Positions of a page that are counted and those between the keys.
fn stretches(
    view: &ColumnView<'_>,
    direction: Direction,
    cut: Cut,
    outline: Option<(&Outline, usize)>,
) -> [Range<u32>; 2] {
    let page = view.page();
    let from = page.before(direction, cut.from);
    let before = |key: Option<u64>| {
        let Some(key) = key else { return 0..page.len() };
        if key == cut.from {
            return from.clone();
        }
        match outline.and_then(|(outline, zone)| outline.bracket(zone, key)) {
            Some(count) => {
                let first = match direction {
                    Direction::Ascending => from.end,
                    Direction::Descending => from.start,
                };
                page.before_within(direction, key, first, count)
            }
            None => page.before(direction, key),
        }
    };
    let (first, behind) = (before(cut.first), before(cut.behind));
    match direction {
        Direction::Ascending => [from.end..first.end, first.end..behind.end],
        Direction::Descending => [first.start..from.start, behind.start..first.start],
    }
}
