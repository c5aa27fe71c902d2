//! Reading a store at a snapshot.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use datasilo::Snapshot;

use super::columns::StoredColumn;
use super::error::StoreResult;
use super::fields::{Field, FieldKind, FieldList};
use super::handle::Store;
use super::keys::BitmapId;
use super::lists::StoredPostings;
use super::stored::{Bitmaps, StoredBitmap};
use crate::eval::Query;
use crate::view::BitmapView;

/// A store as of one snapshot. Reads take no lock, and what they return borrows from the snapshot.
#[derive(Clone, Debug)]
pub struct StoreReader<'s> {
    pub(crate) store: &'s Store,
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) fields: Arc<FieldList>,
}

impl<'s> StoreReader<'s> {
    pub(crate) fn new(store: &'s Store, snapshot: &'s Snapshot, fields: Arc<FieldList>) -> Self {
        Self { store, snapshot, fields }
    }

    fn stored_bitmaps(&self) -> Bitmaps<'s> {
        self.store.spaces.bitmaps(self.snapshot)
    }

    /// The fields, by number.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        self.fields.live()
    }

    /// A field.
    ///
    /// # Errors
    /// [`StoreError::UnknownField`](super::StoreError::UnknownField).
    pub fn field(&self, name: &str) -> StoreResult<Field> {
        self.fields.get(name).cloned()
    }

    /// The slots of a value: `field = value`. A value that is not in use has none.
    ///
    /// # Errors
    /// [`StoreError::NoSuchField`](super::StoreError::NoSuchField),
    /// [`StoreError::FieldKind`](super::StoreError::FieldKind), and damage in the silo.
    pub fn bitmap(&self, field: &Field, value: u32) -> StoreResult<StoredBitmap<'s>> {
        self.fields.check(field, FieldKind::Bitmap)?;
        self.stored_bitmaps().bitmap(BitmapId::few(field.id(), value))
    }

    /// The bitmaps of several values, for `field in values`: their union is an
    /// [`Expr::or`](crate::Expr::or).
    ///
    /// # Errors
    /// As of [`StoreReader::bitmap`].
    pub fn bitmaps(&self, field: &Field, values: &[u32]) -> StoreResult<Vec<StoredBitmap<'s>>> {
        values.iter().map(|value| self.bitmap(field, *value)).collect()
    }

    /// The bitmaps of the values in use within a range, in value order.
    ///
    /// # Errors
    /// As of [`StoreReader::bitmap`].
    pub fn bitmaps_in(
        &self,
        field: &Field,
        range: RangeInclusive<u32>,
    ) -> StoreResult<Vec<StoredBitmap<'s>>> {
        let in_range = BitmapView::range(*range.start(), *range.end());
        let values = self.values(field)?;
        let query = Query::new(crate::Expr::and([values.view().into(), in_range.into()]), 1 << 32);
        let mut bitmaps = Vec::new();
        let walked = query.for_each_chunk(|key, container| {
            let mut result = Ok(());
            container.for_each(|low| {
                if result.is_ok() {
                    let value = u32::from(key) << 16 | u32::from(low);
                    result = self.bitmap(field, value).map(|bitmap| bitmaps.push(bitmap));
                }
            });
            result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
        });
        match walked {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(bitmaps),
        }
    }

    /// The values in use, as a set: those that have a slot, and some that had one until a short while
    /// ago ([`Store::maintain`](super::Store::maintain) removes them).
    ///
    /// # Errors
    /// As of [`StoreReader::bitmap`].
    pub fn values(&self, field: &Field) -> StoreResult<StoredBitmap<'s>> {
        self.fields.check(field, FieldKind::Bitmap)?;
        self.stored_bitmaps().values(field.id())
    }

    /// Number of slots of a value as of the last fold: one look-up, no more than a header read.
    ///
    /// # Errors
    /// As of [`StoreReader::bitmap`].
    pub fn folded_len(&self, field: &Field, value: u32) -> StoreResult<u64> {
        self.fields.check(field, FieldKind::Bitmap)?;
        self.stored_bitmaps().folded_len(BitmapId::few(field.id(), value))
    }

    /// The values in use with their numbers of slots as of the last fold, in value order.
    ///
    /// # Errors
    /// As of [`StoreReader::bitmap`].
    pub fn value_counts(&self, field: &Field) -> StoreResult<Vec<(u32, u64)>> {
        let values = self.values(field)?.to_vec();
        let bitmaps = self.stored_bitmaps();
        values
            .into_iter()
            .map(|value| Ok((value, bitmaps.folded_len(BitmapId::few(field.id(), value))?)))
            .collect()
    }

    /// The numbers of a column field.
    ///
    /// # Errors
    /// [`StoreError::NoSuchField`](super::StoreError::NoSuchField),
    /// [`StoreError::FieldKind`](super::StoreError::FieldKind).
    pub fn column(&self, field: &Field) -> StoreResult<StoredColumn<'s>> {
        self.fields.check(field, FieldKind::Column)?;
        Ok(StoredColumn::new(
            &self.store.spaces,
            self.store.cache(),
            self.store.places(),
            self.snapshot,
            field.id(),
        ))
    }

    /// The pairs of a postings field.
    ///
    /// # Errors
    /// As of [`StoreReader::column`], and damage in the silo.
    pub fn postings(&self, field: &Field) -> StoreResult<StoredPostings<'s>> {
        self.fields.check(field, FieldKind::Postings)?;
        StoredPostings::open(&self.store.spaces, self.store.cache(), self.snapshot, field.id())
    }
}
