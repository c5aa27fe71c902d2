//! A load leaves what puts and merges of its rows, in their order, would leave.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use silo_engine::columns::{Column, RowBatch, Values};
use silo_engine::{
    Change, Engine, FieldType, Filter, Id, LoadMode, LoadReport, Merge, Query, Record, Schema, Target, Value,
};
use support::naive::{Asked, Naive};

/// Rows of a load: an id (or null) and a value for every target that is a field.
type Row = (Option<Id>, Vec<Value>);

fn empty_values(kind: FieldType) -> Values {
    match kind {
        FieldType::Bool => Values::Bool(Vec::new()),
        FieldType::Float(_) => Values::Float(Vec::new()),
        FieldType::String => Values::Text { ends: Vec::new(), bytes: Vec::new() },
        _ => Values::Int(Vec::new()),
    }
}

fn push(values: &mut Values, value: &Value) {
    match (values, value) {
        (Values::Bool(bits), value) => bits.push(u8::from(*value == Value::Bool(true))),
        (Values::Int(numbers), Value::Int(x)) => numbers.push(i64::try_from(*x).unwrap()),
        (Values::Int(numbers), _) => numbers.push(0),
        (Values::Float(numbers), Value::Float(x)) => numbers.push(*x),
        (Values::Float(numbers), _) => numbers.push(0.0),
        (Values::Text { ends, bytes }, value) => {
            if let Value::Text(text) = value {
                bytes.extend_from_slice(text.as_bytes());
            }
            ends.push(u32::try_from(bytes.len()).unwrap());
        }
        (Values::List { ends, items }, value) => {
            let before = ends.last().copied().unwrap_or(0);
            value.items().iter().for_each(|item| push(items, item));
            let count = if value.is_null() { 0 } else { value.items().len() };
            ends.push(before + u32::try_from(count).unwrap());
        }
    }
}

fn column<'v>(kind: FieldType, multi: bool, values: impl Iterator<Item = &'v Value>) -> Column {
    let one = empty_values(kind);
    let mut column = Column {
        nulls: Vec::new(),
        values: if multi { Values::List { ends: Vec::new(), items: Box::new(one) } } else { one },
    };
    for (row, value) in values.enumerate() {
        if row % 64 == 0 {
            column.nulls.push(0);
        }
        *column.nulls.last_mut().unwrap() |= u64::from(value.is_null()) << (row % 64);
        push(&mut column.values, value);
    }
    column
}

fn batch(schema: &Schema, targets: &[Target], first_row: u64, rows: &[Row]) -> RowBatch {
    let ids: Vec<Value> = rows.iter().map(|(id, _)| id.as_ref().map_or(Value::Null, Id::to_value)).collect();
    let mut field = 0;
    let columns = targets.iter().map(|target| match target {
        Target::Id => column(schema.id.kind, false, ids.iter()),
        Target::Ignore => column(FieldType::Bool, false, ids.iter()),
        Target::Field(at) | Target::Add(at) => {
            field += 1;
            let of = &schema.fields[*at];
            column(of.kind, of.multi, rows.iter().map(|(_, values)| &values[field - 1]))
        }
    });
    RowBatch { first_row, rows: rows.len(), columns: columns.collect() }
}

