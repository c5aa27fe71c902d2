//! A load comes to the same as puts and merges one by one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng};
use silo_engine::columns::{Column, RowBatch, Values};
use silo_engine::{
    Change, Durability, Engine, Field, FieldType, Id, LoadMode, LoadOptions, LoadReport, LoadTarget, Merge,
    Record, Schema, Value,
};
use support::naive::{Asked, Naive, batch, changes};

/// A column of values.
fn column(field: &Field, rows: &[Value]) -> Column {
    let mut nulls = vec![0; rows.len().div_ceil(64)];
    for (row, value) in rows.iter().enumerate() {
        if value.is_null() {
            nulls[row / 64] |= 1_u64 << (row % 64);
        }
    }
    let flat: Vec<Value> = if field.multi {
        rows.iter().flat_map(|value| value.items().to_vec()).collect()
    } else {
        rows.to_vec()
    };
    let items = match field.kind {
        FieldType::Bool => Values::Bool(flat.iter().map(|v| u8::from(*v == Value::Bool(true))).collect()),
        FieldType::Float(_) => {
            Values::Float(flat.iter().map(|v| if let Value::Float(x) = v { *x } else { 0.0 }).collect())
        }
        FieldType::String => {
            let (mut ends, mut bytes) = (Vec::new(), Vec::new());
            for value in &flat {
                if let Value::Text(text) = value {
                    bytes.extend_from_slice(text.as_bytes());
                }
                ends.push(u32::try_from(bytes.len()).unwrap());
            }
            Values::Text { ends, bytes }
        }
        _ => Values::Int(
            flat.iter().map(|v| if let Value::Int(x) = v { i64::try_from(*x).unwrap() } else { 0 }).collect(),
        ),
    };
    let mut end = 0;
    let ends = rows.iter().map(|value| {
        end += u32::try_from(value.items().len()).unwrap();
        end
    });
    let values =
        if field.multi { Values::List { ends: ends.collect(), items: Box::new(items) } } else { items };
    Column { nulls, values }
}

/// Loads records from several threads, in batches that come in any order.
fn load(
    engine: &Engine,
    records: &[Record],
    targets: &[LoadTarget],
    mode: LoadMode,
    rng: &mut StdRng,
) -> LoadReport {
    let schema = engine.schema();
    let id_field = Field::new("id", schema.id.kind);
    let mut batches = Vec::new();
    let mut first_row = 0;
    let mut rest = records;
    while !rest.is_empty() {
        let (rows, after) = rest.split_at(rng.random_range(1..=rest.len().min(90)));
        rest = after;
        let columns = targets.iter().map(|target| match target {
            LoadTarget::Id => {
                let ids: Vec<Value> = rows.iter().map(|record| record.id.to_value()).collect();
                column(&id_field, &ids)
            }
            LoadTarget::Set(name) | LoadTarget::Add(name) => {
                let values: Vec<Value> =
                    rows.iter().map(|record| record.get(name).cloned().unwrap_or_default()).collect();
                column(schema.field(name).unwrap(), &values)
            }
            LoadTarget::Skip => Column { nulls: vec![], values: Values::Int(vec![]) },
        });
        batches.push(RowBatch { first_row, rows: rows.len(), columns: columns.collect() });
        first_row += rows.len() as u64;
    }
    batches.shuffle(rng);
    let threads = rng.random_range(1..4);
    let memory_bytes = [2_000, 1 << 30][rng.random_range(0..2)];
    let options = LoadOptions { threads, memory_bytes, ..LoadOptions::new(mode) };
    let loader = engine.load(targets, options).unwrap();
    std::thread::scope(|scope| {
        for part in batches.chunks(batches.len().div_ceil(threads)) {
            let loader = &loader;
            scope.spawn(move || {
                let mut writer = loader.writer().unwrap();
                for batch in part {
                    writer.push(batch).unwrap();
                }
                writer.close().unwrap();
            });
        }
    });
    loader.finish().unwrap()
}

