//! `stats`, `schema`, `check`, `compact`, `backup`, `export`, `completions`.

use serde_json::json;

use crate::support::Place;

#[test]
fn stats_show_records_fields_and_bytes() {
    let place = Place::shop();
    let text = place.ok(&["stats", "shop"]);
    for part in ["5 records", "u32, several", "filter, sort", "on disk"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let stats = place.json(&["stats", "shop", "--format", "json"]);
    assert_eq!((&stats["records"], &stats["id"]), (&json!(5), &json!({"name": "id", "type": "i64"})));
    assert_eq!(
        stats["fields"][2],
        json!({"name": "tags", "type": "u32", "multi": true, "nullable": true, "index": ["filter"]})
    );
    assert!(stats["bytes"].as_u64().unwrap() > 0 && stats["spaces"].as_array().unwrap().len() > 2, "{stats}");
}

#[test]
fn a_whole_silo_passes_its_check_and_a_damaged_one_does_not() {
    let place = Place::shop();
    let out = place.ok(&["check", "shop"]);
    assert!(out.contains("5 records and") && out.contains("everything is as it should be"), "{out}");
    let report = place.json(&["check", "shop", "--repair", "--format", "json"]);
    assert_eq!(
        (&report["ok"], &report["findings"], &report["repaired"]),
        (&json!(true), &json!([]), &json!([]))
    );
    // Damage in the middle of the largest file.
    let files = std::fs::read_dir(place.path("shop")).unwrap().map(|file| file.unwrap().path());
    let largest = files.max_by_key(|file| file.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for byte in &mut bytes[used / 2..used / 2 + 64] {
        *byte ^= 0x5a;
    }
    std::fs::write(&largest, bytes).unwrap();
    let err = place.fails(1, &["check", "shop"]);
    assert!(err.contains("damaged"), "{err}");
    // What is readable is kept, and the indexes say what the records say.
    let repaired = place.json(&["check", "shop", "--repair", "--format", "json"]);
    assert_eq!((&repaired["ok"], &repaired["salvaged"]), (&json!(true), &json!(true)), "{repaired}");
    assert_eq!(place.run(&["check", "shop"]).code, 0);
    assert_eq!(place.ids("shop", "").len() as u64, repaired["records"].as_u64().unwrap());
}

#[test]
fn fields_are_added_to_a_silo_and_filled() {
    let place = Place::shop();
    let schema = place.ok(&["schema", "shop"]);
    place.file(
        "new.toml",
        format!("{schema}\n[[fields]]\nname = \"stock\"\ntype = \"u16\"\ndefault = 7\nindex = [\"sort\"]\n"),
    );
    place.file("stock.csv", "id,stock\n1,100\n");
    let err = place
        .fails(2, &["load", "shop", "stock.csv", "--mode", "merge", "--id", "id", "--schema", "new.toml"]);
    assert!(err.contains("silo schema shop --set new.toml"), "{err}");
    assert_eq!(place.ok(&["schema", "shop", "--set", "new.toml"]), "5 records have now 8 fields\n");
    place.ok(&["load", "shop", "stock.csv", "--mode", "merge", "--id", "id", "--schema", "new.toml"]);
    assert_eq!(place.ids("shop", "stock = 7"), [2, 3, 4, 5]);
    assert_eq!(place.get("shop", "1")["stock"], 100);
    assert_eq!(place.run(&["check", "shop"]).code, 0);
    // A field cannot go away.
    place.file("old.toml", &schema);
    assert!(place.fails(2, &["schema", "shop", "--set", "old.toml"]).contains("\"stock\" is missing"));
}

#[test]
fn compaction_keeps_every_record() {
    let place = Place::shop();
    let before = place.ok(&["export", "shop"]);
    for round in 0..5 {
        let lines: String =
            (100..1_100).map(|id| format!("{{\"id\": {id}, \"level\": {round}}}\n")).collect();
        assert_eq!(place.run_with(&["put", "shop", "-"], lines).code, 0);
    }
    place.ok(&["delete", "shop", "--filter", "id >= 100"]);
    assert!(place.ok(&["compact", "shop"]).starts_with("compacted in "));
    assert_eq!(place.ok(&["export", "shop"]), before);
    assert_eq!(place.run(&["check", "shop"]).code, 0);
}

#[test]
fn a_backup_is_a_silo_of_its_own() {
    let place = Place::shop();
    place.ok(&["backup", "shop", "copy"]);
    let before = place.ok(&["export", "shop"]);
    place.ok(&["delete", "shop", "1"]);
    assert_eq!(place.ok(&["export", "copy"]), before);
    assert_eq!(place.run(&["check", "copy"]).code, 0);
    place.ok(&["delete", "copy", "2"]);
    assert_eq!(place.ids("shop", ""), [2, 3, 4, 5]);
    assert!(place.fails(1, &["backup", "shop", "copy"]).contains("not empty"));
}

#[test]
fn exports_go_to_a_file_or_to_standard_output() {
    let place = Place::shop();
    let all = place.ok(&["export", "shop"]);
    assert_eq!(place.ok(&["export", "shop", "--output", "x"]), "");
    assert_eq!(std::fs::read_to_string(place.path("x")).unwrap(), all);
    let csv = place.ok(&["export", "shop", "--format", "csv"]);
    assert_eq!(
        csv,
        "\
id,name,level,tags,score,made,open,words
1,tent,1,4;9,1.5,2024-01-01T00:00:00Z,true,blue;red
2,\"rope, long\",2,4,-2.0,2024-02-01T12:30:00Z,false,
3,,3,,,,,\"\"
4,\"\",1,\"\",0.0,1969-12-31T23:59:59Z,true,green
5,\"say \"\"hi\"\"
there\",2,9;77,8.5,2024-03-01T00:00:00Z,false,red
"
    );
    assert!(place.fails(1, &["export", "shop", "--output", "no/such/place"]).contains("no/such/place"));
    assert_eq!(place.names(), ["shop", "shop.csv", "shop.toml", "x"]);
}

#[test]
fn shells_get_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.ok(&["completions", shell]).contains("export"), "{shell}");
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for verb in [
        "demo",
        "infer",
        "load",
        "query",
        "get",
        "put",
        "delete",
        "bench",
        "stats",
        "schema",
        "check",
        "compact",
        "backup",
        "export",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}: {help}");
        let text = place.ok(&[verb, "--help"]);
        assert!(
            verb == "demo" || text.contains(&format!("silo {verb} ")) && text.contains("Example"),
            "{verb}: {text}"
        );
    }
}
