//! A view walked chunk by chunk, keys ascending.

use roaring::RoaringBitmap;

use crate::container::chunk::{ChunkBuf, Form, List, PooledChunk, Side};
use crate::container::view::run_pair;
use crate::container::{ARRAY_MAX, ArrayRef, CHUNK_SLOTS, ContainerRef, RunsRef, Scratch};
use crate::delta::{ChunkDelta, DeltaPosition};
use crate::pages::{Page, PagePosition};
use crate::small::SmallBitmap;
use crate::view::{Base, BitmapView};

/// A position among the chunks of a view and the chunk loaded there.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    view: BitmapView<'a>,
    /// Position among the chunks (frozen), slots (small) or pages of the base.
    index: usize,
    /// Position among the chunks of the delta.
    delta: DeltaPosition,
    /// Positions in the page at `index`, where the base has pages.
    page: PagePosition,
    /// Stored operations of the chunk loaded last.
    ops: ChunkDelta,
    current: Current<'a>,
    /// Where chunks are made that cannot be lent from the base.
    buf: Option<PooledChunk>,
    /// Chunks loaded so far.
    pub(crate) visited: u64,
}

#[derive(Debug)]
enum Current<'a> {
    /// The base's own container.
    Lent(ContainerRef<'a>),
    /// The first or last chunk of a range, as one run.
    Run { pair: [[u8; 4]; 1], cardinality: u32 },
    /// Made in the buffer.
    Made,
}

/// Where a chunk was put.
enum Loaded<'a> {
    Lent(ContainerRef<'a>),
    /// In the buffer.
    Made(Form),
}

impl<'a> Source<'a> {
    pub(crate) fn new(view: &BitmapView<'a>) -> Self {
        Self {
            view: *view,
            index: 0,
            delta: DeltaPosition::default(),
            page: PagePosition::default(),
            ops: ChunkDelta::default(),
            current: Current::Lent(ContainerRef::EMPTY),
            buf: None,
            visited: 0,
        }
    }

    /// Moves back before the first chunk.
    pub(crate) fn rewind(&mut self) {
        self.index = 0;
        self.delta = DeltaPosition::default();
        self.page = PagePosition::default();
    }

