//! Query engines at the generated queries.

mod duckdb;
pub mod filter;
mod floor;
mod ours;
#[cfg(feature = "peer-tantivy")]
mod tantivy;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::results::{ShapeResult, StrategyResult};
use crate::lab::runner::scratch_dir;
use crate::lab::statistics::median;
use crate::lab::{Experiment, Lab, Scale, Settings, Shape};
use crate::workload::{
    CLASSES, Columns, Format, LabQuery, TagForm, Workload, generate_queries, write_workload,
};
use filter::Clause;

/// What the pages of this comparison say.
pub const EXPERIMENT: Experiment = Experiment {
    name: "peers-query",
    question: "How long do filtered, sorted pages take, against engines that a user could pick, and against a program written by hand for them?",
    strategies: &[
        (
            "floor",
            "a program written by hand for exactly these queries: bitmaps, words of the dense ones, a byte of small fields for each row, one permutation for each sort field; in memory, one thread",
        ),
        ("ours", "the engine: loaded from CSV, mapped files, exact answers, updatable"),
        ("duckdb", "DuckDB, in memory, images in id order, pairs sorted by tag, on all threads"),
        (
            "tantivy",
            "tantivy: one thread and 1 GiB to index, segments merged to one in id order; pages by a fast field of (value, id)",
        ),
        ("tantivy-sorted", "the same, in the order of reactionCount: pages sorted by it stop early"),
    ],
    baseline: "floor",
    limit: "the floor",
    memory: false,
    decision: "The goal is 1.5 times the floor in every class, from mapped files and with updates. Where the floor answers in microseconds, the engine pays the fixed \
        cost of a query: parsing, planning, some look-ups in the store. The floor knows its queries: small fields are one byte a row, tested by one table, also in \
        the order of each sort field; counts are sums of bits over words; a time range is a part of a permutation.",
    shapes: |scale| CLASSES.map(|class| Shape::new(class, rows_at(scale), "rows", 100.0, 250)).into(),
    run: not_by_shape,
};

fn not_by_shape(_: &Shape, _: &mut Lab<'_>) -> Result<()> {
    bail!("this comparison runs as a whole: bench-lab peers query")
}

fn rows_at(scale: Scale) -> u64 {
    scale.pick(50_000, 1_460_000, 14_600_000)
}

/// A query, parsed.
#[derive(Debug, Clone)]
pub struct Query {
    /// The filter as text.
    filter: String,
    clauses: Vec<Clause>,
    /// Field and whether it descends.
    sort: Option<(String, bool)>,
    limit: usize,
    offset: usize,
    count: bool,
    /// Whether the counts of baseModel are asked for.
    facet: bool,
}

impl Query {
    fn new(query: &LabQuery) -> Result<Self> {
        let sort = query.sort.as_deref().map(|sort| {
            let (field, direction) = sort.split_once(':').context("a sort is field:desc or field:asc")?;
            Ok::<_, anyhow::Error>((field.to_owned(), direction == "desc"))
        });
        Ok(Self {
            filter: query.filter.clone(),
            clauses: filter::parse(&query.filter)?,
            sort: sort.transpose()?,
            limit: query.limit as usize,
            offset: query.offset as usize,
            count: query.count,
            facet: !query.facets.is_empty(),
        })
    }
}

/// What a query gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Of counts.
    total: Option<u64>,
    /// Of pages.
    ids: Vec<u32>,
    /// Of facets, in any order.
    facets: BTreeMap<String, u64>,
}

/// An engine within this process.
trait QueryEngine {
    fn answer(&mut self, query: &Query) -> Result<Answer>;
}

/// An engine that answers and says how long it took.
type Timed = Box<dyn FnMut(&Query) -> Result<(Answer, Duration)>>;

fn timed(mut engine: impl QueryEngine + 'static) -> Timed {
    Box::new(move |query| {
        let started = Instant::now();
        let answer = engine.answer(query)?;
        Ok((answer, started.elapsed()))
    })
}

