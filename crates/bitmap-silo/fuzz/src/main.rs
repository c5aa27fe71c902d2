//! One libFuzzer program for all entry points; `SILO_FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::OnceLock;

use bitmap_silo::FrozenBitmap;
use bitmap_silo::fuzzing::{
    algebra, column, frozen, hostile_views, made_blob, operands, postings, sliced, stored,
};
use croaring::{Bitmap, Portable};
use libfuzzer_sys::fuzz_target;

/// The strict reader accepts what `roaring` and `croaring` accept.
fn frozen_by_both(data: &[u8]) {
    frozen(data);
    for bytes in [data, &made_blob(data)] {
        let (ours, peer) = (FrozenBitmap::from_untrusted(bytes), Bitmap::try_deserialize::<Portable>(bytes));
        assert_eq!(ours.is_ok(), peer.is_some(), "{ours:?}");
        if let (Ok(view), Some(peer)) = (ours, peer) {
            assert_eq!(view.len(), peer.cardinality());
            assert!(view.iter().eq(peer.iter()));
        }
    }
}

fn target() -> fn(&[u8]) {
    match std::env::var("SILO_FUZZ_TARGET").as_deref() {
        Ok("frozen") => frozen_by_both,
        Ok("algebra") => algebra,
        Ok("hostile_views") => hostile_views,
        Ok("column") => column,
        Ok("postings") => postings,
        Ok("operands") => operands,
        Ok("stored") => stored,
        Ok("sliced") => sliced,
        other => panic!("SILO_FUZZ_TARGET is {other:?}; it names a function of bitmap_silo::fuzzing"),
    }
}

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(target)(data);
});
