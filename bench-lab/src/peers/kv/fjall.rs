//! fjall.

use std::path::Path;

use anyhow::{Context, Result};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Store, Survives};

struct Fjall {
    database: Database,
    records: Keyspace,
    persist: PersistMode,
}

pub(super) fn open(dir: &Path, survives: Survives) -> Result<Box<dyn Store>> {
    let database =
        Database::builder(dir).cache_size(1 << 30).journal_compression(CompressionType::None).open()?;
    let options = || {
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(CompressionPolicy::disabled())
            .expect_point_read_hits(true)
    };
    let records = database.keyspace("records", options)?;
    let persist = if survives == Survives::Power { PersistMode::SyncData } else { PersistMode::Buffer };
    Ok(Box::new(Fjall { database, records, persist }))
}

impl Store for Fjall {
    fn load(&self, count: u64, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        let mut ingestion = self.records.start_ingestion()?;
        (0..count).try_for_each(|key| ingestion.write(key.to_be_bytes(), value(key)))?;
        ingestion.finish()?;
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn put(&self, keys: &[u64], batch: usize, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        for keys in keys.chunks(batch) {
            let mut puts = self.database.batch().durability(Some(self.persist));
            keys.iter().for_each(|key| puts.insert(&self.records, key.to_be_bytes(), value(*key)));
            puts.commit()?;
        }
        Ok(())
    }

    fn get(&self, keys: &[u64], f: &mut dyn FnMut(&[u8])) -> Result<()> {
        for key in keys {
            f(&self.records.get(key.to_be_bytes())?.context("a key is missing")?);
        }
        Ok(())
    }

    fn scan(&self, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for entry in self.records.iter() {
            let (key, value) = entry.into_inner()?;
            f(u64::from_be_bytes(key.as_ref().try_into()?), &value);
        }
        Ok(())
    }
}
