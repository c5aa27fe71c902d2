//! Bitmaps while rows are parsed, on one thread.

use anyhow::Result;
use bitmap_silo::{Rows, ValueBitmaps, build_values};
use roaring::RoaringBitmap;

use super::inputs::{Map, ValuesDigest, digest_bitmap};
use crate::lab::{Experiment, Lab, Scale, Shape, Strategy};
use crate::random::Random;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "filter-accumulate",
    question: "One thread parses rows. Into what does it put the values of filter fields, until they are bitmaps?",
    strategies: &[
        ("A-insert", "a map of bitmaps, one insertion for each row and field"),
        ("B-sort", "flat tuples, sorted, cut into bitmaps"),
        ("C-extend", "lists of a block of rows, then one `extend` for each value"),
        ("D-lists", "a list for each value, made bitmaps at the end"),
        ("ours-columns", "a column for each field, then the engine's `build_values`"),
        ("limit-columns", "writing the columns"),
    ],
    baseline: "A-insert",
    limit: "writing the values into columns, which every strategy but A does in some form",
    memory: true,
    decision: "Readers fill columns (`RowBatch`); bitmaps are built from whole columns by `build_values`, which picks bitsets, grouping by chunk or \
        grouping by value from the number of values and rows.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let rows = scale.pick(100_000, 1_460_000, 14_600_000);
    vec![
        Shape::new("low", rows, "rows", 100.0, 40),
        Shape::new("medium", rows, "rows", 400.0, 60),
        Shape::new("high", rows, "rows", 2_000.0, 150),
        Shape::new("mixed", rows * 8, "tuples", 1_500.0, 45),
    ]
}

/// Values of each field of a shape.
fn fields(shape: &str) -> &'static [u32] {
    match shape {
        "low" => &[5],
        "medium" => &[50_000],
        "high" => &[2_000_000],
        _ => &[5, 5, 50_000, 50_000, 50_000, 2_000_000, 2_000_000, 2_000_000],
    }
}

/// Rows as a parser yields them: the values of a row, one after the other.
struct Parsed {
    /// `fields` values for each row.
    values: Vec<u32>,
    fields: &'static [u32],
}

impl Parsed {
    fn new(rows: u64, fields: &'static [u32], seed: u64) -> Self {
        let mut random = Random::new(seed, 30);
        let draw = |random: &mut Random, count: u32| {
            if count == 50_000 { (random.unit().powi(2) * 50_000.0) as u32 } else { random.below(count) }
        };
        let values = (0..rows).flat_map(|_| fields).map(|count| draw(&mut random, *count)).collect();
        Self { values, fields }
    }

    /// Calls `f` with slot, field and value.
    #[inline]
    fn for_each(&self, mut f: impl FnMut(u32, usize, u32)) {
        for (slot, row) in (0..).zip(self.values.chunks_exact(self.fields.len())) {
            for (field, value) in row.iter().enumerate() {
                f(slot, field, *value);
            }
        }
    }

    fn columns(&self) -> Vec<Vec<u32>> {
        let rows = self.values.len() / self.fields.len();
        let mut columns: Vec<Vec<u32>> = self.fields.iter().map(|_| Vec::with_capacity(rows)).collect();
        self.for_each(|_, field, value| columns[field].push(value));
        columns
    }
}

type Bitmaps = Vec<Map<u32, RoaringBitmap>>;

fn insert(rows: &Parsed) -> Bitmaps {
    let mut maps = vec![Map::default(); rows.fields.len()];
    rows.for_each(|slot, field, value| {
        maps[field].entry(value).or_insert_with(RoaringBitmap::new).insert(slot);
    });
    maps
}

fn sort(rows: &Parsed) -> Bitmaps {
    let mut tuples = Vec::with_capacity(rows.values.len());
    rows.for_each(|slot, field, value| {
        tuples.push((field as u64) << 56 | u64::from(value) << 32 | u64::from(slot));
    });
    tuples.sort_unstable();
    let mut maps = vec![Map::default(); rows.fields.len()];
    for group in tuples.chunk_by(|a, b| a >> 32 == b >> 32) {
        let bitmap = RoaringBitmap::from_sorted_iter(group.iter().map(|tuple| *tuple as u32)).unwrap();
        maps[(group[0] >> 56) as usize].insert((group[0] >> 32) as u32 & 0xff_ffff, bitmap);
    }
    maps
}

fn extend(rows: &Parsed) -> Bitmaps {
    const BLOCK: u32 = 1 << 16;
    let mut maps: Bitmaps = vec![Map::default(); rows.fields.len()];
    let mut lists: Vec<Map<u32, Vec<u32>>> = vec![Map::default(); rows.fields.len()];
    let flush = |lists: &mut Vec<Map<u32, Vec<u32>>>, maps: &mut Bitmaps| {
        for (lists, map) in lists.iter_mut().zip(maps) {
            lists.drain().for_each(|(value, list)| map.entry(value).or_default().extend(list));
        }
    };
    let mut block = 0;
    rows.for_each(|slot, field, value| {
        if slot / BLOCK != block {
            block = slot / BLOCK;
            flush(&mut lists, &mut maps);
        }
        lists[field].entry(value).or_default().push(slot);
    });
    flush(&mut lists, &mut maps);
    maps
}

fn lists(rows: &Parsed) -> Bitmaps {
    let mut lists: Vec<Map<u32, Vec<u32>>> = vec![Map::default(); rows.fields.len()];
    rows.for_each(|slot, field, value| lists[field].entry(value).or_default().push(slot));
    let bitmap = |(value, list): (u32, Vec<u32>)| (value, RoaringBitmap::from_sorted_iter(list).unwrap());
    lists.into_iter().map(|map| map.into_iter().map(bitmap).collect()).collect()
}

fn ours(rows: &Parsed) -> Result<Vec<ValueBitmaps>> {
    let columns = rows.columns();
    let built = columns.into_iter().zip(rows.fields).map(|(values, count)| {
        Ok(build_values(Rows::Consecutive { first_slot: 0, values: &values }, *count)?)
    });
    built.collect()
}

fn of_maps(maps: &Bitmaps) -> Result<u64> {
    let mut digest = ValuesDigest::default();
    for (field, map) in (0..).zip(maps) {
        map.iter().for_each(|(value, bitmap)| digest.add(field, u64::from(*value), digest_bitmap(bitmap)));
    }
    Ok(digest.value())
}

fn of_ours(fields: &Vec<ValueBitmaps>) -> Result<u64> {
    let mut digest = ValuesDigest::default();
    (0..).zip(fields).for_each(|(field, values)| digest.add_all(field, values));
    Ok(digest.value())
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let fields = fields(&shape.name);
    let rows = Parsed::new(shape.items / fields.len() as u64, fields, lab.settings.seed);
    lab.measure(vec![
        Strategy::new("A-insert", || Ok(insert(&rows)), of_maps),
        Strategy::new("B-sort", || Ok(sort(&rows)), of_maps),
        Strategy::new("C-extend", || Ok(extend(&rows)), of_maps),
        Strategy::new("D-lists", || Ok(lists(&rows)), of_maps),
        Strategy::new("ours-columns", || ours(&rows), of_ours),
        Strategy::limit("limit-columns", || Ok(rows.columns())),
    ])
}
