//! LMDB through heed.
#![expect(unsafe_code, reason = "an environment of LMDB is a mapped file")]

use std::path::Path;

use anyhow::{Context, Result};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags};

use super::{Store, Survives};

struct Lmdb {
    env: Env,
    records: Database<U64<BigEndian>, Bytes>,
}

pub(super) fn open(dir: &Path, survives: Survives) -> Result<Box<dyn Store>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 30);
    let mut flags = EnvFlags::NO_READ_AHEAD;
    if survives == Survives::Process {
        flags |= EnvFlags::NO_SYNC;
    }
    // SAFETY: the directory is the lab's own and is opened once at a time; without MDB_WRITEMAP, NO_SYNC
    // can only lose commits.
    let env = unsafe {
        options.flags(flags);
        options.open(dir)?
    };
    let mut txn = env.write_txn()?;
    let records = env.create_database(&mut txn, None)?;
    txn.commit()?;
    Ok(Box::new(Lmdb { env, records }))
}

impl Store for Lmdb {
    fn load(&self, count: u64, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        (0..count)
            .try_for_each(|key| self.records.put_with_flags(&mut txn, PutFlags::APPEND, &key, &value(key)))?;
        Ok(txn.commit()?)
    }

    fn put(&self, keys: &[u64], batch: usize, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        for keys in keys.chunks(batch) {
            let mut txn = self.env.write_txn()?;
            keys.iter().try_for_each(|key| self.records.put(&mut txn, key, &value(*key)))?;
            txn.commit()?;
        }
        Ok(())
    }

    fn get(&self, keys: &[u64], f: &mut dyn FnMut(&[u8])) -> Result<()> {
        let txn = self.env.read_txn()?;
        for key in keys {
            f(self.records.get(&txn, key)?.context("a key is missing")?);
        }
        Ok(())
    }

    fn scan(&self, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let txn = self.env.read_txn()?;
        for entry in self.records.iter(&txn)? {
            let (key, value) = entry?;
            f(key, value);
        }
        Ok(())
    }
}
