//! `query` and `get`.

use serde_json::{Value as Json, json};

use crate::support::Place;

#[test]
fn filters_find_what_they_say() {
    let place = Place::shop();
    for (filter, ids) in [
        ("name = \"tent\"", vec![1]),
        ("name != \"tent\"", vec![2, 4, 5]),
        ("name = \"\"", vec![4]),
        ("name IS NULL", vec![3]),
        ("name STARTS WITH \"ro\"", vec![2]),
        ("level IN [1, 3]", vec![1, 3, 4]),
        ("tags = 4 AND tags = 9", vec![1]),
        ("tags != 4", vec![4, 5]),
        ("tags IS EMPTY", vec![4]),
        ("tags IS NULL", vec![3]),
        ("NOT (tags = 77 OR open = true)", vec![2]),
        ("score BETWEEN -2 AND 1.5", vec![1, 2, 4]),
        ("made >= 2024-02-01", vec![2, 5]),
        ("made < 1970-01-01", vec![4]),
        ("words IS EMPTY", vec![3]),
        ("words IS NULL", vec![2]),
        ("id > 3", vec![4, 5]),
        ("", vec![1, 2, 3, 4, 5]),
    ] {
        assert_eq!(place.ids("shop", filter), ids, "{filter}");
    }
}

#[test]
fn the_json_answer_has_its_shape() {
    let place = Place::shop();
    let mut answer = place.query(
        "shop",
        "level <= 2",
        &[
            "--sort",
            "score:desc",
            "--limit",
            "2",
            "--fields",
            "name,tags",
            "--facet",
            "tags:2",
            "--stats",
            "score",
        ],
    );
    let cursor = answer["cursor"].take();
    assert!(answer["elapsed_us"].take().is_u64());
    assert_eq!(
        answer,
        json!({
            "total": 4, "ids": [5, 1], "cursor": null,
            "documents": [
                {"id": 5, "name": "say \"hi\"\nthere", "tags": [9, 77]}, {"id": 1, "name": "tent", "tags": [4, 9]},
            ],
            "facets": {"tags": [{"value": 4, "count": 2}, {"value": 9, "count": 2}]},
            "stats": {"score": {"min": -2.0, "max": 8.5, "sum": 8.0, "mean": 2.0, "count": 4}},
            "elapsed_us": null,
        })
    );
    let next = place.query(
        "shop",
        "level <= 2",
        &["--sort", "score:desc", "--limit", "2", "--cursor", cursor.as_str().unwrap()],
    );
    assert_eq!(
        (&next["ids"], &next["cursor"], &next["documents"]),
        (&json!([4, 2]), &Json::Null, &json!([]))
    );
    let offset =
        place.query("shop", "level <= 2", &["--sort", "score:desc", "--limit", "2", "--offset", "1"]);
    assert_eq!(offset["ids"], json!([1, 4]));
    let counted = place.query("shop", "level <= 2", &["--count"]);
    assert_eq!((&counted["total"], &counted["ids"]), (&json!(4), &json!([])));
    let explained = place.query("shop", "level <= 2 AND tags = 4", &["--explain"]);
    assert!(explained["explain"]["parts"].is_array(), "{explained}");
    // The order without a word is by id, from the highest.
    assert_eq!(place.query("shop", "", &[])["ids"], json!([5, 4, 3, 2, 1]));
    // What has no value comes last, in both directions.
    assert_eq!(place.query("shop", "", &["--sort", "score:asc"])["ids"], json!([2, 4, 1, 5, 3]));
    assert_eq!(place.query("shop", "", &["--sort", "score:desc"])["ids"], json!([5, 1, 4, 2, 3]));
}

#[test]
fn records_come_as_csv_ndjson_and_tables() {
    let place = Place::shop();
    let args = ["query", "shop", "level = 1", "--sort", "id:asc", "--fields", "tags,name", "--format"];
    let run = |format| place.ok(&[&args[..], &[format]].concat());
    assert_eq!(run("csv"), "id,tags,name\n1,\"[4,9]\",tent\n4,[],\"\"\n");
    assert_eq!(run("ndjson").lines().count(), 2);
    let table = run("table");
    for part in ["tent", "4, 9", "2 records, 2 shown"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    // Without fields a table shows the likely ones, a stream all, and ids where nothing else is asked.
    let table = place.ok(&["query", "shop", "open = true", "--limit", "1"]);
    assert!(table.contains("open") && table.contains("the next page: --cursor "), "{table}");
    let all = place.ok(&["query", "shop", "id = 1", "--format", "ndjson"]);
    assert_eq!(serde_json::from_str::<Json>(&all).unwrap(), place.get("shop", "1"));
    assert_eq!(place.ok(&["query", "shop", "id < 3", "--fields", "id", "--format", "csv"]), "id\n2\n1\n");
    assert_eq!(place.ok(&["query", "shop", "level = 1", "--count"]), "2\n");
    let table = place.ok(&["query", "shop", "--facet", "name", "--stats", "made", "--limit", "0"]);
    for part in ["rope, long", "1969-12-31T23:59:59Z", "5 records"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let explained = place.ok(&["query", "shop", "level = 1 AND tags = 4", "--explain", "--count"]);
    assert!(explained.contains("expected"), "{explained}");
}

#[test]
fn records_are_got_by_id() {
    let place = Place::shop();
    let first = json!({
        "id": 1, "name": "tent", "level": 1, "tags": [4, 9], "score": 1.5, "made": "2024-01-01T00:00:00Z",
        "open": true, "words": ["blue", "red"],
    });
    assert_eq!(place.get("shop", "1"), first);
    assert_eq!(place.json(&["get", "shop", "1", "--format", "json"]), json!([first]));
    assert_eq!(
        place.ok(&["get", "shop", "2", "1", "--fields", "level", "--format", "csv"]),
        "id,level\n2,2\n1,1\n"
    );
    assert!(place.ok(&["get", "shop", "2", "--format", "table"]).contains("rope, long"));
    let ran = place.run(&["get", "shop", "1", "99", "--fields", "level"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "{\"id\":1,\"level\":1}\n"));
    assert!(ran.err.contains("no record has id 99"), "{ran:?}");
    // A negative id is no flag.
    assert!(place.fails(1, &["get", "shop", "--", "-5"]).contains("no record has id -5"));
}

#[test]
fn text_ids_work_throughout() {
    let place = Place::new();
    place.file("a.csv", "code,n\nbeta,2\nalpha,1\n\"with space\",3\nbeta,4\n");
    let out = place.ok(&["load", "s", "a.csv", "--id", "code"]);
    assert!(out.contains("1 row with the id of another row"), "{out}");
    assert_eq!(place.get("s", "beta"), json!({"code": "beta", "n": 4}));
    assert_eq!(place.query("s", "", &["--sort", "code:asc"])["ids"], json!(["alpha", "beta", "with space"]));
    assert_eq!(place.query("s", "code = \"with space\"", &[])["total"], 1);
    place.ok(&["delete", "s", "alpha"]);
    assert_eq!(place.query("s", "", &[])["ids"], json!(["with space", "beta"]));
    assert_eq!(place.run(&["check", "s"]).code, 0);
}
