//! Clocks, medians, and the table of results.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// CPU time of this process for a piece of work.
pub(crate) fn cpu<T>(work: impl FnOnce() -> T) -> Duration {
    let start = ProcessTime::now();
    std::hint::black_box(work());
    start.elapsed()
}

/// Wall time of a piece of work.
pub(crate) fn wall<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

/// The middle of several measurements.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Measures several ways alternately, `rounds` times each, and returns their medians in nanoseconds
/// per unit.
pub(crate) fn alternate(rounds: usize, units: u64, ways: &mut [&mut dyn FnMut() -> Duration]) -> Vec<f64> {
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=rounds {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let time = way();
            if round > 0 {
                times.push(time.as_nanos() as f64 / units as f64);
            }
        }
    }
    times.into_iter().map(median).collect()
}

struct Row {
    work: String,
    ours: String,
    limit: String,
    figure: f64,
    must: f64,
    stretch: Option<f64>,
    at_least: bool,
}

/// Results against goals.
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// A row whose figure is `ours / limit` and should be at most `must`.
    pub(crate) fn ratio(
        &mut self,
        work: &str,
        unit: &str,
        ours: f64,
        limit: f64,
        must: f64,
        stretch: Option<f64>,
    ) {
        let text = |v: f64| format!("{v:.0} {unit}");
        self.push(Row {
            work: work.to_owned(),
            ours: text(ours),
            limit: text(limit),
            figure: ours / limit,
            must,
            stretch,
            at_least: false,
        });
    }

    /// A row whose figure is a plain number; `at_least` says which way is good.
    pub(crate) fn figure(
        &mut self,
        work: &str,
        ours: f64,
        unit: &str,
        must: f64,
        stretch: Option<f64>,
        at_least: bool,
    ) {
        let row = Row {
            work: work.to_owned(),
            ours: format!("{ours:.2} {unit}"),
            limit: String::new(),
            figure: ours,
            must,
            stretch,
            at_least,
        };
        self.push(row);
    }

    fn push(&mut self, row: Row) {
        eprintln!("  {}: {} (limit {}) = {:.2}", row.work, row.ours, row.limit, row.figure);
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        println!("\n| work | ours | limit | figure | must | stretch | |");
        println!("|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let sign = if row.at_least { "≥" } else { "≤" };
            let meets = |goal: f64| {
                if row.at_least { row.figure >= goal } else { row.figure <= goal }
            };
            let verdict = match row.stretch {
                Some(stretch) if meets(stretch) => "stretch",
                _ if meets(row.must) => "met",
                _ => "MISSED",
            };
            let stretch = row.stretch.map_or(String::new(), |s| format!("{sign} {s}"));
            println!(
                "| {} | {} | {} | {:.2} | {sign} {} | {stretch} | {verdict} |",
                row.work, row.ours, row.limit, row.figure, row.must
            );
        }
    }
}
