//! Names and types of a filter checked, negation pushed to the leaves.

use std::ops::Bound;

use super::predicate::{FieldRef, Leaf, Predicate, Test};
use super::{Comparison, Condition, Fault, Literal, Node};
use crate::schema::{FieldType, Schema};
use crate::time::parse_nanoseconds;
use crate::value::{Value, integer_key, sort_key};

/// Binds a node, or its negation. In three-valued logic De Morgan's laws hold, so that negation reaches the leaves.
pub(super) fn bind(schema: &Schema, node: &Node, negated: bool) -> Result<Predicate, Fault> {
    let all =
        |parts: &[Node]| parts.iter().map(|part| bind(schema, part, negated)).collect::<Result<Vec<_>, _>>();
    match (node, negated) {
        (Node::And(parts), false) | (Node::Or(parts), true) => all(parts).map(Predicate::and),
        (Node::Or(parts), false) | (Node::And(parts), true) => all(parts).map(Predicate::or),
        (Node::Not(part), _) => bind(schema, part, !negated),
        (Node::Test { field, test }, _) => {
            let Some(target) = Target::find(schema, &field.name) else {
                return Err(Fault::new(field.at, schema.unknown_field(&field.name)));
            };
            let negated = negated != matches!(test, Condition::Compare(Comparison::NotEqual, _));
            let test = target.test(test).map_err(|fault| Fault {
                at: fault.at.or(field.at),
                message: format!("{:?} {}", field.name, fault.message),
            })?;
            Ok(target.leaf(test, negated))
        }
    }
}

/// The field that a test is about.
struct Target {
    field: FieldRef,
    kind: FieldType,
    multi: bool,
    nullable: bool,
    fold_case: bool,
}

/// The number of a literal: whole, or between two whole numbers.
enum Number {
    Whole(i128),
    /// Above this one, below the next.
    Above(i128),
}

impl Target {
    fn find(schema: &Schema, name: &str) -> Option<Self> {
        if name == schema.id.name {
            let kind = schema.id.kind;
            return Some(Self { field: FieldRef::Id, kind, multi: false, nullable: false, fold_case: false });
        }
        let at = schema.position(name)?;
        let field = schema.fields.get(at)?;
        Some(Self {
            field: FieldRef::Field(at),
            kind: field.kind,
            multi: field.multi,
            nullable: field.nullable,
            fold_case: field.fold_case,
        })
    }

    fn leaf(&self, test: Test, negated: bool) -> Predicate {
        let leaf = |test, negated| Predicate::Leaf(Leaf { field: self.field, test, negated });
        let impossible = match &test {
            Test::Keys(keys) => keys.is_empty(),
            Test::Texts(texts) => texts.is_empty(),
            Test::Range(low, high) => low > high,
            Test::Null => !self.nullable,
            _ => false,
        };
        match (impossible, negated) {
            (false, _) => leaf(test, negated),
            (true, false) => Predicate::Nothing,
            // Whatever is not null fails an impossible test.
            (true, true) if self.nullable => leaf(Test::Null, true),
            (true, true) => Predicate::All,
        }
    }

    fn test(&self, condition: &Condition) -> Result<Test, Fault> {
        match condition {
            Condition::IsNull => Ok(Test::Null),
            Condition::IsEmpty if self.multi => Ok(Test::Empty),
            Condition::IsEmpty => {
                Err(Fault::new(None, "holds one value and is never an empty set: use IS NULL"))
            }
            Condition::StartsWith(prefix) => match &prefix.value {
                Value::Text(text) if self.kind == FieldType::String => Ok(Test::Prefix(self.fold(text))),
                _ => {
                    Err(Fault::new(prefix.at, "and STARTS WITH: both the field and the prefix must be text"))
                }
            },
            Condition::In(values) => self.any_of(values),
            Condition::Compare(Comparison::Equal | Comparison::NotEqual, value) => {
                self.any_of(std::slice::from_ref(value))
            }
            Condition::Compare(comparison, value) => match comparison {
                Comparison::Less => self.range(None, Some((value, false))),
                Comparison::LessOrEqual => self.range(None, Some((value, true))),
                Comparison::Greater => self.range(Some((value, false)), None),
                _ => self.range(Some((value, true)), None),
            },
            Condition::Between(low, high) => self.range(Some((low, true)), Some((high, true))),
        }
    }

    fn fold(&self, text: &str) -> String {
        if self.fold_case { text.to_lowercase() } else { text.to_owned() }
    }

