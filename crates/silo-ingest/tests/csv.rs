//! Delimited text against the `csv` crate, and every kind of bad input.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]

mod support;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use silo_engine::{FieldType, TimeUnit};
use silo_ingest::{ColumnSpec, Multi, Nulls};
use support::{I64, TEXT, Value, options, read_bytes, read_files, text};

/// What the `csv` crate makes of a file: rows of as many fields as the header, and the others counted.
fn oracle(data: &[u8], delimiter: u8) -> (Vec<Vec<Vec<u8>>>, usize) {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(data);
    let mut records = reader.byte_records().map(|record| record.unwrap());
    let width = records.next().unwrap().len();
    let (mut rows, mut rejected) = (Vec::new(), 0);
    for record in records {
        if record.len() == width {
            rows.push(record.iter().map(<[u8]>::to_vec).collect());
        } else {
            rejected += 1;
        }
    }
    (rows, rejected)
}

/// Rows with nulls taken for empty texts.
fn texts(rows: Vec<Vec<Value>>) -> Vec<Vec<Vec<u8>>> {
    let bytes = |value| match value {
        Value::Text(text) => text.into_bytes(),
        Value::Null => Vec::new(),
        other => panic!("{other:?}"),
    };
    rows.into_iter().map(|row| row.into_iter().map(bytes).collect()).collect()
}

#[test]
fn random_files_read_as_by_the_csv_crate_however_they_are_cut() {
    let mut random = SmallRng::seed_from_u64(5);
    for round in 0..1_500 {
        let delimiter = if round % 3 == 0 { b'\t' } else { b',' };
        let width = random.random_range(1..5);
        let names: Vec<String> = (0..width).map(|column| format!("c{column}")).collect();
        let mut data = names.join(&char::from(delimiter).to_string()).into_bytes();
        data.push(b'\n');
        // Quotes in one file of three only, and more or fewer of them.
        let quotes = [0, 3, 40][round % 3];
        for _ in 0..random.random_range(0..300) {
            match random.random_range(0..100) {
                at if at < quotes => data.push(b'"'),
                at if at < 60 => data.push(b"abcde0123"[random.random_range(0..9)]),
                at if at < 65 => data.extend("é".as_bytes()),
                at if at < 70 && !data.ends_with(b"\r") => data.extend(b"\r\n"),
                at if at < 78 => data.push(b'\n'),
                _ => data.push(delimiter),
            }
        }
        let (expected, rejected) = oracle(&data, delimiter);
        let columns: Vec<(&str, FieldType)> = names.iter().map(|name| (name.as_str(), TEXT)).collect();
        let mut options = options(&columns);
        options.block_bytes = random.random_range(1..120);
        options.threads = random.random_range(1..4);
        let extension = if delimiter == b'\t' { "tsv" } else { "csv" };
        let name = format!("a.{extension}{}", ["", ".gz", ".zst"][random.random_range(0..3)]);
        let outcome = read_bytes(&name, &data, &options).unwrap();
        // A field that is never closed is rejected here, and taken as it is there.
        let open = outcome.rejects.iter().filter(|reject| reject.2.contains("never closed")).count();
        let shown = String::from_utf8_lossy(&data);
        let rows = texts(outcome.rows);
        assert!(open <= 1);
        if open == 1 && rows.len() + 1 == expected.len() {
            assert_eq!(rows[..], expected[..rows.len()], "{shown}");
            assert_eq!(outcome.rejects.len(), rejected + 1);
        } else {
            assert_eq!(rows, expected, "{shown}");
            assert_eq!(outcome.rejects.len(), rejected, "{shown}");
        }
        for (line, _, _, row) in &outcome.rejects {
            let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
            let first = row.split(|&byte| byte == b'\n').next().unwrap();
            let first = first.strip_suffix(b"\r").unwrap_or(first);
            let there = lines[*line as usize - 1];
            assert_eq!(there.strip_suffix(b"\r").unwrap_or(there), first, "line {line} of {shown}");
        }
    }
}

