//! Publishing a load into a silo without records: every index is built from its column.

use std::sync::{Mutex, PoisonError};

use bitmap_silo::BitmapView;
use bitmap_silo::postings::PagesBuilder;
use bitmap_silo::store::{Field as StoreField, HEAVY_FROM, PAGE_PAIRS, StoreBulk, StoreBulkWriter};
use datasilo::IntKey;
use rayon::prelude::*;

use super::bitmaps::{BitmapOf, build_bitmaps};
use super::columns::{build_column, sorted_pairs};
use super::documents::DocumentReader;
use super::order::{ByRank, Order};
use super::pairs::SortMemory;
use super::spool::{ColumnReader, Spool};
use super::{LoadReport, Loader};
use crate::engine::layout::{FieldIndexes, SLOTS_KEY, State};
use crate::engine::{Engine, View, label_of_rank};
use crate::entries::{Term, text_hash};
use crate::error::{Error, Result};
use crate::schema::Field;
use crate::terms::{AssignCodes, NewTerms, code_of_key, code_of_term};
use crate::value::Id;

/// Writers of the load that no thread uses at the moment.
pub(super) struct Writers<'b> {
    bulk: &'b StoreBulk<'b>,
    idle: Mutex<Vec<StoreBulkWriter<'b>>>,
}

impl<'b> Writers<'b> {
    pub(super) fn new(bulk: &'b StoreBulk<'b>) -> Self {
        Self { bulk, idle: Mutex::default() }
    }

    /// Calls `f` with a writer.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut StoreBulkWriter<'b>) -> Result<T>) -> Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut writer = taken.unwrap_or_else(|| self.bulk.writer());
        let result = f(&mut writer);
        idle().push(writer);
        result
    }

    /// Closes all writers.
    pub(super) fn close(self) -> Result<()> {
        let idle = self.idle.into_inner().unwrap_or_else(PoisonError::into_inner);
        idle.into_iter().try_for_each(|writer| Ok(writer.close()?))
    }
}

/// A field's column, ready to be indexed.
struct FieldColumn<'a> {
    field: &'a Field,
    indexes: &'a FieldIndexes,
    column: ColumnReader,
    /// Codes of the texts of a filter field, by their number in the load.
    codes: Vec<u32>,
}

/// What the parts of a load share.
struct Publication<'a, 'b> {
    engine: &'a Engine,
    view: &'a View<'a>,
    writers: &'a Writers<'b>,
    spool: &'a Spool,
    order: &'a Order,
    terms: &'a Mutex<NewTerms>,
    /// Memory to sort in that no thread uses at the moment.
    idle: Mutex<Vec<SortMemory>>,
}

pub(super) fn publish(load: Loader<'_>) -> Result<LoadReport> {
    let Loader { engine, spool, documents, ids, fields, .. } = load;
    let silo = engine.silo()?;
    let mut state = engine.lock_writer();
    let view = engine.view()?;
    if view.slot_count() != 0 {
        return Err(Error::Load(
            "records were written while the load ran: load again, to add to them".into(),
        ));
    }
    let documents = documents.into_reader();
    let ids = ids.into_reader();
    let rows = documents.rows();
    let text_ids = engine.schema().id.is_string();
    let order = if text_ids { order_of_texts(engine, &documents, &spool)? } else { Order::of(&ids, &spool)? };
    let records = order.records();

    let mut terms = NewTerms::default();
    let mut columns = Vec::new();
    for ((field, indexes), spooled) in engine.schema().fields.iter().zip(&engine.layout.fields).zip(fields) {
        if field.index.is_none() {
            continue;
        }
        // In the order of the texts, so that equal loads make equal codes.
        let texts = spooled.terms.into_sorted();
        let mut codes = vec![0; texts.len()];
        for (text, number) in texts {
            let term = Term::Text(text.into_string().into());
            let of = (field.number(), field.kind);
            if let Some(place) = codes.get_mut(number as usize) {
                *place = terms.assign(&engine.terms, view.snapshot(), of, code_of_term(field.kind, &term))?;
            }
        }
        columns.push(FieldColumn { field, indexes, column: spooled.column.into_reader(), codes });
    }

    let spaces = &engine.spaces;
    let bulk = engine.store.bulk(silo, &[&spaces.engine, &spaces.documents, &spaces.terms])?;
    let writers = Writers::new(&bulk);
    let terms = Mutex::new(terms);
    let publication = Publication {
        engine,
        view: &view,
        writers: &writers,
        spool: &spool,
        order: &order,
        terms: &terms,
        idle: Mutex::default(),
    };
    let (written, indexed) = rayon::join(
        || publication.write_documents(&documents, text_ids),
        || {
            publication.index_ids(&ids, &documents)?;
            columns.par_iter().try_for_each(|column| publication.index_field(column))
        },
    );
    written?;
    indexed?;
    let terms = terms.into_inner().unwrap_or_else(PoisonError::into_inner);
    writers.with(|writer| {
        writer.documents().put(&spaces.engine, SLOTS_KEY, u64::from(records).to_le_bytes())?;
        terms.mutations(|key, value| Ok(writer.documents().put(&spaces.terms, key, value)?))
    })?;
    writers.close()?;
    bulk.finish()?;
    state.forget_free();
    Ok(LoadReport {
        rows: rows as u64,
        created: u64::from(records),
        repeated: rows as u64 - u64::from(records),
        ..LoadReport::default()
    })
}

