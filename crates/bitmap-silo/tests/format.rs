//! Blobs that other libraries wrote, with and without run containers and offset header.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod oracle;

use bitmap_silo::container::{ContainerKind, Layout};
use bitmap_silo::{BitmapView, BitmapWriter, FrozenBitmap};
use croaring::Portable;
use oracle::{blob, croaring_accepts, roaring_accepts};
use roaring::RoaringBitmap;

const WITH_RUNS: &[u8] = include_bytes!("data/bitmapwithruns.bin");
const WITHOUT_RUNS: &[u8] = include_bytes!("data/bitmapwithoutruns.bin");

/// What the specification says the files hold.
fn described() -> RoaringBitmap {
    let thousands = (0..100_000).step_by(1000);
    thousands.chain((100_000..200_000).map(|n| 3 * n)).chain(700_000..800_000).collect()
}

/// Asserts that every reader reads the same slots from the bytes.
fn assert_holds(bytes: &[u8], expected: &RoaringBitmap) {
    let slots: Vec<u32> = expected.iter().collect();
    for view in [FrozenBitmap::open(bytes).unwrap(), FrozenBitmap::from_untrusted(bytes).unwrap()] {
        view.validate().unwrap();
        assert_eq!(view.as_bytes().len(), bytes.len());
        assert_eq!(view.len(), slots.len() as u64);
        assert_eq!(view.iter().collect::<Vec<_>>(), slots);
        assert!(view.iter().rev().eq(slots.iter().rev().copied()));
        assert_eq!(view.to_roaring(), *expected);
        for (rank, slot) in slots.iter().enumerate().step_by(997) {
            assert_eq!(view.select(rank as u64), Some(*slot));
            assert_eq!(view.rank(*slot), rank as u64 + 1);
            assert!(view.contains(*slot));
            assert_eq!(view.contains(slot + 1), expected.contains(slot + 1));
        }
    }
    assert_eq!(roaring_accepts(bytes).unwrap(), *expected);
    assert!(croaring_accepts(bytes).unwrap().iter().eq(slots.iter().copied()));
}

fn kinds(bytes: &[u8]) -> Vec<ContainerKind> {
    FrozenBitmap::open(bytes).unwrap().chunks().map(|(_, container)| container.kind()).collect()
}

#[test]
fn files_of_the_specification_hold_what_it_says() {
    let expected = described();
    assert_eq!(expected.len(), 200_100);
    assert_holds(WITHOUT_RUNS, &expected);
    assert_holds(WITH_RUNS, &expected);
    assert!(FrozenBitmap::open(WITHOUT_RUNS).unwrap() == FrozenBitmap::open(WITH_RUNS).unwrap());
}

#[test]
fn files_of_the_specification_have_the_parts_that_it_calls_for() {
    use ContainerKind::{Array, Bitset, Runs};
    // Multiples of 1,000 in chunks 0 and 1; of 3 in chunks 4 to 9; everything in 10 to 12.
    let mut expected = vec![Array, Array, Bitset, Bitset, Bitset, Bitset, Bitset, Array];
    let keys: Vec<u16> = FrozenBitmap::open(WITH_RUNS).unwrap().chunks().map(|(key, _)| key).collect();
    assert_eq!(keys, [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let lists = 2 * (66 + 34 + 3392);
    assert_eq!(WITHOUT_RUNS.len(), 8 + 8 * 11 + lists + 8 * 8192);
    assert_eq!(kinds(WITHOUT_RUNS), [&expected[..], &[Bitset; 3]].concat());
    expected.extend([Runs; 3]);
    assert_eq!(kinds(WITH_RUNS), expected);
    assert_eq!(WITH_RUNS.len(), 4 + 2 + 8 * 11 + lists + 5 * 8192 + 3 * 6);
}

#[test]
fn this_writer_makes_the_same_files() {
    let with_runs = FrozenBitmap::open(WITH_RUNS).unwrap();
    assert_eq!(FrozenBitmap::open(WITHOUT_RUNS).unwrap().to_buf().as_bytes(), WITH_RUNS);
    assert_eq!(with_runs.to_buf().as_bytes(), WITH_RUNS);
    let mut writer = BitmapWriter::new(Layout::Quick);
    for (key, container) in FrozenBitmap::open(WITHOUT_RUNS).unwrap().chunks() {
        writer.push(key, container).unwrap();
    }
    assert_eq!(writer.finish().as_bytes(), WITHOUT_RUNS);
}

#[test]
fn blobs_without_offset_header_are_read() {
    let all = described();
    // Up to three chunks, runs among them: no offsets. Four: offsets.
    for (first, last, count) in [
        (700_000, 720_000, 1),
        (700_000, 750_000, 2),
        (700_000, 799_999, 3),
        (590_000, 750_000, 3),
        (590_000, 799_999, 4),
        (0, 799_999, 11),
    ] {
        let mut part: RoaringBitmap = all.iter().filter(|slot| (first..=last).contains(slot)).collect();
        part.optimize();
        let bytes = blob(&part);
        let view = FrozenBitmap::open(&bytes).unwrap();
        assert_eq!(view.container_count(), count);
        assert!(kinds(&bytes).contains(&ContainerKind::Runs));
        let bodies: usize = view
            .chunks()
            .map(|(_, container)| match container.kind() {
                ContainerKind::Array => 2 * container.cardinality() as usize,
                ContainerKind::Bitset => 8192,
                ContainerKind::Runs => 2 + 4 * container.run_count() as usize,
            })
            .sum();
        let offsets = if count < 4 { 0 } else { 4 * count };
        assert_eq!(bytes.len(), 4 + count.div_ceil(8) + 4 * count + offsets + bodies);
        assert_holds(&bytes, &part);
        // The other peer writes the same bytes.
        let mut peer = croaring::Bitmap::of(&part.iter().collect::<Vec<_>>());
        peer.run_optimize();
        assert_eq!(peer.serialize::<Portable>(), bytes);
        // The same slots by way of the part of a whole.
        let range = BitmapView::range(first, last);
        let cut = BitmapView::from(FrozenBitmap::open(WITH_RUNS).unwrap()).and(&range);
        assert!(cut.view() == view);
    }
}

#[test]
fn every_truncation_of_the_files_is_refused() {
    for file in [WITH_RUNS, WITHOUT_RUNS] {
        for len in (0..200).chain((200..file.len()).step_by(61)).chain([file.len() - 1]) {
            assert!(FrozenBitmap::open(&file[..len]).is_err(), "{len} bytes");
            assert!(FrozenBitmap::from_untrusted(&file[..len]).is_err(), "{len} bytes");
        }
    }
}
