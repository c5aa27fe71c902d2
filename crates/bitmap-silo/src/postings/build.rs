//! Writing pages.

use super::ascending::write_ascending;
use super::error::PostingsError;
use super::iter::PageValues;
use super::packed::Runs;
use super::page::{PAGE_PAIRS_MAX, PostingsPage, TAG, TAIL_BYTES, VERSION};
use super::view::PostingsView;

/// One page of sorted pairs and markers, in columns.
#[derive(Debug, Default)]
struct PageColumns {
    /// Distinct values of the pairs.
    values: Vec<u64>,
    /// Where the pairs of each begin.
    begins: Vec<u32>,
    slots: Vec<u32>,
    runs: Runs,
    /// Value and slot count.
    markers: Vec<(u64, u32)>,
}

impl PageColumns {
    fn entry_count(&self) -> usize {
        self.slots.len() + self.markers.len()
    }

    fn clear(&mut self) {
        self.values.clear();
        self.begins.clear();
        self.slots.clear();
        self.markers.clear();
    }

    /// Appends the page's bytes; nothing where there is no entry. At most [`PAGE_PAIRS_MAX`] of
    /// either kind are there.
    #[expect(clippy::cast_possible_truncation, reason = "counts have at most 24 bits")]
    fn write(&mut self, out: &mut Vec<u8>) {
        if self.entry_count() == 0 {
            return;
        }
        let run_count = self.runs.find(&self.slots);
        out.extend([TAG, VERSION, 0, 0]);
        for count in [self.slots.len(), self.values.len(), self.markers.len()] {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        for bound in [self.values.first(), self.values.last()] {
            out.extend_from_slice(&bound.copied().unwrap_or(0).to_le_bytes());
        }
        out.extend_from_slice(&(run_count as u32).to_le_bytes());
        for (value, slot_count) in &self.markers {
            out.extend_from_slice(&value.to_le_bytes());
            out.extend_from_slice(&slot_count.to_le_bytes());
        }
        if !self.slots.is_empty() {
            write_ascending(&self.values, out);
            self.begins.push(self.slots.len() as u32);
            write_ascending(&self.begins, out);
            self.begins.pop();
            self.runs.write(&self.slots, out);
        }
        out.extend([0; TAIL_BYTES]);
    }
}

/// Cuts sorted pairs into pages and hands each to a sink as it is full: the first pair, a marker
/// counting as (value, 0), and the bytes.
#[derive(Debug)]
pub struct PagesBuilder<S> {
    sink: S,
    max_entries: usize,
    columns: PageColumns,
    /// The first entry of the page and the last so far.
    first: (u64, u32),
    last: Option<(u64, u32)>,
    /// The value of the last pair of this page, if there is one.
    value: Option<u64>,
    bytes: Vec<u8>,
    page_count: usize,
}

impl<E, S> PagesBuilder<S>
where
    E: From<PostingsError>,
    S: FnMut((u64, u32), &[u8]) -> Result<(), E>,
{
    /// Pages of at most `max_entries` pairs and markers, which is raised to one and lowered to
    /// [`PAGE_PAIRS_MAX`].
    pub fn new(max_entries: usize, sink: S) -> Self {
        Self {
            sink,
            max_entries: max_entries.clamp(1, PAGE_PAIRS_MAX),
            columns: PageColumns::default(),
            first: (0, 0),
            last: None,
            value: None,
            bytes: Vec::new(),
            page_count: 0,
        }
    }

    /// Appends a pair; the same as the last one counts once.
    ///
    /// # Errors
    /// [`PostingsError::PairOrder`] where it is below the last one; the sink's.
    #[inline]
    pub fn push(&mut self, value: u64, slot: u32) -> Result<(), E> {
        let pair = (value, slot);
        if let Some(last) = self.last
            && last >= pair
        {
            // Behind a marker, which counts as (value, 0), comes the pair (value, 0).
            let behind_marker = last == pair && self.value != Some(value);
            if last > pair {
                return Err(PostingsError::PairOrder { last, got: pair }.into());
            }
            if !behind_marker {
                return Ok(());
            }
        }
        self.make_room(pair)?;
        if self.value != Some(value) {
            self.value = Some(value);
            self.columns.values.push(value);
            #[expect(clippy::cast_possible_truncation, reason = "a page has at most 2^24 pairs")]
            self.columns.begins.push(self.columns.slots.len() as u32);
        }
        self.columns.slots.push(slot);
        self.last = Some(pair);
        Ok(())
    }

    /// Appends the marker of a promoted value, before pairs of the value if there are any.
    ///
    /// # Errors
    /// [`PostingsError::PairOrder`] where it does not follow the last entry; the sink's.
    pub fn push_promoted(&mut self, value: u64, slot_count: u32) -> Result<(), E> {
        let got = (value, 0);
        if let Some(last) = self.last
            && last >= got
        {
            return Err(PostingsError::PairOrder { last, got }.into());
        }
        self.make_room(got)?;
        self.columns.markers.push((value, slot_count));
        self.last = Some(got);
        Ok(())
    }

    /// Closes the page if it is full; `next` begins another then.
    #[inline]
    fn make_room(&mut self, next: (u64, u32)) -> Result<(), E> {
        if self.columns.entry_count() >= self.max_entries {
            self.flush()?;
        }
        if self.columns.entry_count() == 0 {
            self.first = next;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        self.bytes.clear();
        self.columns.write(&mut self.bytes);
        self.columns.clear();
        self.value = None;
        self.page_count += 1;
        (self.sink)(self.first, &self.bytes)
    }

    /// Closes the last page; answers how many there are.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> Result<usize, E> {
        if self.columns.entry_count() > 0 {
            self.flush()?;
        }
        Ok(self.page_count)
    }
}

/// Cuts sorted pairs into pages of at most `max_pairs` and hands each to the sink with its first
/// pair; answers how many there are. A pair that comes twice counts once.
///
/// # Errors
/// [`PostingsError::PairOrder`] where pairs do not ascend; the sink's.
pub fn build_pages<E: From<PostingsError>>(
    pairs: impl IntoIterator<Item = (u64, u32)>,
    max_pairs: usize,
    sink: impl FnMut((u64, u32), &[u8]) -> Result<(), E>,
) -> Result<usize, E> {
    let mut builder = PagesBuilder::new(max_pairs, sink);
    for (value, slot) in pairs {
        builder.push(value, slot)?;
    }
    builder.finish()
}

/// The page that a view comes to; no bytes where nothing is left. O(pairs).
///
/// # Errors
/// [`PostingsError::PageFull`] where it would be more than a page can have; [`split`] it then.
pub fn fold(view: &PostingsView<'_>) -> Result<Vec<u8>, PostingsError> {
    let mut pages = split(view, PAGE_PAIRS_MAX)?;
    match pages.pop() {
        None => Ok(Vec::new()),
        Some((_, page)) if pages.is_empty() => Ok(page),
        Some(_) => {
            Err(PostingsError::PageFull { entries: entry_count(view) as u64, max: PAGE_PAIRS_MAX as u64 })
        }
    }
}

/// Pairs and markers of a view.
fn entry_count(view: &PostingsView<'_>) -> usize {
    view.len() + changed_values(view).filter(|value| view.promoted(*value).is_some()).count()
}

/// A page and its first pair, value and slot, a marker counting as (value, 0).
pub type FirstAndPage = ((u64, u32), Vec<u8>);

/// The pages of at most `max_pairs` that a view comes to, about equal; none where nothing is left.
/// O(pairs).
///
/// # Errors
/// [`PostingsError::PairOrder`] where the page's bytes were damaged so that its pairs do not
/// ascend.
pub fn split(view: &PostingsView<'_>, max_pairs: usize) -> Result<Vec<FirstAndPage>, PostingsError> {
    let entry_count = entry_count(view);
    let page_count = entry_count.div_ceil(max_pairs.clamp(1, PAGE_PAIRS_MAX)).max(1);
    let mut pages = Vec::with_capacity(page_count);
    let mut builder = PagesBuilder::new(entry_count.div_ceil(page_count), |first, page: &[u8]| {
        pages.push((first, page.to_vec()));
        Ok(())
    });
    let page = view.page();
    let mut slots = Vec::new();
    let mut from = 0;
    let mut changed = changed_values(view);
    loop {
        // What is stored up to the next change goes as it is.
        let stop = changed.next();
        let to = stop.map_or(page.value_count(), |value| page.indices(&(value..=value)).0);
        push_stored(page, (from, to), &mut slots, &mut builder)?;
        let Some(value) = stop else { break };
        let posting = view.get(value);
        if let Some(slot_count) = posting.promoted {
            builder.push_promoted(value, slot_count)?;
        }
        for slot in posting.slots {
            builder.push(value, slot)?;
        }
        from = page.indices(&(value..=value)).1;
    }
    builder.finish()?;
    Ok(pages)
}

/// Values with pending operations or markers, ascending.
fn changed_values(view: &PostingsView<'_>) -> impl Iterator<Item = u64> {
    let mut left = Some(0..=u64::MAX);
    let mut markers = view.page().markers(&(0..=u64::MAX)).map(|marker| marker.0).peekable();
    std::iter::from_fn(move || {
        let range = left.take()?;
        let value = view.delta().and_then(|delta| delta.first_value_in(&range));
        let value = value.into_iter().chain(markers.peek().copied()).min()?;
        while markers.next_if(|marker| *marker <= value).is_some() {}
        left = value.checked_add(1).map(|next| next..=u64::MAX);
        Some(value)
    })
}

/// Appends the pairs of stored values from one index up to before another.
fn push_stored<E, S>(
    page: &PostingsPage<'_>,
    indices: (usize, usize),
    slots: &mut Vec<u32>,
    builder: &mut PagesBuilder<S>,
) -> Result<(), E>
where
    E: From<PostingsError>,
    S: FnMut((u64, u32), &[u8]) -> Result<(), E>,
{
    let (from, to) = indices;
    if from >= to {
        return Ok(());
    }
    let begin = page.pairs_of(from).0;
    slots.clear();
    page.slots_between((begin, page.pairs_of(to - 1).1.max(begin))).for_each(|slot| slots.push(slot));
    for (value, (from, to)) in PageValues::between(page, indices, false) {
        let place = from.checked_sub(begin).zip(to.checked_sub(begin));
        for slot in place.and_then(|(from, to)| slots.get(from..to)).unwrap_or(&[]) {
            builder.push(value, *slot)?;
        }
    }
    Ok(())
}
