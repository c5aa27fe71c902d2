//! Pages far down and facets over several chunks, in every container kind, against a loop over all records.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use silo_engine::{
    Change, Direction, Durability, Engine, Field, FieldType, Filter, Id, IdField, IndexKinds, Options, Query,
    Record, Schema, UpdateBatch, Value,
};

const RECORDS: i64 = 80_000;

#[derive(Clone)]
struct Row {
    /// Long runs of ids, and a few scattered ones.
    group: Option<String>,
    /// Bitsets.
    level: i64,
    /// Lists, several a record.
    tags: Vec<i64>,
    /// Skewed, with long ties and nulls.
    score: Option<i64>,
    /// All but unique.
    time: i64,
}

impl Row {
    fn random(id: i64, rng: &mut StdRng) -> Self {
        let group = match rng.random_range(0..50) {
            0 => None,
            1 => Some(format!("rare {}", rng.random_range(0..90))),
            _ => Some(format!("group {}", id / 700 % 7)),
        };
        let most = 1 << rng.random_range(0..12);
        Self {
            group,
            level: rng.random_range(0..5) * rng.random_range(0..2),
            tags: (0..rng.random_range(0..4))
                .map(|_| rng.random_range(0..40) * rng.random_range(0..40))
                .collect(),
            score: rng.random_bool(0.8).then(|| rng.random_range(0..most)),
            time: id * 3 + rng.random_range(0..5_000),
        }
    }

    fn record(&self, id: i64) -> Change {
        let text = |group: &Option<String>| group.as_deref().map_or(Value::Null, Value::from);
        let mut tags = self.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        Record::new(id)
            .with("group", text(&self.group))
            .with("level", self.level)
            .with("tags", Value::List(tags.into_iter().map(Value::from).collect()))
            .with("score", self.score.map_or(Value::Null, Value::from))
            .with("time", self.time)
            .into()
    }
}

fn schema() -> Schema {
    let none = IndexKinds::none;
    let mut tags = Field::new("tags", FieldType::Unsigned(32)).index(none().filter());
    tags.multi = true;
    let mut group = Field::new("group", FieldType::String).index(none().filter());
    group.nullable = true;
    let mut score = Field::new("score", FieldType::Unsigned(32)).index(none().sort());
    score.nullable = true;
    let fields = vec![
        group,
        Field::new("level", FieldType::Unsigned(8)).index(none().filter()),
        tags,
        score,
        Field::new("time", FieldType::Signed(64)).index(none().sort()),
    ];
    Schema::new(IdField::new("id", FieldType::Signed(64)), fields).unwrap()
}

type Test = (&'static str, fn(&Row) -> bool);

const FILTERS: [Test; 8] = [
    ("", |_| true),
    ("level = 0", |row| row.level == 0),
    ("group IN ['group 1', 'group 4', 'rare 3']", |row| {
        row.group.as_ref().is_some_and(|group| ["group 1", "group 4", "rare 3"].contains(&group.as_str()))
    }),
    ("level IN [0, 2] AND NOT group = 'group 2'", |row| {
        [0, 2].contains(&row.level) && row.group.as_ref().is_some_and(|group| group != "group 2")
    }),
    ("tags = 6", |row| row.tags.contains(&6)),
    ("tags IN [0, 1, 2, 3] AND level != 0", |row| row.tags.iter().any(|tag| *tag < 4) && row.level != 0),
    ("group STARTS WITH 'rare' AND tags = 0", |row| {
        row.group.as_ref().is_some_and(|group| group.starts_with("rare")) && row.tags.contains(&0)
    }),
    ("score BETWEEN 1 AND 40", |row| row.score.is_some_and(|score| (1..=40).contains(&score))),
];

fn compare(engine: &Engine, rows: &BTreeMap<i64, Row>, rng: &mut StdRng) {
    for (filter, passes) in FILTERS {
        let matching: Vec<(i64, &Row)> =
            rows.iter().filter(|(_, row)| passes(row)).map(|(id, row)| (*id, row)).collect();
        for sort in ["id", "score", "time"] {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut expected: Vec<(bool, i64, i64)> = matching
                    .iter()
                    .map(|(id, row)| match sort {
                        "id" => (false, *id, *id),
                        "score" => (row.score.is_none(), row.score.unwrap_or(0), *id),
                        _ => (false, row.time, *id),
                    })
                    .collect();
                let turn = |x: i64| if direction == Direction::Ascending { x } else { -x };
                expected.sort_unstable_by_key(|(null, key, id)| (*null, turn(*key), turn(*id)));
                for _ in 0..5 {
                    let offset = rng.random_range(0..expected.len() + 20);
                    let limit = rng.random_range(1..120);
                    let page: Vec<Id> =
                        expected.iter().skip(offset).take(limit).map(|(.., id)| Id::from(*id)).collect();
                    let query = Query::new(Filter::parse(filter).unwrap()).sort(sort, direction);
                    let answer = engine.query(&query.clone().offset(offset).limit(limit)).unwrap();
                    let what = format!("{filter:?} by {sort} {direction:?}, {offset} of {}", expected.len());
                    assert_eq!(answer.total, expected.len() as u64, "{what}");
                    assert_eq!(answer.ids, page, "{what}");
                    assert_eq!(answer.cursor.is_some(), expected.len() > offset + limit, "{what}");
                    if answer.cursor.is_some() {
                        let next = engine.query(&query.cursor(answer.cursor).limit(3)).unwrap();
                        let page: Vec<Id> = expected
                            .iter()
                            .skip(offset + limit)
                            .take(3)
                            .map(|(.., id)| Id::from(*id))
                            .collect();
                        assert_eq!(next.ids, page, "after {what}");
                    }
                }
            }
        }
        compare_facets(engine, filter, &matching);
    }
}

