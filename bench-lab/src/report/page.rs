//! One page.

use std::collections::BTreeMap;

use super::Shown;
use crate::lab::results::{ShapeResult, StrategyResult};
use crate::lab::table;
use crate::lab::{Experiment, Scale};

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
        let names = some_of(shapes.iter().map(|(name, _)| *name), shown.shapes.len());
        if *strategy == experiment.baseline {
            return format!("nothing beats `{strategy}` on {names}");
        }
        let factor = range(&shapes.iter().map(|(_, factor)| *factor).collect::<Vec<_>>());
        format!("`{strategy}` is {factor} times as fast as `{}` on {names}", experiment.baseline)
    };
    let clauses: Vec<String> = winners.iter().map(clause).collect();
    let mut sentence = clauses.join("; ");
    if let Some(first) = sentence.get(..1) {
        sentence = first.to_uppercase() + &sentence[1..];
    }
    sentence + "."
}

/// What was measured on less than all the real data: a smaller scale, and shapes that are missing.
pub(super) fn limits(experiment: &Experiment, shown: &Shown) -> Option<String> {
    let scale = shown.runs.last()?.scale;
    let mut sentences = Vec::new();
    if scale != Scale::Production {
        sentences.push(format!("Measured at {} scale only, not at the real size.", scale.name()));
    }
    let shapes = (experiment.shapes)(scale);
    let missing =
        shapes.iter().filter(|shape| !shown.shapes.iter().any(|(_, known)| known.shape == shape.name));
    let missing: Vec<&str> = missing.map(|shape| shape.name.as_str()).collect();
    if !missing.is_empty() {
        sentences.push(format!("Not measured yet: {}.", missing.join(", ")));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Names of shapes, or how many they are.
fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>, of: usize) -> String {
    match names.len() {
        count if count == of && of > 1 => "every shape".to_owned(),
        0..=4 => names.collect::<Vec<_>>().join(", "),
        count => format!("{count} of {of} shapes"),
    }
}

/// Lowest to highest.
fn range(factors: &[f64]) -> String {
    let low = table::digits(factors.iter().copied().fold(f64::INFINITY, f64::min));
    let high = table::digits(factors.iter().copied().fold(0.0, f64::max));
    if low == high { low } else { format!("{low} to {high}") }
}

/// The fastest of the engine's strategies, or of the others, limits and the floor left out.
fn best(shape: &ShapeResult, ours: bool) -> Option<&StrategyResult> {
    let strategies = shape.strategies.iter().filter(|strategy| {
        let name = strategy.strategy.as_str();
        name.starts_with("ours") == ours && !name.starts_with("limit") && name != "floor"
    });
    strategies.min_by(|a, b| a.median().total_cmp(&b.median()))
}

/// Where the engine can be compared with others: shape, how many times as fast it is as the best of them, and which that is.
fn against_others(shown: &Shown) -> Vec<(&str, f64, &str)> {
    let compared = shown.shapes.iter().filter_map(|(_, shape)| {
        let (ours, other) = (best(shape, true)?, best(shape, false)?);
        Some((shape.shape.as_str(), other.median() / ours.median(), other.strategy.as_str()))
    });
    compared.collect()
}

/// The same in words; `briefly` without the names of shapes. Nothing where there is nothing to compare.
pub(super) fn engine(shown: &Shown, briefly: bool) -> Option<String> {
    let factors = against_others(shown);
    let chosen = |holds: fn(f64) -> bool| -> Vec<(&str, f64, &str)> {
        factors.iter().copied().filter(|(_, factor, _)| holds(*factor)).collect()
    };
    let faster = chosen(|factor| factor > 1.05);
    let equal = chosen(|factor| (0.95..=1.05).contains(&factor));
    let slower = chosen(|factor| factor < 0.95);
    let names = |some: &[(&str, f64, &str)]| {
        let list: Vec<String> = some.iter().map(|(name, ..)| (*name).to_owned()).collect();
        some_of(list.iter().map(String::as_str), factors.len())
    };
    let mut clauses = Vec::new();
    if !faster.is_empty() {
        let factors: Vec<f64> = faster.iter().map(|(_, factor, _)| *factor).collect();
        clauses.push(format!("{} times as fast on {}", range(&factors), names(&faster)));
    }
    if !equal.is_empty() {
        clauses.push(format!("as fast within 5 % on {}", names(&equal)));
    }
    if !slower.is_empty() && briefly {
        let factors: Vec<f64> = slower.iter().map(|(_, factor, _)| 1.0 / factor).collect();
        clauses.push(format!("{} times as slow on {}", range(&factors), names(&slower)));
    } else if !slower.is_empty() {
        let slower = slower.iter().map(|(name, factor, other)| {
            format!("{name} ({} times as slow as `{other}`)", table::digits(1.0 / factor))
        });
        clauses.push(format!("slower on {}", slower.collect::<Vec<_>>().join(", ")));
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
    if let Some(limits) = limits(experiment, shown) {
        text += &format!("**How far it goes.** {limits}\n\n");
    }
    if let Some(engine) = engine(shown, false) {
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
