//! Plans for people: what the parts are, how they are evaluated, what they come to.

use serde_json::{Value as Json, json};

use super::{Node, Plan};
use crate::filter::{FieldRef, Leaf, Predicate, Test};
use crate::schema::{FieldType, Schema};

/// How a part of a filter was evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// The part.
    pub part: String,
    /// How it is evaluated.
    pub strategy: &'static str,
    /// Number of records that it was expected to match, at most.
    pub estimated: u64,
    /// Number of records that match it.
    pub actual: u64,
    /// Its parts, in the order of their evaluation.
    pub parts: Vec<Explain>,
}

impl Plan<'_> {
    /// How the plan is evaluated, and what it comes to; costs an evaluation of every part.
    pub(in super::super) fn explain(&self, slot_count: u64) -> Explain {
        let explain = |part: &Plan<'_>| part.explain(slot_count);
        let (strategy, parts) = match &self.node {
            Node::Nothing => ("known to be empty", Vec::new()),
            Node::Stored(_) => ("stored bitmap", Vec::new()),
            Node::Postings(_) => ("postings", Vec::new()),
            Node::Made(_) => ("bitmap made for the query", Vec::new()),
            Node::Or(parts) => ("union, chunk by chunk", parts.iter().map(explain).collect()),
            Node::OneOf(parts) => ("union of values apart", parts.iter().map(explain).collect()),
            Node::And { keep, remove } => {
                let without = |part: &Plan<'_>| {
                    let explained = part.explain(slot_count);
                    Explain { part: format!("without {}", explained.part), ..explained }
                };
                let parts = keep.iter().map(explain).chain(remove.iter().map(without));
                ("intersection, chunk by chunk, most selective first", parts.collect())
            }
        };
        Explain {
            part: self.label.clone(),
            strategy,
            estimated: self.estimate(),
            actual: self.count(slot_count),
            parts,
        }
    }
}

impl Explain {
    /// The tree as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "part": self.part,
            "strategy": self.strategy,
            "estimated": self.estimated,
            "actual": self.actual,
            "parts": self.parts.iter().map(Explain::to_json).collect::<Vec<_>>(),
        })
    }
}

impl std::fmt::Display for Explain {
    /// The tree, a line for each part.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn write(this: &Explain, depth: usize, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Explain { part, strategy, estimated, actual, parts } = this;
            writeln!(
                f,
                "{:1$}{part}: {actual} records, at most {estimated} expected; {strategy}",
                "",
                depth * 2
            )?;
            parts.iter().try_for_each(|part| write(part, depth + 1, f))
        }
        write(self, 0, f)
    }
}

pub(super) fn describe_all(schema: &Schema, parts: &[Predicate]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Predicate::Leaf(leaf) => describe(schema, leaf),
            _ => "(…)".to_owned(),
        })
        .collect();
    parts.join(" AND ")
}

/// A leaf for people.
pub(super) fn describe(schema: &Schema, leaf: &Leaf) -> String {
    let name = leaf.field.name(schema);
    let kind = match leaf.field {
        FieldRef::Id => schema.id.kind,
        FieldRef::Field(at) => schema.fields.get(at).map_or(FieldType::String, |field| field.kind),
    };
    let key = |key: u64| crate::value::value_of_key(kind, key).to_json(kind).to_string();
    let some = |mut parts: Vec<String>, count: usize| {
        if count > parts.len() {
            parts.push(format!("… {count} in all"));
        }
        parts.join(", ")
    };
    let text = match &leaf.test {
        Test::Keys(keys) => {
            let shown = keys.iter().take(5).map(|x| key(*x)).collect();
            format!("{name} IN [{}]", some(shown, keys.len()))
        }
        Test::Range(low, high) => format!("{name} BETWEEN {} AND {}", key(*low), key(*high)),
        Test::Texts(texts) => {
            let shown = texts.iter().take(5).map(|text| format!("{text:?}")).collect();
            format!("{name} IN [{}]", some(shown, texts.len()))
        }
        Test::TextRange(low, high) => format!("{name} from {low:?} to {high:?}"),
        Test::Prefix(prefix) => format!("{name} STARTS WITH {prefix:?}"),
        Test::Null => format!("{name} IS NULL"),
        Test::Empty => format!("{name} IS EMPTY"),
    };
    if leaf.negated { format!("NOT {text}") } else { text }
}
