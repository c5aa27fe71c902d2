//! Properties over shrinking inputs: what one slot more or less changes.

use bitmap_silo::{BitmapBuf, BitmapView, Delta, FrozenBitmap, SmallBitmap, store_into};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use roaring::RoaringBitmap;

/// Slots that crowd a few chunks and their borders.
fn slot() -> impl Strategy<Value = u32> {
    prop_oneof![
        0_u32..300,
        65_400_u32..65_700,
        (0_u32..4).prop_map(|key| key << 16),
        0_u32..4 << 16,
        Just(u32::MAX),
    ]
}

/// Bitmaps of scattered slots and some ranges.
fn bitmap() -> impl Strategy<Value = RoaringBitmap> {
    let ranges = vec((slot(), 0_u32..70_000), 0..4);
    (btree_set(slot(), 0..200), ranges).prop_map(|(slots, ranges)| {
        let mut bitmap: RoaringBitmap = slots.into_iter().collect();
        for (first, len) in ranges {
            bitmap.insert_range(first..=first.saturating_add(len));
        }
        bitmap
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn stored_forms_give_back_the_set(bitmap in bitmap()) {
        let buf = BitmapBuf::from(&bitmap);
        let mut stored = Vec::new();
        store_into(&buf.view(), &mut stored);
        let view = BitmapView::open(&stored).unwrap();
        prop_assert_eq!(view.len(), bitmap.len());
        prop_assert_eq!(view.to_bitmap().view().to_roaring(), bitmap);
    }

    #[test]
    fn rank_and_select_are_inverse(bitmap in bitmap(), at in any::<u64>()) {
        let buf = BitmapBuf::from(&bitmap);
        let view = buf.view();
        if let Some(rank) = at.checked_rem(bitmap.len()) {
            let slot = view.select(rank).unwrap();
            prop_assert!(view.contains(slot));
            prop_assert_eq!(view.rank(slot), rank + 1);
        }
        prop_assert_eq!(view.select(bitmap.len()), None);
    }

    #[test]
    fn pending_operations_apply_in_order(
        bitmap in bitmap(),
        ops in vec((slot(), any::<bool>()), 0..300),
        cut in 0_usize..300,
    ) {
        let buf = BitmapBuf::from(&bitmap);
        let (older, newer) = ops.split_at(cut.min(ops.len()));
        let delta = Delta::from_ops(older.iter().copied())
            .then(&Delta::from_ops(newer.iter().copied()));
        prop_assert_eq!(&delta, &Delta::from_ops(ops.iter().copied()));
        let mut expected = bitmap;
        for (slot, set) in ops {
            if set { expected.insert(slot) } else { expected.remove(slot) };
        }
        let view = BitmapView::from(&buf).patched(&delta);
        prop_assert_eq!(view.len(), expected.len());
        prop_assert_eq!(view.to_bitmap().view().to_roaring(), expected);
    }

    #[test]
    fn no_bytes_are_dangerous(mut bytes in vec(any::<u8>(), 0..300), head in 0_u8..6) {
        let start: &[u8] = match head {
            0 => &[0x3a, 0x30, 0, 0, 2, 0, 0, 0],
            1 => &[0x3b, 0x30, 1, 0, 3],
            2 => &[0x3b, 0x30, 4, 0, 0x1f],
            3 => &[1],
            4 => &[2],
            _ => &[],
        };
        bytes.splice(..0, start.iter().copied());
        if let Ok(view) = BitmapView::open(&bytes) {
            let all = view.to_bitmap();
            let _ = (view.len(), all.len(), view.contains(7), view.is_empty());
            let _ = view.and(&view).len() + view.xor(&BitmapView::range(5, 70_000)).len();
            let _ = view.intersection_len(&BitmapView::from(&all));
        }
        let _ = SmallBitmap::open(&bytes);
        if let Ok(view) = FrozenBitmap::from_untrusted(&bytes) {
            prop_assert_eq!(view.iter().count() as u64, view.len());
            prop_assert_eq!(view.to_buf().view().to_roaring(), view.to_roaring());
        }
    }
}
