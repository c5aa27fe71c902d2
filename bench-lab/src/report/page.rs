//! One page.

use std::collections::BTreeMap;

use super::Shown;
use crate::lab::Experiment;
use crate::lab::results::ShapeResult;
use crate::lab::table;

/// The answer in a sentence: which strategy is fastest where, against the baseline.
pub(super) fn answer(experiment: &Experiment, shown: &Shown) -> String {
    let mut winners: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for (_, shape) in &shown.shapes {
        if let (Some(fastest), Some(baseline)) = (shape.fastest(), shape.strategy(experiment.baseline)) {
            let factor = baseline.median() / fastest.median();
            winners.entry(&fastest.strategy).or_default().push((&shape.shape, factor));
        }
    }
    let mut winners: Vec<(&str, Vec<(&str, f64)>)> = winners.into_iter().collect();
    winners.sort_by_key(|(_, shapes)| std::cmp::Reverse(shapes.len()));
    let clause = |(strategy, shapes): &(&str, Vec<(&str, f64)>)| {
        let names: Vec<&str> = shapes.iter().map(|(name, _)| *name).collect();
        let low = shapes.iter().map(|(_, factor)| *factor).fold(f64::INFINITY, f64::min);
        let high = shapes.iter().map(|(_, factor)| *factor).fold(0.0, f64::max);
        if *strategy == experiment.baseline {
            return format!("nothing beats `{strategy}` on {}", names.join(", "));
        }
        let factor = if table::digits(low) == table::digits(high) {
            table::digits(low)
        } else {
            format!("{} to {}", table::digits(low), table::digits(high))
        };
        format!("`{strategy}` is {factor} times as fast as `{}` on {}", experiment.baseline, names.join(", "))
    };
    let clauses: Vec<String> = winners.iter().map(clause).collect();
    let mut sentence = clauses.join("; ");
    if let Some(first) = sentence.get(..1) {
        sentence = first.to_uppercase() + &sentence[1..];
    }
    sentence + "."
}

/// How the engine's best strategy compares with the best of the others; nothing where one of the two is missing.
pub(super) fn engine(shown: &Shown) -> Option<String> {
    let (mut faster, mut equal, mut slower) = (Vec::new(), Vec::new(), Vec::new());
    for (_, shape) in &shown.shapes {
        let best = |ours: bool| {
            let strategies = shape.strategies.iter().filter(|strategy| {
                strategy.strategy.starts_with("ours") == ours && !strategy.strategy.starts_with("limit")
            });
            strategies.min_by(|a, b| a.median().total_cmp(&b.median()))
        };
        let (Some(ours), Some(other)) = (best(true), best(false)) else { continue };
        let factor = other.median() / ours.median();
        match factor {
            _ if factor > 1.05 => faster.push(factor),
            _ if factor < 0.95 => slower.push(format!(
                "{} ({} times as slow as `{}`)",
                shape.shape,
                table::digits(1.0 / factor),
                other.strategy
            )),
            _ => equal.push(shape.shape.clone()),
        }
    }
    let count = faster.len() + equal.len() + slower.len();
    let of_shapes = |some: usize| {
        if some == count { "every shape".to_owned() } else { format!("{some} of {count} shapes") }
    };
    let mut clauses = Vec::new();
    if !faster.is_empty() {
        let low = faster.iter().copied().fold(f64::INFINITY, f64::min);
        let high = faster.iter().copied().fold(0.0, f64::max);
        let range = if table::digits(low) == table::digits(high) {
            table::digits(low)
        } else {
            format!("{} to {}", table::digits(low), table::digits(high))
        };
        clauses.push(format!("{range} times as fast on {}", of_shapes(faster.len())));
    }
    if !equal.is_empty() {
        clauses.push(format!("as fast within 5 % on {}", equal.join(", ")));
    }
    if !slower.is_empty() {
        clauses.push(format!("slower on {}", slower.join(", ")));
    }
    (!clauses.is_empty()).then(|| clauses.join("; ") + ".")
}

