//! The most frequent values of a field among the matching records.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;

use bitmap_silo::column::Direction;
use bitmap_silo::{BitmapBuf, BitmapView, Query as BitmapQuery, count_groups};

use super::request::{Answer, FacetCount, FacetRequest, Query};
use crate::document::FieldSet;
use crate::engine::View;
use crate::entries::indexed_text;
use crate::error::{Error, Result};
use crate::schema::Field;
use crate::value::{Value, sort_key, value_of_key};

/// Matching records up to which values of fields with many values are counted in the documents.
const DOCUMENTS_MAX: u64 = 20_000;
/// Documents that are read at once.
const DOCUMENTS_STEP: usize = 1_024;
/// Values of a field up to which their bitmaps, once found, are kept until they are counted.
const KEPT_MAX: usize = 1_024;
/// Values that are counted in one pass over the answer: twice as many as are wanted, within these bounds.
const STEP_MIN: usize = 64;
/// The most of them.
const STEP_MAX: usize = 256;

/// Values and counts by their order in the answer: most frequent first, then ascending.
struct Counts(Vec<(u64, Value)>);

impl Counts {
    fn finish(mut self, limit: Option<usize>) -> Vec<FacetCount> {
        self.0.retain(|(count, _)| *count > 0);
        self.0.sort_by(|(x_count, x), (y_count, y)| y_count.cmp(x_count).then_with(|| x.compare(y)));
        self.0.truncate(limit.unwrap_or(usize::MAX));
        self.0.into_iter().map(|(count, value)| FacetCount { value, count }).collect()
    }
}

