//! Looking after a silo of records.

use std::path::Path;

use bitmap_silo::store::Upkeep;
use datasilo::{BackupReport, CheckpointReport, CompactionReport, Options, RepairReport};

use super::{Engine, store_options};
use crate::error::Result;

impl Engine {
    /// Folds what was written since the last checkpoint into the index below, after tidying up the index
    /// structures. Happens by itself when enough has gathered, the tidying excepted.
    ///
    /// # Errors
    /// Those of the system; the silo is as before, and goes on.
    pub fn checkpoint(&self) -> Result<CheckpointReport> {
        let silo = self.silo()?;
        self.store.maintain(silo, Upkeep::Touched)?;
        Ok(silo.checkpoint()?)
    }

    /// Checkpoints, then moves live bytes together and frees the rest.
    ///
    /// # Errors
    /// Those of the system; the silo is as before, and goes on.
    pub fn compact(&self) -> Result<CompactionReport> {
        let silo = self.silo()?;
        self.store.maintain(silo, Upkeep::All)?;
        silo.checkpoint()?;
        Ok(silo.compact()?)
    }

    /// Makes a copy in a directory that is empty or does not exist, while writing goes on.
    ///
    /// # Errors
    /// As of [`datasilo::Silo::backup`].
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        Ok(self.silo()?.backup(target)?)
    }

    /// Keeps what is readable of the files of a silo that nobody has open, and gives up the rest. Open it afterwards and
    /// [`Engine::repair`] the indexes. Damaged files are kept under names that end in `.damaged`.
    ///
    /// # Errors
    /// As of [`datasilo::repair`].
    pub fn salvage(dir: impl AsRef<Path>) -> Result<RepairReport> {
        Ok(datasilo::repair(dir, &store_options(Options::new()))?)
    }

    /// The figures of the store below.
    ///
    /// # Errors
    /// Damage.
    pub fn store_stats(&self) -> Result<datasilo::Stats> {
        Ok(self.silo()?.stats()?)
    }
}
