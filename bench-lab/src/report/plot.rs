//! Bars of all shapes of an experiment as one SVG.

use super::Shown;
use crate::lab::Experiment;
use crate::lab::results::ShapeResult;
use crate::lab::table::seconds;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 190.0;
const BAR: f64 = 14.0;
const ROW: f64 = 20.0;

/// Where a time lies between the bounds, on a logarithmic scale.
fn place(value: f64, low: f64, high: f64) -> f64 {
    let share = (value.max(low).ln() - low.ln()) / (high.ln() - low.ln());
    LABEL + share * (WIDTH - LABEL - 90.0)
}

fn panel(shape: &ShapeResult, top: f64, out: &mut String) -> f64 {
    let medians: Vec<f64> = shape.strategies.iter().map(|strategy| strategy.median().max(1e-9)).collect();
    let smallest = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = medians.iter().copied().fold(0.0, f64::max);
    // Whole powers of ten.
    let low = 10_f64.powf((smallest * 0.9).log10().floor());
    let high = 10_f64.powf((largest * 1.1).log10().ceil());
    *out += &format!("<text x=\"8\" y=\"{:.0}\" class=\"head\">{}</text>\n", top + 14.0, shape.shape);
    let first = top + 24.0;
    let bottom = first + ROW * shape.strategies.len() as f64;
    let mut power = low;
    while power <= high * 1.01 {
        let x = place(power, low, high);
        *out += &format!(
            "<line x1=\"{x:.1}\" y1=\"{first:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" class=\"grid\"/>\n"
        );
        *out +=
            &format!("<text x=\"{x:.1}\" y=\"{:.1}\" class=\"tick\">{}</text>\n", bottom + 12.0, tick(power));
        power *= 10.0;
    }
    for (at, strategy) in shape.strategies.iter().enumerate() {
        let y = first + ROW * at as f64;
        let median = strategy.median();
        let (low_quartile, high_quartile) = strategy.quartiles();
        let x = place(median, low, high);
        let class = match strategy.strategy.as_str() {
            name if name.starts_with("ours") => "ours",
            name if name.starts_with("limit") => "limit",
            _ => "other",
        };
        let middle = y + ROW / 2.0;
        *out += &format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" class=\"label\">{}</text>\n",
            LABEL - 6.0,
            middle + 4.0,
            strategy.strategy
        );
        *out += &format!(
            "<rect x=\"{LABEL}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" class=\"{class}\"/>\n",
            y + 3.0,
            x - LABEL
        );
        *out += &format!(
            "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" class=\"whisker\"/>\n",
            place(low_quartile, low, high),
            place(high_quartile, low, high)
        );
        *out += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"value\">{}</text>\n",
            place(high_quartile, low, high).max(x) + 5.0,
            middle + 4.0,
            seconds(median)
        );
    }
    bottom + 26.0
}

fn tick(value: f64) -> String {
    let text = seconds(value * 1.000_001);
    text.replace(".00", "").replace(".0", "")
}

/// The plot.
pub(super) fn plot(experiment: &Experiment, shown: &Shown) -> String {
    let mut body = String::new();
    let mut top = 8.0;
    for (_, shape) in &shown.shapes {
        top = panel(shape, top, &mut body);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top:.0}\" width=\"{WIDTH}\" height=\"{top:.0}\" role=\"img\" aria-label=\"{}\">\n\
        <style>text{{font:12px sans-serif;fill:#222}}.head{{font-weight:bold}}.label{{text-anchor:end}}.tick{{text-anchor:middle;fill:#666;font-size:10px}}\
        .value{{fill:#444;font-size:11px}}.grid{{stroke:#ddd}}.whisker{{stroke:#222}}.ours{{fill:#2a7ab9}}.other{{fill:#b8bec4}}.limit{{fill:#d9a441}}</style>\n\
        <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        experiment.name
    )
}
