//! Parquet files, written by the `parquet` crate.
#![cfg(feature = "parquet")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss, reason = "tests")]

mod support;

use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use silo_engine::{FieldType, TimeUnit};
use silo_ingest::{ColumnSpec, Multi, Nulls, ReadOptions};
use support::{I64, TEXT, Value, options, read_bytes, text};

const SCHEMA: &str = "message m {
    required int64 id (INTEGER(64,false));
    optional int32 small;
    optional boolean yes;
    optional double score;
    optional binary name (STRING);
    optional int64 at (TIMESTAMP(MILLIS,true));
    optional int32 day (DATE);
    optional int96 old;
    optional int32 price (DECIMAL(9,2));
    optional group tags (LIST) { repeated group list { optional int64 element; } }
    optional group words (LIST) { repeated group list { required binary element (STRING); } }
    required group pair { required int32 a; required int32 b; }
    repeated int32 bare;
}";

/// What a row was made from.
struct Row {
    id: u64,
    small: Option<i32>,
    yes: Option<bool>,
    score: Option<f64>,
    name: Option<String>,
    at: Option<i64>,
    tags: Option<Vec<Option<i64>>>,
    words: Option<Vec<String>>,
    bare: Vec<i32>,
}

fn random_rows(count: usize, seed: u64) -> Vec<Row> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut maybe = move |odds: u32| random.random_range(0..10) < odds;
    let mut random = SmallRng::seed_from_u64(seed + 1);
    (0..count)
        .map(|row| Row {
            id: u64::MAX - row as u64,
            small: maybe(8).then(|| random.random_range(-5..5)),
            yes: maybe(5).then(|| random.random()),
            score: maybe(9)
                .then(|| if maybe(1) { f64::NAN } else { f64::from(random.random_range(-9..9)) / 4.0 }),
            name: maybe(7)
                .then(|| ["", "NA", "é", "long enough a name"][random.random_range(0..4)].to_owned()),
            at: maybe(9).then(|| random.random_range(-2_000_000_000_000..2_000_000_000_000)),
            tags: maybe(8).then(|| {
                (0..random.random_range(0..4)).map(|_| maybe(8).then(|| random.random_range(0..99))).collect()
            }),
            words: maybe(8).then(|| (0..random.random_range(0..4)).map(|word| "x".repeat(word)).collect()),
            bare: (0..random.random_range(0..3)).collect(),
        })
        .collect()
}

/// Values and definition levels of a column of optional values.
fn flat<T: Clone>(rows: &[Row], get: impl Fn(&Row) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let values = rows.iter().filter_map(&get).collect();
    (values, rows.iter().map(|row| i16::from(get(row).is_some())).collect())
}

/// Values and levels of a column of lists.
fn nested<T: Clone>(lists: Vec<Option<Vec<Option<T>>>>, null_items: bool) -> (Vec<T>, Vec<i16>, Vec<i16>) {
    let (mut values, mut definitions, mut repetitions) = (vec![], vec![], vec![]);
    let there = 2 + i16::from(null_items);
    for list in lists {
        match list {
            None => definitions.push(0),
            Some(items) if items.is_empty() => definitions.push(1),
            Some(items) => {
                for (at, item) in items.into_iter().enumerate() {
                    repetitions.push(i16::from(at > 0));
                    definitions.push(if item.is_some() { there } else { 2 });
                    values.extend(item);
                }
                continue;
            }
        }
        repetitions.push(0);
    }
    (values, definitions, repetitions)
}