fn targets(schema: &Schema, rng: &mut StdRng, skip: u32) -> Vec<LoadTarget> {
    let loadable = schema.fields.iter().filter(|field| field.compute.is_none());
    let mut targets: Vec<LoadTarget> = loadable
        .filter(|_| skip == 0 || rng.random_range(0..skip) > 0)
        .map(|field| LoadTarget::Set(field.name.clone()))
        .collect();
    targets.push(LoadTarget::Id);
    targets.shuffle(rng);
    targets
}

fn records(schema: &Schema, rng: &mut StdRng, count: usize, most: u32) -> Vec<Record> {
    (0..count).map(|_| support::record(schema, support::id(schema, rng, most), rng)).collect()
}

fn keep_targets(record: &Record, targets: &[LoadTarget]) -> Record {
    let mut record = record.clone();
    record.fields.retain(|(name, _)| targets.contains(&LoadTarget::Set(name.clone())));
    record
}

fn same(engine: &Engine, naive: &Naive, rng: &mut StdRng, queries: u32) {
    assert_eq!(engine.len().unwrap(), naive.records.len() as u64);
    let check = engine.check().unwrap();
    assert_eq!((check.findings.as_slice(), check.records), (&[][..], naive.records.len() as u64));
    for _ in 0..queries {
        naive.compare(engine, &Asked::random(&naive.schema, rng), rng);
    }
}

#[test]
fn a_load_is_the_same_as_puts_and_merges() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silo");
        let engine = Engine::create(&path, schema.clone()).unwrap();
        let mut naive = Naive::new(schema.clone());
        let most = [100, 3_000][rng.random_range(0..2)];

        let first = targets(&schema, rng, 5);
        let count = rng.random_range(0..600);
        let rows = records(&schema, rng, count, most);
        for record in &rows {
            naive.apply(&Change::Put(keep_targets(record, &first)));
        }
        let report = load(&engine, &rows, &first, LoadMode::Create, rng);
        let records_now = naive.records.len() as u64;
        assert_eq!((report.rows, report.created), (rows.len() as u64, records_now), "seed {seed}");
        assert_eq!(report.duplicates, rows.len() as u64 - records_now);
        same(&engine, &naive, rng, 8);

        // Puts, merges and deletes on top of what was loaded.
        let changes = changes(&schema, rng, 60, most);
        for change in &changes {
            naive.apply(change);
        }
        engine.apply(&batch(&changes), Durability::Process).unwrap();
        same(&engine, &naive, rng, 4);

        // More records, some in place of others.
        let rows = records(&schema, rng, 200, most);
        let all = targets(&schema, rng, 0);
        for record in &rows {
            naive.apply(&Change::Put(keep_targets(record, &all)));
        }
        load(&engine, &rows, &all, LoadMode::Append, rng);
        same(&engine, &naive, rng, 6);

        // Some columns of records that are there and of new ones, and values added to sets.
        let mut some = targets(&schema, rng, 2);
        some.retain(|target| *target != LoadTarget::Set("tags".to_owned()));
        some.push(LoadTarget::Add("tags".to_owned()));
        let rows = records(&schema, rng, 300, most);
        for record in &rows {
            let mut merge = Merge::new(record.id.clone());
            for target in &some {
                match target {
                    LoadTarget::Set(name) => {
                        merge = merge.set(name.clone(), record.get(name).cloned().unwrap_or_default());
                    }
                    LoadTarget::Add(name) => {
                        merge = merge.add(name.clone(), record.get(name).cloned().unwrap_or_default());
                    }
                    _ => {}
                }
            }
            naive.apply(&Change::Merge(merge));
        }
        load(&engine, &rows, &some, LoadMode::Merge, rng);
        same(&engine, &naive, rng, 8);

        // Pairs of an id and a number, of records that are there and of new ones.
        let name = ["tags", "refs"][rng.random_range(0..2)];
        let field = schema.field(name).unwrap();
        let rows: Vec<Record> = (0..500)
            .map(|_| Record::new(support::id(&schema, rng, most)).with(name, support::item(field, rng)))
            .collect();
        for row in &rows {
            let merge = Merge::new(row.id.clone()).add(name, row.get(name).cloned().unwrap());
            naive.apply(&Change::Merge(merge));
        }
        load_pairs(&engine, &rows, name, rng);
        same(&engine, &naive, rng, 6);

        engine.close().unwrap();
        let engine = Engine::open(&path).unwrap();
        same(&engine, &naive, rng, 4);
    }
}

