//! The end of a load: every index built from its entries.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bitmap_silo::column::PageBuilder;
use bitmap_silo::container::{ARRAY_MAX, ArrayRef, Layout, Scratch};
use bitmap_silo::postings::{PagesBuilder, PostingsError};
use bitmap_silo::store::{Field as StoreField, StoreBatch, StoreBulk, StoreBulkWriter, StoreError};
use bitmap_silo::topk::{SortSource as _, TopK};
use bitmap_silo::{BitmapBuf, BitmapWriter, Expr, Query};
use datasilo::IntKey;

use super::batch::Targets;
use super::merge;
use super::runs::Merged;
use super::sinks::{Changes, Sinks, bit};
use super::{LoadMode, LoadOptions, LoadReport, Shared};
use crate::document::FieldSet;
use crate::engine::labels::label_of_rank;
use crate::engine::layout::SLOTS_KEY;
use crate::engine::{Engine, View};
use crate::entries::text_hash;
use crate::error::{Error, Result};
use crate::terms::NewTerms;
use crate::value::Id;

/// Pairs of a page of postings.
const PAGE_PAIRS: usize = 16_384;
/// Slots from which a number has a bitmap of its own.
const HEAVY_FROM: usize = PAGE_PAIRS / 2;
/// Operations that are written at once.
const STEP_OPS: usize = 200_000;

/// What the end of a load works with.
#[derive(Clone, Copy)]
pub(super) struct End<'a, 'e> {
    pub(super) engine: &'e Engine,
    pub(super) view: &'a View<'e>,
    pub(super) bulk: &'a StoreBulk<'e>,
    pub(super) options: &'a LoadOptions,
    pub(super) first_slot: u64,
    pub(super) terms: &'a Mutex<NewTerms>,
    pub(super) targets: &'a Targets,
}

