//! `silo bench`

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value as Json, json};
use silo_engine::{Engine, Filter, Query};

use super::query::{facet_of, sort_of};
use crate::args::{BenchArgs, ReportFormat};
use crate::failure::{Failure, Result};
use crate::output::human;
use crate::output::table::TextTable;

/// Ids that are shown of each answer.
const FIRST_IDS: usize = 5;
/// Records of a page, where a line does not say.
const LIMIT: usize = 50;

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: Option<String>,
    filter: Option<Json>,
    sort: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
    cursor: Option<String>,
    fields: Option<Vec<String>>,
    facets: Option<Vec<String>>,
    stats: Option<Vec<String>>,
    count: Option<bool>,
}

/// A query and what was found out about it.
struct Timed {
    name: String,
    query: Query,
    total: u64,
    first_ids: Json,
    /// Ascending.
    times: Vec<Duration>,
}

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let file = File::open(&args.queries).map_err(Failure::file("open", &args.queries))?;
    let mut queries = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(Failure::file("read", &args.queries))?;
        if line.trim().is_empty() {
            continue;
        }
        let at = || format!("{}, line {}", args.queries.display(), number + 1);
        let line: Line = serde_json::from_str(&line).map_err(|error| {
            Failure::usage(format!("{}: {}", at(), error.to_string().replace(" at line 1", "")))
        })?;
        let name = line.name.clone().unwrap_or_else(|| format!("line {}", number + 1));
        let query = query_of(line).map_err(|why| Failure::usage(format!("{}: {why}", at())))?;
        queries.push((name, query));
    }
    if queries.is_empty() {
        return Err(Failure::usage(format!("{} holds no queries", args.queries.display())));
    }
    let engine = Engine::open_read_only(&args.dir)?;
    let mut timed = Vec::new();
    for (name, query) in queries {
        timed.push(time(&engine, name, query, args.repeat)?);
    }
    let threads = usize::from(args.threads);
    let rate = throughput(&engine, &timed, threads, args.repeat)?;
    let mut out = std::io::stdout().lock();
    match args.format {
        ReportFormat::Json => writeln!(out, "{}", to_json(&timed, args, rate))?,
        ReportFormat::Table => {
            let heads = ["query", "total", "first ids", "median µs", "p90", "p99", "max"];
            let mut table = TextTable::new(heads);
            for query in &timed {
                let us = |share| format!("{:.1}", micros(query.quantile(share)));
                let ids = query.first_ids.to_string().replace(['[', ']', '"'], "").replace(',', ", ");
                table.row([
                    query.name.clone(),
                    human::count(query.total),
                    ids,
                    us(0.5),
                    us(0.9),
                    us(0.99),
                    us(1.0),
                ]);
            }
            writeln!(out, "{table}")?;
            let groups = groups(&timed);
            if !groups.is_empty() {
                let mut table =
                    TextTable::new(["group", "queries", "median of medians µs", "slowest median"]);
                for Group { name, queries, median, slowest } in groups {
                    let us = |time| format!("{:.1}", micros(time));
                    table.row([name.to_owned(), human::count(queries as u64), us(median), us(slowest)]);
                }
                writeln!(out, "{table}")?;
            }
            writeln!(
                out,
                "{} on {}: {rate:.0} queries/s",
                human::counted(timed.len() as u64, "query").replace("querys", "queries"),
                human::counted(threads as u64, "thread")
            )?;
        }
    }
    Ok(())
}

fn query_of(line: Line) -> Result<Query, String> {
    let filter = match line.filter {
        None | Some(Json::Null) => Filter::all(),
        Some(Json::String(text)) => Filter::parse(&text).map_err(|error| error.to_string())?,
        Some(tree) => Filter::from_json(&tree).map_err(|error| error.to_string())?,
    };
    let mut query = Query::new(filter)
        .limit(line.limit.unwrap_or(LIMIT))
        .offset(line.offset.unwrap_or(0))
        .cursor(line.cursor)
        .fields(line.fields.unwrap_or_default());
    if let Some(sort) = &line.sort {
        let (field, direction) = sort_of(sort)?;
        query = query.sort(field, direction);
    }
    for facet in line.facets.unwrap_or_default() {
        let (field, limit) = facet_of(&facet)?;
        query = query.facet(field, limit);
    }
    for field in line.stats.unwrap_or_default() {
        query = query.stats(field);
    }
    Ok(if line.count.unwrap_or(false) { query.count_only() } else { query })
}