fn file(groups: &[&[Row]], compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties =
        WriterProperties::builder().set_compression(compression).set_data_page_row_count_limit(100).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        macro_rules! column {
            ($type:ty, $values:expr, $definitions:expr, $repetitions:expr) => {{
                let mut column = group.next_column().unwrap().unwrap();
                column.typed::<$type>().write_batch($values, $definitions, $repetitions).unwrap();
                column.close().unwrap();
            }};
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id.cast_signed()).collect();
        column!(Int64Type, &ids, None, None);
        let (values, levels) = flat(rows, |row| row.small);
        column!(Int32Type, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| row.yes);
        column!(BoolType, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| row.score);
        column!(DoubleType, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| row.name.as_deref().map(ByteArray::from));
        column!(ByteArrayType, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| row.at);
        column!(Int64Type, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| row.small.map(|small| small * 1_000));
        column!(Int32Type, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| {
            row.small.map(|small| {
                let mut old = Int96::new();
                old.set_data(5, 0, (2_440_588 + small).cast_unsigned());
                old
            })
        });
        column!(Int96Type, &values, Some(&levels), None);
        let (values, levels) = flat(rows, |row| row.small.map(|small| small * 25));
        column!(Int32Type, &values, Some(&levels), None);
        let (values, definitions, repetitions) =
            nested(rows.iter().map(|row| row.tags.clone()).collect(), true);
        column!(Int64Type, &values, Some(&definitions), Some(&repetitions));
        let words = |row: &Row| {
            let words = row.words.as_ref()?;
            Some(words.iter().map(|word| Some(ByteArray::from(word.as_str()))).collect())
        };
        let (values, definitions, repetitions) = nested(rows.iter().map(words).collect(), false);
        column!(ByteArrayType, &values, Some(&definitions), Some(&repetitions));
        let ones = vec![1; rows.len()];
        column!(Int32Type, &ones, None, None);
        let twos = vec![2; rows.len()];
        column!(Int32Type, &twos, None, None);
        let bare = |row: &Row| Some(row.bare.iter().map(|&item| Some(item)).collect());
        let (values, definitions, repetitions) = nested(rows.iter().map(bare).collect(), false);
        // Without a group around it there is one level less.
        let definitions: Vec<i16> = definitions.iter().map(|level| level - 1).collect();
        column!(Int32Type, &values, Some(&definitions), Some(&repetitions));
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn all_columns() -> ReadOptions {
    let mut options = options(&[
        ("id", FieldType::Unsigned(64)),
        ("small", I64),
        ("small", TEXT),
        ("yes", FieldType::Bool),
        ("score", FieldType::Float(64)),
        ("name", TEXT),
        ("at", FieldType::Time(TimeUnit::Seconds)),
        ("day", FieldType::Time(TimeUnit::Days)),
        ("old", FieldType::Time(TimeUnit::Nanoseconds)),
        ("price", FieldType::Float(64)),
        ("pair.b", I64),
    ]);
    options.columns.extend([
        ColumnSpec::new("tags", I64).multi(Multi::Lists),
        ColumnSpec::new("words", TEXT).multi(Multi::Lists),
        ColumnSpec::new("bare", I64).multi(Multi::Lists),
        ColumnSpec::new("name", TEXT).multi(Multi::Split(" ".into())),
    ]);
    options.nulls = Nulls::new(["NA"]);
    options
}

fn expected(row: &Row) -> Vec<Value> {
    let int = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
    let list = |items: Option<Vec<Value>>| items.map_or(Value::Null, Value::List);
    let small = row.small.map(i64::from);
    let name = row.name.as_deref().filter(|&name| name != "NA");
    vec![
        Value::Int(row.id.cast_signed()),
        int(small),
        small.map_or(Value::Null, |small| text(&small.to_string())),
        row.yes.map_or(Value::Null, Value::Bool),
        row.score.filter(|score| !score.is_nan()).map_or(Value::Null, Value::Float),
        name.map_or(Value::Null, text),
        int(row.at.map(|at| at.div_euclid(1_000))),
        int(small.map(|small| small * 1_000)),
        int(small.map(|small| small * 86_400_000_000_000 + 5)),
        small.map_or(Value::Null, |small| Value::Float(small as f64 / 4.0)),
        Value::Int(2),
        list(row.tags.as_ref().map(|tags| tags.iter().flatten().map(|&tag| Value::Int(tag)).collect())),
        list(row.words.as_ref().map(|words| words.iter().map(|word| text(word)).collect())),
        Value::List(row.bare.iter().map(|&item| Value::Int(item.into())).collect()),
        list(row.name.as_ref().map(|name| {
            name.split(' ').filter(|word| !word.is_empty() && *word != "NA").map(text).collect()
        })),
    ]
}

#[test]
fn what_was_written_is_read() {
    let rows = random_rows(41_000, 1);
    let groups: [&[Row]; 4] =
        [&rows[..20_000], &rows[20_000..20_001], &rows[20_001..40_000], &rows[40_000..]];
    let compressions = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ];
    for (round, compression) in compressions.into_iter().enumerate() {
        let bytes = file(&groups, compression);
        let mut options = all_columns();
        options.threads = 1 + round % 3;
        let name = ["a.parquet", "a.parquet.gz", "a"][round % 3];
        let outcome = read_bytes(name, &bytes, &options).unwrap();
        assert!(outcome.rejects.is_empty(), "{:?}", outcome.rejects.first());
        let nans = rows.iter().filter(|row| row.score.is_some_and(f64::is_nan)).count();
        assert_eq!(outcome.report.nans, nans as u64);
        assert_eq!(outcome.rows.len(), rows.len());
        for (at, (read, row)) in outcome.rows.iter().zip(&rows).enumerate() {
            let mut expected = expected(row);
            if row.name.as_deref() == Some("NA") {
                // As one value the spelling is a null, among several it is left out.
                assert!(matches!(read[14], Value::Null | Value::List(_)));
                expected[14] = read[14].clone();
            }
            assert_eq!(read, &expected, "row {at}");
        }
    }
}

