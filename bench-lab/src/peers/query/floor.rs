//! The floor: a program written by hand for exactly these queries, all in memory.
//!
//! Slots are ranks of ids. There is a `roaring` bitmap for each tag, u32 columns, and for each sort field one permutation of the slots by
//! (value, slot). A page is either the first matches of a walk along the permutation, or the best of the slots that a clause leaves,
//! whichever is guessed to be cheaper.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use roaring::{MultiOps, RoaringBitmap};

use super::filter::Clause;
use super::{Answer, Query, QueryEngine};
use crate::workload::{BASE_MODELS, TAG_COUNT, TYPES, Workload, flag};

/// A sort field: values by slot, slots by (value, slot).
struct Sorted {
    values: Vec<u32>,
    order: Vec<u32>,
}

impl Sorted {
    fn new(values: Vec<u32>) -> Self {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.par_sort_unstable_by_key(|slot| (values[*slot as usize], *slot));
        Self { values, order }
    }

    /// Places in the order of values from `low` to `high`.
    fn range(&self, low: u32, high: u32) -> std::ops::Range<usize> {
        let place =
            |bound: u64| self.order.partition_point(|slot| u64::from(self.values[*slot as usize]) < bound);
        place(u64::from(low))..place(u64::from(high) + 1)
    }
}

/// The program.
pub(super) struct Floor {
    ids: Vec<u32>,
    levels: Vec<u8>,
    kinds: Vec<u8>,
    models: Vec<u8>,
    flags: Vec<u8>,
    /// Rows of each level, type, model.
    level_counts: Vec<u32>,
    model_counts: Vec<u32>,
    tags: Vec<RoaringBitmap>,
    level_bitmaps: HashMap<u8, RoaringBitmap>,
    model_bitmaps: Vec<RoaringBitmap>,
    flag_bitmaps: HashMap<u8, RoaringBitmap>,
    users: HashMap<u32, Vec<u32>>,
    sort_at: Sorted,
    reactions: Sorted,
    comments: Sorted,
}

