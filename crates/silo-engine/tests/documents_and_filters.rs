//! Documents survive their bytes, filters mean what they say, whatever form they come in.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use silo_engine::{DocumentType, FieldSet, Filter, Merge, Record, Value};

#[test]
fn documents_survive_their_bytes() {
    for seed in 0..200 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let documents = DocumentType::new(Arc::new(schema.clone())).unwrap();
        let record = support::record(&schema, support::id(&schema, rng, 60), rng);
        let document = documents.document(&record).unwrap();
        for (field, value) in schema.fields.iter().zip(&document.values) {
            assert_eq!(value, &support::settled(&schema, &record)[&field.name], "{}", field.name);
        }
        let bytes = documents.encode(&document);
        assert_eq!(documents.decode(&bytes, &FieldSet::all(&schema)).unwrap(), document);
        assert_eq!(documents.decode_id(&bytes).unwrap(), document.id);

        let wanted = FieldSet::named(&schema, &["name", "tags"]).unwrap();
        let partial = documents.decode(&bytes, &wanted).unwrap();
        for (at, value) in partial.values.iter().enumerate() {
            let expected = if wanted.contains(at) { document.values[at].clone() } else { Value::Null };
            assert_eq!(value, &expected);
        }

        let json = document.to_json(&schema, &FieldSet::all(&schema));
        let mut again = Record::from_json(&schema, &json).unwrap();
        again.fields.retain(|(name, _)| name != "big");
        assert_eq!(documents.document(&again).unwrap(), document);
    }
}

#[test]
fn damaged_documents_are_errors_or_other_documents() {
    for seed in 0..30 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let documents = DocumentType::new(Arc::new(schema.clone())).unwrap();
        let record = support::record(&schema, support::id(&schema, rng, 60), rng);
        let bytes = documents.encode(&documents.document(&record).unwrap());
        let all = FieldSet::all(&schema);
        for cut in 0..bytes.len() {
            assert!(documents.decode(&bytes[..cut], &all).is_err());
        }
        let mut refused = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                match documents.decode(&damaged, &all) {
                    // What is accepted is a document that its own bytes lead back to.
                    Ok(other) => {
                        assert_eq!(documents.decode(&documents.encode(&other), &all).unwrap(), other);
                    }
                    Err(_) => refused += 1,
                }
                let _ = documents.decode(&damaged, &FieldSet::none(&schema));
            }
        }
        assert!(refused > 0);
        assert!(documents.decode(&[bytes.as_slice(), &[0]].concat(), &all).is_err());
    }
}

