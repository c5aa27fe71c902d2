//! The handle of a store: its keyspaces, its fields, and who may write.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use datasilo::{Durability, Keyspace, KeyspaceOptions, Options, Silo, SiloReader, Snapshot};

use crate::column::{ColumnDelta, Zones};
use crate::postings::{PageSplit, PostingsDelta, encode_splits};

use super::batch::StoreBatch;
use super::cache::DecodedCache;
use super::decoded::{Operator, Ops};
use super::error::{StoreError, StoreResult};
use super::fields::{Field, FieldKind, FieldList};
use super::heavy::read_heavy;
use super::keys::{BitmapId, Key};
use super::maintain::Touched;
use super::operator::{BITMAP_OPERATOR, BitmapOperator};
use super::places::PlaceCache;
use super::reader::StoreReader;
use super::stored::Bitmaps;
use super::write::Writer;

/// Key of the list of fields in its keyspace.
pub(crate) const FIELDS_KEY: &[u8] = b"fields";

/// The keyspaces of a store.
#[derive(Clone, Debug)]
pub(crate) struct Spaces {
    pub(crate) fields: Keyspace,
    pub(crate) bitmaps: Keyspace,
    pub(crate) columns: Keyspace,
    pub(crate) zones: Keyspace,
    pub(crate) postings: Keyspace,
    pub(crate) splits: Keyspace,
}

/// Suffixes of the keyspaces' names, and their operators.
const SPACES: [(&str, &str); 6] = [
    ("fields", ""),
    ("bitmaps", BITMAP_OPERATOR),
    ("columns", ColumnDelta::OPERATOR),
    ("zones", Zones::OPERATOR),
    ("postings", PostingsDelta::OPERATOR),
    ("splits", ""),
];

impl Spaces {
    fn new(
        prefix: &str,
        mut open: impl FnMut(&str, &str) -> datasilo::Result<Keyspace>,
    ) -> StoreResult<Self> {
        let mut spaces = Vec::with_capacity(SPACES.len());
        for (suffix, operator) in SPACES {
            spaces.push(open(&format!("{prefix}.{suffix}"), operator)?);
        }
        match <[Keyspace; SPACES.len()]>::try_from(spaces) {
            Ok([fields, bitmaps, columns, zones, postings, splits]) => {
                Ok(Self { fields, bitmaps, columns, zones, postings, splits })
            }
            Err(_) => unreachable!("a keyspace was opened for each name"),
        }
    }

    pub(crate) fn all(&self) -> [&Keyspace; SPACES.len()] {
        [&self.fields, &self.bitmaps, &self.columns, &self.zones, &self.postings, &self.splits]
    }

    /// All but the list of fields.
    pub(crate) fn of_entries(&self) -> [&Keyspace; SPACES.len() - 1] {
        [&self.bitmaps, &self.columns, &self.zones, &self.postings, &self.splits]
    }

    pub(crate) fn bitmaps<'s>(&'s self, snapshot: &'s Snapshot) -> Bitmaps<'s> {
        Bitmaps { snapshot, keyspace: &self.bitmaps }
    }
}

/// Which key an operation goes to, where that depends on what is stored and would cost look-ups. It
/// changes only while nobody else writes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Bitmaps with pages.
    pub(crate) paged: HashSet<BitmapId>,
    /// Values of postings fields that have bitmaps of their own.
    pub(crate) heavy: HashMap<u32, BTreeSet<u64>>,
}

impl Routes {
    /// Reads the routes of all fields.
    pub(crate) fn load(spaces: &Spaces, snapshot: &Snapshot) -> StoreResult<Self> {
        let mut routes = Self::default();
        let fields = FieldList::decode(snapshot.get(&spaces.fields, FIELDS_KEY)?.as_deref())?;
        let bitmaps = spaces.bitmaps(snapshot);
        for field in fields.live() {
            let id = field.id();
            match field.kind() {
                FieldKind::Bitmap => {
                    let paged = bitmaps.paged(id)?.to_vec();
                    routes.paged.extend(paged.into_iter().map(|value| BitmapId::few(id, value)));
                }
                FieldKind::Postings => {
                    let heavy = read_heavy(spaces, snapshot, id)?;
                    for value in &heavy {
                        let bitmap = BitmapId::heavy(id, *value);
                        if bitmaps.pages(bitmap)?.is_some() {
                            routes.paged.insert(bitmap);
                        }
                    }
                    routes.heavy.insert(id, heavy);
                }
                FieldKind::Column => {}
            }
        }
        Ok(routes)
    }

    /// Forgets a field.
    fn forget(&mut self, field: u32) {
        self.paged.retain(|id| id.field != field);
        self.heavy.remove(&field);
    }
}

