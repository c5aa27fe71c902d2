//! The intersection of frozen bitmaps without a compiled tree: what is asked most often, and of
//! sets so small that compiling would take longer than the answer.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::filter::{Out, by_runs};
use super::product::{Factor, Want, product};
use crate::container::chunk::{ChunkBuf, Form, PooledChunk, RUNS_CAPACITY, Side};
use crate::container::intervals::{self, RunSink};
use crate::container::{ARRAY_MAX, ContainerRef, Layout, pair};
use crate::delta::ChunkDelta;
use crate::frozen::{BitmapBuf, BitmapWriter, FrozenBitmap};
use crate::kernels::{LIST_SLACK, WordOp, kernels};
use crate::source::Source;
use crate::view::{BitmapView, Bound};

/// Slots in all of the bitmaps; empty where there is none.
pub(crate) fn intersection(views: &[FrozenBitmap<'_>]) -> BitmapBuf {
    if let [a, b] = views {
        return intersection_of_two(a, b);
    }
    let mut out = Output::new(|| bound_of(views));
    let mut at: SmallVec<[usize; 8]> = SmallVec::from_elem(0, views.len());
    while let Some(key) = next_common(views, &mut at) {
        let found: SmallVec<[ContainerRef<'_>; 8]> = views
            .iter()
            .zip(&at)
            .filter_map(|(view, index)| view.container_at(*index))
            .map(|(_, container)| container)
            .collect();
        let factors: SmallVec<[Factor<'_>; 8]> =
            found.iter().map(|one| Factor { members: std::slice::from_ref(one), negated: false }).collect();
        out.push_product(key, &factors);
        if let Some(first) = at.first_mut() {
            *first += 1;
        }
    }
    out.writer.finish()
}

fn intersection_of_two(a: &FrozenBitmap<'_>, b: &FrozenBitmap<'_>) -> BitmapBuf {
    let mut out = Output::new(|| bound_of(&[*a, *b]));
    for_common(a, b, |key, x, y| {
        if let (ContainerRef::Bitset(x), ContainerRef::Bitset(y)) = (x, y) {
            out.reserve();
            let pushed = out.writer.push_both(key, x, y);
            debug_assert!(pushed.is_ok(), "common keys ascend");
        } else {
            let buf = out.buf.get_or_insert_with(PooledChunk::take);
            let cardinality = meet(x, y, buf);
            out.push(key, cardinality);
        }
        false
    });
    out.writer.finish()
}

/// Slots in both of two bitmaps whose bases are blobs, with pending operations. Bitsets are combined as
/// they are stored and the result corrected where there are operations: that saves copying the chunk.
pub(crate) fn intersection_of_patched(a: &BitmapView<'_>, b: &BitmapView<'_>) -> BitmapBuf {
    let mut out = Output::new(|| {
        let (a, b) = (a.bound(), b.bound());
        Bound { containers: a.containers.min(b.containers), bytes: a.bytes.min(b.bytes) }
    });
    let (mut a, mut b) = (Source::new(a), Source::new(b));
    let mut next = Some(0);
    while let Some(key) = next.and_then(|key| next_of_both(&mut a, &mut b, key)) {
        next = key.checked_add(1);
        let buf = out.buf.get_or_insert_with(PooledChunk::take);
        let cardinality = match one_patched(&a, &b, key) {
            Some((ContainerRef::Bitset(x), ops, ContainerRef::Bitset(y))) => {
                let words = &mut buf.words;
                let stored = (kernels().combine)(WordOp::And, x.bits(), y.bits(), words.words_mut());
                let cardinality = ops.map_or(stored, |ops| ops.apply_to_intersection(y, words, stored));
                buf.form = Form::Words { cardinality };
                cardinality
            }
            Some((x, None, y)) => meet(x, y, buf),
            _ if a.load(key) != 0 && b.load(key) != 0 => meet(a.container(), b.container(), buf),
            _ => 0,
        };
        out.push(key, cardinality);
    }
    out.writer.finish()
}

/// The first key at or after `key` at which both may have slots; both are moved there.
fn next_of_both(a: &mut Source<'_>, b: &mut Source<'_>, mut key: u16) -> Option<u16> {
    loop {
        let x = a.seek(key)?;
        key = b.seek(x)?;
        if key == x {
            return Some(key);
        }
    }
}

/// A stored container, the operations on it, and another container.
type OnePatched<'a> = (ContainerRef<'a>, Option<&'a ChunkDelta>, ContainerRef<'a>);

/// The containers of a chunk as stored, if at most one of them has operations: that one first.
fn one_patched<'a>(a: &Source<'a>, b: &Source<'a>, key: u16) -> Option<OnePatched<'a>> {
    match (a.stored(key)?, b.stored(key)?) {
        ((x, ops), (y, None)) | ((y, None), (x, ops)) => Some((x, ops, y)),
        _ => None,
    }
}

/// Number of slots in both chunks of `key`, to which both sources were moved.
pub(crate) fn chunk_intersection_len(a: &mut Source<'_>, b: &mut Source<'_>, key: u16) -> u32 {
    if let Some((x, ops, y)) = one_patched(a, b, key) {
        let stored = pair::intersection_len(x, y);
        let (gains, losses) = ops.map_or((0, 0), |ops| ops.gains_and_losses(x, y));
        return stored.saturating_add(gains).saturating_sub(losses);
    }
    if a.load(key) != 0 && b.load(key) != 0 {
        pair::intersection_len(a.container(), b.container())
    } else {
        0
    }
}

/// How large an intersection can get.
fn bound_of(views: &[FrozenBitmap<'_>]) -> Bound {
    Bound {
        containers: views.iter().map(FrozenBitmap::container_count).min().unwrap_or(0),
        bytes: views.iter().map(|view| view.as_bytes().len()).min().unwrap_or(0),
    }
}

/// An intersection as it is written. Buffers are taken when there is something to put there: most
/// small bitmaps have nothing in common.
struct Output<B> {
    bound: B,
    writer: BitmapWriter,
    reserved: bool,
    buf: Option<PooledChunk>,
}

impl<B: Fn() -> Bound> Output<B> {
    fn new(bound: B) -> Self {
        Self { bound, writer: BitmapWriter::new(Layout::Quick), reserved: false, buf: None }
    }

    /// Makes room for the largest result there can be.
    fn reserve(&mut self) {
        if !self.reserved {
            let Bound { containers, bytes } = (self.bound)();
            self.writer = BitmapWriter::with_capacity(Layout::Quick, containers, bytes);
            self.reserved = true;
        }
    }

    fn push_product(&mut self, key: u16, factors: &[Factor<'_>]) {
        let buf = self.buf.get_or_insert_with(PooledChunk::take);
        let cardinality = product(factors, buf, Want::Slots);
        self.push(key, cardinality);
    }

    /// Appends what is in the buffer.
    fn push(&mut self, key: u16, cardinality: u32) {
        if cardinality != 0 {
            self.reserve();
            if let Some(buf) = &self.buf {
                let pushed = self.writer.push_counted(key, buf.container(), cardinality);
                debug_assert!(pushed.is_ok(), "common keys ascend");
            }
        }
    }
}

/// Moves all positions to the next key that all bitmaps have.
fn next_common(views: &[FrozenBitmap<'_>], at: &mut [usize]) -> Option<u16> {
    let mut key = views.first()?.key_at(*at.first()?)?;
    'again: loop {
        for (view, index) in views.iter().zip(at.iter_mut()) {
            *index = view.seek_key(*index, key);
            let found = view.key_at(*index)?;
            if found > key {
                key = found;
                continue 'again;
            }
        }
        return Some(key);
    }
}

/// Intersects two containers into the buffer; answers the cardinality.
fn meet(a: ContainerRef<'_>, b: ContainerRef<'_>, buf: &mut ChunkBuf) -> u32 {
    let list = |len: usize| Form::List { side: Side::Left, len };
    buf.form = match (a, b) {
        (ContainerRef::Array(a), ContainerRef::Array(b)) => {
            list((kernels().intersect)(a.values(), b.values(), &mut buf.left))
        }
        (ContainerRef::Array(values), ContainerRef::Bitset(bits))
        | (ContainerRef::Bitset(bits), ContainerRef::Array(values)) => {
            list((kernels().probe)(values.values(), bits.bits(), true, &mut buf.left))
        }
        (ContainerRef::Bitset(a), ContainerRef::Bitset(b)) => {
            let words = buf.words.words_mut();
            Form::Words { cardinality: (kernels().combine)(WordOp::And, a.bits(), b.bits(), words) }
        }
        (ContainerRef::Array(values), ContainerRef::Runs(runs))
        | (ContainerRef::Runs(runs), ContainerRef::Array(values)) => {
            let out = Out::List(&mut buf.left);
            list(by_runs(values.values(), runs.pairs(), true, out))
        }
        (ContainerRef::Runs(a), ContainerRef::Runs(b)) if a.run_count() + b.run_count() < RUNS_CAPACITY => {
            let mut sink = RunSink::new(&mut buf.left);
            intervals::intersect_into(a.pairs(), b.pairs(), &mut sink);
            let (len, cardinality) = (sink.len, sink.cardinality);
            Form::Runs { side: Side::Left, len, cardinality }
        }
        (a, b) => {
            let [a, b] = [[a], [b]];
            let factors = [&a, &b].map(|members| Factor { members, negated: false });
            return product(&factors, buf, Want::Slots);
        }
    };
    buf.container().cardinality()
}

/// Number of slots in both bitmaps.
pub(crate) fn intersection_len(a: &FrozenBitmap<'_>, b: &FrozenBitmap<'_>) -> u64 {
    let mut total = 0;
    for_common(a, b, |_, x, y| {
        total += u64::from(pair::intersection_len(x, y));
        false
    });
    total
}

/// Hands the key and the containers of each common chunk to `visit` until that answers true.
pub(crate) fn for_common<'a>(
    a: &FrozenBitmap<'a>,
    b: &FrozenBitmap<'a>,
    mut visit: impl FnMut(u16, ContainerRef<'a>, ContainerRef<'a>) -> bool,
) {
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.key_at(i), b.key_at(j)) {
        match x.cmp(&y) {
            Ordering::Less => i = a.seek_key(i + 1, y),
            Ordering::Greater => j = b.seek_key(j + 1, x),
            Ordering::Equal => {
                if let (Some((key, x)), Some((_, y))) = (a.container_at(i), b.container_at(j))
                    && visit(key, x, y)
                {
                    return;
                }
                (i, j) = (i + 1, j + 1);
            }
        }
    }
}

const _: () = assert!(
    crate::container::chunk::LIST_CAPACITY >= 2 * ARRAY_MAX as usize + LIST_SLACK,
    "a list buffer takes what the intersection of two arrays may write"
);