    pub(crate) fn view(&self) -> &BitmapView<'a> {
        &self.view
    }

    /// The first key at or after `key` whose chunk may have slots. Keys asked for must not
    /// descend.
    #[inline]
    pub(crate) fn seek(&mut self, key: u16) -> Option<u16> {
        let base = match &self.view.base {
            Base::Frozen(view) => {
                self.index = view.seek_key(self.index, key);
                view.key_at(self.index)
            }
            _ => self.seek_slowly(key),
        };
        let Some(delta) = self.view.delta else {
            return base;
        };
        let changed = delta.seek_from(&mut self.delta, key);
        match (base, changed) {
            (Some(x), Some(y)) => Some(x.min(y)),
            (one, other) => one.or(other),
        }
    }

    fn seek_slowly(&mut self, key: u16) -> Option<u16> {
        let low = u32::from(key) << 16;
        let slot = match &self.view.base {
            Base::Empty | Base::Frozen(_) => None,
            Base::Small(view) => {
                while view.get(self.index).is_some_and(|slot| slot < low) {
                    self.index += 1;
                }
                view.get(self.index)
            }
            Base::Memory(bitmap) => bitmap.range(low..).next(),
            Base::Range(first, last) => Some(low.max(*first)).filter(|slot| slot <= last),
            Base::Pages(pages) => {
                while let Some(page) = pages.get(self.index) {
                    if let Some(found) = page.seek(&mut self.page, key) {
                        return Some(found);
                    }
                    self.index += 1;
                    self.page = PagePosition::default();
                }
                None
            }
        };
        slot.map(|slot| crate::frozen::split_slot(slot).0)
    }

    /// Loads the chunk of `key`, to which the source was moved by [`seek`](Self::seek), and
    /// answers its cardinality: zero where it has no slots.
    #[inline]
    pub(crate) fn load(&mut self, key: u16) -> u32 {
        if let (Base::Frozen(view), None) = (&self.view.base, self.view.delta) {
            return match view.container_at(self.index) {
                Some((found, container)) if found == key => {
                    self.visited += 1;
                    self.current = Current::Lent(container);
                    container.cardinality()
                }
                _ => 0,
            };
        }
        self.load_slowly(key)
    }

    /// Moves to the chunk of `key` and loads it; answers its cardinality. Keys asked for must not descend.
    pub(crate) fn load_at(&mut self, key: u16) -> u32 {
        if self.seek(key) == Some(key) {
            return self.load(key);
        }
        self.current = Current::Lent(ContainerRef::EMPTY);
        0
    }

    fn load_slowly(&mut self, key: u16) -> u32 {
        self.visited += 1;
        if let Base::Range(first, last) = self.view.base
            && self.view.delta.is_none()
        {
            return self.load_range(key, first, last);
        }
        let buf = &mut **self.buf.get_or_insert_with(PooledChunk::take);
        let mut loaded = match &self.view.base {
            Base::Pages(pages) => load_page(pages.get(self.index), &mut self.page, key, &mut self.ops, buf),
            base => load_base(base, self.index, key, &mut buf.left, &mut buf.words),
        };
        if let Some(ops) = self.view.delta.and_then(|delta| delta.chunk_at(self.delta, key)) {
            loaded = Loaded::Made(patch(&loaded, ops, buf));
        }
        match loaded {
            Loaded::Lent(container) => {
                self.current = Current::Lent(container);
                container.cardinality()
            }
            Loaded::Made(form) => {
                buf.form = form;
                self.current = Current::Made;
                buf.container().cardinality()
            }
        }
    }

    fn load_range(&mut self, key: u16, first: u32, last: u32) -> u32 {
        let base = u32::from(key) << 16;
        let low = u16::try_from(first.saturating_sub(base));
        let high = last.checked_sub(base).map(|high| u16::try_from(high).unwrap_or(u16::MAX));
        let (Ok(low), Some(high)) = (low, high) else {
            return 0;
        };
        let cardinality = u32::from(high - low) + 1;
        self.current = if cardinality == CHUNK_SLOTS {
            Current::Lent(ContainerRef::FULL)
        } else {
            Current::Run { pair: [run_pair(low, high)], cardinality }
        };
        cardinality
    }

    /// The stored container of the chunk of `key`, to which the source was moved by
    /// [`seek`](Self::seek), and the operations on top of it; nothing where the base is no blob.
    #[inline]
    pub(crate) fn stored(&self, key: u16) -> Option<(ContainerRef<'a>, Option<&'a ChunkDelta>)> {
        let Base::Frozen(view) = &self.view.base else { return None };
        let container = match view.container_at(self.index) {
            Some((found, container)) if found == key => container,
            _ => ContainerRef::EMPTY,
        };
        Some((container, self.view.delta.and_then(|delta| delta.chunk_at(self.delta, key))))
    }

    /// Whether the chunk loaded last is the base's own, unchanged.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self.current, Current::Lent(_))
    }

    /// The chunk loaded last.
    #[inline]
    pub(crate) fn container(&self) -> ContainerRef<'_> {
        match &self.current {
            Current::Lent(container) => *container,
            Current::Run { pair, cardinality } => RunsRef::new(pair, *cardinality).into(),
            Current::Made => self.buf.as_ref().map_or(ContainerRef::EMPTY, |buf| buf.container()),
        }
    }
}

/// Applies operations to a loaded chunk: in list form while that is certain to fit.
fn patch(loaded: &Loaded<'_>, ops: &ChunkDelta, buf: &mut ChunkBuf) -> Form {
    let (read, len) = match loaded {
        Loaded::Lent(ContainerRef::Array(list)) => (Side::Left, list.values().len()),
        Loaded::Made(Form::List { side, len }) => (*side, *len),
        Loaded::Made(Form::Empty) => (Side::Left, 0),
        _ => (Side::Left, usize::MAX),
    };
    let (list, out, words) = buf.split(read);
    let list = match loaded {
        Loaded::Lent(ContainerRef::Array(list)) => *list,
        _ => ArrayRef::from_values(list.get(..len).unwrap_or(&[])),
    };
    if len.saturating_add(ops.set_count()) <= ARRAY_MAX as usize {
        return Form::List { side: read.other(), len: ops.apply_to_list(list, out) };
    }
    let cardinality = match loaded {
        Loaded::Lent(container) => {
            words.load(*container);
            container.cardinality()
        }
        Loaded::Made(Form::Words { cardinality }) => *cardinality,
        Loaded::Made(_) => {
            words.load(list.into());
            ContainerRef::from(list).cardinality()
        }
    };
    Form::Words { cardinality: ops.apply(words, cardinality) }
}

