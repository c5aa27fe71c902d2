//! Trees as text.

use std::fmt::{Display, Formatter, Result};

use super::{Condition, Filter, Literal, Name, Node};
use crate::value::Value;

impl Display for Filter {
    /// The filter as [`Filter::parse`] reads it.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.root {
            Node::And(parts) if parts.is_empty() => Ok(()),
            root => root.fmt(f),
        }
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let list = |f: &mut Formatter<'_>, parts: &[Node], word: &str| {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Node::And(_) | Node::Or(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::And(parts) => list(f, parts, "AND"),
            Self::Or(parts) => list(f, parts, "OR"),
            Self::Not(part) => write!(f, "NOT ({part})"),
            Self::Test { field, test } => match test {
                Condition::Compare(comparison, value) => write!(f, "{field} {} {value}", comparison.symbol()),
                Condition::In(values) => {
                    write!(f, "{field} IN [")?;
                    for (at, value) in values.iter().enumerate() {
                        write!(f, "{}{value}", if at > 0 { ", " } else { "" })?;
                    }
                    write!(f, "]")
                }
                Condition::Between(low, high) => write!(f, "{field} BETWEEN {low} AND {high}"),
                Condition::StartsWith(prefix) => write!(f, "{field} STARTS WITH {prefix}"),
                Condition::IsNull => write!(f, "{field} IS NULL"),
                Condition::IsEmpty => write!(f, "{field} IS EMPTY"),
            },
        }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if super::parser::is_plain_name(&self.name) {
            f.write_str(&self.name)
        } else {
            write!(f, "`{}`", self.name)
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.value {
            Value::Bool(x) => write!(f, "{x}"),
            Value::Int(x) => write!(f, "{x}"),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Text(text) => {
                let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "\"{}\"", escaped.replace('\n', "\\n").replace('\t', "\\t"))
            }
            // Neither is ever a literal; the text says so where it is read.
            Value::Null | Value::List(_) => f.write_str("NULL"),
        }
    }
}