#[test]
fn merges_change_what_they_name() {
    let rng = &mut StdRng::seed_from_u64(1);
    let schema = support::schema(rng);
    let documents = DocumentType::new(Arc::new(schema.clone())).unwrap();
    let id = support::id(&schema, rng, 60);
    let get = |document: &silo_engine::Document, name: &str| {
        document.values[schema.position(name).unwrap()].clone()
    };
    let first = documents.merged(None, &Merge::new(id.clone()).set("count", 5).add("tags", [9, 3])).unwrap();
    assert_eq!(get(&first, "tags"), Value::from([3, 9]));
    let merge = Merge::new(id.clone()).add("tags", 4).remove("tags", [3, 77]).set("count", Value::Null);
    let second = documents.merged(Some(&first), &merge).unwrap();
    assert_eq!(get(&second, "tags"), Value::from([4, 9]));
    assert_eq!(get(&second, "count"), Value::Null);
    let third = documents.merged(Some(&second), &Merge::new(id.clone()).remove("tags", [4, 9])).unwrap();
    assert_eq!(get(&third, "tags"), Value::List(vec![]), "an empty set is not null");
    assert_eq!(get(&third, "refs"), Value::Null);
    let fourth = documents.merged(Some(&third), &Merge::new(id.clone()).remove("refs", 1)).unwrap();
    assert_eq!(get(&fourth, "refs"), Value::Null);
    for (merge, wanted) in [
        (Merge::new(id.clone()).add("count", 1), "several values"),
        (Merge::new(id.clone()).set("cuont", 1), "did you mean \"count\""),
        (Merge::new(id.clone()).set("big", 1), "computed"),
        (Merge::new(id).set("level", 256), "0 to 255"),
    ] {
        let message = documents.merged(None, &merge).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn filters_mean_what_they_say_in_every_form() {
    let (mut found, mut asked) = (0, 0);
    for seed in 0..3_000 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let documents = DocumentType::new(Arc::new(schema.clone())).unwrap();
        let depth = rng.random_range(0..4);
        let filter = support::filter(&schema, rng, depth);
        let text = filter.to_string();
        assert_eq!(Filter::parse(&text).unwrap(), filter, "{text}");
        assert_eq!(Filter::from_json(&filter.to_json()).unwrap(), filter, "{text}");
        let bound = filter.bind(&schema).unwrap();
        for _ in 0..20 {
            let record = support::record(&schema, support::id(&schema, rng, 60), rng);
            let values = support::settled(&schema, &record);
            let expected = support::truth(&schema, &record.id, &values, filter.root()) == Some(true);
            let document = documents.document(&record).unwrap();
            assert_eq!(bound.matches(&schema, &document), expected, "seed {seed}: {text}\n{values:?}");
            found += u32::from(expected);
            asked += 1;
        }
    }
    assert!(found * 5 > asked && found * 5 < asked * 4, "{found} of {asked}: the filters tell nothing");
}

#[test]
fn the_language_reads_what_its_page_shows() {
    let text = r#"nsfwLevel IN [1, 2] AND tagIds = 4 AND NOT (tagIds = 77 OR poi = true)
        and baseModel starts with "SD" AND createdAt >= 2024-01-01 AND remixOf IS NULL
        AND reactionCount BETWEEN 10 AND 500"#;
    let built = Filter::is_in("nsfwLevel", [1, 2])
        .and(Filter::eq("tagIds", 4))
        .and(Filter::eq("tagIds", 77).or(Filter::eq("poi", true)).negated())
        .and(Filter::starts_with("baseModel", "SD"))
        .and(Filter::compare("createdAt", silo_engine::Comparison::GreaterOrEqual, "2024-01-01"))
        .and(Filter::is_null("remixOf"))
        .and(Filter::between("reactionCount", 10, 500));
    assert_eq!(Filter::parse(text).unwrap(), built);
    assert_eq!(Filter::parse("  ").unwrap(), Filter::all());
    assert_eq!(
        Filter::parse("`a b` NOT IN ('it''s', -1.5)").unwrap().to_string(),
        r#"NOT (`a b` IN ["it's", -1.5])"#
    );
}

#[test]
fn faults_of_the_language_are_located() {
    let rng = &mut StdRng::seed_from_u64(1);
    let schema = support::schema(rng);
    for (text, column, message) in [
        ("level", 6, "operator"),
        ("level =", 8, "a value"),
        ("level = 1 AND", 14, "a field"),
        ("level = 1 count = 2", 11, "AND, OR or the end"),
        ("level = 1)", 10, "not opened"),
        ("(level = 1", 11, "\")\""),
        ("level IN [1, 2", 15, "\"]\""),
        ("level = NULL", 9, "IS NULL"),
        ("name = SDXL", 8, "text is written \"SDXL\""),
        ("name = \"SDXL", 8, "missing"),
        ("level ~ 1", 7, "no meaning"),
        ("level => 1", 7, "no operator"),
        ("level = 12ab", 9, "neither a number nor a date"),
        ("level = 1 AND levle = 2", 15, "did you mean \"level\""),
        ("level = \"x\"", 9, "cannot be compared"),
        ("flag < true", 8, "compare with ="),
        ("at > \"soon\"", 6, "no date"),
        ("name = 5", 8, "quotes"),
        ("level STARTS WITH \"1\"", 19, "text"),
        ("level IS EMPTY", 1, "IS NULL"),
        ("NOT level BETWEEN 1 OR 2", 21, "AND"),
    ] {
        let error = Filter::parse(text).and_then(|filter| filter.bind(&schema)).unwrap_err();
        assert_eq!(error.column(), Some(column), "{text}: {error}");
        assert!(error.to_string().contains(message), "{text}: {error}");
        let caret = error.to_string().lines().last().unwrap().chars().count();
        assert_eq!(caret, column + 2, "{error}");
    }
    let deep = "(".repeat(100_000);
    assert!(Filter::parse(&deep).unwrap_err().to_string().contains("nesting"));
    assert!(Filter::parse(&"NOT ".repeat(100_000)).unwrap_err().to_string().contains("nesting"));
}