/// Which engines are there: those compiled in, and `DuckDB` where it is installed.
fn engines(settings: &Settings, workload: &Workload, scratch: &Path) -> Result<Vec<(&'static str, Timed)>> {
    let wants =
        |name: &str| settings.strategies.is_empty() || settings.strategies.iter().any(|own| own == name);
    eprintln!("peers-query: building the floor over {} rows", workload.row_count());
    let mut engines: Vec<(&'static str, Timed)> = vec![("floor", timed(floor::Floor::new(workload)))];
    if wants("ours") {
        eprintln!("peers-query: loading the engine");
        engines.push(("ours", timed(ours::Ours::new(workload, &scratch.join("ours"), settings.threads)?)));
    }
    let python = Path::new("target/peers/bin/python");
    if wants("duckdb") && python.exists() {
        eprintln!("peers-query: loading DuckDB");
        write_workload(workload, scratch, Format::Parquet, Columns::Light, TagForm::Pairs, |_| {})?;
        let mut duckdb = duckdb::DuckDb::open(python, scratch, settings.threads)?;
        engines.push(("duckdb", Box::new(move |query| duckdb.answer(query))));
    } else if wants("duckdb") {
        eprintln!("peers-query: DuckDB left out: scripts/install-peers.sh installs it");
    }
    #[cfg(feature = "peer-tantivy")]
    for (name, by_reactions) in [("tantivy", false), ("tantivy-sorted", true)] {
        if wants(name) {
            eprintln!("peers-query: loading {name}");
            engines.push((name, timed(tantivy::Tantivy::new(workload, &scratch.join(name), by_reactions)?)));
        }
    }
    Ok(engines)
}

/// Seconds that a run takes, roughly: engines load for longer than they are asked.
#[must_use]
pub fn estimate(settings: &Settings) -> f64 {
    let wanted =
        |name: &str| settings.strategies.is_empty() || settings.strategies.iter().any(|own| own == name);
    let microseconds =
        [("floor", 4.0), ("ours", 10.0), ("duckdb", 8.0), ("tantivy", 14.0), ("tantivy-sorted", 16.0)];
    let loads = microseconds.iter().filter(|(name, _)| wanted(name)).map(|(_, each)| each).sum::<f64>();
    10.0 + rows_at(settings.scale) as f64 * loads * 1.2 / 1e6
}

/// Runs all queries on all engines; a wrong answer ends the run.
pub fn run(settings: &Settings) -> Result<Vec<ShapeResult>> {
    let workload = Workload::new(rows_at(settings.scale), 10, settings.seed);
    let queries = generate_queries(&workload, settings.seed);
    let scratch = scratch_dir(&settings.scratch)?;
    let mut engines = engines(settings, &workload, scratch.path())?;
    let mut shapes = Vec::new();
    for class in CLASSES {
        if !settings.shapes.is_empty() && !settings.shapes.iter().any(|shape| shape == class) {
            continue;
        }
        let mut strategies: Vec<StrategyResult> = engines
            .iter()
            .map(|(name, _)| StrategyResult { strategy: (*name).to_owned(), ..StrategyResult::default() })
            .collect();
        let mut digest = crate::lab::Digest::default();
        for query in queries.iter().filter(|query| query.class() == class) {
            let parsed = Query::new(query)?;
            let mut expected: Option<Answer> = None;
            for (name, engine) in &mut engines {
                let (answer, _) = engine(&parsed).with_context(|| format!("{name} at {}", query.name))?;
                let first = expected.get_or_insert_with(|| answer.clone());
                ensure!(
                    *first == answer,
                    "{}: {name} answers {answer:?}, the floor {first:?}: nothing was timed. {}",
                    query.name,
                    query.filter
                );
            }
            if let Some(answer) = expected {
                digest.push_bytes(format!("{answer:?}").as_bytes());
            }
            // A few rounds, engines in turn; one sample for each variant and engine.
            let rounds = settings.scale.pick(3, 5, 7);
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
            for _ in 0..rounds {
                for ((_, engine), times) in engines.iter_mut().zip(&mut times) {
                    times.push(engine(&parsed)?.1.as_secs_f64());
                }
            }
            for (strategy, times) in strategies.iter_mut().zip(times) {
                strategy.wall.push(median(&times));
            }
        }
        for strategy in &mut strategies {
            let slowest = strategy.wall.iter().copied().fold(0.0, f64::max);
            strategy.figures.push(("slowest variant, ms".to_owned(), slowest * 1e3));
        }
        eprintln!("peers-query {class}: {} variants agree", crate::workload::QUERY_VARIANTS);
        shapes.push(ShapeResult {
            shape: class.to_owned(),
            items: 1,
            unit: "query (26 variants)".to_owned(),
            digest: Some(format!("{:016x}", digest.value())),
            strategies,
        });
    }
    Ok(shapes)
}