/// The order of rows by text ids, which are read from the documents.
pub(super) fn order_of_texts(engine: &Engine, documents: &DocumentReader, spool: &Spool) -> Result<Order> {
    let mut texts = String::new();
    let mut ends = Vec::with_capacity(documents.rows());
    documents.for_each(spool, 0..documents.rows(), |_, bytes| {
        if let Id::Text(id) = engine.documents().decode_id(bytes)? {
            texts.push_str(&id);
        }
        ends.push(texts.len());
        Ok::<(), Error>(())
    })?;
    let text = |row: u32| {
        let row = row as usize;
        let start = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        texts.get(start..ends.get(row).copied().unwrap_or(start)).unwrap_or_default()
    };
    Order::by(documents.rows(), |a, b| text(a).cmp(text(b)))
}

impl Publication<'_, '_> {
    fn records(&self) -> u32 {
        self.order.records()
    }

    /// Writes the documents, which stay in the spool if they are read once more: `keep`.
    fn write_documents(&self, documents: &DocumentReader, keep: bool) -> Result<()> {
        let keyspace = &self.engine.spaces.documents;
        (0..documents.blocks()).into_par_iter().try_for_each(|at| {
            self.writers.with(|writer| {
                documents.for_each_in_block(self.spool, at, keep, |row, bytes| {
                    if let Some(slot) = self.order.rank(row) {
                        writer.documents().put(keyspace, IntKey::from(slot), bytes)?;
                    }
                    Ok(())
                })
            })
        })
    }

    /// The bitmap of slots with a record, the column of ids, and from ids to slots.
    fn index_ids(&self, ids: &ColumnReader, documents: &DocumentReader) -> Result<()> {
        let layout = &self.engine.layout;
        let Some(last) = self.records().checked_sub(1) else { return Ok(()) };
        self.writers.with(|writer| {
            Ok(writer.put_bitmap(&layout.state, State::Alive.code(), BitmapView::range(0, last))?)
        })?;
        if !self.engine.schema().id.is_string() {
            let by_rank = ByRank::new(ids, self.spool, self.order)?;
            self.index_column(&by_rank, &layout.id)?;
            self.index_postings(&by_rank, &layout.slots)?;
            ids.release(self.spool);
            return Ok(());
        }
        // Labels in the order of the texts; hashes from the documents.
        let count = u64::from(self.records());
        let labels = ByRank::computed(self.records(), |rank| label_of_rank(u64::from(rank), count));
        self.index_column(&labels, &layout.id)?;
        drop(labels);
        let mut hashes = vec![0; self.records() as usize];
        documents.for_each(self.spool, 0..documents.rows(), |row, bytes| {
            let place = self.order.rank(row).and_then(|rank| hashes.get_mut(rank as usize));
            if let (Some(place), Id::Text(id)) = (place, self.engine.documents().decode_id(bytes)?) {
                *place = text_hash(&id);
            }
            Ok::<(), Error>(())
        })?;
        let hashes = ByRank::computed(self.records(), |rank| hashes.get(rank as usize).copied().unwrap_or(0));
        self.index_postings(&hashes, &layout.slots)
    }

