//! Fields that are computed from others: a small language of integer arithmetic.
//!
//! ```text
//! sum     := product (("+" | "-") product)*
//! product := factor (("*" | "/" | "%") factor)*
//! factor  := integer | "-" factor | "(" sum ")" | field | function "(" sum ("," sum)* ")"
//! field   := a word of letters, digits, "_" and ".", or anything in backticks
//! function := greatest | least | year | month | day | hour | minute | second | weekday
//! ```
//!
//! Arithmetic with a null is null, so is what overflows 128 bits, the type of the field, or divides by zero. `greatest` and
//! `least` leave nulls out. Division rounds down, and `%` is what it leaves, never negative for
//! a positive divisor. Parts of a date are those in UTC; `weekday` is 1 for Monday to 7.

use serde::{Deserialize, Serialize};

use super::TimeUnit;

/// An expression over other fields of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Compute {
    text: String,
    tree: ComputeNode,
}

/// A node of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComputeNode {
    /// A number.
    Int(i64),
    /// A field's value.
    Field(String),
    /// Arithmetic.
    Math(MathOp, Box<ComputeNode>, Box<ComputeNode>),
    /// The greatest that is not null.
    Greatest(Vec<ComputeNode>),
    /// The least that is not null.
    Least(Vec<ComputeNode>),
    /// A part of the date in a field.
    Part(DatePart, String),
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MathOp {
    /// Addition.
    Add,
    /// Subtraction.
    Subtract,
    /// Multiplication.
    Multiply,
    /// Division, rounding down.
    Divide,
    /// What division leaves.
    Remainder,
}

/// A part of a date, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatePart {
    /// The year.
    Year,
    /// The month, from 1.
    Month,
    /// The day of the month, from 1.
    Day,
    /// The hour, 0 to 23.
    Hour,
    /// The minute.
    Minute,
    /// The second.
    Second,
    /// The day of the week, 1 for Monday to 7.
    Weekday,
}

const PARTS: [(&str, DatePart); 7] = [
    ("year", DatePart::Year),
    ("month", DatePart::Month),
    ("day", DatePart::Day),
    ("hour", DatePart::Hour),
    ("minute", DatePart::Minute),
    ("second", DatePart::Second),
    ("weekday", DatePart::Weekday),
];

/// Deepest nesting of an expression.
const MAX_DEPTH: usize = 64;

impl Compute {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let tree = parser.sum()?;
        parser.blanks();
        if parser.at < text.len() {
            return Err(parser.fail("an operator or the end"));
        }
        Ok(Self { text: text.to_owned(), tree })
    }

    /// The expression's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of the fields that it reads.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.tree.visit(&mut |node| {
            if let ComputeNode::Field(name) | ComputeNode::Part(_, name) = node {
                names.push(name.as_str());
            }
        });
        names
    }

    /// Names of the fields whose dates it takes parts of.
    pub(super) fn part_fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.tree.visit(&mut |node| {
            if let ComputeNode::Part(_, name) = node {
                names.push(name.as_str());
            }
        });
        names
    }

    /// The value, given those of the fields and, for parts of dates, their units. Null is none.
    pub fn evaluate(&self, field: &impl Fn(&str) -> Option<(i128, TimeUnit)>) -> Option<i128> {
        self.tree.evaluate(field)
    }
}

impl ComputeNode {
    fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Self)) {
        f(self);
        match self {
            Self::Int(_) | Self::Field(_) | Self::Part(..) => {}
            Self::Math(_, left, right) => {
                left.visit(f);
                right.visit(f);
            }
            Self::Greatest(nodes) | Self::Least(nodes) => nodes.iter().for_each(|node| node.visit(f)),
        }
    }

    fn evaluate(&self, field: &impl Fn(&str) -> Option<(i128, TimeUnit)>) -> Option<i128> {
        match self {
            Self::Int(number) => Some(i128::from(*number)),
            Self::Field(name) => field(name).map(|(number, _)| number),
            Self::Part(part, name) => field(name).and_then(|(count, unit)| part.of(count, unit)),
            Self::Greatest(nodes) => nodes.iter().filter_map(|node| node.evaluate(field)).max(),
            Self::Least(nodes) => nodes.iter().filter_map(|node| node.evaluate(field)).min(),
            Self::Math(op, left, right) => op.apply(left.evaluate(field)?, right.evaluate(field)?),
        }
    }
}