    fn any_of(&self, values: &[Literal]) -> Result<Test, Fault> {
        if self.kind == FieldType::String {
            let texts = values.iter().map(|value| self.text(value));
            let mut texts = texts.collect::<Result<Vec<String>, Fault>>()?;
            texts.sort_unstable();
            texts.dedup();
            return Ok(Test::Texts(texts));
        }
        let mut keys = Vec::new();
        for literal in values {
            keys.extend(self.exact_key(literal)?);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(Test::Keys(keys))
    }

    fn text(&self, literal: &Literal) -> Result<String, Fault> {
        match &literal.value {
            Value::Text(text) => Ok(self.fold(text)),
            other => Err(self.wrong_type(literal, other)),
        }
    }

    fn wrong_type(&self, literal: &Literal, value: &Value) -> Fault {
        let hint = match (self.kind, value) {
            (FieldType::String, _) => "; text is written in quotes",
            (FieldType::Bool, _) => "; write true or false",
            (FieldType::Time(_), _) => "; write a date such as 2024-01-31",
            _ => "",
        };
        let message =
            format!("has type {} and cannot be compared with {}{hint}", self.kind.name(), value.type_name());
        Fault::new(literal.at, message)
    }

    /// The key that equals a value; none if no value of the type does.
    fn exact_key(&self, literal: &Literal) -> Result<Option<u64>, Fault> {
        match (self.kind, &literal.value) {
            (FieldType::Bool, Value::Bool(x)) => Ok(Some(u64::from(*x))),
            (FieldType::Float(_), Value::Float(_) | Value::Int(_)) => self.float(literal).map(Some),
            _ => Ok(match self.number(literal)? {
                Number::Whole(x) => {
                    let (low, high) = self.kind.integer_range().unwrap_or((0, -1));
                    (low..=high).contains(&x).then(|| integer_key(self.kind, x))
                }
                Number::Above(_) => None,
            }),
        }
    }

    fn float(&self, literal: &Literal) -> Result<u64, Fault> {
        let value = literal.value.clone().into_type(self.kind);
        let key = value.ok().and_then(|value| sort_key(self.kind, &value));
        key.ok_or_else(|| self.wrong_type(literal, &literal.value))
    }

    /// What an integer or time field is compared with.
    fn number(&self, literal: &Literal) -> Result<Number, Fault> {
        match (self.kind, &literal.value) {
            (FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(_), Value::Int(x)) => {
                Ok(Number::Whole(*x))
            }
            (FieldType::Signed(_) | FieldType::Unsigned(_), Value::Float(x)) => {
                let floor = x.floor();
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "what is beyond 128 bits is beyond every field"
                )]
                let whole = floor as i128;
                Ok(if floor < *x { Number::Above(whole) } else { Number::Whole(whole) })
            }
            (FieldType::Time(unit), Value::Text(text)) => {
                let nanoseconds = parse_nanoseconds(text).map_err(|why| {
                    Fault::new(literal.at, format!("has type {} and {why}", self.kind.name()))
                })?;
                let unit = i128::from(unit.nanoseconds());
                let whole = nanoseconds.div_euclid(unit);
                Ok(if nanoseconds.rem_euclid(unit) > 0 { Number::Above(whole) } else { Number::Whole(whole) })
            }
            (_, other) => Err(self.wrong_type(literal, other)),
        }
    }

    /// Bounds, each with whether it is included.
    fn range(&self, low: Option<(&Literal, bool)>, high: Option<(&Literal, bool)>) -> Result<Test, Fault> {
        match self.kind {
            FieldType::String => {
                let bound = |bound: Option<(&Literal, bool)>| match bound {
                    None => Ok(Bound::Unbounded),
                    Some((literal, true)) => self.text(literal).map(Bound::Included),
                    Some((literal, false)) => self.text(literal).map(Bound::Excluded),
                };
                Ok(Test::TextRange(bound(low)?, bound(high)?))
            }
            FieldType::Bool => {
                let literal = low.or(high).map(|(literal, _)| literal);
                let at = literal.and_then(|literal| literal.at);
                Err(Fault::new(at, "is a bool: compare with = or !="))
            }
            FieldType::Float(_) => {
                // The keys of the infinities bound those of all numbers.
                let infinity = |x: f64| sort_key(self.kind, &Value::Float(x)).unwrap_or_default();
                let low = match low {
                    None => infinity(f64::NEG_INFINITY),
                    Some((literal, included)) => self.float(literal)?.saturating_add(u64::from(!included)),
                };
                let high = match high {
                    None => infinity(f64::INFINITY),
                    Some((literal, included)) => self.float(literal)?.saturating_sub(u64::from(!included)),
                };
                Ok(Test::Range(low, high))
            }
            _ => {
                let (least, greatest) = self.kind.integer_range().unwrap_or((0, -1));
                let low =
                    match low.map(|(literal, included)| Ok((self.number(literal)?, included))).transpose()? {
                        None => least,
                        Some((Number::Whole(x), true)) => x,
                        Some((Number::Whole(x) | Number::Above(x), _)) => x.saturating_add(1),
                    };
                let high = match high
                    .map(|(literal, included)| Ok((self.number(literal)?, included)))
                    .transpose()?
                {
                    None => greatest,
                    Some((Number::Whole(x), false)) => x.saturating_sub(1),
                    Some((Number::Whole(x) | Number::Above(x), _)) => x,
                };
                let (low, high) = (low.max(least), high.min(greatest));
                if low > high {
                    return Ok(Test::Keys(Vec::new()));
                }
                Ok(Test::Range(integer_key(self.kind, low), integer_key(self.kind, high)))
            }
        }
    }
}
