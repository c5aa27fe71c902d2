//! The intersection of frozen bitmaps without a compiled tree: what is asked most often, and of
//! sets so small that compiling would take longer than the answer.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::filter::{Out, by_runs};
use super::product::{Factor, Want, product};
use crate::container::chunk::{ChunkBuf, Form, PooledChunk, RUNS_CAPACITY, Side};
use crate::container::intervals::{self, RunSink};
use crate::container::{ARRAY_MAX, ContainerRef, Layout, pair};
use crate::frozen::{BitmapBuf, BitmapWriter, FrozenBitmap};
use crate::kernels::{LIST_SLACK, WordOp, kernels};

/// Slots in all of the bitmaps; empty where there is none.
pub(crate) fn intersection(views: &[FrozenBitmap<'_>]) -> BitmapBuf {
    let containers = views.iter().map(FrozenBitmap::container_count).min().unwrap_or(0);
    let bytes = views.iter().map(|view| view.as_bytes().len()).min().unwrap_or(0);
    let mut writer = BitmapWriter::new(Layout::Quick);
    let mut buf = PooledChunk::take();
    let mut at: SmallVec<[usize; 8]> = SmallVec::from_elem(0, views.len());
    let mut reserved = false;
    while let Some(key) = next_common(views, &mut at) {
        let cardinality = if let ([a, b], [i, j]) = (views, &at[..]) {
            match (a.container_at(*i), b.container_at(*j)) {
                (Some((_, a)), Some((_, b))) => meet(a, b, &mut buf),
                _ => 0,
            }
        } else {
            let found: SmallVec<[ContainerRef<'_>; 8]> = views
                .iter()
                .zip(&at)
                .filter_map(|(view, index)| view.container_at(*index))
                .map(|(_, container)| container)
                .collect();
            let factors: SmallVec<[Factor<'_>; 8]> = found
                .iter()
                .map(|one| Factor { members: std::slice::from_ref(one), negated: false })
                .collect();
            product(&factors, &mut buf, Want::Slots)
        };
        if cardinality != 0 {
            if !reserved {
                writer = BitmapWriter::with_capacity(Layout::Quick, containers, bytes);
                reserved = true;
            }
            let pushed = writer.push_counted(key, buf.container(), cardinality);
            debug_assert!(pushed.is_ok(), "common keys ascend");
        }
        if let Some(first) = at.first_mut() {
            *first += 1;
        }
    }
    writer.finish()
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
    for_common(a, b, |x, y| {
        total += u64::from(pair::intersection_len(x, y));
        false
    });
    total
}

/// Hands the containers of each common chunk to `visit` until that answers true.
pub(crate) fn for_common<'a>(
    a: &FrozenBitmap<'a>,
    b: &FrozenBitmap<'a>,
    mut visit: impl FnMut(ContainerRef<'a>, ContainerRef<'a>) -> bool,
) {
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.key_at(i), b.key_at(j)) {
        match x.cmp(&y) {
            Ordering::Less => i = a.seek_key(i + 1, y),
            Ordering::Greater => j = b.seek_key(j + 1, x),
            Ordering::Equal => {
                if let (Some((_, x)), Some((_, y))) = (a.container_at(i), b.container_at(j))
                    && visit(x, y)
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
