//! An engine without indexes: records in a map, queries by looking at all of them.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use silo_engine::{
    Answer, Change, Direction, FacetCount, Field, FieldType, Filter, Id, Merge, Query, Record, Schema,
    UpdateBatch, Value,
};

pub(crate) type Values = BTreeMap<String, Value>;

pub(crate) struct Naive {
    pub(crate) schema: Schema,
    pub(crate) records: BTreeMap<Id, Values>,
}

/// What is asked of both.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    pub(crate) sort: Option<(String, Direction)>,
}

impl Asked {
    pub(crate) fn query(&self) -> Query {
        let query = Query::new(self.filter.clone());
        match &self.sort {
            Some((field, direction)) => query.sort(field.clone(), *direction),
            None => query,
        }
    }

    pub(crate) fn random(schema: &Schema, rng: &mut StdRng) -> Self {
        let depth = rng.random_range(0..4);
        let filter =
            if rng.random_range(0..6) == 0 { Filter::all() } else { super::filter(schema, rng, depth) };
        let mut names: Vec<&str> =
            schema.fields.iter().filter(|field| field.index.sort).map(|field| field.name.as_str()).collect();
        names.push("id");
        let direction = if rng.random() { Direction::Ascending } else { Direction::Descending };
        let sort = (rng.random_range(0..5) > 0)
            .then(|| (names[rng.random_range(0..names.len())].to_owned(), direction));
        Self { filter, sort }
    }
}

