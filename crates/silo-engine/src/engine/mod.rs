//! Records in a silo: opening, reading, writing.

mod alter;
mod check;
mod labels;
pub(crate) mod layout;
mod upkeep;
mod view;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitmap_silo::store::Store;
use datasilo::{Durability, Options, Silo, SiloReader, Snapshot};

use crate::document::{Document, DocumentType, FieldSet};
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::terms::Terms;
use crate::value::Id;

use layout::{Layout, SCHEMA_KEY, STORE_PREFIX, Spaces};

pub use check::EngineCheck;
pub(crate) use labels::label_of_rank;
pub(crate) use view::Column;
pub use view::View;
use write::WriterState;
pub use write::{UpdateBatch, UpdateReport};

/// Records with a schema, in a directory.
///
/// All methods but those that change the schema take `&self`: share it between threads. Queries take no lock and
/// see one moment each; writers take turns.
///
/// ```
/// use silo_engine::{Durability, Engine, Field, FieldType, IdField, IndexKinds, Record, Schema};
///
/// let schema = Schema::new(
///     IdField::new("id", FieldType::Signed(64)),
///     vec![Field::new("level", FieldType::Unsigned(8)).index(IndexKinds::none().filter())],
/// )?;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("images.silo");
/// let engine = Engine::create(&path, schema)?;
/// engine.put(Record::new(7).with("level", 2), Durability::Process)?;
/// assert_eq!(engine.get(7)?.unwrap().values[0], 2.into());
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    backing: Backing,
    pub(crate) store: Store,
    pub(crate) spaces: Spaces,
    documents: DocumentType,
    pub(crate) layout: Layout,
    pub(crate) terms: Terms,
    writer: Mutex<WriterState>,
}

/// What the records lie in.
#[derive(Debug)]
enum Backing {
    Writer(Silo),
    Reader(Box<SiloReader>),
}

fn store_options(options: Options) -> Options {
    Store::options(options)
}

impl Engine {
    /// Creates a silo of records in a directory that is empty or does not exist.
    ///
    /// # Errors
    /// [`datasilo::Error::AlreadyExists`], [`Error::Schema`] and those of the store below.
    pub fn create(dir: impl AsRef<Path>, schema: Schema) -> Result<Self> {
        Self::create_with(dir, schema, Options::new())
    }