#[test]
fn values_without_a_counterpart_reject_their_row() {
    let rows = random_rows(500, 3);
    let bytes = file(&[&rows[..200], &rows[200..]], Compression::SNAPPY);
    let columns = [("id", TEXT), ("small", FieldType::Unsigned(8)), ("score", I64)];
    let outcome = read_bytes("a.parquet", &bytes, &options(&columns)).unwrap();
    let fits = |row: &Row| {
        row.small.is_none_or(|small| small >= 0)
            && row.score.is_none_or(|score| score.is_nan() || score.fract() == 0.0)
    };
    let kept: Vec<Value> = rows.iter().filter(|row| fits(row)).map(|row| text(&row.id.to_string())).collect();
    let read: Vec<Value> = outcome.rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(read, kept);
    let lines: Vec<u64> = outcome.rejects.iter().map(|reject| reject.0).collect();
    let expected: Vec<u64> = (1..).zip(&rows).filter(|(_, row)| !fits(row)).map(|(line, _)| line).collect();
    assert_eq!(lines, expected);
}

#[test]
fn columns_that_cannot_be_had() {
    let rows = random_rows(10, 4);
    let bytes = file(&[&rows], Compression::UNCOMPRESSED);
    let error = |columns: &[(&str, FieldType)]| {
        read_bytes("a.parquet", &bytes, &options(columns)).unwrap_err().to_string()
    };
    assert!(error(&[("nome", TEXT)]).contains("no column \"nome\""));
    assert!(error(&[("tags", I64)]).contains("make the field multi-valued"));
    let error = read_bytes("a.parquet", b"PAR1 no", &options(&[("a", TEXT)])).unwrap_err();
    assert!(error.to_string().contains("cannot be read as Parquet"), "{error}");
}

#[test]
fn damaged_files_give_errors_or_rows_but_never_panic() {
    let rows = random_rows(60, 5);
    let mut random = SmallRng::seed_from_u64(9);
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let bytes = file(&[&rows[..30], &rows[30..]], compression);
        let options = all_columns();
        for len in (0..bytes.len()).step_by(37) {
            assert!(read_bytes("a.parquet", &bytes[..len], &options).is_err());
        }
        for _ in 0..2_000 {
            let mut damaged = bytes.clone();
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= random.random_range(1..=255u8);
            let _ = read_bytes("a.parquet", &damaged, &options);
        }
    }
}

#[test]
fn schemas_are_guessed_from_declared_types_and_counted_values() {
    let rows = random_rows(3_000, 6);
    let folder = tempfile::tempdir().unwrap();
    let bytes = file(&[&rows[..1_000], &rows[1_000..]], Compression::SNAPPY);
    let path = support::write(folder.path(), "a.parquet", &bytes);
    let options = silo_ingest::InferOptions::default();
    let inference = silo_ingest::infer(std::slice::from_ref(&path), &options).unwrap();
    assert!(inference.whole);
    assert_eq!(inference.rows, 3_000);
    let found: Vec<(&str, &str, bool, u64)> = inference
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind.name(), column.multi.is_some(), column.distinct))
        .collect();
    let scores: std::collections::HashSet<u64> = rows
        .iter()
        .filter_map(|row| row.score.filter(|score| !score.is_nan()))
        .map(|score| (score + 0.0).to_bits())
        .collect();
    assert_eq!(found[0], ("id", "u64", false, 3_000));
    assert_eq!(found[1], ("small", "i32", false, 10));
    assert_eq!(found[2], ("yes", "bool", false, 2));
    assert_eq!(found[3], ("score", "f64", false, scores.len() as u64));
    assert_eq!(found[4], ("name", "string", false, 4));
    assert_eq!((found[5].0, found[5].1), ("at", "time(ms)"));
    assert_eq!(found[6].1, "date");
    assert_eq!(found[7].1, "time(ns)");
    assert_eq!(found[8].1, "f64");
    assert_eq!((found[9].0, found[9].1, found[9].2), ("tags", "i64", true));
    assert_eq!((found[10].0, found[10].1, found[10].2), ("words", "string", true));
    assert_eq!(found[11].0, "pair.a");
    assert!(inference.columns[0].unique && !inference.columns[0].nullable);
    let names = silo_ingest::column_names(&[path]).unwrap().unwrap();
    assert_eq!(names, found.iter().map(|column| column.0.to_owned()).collect::<Vec<_>>());
}
