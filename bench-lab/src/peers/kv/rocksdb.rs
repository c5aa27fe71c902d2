//! RocksDB.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, IngestExternalFileOptions, IteratorMode, Options,
    SstFileWriter, WriteBatch, WriteOptions,
};

use super::{Store, Survives};

struct Rocks {
    db: DB,
    options: Options,
    dir: PathBuf,
    survives: Survives,
}

pub(super) fn open(dir: &Path, survives: Survives) -> Result<Box<dyn Store>> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(1 << 30)?);
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_block_based_table_factory(&blocks);
    options.increase_parallelism(2);
    options.set_write_buffer_size(64 << 20);
    let db = DB::open(&options, dir)?;
    Ok(Box::new(Rocks { db, options, dir: dir.to_owned(), survives }))
}

impl Store for Rocks {
    fn load(&self, count: u64, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        // Tables of a million records each, moved into the database.
        let mut tables = Vec::new();
        for first in (0..count).step_by(1_000_000) {
            let table = self.dir.join(format!("load-{first}.sst"));
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&table)?;
            (first..count.min(first + 1_000_000))
                .try_for_each(|key| writer.put(key.to_be_bytes(), value(key)))?;
            writer.finish()?;
            tables.push(table);
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        Ok(self.db.ingest_external_file_opts(&options, tables)?)
    }

    fn put(&self, keys: &[u64], batch: usize, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(self.survives == Survives::Power);
        for keys in keys.chunks(batch) {
            let mut puts = WriteBatch::default();
            keys.iter().for_each(|key| puts.put(key.to_be_bytes(), value(*key)));
            self.db.write_opt(puts, &options)?;
        }
        Ok(())
    }

    fn get(&self, keys: &[u64], f: &mut dyn FnMut(&[u8])) -> Result<()> {
        for key in keys {
            f(&self.db.get_pinned(key.to_be_bytes())?.context("a key is missing")?);
        }
        Ok(())
    }

    fn multi_get(&self, keys: &[u64], width: usize, f: &mut dyn FnMut(&[u8])) -> Result<()> {
        for keys in keys.chunks(width) {
            for value in self.db.multi_get(keys.iter().map(|key| key.to_be_bytes())) {
                f(&value?.context("a key is missing")?);
            }
        }
        Ok(())
    }

    fn scan(&self, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for entry in self.db.iterator(IteratorMode::Start) {
            let (key, value) = entry?;
            f(u64::from_be_bytes(key.as_ref().try_into()?), &value);
        }
        Ok(())
    }
}
