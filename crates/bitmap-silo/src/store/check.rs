//! Checking a store: every value, and that they agree with each other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::column::{ColumnPage, Zones};
use crate::postings::PostingsPage;

use super::columns::StoredColumn;
use super::error::{StoreError, StoreResult};
use super::fields::FieldKind;
use super::handle::lock;
use super::heavy::read_heavy;
use super::keys::{BitmapId, BitmapKey, BitmapValue};
use super::reader::StoreReader;
use super::value::{PageSet, StoredValue};

/// Findings that a report holds; further ones are counted.
const MAX_FINDINGS: usize = 32;

/// What [`StoreReader::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCheck {
    /// Bitmaps, pages of bitmaps and sets of values.
    pub bitmaps: u64,
    /// Column pages.
    pub columns: u64,
    /// Postings pages.
    pub postings: u64,
    /// What is wrong; empty if nothing is. The first few differences, each naming field and place.
    pub findings: Vec<String>,
    /// How many differences there are.
    pub finding_count: u64,
}

impl StoreCheck {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.finding_count == 0
    }

    fn find(&mut self, what: impl FnOnce() -> String) {
        self.finding_count += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(what());
        }
    }

    /// Notes an error of the place where it occurred, unless it is the silo's.
    fn note<T>(&mut self, result: StoreResult<T>) -> StoreResult<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Silo(error)) => Err(StoreError::Silo(error)),
            Err(error) => {
                self.find(|| error.to_string());
                Ok(None)
            }
        }
    }
}

/// What the keys of a field's bitmaps say.
#[derive(Debug, Default)]
struct Seen {
    /// Bitmaps with slots.
    full: BTreeSet<BitmapId>,
    roots: BTreeMap<BitmapId, PageSet>,
    pages: BTreeMap<BitmapId, PageSet>,
}

