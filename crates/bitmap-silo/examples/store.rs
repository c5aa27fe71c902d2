//! A store of indexes: built in bulk, updated together with documents, reopened and queried.
//!
//! `cargo run -p bitmap-silo --example store`

use bitmap_silo::column::{PageBuilder, sort_key};
use bitmap_silo::postings::build_pages;
use bitmap_silo::store::{FieldKind, Store, StoreBatch, StoreResult};
use bitmap_silo::{Expr, Query, Rows, build_values};
use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Silo};

const ROWS: u32 = 100_000;
const KINDS: [&str; 3] = ["image", "video", "audio"];

fn main() -> StoreResult<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let path = dir.path().join("posts.silo");
    build(&path)?;
    update(&path)?;
    query(&path)
}

/// Kind, score and author of a row.
fn row(slot: u32) -> (u32, i64, u64) {
    (slot % 10 / 4, i64::from(slot.wrapping_mul(2_654_435_761) >> 20) - 2048, u64::from(slot / 7))
}

fn build(path: &std::path::Path) -> StoreResult<()> {
    let silo = Silo::open(path, Store::options(Options::new()))?;
    let store = Store::open(&silo, "index")?;
    let kind = store.create_field(&silo, "kind", FieldKind::Bitmap)?;
    let points = store.create_field(&silo, "score", FieldKind::Column)?;
    let author = store.create_field(&silo, "author", FieldKind::Postings)?;

    // Any number of threads have a writer each; what they wrote is published at once.
    let bulk = store.bulk(&silo, &[])?;
    let mut writer = bulk.writer();
    let kinds: Vec<u32> = (0..ROWS).map(|slot| row(slot).0).collect();
    let bitmaps = build_values(Rows::Consecutive { first_slot: 0, values: &kinds }, 3).expect("three kinds");
    for value in 0..3 {
        writer.put_bitmap(&kind, value, bitmaps.view(value as usize).expect("one per kind"))?;
    }
    let mut builder = PageBuilder::new();
    let keys: Vec<u64> = (0..ROWS).map(|slot| sort_key::from_i64(row(slot).1)).collect();
    for (chunk, keys) in (0..=u16::MAX).zip(keys.chunks(1 << 16)) {
        let slots: Vec<u16> = (0..=u16::MAX).take(keys.len()).collect();
        writer.put_column_page(&points, chunk, &builder.build(&slots, keys)?)?;
    }
    build_pages((0..ROWS).map(|slot| (row(slot).2, slot)), 10_000, |first, page| {
        writer.put_postings_page(&author, first, page)
    })?;
    writer.close()?;
    bulk.finish()?;
    Ok(silo.close()?)
}

fn update(path: &std::path::Path) -> StoreResult<()> {
    let silo = Silo::open(path, Store::options(Options::new()))?;
    let store = Store::open(&silo, "index")?;
    let documents = silo.create_keyspace("documents", &KeyspaceOptions::new())?;
    let [kind, points, author] = ["kind", "score", "author"].map(|name| store.field(&silo, name));
    let (kind, points, author) = (kind?, points?, author?);

    // Row 12 becomes a video with a better score, and a row is new.
    let mut ops = StoreBatch::new();
    ops.clear_bit(&kind, row(12).0, 12);
    ops.set(&kind, 1, 12);
    ops.set_key(&points, 12, sort_key::from_i64(5_000));
    ops.set(&kind, 1, ROWS);
    ops.set_key(&points, ROWS, sort_key::from_i64(7_000));
    ops.add(&author, 1, ROWS);

    // Documents and indexes in one batch: after a crash all of it is there, or none.
    let mut batch = silo.batch();
    batch.put(&documents, IntKey::from(ROWS), "a new document")?;
    let writer = store.write(&silo)?;
    writer.append(&mut ops, &mut batch)?;
    silo.commit(&mut batch, Durability::Power)?;
    drop(writer);
    Ok(silo.close()?)
}

fn query(path: &std::path::Path) -> StoreResult<()> {
    let silo = Silo::open(path, Store::options(Options::new()))?;
    let store = Store::open(&silo, "index")?;
    let snapshot = silo.snapshot();
    let reader = store.reader(&snapshot)?;
    for (value, count) in reader.value_counts(&reader.field("kind")?)? {
        println!("{}: {count} rows", KINDS.get(value as usize).unwrap_or(&"?"));
    }

    // author = 1 AND kind = video
    let videos = reader.bitmap(&reader.field("kind")?, 1)?;
    let of_author = reader.postings(&reader.field("author")?)?.slots(1)?.into_leaf();
    let both = Query::new(Expr::and([Expr::bitmap(&videos), of_author.view().into()]), u64::from(ROWS) + 1);
    let slots = both.first(10);
    let column = reader.column(&reader.field("score")?)?;
    for slot in &slots {
        println!("row {slot}, score {:?}", column.get(*slot)?.map(sort_key::to_i64));
    }
    assert_eq!(slots, [7, 12, ROWS]);
    let report = reader.check()?;
    assert!(report.is_ok(), "{report:?}");
    println!(
        "{} bitmaps, {} column pages, {} postings pages are well",
        report.bitmaps, report.columns, report.postings
    );
    Ok(())
}