/// Loads one value a row, not in lists.
fn load_pairs(engine: &Engine, rows: &[Record], name: &str, rng: &mut StdRng) {
    let schema = engine.schema();
    let single = Field::new(name, schema.field(name).unwrap().kind);
    let ids: Vec<Value> = rows.iter().map(|row| row.id.to_value()).collect();
    let values: Vec<Value> = rows.iter().map(|row| row.get(name).cloned().unwrap()).collect();
    let columns = vec![column(&Field::new("id", schema.id.kind), &ids), column(&single, &values)];
    let targets = [LoadTarget::Id, LoadTarget::Add(name.to_owned())];
    let memory_bytes = [1_000, 1 << 30][rng.random_range(0..2)];
    let options = LoadOptions { threads: 2, memory_bytes, ..LoadOptions::new(LoadMode::Merge) };
    let loader = engine.load(&targets, options).unwrap();
    let mut writer = loader.writer().unwrap();
    writer.push(&RowBatch { first_row: 0, rows: rows.len(), columns }).unwrap();
    writer.close().unwrap();
    loader.finish().unwrap();
}

#[test]
fn the_last_of_equal_ids_wins_whatever_the_threads() {
    let level =
        Field::new("level", FieldType::Signed(64)).index(silo_engine::IndexKinds::none().filter().sort());
    let schema = Schema::new(silo_engine::IdField::new("id", FieldType::Signed(64)), vec![level]).unwrap();
    let targets = [LoadTarget::Id, LoadTarget::Set("level".to_owned())];
    for seed in 0..10 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::create(dir.path().join("silo"), schema.clone()).unwrap();
        let rows: Vec<Record> = (0..500_i64).map(|row| Record::new(row % 7).with("level", row)).collect();
        let report = load(&engine, &rows, &targets, LoadMode::Create, rng);
        assert_eq!((report.created, report.duplicates), (7, 493));
        for id in 0..7 {
            let last = (0..500).filter(|row| row % 7 == id).max().unwrap();
            assert_eq!(engine.get(id).unwrap().unwrap().values, [Value::from(last)]);
        }
        assert!(engine.check().unwrap().is_ok());
    }
}

#[test]
fn a_load_that_is_given_up_leaves_no_trace() {
    let rng = &mut StdRng::seed_from_u64(3);
    let schema = support::schema(rng);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silo");
    let engine = Engine::create(&path, schema.clone()).unwrap();
    let id = support::id(&schema, rng, 10);
    engine.put(Record::new(id.clone()).with("level", 1), Durability::Process).unwrap();
    {
        let loader = engine.load(&[LoadTarget::Id], LoadOptions::new(LoadMode::Append)).unwrap();
        let mut writer = loader.writer().unwrap();
        let ids = column(&Field::new("id", schema.id.kind), &[id.to_value()]);
        writer.push(&RowBatch { first_row: 0, rows: 1, columns: vec![ids.clone()] }).unwrap();
        drop(writer);
        assert!(loader.finish().is_err(), "a writer was dropped");
        let loader = engine.load(&[LoadTarget::Id], LoadOptions::new(LoadMode::Append)).unwrap();
        let mut writer = loader.writer().unwrap();
        writer.push(&RowBatch { first_row: 0, rows: 1, columns: vec![ids] }).unwrap();
        writer.close().unwrap();
        drop(loader);
    }
    assert_eq!(engine.len().unwrap(), 1);
    let level = schema.position("level").unwrap();
    assert_eq!(engine.get(id.clone()).unwrap().unwrap().values[level], 1.into());
    assert!(engine.check().unwrap().is_ok());
    let refused = engine.load(&[LoadTarget::Id], LoadOptions::new(LoadMode::Create)).unwrap_err();
    assert!(refused.to_string().contains("holds records already"), "{refused}");
    let unknown = [LoadTarget::Id, LoadTarget::Set("levle".to_owned())];
    let refused = engine.load(&unknown, LoadOptions::new(LoadMode::Append)).unwrap_err();
    assert!(refused.to_string().contains("did you mean \"level\""), "{refused}");
    let _: Id = id;
}
