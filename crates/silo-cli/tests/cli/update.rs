//! `put` and `delete`.

use serde_json::json;

use crate::support::Place;

#[test]
fn records_are_put_whole_or_in_part() {
    let place = Place::shop();
    place.file(
        "a.ndjson",
        "{\"id\": 1, \"name\": \"new\", \"tags\": [9, 4, 9]}\n\n{\"id\": 7, \"level\": 3}\n",
    );
    assert_eq!(place.ok(&["put", "shop", "a.ndjson"]), "1 record created, 1 changed\n");
    let first = place.get("shop", "1");
    assert_eq!(
        (&first["name"], &first["tags"], &first["level"]),
        (&json!("new"), &json!([4, 9]), &json!(null))
    );
    let merged = place.run_with(
        &["put", "shop", "-", "--merge"],
        " [{\"id\": 1, \"level\": 2}, {\"id\": 8, \"name\": null}]\n",
    );
    assert_eq!((merged.code, merged.out.as_str()), (0, "1 record created, 1 changed\n"), "{merged:?}");
    let first = place.get("shop", "1");
    assert_eq!((&first["name"], &first["level"]), (&json!("new"), &json!(2)));
    assert_eq!(place.ids("shop", "level = 2"), [1, 2, 5]);
    assert_eq!(place.run_with(&["put", "shop", "-"], "").out, "0 records created, 0 changed\n");
    assert_eq!(place.run(&["check", "shop"]).code, 0);
}

#[test]
fn many_records_are_put_in_batches() {
    let place = Place::shop();
    let lines: String = (100..3_100).map(|id| format!("{{\"id\": {id}, \"level\": 9}}\n")).collect();
    let put = place.run_with(&["put", "shop", "-"], lines);
    assert_eq!((put.code, put.out.as_str()), (0, "3,000 records created, 0 changed\n"), "{put:?}");
    assert_eq!(place.query("shop", "level = 9", &[])["total"], 3_000);
    assert_eq!(
        place.ok(&["delete", "shop", "--filter", "level = 9 AND id >= 200"]),
        "2,900 records deleted\n"
    );
    assert_eq!(place.query("shop", "level = 9", &[])["total"], 100);
    assert_eq!(place.run(&["check", "shop"]).code, 0);
}

#[test]
fn a_record_that_does_not_fit_is_named_and_those_before_it_stay() {
    let place = Place::shop();
    for (input, part) in [
        (
            "{\"id\": 20}\n{\"id\": 21, \"level\": 300}\n",
            "record 2: id 21, field \"level\": 300 does not fit u8",
        ),
        ("{\"id\": 20}\n{\"id\": 21, \"levle\": 3}\n", "did you mean \"level\"?"),
        ("{\"id\": 20}\n{\"name\": \"x\"}\n", "record 2: the record has no \"id\""),
        ("{\"id\": 20}\n{\"id\": 21,\n", "EOF while parsing"),
        ("[{\"id\": 20}, 5]", "record 2: a record is a JSON object"),
        ("[{\"id\": 20}] x", "trailing characters"),
    ] {
        for flag in [&[][..], &["--merge"]] {
            let ran = place.run_with(&[&["put", "shop", "-"], flag].concat(), input);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{input}: {ran:?}");
            assert!(ran.err.contains(part) && ran.err.contains("before that: "), "{input}: {ran:?}");
            assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
            assert_eq!(place.ids("shop", "id >= 20"), [20], "{input}");
            place.ok(&["delete", "shop", "20"]);
        }
    }
}

#[test]
fn records_are_deleted_by_id() {
    let place = Place::shop();
    assert_eq!(place.ok(&["delete", "shop", "1", "2"]), "2 records deleted\n");
    let ran = place.run(&["delete", "shop", "3", "99"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "1 record deleted\n"));
    assert!(ran.err.contains("no record has 1 of these ids"), "{ran:?}");
    assert_eq!(place.ids("shop", ""), [4, 5]);
    assert_eq!(place.ok(&["delete", "shop", "--filter", ""]), "2 records deleted\n");
    assert_eq!(place.query("shop", "", &[])["total"], 0);
}
