//! The engine's own store.

use std::path::Path;

use anyhow::{Context, Result};
use datasilo::{Durability, IntKey, Keyspace, KeyspaceOptions, Options, Silo};

use super::{Store, Survives};

struct Ours {
    silo: Silo,
    keyspace: Keyspace,
    durability: Durability,
}

pub(super) fn open(dir: &Path, survives: Survives) -> Result<Box<dyn Store>> {
    let silo = Silo::open(dir, Options::new())?;
    let keyspace = match silo.keyspace("records") {
        Ok(keyspace) => keyspace,
        Err(_) => silo.create_keyspace("records", &KeyspaceOptions::new())?,
    };
    let durability = if survives == Survives::Power { Durability::Power } else { Durability::Process };
    Ok(Box::new(Ours { silo, keyspace, durability }))
}

impl Store for Ours {
    fn load(&self, count: u64, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        let session = self.silo.bulk(&[&self.keyspace])?;
        let mut writer = session.writer();
        (0..count).try_for_each(|key| writer.put(&self.keyspace, IntKey::from(key), value(key)))?;
        writer.close()?;
        session.finish()?;
        Ok(())
    }

    fn put(&self, keys: &[u64], batch: usize, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()> {
        let mut puts = self.silo.batch();
        for keys in keys.chunks(batch) {
            puts.clear();
            keys.iter().try_for_each(|key| puts.put(&self.keyspace, IntKey::from(*key), value(*key)))?;
            self.silo.commit(&mut puts, self.durability)?;
        }
        Ok(())
    }

    fn get(&self, keys: &[u64], f: &mut dyn FnMut(&[u8])) -> Result<()> {
        let snapshot = self.silo.snapshot();
        for key in keys {
            f(&snapshot.get(&self.keyspace, IntKey::from(*key))?.context("a key is missing")?);
        }
        Ok(())
    }

    fn multi_get(&self, keys: &[u64], width: usize, f: &mut dyn FnMut(&[u8])) -> Result<()> {
        let snapshot = self.silo.snapshot();
        let mut window = Vec::with_capacity(width);
        for keys in keys.chunks(width) {
            window.clear();
            window.extend(keys.iter().map(|key| IntKey::from(*key)));
            snapshot.multi_get_each(&self.keyspace, &window, |_, value| {
                if let Some(value) = value {
                    f(&value);
                }
            })?;
        }
        Ok(())
    }

    fn scan(&self, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        self.silo.snapshot().for_each::<anyhow::Error>(&self.keyspace, |key, value| {
            f(IntKey::to_u64(key).context("keys have eight bytes")?, &value);
            Ok(())
        })
    }
}