#[test]
fn random_bytes_never_panic_and_every_cut_gives_the_same() {
    let mut random = SmallRng::seed_from_u64(6);
    for round in 0..600 {
        let mut data = b"a,b\n".to_vec();
        for _ in 0..random.random_range(0..400) {
            if round % 2 == 0 {
                data.push(random.random());
            } else {
                data.push(b",,\n\n\"\"\r1234-.eTZ:\xff\xc3\xa9"[random.random_range(0..20)]);
            }
        }
        let kinds =
            [TEXT, I64, FieldType::Float(64), FieldType::Bool, FieldType::Time(TimeUnit::Milliseconds)];
        let mut options = options(&[("a", kinds[round % 5]), ("b", TEXT)]);
        options.most_record_bytes = random.random_range(1..60);
        let whole = read_bytes("a.csv", &data, &options).unwrap();
        options.block_bytes = random.random_range(1..100);
        options.threads = random.random_range(1..4);
        for name in ["a.csv", "a.csv.zst"] {
            let cut = read_bytes(name, &data, &options).unwrap();
            assert_eq!(cut.rows, whole.rows, "{}", String::from_utf8_lossy(&data));
            let short = |rejects: &[support::Rejected]| {
                rejects
                    .iter()
                    .map(|reject| (reject.0, reject.1.clone(), reject.2.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(short(&cut.rejects), short(&whole.rejects), "{}", String::from_utf8_lossy(&data));
        }
    }
}

#[test]
fn empty_fields_are_null_and_quoted_empty_fields_are_empty() {
    let data = "a,b\n,x\n\"\",y\nNA,\"NA\"\n-,z\n";
    let mut options = options(&[("a", TEXT), ("b", TEXT)]);
    options.nulls = Nulls::new(["NA", "-"]);
    let rows = read_bytes("a.csv", data.as_bytes(), &options).unwrap().rows;
    assert_eq!(
        rows,
        [
            vec![Value::Null, text("x")],
            vec![text(""), text("y")],
            vec![Value::Null, text("NA")],
            vec![Value::Null, text("z")],
        ]
    );
}

#[test]
fn nulls_that_look_like_values_are_nulls() {
    let data = "a,b,c\n-1,0,9.0\n2,1,1\n \"-1\",\"0\",\"9.0\"\n\"-1\",\"0\",\"\"\n";
    let mut options = options(&[("a", I64), ("b", FieldType::Bool), ("c", FieldType::Float(64))]);
    options.nulls = Nulls::new(["-1", "0", "9.0"]);
    let outcome = read_bytes("a.csv", data.as_bytes(), &options).unwrap();
    let null = || Value::Null;
    assert_eq!(
        outcome.rows,
        [
            vec![null(), null(), null()],
            vec![Value::Int(2), Value::Bool(true), Value::Float(1.0)],
            vec![null(), null(), null()]
        ]
    );
    // A space before a quote makes the quote data.
    assert_eq!(outcome.rejects[0].2, "not an i64");
}

#[test]
fn byte_order_mark_crlf_and_a_missing_last_newline() {
    let data = "\u{feff}\"a\",b\r\n1,x\r\n\r\n2,\"y\r\nz\"\r\n3,w";
    let expected =
        [vec![Value::Int(1), text("x")], vec![Value::Int(2), text("y\r\nz")], vec![Value::Int(3), text("w")]];
    for name in ["a.csv", "a.csv.gz", "a.csv.zst"] {
        let outcome = read_bytes(name, data.as_bytes(), &options(&[("a", I64), ("b", TEXT)])).unwrap();
        assert_eq!(outcome.rows, expected, "{name}");
        assert!(outcome.rejects.is_empty());
    }
}

#[test]
fn columns_come_in_the_order_asked_for() {
    let data = "a,b,c\n1,2,3\n4,5,6\n";
    let mut options = options(&[("c", I64), ("a", I64), ("c", TEXT)]);
    options.columns.push(ColumnSpec { optional: true, ..ColumnSpec::new("d", TEXT) });
    let rows = read_bytes("a.csv", data.as_bytes(), &options).unwrap().rows;
    assert_eq!(rows[1], [Value::Int(6), Value::Int(4), text("6"), Value::Null]);
}

#[test]
fn numbers_at_and_beyond_their_limits() {
    let int = |bits, signed| if signed { FieldType::Signed(bits) } else { FieldType::Unsigned(bits) };
    for (kind, low, high, name) in [
        (int(8, true), "-128", "127", "an i8"),
        (int(8, false), "0", "255", "a u8"),
        (int(16, true), "-32768", "32767", "an i16"),
        (int(16, false), "0", "65535", "a u16"),
        (int(32, true), "-2147483648", "2147483647", "an i32"),
        (int(32, false), "0", "4294967295", "a u32"),
        (int(64, true), "-9223372036854775808", "9223372036854775807", "an i64"),
        (int(64, false), "0", "18446744073709551615", "a u64"),
    ] {
        let low: i128 = low.parse().unwrap();
        let high: i128 = high.parse().unwrap();
        let data = format!("n\n{low}\n{high}\n{}\n{}\n1{high}9\n7.0\n7.5\n+3\n", low - 1, high + 1);
        let outcome = read_bytes("a.csv", data.as_bytes(), &options(&[("n", kind)])).unwrap();
        let expected = [low as i64, high as i64, 7, 3];
        assert_eq!(outcome.rows, expected.map(|number| vec![Value::Int(number)]), "{name}");
        let reasons: Vec<(u64, String)> =
            outcome.rejects.iter().map(|reject| (reject.0, reject.2.clone())).collect();
        let range = format!("out of range for {name}");
        assert_eq!(reasons, [(4, range.clone()), (5, range.clone()), (6, range), (8, format!("not {name}"))]);
    }
}

#[test]
fn floats_bools_and_times() {
    let data = "f,b,t\n-0,TRUE,2013-01-01T10:00:00Z\n.5,n,2013-01-01\nNaN,0,5\n1e999,1,5\ninf,maybe,5\nx,1,5\n1,1,5 Jan\n";
    let kinds =
        [("f", FieldType::Float(64)), ("b", FieldType::Bool), ("t", FieldType::Time(TimeUnit::Seconds))];
    let outcome = read_bytes("a.csv", data.as_bytes(), &options(&kinds)).unwrap();
    assert_eq!(
        outcome.rows,
        [
            vec![Value::Float(0.0), Value::Bool(true), Value::Int(1_357_034_400)],
            vec![Value::Float(0.5), Value::Bool(false), Value::Int(1_356_998_400)],
            vec![Value::Null, Value::Bool(false), Value::Int(5)],
        ]
    );
    assert_eq!(outcome.report.nans, 1);
    let Value::Float(zero) = outcome.rows[0][0] else { panic!() };
    assert_eq!(zero.to_bits(), 0);
    let columns: Vec<&str> = outcome.rejects.iter().map(|reject| reject.1.as_deref().unwrap()).collect();
    assert_eq!(columns, ["f", "b", "f", "t"]);
    assert_eq!(outcome.rejects[0].2, "out of range for a number");
}

#[test]
fn bad_rows_are_told_with_line_and_reason_and_the_others_stay() {
    let mut data = b"a,b\n1,x\n2\n3,y,z\n4,\"p\nq\"\nfive,w\n6,\xff\n".to_vec();
    data.extend(format!("7,{}\n8,ok\n9,\"never\nclosed", "l".repeat(100)).as_bytes());
    for threads in 1..4 {
        for block_bytes in [1, 7, 64, 1 << 20] {
            for name in ["a.csv", "a.csv.gz"] {
                let mut options = options(&[("a", I64), ("b", TEXT)]);
                options.most_record_bytes = 50;
                options.threads = threads;
                options.block_bytes = block_bytes;
                let outcome = read_bytes(name, &data, &options).unwrap();
                let row = |number, value| vec![Value::Int(number), text(value)];
                assert_eq!(outcome.rows, [row(1, "x"), row(4, "p\nq"), row(8, "ok")]);
                let rejects: Vec<(u64, Option<&str>, &str)> = outcome
                    .rejects
                    .iter()
                    .map(|(line, column, reason, _)| (*line, column.as_deref(), reason.as_str()))
                    .collect();
                assert_eq!(
                    rejects,
                    [
                        (3, None, "1 fields where the header has 2"),
                        (4, None, "3 fields where the header has 2"),
                        (7, Some("a"), "not an i64"),
                        (8, None, "not UTF-8"),
                        (9, None, "a record of 102 bytes is too long"),
                        (11, None, "a quoted field is never closed and takes the last 2 lines"),
                    ]
                );
                assert_eq!(outcome.rejects[2].3, b"five,w");
            }
        }
    }
}

#[test]
fn headers_that_cannot_be_used() {
    for (data, expected) in [
        (&b""[..], "is empty"),
        (b"\n\n", "is empty"),
        (b"a,,b\n", "column 2 has no name"),
        (b"a,b,a\n", "column 3 \"a\" has the name of another"),
        (b"a,\xff\n", "column 2 is not UTF-8"),
        (b"a,\"b\n1,2\n", "not closed"),
        (b"x,y\n1,2\n", "no column \"a\"; it has x, y"),
    ] {
        for name in ["a.csv", "a.csv.zst"] {
            let error = read_bytes(name, data, &options(&[("a", TEXT)])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
    let outcome = read_bytes("a.csv", b"\n\r\na\n1\n", &options(&[("a", I64)])).unwrap();
    assert_eq!(outcome.rows, [[Value::Int(1)]]);
    assert!(read_bytes("a.csv", b"a", &options(&[("a", I64)])).unwrap().rows.is_empty());
}

#[test]
fn text_is_split_into_several_values() {
    let data = "t,n\na|b||c,1;2\n,\n\"\",\"\"\n\"x|\"\"y\", 3 ;\nNA,4;x\nq,NA\n";
    let mut options = options(&[]);
    options.nulls = Nulls::new(["NA"]);
    options.columns = vec![
        ColumnSpec::new("t", TEXT).multi(Multi::Split("|".into())),
        ColumnSpec::new("n", I64).multi(Multi::Split(";".into())),
        ColumnSpec::new("t", TEXT).multi(Multi::Lists),
    ];
    let outcome = read_bytes("a.csv", data.as_bytes(), &options).unwrap();
    let list = |values: &[&str]| Value::List(values.iter().map(|value| text(value)).collect());
    let numbers = |values: &[i64]| Value::List(values.iter().map(|&value| Value::Int(value)).collect());
    assert_eq!(
        outcome.rows,
        [
            vec![list(&["a", "b", "c"]), numbers(&[1, 2]), list(&["a|b||c"])],
            vec![Value::Null, Value::Null, Value::Null],
            vec![list(&[]), numbers(&[]), list(&[])],
            vec![list(&["x", "\"y"]), numbers(&[3]), list(&["x|\"y"])],
            vec![list(&["q"]), Value::Null, list(&["q"])],
        ]
    );
    assert_eq!(outcome.rejects[0].2, "not an i64");
}

#[test]
fn several_members_and_frames_are_one_stream_and_damage_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = support::gzip(b"a\n1\n2");
    bytes.extend(support::gzip(b"3\n4\n"));
    let path = folder.path().join("a.csv.gz");
    std::fs::write(&path, &bytes).unwrap();
    let options = options(&[("a", I64)]);
    let expected = [1, 23, 4].map(|number| vec![Value::Int(number)]);
    assert_eq!(read_files(std::slice::from_ref(&path), &options).unwrap().rows, expected);
    bytes.truncate(bytes.len() - 3);
    std::fs::write(&path, &bytes).unwrap();
    assert!(read_files(std::slice::from_ref(&path), &options).is_err());

    let mut bytes = zstd::encode_all(&b"a\n1\n2"[..], 1).unwrap();
    bytes.extend(zstd::encode_all(&b"3\n4\n"[..], 1).unwrap());
    // The name says nothing about the compression.
    let path = folder.path().join("a.csv");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_files(std::slice::from_ref(&path), &options).unwrap().rows, expected);
    bytes.truncate(bytes.len() - 2);
    std::fs::write(&path, &bytes).unwrap();
    assert!(read_files(std::slice::from_ref(&path), &options).is_err());
}

#[test]
fn several_files_are_one_input() {
    let folder = tempfile::tempdir().unwrap();
    let first = support::write(folder.path(), "1.csv", b"a,b\n1,x\n2,y\nz,z\n");
    let second = support::write(folder.path(), "2.tsv.gz", b"b\ta\nu\t3\n");
    let third = support::write(folder.path(), "3.ndjson", b"{\"b\":\"v\",\"a\":4}\n");
    let outcome = read_files(&[first, second, third], &options(&[("a", I64), ("b", TEXT)])).unwrap();
    let row = |number, value| vec![Value::Int(number), text(value)];
    assert_eq!(outcome.rows, [row(1, "x"), row(2, "y"), row(3, "u"), row(4, "v")]);
    assert_eq!(outcome.report.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn missing_files_and_failing_sinks_end_the_load() {
    let options = silo_ingest::ReadOptions { threads: 3, block_bytes: 8, ..options(&[("a", I64)]) };
    let error = read_files(&["/nowhere/a.csv".into()], &options).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/a.csv: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..1_000).flat_map(|row| [row.to_string(), "\n".to_owned()]).collect();
    let path = support::write(folder.path(), "a.csv", format!("a\n{rows}").as_bytes());
    let sink = |batch: silo_engine::columns::RowBatch| {
        if batch.first_row > 100 { Err("full".into()) } else { Ok(()) }
    };
    let progress = std::sync::Arc::default();
    let error =
        silo_ingest::read(&[path], &options, &sink, &silo_ingest::IgnoreRejects, &progress).unwrap_err();
    assert_eq!(error.to_string(), "storing the rows failed: full");
}

#[test]
fn rejects_are_written_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = support::write(folder.path(), "a.csv", b"a,b\n1,\"x, \"\"y\"\"\"\nz,\"p\nq\"\n");
    let rejects = silo_ingest::RejectWriter::new(Vec::new()).unwrap();
    let sink = |_| Ok(());
    let options = options(&[("a", I64)]);
    silo_ingest::read(&[path], &options, &sink, &rejects, &std::sync::Arc::default()).unwrap();
    let written = rejects.finish().unwrap();
    let mut reader = csv::Reader::from_reader(&written[..]);
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(&records[0][1], "3");
    assert_eq!(&records[0][2], "a: not an i64");
    assert_eq!(&records[0][3], "z,\"p\nq\"");
}

/// Takes no row whose number is divisible by seven.
struct NoSevens;

impl silo_ingest::Sink for NoSevens {
    fn batch(
        &self,
        batch: silo_engine::columns::RowBatch,
    ) -> Result<Vec<silo_ingest::Refusal>, silo_ingest::Cause> {
        let sevens = |(row, values): (usize, Vec<Value>)| match values[0] {
            Value::Int(number) if number % 7 == 0 => {
                Some(silo_ingest::Refusal { row, why: format!("{number} is divisible by 7") })
            }
            _ => None,
        };
        Ok(support::rows_of(&batch).into_iter().enumerate().filter_map(sevens).collect())
    }
}

#[test]
fn rows_that_the_sink_refuses_are_told_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let row = |row: u64| if row % 10 == 3 { "x\n".to_owned() } else { format!("{row}\n") };
    let rows: String = (1..=100).map(row).collect();
    let path = support::write(folder.path(), "a.csv", format!("a\n\n{rows}").as_bytes());
    let rejects = silo_ingest::RejectWriter::new(Vec::new()).unwrap();
    let options = silo_ingest::ReadOptions { block_bytes: 20, threads: 2, ..options(&[("a", I64)]) };
    let report =
        silo_ingest::read(&[path], &options, &NoSevens, &rejects, &std::sync::Arc::default()).unwrap();
    // 63 is divisible by 7 and stands for an x.
    assert_eq!((report.rows, report.rejected), (100 - 10 - 13, 10 + 13));
    let written = rejects.finish().unwrap();
    let mut reader = csv::Reader::from_reader(&written[..]);
    let mut told: Vec<(u64, String, String)> = reader
        .records()
        .map(Result::unwrap)
        .map(|record| (record[1].parse().unwrap(), record[2].into(), record[3].into()))
        .collect();
    told.sort();
    let expected: Vec<(u64, String, String)> = (1..=100u64)
        .filter_map(|row| match row {
            _ if row % 10 == 3 => Some((row + 2, "a: not an i64".into(), "x".into())),
            _ if row % 7 == 0 => Some((row + 2, format!("{row} is divisible by 7"), row.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(told, expected);
}