/// Loads rows in batches of random size, on two threads, in no order.
fn load(engine: &Engine, mode: LoadMode, targets: &[Target], rows: &[Row], rng: &mut StdRng) -> LoadReport {
    let mut batches = Vec::new();
    let mut first = 0;
    while first < rows.len() {
        let len = rng.random_range(1..200).min(rows.len() - first);
        batches.push(batch(engine.schema(), targets, first as u64, &rows[first..first + len]));
        first += len;
    }
    batches.shuffle(rng);
    let loader = engine.loader(mode, targets.to_vec(), 2_000).unwrap();
    let refused: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = batches
            .chunks(batches.len().div_ceil(2).max(1))
            .map(|part| {
                let mut writer = loader.writer();
                scope.spawn(move || part.iter().map(|batch| writer.push(batch).unwrap().len()).sum::<usize>())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(refused, rows.iter().filter(|(id, _)| id.is_none()).count());
    loader.finish().unwrap()
}

/// Random rows for some targets, and the changes that they stand for.
fn random_rows(
    schema: &Schema,
    mode: LoadMode,
    targets: &[Target],
    (count, most_ids): (usize, u32),
    rng: &mut StdRng,
) -> (Vec<Row>, Vec<Change>) {
    let mut rows = Vec::new();
    let mut changes = Vec::new();
    for _ in 0..count {
        let id = (rng.random_range(0..20) > 0).then(|| support::id(schema, rng, most_ids));
        let fields = targets.iter().filter_map(|target| match target {
            Target::Field(at) => Some((*at, false)),
            Target::Add(at) => Some((*at, true)),
            _ => None,
        });
        let values: Vec<(usize, bool, Value)> =
            fields.map(|(at, add)| (at, add, support::value(&schema.fields[at], rng))).collect();
        if let Some(id) = &id {
            let named =
                values.iter().map(|(at, add, value)| (schema.fields[*at].name.clone(), *add, value.clone()));
            changes.push(match mode {
                LoadMode::Replace => named
                    .fold(Record::new(id.clone()), |record, (name, _, value)| record.with(name, value))
                    .into(),
                LoadMode::Merge => named
                    .fold(Merge::new(id.clone()), |merge, (name, add, value)| match (add, value) {
                        (true, Value::Null) => merge,
                        (true, value) => merge.add(name, value),
                        (false, value) => merge.set(name, value),
                    })
                    .into(),
            });
        }
        rows.push((id, values.into_iter().map(|(_, _, value)| value).collect()));
    }
    (rows, changes)
}

/// Positions of the fields that rows bring.
fn loaded_fields(schema: &Schema) -> Vec<usize> {
    (0..schema.fields.len()).filter(|at| schema.fields[*at].compute.is_none()).collect()
}

fn compare(naive: &Naive, engine: &Engine, rng: &mut StdRng, seed: u64) {
    assert_eq!(engine.len().unwrap(), naive.records.len() as u64, "seed {seed}");
    for _ in 0..15 {
        naive.compare(engine, &Asked::random(engine.schema(), rng), rng);
    }
}

#[test]
fn loads_leave_what_their_rows_in_order_would_leave() {
    for seed in 0..10 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silo");
        let engine = Engine::create(&path, schema.clone()).unwrap();
        let mut naive = Naive::new(schema.clone());
        let stored = loaded_fields(&schema);
        let mut whole: Vec<Target> = stored.iter().map(|at| Target::Field(*at)).collect();
        whole.insert(rng.random_range(0..whole.len()), Target::Id);
        whole.insert(rng.random_range(0..whole.len()), Target::Ignore);

        // Into the empty silo, then on top of what is there.
        for round in 0..2 {
            let size = (rng.random_range(1..1_500), [30, 5_000][rng.random_range(0..2)]);
            let (rows, changes) = random_rows(&schema, LoadMode::Replace, &whole, size, rng);
            let before = naive.records.len();
            for change in &changes {
                naive.apply(change);
            }
            let report = load(&engine, LoadMode::Replace, &whole, &rows, rng);
            assert_eq!(report.rows, changes.len() as u64);
            assert_eq!(report.created, (naive.records.len() - before) as u64);
            assert_eq!(report.rows, report.created + report.changed + report.repeated, "round {round}");
            compare(&naive, &engine, rng, seed);
        }
        // Some columns of some records, and others.
        let multi: Vec<usize> = stored.iter().copied().filter(|at| schema.fields[*at].multi).collect();
        let merged =
            vec![Target::Id, Target::Field(stored[1]), Target::Add(multi[rng.random_range(0..multi.len())])];
        let (rows, changes) = random_rows(&schema, LoadMode::Merge, &merged, (500, 200), rng);
        for change in &changes {
            naive.apply(change);
        }
        load(&engine, LoadMode::Merge, &merged, &rows, rng);
        compare(&naive, &engine, rng, seed);

        // Values of one field alone, of known and new records; in the order of the ids, then in none.
        for (field, sorted) in [("tags", true), ("refs", false), ("tags", false), ("labels", false)] {
            let at = schema.position(field).unwrap();
            let added = [Target::Ignore, Target::Id, Target::Add(at)];
            let most_ids = [100, 20_000][rng.random_range(0..2)];
            let (mut rows, _) = random_rows(&schema, LoadMode::Merge, &added, (700, most_ids), rng);
            if sorted {
                rows.sort_by(|x, y| x.0.cmp(&y.0));
            }
            let before = naive.records.len();
            for (id, values) in &rows {
                let Some(id) = id else { continue };
                let mut merge = Merge::new(id.clone());
                if !values[0].is_null() {
                    merge = merge.add(field, values[0].clone());
                }
                naive.apply(&merge.into());
            }
            let report = load(&engine, LoadMode::Merge, &added, &rows, rng);
            assert_eq!(report.created, (naive.records.len() - before) as u64);
            assert_eq!(report.rows, report.created + report.changed + report.repeated);
            compare(&naive, &engine, rng, seed);
            let check = engine.check().unwrap();
            assert!(check.is_ok(), "seed {seed}: {check:?}");
        }

        engine.close().unwrap();
        let engine = Engine::open(&path).unwrap();
        compare(&naive, &engine, rng, seed);
        let count = rng.random_range(1..60);
        for change in support::naive::changes(&schema, rng, count, 200) {
            naive.apply(&change);
            engine.apply(&[change].into_iter().collect(), silo_engine::Durability::Process).unwrap();
        }
        compare(&naive, &engine, rng, seed);
    }
}

#[test]
fn stretches_of_rows_on_several_threads_leave_what_their_rows_in_order_would_leave() {
    let rng = &mut StdRng::seed_from_u64(11);
    let schema = support::schema(rng);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path().join("silo"), schema.clone()).unwrap();
    let mut naive = Naive::new(schema.clone());
    let stored = loaded_fields(&schema);
    let whole: Vec<Target> =
        std::iter::once(Target::Id).chain(stored.iter().map(|at| Target::Field(*at))).collect();
    let multi = stored.iter().copied().find(|at| schema.fields[*at].multi).unwrap();
    let merged = vec![Target::Id, Target::Field(stored[1]), Target::Add(multi)];
    for (mode, targets, count) in [
        (LoadMode::Replace, &whole, 10_000),
        (LoadMode::Replace, &whole, 36_000),
        (LoadMode::Merge, &merged, 36_000),
    ] {
        let (rows, changes) = random_rows(&schema, mode, targets, (count, 40_000), rng);
        for change in &changes {
            naive.apply(change);
        }
        load(&engine, mode, targets, &rows, rng);
        assert_eq!(engine.len().unwrap(), naive.records.len() as u64);
        for _ in 0..2 {
            naive.compare(&engine, &Asked::random(&schema, rng), rng);
        }
    }
    let check = engine.check().unwrap();
    assert!(check.is_ok(), "{check:?}");
}

