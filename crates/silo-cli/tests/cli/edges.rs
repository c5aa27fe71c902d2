//! Files as they come.

use serde_json::{Value as Json, json};

use crate::support::Place;

/// Loads bytes as CSV with a schema of `id`, `n` (u8), `t` (text), `f` (f64); gives the report and the rejects.
fn load(bytes: &[u8]) -> (Place, Json, String) {
    let place = Place::new();
    place.file("x.csv", bytes).file(
        "x.toml",
        r#"
        id = { name = "id", type = "u64" }
        [[fields]]
        name = "n"
        type = "u8"
        index = ["filter"]
        [[fields]]
        name = "t"
        type = "string"
        index = ["filter"]
        [[fields]]
        name = "f"
        type = "f64"
        index = ["sort"]
        "#,
    );
    let args =
        ["load", "s", "x.csv", "--schema", "x.toml", "--id", "id", "--rejects", "r.csv", "--format", "json"];
    let report = place.json(&args);
    let rejects = std::fs::read_to_string(place.path("r.csv")).unwrap_or_else(|_| "not UTF-8".to_owned());
    (place, report, rejects)
}

fn texts(place: &Place) -> Vec<Json> {
    let answer = place.query("s", "", &["--sort", "id:asc", "--fields", "t"]);
    answer["documents"].as_array().unwrap().iter().map(|document| document["t"].clone()).collect()
}

#[test]
fn quotes_line_breaks_and_empty_fields() {
    let (place, report, rejects) =
        load(b"id,n,t\n1,1,\"a,b\"\n2,2,\"say \"\"hi\"\"\"\n3,3,\"two\nlines\"\n4,4,\n5,5,\"\"\n6,6,in\"side\n\n7,7,last");
    assert_eq!((&report["rows"], &report["rejected"]), (&json!(7), &json!(0)), "{rejects}");
    assert_eq!(rejects, "file,line,reason,row\n");
    let expected = [
        json!("a,b"),
        json!("say \"hi\""),
        json!("two\nlines"),
        Json::Null,
        json!(""),
        json!("in\"side"),
        json!("last"),
    ];
    assert_eq!(texts(&place), expected);
    assert_eq!(place.ids("s", "t IS NULL"), [4]);
    assert_eq!(place.ids("s", "t = \"\""), [5]);
}

#[test]
fn byte_order_marks_and_carriage_returns_are_taken_off() {
    let (place, report, _) = load(b"\xef\xbb\xbfid,n,t\r\n1,1,a\r\n2,2,\"b\r\nc\"\r\n3,,\r\n");
    assert_eq!(report["rows"], 3);
    assert_eq!(texts(&place), [json!("a"), json!("b\r\nc"), Json::Null]);
}

#[test]
fn rows_that_cannot_be_taken_are_told_with_line_and_reason() {
    let (place, report, rejects) = load(
        b"id,n,t\n1,1,a\n2,300,b\n3,x,\"c\nd\"\n4,4\n5,5,e,5\n,6,f\n-7,7,g\n18446744073709551616,8,h\n18446744073709551615,9,i\n0,10,j\n",
    );
    assert_eq!(
        (&report["rows"], &report["rejected"], &report["created"]),
        (&json!(3), &json!(7), &json!(3)),
        "{rejects}"
    );
    let all = place.query("s", "", &["--sort", "id:asc"]);
    assert_eq!(all["ids"], json!([0, 1, 18_446_744_073_709_551_615_u64]));
    let expected = "\
file,line,reason,row
x.csv,3,n: out of range for a u8,\"2,300,b\"
x.csv,4,n: not a u8,\"3,x,\"\"c
d\"\"\"
x.csv,6,2 fields where the header has 3,\"4,4\"
x.csv,7,4 fields where the header has 3,\"5,5,e,5\"
x.csv,9,id: out of range for a u64,\"-7,7,g\"
x.csv,10,id: out of range for a u64,\"18446744073709551616,8,h\"
x.csv,8,id is null,\",6,f\"
";
    assert_eq!(rejects, expected);
    assert_eq!(place.run(&["check", "s"]).code, 0);
}