/// Loads a chunk of a page with the page's operations applied.
fn load_page<'a>(
    page: Option<&Page<'a>>,
    at: &mut PagePosition,
    key: u16,
    ops: &mut ChunkDelta,
    buf: &mut ChunkBuf,
) -> Loaded<'a> {
    let Some(page) = page.filter(|page| (page.first..=page.last).contains(&key)) else {
        return Loaded::Lent(ContainerRef::EMPTY);
    };
    let mut loaded = load_base(&page.base.base, at.base, key, &mut buf.left, &mut buf.words);
    if let Some(stored) = &page.ops {
        stored.chunk_into(at, key, ops);
        if !ops.is_empty() {
            loaded = Loaded::Made(patch(&loaded, ops, buf));
        }
    }
    if let Some(ops) = page.delta.as_ref().and_then(|delta| delta.chunk_at(at.delta, key)) {
        loaded = Loaded::Made(patch(&loaded, ops, buf));
    }
    loaded
}

fn load_base<'a>(
    base: &Base<'a>,
    index: usize,
    key: u16,
    list: &mut List,
    words: &mut Scratch,
) -> Loaded<'a> {
    match base {
        Base::Empty | Base::Pages(_) => Loaded::Lent(ContainerRef::EMPTY),
        Base::Frozen(view) => match view.container_at(index) {
            Some((found, container)) if found == key => Loaded::Lent(container),
            _ => Loaded::Lent(ContainerRef::EMPTY),
        },
        Base::Small(view) => load_small(view, index, key, list, words),
        Base::Memory(bitmap) => load_memory(bitmap, key, list, words),
        Base::Range(start, end) => {
            words.clear();
            let chunk = u32::from(key) << 16;
            let (low, high) = ((*start).max(chunk), (*end).min(chunk | 0xffff));
            if low > high {
                return Loaded::Lent(ContainerRef::EMPTY);
            }
            let (_, low_slot) = crate::frozen::split_slot(low);
            let (_, high_slot) = crate::frozen::split_slot(high);
            words.insert_range(low_slot, high_slot);
            Loaded::Made(Form::Words { cardinality: high - low + 1 })
        }
    }
}

fn load_small(
    view: &SmallBitmap<'_>,
    index: usize,
    key: u16,
    list: &mut List,
    words: &mut Scratch,
) -> Loaded<'static> {
    let start = view.lower_bound(u32::from(key) << 16).max(index);
    let slots = || (start..).map_while(|at| view.get(at)).map(crate::frozen::split_slot);
    let len = slots().take_while(|(high, _)| *high == key).count();
    if len > ARRAY_MAX as usize {
        // No writer makes such a list, but it is valid.
        words.clear();
        slots().take(len).for_each(|(_, low)| words.insert(low));
        return Loaded::Made(Form::Words { cardinality: words.cardinality() });
    }
    for (to, (_, low)) in list.iter_mut().zip(slots().take(len)) {
        *to = low;
    }
    Loaded::Made(Form::List { side: Side::Left, len })
}

fn load_memory(bitmap: &RoaringBitmap, key: u16, list: &mut List, words: &mut Scratch) -> Loaded<'static> {
    let low = u32::from(key) << 16;
    let range = low..=low | 0xffff;
    let cardinality = u32::try_from(bitmap.range_cardinality(range.clone())).unwrap_or(0);
    let mut iter = bitmap.range(range);
    if cardinality <= ARRAY_MAX {
        let mut len = 0;
        for (to, slot) in list.iter_mut().zip(iter) {
            *to = crate::frozen::split_slot(slot).1;
            len += 1;
        }
        return Loaded::Made(Form::List { side: Side::Left, len });
    }
    words.clear();
    while let Some(run) = iter.next_range() {
        let (_, run_first) = crate::frozen::split_slot(*run.start());
        let (_, run_last) = crate::frozen::split_slot(*run.end());
        words.insert_range(run_first, run_last);
    }
    Loaded::Made(Form::Words { cardinality })
}
