//! What is asked and what is answered.

use std::time::Duration;

use bitmap_silo::column::Direction;
use serde_json::{Map, Value as Json, json};

use super::plan::Explain;
use crate::document::{Document, FieldSet};
use crate::filter::Filter;
use crate::schema::Schema;
use crate::value::{Id, Value};

/// What is asked of the records.
///
/// ```
/// use silo_engine::{Direction, Filter, Query};
///
/// let query = Query::new(Filter::parse("level = 1")?)
///     .sort("reactionCount", Direction::Descending)
///     .limit(50)
///     .facet("baseModel", Some(10));
/// # Ok::<(), silo_engine::FilterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Query {
    pub(crate) filter: Filter,
    pub(crate) sort: Option<(String, Direction)>,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
    pub(crate) cursor: Option<String>,
    pub(crate) fields: Vec<String>,
    pub(crate) facets: Vec<FacetRequest>,
    pub(crate) stats: Vec<String>,
    pub(crate) count_only: bool,
    pub(crate) exact_total: bool,
    pub(crate) explain: bool,
}

/// The values of a field among the matching records, most frequent first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacetRequest {
    /// The field.
    pub field: String,
    /// How many values; all where there is no limit.
    pub limit: Option<usize>,
}

/// A value and how many matching records have it.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetCount {
    /// The value.
    pub value: Value,
    /// Number of records.
    pub count: u64,
}

/// Statistics of a field among the matching records that have a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldStats {
    /// The lowest value; null where no record has one.
    pub min: Value,
    /// The highest value.
    pub max: Value,
    /// The sum; null for times.
    pub sum: Value,
    /// The mean; for times as a time.
    pub mean: Value,
    /// Number of records with a value.
    pub count: u64,
}

/// The answer to a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Number of matching records, exact; at most so many where the query was [`Query::without_total`].
    pub total: u64,
    /// Ids of the page, in order.
    pub ids: Vec<Id>,
    /// Continues after the page; none where nothing follows.
    pub cursor: Option<String>,
    /// The page's records with the fields asked for; empty where none were.
    pub documents: Vec<Document>,
    /// The fields that were asked for.
    pub fields: FieldSet,
    /// Counts by field, in the order of the request.
    pub facets: Vec<(String, Vec<FacetCount>)>,
    /// Statistics by field, in the order of the request.
    pub stats: Vec<(String, FieldStats)>,
    /// How the filter was evaluated, if that was asked.
    pub explain: Option<Explain>,
    /// Time that the answer took.
    pub elapsed: Duration,
}

impl Default for Query {
    fn default() -> Self {
        Self::new(Filter::all())
    }
}

impl Query {
    /// The first 50 records that pass the filter, by id, highest first, without their fields.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            sort: None,
            limit: 50,
            offset: 0,
            cursor: None,
            fields: Vec::new(),
            facets: Vec::new(),
            stats: Vec::new(),
            count_only: false,
            exact_total: true,
            explain: false,
        }
    }

    /// Orders by a field with an index of kind `sort`, or by the id. Ties are broken by id in the same direction;
    /// records without a value come last.
    #[must_use]
    pub fn sort(mut self, field: impl Into<String>, direction: Direction) -> Self {
        self.sort = Some((field.into(), direction));
        self
    }

    /// Most records of a page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out so many records first. They are counted, not walked, at about a nanosecond for each record before the page
    /// whether it matches or not; where that is too much, go on by cursor.
    #[must_use]
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Continues after the page of an earlier answer to the same filter and order.
    #[must_use]
    pub fn cursor(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Adds fields of the records to the answer; `*` is all.
    #[must_use]
    pub fn fields<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.fields = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the most frequent values of a field.
    #[must_use]
    pub fn facet(mut self, field: impl Into<String>, limit: Option<usize>) -> Self {
        self.facets.push(FacetRequest { field: field.into(), limit });
        self
    }

    /// Adds statistics of a field.
    #[must_use]
    pub fn stats(mut self, field: impl Into<String>) -> Self {
        self.stats.push(field.into());
        self
    }

    /// Does not count all matches: a page of a broad filter then costs what the page costs.
    #[must_use]
    pub fn without_total(mut self) -> Self {
        self.exact_total = false;
        self
    }

    /// Answers the total (and facets and statistics) without records.
    #[must_use]
    pub fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }

    /// Adds how the filter was evaluated, which costs several evaluations.
    #[must_use]
    pub fn explain(mut self) -> Self {
        self.explain = true;
        self
    }
}

impl Answer {
    /// The answer as JSON: `total`, `ids`, `cursor`, `documents`, `facets`, `stats`, `elapsed_us`, and `explain` if it was
    /// asked for.
    #[must_use]
    pub fn to_json(&self, schema: &Schema) -> Json {
        let kind = |name: &str| schema.field(name).map_or(schema.id.kind, |field| field.kind);
        let mut facets = Map::new();
        for (name, counts) in &self.facets {
            let counts = counts
                .iter()
                .map(|count| json!({ "value": count.value.to_json(kind(name)), "count": count.count }));
            facets.insert(name.clone(), Json::Array(counts.collect()));
        }
        let mut stats = Map::new();
        for (name, of) in &self.stats {
            let json = |value: &Value| value.to_json(kind(name));
            stats.insert(
                name.clone(),
                json!({
                    "min": json(&of.min), "max": json(&of.max), "sum": json(&of.sum),
                    "mean": json(&of.mean), "count": of.count,
                }),
            );
        }
        let mut object = json!({
            "total": self.total,
            "ids": self.ids.iter().map(|id| id.to_value().to_json(schema.id.kind)).collect::<Vec<_>>(),
            "cursor": self.cursor,
            "documents": self.documents.iter().map(|d| d.to_json(schema, &self.fields)).collect::<Vec<_>>(),
            "facets": facets,
            "stats": stats,
            "elapsed_us": u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
        });
        if let (Some(explain), Some(object)) = (&self.explain, object.as_object_mut()) {
            object.insert("explain".to_owned(), explain.to_json());
        }
        object
    }
}
