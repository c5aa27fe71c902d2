//! The engine answers as a loop over all records does, whatever happened to it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use silo_engine::{Durability, Engine, Options};
use support::naive::{Asked, Naive, batch, changes};

fn options(rng: &mut StdRng) -> Options {
    let checkpoint_ops = [50, 1_000, 1_000_000][rng.random_range(0..3)];
    Options::new().checkpoint_ops(checkpoint_ops).segment_bytes(256 << 10).background(false)
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn answers_are_those_of_a_loop_over_all_records() {
    for seed in 0..25 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silo");
        let mut engine = Some(Engine::create_with(&path, schema.clone(), options(rng)).unwrap());
        let mut naive = Naive::new(schema.clone());
        let most_ids = [20, 200][rng.random_range(0..2)];
        for _ in 0..12 {
            let open = engine.take().unwrap();
            let count = rng.random_range(1..60);
            let changes = changes(&schema, rng, count, most_ids);
            for change in &changes {
                naive.apply(change);
            }
            let size = rng.random_range(1..20);
            for chunk in changes.chunks(size) {
                open.apply(&batch(chunk), Durability::Process).unwrap();
            }
            let open = match rng.random_range(0..6) {
                0 => {
                    open.close().unwrap();
                    Engine::open_with(&path, options(rng)).unwrap()
                }
                1 => {
                    open.checkpoint().unwrap();
                    open
                }
                2 => {
                    open.compact().unwrap();
                    open
                }
                3 => {
                    // What a killed process leaves: the files as they are.
                    let crashed = dir.path().join("crashed");
                    copy(&path, &crashed);
                    let survivor = Engine::open_with(&crashed, options(rng)).unwrap();
                    assert_eq!(survivor.check().unwrap().findings, Vec::<String>::new(), "seed {seed}");
                    for _ in 0..4 {
                        naive.compare(&survivor, &Asked::random(&schema, rng), rng);
                    }
                    survivor.close().unwrap();
                    std::fs::remove_dir_all(&crashed).unwrap();
                    open
                }
                _ => open,
            };
            assert_eq!(open.len().unwrap(), naive.records.len() as u64, "seed {seed}");
            for _ in 0..12 {
                naive.compare(&open, &Asked::random(&schema, rng), rng);
            }
            engine = Some(open);
        }
    }
}

#[test]
fn fields_and_indexes_are_added_and_removed_while_there_are_records() {
    for seed in 0..8 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let full = support::schema(rng);
        // The same without some fields and indexes.
        let mut before = full.clone();
        before.fields.retain(|field| field.name != "big");
        for field in &mut before.fields {
            field.number = None;
            field.default = None;
            if rng.random() && field.name != "note" {
                field.index = silo_engine::IndexKinds::none();
            }
        }
        let before = before.validated().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Engine::create(dir.path().join("silo"), before.clone()).unwrap();
        let mut naive = Naive::new(full.clone());
        let records: Vec<_> = (0..150)
            .map(|_| silo_engine::Change::Put(support::record(&before, support::id(&full, rng, 100), rng)))
            .collect();
        for change in &records {
            naive.apply(change);
        }
        engine.apply(&batch(&records), Durability::Process).unwrap();
        engine.alter(&full).unwrap();
        assert_eq!(engine.check().unwrap().findings, Vec::<String>::new(), "seed {seed}");
        for _ in 0..20 {
            naive.compare(&engine, &Asked::random(&full, rng), rng);
        }
        let path = engine.path().to_owned();
        engine.close().unwrap();
        let mut engine = Engine::open(&path).unwrap();
        naive.compare(&engine, &Asked::random(&full, rng), rng);
        let mut fewer = engine.schema().clone();
        fewer.fields[0].index = silo_engine::IndexKinds::none();
        engine.alter(&fewer).unwrap();
        assert!(engine.check().unwrap().is_ok());
        let refused = engine.query(&silo_engine::Query::new(silo_engine::Filter::eq("flag", true)));
        assert!(refused.unwrap_err().to_string().contains("only stored"));
        let required = silo_engine::Field::new("must", silo_engine::FieldType::Bool).required();
        fewer.fields.push(required);
        assert!(engine.alter(&fewer).unwrap_err().to_string().contains("give it a default"));
    }
}

#[test]
fn a_reader_beside_the_writer_follows_and_answers() {
    let rng = &mut StdRng::seed_from_u64(5);
    let schema = support::schema(rng);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silo");
    let engine = Engine::create(&path, schema.clone()).unwrap();
    let mut naive = Naive::new(schema.clone());
    let reader = Engine::open_read_only(&path).unwrap();
    for _ in 0..5 {
        let changes = changes(&schema, rng, 40, 60);
        for change in &changes {
            naive.apply(change);
        }
        engine.apply(&batch(&changes), Durability::Process).unwrap();
        reader.refresh().unwrap();
        for _ in 0..5 {
            naive.compare(&reader, &Asked::random(&schema, rng), rng);
        }
    }
    let refused = reader.delete(support::id(&schema, rng, 60), Durability::Process).unwrap_err();
    assert!(refused.to_string().contains("reading only"), "{refused}");
    assert!(reader.check().unwrap().is_ok());
}

#[test]
fn text_ids_keep_their_order_however_they_come() {
    use silo_engine::{Change, Direction, FieldType, Filter, IdField, Query, Record, Schema};

    let schema = Schema::new(IdField::new("id", FieldType::String), vec![]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path().join("silo"), schema).unwrap();
    // Each between the first and the one before, so that labels between them run out again and again.
    let mut ids: Vec<String> = ["a".to_owned(), "z".to_owned()].into();
    ids.extend((0..300).rev().map(|number| format!("m{number:03}")));
    // Upwards and beyond the end.
    ids.extend((0..200).map(|number| format!("n{number:03}")));
    ids.extend((0..200).map(|number| format!("zz{number:03}")));
    for chunk in ids.chunks(7) {
        let puts: Vec<Change> = chunk.iter().map(|id| Record::new(id.as_str()).into()).collect();
        engine.apply(&batch(&puts), Durability::Process).unwrap();
    }
    assert_eq!(engine.check().unwrap().findings, Vec::<String>::new());
    ids.sort();
    let all = Query::new(Filter::all()).sort("id", Direction::Ascending).limit(1_000);
    let found: Vec<String> = engine.query(&all).unwrap().ids.iter().map(ToString::to_string).collect();
    assert_eq!(found, ids);
    let some = Query::new(Filter::parse("id STARTS WITH 'm1' OR id > 'zz198' OR id = 'a'").unwrap());
    assert_eq!(engine.query(&some).unwrap().total, 102);
}
