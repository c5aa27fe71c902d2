//! Changing the schema of records that are there.

use std::sync::Arc;

use bitmap_silo::store::FieldKind;
use datasilo::{Durability, Snapshot};

use super::Engine;
use super::layout::{Layout, SCHEMA_KEY, Spaces, index_name};
use super::write::UpdateBatch;
use crate::document::{Change, DocumentType, Merge};
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::terms::Terms;

/// Key in the keyspace `engine` that is there while the indexes do not fit the schema yet.
const ALTERING_KEY: &[u8] = b"altering";
/// Records that are rewritten in one commit.
const STEP: usize = 1_000;

/// Whether a change of the schema was cut off.
pub(super) fn is_unfinished(spaces: &Spaces, snapshot: &Snapshot) -> Result<bool> {
    Ok(snapshot.contains(&spaces.engine, ALTERING_KEY)?)
}

impl Engine {
    /// Changes the schema: fields and indexes are added, and indexes removed. New indexes are filled from the
    /// documents; new defaults and computed fields are put into them. If this is cut off, the next open for
    /// writing finishes it.
    ///
    /// # Errors
    /// [`Error::Schema`] for changes that are not possible ([`Schema::evolve`]), and for a new field that must not be null and
    /// has no default while there are records. Those of the store below.
    pub fn alter(&mut self, schema: &Schema) -> Result<()> {
        let schema = self.schema().evolve(schema)?;
        let empty = self.is_empty()?;
        for field in &schema.fields {
            let was_nullable = self.schema().field(&field.name).is_ok_and(|old| old.nullable);
            let is_new = self.schema().position(&field.name).is_none();
            if !field.nullable && (is_new || was_nullable) && field.default.is_none() && !empty {
                return Err(Error::Schema(format!(
                    "field {:?} must not be null and there are records without it: give it a default",
                    field.name
                )));
            }
        }
        {
            let _alone = self.lock_writer();
            let silo = self.silo()?;
            let mut batch = silo.batch();
            batch.put(&self.spaces.engine, SCHEMA_KEY, schema.to_toml())?;
            batch.put(&self.spaces.engine, ALTERING_KEY, [])?;
            silo.commit(&mut batch, Durability::Power)?;
        }
        self.layout = Layout::create(&schema, &self.store, self.silo()?)?;
        self.documents = DocumentType::new(Arc::new(schema))?;
        self.terms = Terms::new(self.spaces.terms.clone());
        self.finish_alter()
    }

    /// Makes documents and indexes fit the schema.
    pub(super) fn finish_alter(&mut self) -> Result<()> {
        self.rewrite_documents()?;
        self.repair()?;
        let silo = self.silo()?;
        let fields = self.schema().fields.iter();
        let kept: Vec<String> = fields
            .flat_map(|field| {
                let (index, number) = (field.index, field.number());
                let kinds = [
                    (index.filter, FieldKind::Bitmap),
                    (index.high, FieldKind::Postings),
                    (index.sort, FieldKind::Column),
                ];
                kinds.into_iter().filter(|(on, _)| *on).map(move |(_, kind)| index_name(number, kind))
            })
            .collect();
        let own = [&self.layout.state, &self.layout.id, &self.layout.slots];
        for field in self.store.fields(silo)? {
            let is_own = own.iter().any(|own| own.name() == field.name());
            if !is_own && !kept.iter().any(|name| name == field.name()) {
                self.store.drop_field(silo, field.name())?;
            }
        }
        silo.delete(&self.spaces.engine, ALTERING_KEY, Durability::Power)?;
        Ok(())
    }

    /// Puts new defaults and computed values into documents.
    fn rewrite_documents(&self) -> Result<()> {
        let schema = self.schema();
        if schema.fields.iter().all(|field| field.default.is_none() && field.compute.is_none()) {
            return Ok(());
        }
        let view = self.view()?;
        let mut batch = UpdateBatch::new();
        view.for_each(|_, document| {
            let mut finished = document.clone();
            self.documents.finish(&mut finished)?;
            if finished != document {
                batch.push(Change::Merge(Merge::new(document.id)));
            }
            if batch.len() >= STEP {
                self.apply(&batch, Durability::Process)?;
                batch.clear();
            }
            Ok(())
        })?;
        self.apply(&batch, Durability::Process)?;
        Ok(())
    }
}
