//! NDJSON files.

mod support;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use silo_engine::{FieldType, TimeUnit};
use silo_ingest::{ColumnSpec, Multi, Nulls};
use support::{I64, TEXT, Value, options, read_bytes, text};

#[test]
fn values_are_read_by_the_types_of_their_fields() {
    let data = concat!(
        "{\"i\":1,\"f\":1.5,\"b\":true,\"t\":\"x\\ny\",\"d\":\"2013-01-01\"}\r\n",
        "\n",
        "{\"t\":\"\",\"i\":\"12\",\"f\":\"\",\"unknown\":[{\"i\":9}]}\n",
        "{\"i\":1,\"i\":null,\"t\":\"NA\",\"d\":7}\n",
        "{}\n",
        "{\"t\":{\"a\": 1},\"f\":-0}",
    );
    let kinds = [
        ("i", I64),
        ("f", FieldType::Float(64)),
        ("b", FieldType::Bool),
        ("t", TEXT),
        ("d", FieldType::Time(TimeUnit::Days)),
    ];
    let mut options = options(&kinds);
    options.nulls = Nulls::new(["NA"]);
    let outcome = read_bytes("a.ndjson.gz", data.as_bytes(), &options).unwrap();
    let null = || Value::Null;
    assert_eq!(
        outcome.rows,
        [
            vec![Value::Int(1), Value::Float(1.5), Value::Bool(true), text("x\ny"), Value::Int(15_706)],
            vec![Value::Int(12), null(), null(), text(""), null()],
            vec![null(), null(), null(), null(), Value::Int(7)],
            vec![null(), null(), null(), null(), null()],
            vec![null(), Value::Float(0.0), null(), text("{\"a\": 1}"), null()],
        ]
    );
    assert!(outcome.rejects.is_empty(), "{:?}", outcome.rejects);
}

#[test]
fn arrays_are_lists() {
    let data = concat!(
        "{\"t\":[\"a\",null,\"b\\u00e9\",\"\"],\"n\":[1,\"2\"]}\n",
        "{\"t\":[],\"n\":3}\n",
        "{\"t\":\"a|b\",\"n\":null}\n",
        "{\"t\":[[1],{\"x\":2}]}\n",
        "{\"n\":[1,[2]]}\n",
        "{\"n\":[1,2.5]}\n",
        "{\"s\":[1]}\n",
    );
    let mut options = options(&[("s", I64)]);
    options.columns.extend([
        ColumnSpec::new("t", TEXT).multi(Multi::Split("|".into())),
        ColumnSpec::new("n", I64).multi(Multi::Lists),
    ]);
    let outcome = read_bytes("a.jsonl", data.as_bytes(), &options).unwrap();
    let list = |values: &[&str]| Value::List(values.iter().map(|value| text(value)).collect());
    let numbers = |values: &[i64]| Value::List(values.iter().map(|&value| Value::Int(value)).collect());
    let null = || Value::Null;
    assert_eq!(
        outcome.rows,
        [
            vec![null(), list(&["a", "bé", ""]), numbers(&[1, 2])],
            vec![null(), list(&[]), numbers(&[3])],
            vec![null(), list(&["a", "b"]), null()],
            vec![null(), list(&["[1]", "{\"x\":2}"]), null()],
        ]
    );
    let rejects: Vec<(u64, &str)> =
        outcome.rejects.iter().map(|reject| (reject.0, reject.2.as_str())).collect();
    assert_eq!(
        rejects,
        [(5, "not an i64"), (6, "not an i64"), (7, "a list of values for a field that takes one")]
    );
}

#[test]
fn bad_lines_are_rejected_however_the_file_is_cut() {
    let mut data = b"{\"a\":1}\n[1]\n{\"a\":1\n{\"a\":\"\xff\"}\n{\"a\":01}\n".to_vec();
    data.extend(format!("{{\"a\":\"{}\"}}\n{{\"a\":2}}\nnull\n{{\"a\":3}} x\n", "l".repeat(60)).as_bytes());
    let expected = [
        (2, "not a JSON object: expected { at byte 0"),
        (3, "not a JSON object: expected , or } at byte 6"),
        (4, "not UTF-8"),
        (5, "not a JSON object: expected , or } at byte 6"),
        (6, "a record of 68 bytes is too long"),
        (8, "not a JSON object: expected { at byte 0"),
        (9, "not a JSON object: expected the end of the line at byte 8"),
    ];
    for block_bytes in [1, 10, 33, 1 << 20] {
        for name in ["a.ndjson", "a.ndjson.zst"] {
            let mut options = options(&[("a", TEXT)]);
            options.threads = 3;
            options.block_bytes = block_bytes;
            options.most_record_bytes = 40;
            let outcome = read_bytes(name, &data, &options).unwrap();
            assert_eq!(outcome.rows, [[text("1")], [text("2")]]);
            let rejects: Vec<(u64, &str)> =
                outcome.rejects.iter().map(|reject| (reject.0, reject.2.as_str())).collect();
            assert_eq!(rejects, expected, "{block_bytes} {name}");
        }
    }
}

#[test]
fn random_objects_read_as_by_serde_json() {
    let mut random = SmallRng::seed_from_u64(8);
    let keys = ["a", "b", "c", "long key", "q\"\n"];
    let mut data = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..3_000 {
        let mut object = serde_json::Map::new();
        for key in keys {
            if random.random_range(0..4) == 0 {
                continue;
            }
            let text: String = (0..random.random_range(1..9))
                .map(|_| ['x', '"', '\\', '\n', 'é', '😀', '\u{1}'][random.random_range(0..7)])
                .collect();
            object.insert(key.to_owned(), text.into());
        }
        data.extend(serde_json::to_vec(&object).unwrap());
        data.push(b'\n');
        let row = keys.map(|key| object.get(key).map_or(Value::Null, |value| text(value.as_str().unwrap())));
        expected.push(row.to_vec());
    }
    let mut options = options(&keys.map(|key| (key, TEXT)));
    options.block_bytes = 5_000;
    options.threads = 2;
    assert_eq!(read_bytes("a.ndjson", &data, &options).unwrap().rows, expected);
}