impl StoreReader<'_> {
    /// Checks every bitmap (bytes, header, value set, pages), every column page (bytes, zones) and every
    /// page of postings (bytes, splits), operations that are pending included. Costs a pass over the
    /// store's keyspaces.
    ///
    /// # Errors
    /// Damage that the silo itself finds.
    pub fn check(&self) -> StoreResult<StoreCheck> {
        let mut report = StoreCheck::default();
        self.check_bitmaps(&mut report)?;
        self.check_columns(&mut report)?;
        self.check_postings(&mut report)?;
        Ok(report)
    }

    /// Whether a field of this number is there, with this kind, or is being dropped.
    fn knows(&self, field: u32, kind: FieldKind) -> bool {
        self.fields.by_id(field).is_some_and(|field| field.kind() == kind)
            || self.fields.dropping().contains(&(field, kind))
    }

    fn check_bitmaps(&self, report: &mut StoreCheck) -> StoreResult<()> {
        let found = Mutex::new((std::mem::take(report), Seen::default()));
        self.snapshot.par_for_each(&self.store.spaces.bitmaps, |key, value: Cow<'_, [u8]>| {
            let parsed = BitmapKey::parse(key);
            let valid = StoredValue::validate(&value);
            let opened = StoredValue::open(&value);
            let (report, seen) = &mut *lock(&found);
            report.bitmaps += 1;
            if let Err(error) = valid {
                report.find(|| format!("{}: {error}", describe(parsed)));
                return Ok::<(), StoreError>(());
            }
            let (Some(parsed), Ok(opened)) = (parsed, opened) else {
                report.find(|| format!("bitmap keyspace: a key of no known form, {key:?}"));
                return Ok(());
            };
            self.note_bitmap(parsed, &opened, report, seen);
            Ok(())
        })?;
        let (so_far, seen) = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        *report = so_far;
        self.compare_bitmaps(&seen, report)
    }

    fn note_bitmap(&self, key: BitmapKey, value: &StoredValue<'_>, report: &mut StoreCheck, seen: &mut Seen) {
        let (field, kind) = match key {
            BitmapKey::Bitmap(id) | BitmapKey::Page(id, _) => match id.value {
                BitmapValue::Few(_) => (id.field, FieldKind::Bitmap),
                BitmapValue::Heavy(_) => (id.field, FieldKind::Postings),
            },
            BitmapKey::Values { field } | BitmapKey::Paged { field } => (field, FieldKind::Bitmap),
        };
        if !self.knows(field, kind) {
            report.find(|| format!("{}: there is no such field", describe(Some(key))));
        }
        match (key, value) {
            (BitmapKey::Bitmap(id), StoredValue::Pages(pages)) => {
                seen.roots.insert(id, *pages);
            }
            (BitmapKey::Bitmap(id), StoredValue::Set { len: 1.., .. }) => {
                seen.full.insert(id);
            }
            (BitmapKey::Page(id, page), StoredValue::Set { len, view }) => {
                seen.pages.entry(id).or_default().insert(page);
                if *len > 0 {
                    seen.full.insert(id);
                }
                let (first, last) = super::keys::page_chunks(page);
                let outside = view.first_key().is_some_and(|key| key < first) || view.highest_key() > last;
                if *len > 0 && outside {
                    report.find(|| format!("{id}, page {page}: slots of another page"));
                }
            }
            (_, StoredValue::Set { .. }) => {}
            (_, StoredValue::Pages(_)) => {
                report.find(|| format!("{}: a list of pages in place of a set", describe(Some(key))));
            }
        }
    }

    /// Compares bitmaps with the sets of values, lists of pages, and heavy values.
    fn compare_bitmaps(&self, seen: &Seen, report: &mut StoreCheck) -> StoreResult<()> {
        let bitmaps = self.store.spaces.bitmaps(self.snapshot);
        for (id, pages) in &seen.pages {
            let listed = seen.roots.get(id).copied().unwrap_or_default();
            for page in pages.iter().filter(|page| !listed.contains(*page)) {
                report.find(|| format!("{id}, page {page}: it is not in the list of pages"));
            }
        }
        for field in self.fields.live() {
            match field.kind() {
                FieldKind::Bitmap => {
                    let values = report.note(bitmaps.values(field.id()))?;
                    let paged = report.note(bitmaps.paged(field.id()))?;
                    let (Some(values), Some(paged)) = (values, paged) else { continue };
                    let (first, last) = (BitmapId::few(field.id(), 0), BitmapId::few(field.id(), u32::MAX));
                    for id in seen.full.range(first..=last) {
                        if let BitmapValue::Few(value) = id.value
                            && !values.contains(value)
                        {
                            report.find(|| format!("{id}: it has slots and is not among the values in use"));
                        }
                    }
                    for value in paged.to_vec() {
                        if !seen.roots.contains_key(&BitmapId::few(field.id(), value)) {
                            report.find(|| {
                                format!(
                                    "field {}, value {value}: listed as paged, without a list of pages",
                                    field.id()
                                )
                            });
                        }
                    }
                    for (id, _) in seen.roots.range(first..=last) {
                        if let BitmapValue::Few(value) = id.value
                            && !paged.contains(value)
                        {
                            report.find(|| format!("{id}: it has pages and is not listed as paged"));
                        }
                    }
                }
                FieldKind::Postings => {
                    let Some(heavy) =
                        report.note(read_heavy(&self.store.spaces, self.snapshot, field.id()))?
                    else {
                        continue;
                    };
                    let (first, last) =
                        (BitmapId::heavy(field.id(), 0), BitmapId::heavy(field.id(), u64::MAX));
                    for id in seen.full.range(first..=last) {
                        if !matches!(id.value, BitmapValue::Heavy(value) if heavy.contains(&value)) {
                            report.find(|| format!("{id}: it has a bitmap and is not listed as heavy"));
                        }
                    }
                }
                FieldKind::Column => {}
            }
        }
        Ok(())
    }

    fn check_columns(&self, report: &mut StoreCheck) -> StoreResult<()> {
        let mut zones: BTreeMap<u32, Option<std::sync::Arc<Zones>>> = BTreeMap::new();
        for field in self.fields.live().iter().filter(|field| field.kind() == FieldKind::Column) {
            let column = StoredColumn::new(
                &self.store.spaces,
                self.store.cache(),
                self.store.places(),
                self.snapshot,
                field.id(),
            );
            let found = report.note(column.zones())?;
            zones.insert(field.id(), found);
        }
        self.snapshot.for_each(&self.store.spaces.columns, |key, value: Cow<'_, [u8]>| {
            report.columns += 1;
            let parsed = key.split_first_chunk::<4>().and_then(|(field, chunk)| {
                Some((u32::from_le_bytes(*field), u16::from_le_bytes(chunk.try_into().ok()?)))
            });
            let Some((field, chunk)) = parsed else {
                report.find(|| format!("column keyspace: a key of no known form, {key:?}"));
                return Ok::<(), StoreError>(());
            };
            if !self.knows(field, FieldKind::Column) {
                report.find(|| format!("field {field}, column of chunk {chunk}: there is no such field"));
            }
            let place = || format!("field {field}, column of chunk {chunk}");
            match ColumnPage::open(&value).and_then(|page| page.validate().map(|()| page)) {
                Err(error) => report.find(|| format!("{}: {error}", place())),
                Ok(page) => {
                    if let (Some(Some(zones)), Some(lowest), Some(highest)) =
                        (zones.get(&field), page.min(), page.max())
                        && zones.get(chunk).is_none_or(|zone| {
                            zone.lowest > lowest || zone.highest < highest || zone.count < page.len()
                        })
                    {
                        report.find(|| format!("{}: keys outside its zone {:?}", place(), zones.get(chunk)));
                    }
                }
            }
            Ok(())
        })
    }

    fn check_postings(&self, report: &mut StoreCheck) -> StoreResult<()> {
        let mut listed = BTreeSet::new();
        for field in self.fields.live().iter().filter(|field| field.kind() == FieldKind::Postings) {
            let Some(postings) = report.note(self.postings(field))? else { continue };
            let heavy = report.note(read_heavy(&self.store.spaces, self.snapshot, field.id()))?;
            let mut unmarked = heavy.clone().unwrap_or_default();
            if let Err(error) = postings.splits().validate() {
                report.find(|| format!("the splits of field {}: {error}", field.id()));
            }
            for (index, split) in postings.splits().iter().enumerate() {
                listed.insert((field.id(), split.page));
                let place = || format!("field {}, postings page {}", field.id(), split.page);
                let Some(page) = report.note(postings.page(split.page))? else { continue };
                for posting in page.view().range(0..=u64::MAX) {
                    let mut slots = posting.slots.clone();
                    let ends = [posting.promoted.map(|_| 0), slots.next(), slots.next_back()];
                    for slot in ends.into_iter().flatten() {
                        if postings.splits().page_of(posting.value, slot) != Some(index) {
                            report.find(|| {
                                format!("{}: the pair ({}, {slot}) is another page's", place(), posting.value)
                            });
                        }
                    }
                    if posting.promoted.is_some() && !unmarked.remove(&posting.value) {
                        report.find(|| {
                            format!("{}: value {} is marked and not listed as heavy", place(), posting.value)
                        });
                    }
                }
            }
            for value in unmarked {
                report
                    .find(|| format!("field {}: heavy value {value} has no marker in its page", field.id()));
            }
        }
        self.snapshot.for_each(&self.store.spaces.postings, |key, value: Cow<'_, [u8]>| {
            report.postings += 1;
            let parsed = key.split_first_chunk::<4>().and_then(|(field, page)| {
                Some((u32::from_le_bytes(*field), u32::from_le_bytes(page.try_into().ok()?)))
            });
            let Some((field, page)) = parsed else {
                report.find(|| format!("postings keyspace: a key of no known form, {key:?}"));
                return Ok::<(), StoreError>(());
            };
            if !listed.contains(&(field, page))
                && !self.fields.dropping().contains(&(field, FieldKind::Postings))
            {
                report.find(|| format!("field {field}, postings page {page}: it is not in the splits"));
            }
            if let Err(error) = PostingsPage::open(&value).and_then(|page| page.validate()) {
                report.find(|| format!("field {field}, postings page {page}: {error}"));
            }
            Ok(())
        })
    }
}

fn describe(key: Option<BitmapKey>) -> String {
    match key {
        Some(BitmapKey::Bitmap(id)) => id.to_string(),
        Some(BitmapKey::Page(id, page)) => format!("{id}, page {page}"),
        Some(BitmapKey::Values { field }) => format!("the values of field {field}"),
        Some(BitmapKey::Paged { field }) => format!("the paged values of field {field}"),
        None => "a key of no known form in the bitmap keyspace".to_owned(),
    }
}
