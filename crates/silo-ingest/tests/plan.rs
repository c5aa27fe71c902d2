//! From a schema and a command line to what is read.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Mutex;

use silo_engine::Schema;
use silo_engine::columns::RowBatch;
use silo_ingest::{
    Destination, IgnoreRejects, JoinSink, Joins, Multi, Numbering, PlanOptions, ReadOptions, column_names,
    plan,
};
use support::{Value, rows_of, text, write};

fn schema() -> Schema {
    Schema::from_toml(
        r#"
        version = 1
        id = { name = "id", type = "u64" }
        [[fields]]
        name = "level"
        type = "u8"
        [[fields]]
        name = "tags"
        type = "u32"
        multi = true
        [[fields]]
        name = "plane"
        type = "string"
        [[fields]]
        name = "built"
        type = "u16"
        [[fields]]
        name = "gusts"
        type = "f64"
        multi = true
        "#,
    )
    .unwrap()
}

#[test]
fn columns_joins_and_numbers_meet_in_the_batches() {
    let folder = tempfile::tempdir().unwrap();
    let main = write(folder.path(), "m.csv", b"other,tags,level,plane,hour\nx,1|2,7,N1,a\ny,,8,N9,b\n");
    let planes = write(folder.path(), "p.csv.gz", b"tail,year,seats\nN1,1999,5\n");
    let weather = write(folder.path(), "w.tsv", b"gusts\thour\n1.5\ta\n2.5\ta\n");
    let options = PlanOptions {
        split: vec![("tags".into(), "|".into())],
        joins: vec![
            format!("{}:tail=plane:built=year", planes.display()).parse().unwrap(),
            format!("{}:hour=hour", weather.display()).parse().unwrap(),
        ],
        ..PlanOptions::default()
    };
    let names = column_names(std::slice::from_ref(&main)).unwrap().unwrap();
    assert_eq!(names, ["other", "tags", "level", "plane", "hour"]);
    let plan = plan(&schema(), Some(&names), &options).unwrap();
    let expected = [
        Destination::Field(0),
        Destination::Field(1),
        Destination::Field(2),
        Destination::Ignore,
        Destination::Field(3),
        Destination::Field(4),
        Destination::Id,
    ];
    assert_eq!(plan.destinations, expected);
    assert!(plan.numbered);
    let read = ReadOptions::new(plan.columns);
    let joins = Joins::load(&plan.joins, &read).unwrap();
    let batches: Mutex<Vec<RowBatch>> = Mutex::default();
    let sink = |batch| {
        batches.lock().unwrap().push(batch);
        Ok(())
    };
    let numbering = Numbering::new(1, &sink);
    let sink = JoinSink::new(&joins, &numbering);
    silo_ingest::read(&[main], &read, &sink, &IgnoreRejects, &std::sync::Arc::default()).unwrap();
    let rows = rows_of(&batches.into_inner().unwrap()[0]);
    let gusts = Value::List(vec![Value::Float(1.5), Value::Float(2.5)]);
    let tags = Value::List(vec![Value::Int(1), Value::Int(2)]);
    assert_eq!(
        rows,
        [
            vec![Value::Int(7), tags, text("N1"), text("a"), Value::Int(1999), gusts, Value::Int(1)],
            vec![Value::Int(8), Value::Null, text("N9"), text("b"), Value::Null, Value::Null, Value::Int(2)],
        ]
    );
}

#[test]
fn pairs_are_added_to_sets() {
    let names = ["image".to_owned(), "tagId".to_owned()];
    let options = PlanOptions {
        id: Some("image".into()),
        add: vec![("tagId".into(), "tags".into())],
        ..PlanOptions::default()
    };
    let plan = plan(&schema(), Some(&names), &options).unwrap();
    assert_eq!(plan.destinations, [Destination::Id, Destination::Add(1)]);
    assert_eq!(plan.columns[0].kind.name(), "u64");
    assert!(!plan.columns[0].optional);
    assert_eq!((plan.columns[1].kind.name(), &plan.columns[1].multi), ("u32", &Some(Multi::Lists)));
    assert!(!plan.numbered);
}

#[test]
fn plans_that_cannot_be() {
    let names = ["a".to_owned(), "level".to_owned()];
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    let none = PlanOptions::default;
    for (options, expected) in [
        (PlanOptions { id: Some("no".into()), ..none() }, "there is no column \"no\"; there are a, level"),
        (PlanOptions { add: pair("a", "tag"), ..none() }, "no field is named \"tag\""),
        (PlanOptions { add: pair("a", "level"), ..none() }, "has one value"),
        (PlanOptions { add: pair("b", "tags"), ..none() }, "there is no column \"b\""),
        (PlanOptions { split: pair("level", "|"), ..none() }, "cannot be split"),
        (PlanOptions { joins: vec!["f:k=a:no".parse().unwrap()], ..none() }, "no field is named \"no\""),
        (PlanOptions { joins: vec!["f:k=b:built".parse().unwrap()], ..none() }, "there is no column \"b\""),
        (PlanOptions { joins: vec!["f:k=a:built,built=x".parse().unwrap()], ..none() }, "two joins give"),
    ] {
        let error = plan(&schema(), Some(&names), &options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
