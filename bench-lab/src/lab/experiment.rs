//! What an experiment is.

use anyhow::Result;

use super::runner::Lab;

/// How much data.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// All experiments together in about a minute: shows that they work.
    Small,
    /// A tenth of the real size.
    Medium,
    /// The real size: 14.6 million rows.
    Production,
}

impl Scale {
    /// One of three, by scale.
    pub fn pick<T>(self, small: T, medium: T, production: T) -> T {
        match self {
            Self::Small => small,
            Self::Medium => medium,
            Self::Production => production,
        }
    }

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.pick("small", "medium", "production")
    }
}

/// One input of an experiment.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Unique within the experiment.
    pub name: String,
    /// Units of work in one execution of a strategy: pairs, rows, reads.
    pub items: u64,
    /// What a unit is.
    pub unit: &'static str,
    /// Seconds that one round of all strategies takes, roughly, with the making of the input spread over it.
    pub round_seconds: f64,
    /// The most memory that the input and a strategy take, in bytes, roughly.
    pub memory_bytes: u64,
}

impl Shape {
    /// A shape; `nanoseconds` are those of one unit in all strategies together, `bytes` those of memory.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        items: u64,
        unit: &'static str,
        nanoseconds: f64,
        bytes: u64,
    ) -> Self {
        let round_seconds = items as f64 * nanoseconds / 1e9;
        Self { name: name.into(), items, unit, round_seconds, memory_bytes: items * bytes + (64 << 20) }
    }
}

/// A strategy's name and what it does, for lists and pages.
pub type StrategyName = (&'static str, &'static str);

/// A question that measuring answers.
pub struct Experiment {
    /// Name on the command line.
    pub name: &'static str,
    /// The question.
    pub question: &'static str,
    /// All strategies; those of the engine begin with `ours`, physical limits with `limit`.
    pub strategies: &'static [StrategyName],
    /// The strategy that ratios refer to.
    pub baseline: &'static str,
    /// What the physical limit is.
    pub limit: &'static str,
    /// Whether peak memory is a result; each strategy is then run once in a process of its own.
    pub memory: bool,
    /// What the engine does because of the answer.
    pub decision: &'static str,
    /// The shapes at a scale.
    pub shapes: fn(Scale) -> Vec<Shape>,
    /// Makes the input of a shape and hands its strategies to the lab.
    pub run: fn(&Shape, &mut Lab<'_>) -> Result<()>,
}

impl std::fmt::Debug for Experiment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Experiment").field(&self.name).finish()
    }
}