/// Index structures in a silo: named fields with bitmaps, columns and postings.
///
/// A store owns a few keyspaces of the silo, whose names begin with its prefix. Open it once per
/// silo: writers agree through the handle on where entries go.
#[derive(Debug)]
pub struct Store {
    pub(crate) spaces: Spaces,
    /// Shared by those who write, alone for those who move things; none in a silo open for reading.
    routes: Option<RwLock<Routes>>,
    /// The list of fields that was decoded last, and its bytes.
    fields: Mutex<(Vec<u8>, Arc<FieldList>)>,
    touched: Mutex<Touched>,
    cache: DecodedCache,
    places: PlaceCache,
}

/// The fields of a store as of one snapshot.
#[derive(Clone, Debug)]
pub struct FieldsAt {
    generation: u64,
    seq: u64,
    list: Arc<FieldList>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is replaced whole; a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Makes the store's merge operators known to a silo that is to be opened.
    #[must_use]
    pub fn options(options: Options) -> Options {
        options
            .merge_operator(Arc::new(BitmapOperator))
            .merge_operator(Arc::new(Operator::<ColumnDelta>::NEW))
            .merge_operator(Arc::new(Operator::<Zones>::NEW))
            .merge_operator(Arc::new(Operator::<PostingsDelta>::NEW))
    }

    /// Opens the store of this prefix in a silo, or creates it. The silo's options must have gone
    /// through [`Store::options`]. What an interrupted [`Store::drop_field`] left is removed.
    ///
    /// # Errors
    /// [`StoreError::Silo`], and what is malformed in the silo.
    pub fn open(silo: &Silo, prefix: &str) -> StoreResult<Self> {
        let spaces = Spaces::new(prefix, |name, operator| {
            silo.create_keyspace(name, &KeyspaceOptions::new().merge_operator(operator))
        })?;
        let routes = Routes::load(&spaces, &silo.snapshot())?;
        let store = Self::new(spaces, Some(RwLock::new(routes)));
        store.finish_drops(silo)?;
        Ok(store)
    }

    /// Opens the store of this prefix in a silo that is open for reading.
    ///
    /// # Errors
    /// [`StoreError::Silo`] if there is no store of this prefix.
    pub fn open_read_only(silo: &SiloReader, prefix: &str) -> StoreResult<Self> {
        let snapshot = silo.snapshot();
        let spaces = Spaces::new(prefix, |name, _| snapshot.keyspace(name))?;
        Ok(Self::new(spaces, None))
    }

    fn new(spaces: Spaces, routes: Option<RwLock<Routes>>) -> Self {
        Self {
            spaces,
            routes,
            fields: Mutex::default(),
            touched: Mutex::default(),
            cache: DecodedCache::default(),
            places: PlaceCache::default(),
        }
    }

    pub(crate) fn cache(&self) -> &DecodedCache {
        &self.cache
    }

    pub(crate) fn places(&self) -> &PlaceCache {
        &self.places
    }

    /// The keyspaces, for bulk sessions and statistics.
    #[must_use]
    pub fn keyspaces(&self) -> Vec<&Keyspace> {
        self.spaces.all().to_vec()
    }

    /// The list of fields in a snapshot; decoded only when it changed.
    pub(crate) fn field_list(&self, snapshot: &Snapshot) -> StoreResult<Arc<FieldList>> {
        let bytes = snapshot.get(&self.spaces.fields, FIELDS_KEY)?;
        let mut known = lock(&self.fields);
        if known.0 != bytes.as_deref().unwrap_or(&[]) {
            let list = FieldList::decode(bytes.as_deref())?;
            *known = (bytes.as_deref().unwrap_or(&[]).to_vec(), Arc::new(list));
        }
        Ok(Arc::clone(&known.1))
    }

    /// Reads at a snapshot.
    ///
    /// # Errors
    /// [`StoreError::Silo`], and a malformed list of fields.
    pub fn reader<'s>(&'s self, snapshot: &'s Snapshot) -> StoreResult<StoreReader<'s>> {
        Ok(StoreReader::new(self, snapshot, self.field_list(snapshot)?))
    }

    /// The fields at a snapshot, for many readers of it.
    ///
    /// # Errors
    /// As of [`Store::reader`].
    pub fn fields_at(&self, snapshot: &Snapshot) -> StoreResult<FieldsAt> {
        Ok(FieldsAt {
            generation: snapshot.generation(),
            seq: snapshot.seq(),
            list: self.field_list(snapshot)?,
        })
    }

    /// As [`Store::reader`], with the fields of the same snapshot at hand.
    ///
    /// # Panics
    /// If the fields are those of another snapshot.
    #[must_use]
    pub fn reader_with<'s>(&'s self, snapshot: &'s Snapshot, fields: &FieldsAt) -> StoreReader<'s> {
        assert_eq!(
            (snapshot.generation(), snapshot.seq()),
            (fields.generation, fields.seq),
            "fields are read with the snapshot that they are of"
        );
        StoreReader::new(self, snapshot, Arc::clone(&fields.list))
    }

    fn routes(&self) -> StoreResult<&RwLock<Routes>> {
        self.routes.as_ref().ok_or_else(|| {
            StoreError::Usage(
                "the store was opened for reading: open it in the writer's silo to write".to_owned(),
            )
        })
    }