    /// As [`Engine::create`], with options for the store below.
    ///
    /// # Errors
    /// As there.
    pub fn create_with(dir: impl AsRef<Path>, schema: Schema, options: Options) -> Result<Self> {
        let dir = dir.as_ref();
        let occupied = match std::fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(source) => {
                return Err(datasilo::Error::Io { action: "list", path: dir.to_owned(), source }.into());
            }
        };
        if occupied {
            return Err(datasilo::Error::AlreadyExists { path: dir.to_owned() }.into());
        }
        let schema = schema.validated()?;
        let silo = Silo::open(dir, store_options(options.create(true)))?;
        let spaces = Spaces::create(&silo)?;
        let store = Store::open(&silo, STORE_PREFIX)?;
        let layout = Layout::create(&schema, &store, &silo)?;
        // Last: a silo with a schema has everything else.
        silo.put(&spaces.engine, SCHEMA_KEY, schema.to_toml(), Durability::Power)?;
        Self::assemble(Backing::Writer(silo), store, spaces, schema, layout)
    }

    /// Opens a silo of records for reading and writing.
    ///
    /// # Errors
    /// [`datasilo::Error::NotASilo`], [`datasilo::Error::Locked`] and others of the store below.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir, Options::new())
    }

    /// As [`Engine::open`], with options for the store below.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let silo = Silo::open(dir, store_options(options.create(false)))?;
        let snapshot = silo.snapshot();
        let (spaces, schema) = read_schema(&snapshot)?;
        let store = Store::open(&silo, STORE_PREFIX)?;
        let layout = Layout::create(&schema, &store, &silo)?;
        let unfinished = alter::is_unfinished(&spaces, &snapshot)?;
        drop(snapshot);
        let mut engine = Self::assemble(Backing::Writer(silo), store, spaces, schema, layout)?;
        if unfinished {
            engine.finish_alter()?;
        }
        Ok(engine)
    }

    /// Opens a silo of records for reading, beside a writer or without one. Changes no file.
    ///
    /// # Errors
    /// As of [`Engine::open`], except for the lock.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        let silo = SiloReader::open(dir, store_options(Options::new()))?;
        let snapshot = silo.snapshot();
        let (spaces, schema) = read_schema(&snapshot)?;
        if alter::is_unfinished(&spaces, &snapshot)? {
            return Err(Error::Schema(
                "the schema is being changed: wait for the writer, or open for writing to finish".to_owned(),
            ));
        }
        let store = Store::open_read_only(&silo, STORE_PREFIX)?;
        let layout = Layout::open(&schema, &store.reader(&snapshot)?)?;
        Self::assemble(Backing::Reader(Box::new(silo)), store, spaces, schema, layout)
    }

    fn assemble(
        backing: Backing,
        store: Store,
        spaces: Spaces,
        schema: Schema,
        layout: Layout,
    ) -> Result<Self> {
        let documents = DocumentType::new(Arc::new(schema))?;
        let terms = Terms::new(spaces.terms.clone());
        Ok(Self { backing, store, spaces, documents, layout, terms, writer: Mutex::default() })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        self.documents.schema()
    }

    /// How documents are made and read.
    #[must_use]
    pub fn documents(&self) -> &DocumentType {
        &self.documents
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.backing {
            Backing::Writer(silo) => silo.path(),
            Backing::Reader(silo) => silo.path(),
        }
    }

    /// The silo below, if it is open for writing.
    ///
    /// # Errors
    /// [`Error::Query`] if the engine was opened for reading.
    pub(crate) fn silo(&self) -> Result<&Silo> {
        match &self.backing {
            Backing::Writer(silo) => Ok(silo),
            Backing::Reader(_) => {
                Err(Error::Query("the silo is open for reading only: open it for writing".to_owned()))
            }
        }
    }

    /// Moves a silo that is open for reading forward to what its writer has committed by now; nothing to do
    /// for a silo that is open for writing.
    ///
    /// # Errors
    /// As of [`Engine::open_read_only`].
    pub fn refresh(&self) -> Result<()> {
        match &self.backing {
            Backing::Writer(_) => Ok(()),
            Backing::Reader(silo) => Ok(silo.refresh()?),
        }
    }

    fn snapshot(&self) -> Snapshot {
        match &self.backing {
            Backing::Writer(silo) => silo.snapshot(),
            Backing::Reader(silo) => silo.snapshot(),
        }
    }

    /// The records as of now: for several reads that must see the same moment.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn view(&self) -> Result<View<'_>> {
        View::new(self, self.snapshot())
    }

    /// A record by its id.
    ///
    /// # Errors
    /// [`Error::Document`] for an id of the wrong type, and damage.
    pub fn get(&self, id: impl Into<Id>) -> Result<Option<Document>> {
        self.view()?.get(&id.into(), &FieldSet::all(self.schema()))
    }

    /// Number of records.
    ///
    /// # Errors
    /// Damage.
    pub fn len(&self) -> Result<u64> {
        self.view()?.len()
    }

    /// Whether there is no record.
    ///
    /// # Errors
    /// Damage.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, WriterState> {
        // The state is replaced only after a commit; a panic before leaves it as it was.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends writing, so that the next open has nothing to replay.
    ///
    /// # Errors
    /// Those of the system. Everything acknowledged is kept; only the next open takes longer.
    pub fn close(self) -> Result<()> {
        match self.backing {
            Backing::Writer(silo) => Ok(silo.close()?),
            Backing::Reader(_) => Ok(()),
        }
    }
}

/// The keyspaces and the schema of a silo.
fn read_schema(snapshot: &Snapshot) -> Result<(Spaces, Schema)> {
    let no_records =
        || Error::Schema("the silo holds no records (it has no schema): a load creates them".to_owned());
    let spaces = Spaces::open(snapshot).map_err(|error| match error {
        Error::Store(datasilo::Error::UnknownKeyspace { .. }) => no_records(),
        other => other,
    })?;
    let text = snapshot.get(&spaces.engine, SCHEMA_KEY)?.ok_or_else(no_records)?;
    let text = std::str::from_utf8(&text).map_err(|why| Error::damaged("schema", why))?;
    Ok((spaces, Schema::from_toml(text)?))
}
