//! A merge operator: counters that are added to without being read first.
//!
//! `cargo run -p datasilo --example merge_operator`

use std::sync::Arc;

use datasilo::{Durability, KeyspaceOptions, MergeOperator, MergeResult, Options, Result, Silo};

/// Values and operands are numbers of 8 bytes; an operand is added.
#[derive(Debug)]
struct Add;

impl Add {
    fn sum(numbers: &[&[u8]]) -> MergeResult<i64> {
        numbers.iter().try_fold(0i64, |sum, number| {
            let bytes = <[u8; 8]>::try_from(*number).map_err(|_| "a number has 8 bytes".to_owned())?;
            Ok(sum.wrapping_add(i64::from_le_bytes(bytes)))
        })
    }
}

impl MergeOperator for Add {
    fn name(&self) -> &'static str {
        "example.add.v1"
    }

    fn check_operand(&self, operand: &[u8]) -> MergeResult<()> {
        Self::sum(&[operand]).map(|_| ())
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let base = base.map_or(Ok(0), |base| Self::sum(&[base]))?;
        Ok(base.wrapping_add(Self::sum(operands)?).to_le_bytes().to_vec())
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(Self::sum(operands)?.to_le_bytes().to_vec())
    }
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let options = Options::new().merge_operator(Arc::new(Add));
    let silo = Silo::open(dir.path().join("counters"), options)?;
    let views = silo.create_keyspace("views", &KeyspaceOptions::new().merge_operator("example.add.v1"))?;
    let add = |page: &str, n: i64| silo.merge(&views, page, n.to_le_bytes(), Durability::Process);

    for _ in 0..1000 {
        add("/home", 1)?;
    }
    add("/about", 5)?;
    silo.checkpoint()?; // folds what is pending
    add("/home", 1)?;
    add("/about", -2)?;

    let snapshot = silo.snapshot();
    for (page, expected) in [("/home", 1001i64), ("/about", 3)] {
        let value = snapshot.get(&views, page)?.unwrap_or_default();
        let value = i64::from_le_bytes(value.as_ref().try_into().expect("8 bytes"));
        println!("{page}: {value} views");
        assert_eq!(value, expected);
    }
    let refused = silo.merge(&views, "/home", "not a number", Durability::Process);
    println!("refused before it is written: {}", refused.expect_err("the operator looks at operands"));
    drop(snapshot);
    silo.close()
}
