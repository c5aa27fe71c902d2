//! `infer` and `load`.

use serde_json::json;

use crate::support::Place;

#[test]
fn a_schema_is_guessed_with_reasons() {
    let place = Place::new();
    place.file("a.csv", "a,b,c\n1,x,NA\n2,y,3.5\n");
    let text = place.ok(&["infer", "a.csv"]);
    for part in
        ["Guessed from 2 rows", "null besides empty fields: NA", "name = \"c\"", "type = \"f64\"", "numbered"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(place.ok(&["infer", "a.csv", "--id", "a"]).contains("id]\nname = \"a\""), "{text}");
    let piped = place.run_with(&["infer", "-"], "a,b,c\n1,x,NA\n2,y,3.5\n");
    assert_eq!((piped.code, piped.out), (0, text));
}

#[test]
fn without_a_schema_and_an_id_records_are_numbered_in_input_order() {
    let place = Place::new();
    place.file("a.csv", "name,n\nx,10\ny,20\n").file("b.csv", "name,n\nz,30\n");
    let ran = place.run(&["load", "s", "a.csv", "b.csv"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("no --schema: guessed 2 fields from 3 rows"), "{ran:?}");
    assert!(ran.out.starts_with("3 rows in"), "{ran:?}");
    assert_eq!(place.get("s", "3"), json!({"id": 3, "name": "z", "n": 30}));
    // More are numbered on.
    place.ok(&["load", "s", "a.csv", "--mode", "append"]);
    assert_eq!(place.get("s", "4"), json!({"id": 4, "name": "x", "n": 10}));
    assert_eq!(place.query("s", "n = 10", &[])["total"], 2);
}

#[test]
fn all_forms_of_files_give_the_same_records() {
    let place = Place::shop();
    let all = place.ok(&["export", "shop"]);
    let csv = crate::support::SHOP_ROWS;
    let packed = zstd::encode_all(csv.as_bytes(), 3).unwrap();
    place.file("shop.csv.zst", packed).file("shop.tsv", "id\tname\n1\ta,b\n");
    place.file("all.ndjson", &all);
    let load = |silo: &str, more: &[&str]| {
        let args = ["load", silo, "--schema", "shop.toml", "--split", "tags:|", "--split", "words:|"];
        place.ok(&[&args, more].concat());
        assert_eq!(place.ok(&["export", silo]), all, "{more:?}");
    };
    load("zst", &["shop.csv.zst"]);
    load("ndjson", &["all.ndjson", "--id", "id"]);
    load("found", &["all.ndjson"]);
    load("one", &["shop.csv", "--threads", "1", "--memory", "4MiB"]);
    let args = [
        "load",
        "piped",
        "-",
        "--schema",
        "shop.toml",
        "--split",
        "tags:|",
        "--split",
        "words:|",
        "--id",
        "id",
    ];
    assert_eq!(place.run_with(&args, csv).code, 0);
    assert_eq!(place.ok(&["export", "piped"]), all);
    place.ok(&["load", "tsv", "shop.tsv", "--id", "id"]);
    assert_eq!(place.get("tsv", "1"), json!({"id": 1, "name": "a,b"}));
}

#[test]
fn what_is_exported_is_loaded_back_the_same() {
    let place = Place::shop();
    let all = place.ok(&["export", "shop"]);
    assert_eq!(all.lines().count(), 5);
    place.file("schema.toml", place.ok(&["schema", "shop"]));
    for (format, name) in [("csv", "x.csv"), ("ndjson", "x.ndjson"), ("parquet", "x.parquet")] {
        place.ok(&["export", "shop", "--format", format, "--output", name]);
        let silo = format!("from-{format}");
        let args = [
            "load",
            &silo,
            name,
            "--schema",
            "schema.toml",
            "--id",
            "id",
            "--split",
            "tags:;",
            "--split",
            "words:;",
        ];
        place.ok(&args);
        assert_eq!(place.ok(&["export", &silo]), all, "{format}");
        assert_eq!(place.run(&["check", &silo]).code, 0);
    }
    // A list whose values contain the separator cannot be told apart.
    let put = place.run_with(&["put", "shop", "-"], r#"{"id": 9, "words": ["a;b", "c"]}"#);
    assert_eq!(put.code, 0, "{put:?}");
    let err = place.fails(1, &["export", "shop", "--format", "csv"]);
    assert!(err.contains("id 9") && err.contains("--separator"), "{err}");
    assert!(place.ok(&["export", "shop", "--format", "csv", "--separator", "|"]).contains("a;b|c"));
}

#[test]
fn pairs_are_merged_into_sets_in_any_order() {
    let place = Place::new();
    place.file(
        "images.toml",
        r#"
        id = { name = "imageId", type = "u64" }
        [[fields]]
        name = "level"
        type = "u8"
        index = ["filter"]
        [[fields]]
        name = "tagIds"
        type = "u32"
        multi = true
        index = ["filter"]
        "#,
    );
    place.file("images.csv", "imageId,level\n10,1\n20,2\n30,3\n");
    place.file("tags.csv", "imageId,tagId\n10,4\n20,4\n10,9\n10,4\n40,7\n20,\n");
    place.ok(&["load", "s", "images.csv", "--schema", "images.toml", "--id", "imageId"]);
    let done = place.json(&[
        "load",
        "s",
        "tags.csv",
        "--mode",
        "merge",
        "--id",
        "imageId",
        "--add",
        "tagId:tagIds",
        "--format",
        "json",
    ]);
    assert_eq!(
        (&done["rows"], &done["created"], &done["changed"]),
        (&json!(6), &json!(1), &json!(2)),
        "{done}"
    );
    assert_eq!(place.get("s", "10"), json!({"imageId": 10, "level": 1, "tagIds": [4, 9]}));
    assert_eq!(place.get("s", "30"), json!({"imageId": 30, "level": 3, "tagIds": null}));
    assert_eq!(place.get("s", "40"), json!({"imageId": 40, "level": null, "tagIds": [7]}));
    assert_eq!(place.ids("s", "tagIds = 4"), [10, 20]);
    // Columns are set, others stay.
    place.file("levels.csv", "imageId,level\n10,5\n50,6\n");
    place.ok(&["load", "s", "levels.csv", "--mode", "merge", "--id", "imageId"]);
    assert_eq!(place.get("s", "10"), json!({"imageId": 10, "level": 5, "tagIds": [4, 9]}));
    assert_eq!(place.get("s", "50"), json!({"imageId": 50, "level": 6, "tagIds": null}));
    assert_eq!(place.run(&["check", "s"]).code, 0);
}

#[test]
fn appended_records_replace_whole_ones() {
    let place = Place::shop();
    place.file("more.csv", "id,name\n1,new\n6,six\n");
    let out = place.ok(&["load", "shop", "more.csv", "--mode", "append"]);
    assert!(out.contains("1 record created, 1 changed"), "{out}");
    let new = place.get("shop", "1");
    assert_eq!((&new["name"], &new["level"], &new["tags"]), (&json!("new"), &json!(null), &json!(null)));
    assert_eq!(place.ids("shop", "id >= 1"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn joins_with_a_guessed_schema_take_sets_where_keys_repeat() {
    let place = Place::new();
    place.file("f.csv", "tail,hour\nN1,1\nN2,2\nN9,9\n");
    place.file("planes.csv", "tail,seats,year\nN1,100,1999\nN2,200,2001\n");
    place.file("wind.csv", "hour,dir\n1,270\n1,90\n2,NA\n1,270\n");
    place.ok(&[
        "load",
        "s",
        "f.csv",
        "--join",
        "planes.csv:tail=tail:seats,built=year",
        "--join",
        "wind.csv:hour=hour",
    ]);
    assert_eq!(
        place.get("s", "1"),
        json!({"id": 1, "tail": "N1", "hour": 1, "seats": 100, "built": 1999, "dir": [90, 270]})
    );
    let third = place.get("s", "3");
    assert_eq!((&third["seats"], &third["dir"]), (&json!(null), &json!(null)));
    let err = place.fails(2, &["load", "t", "f.csv", "--join", "planes.csv:tail=tail:hour=seats"]);
    assert!(err.contains("already"), "{err}");
    let err = place.fails(2, &["load", "t", "f.csv", "--join", "planes.csv:tail=tail:seat"]);
    assert!(err.contains("no column \"seat\"; it has tail, seats, year"), "{err}");
    assert_eq!(place.names(), ["f.csv", "planes.csv", "s", "wind.csv"]);
}

#[test]
fn spellings_of_null_can_be_told() {
    let place = Place::new();
    place.file("a.csv", "n,t\n-,x\n1,-\n2,\"-\"\n");
    place.ok(&["load", "s", "a.csv", "--null", "-"]);
    assert_eq!(place.get("s", "1"), json!({"id": 1, "n": null, "t": "x"}));
    assert_eq!(place.get("s", "2"), json!({"id": 2, "n": 1, "t": null}));
    assert_eq!(place.get("s", "3"), json!({"id": 3, "n": 2, "t": "-"}));
}
