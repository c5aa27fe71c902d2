//! A filter of the floor: tables of bytes to take, and lists of slots.

use anyhow::{Result, bail};
use roaring::{MultiOps, RoaringBitmap};

use super::super::filter::Clause;
use super::data::{Data, HAS_META, LEVELS, POI, Slots};
use crate::workload::{BASE_MODELS, TYPES};

/// Slots that are in any of these, or in none of them.
pub(super) struct AnyOf<'a> {
    pub(super) sets: Vec<&'a Slots>,
    pub(super) negated: bool,
}

impl AnyOf<'_> {
    #[inline]
    fn holds(&self, slot: u32) -> bool {
        self.sets.iter().any(|set| set.contains(slot)) != self.negated
    }

    /// Slots of all sets together, at most.
    pub(super) fn len(&self) -> u64 {
        self.sets.iter().map(|set| set.len()).sum()
    }

    fn is_dense(&self) -> bool {
        self.sets.iter().all(|set| set.words.is_some())
    }
}

/// The clauses of a query, those of small fields as tables of bytes.
pub(super) struct Filter<'a> {
    data: &'a Data,
    pub(super) packed: Box<[bool; 256]>,
    pub(super) models: Box<[bool; 256]>,
    /// Whether the table of models leaves anything out.
    pub(super) by_model: bool,
    pub(super) tags: Vec<AnyOf<'a>>,
    pub(super) user: Option<&'a [u32]>,
    pub(super) times: Option<(u32, u32)>,
    /// The clauses of small fields once more, as sets; types have none.
    small: Vec<AnyOf<'a>>,
    by_type: bool,
}

/// The cheapest list of slots that a clause leaves.
pub(super) enum Listed {
    Tag(usize),
    User,
    Times,
}

impl<'a> Filter<'a> {
    pub(super) fn new(data: &'a Data, clauses: &[Clause]) -> Result<Self> {
        let mut this = Self {
            data,
            packed: Box::new([true; 256]),
            models: Box::new([true; 256]),
            by_model: false,
            tags: Vec::new(),
            user: None,
            times: None,
            small: Vec::new(),
            by_type: false,
        };
        clauses.iter().try_for_each(|clause| this.add(clause, false))?;
        Ok(this)
    }

    fn take_packed(&mut self, holds: impl Fn(u8) -> bool) {
        (0..).zip(self.packed.iter_mut()).for_each(|(byte, taken)| *taken &= holds(byte));
    }

    fn take_models(&mut self, negated: bool, matches: impl Fn(&str) -> bool) {
        self.by_model = true;
        let data = self.data;
        let mut matching = Vec::new();
        for (model, taken) in self.models.iter_mut().enumerate() {
            // Null is 255 and never matches.
            let name = BASE_MODELS.get(model);
            if name.is_some_and(|name| matches(name)) {
                matching.push(&data.by_model[model]);
            }
            *taken &= name.is_some_and(|name| matches(name) != negated);
        }
        self.small.push(AnyOf { sets: matching, negated });
        if negated {
            self.small.push(AnyOf { sets: vec![&data.has_model], negated: false });
        }
    }

