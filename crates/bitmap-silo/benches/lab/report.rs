//! Rows of ratios, printed as they are measured.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::format_push_string,
    reason = "every row has our way first and a way of each peer it is judged against"
)]

use super::paired::{Effort, Way, medians};

/// What to measure, and how long.
pub(crate) struct Report {
    pub(crate) effort: Effort,
    pub(crate) quick: bool,
    /// Only rows whose name contains this.
    pub(crate) filter: Option<String>,
}

/// What a row must reach against the best way of each peer.
pub(crate) struct Goal(pub(crate) &'static str, pub(crate) f64);

impl Report {
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| row.contains(filter))
    }

    /// Whether any row whose name starts with this may be wanted.
    pub(crate) fn concerns(&self, rows: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| filter.contains(rows) || rows.contains(filter))
    }

    /// Measures ways of which the first is ours; prints and answers the ratios to the best way of
    /// each peer, whose ways' names start with its name.
    pub(crate) fn row(&self, name: &str, mut ways: Vec<Way<'_>>, goals: &[Goal]) -> Vec<f64> {
        let medians = medians(&mut ways, self.effort);
        let mut line = format!("{name:<44} {:>11.2} µs", medians[0] / 1e3);
        let mut ratios = Vec::new();
        for Goal(peer, must) in goals {
            let best = ways
                .iter()
                .zip(&medians)
                .skip(1)
                .filter(|(way, _)| way.name.starts_with(peer))
                .min_by(|x, y| x.1.total_cmp(y.1))
                .unwrap();
            let ratio = best.1 / medians[0];
            let mark = if ratio >= *must { "ok  " } else { "MISS" };
            line += &format!("  {peer} ×{ratio:<7.2} must {must:<4} {mark} ({})", best.0.name);
            ratios.push(ratio);
        }
        println!("{line}");
        ratios
    }

    pub(crate) fn size(&self, universe: u32) -> u32 {
        if self.quick { universe / 50 } else { universe }
    }
}