impl View<'_> {
    /// Fills in the facets of a query. No filter means all records.
    pub(super) fn facets(
        &self,
        query: &Query,
        filter: Option<&BitmapQuery<'_>>,
        total: u64,
        answer: &mut Answer,
    ) -> Result<()> {
        let schema = self.engine.schema();
        let matching = OnceCell::new();
        for request in &query.facets {
            let Some(at) = schema.position(&request.field) else {
                return Err(Error::Query(schema.unknown_field(&request.field)));
            };
            let Some(field) = schema.fields.get(at) else { continue };
            let indexes = self.indexes(at)?;
            if indexes.filter.is_none() && indexes.high.is_none() && indexes.sort.is_none() {
                return Err(Error::Query(format!(
                    "{:?} is only stored and has no facet: give it an index in the schema",
                    field.name
                )));
            }
            let counts = if indexes.filter.is_some() {
                self.bitmap_facet(at, field, request, filter, &matching)?
            } else {
                let matching = filter.map(|filter| matching.get_or_init(|| filter.to_bitmap()));
                self.many_facet(at, field, matching, total)?.finish(request.limit)
            };
            answer.facets.push((request.field.clone(), counts));
        }
        Ok(())
    }

    /// Counts by the bitmaps of the values, those with most records first, until no other value can be
    /// among the first.
    fn bitmap_facet<'q>(
        &self,
        at: usize,
        field: &Field,
        request: &FacetRequest,
        filter: Option<&'q BitmapQuery<'q>>,
        matching: &'q OnceCell<BitmapBuf>,
    ) -> Result<Vec<FacetCount>> {
        let Some(index) = &self.indexes(at)?.filter else { return Ok(Vec::new()) };
        let reader = self.reader();
        let codes = reader.values(index)?.to_vec();
        let keeps = codes.len() <= KEPT_MAX;
        let mut candidates = Vec::with_capacity(codes.len());
        for code in codes {
            let bitmap = reader.bitmap(index, code)?;
            let len = bitmap.len();
            if len > 0 {
                candidates.push((len, code, keeps.then_some(bitmap)));
            }
        }
        candidates.sort_unstable_by_key(|(len, code, _)| Reverse((*len, *code)));
        let limit = request.limit.unwrap_or(usize::MAX);
        // Counts so far, ascending by count, at most `limit` and those equal to the last of them.
        let mut found: Vec<(u64, u32)> = Vec::new();
        let step = limit.saturating_mul(2).clamp(STEP_MIN, STEP_MAX);
        let evaluated;
        let filter = match filter {
            // More than once over the answer: it is made once.
            Some(filter) if candidates.len() > step => {
                let matching = matching.get_or_init(|| filter.to_bitmap());
                evaluated = BitmapQuery::new(matching, self.slot_count());
                Some(&evaluated)
            }
            filter => filter,
        };
        let mut threshold = 0;
        for mut candidates in candidates.chunks_mut(step) {
            let wanted = candidates.partition_point(|(len, ..)| *len >= threshold);
            candidates = candidates.get_mut(..wanted).unwrap_or_default();
            let counts: Vec<u64> = match filter {
                None => candidates.iter().map(|(len, ..)| *len).collect(),
                Some(filter) => {
                    for (_, code, bitmap) in candidates.iter_mut().filter(|(.., bitmap)| bitmap.is_none()) {
                        *bitmap = Some(reader.bitmap(index, *code)?);
                    }
                    let views: Vec<BitmapView<'_>> =
                        candidates.iter().filter_map(|(.., bitmap)| Some(bitmap.as_ref()?.view())).collect();
                    count_groups(filter, &views, !field.multi)
                }
            };
            found.extend(counts.into_iter().zip(candidates.iter().map(|(_, code, _)| *code)));
            found.retain(|(count, _)| *count > 0);
            threshold = cut(&mut found, limit);
            if wanted < step {
                break;
            }
            if !keeps {
                for (.., bitmap) in candidates {
                    *bitmap = None;
                }
            }
        }
        let mut counts = Counts(Vec::with_capacity(found.len()));
        for (count, code) in found {
            let value = self.engine.terms.value(self.snapshot(), field.number(), field.kind, code)?;
            counts.0.push((count, value));
        }
        Ok(counts.finish(request.limit))
    }

    /// Counts the values of a field without bitmaps.
    fn many_facet(
        &self,
        at: usize,
        field: &Field,
        matching: Option<&BitmapBuf>,
        total: u64,
    ) -> Result<Counts> {
        let indexes = self.indexes(at)?;
        if let Some(matching) = matching
            && total <= DOCUMENTS_MAX
        {
            return self.facet_of_documents(at, field, &slots_of(matching));
        }
        let is_text = field.kind == crate::schema::FieldType::String;
        let mut by_key: HashMap<u64, (u64, u32)> = HashMap::new();
        let mut note = |key: u64, slot: u32| {
            let (count, any) = by_key.entry(key).or_default();
            *count += 1;
            *any = slot;
        };
        let view = matching.map(BitmapBuf::view);
        let is_in = |slot: u32| view.as_ref().is_none_or(|view| view.contains(slot));
        if let Some(index) = &indexes.sort {
            let column = self.column(index)?;
            column.for_each(|slot, key| {
                if is_in(slot) {
                    note(key, slot);
                }
            })?;
        } else if let Some(index) = &indexes.high {
            let postings = self.reader().postings(index)?;
            let _ = postings.for_each_in::<()>(0..=u64::MAX, Direction::Ascending, |key, slots| {
                slots.filter(|slot| is_in(*slot)).for_each(|slot| note(key, slot));
                ControlFlow::Continue(())
            })?;
        }
        if is_text {
            // Postings know hashes; texts and what else has their hash are told apart in the documents.
            let slots = match matching {
                Some(matching) => slots_of(matching),
                None => self.state(crate::engine::layout::State::Alive)?.to_vec(),
            };
            return self.facet_of_documents(at, field, &slots);
        }
        let counts = by_key.into_iter().map(|(key, (count, _))| (count, value_of_key(field.kind, key)));
        Ok(Counts(counts.collect()))
    }

    fn facet_of_documents(&self, at: usize, field: &Field, slots: &[u32]) -> Result<Counts> {
        let mut wanted = FieldSet::none(self.engine.schema());
        wanted.insert(at);
        let (mut keys, mut texts) = (HashMap::<u64, u64>::new(), HashMap::<String, u64>::new());
        for slots in slots.chunks(DOCUMENTS_STEP) {
            for document in self.documents(slots, &wanted)? {
                // Several values may be one in lower case.
                let mut seen: Vec<String> = Vec::new();
                for item in document.values.get(at).map(Value::items).unwrap_or_default() {
                    if let Value::Text(text) = item {
                        let text = indexed_text(field, text).into_owned();
                        if !seen.contains(&text) {
                            *texts.entry(text.clone()).or_default() += 1;
                            seen.push(text);
                        }
                    } else if let Some(key) = sort_key(field.kind, item) {
                        *keys.entry(key).or_default() += 1;
                    }
                }
            }
        }
        let keys = keys.into_iter().map(|(key, count)| (count, value_of_key(field.kind, key)));
        let texts = texts.into_iter().map(|(text, count)| (count, Value::Text(text)));
        Ok(Counts(keys.chain(texts).collect()))
    }
}

fn slots_of(matching: &BitmapBuf) -> Vec<u32> {
    matching.view().iter().collect()
}

/// Keeps the highest `limit` counts and those equal to the last of them; answers that one, or 0.
fn cut(found: &mut Vec<(u64, u32)>, limit: usize) -> u64 {
    if limit == 0 {
        found.clear();
        return u64::MAX;
    }
    if found.len() < limit {
        return 0;
    }
    found.sort_unstable_by(|x, y| y.cmp(x));
    let threshold = found.get(limit - 1).map_or(0, |(count, _)| *count);
    found.retain(|(count, _)| *count >= threshold);
    threshold
}
