//! From a query to its answer.

use std::time::Instant;

use bitmap_silo::Query as BitmapQuery;
use bitmap_silo::column::Direction;
use bitmap_silo::topk::{self, Hit, Nulls, TopK};

use super::cursor::Cursor;
use super::plan::Plan;
use super::request::{Answer, Query};
use crate::document::FieldSet;
use crate::engine::{Column, Engine, View};
use crate::error::{Error, Result};
use crate::filter::Predicate;
use crate::value::{Id, integer_key};

/// Most records of a page.
const MAX_LIMIT: usize = 1_000_000;

impl Engine {
    /// Answers a query at the present moment.
    ///
    /// ```
    /// # use silo_engine::*;
    /// # let dir = tempfile::tempdir()?;
    /// # let level = Field::new("level", FieldType::Unsigned(8)).index(IndexKinds::none().filter());
    /// # let schema = Schema::new(IdField::new("id", FieldType::Signed(64)), vec![level])?;
    /// # let engine = Engine::create(dir.path().join("x"), schema)?;
    /// for id in 0..100 {
    ///     engine.put(Record::new(id).with("level", id % 3), Durability::Process)?;
    /// }
    /// let answer = engine.query(&Query::new(Filter::parse("level = 1")?).limit(2))?;
    /// assert_eq!((answer.total, answer.ids), (33, vec![97.into(), 94.into()]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Filter`] and [`Error::Query`] for what cannot be asked, and damage.
    pub fn query(&self, query: &Query) -> Result<Answer> {
        self.view()?.query(query)
    }
}

impl View<'_> {
    /// Answers a query at the view's moment.
    ///
    /// # Errors
    /// As of [`Engine::query`].
    pub fn query(&self, query: &Query) -> Result<Answer> {
        let started = Instant::now();
        let schema = self.engine.schema();
        let fields = FieldSet::named(schema, &query.fields)?;
        let predicate = query.filter.bind(schema)?;
        let plan = Plan::of(self, &predicate)?;
        let filter = BitmapQuery::new(plan.expr(), self.slot_count());
        let exact = query.exact_total || query.count_only;
        let total = if exact { plan.count(self.slot_count()) } else { plan.estimate() };
        let everything = predicate == Predicate::All;

        let mut answer = Answer {
            total,
            ids: Vec::new(),
            cursor: None,
            documents: Vec::new(),
            fields,
            facets: Vec::new(),
            stats: Vec::new(),
            explain: query.explain.then(|| plan.explain(self.slot_count())),
            elapsed: started.elapsed(),
        };
        self.page(query, &filter, total, &mut answer)?;
        self.facets(query, (!everything).then_some(&filter), total, &mut answer)?;
        for name in &query.stats {
            let stats = self.field_stats(name, (!everything).then_some(&filter))?;
            answer.stats.push((name.clone(), stats));
        }
        answer.elapsed = started.elapsed();
        Ok(answer)
    }

    /// Fills in ids, documents and cursor.
    fn page(&self, query: &Query, filter: &BitmapQuery<'_>, total: u64, answer: &mut Answer) -> Result<()> {
        let schema = self.engine.schema();
        if query.limit > MAX_LIMIT {
            return Err(Error::Query(format!("limit {} is above {MAX_LIMIT}: page by cursor", query.limit)));
        }
        if query.cursor.is_some() && query.offset > 0 {
            return Err(Error::Query("a cursor and an offset exclude each other: leave out one".to_owned()));
        }
        let direction = query.sort.as_ref().map_or(Direction::Descending, |(_, direction)| *direction);
        let sort = self.sort_column(query)?;
        let ids = self.ids()?;
        let cursor = query.cursor.as_ref().map(|text| Cursor::decode(schema, query, text)).transpose()?;
        if query.count_only || query.limit == 0 || total == 0 {
            return Ok(());
        }
        let after = cursor.map(|cursor| self.place(&cursor, sort.is_some(), direction, &ids)).transpose()?;
        let mut order = match &sort {
            Some(sort) => TopK::new(sort).ties(&ids).nulls(Nulls::Last),
            None => TopK::new(&ids),
        };
        order = order.direction(direction).after(after).filter(filter);
        // One more tells whether anything follows.
        let mut hits = order.page(query.offset, query.limit + 1)?;
        let more = hits.len() > query.limit;
        hits.truncate(query.limit);
        let slots: Vec<u32> = hits.iter().map(|hit| hit.slot).collect();
        answer.ids = if sort.is_none() && !schema.id.is_string() {
            ids_of_keys(schema, &hits)
        } else {
            self.ids_of(&ids, &slots)?
        };
        if let (true, Some(hit), Some(id)) = (more, hits.last(), answer.ids.last()) {
            let key = if sort.is_some() { hit.key } else { None };
            answer.cursor = Some(Cursor { key, id: id.clone() }.encode(schema, query));
        }
        if !query.fields.is_empty() {
            answer.documents = self.documents(&slots, &answer.fields)?;
        }
        Ok(())
    }

    /// The column of the sort field; none for the order by id.
    fn sort_column(&self, query: &Query) -> Result<Option<Column<'_>>> {
        let schema = self.engine.schema();
        let Some((name, _)) = &query.sort else { return Ok(None) };
        if *name == schema.id.name {
            return Ok(None);
        }
        let Some(at) = schema.position(name) else { return Err(Error::Query(schema.unknown_field(name))) };
        if let Some(index) = &self.indexes(at)?.sort {
            return self.column(index).map(Some);
        }
        let sortable = schema.fields.iter().filter(|field| field.index.sort);
        let names: Vec<&str> = sortable.map(|field| field.name.as_str()).collect();
        Err(Error::Query(format!(
            "{name:?} has no index of kind \"sort\"; these have: {}",
            [&[schema.id.name.as_str()], names.as_slice()].concat().join(", ")
        )))
    }

    /// Where a page ended, in terms of columns. The record with the id itself never follows, whatever
    /// its slot is by now.
    fn place(
        &self,
        cursor: &Cursor,
        sorted: bool,
        direction: Direction,
        ids: &Column<'_>,
    ) -> Result<topk::Cursor> {
        let slot = match direction {
            Direction::Ascending => u32::MAX,
            Direction::Descending => 0,
        };
        let id = match &cursor.id {
            Id::Int(x) => integer_key(self.engine.schema().id.kind, *x),
            Id::Text(text) => match direction {
                // Labels from the first above the id on are still to come.
                Direction::Ascending => match self.first_label(ids, |other| other > text.as_str())? {
                    Some(label) => label.saturating_sub(1),
                    None => u64::MAX,
                },
                Direction::Descending => {
                    self.first_label(ids, |other| other >= text.as_str())?.unwrap_or(u64::MAX)
                }
            },
        };
        Ok(if sorted {
            topk::Cursor { key: cursor.key, tie: Some(id), slot }
        } else {
            topk::Cursor { key: Some(id), tie: None, slot }
        })
    }
}

/// The ids of hits in the order of an integer id.
fn ids_of_keys(schema: &crate::schema::Schema, hits: &[Hit]) -> Vec<Id> {
    let id = |hit: &Hit| match crate::value::value_of_key(schema.id.kind, hit.key?) {
        crate::value::Value::Int(x) => Some(Id::Int(x)),
        _ => None,
    };
    hits.iter().filter_map(id).collect()
}