impl MathOp {
    fn apply(self, left: i128, right: i128) -> Option<i128> {
        let floor = |left: i128, right: i128| {
            let quotient = left.checked_div(right)?;
            let exact = quotient * right == left;
            Some(if !exact && (left < 0) != (right < 0) { quotient - 1 } else { quotient })
        };
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => floor(left, right),
            Self::Remainder => floor(left, right).map(|quotient| left - quotient * right),
        }
    }
}

impl DatePart {
    /// The part of a count of units since 1970.
    fn of(self, count: i128, unit: TimeUnit) -> Option<i128> {
        let nanoseconds = count.checked_mul(i128::from(unit.nanoseconds()))?;
        let time = jiff::Timestamp::from_nanosecond(nanoseconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(match self {
            Self::Year => i128::from(time.year()),
            Self::Month => i128::from(time.month()),
            Self::Day => i128::from(time.day()),
            Self::Hour => i128::from(time.hour()),
            Self::Minute => i128::from(time.minute()),
            Self::Second => i128::from(time.second()),
            Self::Weekday => i128::from(time.weekday().to_monday_one_offset()),
        })
    }
}

impl From<Compute> for String {
    fn from(this: Compute) -> Self {
        this.text
    }
}

impl TryFrom<String> for Compute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail(&self, expected: &str) -> String {
        let column = self.text.get(..self.at).unwrap_or_default().chars().count() + 1;
        format!("computed as {:?}: expected {expected} at column {column}", self.text)
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, symbol: char) -> bool {
        self.blanks();
        let found = self.rest().starts_with(symbol);
        self.at += if found { symbol.len_utf8() } else { 0 };
        found
    }