    fn add(&mut self, clause: &Clause, negated: bool) -> Result<()> {
        let data = self.data;
        match clause {
            Clause::Not(inner) => self.add(inner, !negated)?,
            Clause::Number(field, numbers) if field == "tagIds" => {
                let sets = numbers.iter().filter_map(|tag| data.tags.get(*tag as usize)).collect();
                self.tags.push(AnyOf { sets, negated });
            }
            Clause::Number(field, numbers) if field == "nsfwLevel" && !negated => {
                let wanted = |place: usize| numbers.contains(&u32::from(LEVELS[place]));
                self.take_packed(|byte| {
                    usize::from(byte & 7) < LEVELS.len() && wanted(usize::from(byte & 7))
                });
                let sets = (0..LEVELS.len()).filter(|place| wanted(*place)).map(|place| &data.levels[place]);
                self.small.push(AnyOf { sets: sets.collect(), negated });
            }
            Clause::Number(field, numbers) if field == "userId" && !negated => {
                let slots = numbers.first().and_then(|user| data.users.get(user));
                self.user = Some(slots.map_or(&[], |slots| &slots[..]));
            }
            Clause::Text(field, text) if field == "type" && !negated => {
                let kind = TYPES.iter().position(|name| name == text);
                self.take_packed(|byte| kind == Some(usize::from(byte >> 3 & 3)));
                self.by_type = true;
            }
            Clause::Text(field, text) if field == "baseModel" => {
                self.take_models(negated, |name| name == text);
            }
            Clause::Prefix(field, text) if field == "baseModel" => {
                self.take_models(negated, |name| name.starts_with(text.as_str()));
            }
            Clause::Bool(field, set) => {
                let (bit, slots) = match field.as_str() {
                    "hasMeta" => (HAS_META, &data.has_meta),
                    "poi" => (POI, &data.poi),
                    other => bail!("the floor has no field {other}"),
                };
                let wanted = *set != negated;
                self.take_packed(|byte| (byte & bit != 0) == wanted);
                self.small.push(AnyOf { sets: vec![slots], negated: !wanted });
            }
            Clause::Between(field, low, high) if field == "sortAt" && !negated => {
                self.times = Some((*low, *high));
            }
            other => bail!("the floor does not know {other:?}"),
        }
        Ok(())
    }

    /// Whether a slot matches, but for one clause of tags.
    #[inline]
    pub(super) fn holds(&self, slot: u32, but: Option<usize>) -> bool {
        let at = slot as usize;
        self.packed[usize::from(self.data.packed[at])]
            && (!self.by_model || self.models[usize::from(self.data.models[at])])
            && self.holds_rest(slot, but)
    }

    /// The same, the tables of bytes left out.
    #[inline]
    pub(super) fn holds_rest(&self, slot: u32, but: Option<usize>) -> bool {
        self.times.is_none_or(|(low, high)| (low..=high).contains(&self.data.sort_at.values[slot as usize]))
            && self.tags.iter().enumerate().all(|(at, tags)| Some(at) == but || tags.holds(slot))
            && self.user.is_none_or(|user| user.binary_search(&slot).is_ok())
    }

    /// Share of the rows that match, as if clauses were independent.
    pub(super) fn share(&self) -> f64 {
        let all = self.data.ids.len().max(1) as f64;
        let taken = |table: &[bool; 256], counts: &[u32]| {
            let counts = counts.iter().zip(table).filter(|(_, taken)| **taken);
            counts.map(|(count, _)| f64::from(*count)).sum::<f64>() / all
        };
        let tags = self.tags.iter().map(|tags| {
            let share = (tags.len() as f64 / all).min(1.0);
            if tags.negated { 1.0 - share } else { share }
        });
        taken(&self.packed, &self.data.packed_counts)
            * taken(&self.models, &self.data.model_counts)
            * tags.product::<f64>()
            * self.user.map_or(1.0, |user| user.len() as f64 / all)
            * self.times.map_or(1.0, |(low, high)| self.data.sort_at.range(low, high).len() as f64 / all)
    }

    /// Nanoseconds of testing clauses of tags on a slot.
    pub(super) fn tags_cost(&self) -> f64 {
        self.tags.iter().map(|tags| if tags.is_dense() { 2.0 } else { 20.0 } * tags.sets.len() as f64).sum()
    }

    /// The clause that leaves the fewest slots of those that can list them, and how many.
    pub(super) fn listed(&self) -> Option<(Listed, u64)> {
        let tags = self.tags.iter().enumerate().filter(|(_, tags)| !tags.negated);
        let tags = tags.map(|(at, tags)| (Listed::Tag(at), tags.len()));
        let user = self.user.map(|user| (Listed::User, user.len() as u64));
        let times =
            self.times.map(|(low, high)| (Listed::Times, self.data.sort_at.range(low, high).len() as u64));
        tags.chain(user).chain(times).min_by_key(|(_, count)| *count)
    }

