//! redb.

use std::path::Path;

use anyhow::{Context, Result};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Store, Survives};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

struct Redb {
    database: Database,
    durability: Durability,
}

pub(super) fn open(dir: &Path, survives: Survives) -> Result<Box<dyn Store>> {
    let database = Database::builder().set_cache_size(1 << 30).create(dir.join("redb"))?;
    let durability = if survives == Survives::Power { Durability::Immediate } else { Durability::None };
    Ok(Box::new(Redb { database, durability }))
}

impl Redb {
    fn write(
        &self,
        keys: &mut dyn Iterator<Item = u64>,
        durability: Durability,
        value: &dyn Fn(u64) -> Vec<u8>,
    ) -> Result<()> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(durability)?;
        {
            let mut table = txn.open_table(RECORDS)?;
            for key in keys {
                table.insert(key, &value(key)[..])?;
            }
        }
        Ok(txn.commit()?)
    }
}

impl Store for Redb {
    fn load(&self, count: u64, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        self.write(&mut (0..count), Durability::Immediate, value)
    }

    fn put(&self, keys: &[u64], batch: usize, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        keys.chunks(batch)
            .try_for_each(|keys| self.write(&mut keys.iter().copied(), self.durability, value))?;
        if self.durability_is_none() {
            // What was not durable would be gone when it is opened to be checked.
            self.write(&mut std::iter::empty(), Durability::Immediate, value)?;
        }
        Ok(())
    }

    fn get(&self, keys: &[u64], f: &mut dyn FnMut(&[u8])) -> Result<()> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        for key in keys {
            f(table.get(key)?.context("a key is missing")?.value());
        }
        Ok(())
    }

    fn scan(&self, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            f(key.value(), value.value());
        }
        Ok(())
    }
}

impl Redb {
    fn durability_is_none(&self) -> bool {
        matches!(self.durability, Durability::None)
    }
}
