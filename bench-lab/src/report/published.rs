//! What was published about the system that this project descends from.

use super::Shown;
use crate::lab::table::{digits, markdown, seconds};

/// A published time of a strategy.
struct Published {
    experiment: &'static str,
    shape: &'static str,
    strategy: &'static str,
    time: Time,
}

#[derive(Clone, Copy)]
enum Time {
    /// Of the whole shape, in milliseconds.
    Whole(f64),
    /// Of a unit, in nanoseconds.
    Unit(f64),
}

const fn whole(experiment: &'static str, shape: &'static str, strategy: &'static str, ms: f64) -> Published {
    Published { experiment, shape, strategy, time: Time::Whole(ms) }
}

const fn unit(experiment: &'static str, shape: &'static str, strategy: &'static str, ns: f64) -> Published {
    Published { experiment, shape, strategy, time: Time::Unit(ns) }
}

const PUBLISHED: &[Published] = &[
    whole("merge", "medium-32", "A-sequential", 16.1),
    whole("merge", "medium-32", "B-fold-reduce", 18.8),
    whole("merge", "medium-32", "C-union-refs", 3.6),
    whole("merge", "large-8", "A-sequential", 1.4),
    whole("merge", "large-8", "C-union-refs", 1.2),
    whole("merge", "sparse-32", "B-fold-reduce", 0.8),
    whole("merge", "sparse-32", "C-union-refs", 0.5),
    whole("merge-maps", "t32", "A-nested", 2_591.0),
    whole("merge-maps", "t32", "B-by-field", 516.0),
    whole("accumulate", "low", "A-maps", 59.0),
    whole("accumulate", "mid", "A-maps", 2_086.0),
    whole("accumulate", "high", "A-maps", 8_202.0),
    whole("accumulate", "high-skew", "A-maps", 7_657.0),
    whole("accumulate", "low", "A2-maps-union", 57.0),
    whole("accumulate", "mid", "A2-maps-union", 1_157.0),
    whole("accumulate", "high", "A2-maps-union", 10_017.0),
    whole("accumulate", "high-skew", "A2-maps-union", 9_381.0),
    whole("accumulate", "low", "B-shared-bitmaps", 3_398.0),
    whole("accumulate", "mid", "B-shared-bitmaps", 2_131.0),
    whole("accumulate", "high", "B-shared-bitmaps", 2_361.0),
    whole("accumulate", "high-skew", "B-shared-bitmaps", 2_381.0),
    whole("accumulate", "low", "C-shared-lists", 1_551.0),
    whole("accumulate", "mid", "C-shared-lists", 810.0),
    whole("accumulate", "high", "C-shared-lists", 3_951.0),
    whole("accumulate", "high-skew", "C-shared-lists", 5_006.0),
    whole("accumulate", "low", "D-sort", 609.0),
    whole("accumulate", "mid", "D-sort", 952.0),
    whole("accumulate", "high", "D-sort", 2_546.0),
    whole("accumulate", "high-skew", "D-sort", 2_659.0),
    whole("accumulate", "low", "E-lists", 112.0),
    whole("accumulate", "mid", "E-lists", 421.0),
    whole("accumulate", "high", "E-lists", 6_679.0),
    whole("accumulate", "high-skew", "E-lists", 7_846.0),
    whole("accumulate", "low", "F-shards", 287.0),
    whole("accumulate", "mid", "F-shards", 596.0),
    whole("accumulate", "high", "F-shards", 3_048.0),
    whole("accumulate", "high-skew", "F-shards", 2_614.0),
    whole("accumulate", "low", "G-lists-shards", 106.0),
    whole("accumulate", "mid", "G-lists-shards", 415.0),
    whole("accumulate", "high", "G-lists-shards", 7_744.0),
    whole("accumulate", "high-skew", "G-lists-shards", 7_227.0),
    whole("filter-accumulate", "mixed", "A-insert", 71_600.0),
    whole("filter-accumulate", "mixed", "B-sort", 13_400.0),
    whole("filter-accumulate", "mixed", "D-lists", 13_400.0),
    whole("sort-layers", "7.3M", "A-insert", 9_590.0),
    whole("sort-layers", "7.3M", "B-sorted", 1_640.0),
    whole("scan", "medium-warm-none", "1-sequential-copy", 584.0),
    whole("scan", "medium-warm-none", "2-prescan", 704.0),
    whole("scan", "medium-warm-none", "3-self-synchronising", 586.0),
    whole("scan", "medium-warm-none", "4-flat-sort", 633.0),
    whole("scan", "medium-warm-none", "limit-check", 335.0),
    // 9.9 and 11.7 million documents a second.
    unit("doc-merge", "230B+250B", "read-merge-write", 101.0),
    unit("doc-merge", "230B+250B", "ops", 85.5),
    whole("join", "build", "map-of-rows", 9_600.0),
    whole("join", "build", "dense", 1_300.0),
    unit("join", "random", "map-of-rows", 401.0),
    unit("join", "random", "dense", 251.0),
];

/// The published times beside those measured here; empty where there are none.
pub(super) fn section(experiment: &str, baseline: &str, shown: &Shown) -> String {
    let header = ["shape", "strategy", "published", "to the baseline there", "here", "to the baseline here"];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    let of = |shape: &str, strategy: &str| {
        PUBLISHED.iter().find(|p| p.experiment == experiment && p.shape == shape && p.strategy == strategy)
    };
    let value = |published: &Published| match published.time {
        Time::Whole(ms) => ms / 1e3,
        Time::Unit(ns) => ns / 1e9,
    };
    for (_, shape) in &shown.shapes {
        for strategy in &shape.strategies {
            let Some(published) = of(&shape.shape, &strategy.strategy) else { continue };
            let per = if matches!(published.time, Time::Unit(_)) { shape.items.max(1) as f64 } else { 1.0 };
            let a_unit = if per > 1.0 { " a unit" } else { "" };
            let there = of(&shape.shape, baseline).map(|base| digits(value(published) / value(base)));
            let here = shape.strategy(baseline).map(|base| digits(strategy.ratio_to(base).0));
            table.push(vec![
                shape.shape.clone(),
                strategy.strategy.clone(),
                seconds(value(published)) + a_unit,
                there.unwrap_or_default(),
                seconds(strategy.median() / per) + a_unit,
                here.unwrap_or_default(),
            ]);
        }
    }
    if table.len() == 1 {
        return String::new();
    }
    format!(
        "## Published figures\n\nOf the system that this project descends from, measured on another machine (16 cores, 32 threads, Windows, NVMe): \
        compare orders and ratios, not times.\n\n{}\n",
        markdown(&table, false)
    )
}

#[cfg(test)]
mod tests {
    use super::PUBLISHED;
    use crate::experiments::find;
    use crate::lab::Scale;

    #[test]
    fn published_figures_are_of_shapes_and_strategies_that_exist() {
        for published in PUBLISHED {
            let experiment = find(published.experiment).unwrap();
            assert!(experiment.strategies.iter().any(|(name, _)| *name == published.strategy));
            let shapes = (experiment.shapes)(Scale::Production);
            assert!(shapes.iter().any(|shape| shape.name == published.shape), "{}", published.shape);
        }
    }
}
