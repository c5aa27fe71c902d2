//! A table looked up by integer key.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use memmap2::Mmap;

use super::inputs::Map;
use crate::lab::files::{PageAdvice, map_path};
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "join",
    question: "Rows look up a second table of 23 million rows by integer key. What is built over it?",
    strategies: &[
        ("map-of-rows", "a hash map of key to the bytes of the row"),
        ("map-of-offsets", "a hash map of key to the row's place in the mapped file"),
        ("sorted", "a sorted vector of keys and places, binary search"),
        ("dense", "a vector of places, the key being the index"),
        ("limit-read", "reading the file once (to build), or the rows in file order (to look up)"),
    ],
    baseline: "map-of-rows",
    limit: "reading the file once (to build), or as many rows in file order (to look up)",
    memory: true,
    decision: "Joins read the second file once into columns, rows grouped by key: integer keys that lie close together are the index of a dense vector, others go through \
        a hash table of groups. Only the columns that are asked for are kept in memory, not rows as text.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let rows = scale.pick(50_000, 2_300_000, 23_000_000);
    let looked_up = scale.pick(30_000, 1_460_000, 14_600_000);
    let shape = |name: &str, items: u64, cost: f64| Shape {
        memory_bytes: rows * 160,
        ..Shape::new(name, items, "rows", cost, 0)
    };
    vec![
        shape("build", rows, 1_500.0),
        shape("in-order", looked_up, 1_200.0),
        shape("random", looked_up, 3_000.0),
    ]
}

fn rows_at(scale: Scale) -> u64 {
    scale.pick(50_000, 2_300_000, 23_000_000)
}

/// Posts: `postId,userId,publishedAt`, keys ascending with gaps, some 27 bytes a row.
fn write_table(path: &Path, rows: u64) -> Result<Vec<u32>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut keys = Vec::with_capacity(rows as usize);
    let mut key = 0;
    for row in 0..rows {
        key += 1 + u32::from(mix(row).is_multiple_of(6));
        keys.push(key);
        writeln!(file, "{key},{},{}", mix(row ^ 5) % 9_000_000, 1_600_000_000 + row)?;
    }
    file.flush()?;
    Ok(keys)
}

fn number(bytes: &[u8]) -> (u64, usize) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (bytes[..digits].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), digits)
}

/// Calls `f` with key and place of each row.
fn for_each_row(text: &[u8], mut f: impl FnMut(u32, usize, &[u8])) {
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        f(number(line).0 as u32, at, line);
        at += line.len();
    }
}

/// What a look-up is for: the user and the time of a row.
fn parse(row: &[u8]) -> u64 {
    let (_, first) = number(row);
    let (user, second) = number(&row[first + 1..]);
    let (time, _) = number(&row[first + second + 2..]);
    user ^ time << 24
}

enum Table {
    Rows(Map<u32, Box<[u8]>>),
    Offsets(Map<u32, u32>),
    Sorted(Vec<(u32, u32)>),
    Dense(Vec<u32>),
}

impl Table {
    fn build(strategy: &str, text: &[u8]) -> Self {
        match strategy {
            "map-of-rows" => {
                let mut rows: Map<u32, Box<[u8]>> = Map::default();
                for_each_row(text, |key, _, row| {
                    rows.insert(key, row.into());
                });
                Self::Rows(rows)
            }
            "map-of-offsets" => {
                let mut offsets = Map::default();
                for_each_row(text, |key, at, _| {
                    offsets.insert(key, at as u32);
                });
                Self::Offsets(offsets)
            }
            "sorted" => {
                let mut list = Vec::new();
                for_each_row(text, |key, at, _| list.push((key, at as u32)));
                list.sort_unstable();
                Self::Sorted(list)
            }
            _ => {
                let mut dense = Vec::new();
                for_each_row(text, |key, at, _| {
                    let key = key as usize;
                    if dense.len() <= key {
                        dense.resize(key + 1, u32::MAX);
                    }
                    dense[key] = at as u32;
                });
                Self::Dense(dense)
            }
        }
    }

    #[inline]
    fn get(&self, key: u32, text: &[u8]) -> Option<u64> {
        let at = match self {
            Self::Rows(rows) => return rows.get(&key).map(|row| parse(row)),
            Self::Offsets(offsets) => *offsets.get(&key)?,
            Self::Sorted(list) => list[list.binary_search_by_key(&key, |(key, _)| *key).ok()?].1,
            Self::Dense(dense) => *dense.get(key as usize).filter(|at| **at != u32::MAX)?,
        };
        Some(parse(&text[at as usize..]))
    }

    fn sum(&self, keys: &[u32], text: &[u8]) -> u64 {
        keys.iter().fold(0, |sum, key| sum.wrapping_add(mix(self.get(*key, text).unwrap_or(1))))
    }
}

const STRATEGIES: [&str; 4] = ["map-of-rows", "map-of-offsets", "sorted", "dense"];

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let path = scratch.path().join("posts.csv");
    let keys = write_table(&path, rows_at(lab.settings.scale))?;
    let map: Mmap = map_path(&path, PageAdvice::Sequential)?;
    let text: &[u8] = &map;
    if shape.name == "build" {
        let probes: Vec<u32> =
            keys.iter().step_by(keys.len() / 1_000).flat_map(|key| [*key, key + 1]).collect();
        let probes = &probes;
        let mut strategies: Vec<Strategy<'_>> = STRATEGIES
            .map(|name| {
                Strategy::new(
                    name,
                    move || Ok(Table::build(name, text)),
                    move |table| Ok(Digest::of([table.sum(probes, text)])),
                )
            })
            .into();
        strategies.push(Strategy::limit("limit-read", || {
            let mut sum = 0;
            for_each_row(text, |key, _, _| sum ^= key);
            Ok(sum)
        }));
        return lab.measure(strategies);
    }
    // Images come post by post, 4.8 of each on average; one in a hundred names a post that is not there.
    let mut random = Random::new(lab.settings.seed, 90);
    let ordered: Vec<u32> = (0..shape.items)
        .map(|at| {
            let key = keys[(at * keys.len() as u64 / shape.items) as usize];
            if random.below(100) == 0 { key + 1 } else { key }
        })
        .collect();
    let mut wanted = ordered;
    if shape.name == "random" {
        random.shuffle(&mut wanted);
    }
    let tables: Vec<(&'static str, Table)> = STRATEGIES
        .into_iter()
        .filter(|name| lab.wants(name))
        .map(|name| (name, Table::build(name, text)))
        .collect();
    let wanted = &wanted;
    let mut strategies: Vec<Strategy<'_>> = tables
        .iter()
        .map(|(name, table)| {
            Strategy::new(name, move || Ok(table.sum(wanted, text)), |sum| Ok(Digest::of([*sum])))
        })
        .collect();
    strategies.push(Strategy::limit("limit-read", || {
        Ok(text
            .split(|byte| *byte == b'\n')
            .take(wanted.len())
            .filter(|row| !row.is_empty())
            .map(parse)
            .fold(0, u64::wrapping_add))
    }));
    lab.measure(strategies)
}
