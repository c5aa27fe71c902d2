//! The flights of 2013, and what `DuckDB` answers about them (`scripts/flights-answers.py`).

use serde_json::{Value as Json, json};

use crate::support::{Place, dataset};

const ANSWERS: &str = include_str!("../flights/answers.json");

fn close(left: &Json, right: &Json) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * right.abs().max(1.0),
        _ => left == right,
    }
}

/// What is asked, as arguments of `query`.
fn words(case: &Json) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.extend(case["filter"].as_str().map(str::to_owned));
    for (flag, key) in [("--sort", "sort"), ("--facet", "facet"), ("--stats", "stats_of")] {
        words.extend(case[key].as_str().into_iter().flat_map(|word| [flag.to_owned(), word.to_owned()]));
    }
    words.extend(["--limit".to_owned(), case["limit"].as_u64().unwrap_or(0).to_string()]);
    words
}

fn wrong(case: &Json, answer: &Json) -> Option<String> {
    let mut faults = Vec::new();
    let mut expect = |what: &str, found: &Json, expected: &Json| {
        if found != expected {
            faults.push(format!("{}: {what}: {found}, not {expected}", case["name"]));
        }
    };
    for key in ["total", "ids"] {
        if !case[key].is_null() {
            expect(key, &answer[key], &case[key]);
        }
    }
    if let Some(facet) = case["facet"].as_str() {
        expect("facets", &answer["facets"][facet.rsplit_once(':').unwrap().0], &case["facets"]);
    }
    if let Some(field) = case["stats_of"].as_str() {
        for key in ["min", "max", "sum", "mean", "count"] {
            let (found, expected) = (&answer["stats"][field][key], &case["stats"][key]);
            // Of nothing there is no sum, or it is 0.
            let nothing = expected == &json!(0) && found.is_null();
            if !close(found, expected) && !nothing {
                expect(key, found, expected);
            }
        }
    }
    (!faults.is_empty()).then(|| faults.join("\n"))
}

#[test]
fn all_answers_are_those_of_another_engine() {
    let place = Place::new();
    let planes = format!("{}:tailnum=tailnum:manufacturer,model,seats", dataset("planes.csv.zst"));
    let weather = format!("{}:time_hour=time_hour:wind_dir", dataset("weather.csv.zst"));
    // The schema is guessed: NA is recognised, and weather, which has several rows an hour, gives sets.
    let report = place.json(&[
        "load",
        "s",
        &dataset("flights.csv.zst"),
        "--join",
        &planes,
        "--join",
        &weather,
        "--format",
        "json",
    ]);
    assert_eq!((&report["rows"], &report["rejected"]), (&json!(336_776), &json!(0)));
    let cases: Vec<Json> = serde_json::from_str(ANSWERS).unwrap();
    assert!(cases.len() >= 79);
    let mut faults = Vec::new();
    for case in &cases {
        let words = words(case);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = place.json(&[&["query", "s", "--format", "json"], words.as_slice()].concat());
        faults.extend(wrong(case, &answer));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(place.run(&["check", "s"]).code, 0);
}

#[test]
fn the_demonstration_runs_to_its_end() {
    let place = Place::new();
    let out = place.ok(&["demo"]);
    for part in [
        "336,776 rows in",
        "974 records, 5 shown",
        "2,817 records deleted",
        "Opened again in",
        "973 records, 5 shown",
        "What to type next",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(place.names().is_empty(), "a demonstration without --dir leaves nothing");
    place.ok(&["demo", "--dir", "flights.silo", "--threads", "1"]);
    assert_eq!(place.query("flights.silo", "", &[])["total"], 333_959);
    assert!(place.fails(1, &["demo", "--dir", "flights.silo"]).contains("already holds a silo"));
}