/// A clause ready to be tested on a slot.
enum Test<'a> {
    Levels(u64),
    Kind(u8),
    /// Which models match; index 255 is null and never does.
    Models(Box<[bool; 256]>),
    Flag(u8, bool),
    Tags(Vec<&'a RoaringBitmap>, bool),
    Slots(&'a [u32]),
    Between(u32, u32),
}

impl Floor {
    pub(super) fn new(workload: &Workload) -> Self {
        let mut rows = Vec::with_capacity(workload.row_count() as usize);
        let mut pairs: Vec<(u16, u32)> = Vec::new();
        let blocks: Vec<u32> = (0..workload.block_count()).collect();
        for wave in blocks.chunks(16) {
            let made: Vec<_> = wave.par_iter().map(|block| workload.block(*block)).collect();
            for block in made {
                let first = rows.len();
                let mut with_tags: Vec<_> = block.iter().collect();
                with_tags.sort_by_key(|(row, _)| row.id);
                for (slot, (row, tags)) in (first as u32..).zip(with_tags) {
                    rows.push(*row);
                    pairs.extend(tags.iter().map(|tag| (*tag, slot)));
                }
            }
        }
        pairs.par_sort_unstable();
        let mut tags = vec![RoaringBitmap::new(); TAG_COUNT as usize + 1];
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            tags[usize::from(group[0].0)] =
                RoaringBitmap::from_sorted_iter(group.iter().map(|(_, slot)| *slot)).unwrap();
        }
        drop(pairs);
        let mut users: HashMap<u32, Vec<u32>> = HashMap::new();
        for (slot, row) in (0..).zip(&rows) {
            users.entry(row.user).or_default().push(slot);
        }
        let bitmap = |holds: &dyn Fn(&crate::workload::Row) -> bool| {
            RoaringBitmap::from_sorted_iter(
                (0..).zip(&rows).filter(|(_, row)| holds(row)).map(|(slot, _)| slot),
            )
            .unwrap()
        };
        let mut level_counts = vec![0; 256];
        let mut model_counts = vec![0; 256];
        for row in &rows {
            level_counts[usize::from(row.level)] += 1;
            model_counts[usize::from(row.base_model)] += 1;
        }
        Self {
            level_bitmaps: [0, 1, 2, 4, 8, 16, 32]
                .map(|level| (level, bitmap(&|row| row.level == level)))
                .into(),
            model_bitmaps: (0..BASE_MODELS.len() as u8)
                .map(|model| bitmap(&|row| row.base_model == model))
                .collect(),
            flag_bitmaps: [flag::HAS_META, flag::POI]
                .map(|bit| (bit, bitmap(&|row| row.flags & bit != 0)))
                .into(),
            level_counts,
            model_counts,
            tags,
            users,
            sort_at: Sorted::new(rows.iter().map(|row| row.sort_at).collect()),
            reactions: Sorted::new(rows.iter().map(|row| row.reactions).collect()),
            comments: Sorted::new(rows.iter().map(|row| row.comments).collect()),
            ids: rows.iter().map(|row| row.id).collect(),
            levels: rows.iter().map(|row| row.level).collect(),
            kinds: rows.iter().map(|row| row.kind).collect(),
            models: rows.iter().map(|row| row.base_model).collect(),
            flags: rows.iter().map(|row| row.flags).collect(),
        }
    }

    fn tests(&self, clauses: &[Clause]) -> Result<Vec<Test<'_>>> {
        clauses.iter().map(|clause| self.test(clause, false)).collect()
    }

    fn test(&self, clause: &Clause, negated: bool) -> Result<Test<'_>> {
        let models = |matches: &dyn Fn(&str) -> bool| {
            let mut table = Box::new([false; 256]);
            for (slot, name) in table.iter_mut().zip(BASE_MODELS) {
                *slot = matches(name) != negated;
            }
            Test::Models(table)
        };
        Ok(match clause {
            Clause::Not(inner) => self.test(inner, !negated)?,
            Clause::Number(field, numbers) if field == "tagIds" => {
                let tags = numbers.iter().filter_map(|tag| self.tags.get(*tag as usize)).collect();
                Test::Tags(tags, negated)
            }
            Clause::Number(field, numbers) if field == "nsfwLevel" && !negated => {
                Test::Levels(numbers.iter().fold(0, |mask, level| mask | 1 << level))
            }
            Clause::Number(field, numbers) if field == "userId" && !negated => Test::Slots(
                numbers.first().and_then(|user| self.users.get(user)).map_or(&[], |slots| &slots[..]),
            ),
            Clause::Text(field, text) if field == "type" && !negated => {
                Test::Kind(TYPES.iter().position(|name| name == text).map_or(254, |at| at as u8))
            }
            Clause::Text(field, text) if field == "baseModel" => models(&|name| name == text),
            Clause::Prefix(field, text) if field == "baseModel" => {
                models(&|name| name.starts_with(text.as_str()))
            }
            Clause::Bool(field, set) => {
                let bit = match field.as_str() {
                    "hasMeta" => flag::HAS_META,
                    "poi" => flag::POI,
                    other => bail!("the floor has no field {other}"),
                };
                Test::Flag(bit, *set != negated)
            }
            Clause::Between(field, low, high) if field == "sortAt" && !negated => Test::Between(*low, *high),
            other => bail!("the floor does not know {other:?}"),
        })
    }

    #[inline]
    fn holds(&self, test: &Test<'_>, slot: u32) -> bool {
        let at = slot as usize;
        match test {
            Test::Levels(mask) => mask >> self.levels[at] & 1 != 0,
            Test::Kind(kind) => self.kinds[at] == *kind,
            Test::Models(table) => table[usize::from(self.models[at])],
            Test::Flag(bit, set) => (self.flags[at] & bit != 0) == *set,
            Test::Tags(tags, negated) => tags.iter().any(|tag| tag.contains(slot)) != *negated,
            Test::Slots(slots) => slots.binary_search(&slot).is_ok(),
            Test::Between(low, high) => (*low..=*high).contains(&self.sort_at.values[at]),
        }
    }

    /// Share of the slots that match, roughly.
    fn share(&self, test: &Test<'_>) -> f64 {
        let all = self.ids.len() as f64;
        let rows = match test {
            Test::Levels(mask) => {
                let counts = self.level_counts.iter().take(64).enumerate();
                counts.filter(|(level, _)| mask >> level & 1 != 0).map(|(_, count)| f64::from(*count)).sum()
            }
            Test::Kind(kind) => all * if *kind == 0 { 0.96 } else { 0.03 },
            Test::Models(table) => {
                let counts = self.model_counts.iter().zip(table.iter());
                counts.filter(|(_, holds)| **holds).map(|(count, _)| f64::from(*count)).sum()
            }
            Test::Flag(bit, set) => {
                let count = self.flag_bitmaps.get(bit).map_or(0.5 * all, |bitmap| bitmap.len() as f64);
                if *set { count } else { all - count }
            }
            Test::Tags(tags, negated) => {
                let count = tags.iter().map(|tag| tag.len() as f64).sum::<f64>().min(all);
                if *negated { all - count } else { count }
            }
            Test::Slots(slots) => slots.len() as f64,
            Test::Between(low, high) => self.sort_at.range(*low, *high).len() as f64,
        };
        rows / all.max(1.0)
    }

    /// Slots that a clause leaves, to be tested by the others: the fewest that can be listed.
    fn candidates(&self, tests: &[Test<'_>]) -> Option<(usize, Vec<u32>)> {
        let listable =
            |test: &Test<'_>| matches!(test, Test::Tags(_, false) | Test::Slots(_) | Test::Between(..));
        let shares = tests.iter().enumerate().filter(|(_, test)| listable(test));
        let (at, _) = shares.map(|(at, test)| (at, self.share(test))).min_by(|a, b| a.1.total_cmp(&b.1))?;
        // Two tags at once: their intersection is made of bitmaps.
        let other = tests.iter().enumerate().find_map(|(other, test)| match test {
            Test::Tags(tags, false) if other != at && tags.len() == 1 => Some(tags[0]),
            _ => None,
        });
        let slots = match (&tests[at], other) {
            (Test::Tags(tags, _), Some(other)) if tags.len() == 1 => (tags[0] & other).iter().collect(),
            (Test::Tags(tags, _), _) if tags.len() == 1 => tags[0].iter().collect(),
            (Test::Tags(tags, _), _) => tags.iter().copied().union().iter().collect(),
            (Test::Slots(slots), _) => slots.to_vec(),
            (Test::Between(low, high), _) => self.sort_at.order[self.sort_at.range(*low, *high)].to_vec(),
            _ => return None,
        };
        Some((at, slots))
    }

    fn page(&self, query: &Query, tests: &[Test<'_>]) -> Result<Vec<u32>> {
        let (field, descending) = query.sort.as_ref().context("pages of the workload are sorted")?;
        let sorted = match field.as_str() {
            "sortAt" => &self.sort_at,
            "reactionCount" => &self.reactions,
            "commentCount" => &self.comments,
            other => bail!("the floor has no sort field {other}"),
        };
        let wanted = query.offset + query.limit;
        let share: f64 = tests.iter().map(|test| self.share(test)).product();
        let tags = tests.iter().filter(|test| matches!(test, Test::Tags(..))).count();
        let walk = wanted as f64 / share.max(1e-12) * (4.0 + 20.0 * tags as f64);
        let listed = tests
            .iter()
            .filter(|test| matches!(test, Test::Tags(_, false) | Test::Slots(_) | Test::Between(..)));
        let fewest =
            listed.map(|test| self.share(test)).fold(f64::INFINITY, f64::min) * self.ids.len() as f64;
        let slots = if fewest * 8.0 < walk.min(self.ids.len() as f64 * 10.0) {
            let (skipped, candidates) = self.candidates(tests).context("there is a clause to list")?;
            let others: Vec<&Test<'_>> =
                tests.iter().enumerate().filter(|(at, _)| *at != skipped).map(|(_, test)| test).collect();
            let matches =
                candidates.into_iter().filter(|slot| others.iter().all(|test| self.holds(test, *slot)));
            best(matches.map(|slot| (sorted.values[slot as usize], slot)), wanted, *descending)
        } else {
            // A range of the sort field itself is a part of its permutation.
            let range = tests.iter().find_map(|test| match test {
                Test::Between(low, high) if field == "sortAt" => Some(self.sort_at.range(*low, *high)),
                _ => None,
            });
            let part = &sorted.order[range.unwrap_or(0..sorted.order.len())];
            let holds = |slot: &&u32| tests.iter().all(|test| self.holds(test, **slot));
            if *descending {
                part.iter().rev().filter(holds).take(wanted).copied().collect()
            } else {
                part.iter().filter(holds).take(wanted).copied().collect()
            }
        };
        Ok(slots.into_iter().skip(query.offset).map(|slot| self.ids[slot as usize]).collect())
    }

    /// All slots that match, for counts and facets, or none where all match.
    fn all(&self, tests: &[Test<'_>]) -> RoaringBitmap {
        let mut positive: Vec<RoaringBitmap> = Vec::new();
        let mut negative: Vec<&RoaringBitmap> = Vec::new();
        for test in tests {
            match test {
                Test::Levels(mask) => {
                    let levels = self.level_bitmaps.iter().filter(|(level, _)| mask >> **level & 1 != 0);
                    positive.push(levels.map(|(_, bitmap)| bitmap).union());
                }
                Test::Models(table) => {
                    let models = self.model_bitmaps.iter().zip(table.iter()).filter(|(_, holds)| **holds);
                    positive.push(models.map(|(bitmap, _)| bitmap).union());
                }
                Test::Flag(bit, true) => positive.push(self.flag_bitmaps[bit].clone()),
                Test::Flag(bit, false) => negative.push(&self.flag_bitmaps[bit]),
                Test::Tags(tags, false) => positive.push(tags.iter().copied().union()),
                Test::Tags(tags, true) => negative.extend(tags),
                _ => {}
            }
        }
        positive.sort_by_key(RoaringBitmap::len);
        let mut all = positive.into_iter().reduce(|all, bitmap| all & bitmap).unwrap_or_default();
        negative.into_iter().for_each(|bitmap| all -= bitmap);
        all
    }

    /// Matches of the rarest tag tested by columns, or bitmaps where no tag is rare.
    fn for_each_match(&self, tests: &[Test<'_>], mut f: impl FnMut(u32)) {
        let rarest = tests.iter().filter_map(|test| match test {
            Test::Tags(tags, false) if tags.len() == 1 => Some(tags[0]),
            _ => None,
        });
        let rarest = rarest.min_by_key(|tag| tag.len());
        match rarest.filter(|tag| tag.len() * 30 < self.ids.len() as u64) {
            Some(tag) => {
                for slot in tag {
                    if tests.iter().all(|test| self.holds(test, slot)) {
                        f(slot);
                    }
                }
            }
            None => self.all(tests).iter().for_each(f),
        }
    }
}

/// The best so many by (value, slot), best first.
fn best(entries: impl Iterator<Item = (u32, u32)>, wanted: usize, descending: bool) -> Vec<u32> {
    // Ascending order is descending order of complements.
    let turned = |(value, slot): (u32, u32)| if descending { (value, slot) } else { (!value, !slot) };
    let mut heap: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::with_capacity(wanted + 1);
    for entry in entries.map(turned) {
        if heap.len() < wanted {
            heap.push(Reverse(entry));
        } else if heap.peek().is_some_and(|worst| worst.0 < entry) {
            heap.pop();
            heap.push(Reverse(entry));
        }
    }
    let mut kept: Vec<(u32, u32)> = heap.into_iter().map(|entry| entry.0).collect();
    kept.sort_unstable_by_key(|entry| Reverse(*entry));
    kept.into_iter().map(|(_, slot)| if descending { slot } else { !slot }).collect()
}

impl QueryEngine for Floor {
    fn answer(&mut self, query: &Query) -> Result<Answer> {
        let tests = self.tests(&query.clauses)?;
        if query.count {
            let mut total = 0;
            let rare = tests.iter().any(|test| matches!(test, Test::Tags(tags, false) if tags.len() == 1 && tags[0].len() * 30 < self.ids.len() as u64));
            if rare {
                self.for_each_match(&tests, |_| total += 1);
            } else {
                total = self.all(&tests).len();
            }
            return Ok(Answer { total: Some(total), ..Answer::default() });
        }
        if query.facet {
            let mut counts = [0_u64; 256];
            if let [Test::Levels(_)] = tests[..] {
                let all = self.all(&tests);
                self.model_bitmaps
                    .iter()
                    .zip(&mut counts)
                    .for_each(|(model, count)| *count = all.intersection_len(model));
            } else {
                self.for_each_match(&tests, |slot| counts[usize::from(self.models[slot as usize])] += 1);
            }
            let named = BASE_MODELS.iter().zip(counts).filter(|(_, count)| *count > 0);
            return Ok(Answer {
                facets: named.map(|(name, count)| ((*name).to_owned(), count)).collect(),
                ..Answer::default()
            });
        }
        Ok(Answer { ids: self.page(query, &tests)?, ..Answer::default() })
    }
}
