//! The workload in files: blocks are made by all threads and written in order.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::block::{Block, Workload};
use super::parquet::{PairsFile, RowsFile};
use super::text::{csv_header, csv_line, json_line, push_number};

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated, with a header line.
    Csv,
    /// Columns in row groups of a million rows, Snappy.
    Parquet,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
        }
    }
}

/// Which columns the main table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Columns {
    /// Those that the queries ask for: 12 columns, about 65 bytes a row of CSV.
    Light,
    /// All 26, about 155 bytes a row of CSV.
    Full,
}

/// Where the tags are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TagForm {
    /// In a second file of pairs (imageId, tagId).
    Pairs,
    /// In a column `tagIds` of the main table.
    Inline,
    /// Nowhere.
    None,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// Path, rows and bytes of each file.
    pub files: Vec<(PathBuf, u64, u64)>,
}

/// The two files as bytes to append.
#[derive(Default)]
struct Text {
    rows: Vec<u8>,
    pairs: Vec<u8>,
}

fn format_block(block: &Block, format: Format, columns: Columns, tags: TagForm) -> Text {
    let mut text = Text::default();
    for (row, tag_list) in block.iter() {
        let inline = (tags == TagForm::Inline).then_some(tag_list);
        if format == Format::Csv {
            csv_line(&mut text.rows, row, inline, columns);
        } else {
            json_line(&mut text.rows, row, inline, columns);
        }
        if tags == TagForm::Pairs {
            let mut id = Vec::new();
            push_number(&mut id, row.id);
            for tag in tag_list {
                let out = &mut text.pairs;
                if format == Format::Csv {
                    out.extend_from_slice(&id);
                    out.push(b',');
                    push_number(out, *tag);
                    out.push(b'\n');
                } else {
                    out.extend_from_slice(b"{\"imageId\":");
                    out.extend_from_slice(&id);
                    out.extend_from_slice(b",\"tagId\":");
                    push_number(out, *tag);
                    out.extend_from_slice(b"}\n");
                }
            }
        }
    }
    text
}

/// Makes blocks by all threads of the current pool, wave by wave, while the wave before is consumed.
fn in_waves<T: Send>(
    workload: &Workload,
    make: impl Fn(Block) -> T + Sync,
    mut consume: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    let wave_len = 2 * rayon::current_num_threads() as u32;
    let make_wave = |first: u32| -> Vec<T> {
        let last = (first + wave_len).min(workload.block_count());
        (first..last).into_par_iter().map(|index| make(workload.block(index))).collect()
    };
    let mut wave = make_wave(0);
    let mut first = wave_len;
    while !wave.is_empty() {
        let (consumed, next) = rayon::join(|| wave.drain(..).try_for_each(&mut consume), || make_wave(first));
        consumed?;
        wave = next;
        first = first.saturating_add(wave_len);
    }
    Ok(())
}

/// Writes `images.EXT` and, where tags are pairs, `tags.EXT` into a directory; `progress` hears of rows written.
pub fn write_workload(
    workload: &Workload,
    dir: &Path,
    format: Format,
    columns: Columns,
    tags: TagForm,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Written> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let path = |stem: &str| dir.join(format!("{stem}.{}", format.extension()));
    let create = |path: &Path| File::create(path).with_context(|| format!("creating {}", path.display()));
    let (rows_path, pairs_path) = (path("images"), path("tags"));
    let rows_file = create(&rows_path)?;
    let pairs_file = (tags == TagForm::Pairs).then(|| create(&pairs_path)).transpose()?;
    let (mut row_count, mut pair_count) = (0, 0);
    if format == Format::Parquet {
        let mut rows = RowsFile::new(rows_file, columns, tags == TagForm::Inline)?;
        let mut pairs = pairs_file.map(PairsFile::new).transpose()?;
        in_waves(
            workload,
            |block| block,
            |block| {
                row_count += block.row_count() as u64;
                pair_count += block.pair_count() as u64;
                rows.push(&block)?;
                if let Some(pairs) = &mut pairs {
                    pairs.push(&block)?;
                }
                progress(row_count);
                Ok(())
            },
        )?;
        rows.finish()?;
        if let Some(pairs) = pairs {
            pairs.finish()?;
        }
    } else {
        let mut rows = BufWriter::new(rows_file);
        let mut pairs = pairs_file.map(BufWriter::new);
        if format == Format::Csv {
            rows.write_all(csv_header(columns, tags == TagForm::Inline).as_bytes())?;
            if let Some(pairs) = &mut pairs {
                pairs.write_all(b"imageId,tagId\n")?;
            }
        }
        let make = |block: Block| {
            (format_block(&block, format, columns, tags), block.row_count() as u64, block.pair_count() as u64)
        };
        in_waves(workload, make, |(text, block_rows, block_pairs)| {
            rows.write_all(&text.rows)?;
            if let Some(pairs) = &mut pairs {
                pairs.write_all(&text.pairs)?;
            }
            row_count += block_rows;
            pair_count += block_pairs;
            progress(row_count);
            Ok(())
        })?;
        rows.flush()?;
        if let Some(pairs) = &mut pairs {
            pairs.flush()?;
        }
    }
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut files = vec![(rows_path.clone(), row_count, bytes(&rows_path))];
    if tags == TagForm::Pairs {
        files.push((pairs_path.clone(), pair_count, bytes(&pairs_path)));
    }
    Ok(Written { files })
}
