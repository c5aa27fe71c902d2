//! A silo in a program: open, put, get, close.
//!
//! `cargo run -p datasilo --example embed`

use datasilo::{Durability, KeyspaceOptions, Options, Result, Silo};

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let silo = Silo::open(dir.path().join("library"), Options::new())?;
    let books = silo.create_keyspace("books", &KeyspaceOptions::new())?;
    silo.put(&books, "moby-dick", "Call me Ishmael.", Durability::Power)?;
    let snapshot = silo.snapshot();
    let first_line = snapshot.get(&books, "moby-dick")?;
    let text = String::from_utf8_lossy(first_line.as_deref().unwrap_or_default());
    println!("moby-dick: {text}");
    println!("read in place from {}, after a synced commit", silo.path().display());
    assert_eq!(first_line.as_deref(), Some(&b"Call me Ishmael."[..]));
    silo.close()
}
