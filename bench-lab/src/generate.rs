//! `bench-lab generate`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use bench_lab::workload::{Columns, Format, TagForm, Workload, generate_queries, write_workload};
use clap::{Args, ValueEnum};

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dataset {
    /// images.EXT and tags.EXT: the feed of an image site.
    Workload,
    /// queries.ndjson: 26 queries of each of 13 classes for a workload of these rows and seed.
    Queries,
}

/// Flags of `generate`.
#[derive(Args)]
pub(crate) struct Generate {
    dataset: Dataset,
    /// Number of rows of the main table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Mean number of tags of a row.
    #[arg(long, default_value_t = 10)]
    tags_per_record: u32,
    /// Columns of the main table.
    #[arg(long, value_enum, default_value_t = Columns::Light)]
    columns: Columns,
    /// Where the tags go.
    #[arg(long, value_enum, default_value_t = TagForm::Pairs)]
    tags: TagForm,
    /// Directory to write to; it is created.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for all. They do not change what is written.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Generate {
    pub(crate) fn run(&self) -> Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let workload = Workload::new(self.rows, self.tags_per_record, self.seed);
        pool.install(|| match self.dataset {
            Dataset::Workload => self.write_workload(&workload),
            Dataset::Queries => self.write_queries(&workload),
        })
    }

    fn write_workload(&self, workload: &Workload) -> Result<()> {
        let started = Instant::now();
        let shown = std::io::stderr().is_terminal();
        let progress = |rows: u64| {
            if shown {
                let rate = rows as f64 / started.elapsed().as_secs_f64() / 1e3;
                eprint!("\r{rows} of {} rows, {rate:.0} k/s ", self.rows);
            }
        };
        let written = write_workload(workload, &self.out, self.format, self.columns, self.tags, progress)?;
        if shown {
            eprintln!();
        }
        for (path, rows, bytes) in &written.files {
            writeln!(io::stdout(), "{}: {rows} rows, {bytes} bytes", path.display())?;
        }
        writeln!(io::stdout(), "in {:.1} s", started.elapsed().as_secs_f64())?;
        Ok(())
    }

    fn write_queries(&self, workload: &Workload) -> Result<()> {
        std::fs::create_dir_all(&self.out)?;
        let path = self.out.join("queries.ndjson");
        let file = std::fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let mut file = BufWriter::new(file);
        let queries = generate_queries(workload, self.seed);
        for query in &queries {
            serde_json::to_writer(&mut file, query)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        writeln!(io::stdout(), "{}: {} queries", path.display(), queries.len())?;
        Ok(())
    }
}