impl Naive {
    pub(crate) fn new(schema: Schema) -> Self {
        Self { schema, records: BTreeMap::new() }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(record) => {
                let values = super::settled(&self.schema, record);
                self.records.insert(record.id.clone(), values);
            }
            Change::Delete(id) => {
                self.records.remove(id);
            }
            Change::Merge(merge) => {
                let old = self.records.get(&merge.id);
                let mut record = Record::new(merge.id.clone());
                record.fields = old.map(|old| old.clone().into_iter().collect()).unwrap_or_default();
                let place = |record: &mut Record, name: &str| {
                    if let Some(at) = record.fields.iter().position(|(field, _)| field == name) {
                        return at;
                    }
                    record.fields.push((name.to_owned(), Value::Null));
                    record.fields.len() - 1
                };
                for (name, value) in &merge.set {
                    let at = place(&mut record, name);
                    record.fields[at].1 = value.clone();
                }
                for (name, value) in &merge.add {
                    let at = place(&mut record, name);
                    let mut items = record.fields[at].1.items().to_vec();
                    let was_null = record.fields[at].1.is_null();
                    items.extend(value.items().iter().cloned());
                    record.fields[at].1 =
                        if was_null && items.is_empty() { Value::Null } else { Value::List(items) };
                }
                for (name, value) in &merge.remove {
                    let at = place(&mut record, name);
                    if let Value::List(items) = &mut record.fields[at].1 {
                        items.retain(|item| !value.items().contains(item));
                    }
                }
                let values = super::settled(&self.schema, &record);
                self.records.insert(merge.id.clone(), values);
            }
        }
    }

    /// Ids of the matching records, in order, with their sort value.
    pub(crate) fn matching(&self, asked: &Asked) -> Vec<Id> {
        let root = asked.filter.root();
        let mut found: Vec<(&Id, &Values)> = self
            .records
            .iter()
            .filter(|(id, values)| super::truth(&self.schema, id, values, root) == Some(true))
            .collect();
        let (field, direction) = asked.sort.clone().unwrap_or(("id".to_owned(), Direction::Descending));
        let turn = |order: std::cmp::Ordering| match direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        };
        found.sort_by(|(x_id, x), (y_id, y)| {
            let by_id = turn(x_id.cmp(y_id));
            if field == "id" {
                return by_id;
            }
            let (x, y) = (&x[&field], &y[&field]);
            x.is_null().cmp(&y.is_null()).then(turn(x.compare(y))).then(by_id)
        });
        found.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// All values of a field with their counts, most frequent first.
    pub(crate) fn facet(&self, ids: &[Id], field: &Field) -> Vec<FacetCount> {
        let mut counts: Vec<FacetCount> = Vec::new();
        for id in ids {
            let mut seen = Vec::new();
            for item in self.records[id][&field.name].items() {
                let item = match item {
                    Value::Text(text) if field.fold_case => Value::Text(text.to_lowercase()),
                    other => other.clone(),
                };
                if !seen.contains(&item) {
                    seen.push(item.clone());
                    match counts.iter_mut().find(|count| count.value == item) {
                        Some(count) => count.count += 1,
                        None => counts.push(FacetCount { value: item, count: 1 }),
                    }
                }
            }
        }
        counts.sort_by(|x, y| y.count.cmp(&x.count).then(x.value.compare(&y.value)));
        counts
    }

    /// Compares an answer to everything that may be asked about one selection.
    pub(crate) fn compare(&self, engine: &silo_engine::Engine, asked: &Asked, rng: &mut StdRng) {
        let expected = self.matching(asked);
        let context = || format!("{} sorted {:?}", asked.filter, asked.sort);
        let limit = rng.random_range(1..20);
        let offset = if rng.random() { 0 } else { rng.random_range(0..30) };
        let mut query = asked.query().limit(limit).offset(offset).fields(["*"]);
        let faceted: Vec<&Field> = self
            .schema
            .fields
            .iter()
            .filter(|field| !field.index.is_none() && rng.random_range(0..4) == 0)
            .collect();
        let most = if rng.random() { None } else { Some(rng.random_range(0..4)) };
        for field in &faceted {
            query = query.facet(field.name.clone(), most);
        }
        let measured: Vec<&Field> = self.schema.fields.iter().filter(|field| is_measured(field)).collect();
        for field in &measured {
            query = query.stats(field.name.clone());
        }
        let answer = engine.query(&query).unwrap_or_else(|error| panic!("{error}: {}", context()));
        assert_eq!(answer.total, expected.len() as u64, "{}", context());
        let page: Vec<Id> = expected.iter().skip(offset).take(limit).cloned().collect();
        assert_eq!(answer.ids, page, "{}", context());
        assert_eq!(answer.cursor.is_some(), expected.len() > offset + limit, "{}", context());
        let uncounted = engine.query(&query.without_total()).unwrap();
        assert!(uncounted.total >= answer.total, "{}", context());
        assert_eq!(uncounted.ids, page, "{}", context());
        assert_eq!(uncounted.facets, answer.facets, "{}", context());
        for (id, document) in page.iter().zip(&answer.documents) {
            for (field, value) in self.schema.fields.iter().zip(&document.values) {
                assert_eq!(value, &self.records[id][&field.name], "{id} {}", field.name);
            }
        }
        assert_eq!(answer.facets.len(), faceted.len());
        for (field, (name, counts)) in faceted.iter().zip(&answer.facets) {
            let mut wanted = self.facet(&expected, field);
            wanted.truncate(most.unwrap_or(usize::MAX));
            assert_eq!((name, counts), (&field.name, &wanted), "{}", context());
        }
        self.compare_stats(&expected, &measured, &answer);
        let count = engine.query(&asked.query().count_only()).unwrap();
        assert_eq!((count.total, count.ids.len()), (expected.len() as u64, 0));
        if rng.random_range(0..4) == 0 {
            Self::walk(engine, asked, &expected, limit);
        }
    }

    fn walk(engine: &silo_engine::Engine, asked: &Asked, expected: &[Id], limit: usize) {
        let mut walked = Vec::new();
        let mut cursor = None;
        loop {
            let answer = engine.query(&asked.query().limit(limit).cursor(cursor.take())).unwrap();
            assert_eq!(answer.total, expected.len() as u64);
            walked.extend(answer.ids);
            cursor = answer.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(walked, expected, "{} sorted {:?}", asked.filter, asked.sort);
    }

    fn compare_stats(&self, expected: &[Id], measured: &[&Field], answer: &Answer) {
        for (field, (name, stats)) in measured.iter().zip(&answer.stats) {
            assert_eq!(*name, field.name);
            let values: Vec<&Value> =
                expected.iter().map(|id| &self.records[id][name]).filter(|value| !value.is_null()).collect();
            assert_eq!(stats.count, values.len() as u64, "{name}");
            let least = values.iter().min_by(|x, y| x.compare(y)).map_or(Value::Null, |v| (*v).clone());
            let greatest = values.iter().max_by(|x, y| x.compare(y)).map_or(Value::Null, |v| (*v).clone());
            assert_eq!((&stats.min, &stats.max), (&least, &greatest), "{name}");
            if let (false, FieldType::Signed(_) | FieldType::Unsigned(_)) = (values.is_empty(), field.kind) {
                let sum: i128 = values.iter().map(|v| if let Value::Int(x) = v { *x } else { 0 }).sum();
                assert_eq!(stats.sum, Value::Int(sum), "{name}");
            }
            if let (false, FieldType::Float(_)) = (values.is_empty(), field.kind) {
                let sum: f64 = values.iter().map(|v| if let Value::Float(x) = v { *x } else { 0.0 }).sum();
                assert_eq!(stats.sum, Value::Float(sum), "{name}");
            }
        }
    }
}

fn is_measured(field: &Field) -> bool {
    !field.index.is_none() && !field.multi && !matches!(field.kind, FieldType::String | FieldType::Bool)
}

/// Random changes of records.
pub(crate) fn changes(schema: &Schema, rng: &mut StdRng, count: usize, most_ids: u32) -> Vec<Change> {
    (0..count)
        .map(|_| {
            let id = super::id(schema, rng, most_ids);
            match rng.random_range(0..10) {
                0 | 1 => Change::Delete(id),
                2..=5 => Change::Put(super::record(schema, id, rng)),
                _ => {
                    let mut merge = Merge::new(id);
                    for field in schema.fields.iter().filter(|field| field.compute.is_none()) {
                        match rng.random_range(0..8) {
                            0 => merge = merge.set(field.name.clone(), super::value(field, rng)),
                            1 if field.multi => {
                                merge = merge.add(field.name.clone(), super::item(field, rng));
                            }
                            2 if field.multi => {
                                merge = merge.remove(field.name.clone(), super::item(field, rng));
                            }
                            _ => {}
                        }
                    }
                    Change::Merge(merge)
                }
            }
        })
        .collect()
}

pub(crate) fn batch(changes: &[Change]) -> UpdateBatch {
    changes.iter().cloned().collect()
}
