//! Where the column pages of a field lie, remembered for a generation of the silo.
//!
//! A top-k opens some hundred pages of microseconds' worth of work each, so that looking them up would be a good
//! part of it. What is remembered is only where a page lies: 40 bytes for each page that was read.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use datasilo::{Place, Snapshot};

/// Chunks whose places are allocated together.
const GROUP: usize = 256;

type Group = Box<[OnceLock<Place>; GROUP]>;

/// Places of the pages of one field, by chunk.
#[derive(Debug)]
pub(crate) struct Places {
    groups: [OnceLock<Group>; GROUP],
}

impl Places {
    fn new() -> Self {
        Self { groups: [const { OnceLock::new() }; GROUP] }
    }

    #[inline]
    pub(crate) fn get(&self, chunk: u16) -> Option<&Place> {
        let [low, high] = chunk.to_le_bytes();
        self.groups.get(usize::from(high))?.get()?.get(usize::from(low))?.get()
    }

    pub(crate) fn set(&self, chunk: u16, place: Place) {
        let [low, high] = chunk.to_le_bytes();
        let Some(group) = self.groups.get(usize::from(high)) else { return };
        let group = group.get_or_init(|| Box::new([const { OnceLock::new() }; GROUP]));
        if let Some(to) = group.get(usize::from(low)) {
            // Another thread found the same.
            let _ = to.set(place);
        }
    }
}

/// The places of all fields, in the newest generation that was read.
#[derive(Debug, Default)]
pub(crate) struct PlaceCache {
    inner: RwLock<(u64, HashMap<u32, Arc<Places>>)>,
}

impl PlaceCache {
    /// The places of a field in the generation of a snapshot; nothing for one that has passed.
    pub(crate) fn of(&self, snapshot: &Snapshot, field: u32) -> Option<Arc<Places>> {
        let wanted = snapshot.generation();
        {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let (generation, fields) = &*inner;
            if *generation > wanted {
                return None;
            }
            if *generation == wanted
                && let Some(places) = fields.get(&field)
            {
                return Some(Arc::clone(places));
            }
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let (generation, fields) = &mut *inner;
        if *generation > wanted {
            return None;
        }
        if *generation < wanted {
            *generation = wanted;
            fields.clear();
        }
        Some(Arc::clone(fields.entry(field).or_insert_with(|| Arc::new(Places::new()))))
    }
}
