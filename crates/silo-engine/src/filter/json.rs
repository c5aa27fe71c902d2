//! Trees in JSON.

use serde_json::{Value as Json, json};

use super::parser::MAX_DEPTH;
use super::{Comparison, Condition, Literal, Name, Node};
use crate::error::FilterError;
use crate::value::Value;

fn fail<T>(message: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError::new(message))
}

fn literal(json: &Json) -> Result<Literal, FilterError> {
    match Value::from_json(json) {
        Ok(Value::List(_)) => fail(format!("{json} is a list where one value is expected")),
        Ok(Value::Null) => fail("nothing equals null: use the operator \"is null\""),
        Ok(value) => Ok(Literal { value, at: None }),
        Err(why) => fail(why),
    }
}

fn list(json: Option<&Json>, op: &str) -> Result<Vec<Literal>, FilterError> {
    match json {
        Some(Json::Array(items)) => items.iter().map(literal).collect(),
        _ => fail(format!("{op:?} takes a list as its \"value\"")),
    }
}

pub(super) fn node_from_json(json: &Json, depth: usize) -> Result<Node, FilterError> {
    if depth > MAX_DEPTH {
        return fail(format!("more than {MAX_DEPTH} levels of nesting"));
    }
    let object = match json {
        Json::Null => return Ok(Node::And(Vec::new())),
        Json::Object(object) => object,
        _ => {
            return fail(format!(
                "{json} is no filter: an object with \"and\", \"or\", \"not\" or \"field\" is one"
            ));
        }
    };
    let nodes = |json: &Json| match json {
        Json::Array(parts) => parts.iter().map(|part| node_from_json(part, depth + 1)).collect(),
        _ => fail("\"and\" and \"or\" take a list of filters"),
    };
    if !object.contains_key("field") {
        let mut entries = object.iter();
        let (Some((key, value)), None) = (entries.next(), entries.next()) else {
            return fail(
                "a filter has one key, \"and\", \"or\" or \"not\", or \"field\", \"op\" and \"value\"",
            );
        };
        return match key.as_str() {
            "and" => nodes(value).map(Node::And),
            "or" => nodes(value).map(Node::Or),
            "not" => node_from_json(value, depth + 1).map(|node| Node::Not(Box::new(node))),
            _ => fail(format!("{key:?} is unknown; there are: and, or, not, field")),
        };
    }
    if let Some(key) = object.keys().find(|key| !matches!(key.as_str(), "field" | "op" | "value")) {
        return fail(format!("{key:?} is unknown in a test; there are: field, op, value"));
    }
    let Some(name) = object.get("field").and_then(Json::as_str) else {
        return fail("\"field\" is the name of a field");
    };
    let op = object.get("op").and_then(Json::as_str).unwrap_or("=").to_ascii_lowercase();
    let (negated, plain) = match op.as_str() {
        "is not null" => (true, "is null"),
        "is not empty" => (true, "is empty"),
        op => op.strip_prefix("not ").map_or((false, op), |op| (true, op)),
    };
    let value = object.get("value");
    let one = || value.map_or_else(|| fail(format!("{op:?} takes a \"value\"")), literal);
    let test = match plain {
        "in" => Condition::In(list(value, plain)?),
        "between" => match <[Literal; 2]>::try_from(list(value, plain)?) {
            Ok([low, high]) => Condition::Between(low, high),
            Err(_) => return fail("\"between\" takes a list of two values"),
        },
        "starts with" => Condition::StartsWith(one()?),
        "is null" => Condition::IsNull,
        "is empty" => Condition::IsEmpty,
        symbol => match Comparison::from_symbol(symbol).filter(|_| !negated) {
            Some(comparison) => Condition::Compare(comparison, one()?),
            None => {
                return fail(format!(
                    "operator {op:?} is unknown; there are: = != < <= > >= in, not in, between, starts with, is null, is not null, is empty"
                ));
            }
        },
    };
    let node = Node::Test { field: Name { name: name.to_owned(), at: None }, test };
    Ok(if negated { Node::Not(Box::new(node)) } else { node })
}

fn value_to_json(literal: &Literal) -> Json {
    // Not bound to a field yet: integers stay integers, times are text already.
    literal.value.to_json(crate::schema::FieldType::Signed(64))
}

pub(super) fn node_to_json(node: &Node) -> Json {
    match node {
        Node::And(parts) => json!({ "and": parts.iter().map(node_to_json).collect::<Vec<_>>() }),
        Node::Or(parts) => json!({ "or": parts.iter().map(node_to_json).collect::<Vec<_>>() }),
        Node::Not(part) => json!({ "not": node_to_json(part) }),
        Node::Test { field, test } => {
            let name = &field.name;
            match test {
                Condition::Compare(comparison, value) => {
                    json!({ "field": name, "op": comparison.symbol(), "value": value_to_json(value) })
                }
                Condition::In(values) => {
                    json!({ "field": name, "op": "in", "value": values.iter().map(value_to_json).collect::<Vec<_>>() })
                }
                Condition::Between(low, high) => {
                    json!({ "field": name, "op": "between", "value": [value_to_json(low), value_to_json(high)] })
                }
                Condition::StartsWith(prefix) => {
                    json!({ "field": name, "op": "starts with", "value": value_to_json(prefix) })
                }
                Condition::IsNull => json!({ "field": name, "op": "is null" }),
                Condition::IsEmpty => json!({ "field": name, "op": "is empty" }),
            }
        }
    }
}