/// Answers a query once to warm up, then as often as asked.
fn time(engine: &Engine, name: String, query: Query, repeat: u32) -> Result<Timed> {
    let fail = |error: silo_engine::Error| match Failure::from(error) {
        Failure::Usage(why) => Failure::usage(format!("query {name:?}: {why}")),
        other => other,
    };
    let answer = engine.query(&query).map_err(fail)?;
    // What is timed is what the line asks for: pages are not counted.
    let query = query.without_total();
    let kind = engine.schema().id.kind;
    let ids = answer.ids.iter().take(FIRST_IDS).map(|id| id.to_value().to_json(kind));
    let first_ids = Json::Array(ids.collect());
    let mut times = Vec::with_capacity(repeat as usize);
    for _ in 0..repeat {
        times.push(engine.query(&query).map_err(fail)?.elapsed);
    }
    times.sort_unstable();
    Ok(Timed { name, query, total: answer.total, first_ids, times })
}

/// Queries a second, when several threads answer all queries several times.
fn throughput(engine: &Engine, queries: &[Timed], threads: usize, repeat: u32) -> Result<f64> {
    let all = queries.len() * repeat as usize;
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        loop {
            // Threads take queries as they come, so that none waits at the end for a slow one.
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= all || failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let Some(query) = queries.get(turn % queries.len()) else { return Ok(()) };
            engine.query(&query.query).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result.map_err(|error: silo_engine::Error| Failure::from(error)),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = all as f64 / started.elapsed().as_secs_f64().max(1e-9);
    Ok(rate)
}

impl Timed {
    /// The time that a share of all runs did not exceed.
    fn quantile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a short list"
        )]
        let at = (share * self.times.len() as f64).ceil() as usize;
        self.times.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Queries whose names have one beginning, up to a slash.
struct Group<'t> {
    name: &'t str,
    queries: usize,
    /// Of the medians of the queries.
    median: Duration,
    slowest: Duration,
}

/// The groups of several queries, in the order of their first.
fn groups(timed: &[Timed]) -> Vec<Group<'_>> {
    let mut medians: Vec<(&str, Vec<Duration>)> = Vec::new();
    for query in timed {
        let Some((name, _)) = query.name.split_once('/') else { continue };
        let median = query.quantile(0.5);
        match medians.iter_mut().find(|(known, _)| *known == name) {
            Some((_, medians)) => medians.push(median),
            None => medians.push((name, vec![median])),
        }
    }
    let several = medians.into_iter().filter(|(_, medians)| medians.len() > 1);
    several
        .map(|(name, mut medians)| {
            medians.sort_unstable();
            let median = medians.get((medians.len() - 1) / 2).copied().unwrap_or_default();
            Group {
                name,
                queries: medians.len(),
                median,
                slowest: medians.last().copied().unwrap_or_default(),
            }
        })
        .collect()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn to_json(timed: &[Timed], args: &BenchArgs, rate: f64) -> Json {
    let tenths = |time: Duration| (micros(time) * 10.0).round() / 10.0;
    let queries = timed.iter().map(|query| {
        json!({
            "name": query.name, "total": query.total, "ids": query.first_ids,
            "median_us": tenths(query.quantile(0.5)), "p90_us": tenths(query.quantile(0.9)),
            "p99_us": tenths(query.quantile(0.99)), "max_us": tenths(query.quantile(1.0)),
        })
    });
    let groups = groups(timed).into_iter().map(|Group { name, queries, median, slowest }| {
        json!({ "name": name, "queries": queries, "median_us": tenths(median), "slowest_us": tenths(slowest) })
    });
    json!({
        "queries": queries.collect::<Vec<Json>>(), "groups": groups.collect::<Vec<Json>>(), "repeat": args.repeat, "threads": args.threads,
        "queries_per_second": rate.round(),
    })
}
