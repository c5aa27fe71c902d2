//! A small image feed: records in, filtered and sorted pages out, updates that stick.
//! `cargo run -p silo-engine --example images`

use silo_engine::{
    Direction, Durability, Engine, Field, FieldType, Filter, IdField, IndexKinds, Merge, Query, Record,
    Schema, TimeUnit, UpdateBatch,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let none = IndexKinds::none;
    let schema = Schema::new(
        IdField::new("id", FieldType::Signed(64)),
        vec![
            Field::new("level", FieldType::Unsigned(8)).index(none().filter()),
            Field::new("model", FieldType::String).index(none().filter()),
            Field::new("tags", FieldType::Unsigned(32)).multi().index(none().filter()),
            Field::new("user", FieldType::Unsigned(32)).index(none().high()),
            Field::new("reactions", FieldType::Unsigned(32)).index(none().sort()),
            Field::new("createdAt", FieldType::Time(TimeUnit::Seconds)).index(none().sort()),
        ],
    )?;
    let dir = std::env::temp_dir().join(format!("images-{}.silo", std::process::id()));
    let engine = Engine::create(&dir, schema)?;

    let mut batch = UpdateBatch::new();
    for id in 0..20_000_i64 {
        batch.put(
            Record::new(id)
                .with("level", id % 5)
                .with("model", ["SD 1.5", "SDXL", "Flux"].get(usize::try_from(id % 3)?).copied())
                .with("tags", [id % 13, 20 + id % 17])
                .with("user", id * 7919 % 500)
                .with("reactions", id * id % 1_009)
                .with("createdAt", 1_700_000_000 + id * 60),
        );
    }
    println!("{:?}", engine.apply(&batch, Durability::Power)?);

    let filter = Filter::parse("level IN [1, 2] AND tags = 4 AND NOT tags = 25 AND model STARTS WITH 'SD'")?;
    let query = Query::new(filter)
        .sort("reactions", Direction::Descending)
        .limit(5)
        .fields(["model", "reactions", "createdAt"])
        .facet("model", Some(3))
        .stats("reactions")
        .explain();
    let answer = engine.query(&query)?;
    println!("{} records, the first: {:?}", answer.total, answer.ids);
    if let Some(explain) = &answer.explain {
        print!("{explain}");
    }
    println!("{}", answer.to_json(engine.schema()));

    if let Some(id) = answer.ids.first() {
        engine.merge(Merge::new(id.clone()).remove("tags", 4).set("reactions", 0), Durability::Process)?;
        println!("after taking a tag away: {} records", engine.query(&query)?.total);
    }
    engine.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
