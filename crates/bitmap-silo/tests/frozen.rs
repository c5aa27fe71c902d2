//! Frozen views against `roaring` and `croaring`, on valid and on hostile bytes.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a failed unwrap or index is a failed test"
)]

mod oracle;

use bitmap_silo::container::Layout;
use bitmap_silo::{BitmapWriter, FrozenBitmap};
use oracle::{Shape, add_chunk, blob, croaring_accepts, random_bitmap, rng, roaring_accepts};
use rand::Rng;
use roaring::RoaringBitmap;

/// All values of a view, by way of its containers.
fn values(view: &FrozenBitmap<'_>) -> Vec<u32> {
    let mut values = Vec::new();
    for (key, container) in view.chunks() {
        container.for_each(|low| values.push(u32::from(key) << 16 | u32::from(low)));
    }
    values
}

fn assert_reads_as(bytes: &[u8], expected: &RoaringBitmap, seed: u64) {
    let view = FrozenBitmap::open(bytes).unwrap();
    view.validate().unwrap();
    assert_eq!(view.len(), expected.len());
    assert_eq!(view.is_empty(), expected.is_empty());
    assert_eq!(view.min(), expected.min());
    assert_eq!(view.max(), expected.max());
    assert_eq!(values(&view), expected.iter().collect::<Vec<_>>());
    assert_eq!(view.as_bytes().len(), bytes.len());
    let mut rng = rng(seed);
    for _ in 0..300 {
        let slot = match rng.random_range(0..4) {
            0 => rng.random(),
            1 => expected.select(rng.random_range(0..expected.len().max(1)) as u32).unwrap_or(0),
            _ => rng.random_range(0..32 << 16),
        };
        assert_eq!(view.contains(slot), expected.contains(slot), "contains {slot}");
        assert_eq!(view.rank(slot), expected.rank(slot), "rank {slot}");
        let rank = rng.random_range(0..expected.len() + 2);
        assert_eq!(view.select(rank), expected.select(rank as u32), "select {rank}");
    }
}

#[test]
fn views_answer_as_roaring_does() {
    for seed in 0..40 {
        let bitmap = random_bitmap(seed, (seed % 20) as u16);
        let bytes = blob(&bitmap);
        assert_reads_as(&bytes, &bitmap, seed);
        // At every alignment.
        let shift = 1 + seed as usize % 7;
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(&bytes);
        assert_reads_as(&shifted[shift..], &bitmap, seed);
    }
}

#[test]
fn the_writer_makes_what_the_peers_read() {
    for seed in 100..130 {
        let bitmap = random_bitmap(seed, 12);
        let bytes = blob(&bitmap);
        let view = FrozenBitmap::open(&bytes).unwrap();
        let mut optimised = bitmap.clone();
        optimised.optimize();
        for layout in [Layout::Smallest, Layout::Quick] {
            let mut writer = BitmapWriter::new(layout);
            for (key, container) in view.chunks() {
                writer.push(key, container).unwrap();
            }
            assert_eq!(writer.len(), bitmap.len());
            let size = writer.blob_bytes();
            let written = writer.finish();
            assert_eq!(written.as_bytes().len(), size);
            assert_eq!(roaring_accepts(written.as_bytes()).unwrap(), bitmap);
            assert_eq!(croaring_accepts(written.as_bytes()).unwrap().cardinality(), bitmap.len());
            if layout == Layout::Smallest {
                assert!(size <= optimised.serialized_size(), "seed {seed}");
            }
            assert_reads_as(written.as_bytes(), &bitmap, seed);
        }
    }
}

#[test]
fn chunks_out_of_order_are_refused() {
    let one = blob(&RoaringBitmap::from_iter([7]));
    let view = FrozenBitmap::open(&one).unwrap();
    let container = view.container(0).unwrap();
    let mut writer = BitmapWriter::new(Layout::Smallest);
    writer.push(3, container).unwrap();
    let error = writer.push(3, container).unwrap_err();
    assert!(error.to_string().contains("ascending order"), "{error}");
}

/// Whatever the bytes are: opening is safe, and so is every answer of what could be opened.
fn exercise(bytes: &[u8]) {
    if let Ok(view) = FrozenBitmap::open(bytes) {
        let _ = (view.len(), view.min(), view.max(), view.rank(70_000), view.select(9));
        let _ = (view.contains(3), view.contains(u32::MAX));
        let all = values(&view);
        for slot in all.iter().take(50) {
            let _ = (view.contains(*slot), view.rank(*slot));
        }
        for (_, container) in view.chunks() {
            let _ = (container.counted(), container.run_count());
        }
    }
}

fn assert_same_verdict(bytes: &[u8]) {
    let (ours, roaring) = (FrozenBitmap::from_untrusted(bytes), roaring_accepts(bytes));
    let croaring = croaring_accepts(bytes);
    assert_eq!(ours.is_ok(), roaring.is_some(), "roaring on {bytes:?}: {ours:?}");
    assert_eq!(ours.is_ok(), croaring.is_some(), "croaring on {bytes:?}: {ours:?}");
    if let (Ok(view), Some(expected)) = (ours, roaring) {
        assert_eq!(values(&view), expected.iter().collect::<Vec<_>>(), "{bytes:?}");
        assert_eq!(view.len(), expected.len());
    }
    exercise(bytes);
}