    /// Alone among those who write.
    pub(crate) fn exclusive(&self) -> StoreResult<RwLockWriteGuard<'_, Routes>> {
        // Routes change after a commit, in a step that cannot panic.
        Ok(self.routes()?.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn shared(&self) -> StoreResult<RwLockReadGuard<'_, Routes>> {
        Ok(self.routes()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn touched(&self) -> MutexGuard<'_, Touched> {
        lock(&self.touched)
    }

    /// Begins to write: hold the writer from [`Writer::append`] until the batch is committed or given
    /// up. Any number of threads write side by side; what moves entries from key to key
    /// ([`Store::maintain`], bulk loads, creating and dropping fields) waits for them, and they for it. So a thread holds one writer
    /// at most, and none while it calls those.
    ///
    /// # Errors
    /// [`StoreError::Usage`] if the store was opened for reading, and as of [`Store::reader`].
    pub fn write(&self, silo: &Silo) -> StoreResult<Writer<'_>> {
        let routes = self.shared()?;
        // Taken under the lock, it sees whatever was moved before.
        let snapshot = silo.snapshot();
        let fields = self.field_list(&snapshot)?;
        Ok(Writer::new(self, routes, snapshot, fields))
    }

    /// Commits the operations alone, and empties the batch.
    ///
    /// # Errors
    /// As of [`Writer::append`] and [`Silo::commit`]; the batch is as before.
    pub fn commit(&self, silo: &Silo, ops: &mut StoreBatch, durability: Durability) -> StoreResult<u64> {
        let writer = self.write(silo)?;
        let mut batch = silo.batch();
        writer.append(ops, &mut batch)?;
        let seq = silo.commit(&mut batch, durability)?;
        ops.clear();
        Ok(seq)
    }

    /// The fields as of now, by number.
    ///
    /// # Errors
    /// As of [`Store::reader`].
    pub fn fields(&self, silo: &Silo) -> StoreResult<Vec<Field>> {
        Ok(self.field_list(&silo.snapshot())?.live().to_vec())
    }

    /// A field as of now.
    ///
    /// # Errors
    /// [`StoreError::UnknownField`], and as of [`Store::reader`].
    pub fn field(&self, silo: &Silo, name: &str) -> StoreResult<Field> {
        self.field_list(&silo.snapshot())?.get(name).cloned()
    }

    /// Creates a field, or returns the existing one of this name if it has this kind. Survives a loss
    /// of power when it returns.
    ///
    /// # Errors
    /// [`StoreError::FieldKind`] if it exists with another kind, [`StoreError::InvalidField`], and
    /// those of the silo.
    pub fn create_field(&self, silo: &Silo, name: &str, kind: FieldKind) -> StoreResult<Field> {
        let _alone = self.exclusive()?;
        let mut list = FieldList::clone(&*self.field_list(&silo.snapshot())?);
        if let Some(existing) = list.find(name) {
            existing.expect(kind)?;
            return Ok(existing.clone());
        }
        let field = list.add(name, kind)?;
        let mut batch = silo.batch();
        batch.put(&self.spaces.fields, FIELDS_KEY, list.encode())?;
        if kind == FieldKind::Postings {
            let splits = encode_splits([PageSplit { first: (0, 0), page: 0 }])?;
            batch.put(&self.spaces.splits, Key::field(field.id()), splits)?;
        }
        silo.commit(&mut batch, Durability::Power)?;
        Ok(field)
    }

    /// Drops a field with all its entries. It is gone in one commit; its entries are removed after
    /// that in steps, by the next [`Store::open`] if this is cut off. Its number is never used again.
    ///
    /// # Errors
    /// [`StoreError::UnknownField`], and those of the silo.
    pub fn drop_field(&self, silo: &Silo, name: &str) -> StoreResult<()> {
        {
            let mut routes = self.exclusive()?;
            let mut list = FieldList::clone(&*self.field_list(&silo.snapshot())?);
            let id = list.get(name)?.id();
            list.begin_drop(id);
            silo.put(&self.spaces.fields, FIELDS_KEY, list.encode(), Durability::Power)?;
            routes.forget(id);
            self.touched().forget(id);
        }
        self.finish_drops(silo)
    }

    /// Removes the entries of dropped fields.
    fn finish_drops(&self, silo: &Silo) -> StoreResult<()> {
        for (id, kind) in self.field_list(&silo.snapshot())?.dropping().to_vec() {
            match kind {
                FieldKind::Bitmap => self.remove_bitmaps(silo, id)?,
                FieldKind::Column => self.remove_column(silo, id)?,
                FieldKind::Postings => self.remove_postings(silo, id)?,
            }
            let _alone = self.exclusive()?;
            let mut list = FieldList::clone(&*self.field_list(&silo.snapshot())?);
            list.end_drop(id);
            silo.put(&self.spaces.fields, FIELDS_KEY, list.encode(), Durability::Process)?;
        }
        Ok(())
    }
}