    fn index_field(&self, of: &FieldColumn<'_>) -> Result<()> {
        let column = ByRank::new(&of.column, self.spool, self.order)?;
        let number = of.field.number();
        let state = &self.engine.layout.state;
        build_bitmaps(
            &column,
            self.records(),
            0,
            of.indexes.filter.is_some(),
            self.spool,
            &|bitmap, stored| {
                let view = BitmapView::open(stored).map_err(|why| Error::Load(why.to_string()))?;
                let (field, value) = match (bitmap, &of.indexes.filter) {
                    (BitmapOf::Null, _) => (state, State::Null(number).code()),
                    (BitmapOf::Empty, _) => (state, State::Empty(number).code()),
                    (BitmapOf::Number(number), Some(filter)) => (filter, self.code(of, number)?),
                    (BitmapOf::Number(_), None) => return Ok(()),
                };
                self.writers.with(|writer| Ok(writer.put_bitmap(field, value, view)?))
            },
        )?;
        if let Some(sort) = &of.indexes.sort {
            self.index_column(&column, sort)?;
        }
        if let Some(high) = &of.indexes.high {
            self.index_postings(&column, high)?;
        }
        of.column.release(self.spool);
        Ok(())
    }

    /// The code of a number of a column.
    fn code(&self, of: &FieldColumn<'_>, number: u64) -> Result<u32> {
        if let Some(code) = usize::try_from(number).ok().and_then(|number| of.codes.get(number)) {
            return Ok(*code);
        }
        let coded = code_of_key(of.field.kind, number);
        let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        terms.assign(&self.engine.terms, self.view.snapshot(), (of.field.number(), of.field.kind), coded)
    }

    fn index_column(&self, column: &ByRank<'_>, index: &StoreField) -> Result<()> {
        build_column(column, self.records(), 0, &|chunk, page| {
            self.writers.with(|writer| Ok(writer.put_column_page(index, chunk, page)?))
        })
    }

    /// Pages of a column's pairs; numbers with very many slots get bitmaps of their own.
    fn index_postings(&self, column: &ByRank<'_>, index: &StoreField) -> Result<()> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut memory = taken.unwrap_or_default();
        self.writers.with(|writer| {
            let mut heavy: Vec<(u64, Vec<u32>)> = Vec::new();
            let mut pages = PagesBuilder::new(PAGE_PAIRS, |first, bytes: &[u8]| -> Result<()> {
                Ok(writer.put_postings_page(index, first, bytes)?)
            });
            let mut value = 0;
            let mut slots: Vec<u32> = Vec::new();
            let mut end_value = |value: u64, slots: &mut Vec<u32>| -> Result<()> {
                if slots.len() >= HEAVY_FROM {
                    pages.push_promoted(value, u32::try_from(slots.len()).unwrap_or(u32::MAX))?;
                    heavy.push((value, std::mem::take(slots)));
                } else {
                    slots.iter().try_for_each(|slot| pages.push(value, *slot))?;
                    slots.clear();
                }
                Ok(())
            };
            sorted_pairs(column, self.records(), 0, self.spool, &mut memory, |number, slot| {
                if number != value {
                    end_value(value, &mut slots)?;
                    value = number;
                }
                slots.push(slot);
                Ok(())
            })?;
            end_value(value, &mut slots)?;
            pages.finish()?;
            for (value, slots) in heavy {
                let bitmap: bitmap_silo::BitmapBuf = slots.into_iter().collect();
                writer.put_heavy(index, value, &bitmap)?;
            }
            Ok(())
        })?;
        idle().push(memory);
        Ok(())
    }
}
