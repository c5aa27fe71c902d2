//! The 32 bit layers of a sort field.

use anyhow::Result;
use bitmap_silo::container::{BitsetRef, ContainerRef, Layout};
use bitmap_silo::sliced::SlicedBuilder;
use bitmap_silo::{BitmapBuf, BitmapWriter, FrozenBitmap, concatenate};
use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::inputs::{digest_bitmap, digest_frozen};
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::Random;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "sort-layers",
    question: "How do 32-bit values become 32 bitmaps, one per bit?",
    strategies: &[
        ("A-insert", "an insertion for each set bit"),
        ("B-sorted", "a list for each layer, then `from_sorted_iter`"),
        (
            "C-transpose",
            "bit transposition of blocks of 64 values, whole chunks, roaring's `from_lsb0_bytes`",
        ),
        ("D-transpose-stored", "the same into stored containers, runs not looked for"),
        ("ours", "the engine's bit-sliced builder: smallest containers, existence and zones, too"),
        ("ours-parallel", "the same on all threads, which own chunks; layers are concatenated"),
        ("limit-memcpy", "copying the values and writing as many bytes of layers"),
    ],
    baseline: "B-sorted",
    limit: "copying the values and writing as many bytes of layers",
    memory: true,
    decision: "Layers are made by transposing whole chunks, never by lists of slots.",
    shapes,
    run,
};

const LAYERS: usize = 32;

fn shapes(scale: Scale) -> Vec<Shape> {
    match scale {
        Scale::Small => vec![Shape::new("uniform", 200_000, "values", 1_500.0, 200)],
        Scale::Medium => vec![Shape::new("uniform", 1_460_000, "values", 1_500.0, 200)],
        Scale::Production => vec![
            Shape::new("7.3M", 7_300_000, "values", 1_500.0, 200),
            Shape::new("14.6M", 14_600_000, "values", 1_500.0, 200),
        ],
    }
}

fn by_insert(values: &[u32]) -> Vec<RoaringBitmap> {
    let mut layers = vec![RoaringBitmap::new(); LAYERS];
    for (slot, value) in (0..).zip(values) {
        let mut left = *value;
        while left != 0 {
            layers[left.trailing_zeros() as usize].insert(slot);
            left &= left - 1;
        }
    }
    layers
}

fn by_lists(values: &[u32]) -> Vec<RoaringBitmap> {
    let mut lists: Vec<Vec<u32>> = vec![Vec::new(); LAYERS];
    for (slot, value) in (0..).zip(values) {
        let mut left = *value;
        while left != 0 {
            lists[left.trailing_zeros() as usize].push(slot);
            left &= left - 1;
        }
    }
    lists
        .into_iter()
        .map(|mut list| {
            list.sort_unstable();
            RoaringBitmap::from_sorted_iter(list).unwrap()
        })
        .collect()
}

/// Transposes 32 words of 32 bits in place (Hacker's Delight, 7-3): bit `j` of word `i` becomes bit `i` of word `j`.
fn transpose(words: &mut [u32; 32]) {
    let (mut width, mut mask) = (16, 0x0000_ffff_u32);
    while width != 0 {
        let mut at = 0;
        while at < 32 {
            let swapped = (words[at] >> width ^ words[at + width]) & mask;
            words[at] ^= swapped << width;
            words[at + width] ^= swapped;
            at = (at + width + 1) & !width;
        }
        width >>= 1;
        mask ^= mask << width;
    }
}