#[test]
fn rows_that_cannot_create_a_record_are_refused() {
    for id_kind in ["u32", "string"] {
        let dir = tempfile::tempdir().unwrap();
        let schema = Schema::from_toml(&format!(
            r#"
            id = {{ name = "id", type = "{id_kind}" }}
            fields = [
                {{ name = "name", type = "string", nullable = false, index = ["filter"] }},
                {{ name = "level", type = "u8", default = 3 }},
                {{ name = "tags", type = "u32", multi = true, index = ["filter"] }},
            ]
            "#
        ))
        .unwrap();
        let engine = Engine::create(dir.path().join("silo"), schema).unwrap();
        let ids = |numbers: &[i64]| {
            let values = if id_kind == "string" {
                let texts: Vec<String> = numbers.iter().map(|x| format!("n{x}")).collect();
                let ends = texts.iter().scan(0, |end, text| {
                    *end += u32::try_from(text.len()).unwrap();
                    Some(*end)
                });
                Values::Text { ends: ends.collect(), bytes: texts.concat().into_bytes() }
            } else {
                Values::Int(numbers.to_vec())
            };
            Column { nulls: vec![0], values }
        };
        let push = |mode, targets: Vec<Target>, columns: Vec<Column>, rows| {
            let loader = engine.loader(mode, targets, 2_000).unwrap();
            let refused = loader.writer().push(&RowBatch { first_row: 0, rows, columns }).unwrap();
            let report = loader.finish().unwrap();
            assert_eq!(report.refused, refused.len() as u64);
            (refused, report)
        };
        let names =
            Column { nulls: vec![0], values: Values::Text { ends: vec![1, 2], bytes: b"ab".to_vec() } };
        let whole =
            push(LoadMode::Replace, vec![Target::Id, Target::Field(0)], vec![ids(&[5, 7]), names.clone()], 2);
        assert_eq!(whole.0, []);

        let tags = Column { nulls: vec![0], values: Values::Int(vec![1, 2, 3, 4]) };
        let (refused, report) =
            push(LoadMode::Merge, vec![Target::Id, Target::Add(2)], vec![ids(&[4, 5, 5, 9]), tags], 4);
        assert_eq!(refused.iter().map(|refusal| refusal.row).collect::<Vec<_>>(), [0, 3]);
        assert!(
            refused[1].reason.contains('9') && refused[1].reason.contains("name"),
            "{}",
            refused[1].reason
        );
        assert_eq!((report.rows, report.changed, report.created), (2, 1, 0));

        // A merge that brings the field may create.
        let (refused, report) =
            push(LoadMode::Merge, vec![Target::Id, Target::Field(0)], vec![ids(&[5, 9]), names], 2);
        assert_eq!((refused, report.changed, report.created), (vec![], 1, 1));
        let query = Query::new(Filter::parse("tags = 2 AND tags = 3 AND name = \"a\"").unwrap());
        assert_eq!(engine.query(&query).unwrap().total, 1);
        engine.check().unwrap();
    }
}