    fn math(
        &mut self,
        ops: &[(char, MathOp)],
        operand: fn(&mut Self) -> Result<ComputeNode, String>,
    ) -> Result<ComputeNode, String> {
        let mut left = operand(self)?;
        // Chains nest to the left: they count as depth where the tree is walked.
        let depth = self.depth;
        while let Some((_, op)) = ops.iter().find(|(symbol, _)| self.take(*symbol)) {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.fail("a shorter expression"));
            }
            left = ComputeNode::Math(*op, Box::new(left), Box::new(operand(self)?));
        }
        self.depth = depth;
        Ok(left)
    }

    fn sum(&mut self) -> Result<ComputeNode, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fail("less nesting"));
        }
        let node = self.math(&[('+', MathOp::Add), ('-', MathOp::Subtract)], Self::product);
        self.depth -= 1;
        node
    }

    fn product(&mut self) -> Result<ComputeNode, String> {
        self.math(&[('*', MathOp::Multiply), ('/', MathOp::Divide), ('%', MathOp::Remainder)], Self::factor)
    }

    fn factor(&mut self) -> Result<ComputeNode, String> {
        if self.take('(') {
            let node = self.sum()?;
            return if self.take(')') { Ok(node) } else { Err(self.fail("\")\"")) };
        }
        if self.take('-') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.fail("less nesting"));
            }
            let node = self.factor()?;
            self.depth -= 1;
            return Ok(ComputeNode::Math(MathOp::Subtract, Box::new(ComputeNode::Int(0)), Box::new(node)));
        }
        if self.take('`') {
            let Some(len) = self.rest().find('`') else { return Err(self.fail("a closing backtick")) };
            let name = self.rest().get(..len).unwrap_or_default().to_owned();
            self.at += len + 1;
            return Ok(ComputeNode::Field(name));
        }
        let len = self.rest().find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
        let word = self.rest().get(..len.unwrap_or(self.rest().len())).unwrap_or_default();
        if word.is_empty() {
            return Err(self.fail("a number, a field or a function"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let number = word.parse().map_err(|_| self.fail("an integer of 64 bits"))?;
            self.at += word.len();
            return Ok(ComputeNode::Int(number));
        }
        self.at += word.len();
        if self.take('(') { self.function(word) } else { Ok(ComputeNode::Field(word.to_owned())) }
    }

    /// A function's arguments; its name and the parenthesis are read.
    fn function(&mut self, name: &str) -> Result<ComputeNode, String> {
        let mut arguments = vec![self.sum()?];
        while self.take(',') {
            arguments.push(self.sum()?);
        }
        if !self.take(')') {
            return Err(self.fail("\",\" or \")\""));
        }
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "greatest" => return Ok(ComputeNode::Greatest(arguments)),
            "least" => return Ok(ComputeNode::Least(arguments)),
            _ => {}
        }
        let Some((_, part)) = PARTS.iter().find(|(part, _)| *part == lower) else {
            let known: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
            return Err(format!(
                "computed as {:?}: function {name:?} is unknown; there are: greatest, least, {}",
                self.text,
                known.join(", ")
            ));
        };
        match <[ComputeNode; 1]>::try_from(arguments) {
            Ok([ComputeNode::Field(field)]) => Ok(ComputeNode::Part(*part, field)),
            _ => Err(format!("computed as {:?}: {name} takes the name of one field", self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<i128> {
        let field = |name: &str| match name {
            "a" => Some((7, TimeUnit::Seconds)),
            "b b" => Some((-2, TimeUnit::Seconds)),
            // 2013-12-31T23:59:58Z
            "t" => Some((1_388_534_398, TimeUnit::Seconds)),
            _ => None,
        };
        Compute::parse(text).unwrap().evaluate(&field)
    }

    #[test]
    fn arithmetic_follows_precedence_and_rounds_down() {
        assert_eq!(value("1 + 2 * 3"), Some(7));
        assert_eq!(value("10 - 2 - 3"), Some(5));
        assert_eq!(value("(1 + 2) * -a"), Some(-21));
        assert_eq!(value("-7 / 2"), Some(-4));
        assert_eq!(value("-7 % 2"), Some(1));
        assert_eq!(value("7 % `b b`"), Some(-1));
        assert_eq!(value("a / 0"), None);
        assert_eq!(value("nothing + 1"), None);
        assert_eq!(value("greatest(a, nothing, 3)"), Some(7));
        assert_eq!(value("LEAST(a, `b b`)"), Some(-2));
        assert_eq!(value("greatest(nothing)"), None);
    }

    #[test]
    fn parts_of_dates_are_utc() {
        assert_eq!(value("year(t) * 10000 + month(t) * 100 + day(t)"), Some(20_131_231));
        assert_eq!(value("hour(t) * 10000 + minute(t) * 100 + second(t)"), Some(235_958));
        assert_eq!(value("weekday(t)"), Some(2));
    }

    #[test]
    fn faults_are_located() {
        for (text, column) in [("1 +", 4), ("", 1), ("(1", 3), ("a b", 3), ("99999999999999999999", 1)] {
            let error = Compute::parse(text).unwrap_err();
            assert!(error.ends_with(&format!("at column {column}")), "{text:?}: {error}");
        }
        assert!(Compute::parse("sqrt(a)").unwrap_err().contains("greatest"));
        assert!(Compute::parse("year(1)").unwrap_err().contains("one field"));
        assert!(Compute::parse(&"(".repeat(100_000)).is_err());
        assert!(Compute::parse(&"-".repeat(100_000)).is_err());
        assert!(Compute::parse(&"1+".repeat(100_000)).is_err());
    }
}