#[test]
fn text_that_is_not_utf_8_and_quotes_that_never_end_are_rejected() {
    let (place, report, _) = load(b"id,n,t\n1,1,a\n2,2,\xff\xfe\n3,3,b\n4,4,\"c\n5,5,d\n");
    assert_eq!((&report["rows"], &report["rejected"]), (&json!(2), &json!(2)));
    assert_eq!(texts(&place), [json!("a"), json!("b")]);
    let rejects = std::fs::read(place.path("r.csv")).unwrap();
    let rejects = String::from_utf8_lossy(&rejects);
    assert!(rejects.contains("x.csv,3,not UTF-8") && rejects.contains("never closed"), "{rejects}");
}

#[test]
fn overlong_records_are_rejected() {
    let mut bytes = b"id,n,t\n1,1,a\n2,2,".to_vec();
    bytes.resize(bytes.len() + (17 << 20), b'x');
    bytes.extend_from_slice(b"\n3,3,b\n");
    let (place, report, rejects) = load(&bytes);
    assert_eq!((&report["rows"], &report["rejected"]), (&json!(2), &json!(1)));
    assert!(rejects.contains("too long"), "{}", rejects.get(..200).unwrap_or_default());
    assert_eq!(texts(&place), [json!("a"), json!("b")]);
}

#[test]
fn numbers_that_overflow_and_nans() {
    let (place, report, rejects) =
        load(b"id,n,f\n1,255,1e308\n2,256,1\n3,-1,1\n4,1,1e999\n5,1,nan\n6,1,-0\n7,+7,1.5\n");
    assert_eq!(
        (&report["rows"], &report["rejected"], &report["nans"]),
        (&json!(4), &json!(3), &json!(1)),
        "{rejects}"
    );
    assert_eq!(place.query("s", "f IS NULL", &[])["ids"], json!([5]));
    assert_eq!(place.query("s", "f = 0", &[])["ids"], json!([6]));
    assert_eq!(place.get("s", "6")["f"].to_string(), "0.0");
    assert_eq!(place.get("s", "7")["n"], 7);
}

#[test]
fn of_equal_ids_the_last_row_wins_whatever_the_threads() {
    let place = Place::new();
    let rows: String = (0..60_000).map(|row| format!("{},{row}\n", row % 1_000)).collect();
    place.file("x.csv", format!("id,n\n{rows}")).file("y.csv", "id,n\n5,99999999\n");
    for threads in ["1", "2", "5"] {
        let silo = format!("s{threads}");
        let args = [
            "load",
            &silo,
            "x.csv",
            "y.csv",
            "--id",
            "id",
            "--threads",
            threads,
            "--memory",
            "6MiB",
            "--format",
            "json",
        ];
        let report = place.json(&args);
        assert_eq!(
            (&report["rows"], &report["created"], &report["repeated"]),
            (&json!(60_001), &json!(1_000), &json!(59_001))
        );
        assert_eq!(place.get(&silo, "999")["n"], 59_999);
        assert_eq!(place.get(&silo, "0")["n"], 59_000);
        assert_eq!(place.get(&silo, "5")["n"], 99_999_999);
        assert_eq!(place.run(&["check", &silo]).code, 0);
    }
}

#[test]
fn without_a_file_for_rejects_the_first_are_shown() {
    let place = Place::new();
    let rows: String = (0..10).map(|row| format!("{row},x\n")).collect();
    place
        .file("x.csv", format!("id,n\n{rows}10,5\n"))
        .file("x.toml", "id = { name = \"id\", type = \"u64\" }\n[[fields]]\nname = \"n\"\ntype = \"u8\"\n");
    let ran = place.run(&["load", "s", "x.csv", "--schema", "x.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("rejected: x.csv:2: n: "), "{ran:?}");
    assert!(ran.out.contains("10 rows rejected: --rejects FILE lists them"), "{ran:?}");
    assert_eq!(place.ids("s", ""), [10]);
}
