//! What an evaluation did.

use std::fmt;

use super::query::Query;
use crate::expr::Expr;

/// A node of an expression with what was expected of it and what it came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// What the node is: `bitmap`, `and`, `at least 2 of`, …
    pub label: String,
    /// Slots expected, taking operands for independent of each other.
    pub estimated: u64,
    /// Slots found.
    pub actual: u64,
    /// Containers of a bitmap that the whole evaluation read; for operations, of all bitmaps
    /// beneath.
    pub visited: u64,
    /// Containers that it had no need to read.
    pub skipped: u64,
    /// The operands.
    pub operands: Vec<Explanation>,
}

impl fmt::Display for Explanation {
    /// One line per node, operands indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Explanation {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        writeln!(
            f,
            "{:indent$}{}: estimated {}, actual {}, containers visited {}, skipped {}",
            "",
            self.label,
            self.estimated,
            self.actual,
            self.visited,
            self.skipped,
            indent = 2 * depth
        )?;
        self.operands.iter().try_for_each(|operand| operand.write(f, depth + 1))
    }
}

pub(super) fn explain(query: &Query<'_>) -> Explanation {
    let mut node = query.compile();
    let mut from = Some(0);
    while let Some(key) = from.and_then(|key| node.seek(key)) {
        node.count(key);
        from = key.checked_add(1);
    }
    let mut leaves: Vec<(usize, u64, u64)> = Vec::new();
    node.for_each_leaf(&mut |id, source| {
        let all = source.view().chunk_estimate();
        leaves.push((id, source.visited, all.saturating_sub(source.visited)));
    });
    leaves.sort_unstable();
    let mut explainer = Explainer { universe: query.universe(), leaves: leaves.into_iter() };
    explainer.node(query.expr())
}

struct Explainer {
    universe: u64,
    /// Visited and skipped containers of the leaves, in the order of the expression.
    leaves: std::vec::IntoIter<(usize, u64, u64)>,
}

impl Explainer {
    fn node(&mut self, expr: &Expr<'_>) -> Explanation {
        let operands: Vec<Explanation> = match expr {
            Expr::Bitmap(_) | Expr::AtLeast(0, _) => Vec::new(),
            Expr::Not(operand) => vec![self.node(operand)],
            Expr::AndNot(keep, remove) => vec![self.node(keep), self.node(remove)],
            Expr::And(operands) | Expr::Or(operands) | Expr::Xor(operands) | Expr::AtLeast(_, operands) => {
                operands.iter().map(|operand| self.node(operand)).collect()
            }
        };
        let (visited, skipped) = match expr {
            Expr::Bitmap(_) => self.leaves.next().map_or((0, 0), |(_, visited, skipped)| (visited, skipped)),
            _ => (
                operands.iter().map(|operand| operand.visited).sum(),
                operands.iter().map(|operand| operand.skipped).sum(),
            ),
        };
        Explanation {
            label: label(expr),
            estimated: self.estimate(expr, &operands),
            actual: Query::new(expr.clone(), self.universe).count(),
            visited,
            skipped,
            operands,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate between zero and the universe"
    )]
    fn estimate(&self, expr: &Expr<'_>, operands: &[Explanation]) -> u64 {
        if let Expr::Bitmap(view) = expr {
            return view.base_len();
        }
        let universe = (self.universe as f64).max(1.0);
        let shares: Vec<f64> = operands.iter().map(|o| (o.estimated as f64 / universe).min(1.0)).collect();
        let share = match expr {
            Expr::Bitmap(_) | Expr::And(_) => shares.iter().product(),
            Expr::Or(_) => 1.0 - shares.iter().map(|share| 1.0 - share).product::<f64>(),
            Expr::Xor(_) => shares.iter().fold(0.0, |odd, share| odd * (1.0 - share) + share * (1.0 - odd)),
            Expr::Not(_) => 1.0 - shares.iter().sum::<f64>(),
            Expr::AndNot(..) => match shares[..] {
                [keep, remove] => keep * (1.0 - remove),
                _ => 0.0,
            },
            Expr::AtLeast(count, _) => at_least(*count, &shares),
        };
        (share * universe).round() as u64
    }
}

/// Chance that at least `count` of independent events happen.
fn at_least(count: usize, shares: &[f64]) -> f64 {
    // chances[n]: exactly n so far.
    let mut chances = vec![1.0];
    for share in shares {
        let mut next = vec![0.0; chances.len() + 1];
        for (happened, chance) in chances.iter().enumerate() {
            if let Some([without, with]) = next.get_mut(happened..happened + 2) {
                *without += chance * (1.0 - share);
                *with += chance * share;
            }
        }
        chances = next;
    }
    chances.iter().skip(count).sum()
}

fn label(expr: &Expr<'_>) -> String {
    match expr {
        Expr::Bitmap(_) => "bitmap".into(),
        Expr::And(_) => "and".into(),
        Expr::Or(_) => "or".into(),
        Expr::Xor(_) => "xor".into(),
        Expr::Not(_) => "not".into(),
        Expr::AndNot(..) => "and not".into(),
        Expr::AtLeast(count, operands) => format!("at least {count} of {}", operands.len()),
    }
}