/// An index and its entries.
enum Job<'a> {
    Bits(&'a StoreField, Changes<u64>),
    States(&'a StoreField, Changes<(u64, u32)>),
    Column(&'a StoreField, Changes<(u32, u64)>),
    Pairs(&'a StoreField, Changes<(u64, u32)>),
}

/// Slots of the load that have no record after all.
pub(super) struct Dead {
    first_slot: u64,
    bits: Vec<u64>,
    pub(super) slots: Vec<u32>,
}

impl Dead {
    fn new(first_slot: u64, end: u64) -> Self {
        let words = usize::try_from(end.saturating_sub(first_slot).div_ceil(64)).unwrap_or(0);
        Self { first_slot, bits: vec![0; words], slots: Vec::new() }
    }

    fn insert(&mut self, slot: u32) {
        let at = u64::from(slot).saturating_sub(self.first_slot);
        if let Some(word) = usize::try_from(at / 64).ok().and_then(|at| self.bits.get_mut(at)) {
            *word |= 1 << (at % 64);
        }
        self.slots.push(slot);
    }

    #[inline]
    fn contains(&self, slot: u32) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let Some(at) = u64::from(slot).checked_sub(self.first_slot) else { return false };
        let word = usize::try_from(at / 64).ok().and_then(|at| self.bits.get(at));
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

/// Pairs and column of the ids.
type IdEntries = (Changes<(u64, u32)>, Changes<(u32, u64)>);

impl End<'_, '_> {
    /// Writes all indexes and what else belongs to the load.
    pub(super) fn write(&self, shared: Shared) -> Result<LoadReport> {
        let Shared { mut sinks, mut text_ids, partitions, rows, slot_end, .. } = shared;
        let mut report = LoadReport { rows, ..LoadReport::default() };
        let mut slot_end = slot_end;
        if self.options.mode == LoadMode::Merge {
            slot_end = merge::write(self, partitions, &mut sinks, &mut text_ids, &mut report)?;
        }
        let layout = self.engine.layout();
        let mut dead = Dead::new(self.first_slot, slot_end);
        let mut replaced = Vec::new();
        let ids = std::mem::take(&mut sinks.ids);
        let (id_pairs, id_keys) = if self.engine.schema().id.is_string() {
            text_ids.sort();
            self.text_ids(&text_ids, &mut dead, &mut replaced)?
        } else {
            self.integer_ids(ids, &mut dead, &mut replaced)?
        };
        if self.options.mode != LoadMode::Merge {
            report.duplicates = dead.slots.len() as u64;
            report.changed = replaced.len() as u64;
            report.created = rows - report.duplicates - report.changed;
            self.forget(&replaced, &mut sinks)?;
        }
        self.forget_documents(&dead, &replaced)?;
        let mut jobs = VecDeque::new();
        jobs.push_back(Job::Pairs(&layout.slots, id_pairs));
        jobs.push_back(Job::Column(&layout.id, id_keys));
        jobs.push_back(Job::States(&layout.state, std::mem::take(&mut sinks.state)));
        for (indexes, sink) in layout.fields.iter().zip(std::mem::take(&mut sinks.fields)) {
            if let Some(index) = &indexes.sort {
                jobs.push_back(Job::Column(index, sink.sort));
            }
            if let Some(index) = &indexes.high {
                jobs.push_back(Job::Pairs(index, sink.high));
            }
            if let Some(index) = &indexes.filter {
                jobs.push_front(Job::Bits(index, sink.filter));
            }
        }
        self.run(jobs, &dead)?;
        self.write_rest(slot_end)?;
        Ok(report)
    }

    /// Number of slots and new terms.
    fn write_rest(&self, slot_end: u64) -> Result<()> {
        let mut writer = self.bulk.writer();
        let spaces = self.engine.spaces();
        if slot_end != self.first_slot {
            writer.documents().put(&spaces.engine, SLOTS_KEY, slot_end.to_le_bytes())?;
        }
        let terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        terms.mutations(|key, value| Ok(writer.documents().put(&spaces.terms, key, value)?))?;
        drop(terms);
        Ok(writer.close()?)
    }

    /// Does the jobs on several threads.
    fn run(&self, jobs: VecDeque<Job<'_>>, dead: &Dead) -> Result<()> {
        let jobs = Mutex::new(jobs);
        let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let work = || -> Result<()> {
            let mut writer = self.bulk.writer();
            while let Some(job) = next() {
                match job {
                    Job::Bits(field, changes) if !changes.is_empty() => {
                        self.bits(field, changes, dead, &mut writer)?;
                    }
                    Job::States(field, changes) => self.states(field, changes, dead, &mut writer)?,
                    Job::Column(field, changes) if !changes.is_empty() => {
                        self.column(field, changes, dead, &mut writer)?;
                    }
                    Job::Pairs(field, changes) if !changes.is_empty() => {
                        self.pairs(field, changes, dead, &mut writer)?;
                    }
                    _ => {}
                }
            }
            Ok(writer.close()?)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.options.threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut result = Ok(());
            for thread in threads {
                let done = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(done);
            }
            result
        })
    }

    /// Whether the silo had no record before.
    fn is_fresh(&self) -> bool {
        self.first_slot == 0
    }

    /// Bitmaps of values: what was there, without what goes, with what comes.
    fn bits(
        &self,
        field: &StoreField,
        changes: Changes<u64>,
        dead: &Dead,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let (mut come, mut gone) = (changes.come.merged()?, changes.gone.merged()?);
        let head = |merged: &Merged<u64>| merged.peek().map(|bit| (bit >> 32) as u32);
        while let Some(next) = [head(&come), head(&gone)].into_iter().flatten().min() {
            let removed = slots_of(&mut gone, next, |_| true)?;
            let added = slots_of(&mut come, next, |slot| !dead.contains(slot))?;
            self.put_bitmap(field, next, &added, &removed, writer)?;
        }
        Ok(())
    }

    fn put_bitmap(
        &self,
        field: &StoreField,
        code: u32,
        added: &BitmapBuf,
        removed: &BitmapBuf,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        if self.is_fresh() {
            if !added.is_empty() {
                writer.put_bitmap(field, code, added)?;
            }
            return Ok(());
        }
        let before = self.view.reader()?.bitmap(field, code)?;
        let after = Expr::or([Expr::from(before.view()).and_not(removed.into()), added.into()]);
        writer.put_bitmap(field, code, &Query::new(after, 1 << 32).to_bitmap())?;
        Ok(())
    }

    /// Bitmaps of states, from ranges of slots.
    fn states(
        &self,
        field: &StoreField,
        changes: Changes<(u64, u32)>,
        dead: &Dead,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let (mut come, mut gone) = (changes.come.merged()?, changes.gone.merged()?);
        let head = |merged: &Merged<(u64, u32)>| merged.peek().map(|(bit, _)| (bit >> 32) as u32);
        while let Some(next) = [head(&come), head(&gone)].into_iter().flatten().min() {
            let removed = slots_of_ranges(&mut gone, next, |_| true)?;
            let added = slots_of_ranges(&mut come, next, |slot| !dead.contains(slot))?;
            self.put_bitmap(field, next, &added, &removed, writer)?;
        }
        Ok(())
    }

    /// Pages of a column.
    fn column(
        &self,
        field: &StoreField,
        changes: Changes<(u32, u64)>,
        dead: &Dead,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let (mut come, mut gone) = (changes.come.merged()?, changes.gone.merged()?);
        let before = self.view.column(field)?;
        let mut builder = PageBuilder::new();
        let (mut slots, mut keys, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let chunk = |merged: &Merged<(u32, u64)>| merged.peek().map(|(slot, _)| slot >> 16);
        let mut page: Vec<Option<u64>> = Vec::new();
        while let Some(next) = [chunk(&come), chunk(&gone)].into_iter().flatten().min() {
            let number = u16::try_from(next).unwrap_or(u16::MAX);
            page.clear();
            page.resize(1 << 16, None);
            let mut set = |low: usize, key: Option<u64>| {
                if let Some(place) = page.get_mut(low) {
                    *place = key;
                }
            };
            if !self.is_fresh() {
                before.column(number)?.for_each(|low, key| set(usize::from(low), Some(key)));
            }
            while let Some((slot, _)) = gone.peek().filter(|(slot, _)| slot >> 16 == next) {
                set((slot & 0xffff) as usize, None);
                gone.next()?;
            }
            while let Some((slot, key)) = come.peek().filter(|(slot, _)| slot >> 16 == next) {
                if !dead.contains(slot) {
                    set((slot & 0xffff) as usize, Some(key));
                }
                come.next()?;
            }
            slots.clear();
            keys.clear();
            for (low, key) in (0..=u16::MAX).zip(&page) {
                if let Some(key) = key {
                    slots.push(low);
                    keys.push(*key);
                }
            }
            bytes.clear();
            builder.build_into(&slots, &keys, &mut bytes).map_err(|why| Error::damaged("column", why))?;
            writer.put_column_page(field, number, &bytes)?;
        }
        Ok(())
    }

    /// Pages of postings, or operations on those that are there.
    fn pairs(
        &self,
        field: &StoreField,
        changes: Changes<(u64, u32)>,
        dead: &Dead,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let (mut come, mut gone) = (changes.come.merged()?, changes.gone.merged()?);
        if self.is_fresh() {
            return fresh_pairs(field, &mut come, dead, writer);
        }
        let mut ops = StoreBatch::new();
        while let Some((number, slot)) = gone.next()? {
            ops.remove(field, number, slot);
            if ops.len() >= STEP_OPS {
                writer.append(&mut ops)?;
                ops.clear();
            }
        }
        while let Some((number, slot)) = come.next()? {
            if !dead.contains(slot) {
                ops.add(field, number, slot);
            }
            if ops.len() >= STEP_OPS {
                writer.append(&mut ops)?;
                ops.clear();
            }
        }
        Ok(writer.append(&mut ops)?)
    }

    /// Finds duplicate ids, of which the last row counts, and records that are replaced.
    fn integer_ids(
        &self,
        ids: Changes<(u64, u32)>,
        dead: &mut Dead,
        replaced: &mut Vec<u32>,
    ) -> Result<IdEntries> {
        let (mut pairs, mut keys) = (Changes::default(), Changes::default());
        let postings = self.view.reader()?.postings(&self.engine.layout().slots)?;
        let mut merged = ids.come.merged()?;
        while let Some((key, slot)) = merged.next()? {
            if merged.peek().is_some_and(|(next, _)| next == key) {
                dead.insert(slot);
                continue;
            }
            if !self.is_fresh()
                && self.options.mode != LoadMode::Merge
                && let Some(old) = postings.get_unique(key)?
            {
                replaced.push(old);
                pairs.gone.push((key, old));
                keys.gone.push((old, 0));
            }
            pairs.come.push((key, slot));
            keys.come.push((slot, key));
        }
        Ok((pairs, keys))
    }

    /// The same for text ids, which get new labels all together.
    fn text_ids(
        &self,
        ids: &super::ids::TextIds,
        dead: &mut Dead,
        replaced: &mut Vec<u32>,
    ) -> Result<IdEntries> {
        let (mut pairs, mut keys) = (Changes::default(), Changes::default());
        if ids.is_empty() {
            return Ok((pairs, keys));
        }
        let column = self.view.ids()?;
        let old_slots: Vec<u32> = if self.is_fresh() {
            Vec::new()
        } else {
            TopK::new(&column).first(usize::MAX)?.iter().map(|hit| hit.slot).collect()
        };
        let mut order: Vec<u32> = Vec::new();
        let with_id = |slot: u32| -> Result<(Id, u32)> { Ok((self.view.id_of(slot)?, slot)) };
        let mut old = old_slots.into_iter().map(with_id).peekable();
        let mut new = ids.iter().peekable();
        while let Some((id, slot)) = new.next() {
            if new.peek().is_some_and(|(next, _)| *next == id) {
                dead.insert(slot);
                continue;
            }
            while let Some(next) = old.next_if(|next| match next {
                Ok((Id::Text(text), _)) => text.as_str() <= id,
                Ok((Id::Int(_), _)) => false,
                Err(_) => true,
            }) {
                let (text, old_slot) = next?;
                if text == Id::from(id) {
                    replaced.push(old_slot);
                    pairs.gone.push((text_hash(id), old_slot));
                    keys.gone.push((old_slot, 0));
                } else {
                    order.push(old_slot);
                }
            }
            pairs.come.push((text_hash(id), slot));
            order.push(slot);
        }
        for rest in old {
            order.push(rest?.1);
        }
        let count = order.len() as u64;
        for (slot, rank) in order.into_iter().zip(0..) {
            keys.come.push((slot, label_of_rank(rank, count)));
        }
        Ok((pairs, keys))
    }

    /// Takes the entries of replaced records away; those of their ids are seen to already.
    fn forget(&self, replaced: &[u32], sinks: &mut Sinks) -> Result<()> {
        let all = FieldSet::all(self.engine.schema());
        for slots in replaced.chunks(1_024) {
            for (slot, document) in slots.iter().zip(self.view.documents(slots, &all)?) {
                let entries = crate::entries::entries(self.engine.schema(), &document);
                let mut sink = merge::EntrySink { end: self, sinks, cache: &mut Vec::new() };
                for entry in &entries {
                    sink.push(entry, *slot, false)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes documents of replaced records and of rows that a later one replaced.
    fn forget_documents(&self, dead: &Dead, replaced: &[u32]) -> Result<()> {
        if dead.slots.is_empty() && replaced.is_empty() {
            return Ok(());
        }
        let mut writer = self.bulk.writer();
        for slot in dead.slots.iter().chain(replaced) {
            writer.documents().delete(&self.engine.spaces().documents, IntKey::from(*slot))?;
        }
        Ok(writer.close()?)
    }
}

/// Pages of postings of a field without any.
fn fresh_pairs(
    field: &StoreField,
    come: &mut Merged<(u64, u32)>,
    dead: &Dead,
    writer: &mut StoreBulkWriter<'_>,
) -> Result<()> {
    /// Errors of the sink and of the builder.
    struct Failure(Error);
    impl From<PostingsError> for Failure {
        fn from(error: PostingsError) -> Self {
            Self(Error::damaged("postings", error))
        }
    }
    impl From<StoreError> for Failure {
        fn from(error: StoreError) -> Self {
            Self(error.into())
        }
    }
    let mut heavy: Vec<(u64, Vec<u32>)> = Vec::new();
    let mut pages = PagesBuilder::new(PAGE_PAIRS, |first, page: &[u8]| {
        writer.put_postings_page(field, first, page).map_err(Failure::from)
    });
    let mut slots = Vec::new();
    while let Some((number, _)) = come.peek() {
        slots.clear();
        while let Some((_, slot)) = come.peek().filter(|(next, _)| *next == number) {
            come.next()?;
            if !dead.contains(slot) && slots.last() != Some(&slot) {
                slots.push(slot);
            }
        }
        let pushed = if slots.len() >= HEAVY_FROM {
            let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            heavy.push((number, std::mem::take(&mut slots)));
            pages.push_promoted(number, count)
        } else {
            slots.iter().try_for_each(|slot| pages.push(number, *slot))
        };
        pushed.map_err(|Failure(error)| error)?;
    }
    pages.finish().map_err(|Failure(error)| error)?;
    for (number, slots) in heavy {
        writer.put_heavy(field, number, &slots.into_iter().collect::<BitmapBuf>())?;
    }
    Ok(())
}

/// Builds a bitmap from ascending slots.
struct Builder {
    writer: BitmapWriter,
    chunk: u32,
    lows: Vec<u16>,
    words: Option<Box<Scratch>>,
}

impl Builder {
    fn new() -> Self {
        Self { writer: BitmapWriter::new(Layout::Smallest), chunk: 0, lows: Vec::new(), words: None }
    }

    #[inline]
    fn push(&mut self, slot: u32) -> Result<()> {
        if slot >> 16 != self.chunk {
            self.flush()?;
            self.chunk = slot >> 16;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower half of a slot")]
        let low = slot as u16;
        if self.lows.last() != Some(&low) {
            self.lows.push(low);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let key = u16::try_from(self.chunk).unwrap_or(u16::MAX);
        let pushed = match u32::try_from(self.lows.len()).unwrap_or(u32::MAX) {
            0 => Ok(()),
            1..=ARRAY_MAX => self.writer.push(key, ArrayRef::from_values(&self.lows).into()),
            count => {
                let words = self.words.get_or_insert_with(|| Box::new(Scratch::new()));
                words.clear();
                self.lows.iter().for_each(|low| words.insert(*low));
                self.writer.push(key, words.as_bitset(count).into())
            }
        };
        self.lows.clear();
        pushed.map_err(|why| Error::damaged("bitmap", why))
    }

    fn finish(mut self) -> Result<BitmapBuf> {
        self.flush()?;
        Ok(self.writer.finish())
    }
}

/// Slots of a code at the front of bits.
fn slots_of(merged: &mut Merged<u64>, code: u32, wanted: impl Fn(u32) -> bool) -> Result<BitmapBuf> {
    let mut builder = Builder::new();
    let last = bit(code, u32::MAX);
    while let Some(bit) = merged.peek().filter(|bit| *bit <= last) {
        merged.next()?;
        #[expect(clippy::cast_possible_truncation, reason = "the slot is the lower half")]
        let slot = bit as u32;
        if wanted(slot) {
            builder.push(slot)?;
        }
    }
    builder.finish()
}

/// Slots of a code at the front of ranges, which do not overlap.
fn slots_of_ranges(
    merged: &mut Merged<(u64, u32)>,
    code: u32,
    wanted: impl Fn(u32) -> bool,
) -> Result<BitmapBuf> {
    let mut builder = Builder::new();
    let last = bit(code, u32::MAX);
    while let Some((first, count)) = merged.peek().filter(|(bit, _)| *bit <= last) {
        merged.next()?;
        #[expect(clippy::cast_possible_truncation, reason = "the slot is the lower half")]
        let first = first as u32;
        for slot in first..first.saturating_add(count) {
            if wanted(slot) {
                builder.push(slot)?;
            }
        }
    }
    builder.finish()
}