fn compare_facets(engine: &Engine, filter: &str, matching: &[(i64, &Row)]) {
    let mut counts: [BTreeMap<String, u64>; 3] = Default::default();
    for (_, row) in matching {
        if let Some(group) = &row.group {
            *counts[0].entry(group.clone()).or_default() += 1;
        }
        *counts[1].entry(format!("{:04}", row.level)).or_default() += 1;
        let mut tags = row.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        for tag in tags {
            *counts[2].entry(format!("{tag:04}")).or_default() += 1;
        }
    }
    for limit in [None, Some(3), Some(70)] {
        let mut query = Query::new(Filter::parse(filter).unwrap()).limit(1);
        for field in ["group", "level", "tags"] {
            query = query.facet(field, limit);
        }
        let answer = engine.query(&query).unwrap();
        for (counts, (field, found)) in counts.iter().zip(&answer.facets) {
            let mut wanted: Vec<(&String, u64)> =
                counts.iter().map(|(value, count)| (value, *count)).collect();
            wanted.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), (*value).clone()));
            wanted.truncate(limit.unwrap_or(usize::MAX));
            let found: Vec<(String, u64)> = found
                .iter()
                .map(|count| match &count.value {
                    Value::Text(text) => (text.clone(), count.count),
                    Value::Int(x) => (format!("{x:04}"), count.count),
                    other => panic!("{other:?}"),
                })
                .collect();
            let found: Vec<(&String, u64)> = found.iter().map(|(value, count)| (value, *count)).collect();
            assert_eq!(found, wanted, "{filter:?}: {field}, limit {limit:?}");
        }
    }
}

#[test]
fn far_pages_and_facets_are_those_of_a_loop_over_all_records() {
    let rng = &mut StdRng::seed_from_u64(3);
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().background(false).checkpoint_ops(1 << 25);
    let engine = Engine::create_with(dir.path().join("silo"), schema(), options).unwrap();
    let mut rows: BTreeMap<i64, Row> = (0..RECORDS).map(|id| (2 * id, Row::random(id, rng))).collect();
    let all: Vec<(i64, Row)> = rows.iter().map(|(id, row)| (*id, row.clone())).collect();
    for part in all.chunks(8_000) {
        let batch: UpdateBatch = part.iter().map(|(id, row)| row.record(*id)).collect();
        engine.apply(&batch, Durability::Process).unwrap();
    }
    engine.compact().unwrap();
    compare(&engine, &rows, rng);
    // Pending changes on every page; then deleted records whose slots others take, which ends that ids ascend with
    // slots.
    for round in 0..2 {
        let mut batch = UpdateBatch::new();
        for _ in 0..3_000 {
            let id =
                if round == 0 { 2 * rng.random_range(0..RECORDS) } else { rng.random_range(0..2 * RECORDS) };
            if round == 1 && rng.random_range(0..3) == 0 {
                rows.remove(&id);
                batch.delete(id);
            } else {
                let row = Row::random(id / 2, rng);
                batch.push(row.record(id));
                rows.insert(id, row);
            }
        }
        engine.apply(&batch, Durability::Process).unwrap();
        if round == 1 {
            // Their slots were freed by the batch before.
            let mut batch = UpdateBatch::new();
            for id in (1..900).map(|id| 2 * id + 1) {
                let row = Row::random(id / 2, rng);
                batch.push(row.record(id));
                rows.insert(id, row);
            }
            engine.apply(&batch, Durability::Process).unwrap();
        }
        compare(&engine, &rows, rng);
    }
    engine.compact().unwrap();
    compare(&engine, &rows, rng);
}