    /// Calls `f` with every slot that matches, out of a list.
    pub(super) fn for_each_of(&self, listed: &Listed, mut f: impl FnMut(u32)) {
        match listed {
            Listed::Tag(at) => {
                let mut each = |slot| {
                    if self.holds(slot, Some(*at)) {
                        f(slot);
                    }
                };
                match (&self.tags[*at].sets[..], self.other_rare(*at)) {
                    ([one], Some(other)) => (&one.bitmap & other).iter().for_each(each),
                    ([one], None) => one.bitmap.iter().for_each(each),
                    (several, _) => {
                        several.iter().map(|set| &set.bitmap).union().iter().for_each(&mut each);
                    }
                }
            }
            Listed::User => {
                let slots = self.user.unwrap_or_default().iter().copied();
                slots.filter(|slot| self.holds(*slot, None)).for_each(f);
            }
            Listed::Times => {
                let (low, high) = self.times.unwrap_or_default();
                let sorted = &self.data.sort_at;
                for at in sorted.range(low, high) {
                    if self.packed[usize::from(sorted.packed[at])] && self.holds(sorted.order[at], None) {
                        f(sorted.order[at]);
                    }
                }
            }
        }
    }

    /// Another single tag without words: intersecting bitmaps is quicker than probing it.
    fn other_rare(&self, but: usize) -> Option<&'a RoaringBitmap> {
        self.tags.iter().enumerate().find_map(|(at, tags)| match tags.sets[..] {
            [one] if at != but && !tags.negated && one.words.is_none() => Some(&one.bitmap),
            _ => None,
        })
    }

    /// The matches as words, a block of them at a time; none where a clause has no words.
    pub(super) fn for_each_block(&self, mut f: impl FnMut(usize, &[u64])) -> bool {
        const BLOCK: usize = 1 << 10;
        let clauses: Vec<&AnyOf<'_>> = self.small.iter().chain(&self.tags).collect();
        if self.user.is_some() || self.times.is_some() || self.by_type || clauses.is_empty() {
            return false;
        }
        let Some(clauses) = clauses.into_iter().map(words_of).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let len = self.data.ids.len().div_ceil(64);
        let (mut block, mut any) = ([0_u64; BLOCK], [0_u64; BLOCK]);
        for start in (0..len).step_by(BLOCK) {
            let count = BLOCK.min(len - start);
            let (block, any) = (&mut block[..count], &mut any[..count]);
            block.fill(u64::MAX);
            for (sets, negated) in &clauses {
                match sets[..] {
                    [one] if *negated => and(block, &one[start..start + count], |word| !word),
                    [one] => and(block, &one[start..start + count], |word| word),
                    _ => {
                        any.fill(0);
                        for set in sets {
                            any.iter_mut().zip(&set[start..]).for_each(|(any, word)| *any |= word);
                        }
                        and(block, any, |word| if *negated { !word } else { word });
                    }
                }
            }
            // Negations have bits beyond the last slot.
            let beyond = (start + count) * 64;
            if beyond > self.data.ids.len()
                && let Some(last) = block.last_mut()
            {
                *last &= u64::MAX >> (beyond - self.data.ids.len());
            }
            f(start, block);
        }
        true
    }
}

/// Words of sets, and whether they are negated.
type Words<'a> = (Vec<&'a [u64]>, bool);

fn words_of<'a>(clause: &AnyOf<'a>) -> Option<Words<'a>> {
    let words: Option<Vec<&[u64]>> = clause.sets.iter().map(|set| set.words.as_deref()).collect();
    Some((words?, clause.negated))
}

fn and(block: &mut [u64], other: &[u64], turned: impl Fn(u64) -> u64) {
    block.iter_mut().zip(other).for_each(|(word, other)| *word &= turned(*other));
}
