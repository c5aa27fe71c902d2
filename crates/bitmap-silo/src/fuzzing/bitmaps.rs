//! Bitmaps: portable blobs and small forms, alone and combined.

use roaring::RoaringBitmap;

use super::Input;
use crate::container::{BITSET_BYTES, ContainerRef, Layout};
use crate::{
    BitmapBuf, BitmapView, BitmapWriter, Delta, Expr, FrozenBitmap, Query, concatenate, intersection,
    intersection_of_frozen, union, union_len,
};

/// A blob as the input says: its bytes as they are, or containers of all kinds, some of them wrong.
#[must_use]
pub fn made_blob(data: &[u8]) -> Vec<u8> {
    blob(&mut Input(data))
}

fn blob(input: &mut Input<'_>) -> Vec<u8> {
    if input.one_in(8) {
        return input.part().to_vec();
    }
    let count = usize::from(input.u8() % 7);
    let wants_runs = input.u8() % 2 == 1;
    let mut flags = vec![0_u8; count.div_ceil(8)];
    let (mut descriptions, mut bodies, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let mut key = 0_u16;
    for index in 0..count {
        offsets.push(bodies.len());
        let kind = input.u8() % if wants_runs { 3 } else { 2 };
        let mut cardinality = match kind {
            0 => push_list(input, &mut bodies),
            1 => push_bitset(input, &mut bodies),
            _ => {
                if let Some(flags) = flags.get_mut(index / 8) {
                    *flags |= 1 << (index % 8);
                }
                push_runs(input, &mut bodies)
            }
        };
        if input.one_in(16) {
            cardinality = u32::from(input.edge16());
        }
        let [rank_low, rank_high, ..] = cardinality.wrapping_sub(1).to_le_bytes();
        let [key_low, key_high] = key.to_le_bytes();
        descriptions.extend_from_slice(&[key_low, key_high, rank_low, rank_high]);
        let step = input.u8();
        key = key.wrapping_add(u16::from(step % 4) + if step > 250 { 0x4000 } else { 1 });
    }
    let has_runs = wants_runs && count > 0;
    let mut bytes = Vec::new();
    if has_runs {
        bytes.extend_from_slice(&12_347_u16.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(count - 1).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&flags);
    } else {
        bytes.extend_from_slice(&12_346_u32.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(count).unwrap_or(0).to_le_bytes());
    }
    bytes.extend_from_slice(&descriptions);
    if !has_runs || count >= 4 {
        let start = bytes.len() + 4 * count;
        for offset in offsets {
            let offset =
                if input.u8() == 0 { input.edge32() } else { u32::try_from(start + offset).unwrap_or(0) };
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&bodies);
    if input.one_in(2) {
        input.damage(&mut bytes);
    }
    bytes
}

fn push_list(input: &mut Input<'_>, bodies: &mut Vec<u8>) -> u32 {
    let count = 1 + u32::from(input.u8()) * if input.one_in(4) { 16 } else { 1 };
    let (mut value, gap) = (input.edge16(), u16::from(input.u8() % 32) + 1);
    if u32::from(value) + count * u32::from(gap) > 0xffff {
        value = 0;
    }
    for _ in 0..count {
        bodies.extend_from_slice(&value.to_le_bytes());
        let jitter = if gap > 8 { u16::from(input.u8() % 8) } else { 0 };
        value = value.wrapping_add(gap - jitter);
    }
    count
}

fn push_bitset(input: &mut Input<'_>, bodies: &mut Vec<u8>) -> u32 {
    let start = bodies.len();
    let pattern = [input.u8(), input.u8(), input.u8()];
    bodies.extend(pattern.iter().cycle().take(BITSET_BYTES));
    for _ in 0..input.u8() % 4 {
        let at = start + usize::from(input.u16()) % BITSET_BYTES;
        let value = input.u8();
        if let Some(byte) = bodies.get_mut(at) {
            *byte = value;
        }
    }
    bodies.get(start..).unwrap_or(&[]).iter().map(|byte| byte.count_ones()).sum()
}

fn push_runs(input: &mut Input<'_>, bodies: &mut Vec<u8>) -> u32 {
    let count = u16::from(input.u8() % 40) * if input.one_in(8) { 16 } else { 1 };
    bodies.extend_from_slice(&count.to_le_bytes());
    let (mut first, mut total) = (u16::from(input.u8()), 0_u32);
    for _ in 0..count {
        let len = if input.u8() > 250 { input.edge16() } else { u16::from(input.u8()) % 90 };
        bodies.extend_from_slice(&first.to_le_bytes());
        bodies.extend_from_slice(&len.to_le_bytes());
        total += u32::from(len) + 1;
        first = first.wrapping_add(len).wrapping_add(2 + u16::from(input.u8() % 12));
    }
    total
}

/// A blob that nobody checked: the strict reader accepts what `roaring` accepts, with the same slots,
/// and the quick one never leaves the bytes.
///
/// # Panics
/// Where the readers disagree.
pub fn frozen(data: &[u8]) {
    let bytes = made_blob(data);
    let (strict, peer) = (FrozenBitmap::from_untrusted(&bytes), RoaringBitmap::deserialize_from(&bytes[..]));
    assert_eq!(strict.is_ok(), peer.is_ok(), "{strict:?} on {bytes:?}");
    if let (Ok(view), Ok(peer)) = (&strict, &peer) {
        assert_eq!(view.len(), peer.len());
        assert_eq!((view.min(), view.max()), (peer.min(), peer.max()));
        assert!(view.iter().eq(peer.iter()));
        assert!(view.iter().rev().eq(peer.iter().rev()));
        assert_eq!(view.to_roaring(), *peer);
        let buf = view.to_buf();
        assert!(buf.view().validate().is_ok() && buf.view() == *view);
        for (rank, slot) in peer.iter().enumerate().step_by(61) {
            assert!(view.contains(slot));
            assert_eq!(view.rank(slot), rank as u64 + 1);
            assert_eq!(view.select(rank as u64), Some(slot));
        }
        // What the strict reader takes at its word, the quick one reads the same.
        if view.validate().is_ok() {
            assert!(FrozenBitmap::open(&bytes).is_ok_and(|open| open == *view));
        }
    }
    if let Ok(view) = FrozenBitmap::open(&bytes) {
        exercise(&view);
    }
    if let Ok(view) = strict {
        exercise(&view);
    }
}

/// Asks everything of a view, whatever is in it.
fn exercise(view: &FrozenBitmap<'_>) {
    for slot in [0, 1, 65_535, 65_536, 70_000, u32::MAX] {
        let _ = (view.contains(slot), view.rank(slot), view.select(u64::from(slot)));
    }
    let _ = (view.len(), view.is_empty(), view.min(), view.max(), view.validate().is_ok());
    let _ = (view.iter_range(60_000, 140_000).count(), view.iter_from(65_537).next_back());
    let mut buffer = [0; 700];
    let mut iter = view.iter();
    while iter.next_many(&mut buffer) == buffer.len() {}
    let _ = concatenate(std::slice::from_ref(view)).map(|joined| joined.len());
    for layout in [Layout::Smallest, Layout::Quick] {
        let mut writer = BitmapWriter::new(layout);
        for (key, container) in view.chunks() {
            let _ = writer.push(key, container);
        }
        let _ = writer.finish().len();
    }
}

/// Bitmaps that the strict reader accepts: every operation equals that of `roaring`.
///
/// # Panics
/// Where it does not.
#[expect(clippy::many_single_char_names, reason = "operands have no better names")]
pub fn algebra(data: &[u8]) {
    let mut input = Input(data);
    let blobs = [blob(&mut input), blob(&mut input), blob(&mut input)];
    let mut views = Vec::new();
    let mut peers = Vec::new();
    for bytes in &blobs {
        let Ok(view) = FrozenBitmap::from_untrusted(bytes) else { return };
        peers.push(view.to_roaring());
        views.push(view);
    }
    let (&[x, y, z], [p, q, r]) = (&views[..], &peers[..]) else { return };
    let same = |ours: BitmapBuf, peer: RoaringBitmap| {
        assert!(ours.view().validate().is_ok());
        assert!(ours.view().iter().eq(peer.iter()));
    };
    same(x.and(&y), p & q);
    same(intersection_of_frozen(&[x, y, z]), p & q & r);
    same(intersection([x, y, z]), p & q & r);
    same(union([x, y, z]), p | q | r);
    assert_eq!(x.intersection_len(&y), p.intersection_len(q));
    assert_eq!(union_len([x, y, z]), (p | q | r).len());
    let ops: Vec<(u32, bool)> =
        (0..input.u8()).map(|_| (input.edge32() % (8 << 16), input.one_in(2))).collect();
    let delta = Delta::from_ops(ops.iter().copied());
    let mut patched = p.clone();
    for (slot, set) in ops {
        if set {
            patched.insert(slot)
        } else {
            patched.remove(slot)
        };
    }
    let (a, b, c) = (BitmapView::from(x).patched(&delta), BitmapView::from(y), BitmapView::from(z));
    assert_eq!(a.len(), patched.len());
    same(a.to_bitmap(), patched.clone());
    same(a.and(&b), &patched & q);
    same(a.or(&b), &patched | q);
    same(a.xor(&b), &patched ^ q);
    same(b.and_not(&a), q - &patched);
    assert_eq!(a.intersection_len(&b), patched.intersection_len(q));
    assert_eq!(a.intersects(&b), !patched.is_disjoint(q));
    let any = Expr::or([Expr::bitmap(b), Expr::bitmap(c)]);
    let query = Query::new(Expr::and([Expr::bitmap(a), any.clone()]), 1 << 32);
    let expected = &patched & (q | r);
    assert_eq!(query.count(), expected.len());
    same(query.to_bitmap(), expected.clone());
    assert!(query.first(50).into_iter().eq(expected.iter().take(50)));
    same(Query::new(any.and_not(Expr::bitmap(a)), 1 << 32).to_bitmap(), (q | r) - &patched);
    let two = Expr::at_least(2, [a, b, c].map(Expr::bitmap));
    let expected = (&patched & q) | (&patched & r) | (q & r);
    assert_eq!(Query::new(two, 1 << 32).count(), expected.len());
}

/// Bitmaps of any form that are merely opened: operations end and stay in the bytes.
pub fn hostile_views(data: &[u8]) {
    let mut input = Input(data);
    let blobs = [any_form(&mut input), any_form(&mut input), any_form(&mut input)];
    let views: Vec<BitmapView<'_>> = blobs.iter().filter_map(|bytes| BitmapView::open(bytes).ok()).collect();
    let ops = (0..input.u8()).map(|_| (input.edge32() % (8 << 16), input.one_in(2)));
    let delta = Delta::from_ops(ops.collect::<Vec<_>>());
    let [Some(a), Some(b), Some(c)] = [0, 1, 2].map(|at| views.get(at % views.len().max(1)).copied()) else {
        return;
    };
    for a in [a, a.patched(&delta)] {
        let made = [a.and(&b), a.or(&b), a.xor(&b), a.and_not(&b), a.to_bitmap()];
        let _ = made.iter().map(|made| made.view().len()).fold(0, u64::saturating_add);
        let _ =
            (a.intersection_len(&b), a.union_len(&b), a.difference_len(&b), a.symmetric_difference_len(&b));
        let _ = (a.len(), a.intersects(&b), a.is_empty(), a.contains(input.edge32()));
        let range = BitmapView::range(9, 90_000);
        let expr = Expr::and([Expr::bitmap(a), Expr::or([b, c].map(Expr::bitmap))]);
        for expr in [
            expr.clone().and_not(Expr::bitmap(range)),
            Expr::and([Expr::bitmap(b).negated(), Expr::bitmap(c).negated()]),
            Expr::xor([Expr::bitmap(a), Expr::bitmap(b), Expr::bitmap(c)]),
            Expr::at_least(2, [Expr::bitmap(a), Expr::bitmap(b).negated(), Expr::bitmap(range), expr]),
        ] {
            let query = Query::new(expr, 6 << 16);
            let _ = (query.count(), query.first(100), query.to_bitmap().len(), query.exists());
            let mut filter = query.chunk_filter();
            for chunk in [3, 0, 65_535, 1] {
                let _ = (filter.bound(chunk), filter.evaluate(chunk).cardinality());
            }
            let _ = query.for_each_chunk(|_, container: ContainerRef<'_>| {
                let _ = (container.cardinality(), container.min(), container.max());
                std::ops::ControlFlow::<()>::Continue(())
            });
        }
    }
}

/// A blob, or a small form, or no bytes.
fn any_form(input: &mut Input<'_>) -> Vec<u8> {
    match input.u8() % 8 {
        0 => input.part().to_vec(),
        kind @ (1 | 2) => {
            let mut bytes = vec![kind];
            for _ in 0..input.u8() % 70 {
                let gap = u32::from(input.u8());
                if kind == 1 {
                    let slot = u32::try_from(bytes.len()).unwrap_or(0) * 1000 + gap;
                    bytes.extend_from_slice(&slot.to_le_bytes());
                } else {
                    bytes.extend_from_slice(if gap < 128 { &[1, 2] } else { &[0x85, 0x11] });
                }
            }
            input.damage(&mut bytes);
            bytes
        }
        _ => blob(input),
    }
}
