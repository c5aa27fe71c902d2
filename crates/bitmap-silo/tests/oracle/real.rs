//! Real sets of bitmaps, where this machine has them.

#![expect(clippy::unwrap_used, reason = "a collection that is there must be readable")]

use std::io::Read;
use std::path::PathBuf;

use roaring::RoaringBitmap;

/// Names of the collections.
pub(crate) const REAL_SETS: [&str; 2] = ["census1881", "wikileaks-noquotes_srt"];

/// The bitmaps of a collection, or none where it is not there.
pub(crate) fn real_set(name: &str) -> Option<Vec<RoaringBitmap>> {
    let folder = std::env::var_os("SILO_ROARING_DATASETS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/datasets/roaring"),
        PathBuf::from,
    );
    let file = std::fs::File::open(folder.join(format!("{name}.zip"))).ok()?;
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut bitmaps = Vec::new();
    for index in 0..archive.len() {
        let mut text = String::new();
        archive.by_index(index).unwrap().read_to_string(&mut text).unwrap();
        let slots = text.trim().split(',').filter_map(|slot| slot.trim().parse::<u32>().ok());
        let mut bitmap: RoaringBitmap = slots.collect();
        bitmap.optimize();
        bitmaps.push(bitmap);
    }
    Some(bitmaps)
}
