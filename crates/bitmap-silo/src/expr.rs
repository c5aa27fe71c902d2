//! Boolean expressions over bitmaps.

use crate::view::BitmapView;

/// A boolean expression over bitmaps, as a tree.
///
/// Build it with the functions below or the variants themselves, then evaluate it with
/// [`Query`](crate::Query).
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "leaves are most nodes")]
pub enum Expr<'a> {
    /// A bitmap.
    Bitmap(BitmapView<'a>),
    /// Slots in all of the operands; the whole universe where there is none.
    And(Vec<Expr<'a>>),
    /// Slots in any of the operands.
    Or(Vec<Expr<'a>>),
    /// Slots in an odd number of the operands.
    Xor(Vec<Expr<'a>>),
    /// Slots of the universe that are not in the operand.
    Not(Box<Expr<'a>>),
    /// Slots in the first operand and not in the second; needs no universe.
    AndNot(Box<Expr<'a>>, Box<Expr<'a>>),
    /// Slots in at least so many of the operands; the whole universe where that is zero.
    AtLeast(usize, Vec<Expr<'a>>),
}

impl<'a> Expr<'a> {
    /// A leaf.
    pub fn bitmap(view: impl Into<BitmapView<'a>>) -> Self {
        Self::Bitmap(view.into())
    }

    /// Slots in all of the operands.
    pub fn and(operands: impl IntoIterator<Item = Expr<'a>>) -> Self {
        Self::And(operands.into_iter().collect())
    }

    /// Slots in any of the operands.
    pub fn or(operands: impl IntoIterator<Item = Expr<'a>>) -> Self {
        Self::Or(operands.into_iter().collect())
    }

    /// Slots in an odd number of the operands.
    pub fn xor(operands: impl IntoIterator<Item = Expr<'a>>) -> Self {
        Self::Xor(operands.into_iter().collect())
    }

    /// Slots of the universe that are not in this expression.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Slots in this expression and not in the other.
    #[must_use]
    pub fn and_not(self, other: Expr<'a>) -> Self {
        Self::AndNot(Box::new(self), Box::new(other))
    }

    /// Slots in at least `count` of the operands.
    pub fn at_least(count: usize, operands: impl IntoIterator<Item = Expr<'a>>) -> Self {
        Self::AtLeast(count, operands.into_iter().collect())
    }
}

impl<'a, V: Into<BitmapView<'a>>> From<V> for Expr<'a> {
    fn from(view: V) -> Self {
        Self::bitmap(view)
    }
}
