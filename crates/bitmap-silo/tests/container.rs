//! The scratch bitset and container views against plain sets, for every pair of shapes.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod oracle;

use bitmap_silo::FrozenBitmap;
use bitmap_silo::container::{ContainerKind, ContainerRef, Scratch};
use oracle::{SHAPES, add_chunk, blob, rng};
use roaring::RoaringBitmap;

/// Blobs with one chunk of every shape, plain and with runs.
fn blobs() -> Vec<(RoaringBitmap, Vec<u8>)> {
    let mut rng = rng(1);
    let mut all = Vec::new();
    for shape in SHAPES {
        let mut bitmap = RoaringBitmap::new();
        add_chunk(&mut bitmap, 0, shape, &mut rng);
        all.push((bitmap.clone(), blob(&bitmap)));
        bitmap.optimize();
        all.push((bitmap.clone(), blob(&bitmap)));
    }
    all
}

fn container(bytes: &[u8]) -> ContainerRef<'_> {
    FrozenBitmap::open(bytes).unwrap().container(0).unwrap_or(ContainerRef::EMPTY)
}

fn slots(scratch: &Scratch) -> RoaringBitmap {
    let mut slots = Vec::new();
    scratch.for_each(|slot| slots.push(u32::from(slot)));
    RoaringBitmap::from_sorted_iter(slots).unwrap()
}

#[test]
fn all_container_kinds_occur() {
    for kind in [ContainerKind::Array, ContainerKind::Bitset, ContainerKind::Runs] {
        assert!(blobs().iter().any(|(_, bytes)| container(bytes).kind() == kind));
    }
}

#[test]
fn scratch_operations_equal_set_operations_on_every_pair() {
    let blobs = blobs();
    for (a, a_bytes) in &blobs {
        let mut loaded = Scratch::new();
        loaded.fill();
        loaded.load(container(a_bytes));
        assert_eq!(slots(&loaded), *a);
        assert_eq!(u64::from(loaded.cardinality()), a.len());
        assert_eq!(loaded.is_empty(), a.is_empty());
        for (b, b_bytes) in &blobs {
            let operand = container(b_bytes);
            let mut scratch = loaded.clone();
            scratch.or(operand);
            assert_eq!(slots(&scratch), a | b);
            let mut scratch = loaded.clone();
            scratch.and(operand);
            assert_eq!(slots(&scratch), a & b);
            let mut scratch = loaded.clone();
            scratch.and_not(operand);
            assert_eq!(slots(&scratch), a - b);
            let mut scratch = loaded.clone();
            scratch.xor(operand);
            assert_eq!(slots(&scratch), a ^ b);
            assert_eq!(u64::from(loaded.count_and(operand)), a.intersection_len(b));
        }
    }
}

#[test]
fn ranges_touch_exactly_their_slots() {
    let bounds = [0_u16, 1, 62, 63, 64, 65, 127, 128, 4000, 65_472, 65_534, 65_535];
    for first in bounds {
        for last in bounds {
            let mut expected = RoaringBitmap::new();
            if first <= last {
                expected.insert_range(u32::from(first)..=u32::from(last));
            }
            let mut scratch = Scratch::new();
            scratch.insert_range(first, last);
            assert_eq!(slots(&scratch), expected, "{first}..={last}");
            assert_eq!(scratch.count_range(0, u16::MAX), scratch.cardinality());
            let mut full = Scratch::new();
            full.fill();
            assert_eq!(u64::from(full.count_range(first, last)), expected.len());
            full.remove_range(first, last);
            full.flip_range(0, u16::MAX);
            assert_eq!(slots(&full), expected, "{first}..={last}");
        }
    }
}
