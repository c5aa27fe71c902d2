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
    text += &format!("**What the engine does because of it.** {}\n\n", experiment.decision);
    text += &format!("![Times of the strategies]({name}.svg)\n\n");
    text += "Bars are medians of wall time on a scale of powers of ten, whiskers quartiles. Strategies took turns within one run and made equal \
        digests before they were timed. Ratios are medians over the rounds, with the interval that holds them with 95 %; CPU is that of the whole process.";
    text += &format!(" The limit is {}.\n\n", experiment.limit);
    text += "| strategy | what it does |\n|---|---|\n";
    for (strategy, what) in experiment.strategies {
        text += &format!("| {strategy} | {what} |\n");
    }
    text += "\n## Tables\n\n";
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
    let verb = if let Some(peers) = name.strip_prefix("peers-") {
        format!("peers {peers}")
    } else {
        format!("run {name}")
    };
    text += &format!(
        "\nTo run it again:\n\n    cargo run --release -p bench-lab -- {verb} --scale {scale}\n    cargo run --release -p bench-lab -- report\n\n"
    );
    text += &format!("<!-- results: {} -->\n", shown.digest);
    text
}
