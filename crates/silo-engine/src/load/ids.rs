//! Text ids of a load, in memory: their order gives labels, their equality duplicates.

/// Ids and their slots.
#[derive(Debug, Default)]
pub(super) struct TextIds {
    bytes: Vec<u8>,
    /// Slot, and where the id lies.
    ids: Vec<(u32, u64, u32)>,
}

impl TextIds {
    pub(super) fn push(&mut self, id: &str, slot: u32) {
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(id.as_bytes());
        self.ids.push((slot, start, u32::try_from(id.len()).unwrap_or(u32::MAX)));
    }

    /// Takes over what another thread gathered.
    pub(super) fn take(&mut self, other: Self) {
        let moved = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&other.bytes);
        self.ids.extend(other.ids.into_iter().map(|(slot, start, len)| (slot, start + moved, len)));
    }

    fn bytes_of(&self, start: u64, len: u32) -> &[u8] {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        self.bytes.get(start..start.saturating_add(len as usize)).unwrap_or_default()
    }

    /// Sorts by id, then slot.
    pub(super) fn sort(&mut self) {
        let mut ids = std::mem::take(&mut self.ids);
        ids.sort_unstable_by(|(x_slot, x, x_len), (y_slot, y, y_len)| {
            self.bytes_of(*x, *x_len).cmp(self.bytes_of(*y, *y_len)).then(x_slot.cmp(y_slot))
        });
        self.ids = ids;
    }

    /// Ids and slots in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        // What was pushed was text.
        self.ids.iter().map(|(slot, start, len)| {
            (std::str::from_utf8(self.bytes_of(*start, *len)).unwrap_or_default(), *slot)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