/// The bytes of each layer of up to 65,536 values.
fn layers_of_chunk(values: &[u32], layers: &mut [[u8; 8192]; LAYERS]) {
    layers.iter_mut().for_each(|layer| layer.fill(0));
    for (block, values) in values.chunks(32).enumerate() {
        let mut words = [0; 32];
        words[..values.len()].copy_from_slice(values);
        transpose(&mut words);
        for (layer, word) in layers.iter_mut().zip(words) {
            layer[4 * block..4 * block + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
}

fn boxed() -> Box<[[u8; 8192]; LAYERS]> {
    vec![[0; 8192]; LAYERS].into_boxed_slice().try_into().unwrap()
}

fn by_transposition(values: &[u32]) -> Vec<RoaringBitmap> {
    let mut bytes = boxed();
    let mut layers = vec![RoaringBitmap::new(); LAYERS];
    for (chunk, values) in values.chunks(1 << 16).enumerate() {
        layers_of_chunk(values, &mut bytes);
        for (layer, bytes) in layers.iter_mut().zip(bytes.iter()) {
            *layer |= RoaringBitmap::from_lsb0_bytes((chunk as u32) << 16, bytes);
        }
    }
    layers
}

/// Writers of the layers of some chunks, of which the first has key `first`.
fn write_layers(first: u16, values: &[u32]) -> Vec<BitmapWriter> {
    let mut bytes = boxed();
    let chunks = values.len().div_ceil(1 << 16);
    let mut writers: Vec<BitmapWriter> =
        (0..LAYERS).map(|_| BitmapWriter::with_capacity(Layout::Quick, chunks, chunks * 8192)).collect();
    for (key, values) in (first..).zip(values.chunks(1 << 16)) {
        layers_of_chunk(values, &mut bytes);
        for (writer, bytes) in writers.iter_mut().zip(bytes.iter()) {
            let (words, _) = bytes.as_chunks::<8>();
            let words: &[[u8; 8]; 1024] = words.try_into().unwrap();
            let cardinality = words.iter().map(|word| u64::from_le_bytes(*word).count_ones()).sum();
            if cardinality > 0 {
                writer.push(key, ContainerRef::from(BitsetRef::new(words, cardinality))).unwrap();
            }
        }
    }
    writers
}

fn stored_transposition(values: &[u32]) -> Vec<BitmapBuf> {
    write_layers(0, values).into_iter().map(BitmapWriter::finish).collect()
}

/// The engine's layers of some chunks, of which the first has key `first`.
fn sliced(first: u16, values: &[u32]) -> Result<Vec<BitmapBuf>> {
    let mut builder = SlicedBuilder::with_capacity(LAYERS, values.len().div_ceil(1 << 16))?;
    for (chunk, values) in (first..).zip(values.chunks(1 << 16)) {
        builder.push_u32(chunk, values, None)?;
    }
    Ok(builder.finish().layers)
}

fn sliced_parallel(values: &[u32], threads: usize) -> Result<Vec<BitmapBuf>> {
    let chunks = values.len().div_ceil(1 << 16).div_ceil(4 * threads).max(1);
    let parts = values.par_chunks(chunks << 16).enumerate();
    let parts: Result<Vec<Vec<BitmapBuf>>> =
        parts.map(|(part, values)| sliced((part * chunks) as u16, values)).collect();
    let parts = parts?;
    let layer = |layer: usize| {
        let views: Vec<FrozenBitmap<'_>> = parts.iter().map(|part| part[layer].view()).collect();
        Ok(concatenate(&views)?)
    };
    (0..LAYERS).into_par_iter().map(layer).collect()
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let mut random = Random::new(lab.settings.seed, 40);
    let values: Vec<u32> = (0..shape.items).map(|_| random.word() as u32).collect();
    let threads = lab.settings.threads;
    let of_roaring = |layers: &Vec<RoaringBitmap>| Ok(Digest::of(layers.iter().map(digest_bitmap)));
    let of_ours =
        |layers: &Vec<BitmapBuf>| Ok(Digest::of(layers.iter().map(|layer| digest_frozen(&layer.view()))));
    lab.measure(vec![
        Strategy::new("A-insert", || Ok(by_insert(&values)), of_roaring),
        Strategy::new("B-sorted", || Ok(by_lists(&values)), of_roaring),
        Strategy::new("C-transpose", || Ok(by_transposition(&values)), of_roaring),
        Strategy::new("D-transpose-stored", || Ok(stored_transposition(&values)), of_ours),
        Strategy::new("ours", || sliced(0, &values), of_ours),
        Strategy::new("ours-parallel", || sliced_parallel(&values, threads), of_ours),
        Strategy::limit("limit-memcpy", || Ok((values.clone(), values.clone()))),
    ])
}