/// Small blobs of every header form.
fn small_blobs() -> Vec<Vec<u8>> {
    let mut blobs = vec![blob(&RoaringBitmap::new())];
    for (seed, shapes) in [
        &[Shape::Single][..],
        &[Shape::First, Shape::Last],
        &[Shape::FewRuns],
        &[Shape::FewRuns, Shape::Single, Shape::FewRuns],
        &[Shape::Single, Shape::FewRuns, Shape::First, Shape::Full, Shape::Last],
        &[Shape::Single, Shape::Single, Shape::Single, Shape::First, Shape::Last],
    ]
    .iter()
    .enumerate()
    {
        let mut rng = rng(seed as u64);
        let mut bitmap = RoaringBitmap::new();
        for (key, shape) in shapes.iter().enumerate() {
            add_chunk(&mut bitmap, key as u16 * 3, *shape, &mut rng);
        }
        bitmap.insert_range(40..48);
        bitmap.optimize();
        blobs.push(blob(&bitmap));
    }
    blobs
}

#[test]
fn every_bit_flip_gets_the_verdict_of_the_peers() {
    for bytes in small_blobs() {
        assert_same_verdict(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_same_verdict(&flipped);
        }
    }
}

#[test]
fn every_truncation_and_extension_gets_the_verdict_of_the_peers() {
    for bytes in small_blobs() {
        for len in 0..bytes.len() {
            assert_same_verdict(&bytes[..len]);
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(&[0xa5; 9]);
        assert_same_verdict(&longer);
        let view = FrozenBitmap::from_untrusted(&longer).unwrap();
        assert_eq!(view.as_bytes(), bytes);
    }
}

#[test]
fn random_damage_gets_the_verdict_of_the_peers() {
    let mut rng = rng(99);
    for seed in 0..40 {
        let bytes = blob(&random_bitmap(1000 + seed, 8));
        let header = (bytes.len() - 1).min(100);
        for _ in 0..25 {
            let mut damaged = bytes.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = if rng.random() {
                    rng.random_range(0..=header)
                } else {
                    rng.random_range(0..damaged.len())
                };
                damaged[at] = rng.random();
            }
            assert_same_verdict(&damaged);
        }
    }
}

#[test]
fn random_bytes_are_safe() {
    let mut rng = rng(5);
    for _ in 0..4000 {
        let len = rng.random_range(0..200);
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        if len >= 8 {
            let cookie: u16 = if rng.random() { 12_346 } else { 12_347 };
            bytes[..2].copy_from_slice(&cookie.to_le_bytes());
            bytes[2..4].copy_from_slice(&u16::from(rng.random_range(0..3_u8)).to_le_bytes());
            if cookie == 12_346 {
                bytes[2..8].copy_from_slice(&[0, 0, rng.random_range(0..5), 0, 0, 0]);
            }
        }
        assert_same_verdict(&bytes);
    }
}

/// A blob with one run container of the given (first, length − 1) pairs.
fn one_run_container(pairs: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = vec![0x3b, 0x30, 0, 0, 1, 7, 0, 9, 0];
    bytes.extend_from_slice(&(pairs.len() as u16).to_le_bytes());
    for (first, more) in pairs {
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&more.to_le_bytes());
    }
    bytes
}

#[test]
fn each_rule_of_the_format_decides_on_its_own() {
    let accepted: [&[(u16, u16)]; 4] = [&[(0, 0)], &[(0, 65_535)], &[(3, 4), (9, 0)], &[(65_535, 0)]];
    let rejected: [&[(u16, u16)]; 6] = [
        &[],
        &[(3, 4), (8, 0)],
        &[(3, 4), (7, 9)],
        &[(9, 0), (3, 0)],
        &[(65_535, 1)],
        &[(0, 65_535), (0, 0)],
    ];
    for (pairs, valid) in accepted
        .into_iter()
        .map(|pairs| (pairs, true))
        .chain(rejected.into_iter().map(|pairs| (pairs, false)))
    {
        let bytes = one_run_container(pairs);
        assert_eq!(FrozenBitmap::from_untrusted(&bytes).is_ok(), valid, "{pairs:?}");
        assert_same_verdict(&bytes);
    }
    let two_values = |first: u16, second: u16| {
        let mut bytes = vec![0x3a, 0x30, 0, 0, 1, 0, 0, 0, 5, 0, 1, 0, 16, 0, 0, 0];
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&second.to_le_bytes());
        bytes
    };
    for (first, second, valid) in [(1, 2, true), (2, 2, false), (3, 2, false)] {
        let bytes = two_values(first, second);
        assert_eq!(FrozenBitmap::from_untrusted(&bytes).is_ok(), valid);
        assert_same_verdict(&bytes);
    }
    let many = [0x3a, 0x30, 0, 0, 1, 0, 1, 0];
    assert!(FrozenBitmap::from_untrusted(&many).is_err());
    assert!(FrozenBitmap::open(&many).unwrap_err().to_string().contains("65,536"));
}

#[test]
fn a_blob_of_all_containers_is_read() {
    let bitmap: RoaringBitmap = (0..=u16::MAX).map(|key| u32::from(key) << 16 | 9).collect();
    let bytes = blob(&bitmap);
    assert_reads_as(&bytes, &bitmap, 1);
    assert_same_verdict(&bytes);
    let mut with_run = bitmap;
    with_run.insert_range(0..100);
    with_run.optimize();
    assert_reads_as(&blob(&with_run), &with_run, 2);
}
