//! What is said when something is wrong, and with which exit code.

use crate::support::Place;

#[test]
fn wrong_usage_is_exit_code_2() {
    let place = Place::shop();
    let mut faults = Vec::new();
    for (args, part) in [
        (&["query", "shop", "level = "][..], "filter, column 9"),
        (&["query", "shop", "levle = 1"], "no field is named \"levle\"; did you mean \"level\"?"),
        (&["query", "shop", "level = \"x\""], "type u8 and cannot be compared with string"),
        (&["query", "shop", "level = 300 AND ("], "column 18"),
        (&["query", "shop", "name < 5"], "cannot be compared with integer"),
        (&["query", "shop", "--sort", "levle:asc"], "did you mean \"level\"?"),
        (&["query", "shop", "--sort", "level"], "write FIELD:asc or FIELD:desc"),
        (&["query", "shop", "--sort", "name:asc"], "no index of kind \"sort\""),
        (&["query", "shop", "--fields", "nam"], "did you mean \"name\"?"),
        (&["query", "shop", "--facet", "nam"], "did you mean \"name\"?"),
        (&["query", "shop", "--facet", "name:x"], "write FIELD or FIELD:10"),
        (&["query", "shop", "--stats", "name"], "no single numbers"),
        (&["query", "shop", "--stats", "nam"], "did you mean \"name\"?"),
        (&["query", "shop", "--cursor", "zzz"], "cursor"),
        (&["query", "shop", "--cursor", "zzz", "--offset", "5"], "cannot be used with"),
        (&["query", "shop", "--limit", "99999999"], "page by cursor"),
        (&["query", "shop", "--facet", "name", "--format", "csv"], "--format table or json"),
        (&["query", "shop", "--limit", "x"], "invalid value 'x'"),
        (&["query"], "required"),
        (&["get", "shop", "x"], "\"x\" is no i64"),
        (&["get", "shop", "99999999999999999999"], "does not fit i64"),
        (&["get", "shop", "1", "--fields", "nam"], "did you mean \"name\"?"),
        (&["delete", "shop"], "required"),
        (&["delete", "shop", "x"], "\"x\" is no i64"),
        (&["delete", "shop", "--filter", "level ="], "column 8"),
        (&["delete", "shop", "1", "--filter", "level = 1"], "cannot be used with"),
        (&["load", "new", "shop.csv", "--add", "a:tags"], "--add needs --mode merge"),
        (
            &["load", "new", "shop.csv", "--id", "ix"],
            "there is no column \"ix\" for the id; there are id, name",
        ),
        (&["load", "new", "shop.csv", "--split", "tgas:;"], "no column \"tgas\""),
        (
            &["load", "new", "shop.csv", "--schema", "shop.toml", "--split", "name:;"],
            "one value and cannot be split",
        ),
        (&["load", "new", "shop.csv", "--join", "x"], "is not a join"),
        (&["load", "new", "shop.csv", "--memory", "lots"], "no number of bytes"),
        (&["load", "new", "shop.csv", "--memory", "1kB"], "not enough"),
        (&["load", "new", "shop.csv", "--threads", "0"], "invalid value '0'"),
        (&["load", "new", "-", "-"], "named twice"),
        (&["load", "shop", "shop.csv", "--mode", "merge", "--id", "id", "--add", "level:name"], "one value"),
        (
            &["load", "shop", "shop.csv", "--mode", "merge", "--id", "id", "--add", "level:nam"],
            "did you mean",
        ),
        (&["load", "shop", "shop.csv", "--mode", "upsert"], "invalid value 'upsert'"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let err = place.fails(2, args);
        if !err.contains(part) {
            faults.push(format!("{args:?}: {err}"));
        }
        assert_eq!(place.names(), ["shop", "shop.csv", "shop.toml"], "{args:?} leaves something");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_filter_that_does_not_parse_is_shown_with_a_caret() {
    let place = Place::shop();
    let err = place.fails(2, &["query", "shop", "level = 1 AND nmae = \"x\""]);
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].starts_with("silo: filter, column 15: no field is named \"nmae\""), "{err}");
    assert_eq!(lines[2].find('^'), lines[1].find("nmae"), "{err}");
}

#[test]
fn failed_work_is_exit_code_1_and_leaves_nothing_behind() {
    let place = Place::shop();
    place
        .file("empty.csv", "")
        .file("twice.csv", "a,a\n1,2\n")
        .file("bad.toml", "id = 5")
        .file("cut.csv.zst", b"\x28\xb5\x2f\xfd\x04");
    place.file("part.csv", "id,name\n1,x\n");
    let names = place.names();
    for (code, args, part) in [
        (1, &["query", "none"][..], "none holds no silo: make one with `silo load none FILE`"),
        (1, &["query", "shop.csv"], "not a directory"),
        (1, &["stats", "none"], "holds no silo"),
        (1, &["check", "none"], "holds no silo"),
        (1, &["put", "none", "shop.csv"], "holds no silo"),
        (1, &["put", "shop", "none.json"], "cannot open none.json"),
        (1, &["load", "none", "shop.csv", "--mode", "append"], "holds no silo"),
        (1, &["load", "shop", "shop.csv"], "already holds a silo: add to it with --mode append or merge"),
        (1, &["load", ".", "shop.csv"], "is not empty"),
        (1, &["load", "shop.csv", "shop.csv"], "is not a directory"),
        (1, &["load", "no/such", "shop.csv"], "does not exist"),
        (1, &["load", "new", "none.csv"], "none.csv"),
        (1, &["load", "new", "shop.csv", "none.csv"], "none.csv"),
        (1, &["load", "new", "empty.csv"], "is empty"),
        (1, &["load", "new", "twice.csv"], "\"a\""),
        (1, &["load", "new", "cut.csv.zst"], "cut.csv.zst"),
        (1, &["load", "new", "shop.csv", "--schema", "none.toml"], "cannot read none.toml"),
        (2, &["load", "new", "shop.csv", "--schema", "bad.toml"], "bad.toml: schema:"),
        (1, &["load", "new", "shop.csv", "--join", "none.csv:a=id"], "none.csv"),
        (1, &["load", "new", "shop.csv", "--rejects", "no/such"], "cannot write no/such"),
        (2, &["load", "shop", "shop.csv", "--mode", "append", "--id", "nr"], "no column \"nr\""),
        (2, &["load", "new", "part.csv", "--schema", "shop.toml", "--id", "nr"], "no column \"nr\""),
        (1, &["backup", "none", "x"], "holds no silo"),
        (1, &["compact", "none"], "holds no silo"),
        (1, &["export", "none"], "holds no silo"),
    ] {
        let err = place.fails(code, args);
        assert!(err.contains(part), "{args:?}: {err}");
        assert_eq!(place.names(), names, "{args:?} leaves something");
    }
    place.file(
        "other.toml",
        "id = { name = \"id\", type = \"i64\" }\n[[fields]]\nname = \"x\"\ntype = \"u8\"\n",
    );
    let err = place.fails(2, &["load", "shop", "part.csv", "--mode", "append", "--schema", "other.toml"]);
    assert!(err.contains("silo schema shop --set other.toml"), "{err}");
    assert_eq!(place.ids("shop", ""), [1, 2, 3, 4, 5]);
}

#[test]
fn a_merge_needs_an_id() {
    let place = Place::shop();
    place.file("x.csv", "name\nx\n");
    let err = place.fails(2, &["load", "shop", "x.csv", "--mode", "merge"]);
    assert!(err.contains("--mode merge needs --id"), "{err}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Read;
    let place = Place::shop();
    let lines: String =
        (100..20_000).map(|id| format!("{{\"id\": {id}, \"name\": \"{}\"}}\n", "x".repeat(50))).collect();
    assert_eq!(place.run_with(&["put", "shop", "-"], lines).code, 0);
    for args in [
        &["export", "shop"][..],
        &["export", "shop", "--format", "csv"],
        &["export", "shop", "--format", "parquet"],
        &["query", "shop", "--limit", "20000", "--format", "ndjson"],
        &["query", "shop", "--limit", "20000", "--format", "json"],
    ] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("silo"))
            .current_dir(place.path(""))
            .args(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 2]).unwrap();
        drop(out);
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {done:?}");
    }
}
