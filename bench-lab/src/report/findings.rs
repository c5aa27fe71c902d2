//! Comparisons that an experiment is about, apart from that with its baseline.

use super::Shown;
use crate::lab::statistics::independent_ratio;
use crate::lab::table::{digits, markdown};

/// A shape and a strategy.
type Place = (&'static str, &'static str);

/// How many times as fast one is as the other.
struct Finding {
    experiment: &'static str,
    what: &'static str,
    fast: Place,
    slow: Place,
}

const fn finding(experiment: &'static str, what: &'static str, fast: Place, slow: Place) -> Finding {
    Finding { experiment, what, fast, slow }
}

/// A parallel scan against one on one thread, for a shape.
const fn parallel_scan(what: &'static str, shape: &'static str) -> Finding {
    finding("scan", what, (shape, "zero-copy-parallel"), (shape, "zero-copy"))
}

const FINDINGS: &[Finding] = &[
    finding(
        "accumulate",
        "Many values: postings pages against the engine's bitmaps by value",
        ("high", "ours-postings"),
        ("high", "ours-values"),
    ),
    finding(
        "accumulate",
        "Some values: postings pages against the engine's bitmaps by value",
        ("mid", "ours-postings"),
        ("mid", "ours-values"),
    ),
    finding(
        "accumulate",
        "Few values: bitmaps by chunk against postings pages",
        ("low", "ours-chunks"),
        ("low", "ours-postings"),
    ),
    finding(
        "accumulate",
        "End to end, from text to a synced silo: by value against by chunk",
        ("load", "ours-values"),
        ("load", "ours-chunks"),
    ),
    parallel_scan("Warm, no advice: regions in parallel against one thread", "medium-warm-none"),
    parallel_scan(
        "Warm, sequential advice: regions in parallel against one thread",
        "medium-warm-sequential",
    ),
    parallel_scan("Cold, no advice: regions in parallel against one thread", "medium-cold-none"),
    parallel_scan(
        "Cold, sequential advice: regions in parallel against one thread",
        "medium-cold-sequential",
    ),
    parallel_scan("Cold, random advice: regions in parallel against one thread", "medium-cold-random"),
    parallel_scan(
        "Cold, all asked for at once: regions in parallel against one thread",
        "medium-cold-willneed",
    ),
    parallel_scan(
        "4.4 GB, cold, sequential advice: regions in parallel against one thread",
        "production-cold-sequential",
    ),
    parallel_scan("4.4 GB, warm, no advice: regions in parallel against one thread", "production-warm-none"),
    finding(
        "scan",
        "Cold, in parallel: sequential advice against none",
        ("medium-cold-sequential", "zero-copy-parallel"),
        ("medium-cold-none", "zero-copy-parallel"),
    ),
    finding(
        "scan",
        "Cold, one thread: sequential advice against none",
        ("medium-cold-sequential", "zero-copy"),
        ("medium-cold-none", "zero-copy"),
    ),
    finding(
        "scan",
        "4.4 GB, cold: the engine on all threads against one",
        ("production-cold-sequential", "ours-open-scan-parallel"),
        ("production-cold-sequential", "ours-open-scan"),
    ),
    finding(
        "read-path",
        "14.6 M keys: thirty-two keys a call against one",
        ("14.6M-uniform-warm", "ours-multi-32"),
        ("14.6M-uniform-warm", "ours-multi-1"),
    ),
    finding(
        "read-path",
        "107 M keys: thirty-two keys a call against one",
        ("107M-uniform-warm", "ours-multi-32"),
        ("107M-uniform-warm", "ours-multi-1"),
    ),
    finding(
        "read-path",
        "Cold: random advice against none, a plain vector",
        ("14.6M-uniform-cold-random", "vector"),
        ("14.6M-uniform-cold-none", "vector"),
    ),
    finding(
        "write-path",
        "Two threads or more: writes of whole regions against a mapping",
        ("300B-threads", "pwrite-1M"),
        ("300B-threads", "mapping-1M"),
    ),
    finding(
        "write-path",
        "A mapping with its pages made ahead against one without",
        ("300B-1-thread", "mapping-1M-populated"),
        ("300B-1-thread", "mapping-1M"),
    ),
    finding(
        "write-path",
        "Without a checksum against with one",
        ("300B-1-thread", "pwrite-1M-unchecked"),
        ("300B-1-thread", "pwrite-1M"),
    ),
    finding(
        "evaluate",
        "107 M slots, 8 clauses: counting against making the bitmap",
        ("107M-8-count", "ours"),
        ("107M-8-bitmap", "ours"),
    ),
    finding(
        "evaluate",
        "107 M slots, 8 clauses: all threads against one",
        ("107M-8-bitmap", "ours-parallel"),
        ("107M-8-bitmap", "ours"),
    ),
    finding(
        "evaluate",
        "14.6 M slots, 3 clauses: all threads against one",
        ("14.6M-3-count", "ours-parallel"),
        ("14.6M-3-count", "ours"),
    ),
];

/// The comparisons whose shapes were measured.
pub(super) fn section(experiment: &str, shown: &Shown) -> String {
    let samples = |(shape, strategy): Place| {
        let (_, shape) = shown.shapes.iter().find(|(_, known)| known.shape == shape)?;
        shape.strategy(strategy)
    };
    let mut table = vec![["comparison", "times as fast", "interval"].map(str::to_owned).to_vec()];
    for finding in FINDINGS.iter().filter(|finding| finding.experiment == experiment) {
        let (Some(fast), Some(slow)) = (samples(finding.fast), samples(finding.slow)) else { continue };
        let (ratio, low, high) = if finding.fast.0 == finding.slow.0 {
            slow.ratio_to(fast)
        } else {
            independent_ratio(&slow.wall, &fast.wall)
        };
        table.push(vec![finding.what.to_owned(), digits(ratio), format!("{}–{}", digits(low), digits(high))]);
    }
    if table.len() == 1 { String::new() } else { format!("## Comparisons\n\n{}\n", markdown(&table, false)) }
}

#[cfg(test)]
mod tests {
    use super::FINDINGS;
    use crate::experiments::find;
    use crate::lab::Scale;

    #[test]
    fn comparisons_are_of_shapes_and_strategies_that_exist() {
        for finding in FINDINGS {
            let experiment = find(finding.experiment).unwrap();
            let shapes = (experiment.shapes)(Scale::Production);
            for (shape, strategy) in [finding.fast, finding.slow] {
                assert!(experiment.strategies.iter().any(|(name, _)| *name == strategy), "{strategy}");
                assert!(shapes.iter().any(|known| known.name == shape), "{shape}");
            }
        }
    }
}
