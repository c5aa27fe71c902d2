//! `bench`

use serde_json::json;

use crate::support::Place;

#[test]
fn queries_are_timed() {
    let place = Place::shop();
    place.file(
        "q.ndjson",
        r#"{"name": "two tags", "filter": "tags = 4 AND tags = 9", "sort": "score:desc", "limit": 50, "offset": 0, "cursor": null, "facets": [], "count": false}

{"name": "all", "filter": null, "sort": null, "facets": ["tags:3"]}
{"name": "counted", "filter": "level = 1", "count": true}
{"filter": "level = 1", "limit": 1, "offset": 1}
"#,
    );
    let report = place.json(&[
        "bench",
        "shop",
        "--queries",
        "q.ndjson",
        "--repeat",
        "7",
        "--threads",
        "2",
        "--format",
        "json",
    ]);
    let queries = report["queries"].as_array().unwrap();
    let found: Vec<_> = queries.iter().map(|q| json!([q["name"], q["total"], q["ids"]])).collect();
    assert_eq!(
        found,
        [
            json!(["two tags", 1, [1]]),
            json!(["all", 5, [5, 4, 3, 2, 1]]),
            json!(["counted", 2, []]),
            json!(["line 5", 2, [1]]),
        ]
    );
    for query in queries {
        let us = |name: &str| query[name].as_f64().unwrap();
        assert!(us("median_us") > 0.0 && us("median_us") <= us("p90_us"), "{query}");
        assert!(us("p90_us") <= us("p99_us") && us("p99_us") <= us("max_us"), "{query}");
    }
    assert!(report["queries_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!((&report["threads"], &report["repeat"]), (&json!(2), &json!(7)));
    let table = place.ok(&["bench", "shop", "--queries", "q.ndjson", "--repeat", "1"]);
    assert!(table.contains("two tags") && table.contains("4 queries on 1 thread: "), "{table}");
}

#[test]
fn queries_with_one_beginning_are_summed_up() {
    let place = Place::shop();
    let line = |name: &str| format!("{{\"name\": \"{name}\", \"filter\": \"level = 1\"}}\n");
    place.file("q", ["level/0", "alone/0", "level/1", "plain", "level/2"].map(line).concat());
    let arguments = ["bench", "shop", "--queries", "q", "--repeat", "3"];
    let report = place.json(&[&arguments[..], &["--format", "json"]].concat());
    let medians = |names: &[&str]| -> Vec<f64> {
        let queries = report["queries"].as_array().unwrap().iter();
        let mut found: Vec<f64> = queries
            .filter(|query| names.contains(&query["name"].as_str().unwrap()))
            .map(|query| query["median_us"].as_f64().unwrap())
            .collect();
        found.sort_by(f64::total_cmp);
        found
    };
    let of_level = medians(&["level/0", "level/1", "level/2"]);
    assert_eq!(
        report["groups"],
        json!([{ "name": "level", "queries": 3, "median_us": of_level[1], "slowest_us": of_level[2] }])
    );
    let table = place.ok(&arguments);
    assert!(table.contains("median of medians") && table.contains("│ level "), "{table}");
}

#[test]
fn a_line_that_is_no_query_is_named() {
    let place = Place::shop();
    for (line, part) in [
        ("{\"filter\": \"level = \"}", "q, line 2: filter, column 9"),
        ("{\"filter\": \"levle = 1\"}", "did you mean \"level\"?"),
        ("{\"sort\": \"score\"}", "line 2: \"score\" is no order"),
        ("{\"facets\": [\"tags:x\"]}", "line 2: \"tags:x\" is no facet"),
        ("{\"fitler\": \"level = 1\"}", "line 2: unknown field `fitler`"),
        ("{", "line 2: EOF"),
        ("{\"sort\": \"name:asc\"}", "no index of kind \"sort\""),
    ] {
        place.file("q", format!("{{}}\n{line}\n"));
        let err = place.fails(2, &["bench", "shop", "--queries", "q"]);
        assert!(err.contains(part), "{line}: {err}");
    }
    place.file("q", "\n");
    assert!(place.fails(2, &["bench", "shop", "--queries", "q"]).contains("no queries"));
    assert!(place.fails(1, &["bench", "shop", "--queries", "none"]).contains("cannot open none"));
}