#[test]
fn a_load_that_is_dropped_leaves_no_trace() {
    let rng = &mut StdRng::seed_from_u64(3);
    let schema = support::schema(rng);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path().join("silo"), schema.clone()).unwrap();
    let targets = [Target::Id, Target::Field(0)];
    let (rows, _) = random_rows(&schema, LoadMode::Replace, &targets, (50, 50), rng);
    let loader = engine.loader(LoadMode::Replace, targets.to_vec(), 0).unwrap();
    loader.writer().push(&batch(&schema, &targets, 0, &rows)).unwrap();
    assert!(loader.temporary_bytes() > 0);
    drop(loader);
    assert!(engine.is_empty().unwrap());
    load(&engine, LoadMode::Replace, &targets, &rows, rng);
    assert!(!engine.is_empty().unwrap());
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let rng = &mut StdRng::seed_from_u64(3);
    let schema = support::schema(rng);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path().join("silo"), schema).unwrap();
    let (merge, replace) = (LoadMode::Merge, LoadMode::Replace);
    for (mode, targets, says) in [
        (replace, vec![Target::Field(0)], "must be the id"),
        (replace, vec![Target::Id, Target::Id], "must be the id"),
        (replace, vec![Target::Id, Target::Field(1), Target::Field(1)], "two columns go to field \"level\""),
        (replace, vec![Target::Id, Target::Field(99)], "no field at position 99"),
        (replace, vec![Target::Id, Target::Field(12)], "computed"),
        (replace, vec![Target::Id, Target::Add(4)], "mode merge"),
        (merge, vec![Target::Id, Target::Add(1)], "has one value"),
    ] {
        let error = engine.loader(mode, targets, 0).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
