//! A field's index by the number of its values: a bitmap for each, or postings pages.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use rayon::prelude::*;
use silo_engine::columns::{Column, RowBatch, Values};
use silo_engine::{Engine, Field, FieldType, Filter, IdField, IndexKinds, LoadMode, Query, Schema, Target};

use crate::lab::runner::scratch_dir;
use crate::lab::statistics::median;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "cardinality",
    question: "From how many values on is a field kept in postings pages instead of one bitmap for each value, a load being measured end to end?",
    strategies: &[
        (
            "ours-bitmaps",
            "the engine loads rows of id, level and the field with index `filter`: a bitmap for each value",
        ),
        ("ours-postings", "the same with index `high`: postings pages"),
        ("limit-unindexed", "the same with the field in documents only"),
    ],
    baseline: "ours-bitmaps",
    limit: "the same load with the field in documents only: what is left is what its index costs",
    memory: true,
    decision: "Index `filter` keeps a bitmap for each value, index `high` postings pages, in which only a value that fills half a page of its own gets a \
        bitmap. See ADR 10 for where the line is drawn.",
    shapes,
    run,
};

/// Rows that a batch of a load has.
const BATCH: usize = 1 << 14;
/// Values that are looked up to check a load and to time queries.
const ASKED: usize = 51;

fn shapes(scale: Scale) -> Vec<Shape> {
    let rows = scale.pick(100_000, 1_460_000, 14_600_000);
    ["5", "500", "10k", "31k", "300k", "2M"].map(|name| Shape::new(name, rows, "rows", 2_500.0, 250)).into()
}

fn value_count(shape: &str) -> u32 {
    match shape {
        "5" => 5,
        "500" => 500,
        "10k" => 10_000,
        "31k" => 31_000,
        "300k" => 300_000,
        _ => 2_000_000,
    }
}

fn schema(strategy: &str) -> Result<Schema> {
    let none = IndexKinds::none;
    let index = match strategy {
        "ours-bitmaps" => none().filter(),
        "ours-postings" => none().high(),
        _ => none(),
    };
    let fields = vec![
        Field::new("level", FieldType::Unsigned(8)).index(none().filter()),
        Field::new("value", FieldType::Unsigned(32)).index(index),
    ];
    Ok(Schema::new(IdField::new("id", FieldType::Signed(64)), fields)?)
}

fn load(dir: &Path, strategy: &str, values: &[u32], threads: usize) -> Result<Engine> {
    let engine = Engine::create(dir, schema(strategy)?)?;
    let place = |name| engine.schema().position(name).map(Target::Field).context("a field of the schema");
    let loader =
        engine.loader(LoadMode::Replace, vec![Target::Id, place("level")?, place("value")?], 1 << 30)?;
    let batches = values.len().div_ceil(BATCH);
    let one = |thread: usize| -> Result<()> {
        let mut writer = loader.writer();
        for batch in batches * thread / threads..batches * (thread + 1) / threads {
            let first = batch * BATCH;
            let values = &values[first..(first + BATCH).min(values.len())];
            let ints = |list: Vec<i64>| Column { nulls: vec![], values: Values::Int(list) };
            let ids = (first as i64..).take(values.len());
            let columns = vec![
                ints(ids.clone().collect()),
                ints(ids.map(|id| (mix(id as u64) % 6) as i64).collect()),
                ints(values.iter().map(|value| i64::from(*value)).collect()),
            ];
            writer.push(&RowBatch { first_row: first as u64, rows: values.len(), columns })?;
        }
        Ok(())
    };
    (0..threads).into_par_iter().try_for_each(one)?;
    loader.finish()?;
    Ok(engine)
}

/// How many records have each of some values.
fn counts(engine: &Engine, values: u32) -> Result<Vec<u64>> {
    asked(values).map(|value| count(engine, &format!("value = {value}"))).collect()
}

fn asked(values: u32) -> impl Iterator<Item = u32> {
    (0..ASKED as u64).map(move |at| (mix(at) % u64::from(values)) as u32)
}

fn count(engine: &Engine, filter: &str) -> Result<u64> {
    Ok(engine.query(&Query::new(Filter::parse(filter)?).count_only())?.total)
}

/// Bytes on disk, and how long some queries take.
fn figures(dir: &Path, values: u32, rows: u64) -> Result<Vec<(String, f64)>> {
    let engine = Engine::open(dir)?;
    let micros = |filter: &dyn Fn(u32) -> String| -> Result<f64> {
        let mut times = Vec::new();
        for value in asked(values) {
            let filter = filter(value);
            count(&engine, &filter)?;
            let started = Instant::now();
            count(&engine, &filter)?;
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        Ok(median(&times))
    };
    let several = |value: u32| {
        let list: Vec<String> = (0..10).map(|at| ((value + at * 977) % values).to_string()).collect();
        format!("value IN [{}]", list.join(", "))
    };
    Ok(vec![
        ("bytes a record".to_owned(), engine.store_stats()?.file_bytes as f64 / rows as f64),
        ("count of a value, µs".to_owned(), micros(&|value| format!("value = {value}"))?),
        ("and of a level, µs".to_owned(), micros(&|value| format!("value = {value} AND level = 1"))?),
        ("of ten values, µs".to_owned(), micros(&several)?),
    ])
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let values = value_count(&shape.name);
    let mut random = Random::new(lab.settings.seed, 170);
    let column: Vec<u32> = (0..shape.items).map(|_| random.below(values)).collect();
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let threads = lab.settings.threads;
    let (rows, column) = (shape.items, &column);
    let place = |name: &str| scratch.path().join(name);
    let fresh = |name| {
        let dir = place(name);
        move || {
            let _ = std::fs::remove_dir_all(&dir);
            Ok(dir.clone())
        }
    };
    let strategies = ["ours-bitmaps", "ours-postings"].map(|name| {
        let dir = place(name);
        Strategy::with_input(
            name,
            fresh(name),
            move |dir| load(&dir, name, column, threads),
            move |engine| Ok(Digest::of(counts(engine, values)?)),
        )
        .with_figures(move || figures(&dir, values, rows))
    });
    let unindexed = "limit-unindexed";
    let limit =
        Strategy::limit_with(unindexed, fresh(unindexed), |dir| load(&dir, unindexed, column, threads));
    lab.measure(strategies.into_iter().chain([limit]).collect())
}
