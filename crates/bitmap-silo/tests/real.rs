//! Real collections of bitmaps, where this machine has them: every operation on neighbours.

mod oracle;
#[path = "oracle/real.rs"]
mod real;

use bitmap_silo::{BitmapBuf, BitmapView, FrozenBitmap, intersection_of_frozen, union, union_len};
use oracle::{blob, croaring_accepts};
use real::{REAL_SETS, real_set};
use roaring::{MultiOps, RoaringBitmap};

#[test]
fn operations_on_real_sets_equal_those_of_roaring() {
    for name in REAL_SETS {
        let Some(bitmaps) = real_set(name) else {
            continue;
        };
        assert!(bitmaps.len() > 100, "{name}");
        let blobs: Vec<_> = bitmaps.iter().map(blob).collect();
        let views: Vec<_> = blobs.iter().map(|bytes| FrozenBitmap::open(bytes).unwrap()).collect();
        for (view, bitmap) in views.iter().zip(&bitmaps) {
            view.validate().unwrap();
            assert_eq!(view.len(), bitmap.len());
            assert!(view.iter().eq(bitmap.iter()));
            assert!(view.iter().rev().eq(bitmap.iter().rev()));
            let written = BitmapBuf::from(bitmap);
            assert!(written.as_bytes().len() <= view.as_bytes().len());
            assert_eq!(
                croaring_accepts(written.as_bytes()).unwrap().to_vec(),
                bitmap.iter().collect::<Vec<_>>()
            );
        }
        for (pair, sets) in views.windows(2).zip(bitmaps.windows(2)) {
            let ([a, b], [x, y]) = (pair, sets) else { unreachable!("windows of two") };
            assert_eq!(a.and(b).view().to_roaring(), x & y);
            assert_eq!(a.intersection_len(b), x.intersection_len(y));
            let (a, b) = (BitmapView::from(*a), BitmapView::from(*b));
            assert_eq!(a.or(&b).view().to_roaring(), x | y);
            assert_eq!(a.xor(&b).view().to_roaring(), x ^ y);
            assert_eq!(a.and_not(&b).view().to_roaring(), x - y);
        }
        for (four, sets) in views.windows(4).zip(bitmaps.windows(4)) {
            let expected: RoaringBitmap = sets.iter().intersection();
            assert_eq!(intersection_of_frozen(four).view().to_roaring(), expected);
        }
        let all: RoaringBitmap = bitmaps.iter().union();
        assert_eq!(union(views.iter().copied()).view().to_roaring(), all);
        assert_eq!(union_len(views.iter().copied()), all.len());
    }
}