/// Medians of all strategies on all shapes; the fastest is bold.
fn medians(shown: &Shown) -> String {
    let strategies = |shape: &ShapeResult| -> Vec<String> {
        shape.strategies.iter().map(|strategy| strategy.strategy.clone()).collect()
    };
    let mut names: Vec<String> = Vec::new();
    for name in shown.shapes.iter().flat_map(|(_, shape)| strategies(shape)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // Limits last.
    names.sort_by_key(|name| name.starts_with("limit"));
    let mut cells = vec![[vec!["shape".to_owned()], names.clone()].concat()];
    for (_, shape) in &shown.shapes {
        let fastest = shape.fastest().map(|fastest| fastest.strategy.as_str());
        let cell = |name: &String| {
            let median = shape.strategy(name).map(|strategy| table::seconds(strategy.median()));
            let median = median.unwrap_or_default();
            if fastest == Some(name) { format!("**{median}**") } else { median }
        };
        cells.push([vec![shape.shape.clone()], names.iter().map(cell).collect()].concat());
    }
    table::markdown(&cells, false)
}

fn shape_table(experiment: &Experiment, shape: &ShapeResult) -> String {
    format!(
        "### {}: {} {}\n\n{}\n",
        shape.shape,
        shape.items,
        shape.unit,
        table::markdown(&table::cells(shape, experiment.baseline), false)
    )
}

/// The page.
pub(super) fn page(experiment: &Experiment, shown: &Shown) -> String {
    let name = experiment.name;
    let mut text = format!("# {name}\n\n**Question.** {}\n\n", experiment.question);
    text += &format!("**Answer.** {}\n\n", answer(experiment, shown));
    if let Some(engine) = engine(shown) {
        text += &format!("**The engine's best strategy against the best of the others.** It is {engine}\n\n");
    }
    text += &format!("**What the engine does because of it.** {}\n\n", experiment.decision);
    text += &format!("![Times of the strategies]({name}.svg)\n\n");
    text += "Bars are medians of wall time on a scale of powers of ten, whiskers quartiles. Strategies took turns within one run and made equal \
        digests before they were timed. Ratios are medians over the rounds, with the interval that holds them with 95 %; CPU is that of the whole process.";
    text += &format!(" The limit: {}.\n\n", experiment.limit);
    text += "| strategy | what it does |\n|---|---|\n";
    for (strategy, what) in experiment.strategies {
        text += &format!("| {strategy} | {what} |\n");
    }
    text += &format!("\n## Medians\n\n{}\n", medians(shown));
    text += &super::findings::section(name, shown);
    text += &super::published::section(name, experiment.baseline, shown);
    text += "## Tables\n\n";
    for (_, shape) in &shown.shapes {
        text += &shape_table(experiment, shape);
    }
    text += "## Where and how\n\n";
    for (index, run) in shown.runs.iter().enumerate() {
        let machine = &run.machine;
        let shapes: Vec<&str> = shown
            .shapes
            .iter()
            .filter(|(own, _)| *own == index)
            .map(|(_, shape)| shape.shape.as_str())
            .collect();
        text += &format!(
            "* {} ({}): {}, {} processors, {} of memory, Linux {}, {}, {}, commit {}, {} instructions, {} threads, seed {}. Crates: {}.\n",
            run.date,
            shapes.join(", "),
            machine.processor,
            machine.processors,
            table::bytes(machine.memory_bytes as f64),
            machine.kernel,
            machine.file_system,
            machine.rustc,
            machine.commit,
            machine.instruction_set,
            run.threads,
            run.seed,
            machine.crates.join(", "),
        );
    }
    let scale = shown.runs.last().map_or("production", |run| run.scale.name());
    let features = if name.starts_with("peers-") { format!(" --features {name}") } else { String::new() };
    let verb = if let Some(peers) = name.strip_prefix("peers-") {
        format!("peers {peers}")
    } else {
        format!("run {name}")
    };
    text += &format!(
        "\nTo run it again:\n\n    cargo run --release -p bench-lab{features} -- {verb} --scale {scale}\n    cargo run --release -p bench-lab -- report\n\n"
    );
    text += &format!("<!-- results: {} -->\n", shown.digest);
    text
}
