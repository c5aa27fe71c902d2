//! Results as a table of text, which is also one of Markdown.

use super::results::{RunResult, ShapeResult};

/// Seconds with three digits and a fitting unit.
#[must_use]
pub fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1.0 => (v, "s"),
        v if v >= 1e-3 => (v * 1e3, "ms"),
        v if v >= 1e-6 => (v * 1e6, "µs"),
        v => (v * 1e9, "ns"),
    };
    format!("{} {unit}", digits(scaled))
}

/// Three digits.
#[must_use]
pub fn digits(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{v:.2}"),
        v if v >= 0.001 => format!("{v:.4}"),
        v => format!("{v:.1e}"),
    }
}

/// Bytes with a fitting unit.
#[must_use]
pub fn bytes(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{} GB", digits(v / 1e9)),
        v if v >= 1e6 => format!("{} MB", digits(v / 1e6)),
        v => format!("{} kB", digits(v / 1e3)),
    }
}

/// Cells of a table, header first.
#[must_use]
pub fn cells(shape: &ShapeResult, baseline: &str) -> Vec<Vec<String>> {
    let has_memory = shape.strategies.iter().any(|strategy| strategy.peak_resident.is_some());
    let figures = super::runner::figure_names(shape);
    let has_cpu = shape.strategies.iter().any(|strategy| !strategy.cpu.is_empty());
    let mut header: Vec<String> =
        ["strategy", "median", "quartiles", "a unit", "to the baseline", "to the limit"]
            .map(str::to_owned)
            .into();
    if has_cpu {
        header.extend(["CPU", "CPU to the baseline"].map(str::to_owned));
    }
    if has_memory {
        header.extend(["peak resident", "peak heap"].map(str::to_owned));
    }
    header.extend(figures.iter().cloned());
    let mut table = vec![header];
    let baseline = shape.strategy(baseline);
    for strategy in &shape.strategies {
        let (low, high) = strategy.quartiles();
        let ratio = baseline.map_or(String::new(), |baseline| {
            let (middle, low, high) = strategy.ratio_to(baseline);
            format!("{} ({}–{})", digits(middle), digits(low), digits(high))
        });
        let limit = shape.limit().map_or(String::new(), |limit| digits(strategy.ratio_to(limit).0));
        let mut row = vec![
            strategy.strategy.clone(),
            seconds(strategy.median()),
            format!("{}–{}", seconds(low), seconds(high)),
            seconds(strategy.median() / shape.items.max(1) as f64),
            ratio,
            limit,
        ];
        if has_cpu {
            row.push(seconds(super::statistics::median(&strategy.cpu)));
            row.push(baseline.map_or(String::new(), |baseline| digits(strategy.cpu_ratio_to(baseline))));
        }
        if has_memory {
            let peak = |value: Option<u64>| value.map_or(String::new(), |value| bytes(value as f64));
            row.extend([peak(strategy.peak_resident), peak(strategy.peak_heap)]);
        }
        for name in &figures {
            let figure = strategy.figures.iter().find(|(own, _)| own == name);
            row.push(figure.map_or(String::new(), |(_, value)| digits(*value)));
        }
        table.push(row);
    }
    table
}

/// A Markdown table; columns are aligned where a terminal is the reader.
#[must_use]
pub fn markdown(cells: &[Vec<String>], aligned: bool) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let widest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        if aligned { widest } else { 0 }
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (at, row) in cells.iter().enumerate() {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        text += &format!("| {} |\n", padded.join(" | "));
        if at == 0 {
            let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width.max(1) + 2)).collect();
            text += &format!("|{}|\n", rules.join("|"));
        }
    }
    text
}

/// All shapes of a run.
#[must_use]
pub fn run(result: &RunResult) -> String {
    let mut text = String::new();
    for shape in &result.shapes {
        let head = format!(
            "\n{} · {} · {} {} · {} threads · digest {}\n",
            result.experiment,
            shape.shape,
            shape.items,
            shape.unit,
            result.threads,
            shape.digest.as_deref().unwrap_or("none")
        );
        text += &head;
        text += &markdown(&cells(shape, &result.baseline), true);
    }
    text
}
