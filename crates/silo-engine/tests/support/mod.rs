//! Random schemas, records and filters over small domains, and the meaning of filters written
//! down a second time, over records, without keys, indexes or normal forms.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod naive;

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use silo_engine::{
    Comparison, Compute, Condition, Field, FieldType, Filter, Id, IdField, IndexKinds, Node, Record, Schema,
    TimeUnit, Value,
};

pub(crate) const WORDS: [&str; 9] =
    ["SD 1.5", "SDXL", "sdxl", "Flux", "Fluxus", "", "Ünïcode", "ünïcode", "z\"'\\z"];
/// 2024-01-01T00:00:00Z
pub(crate) const START: i64 = 1_704_067_200;

/// A schema with every kind of field, its indexes partly by chance.
pub(crate) fn schema(rng: &mut StdRng) -> Schema {
    let none = IndexKinds::none;
    let either = |rng: &mut StdRng, x: IndexKinds, y: IndexKinds| if rng.random() { x } else { y };
    let mut fields = vec![
        Field::new("flag", FieldType::Bool).index(none().filter()),
        Field::new("level", FieldType::Unsigned(8)).index(none().filter()),
        Field::new("count", FieldType::Signed(32)).index(either(rng, none().sort(), none().filter().sort())),
        Field::new("user", FieldType::Unsigned(32)).index(either(rng, none().high(), none().high().sort())),
        Field::new("tags", FieldType::Unsigned(16)).multi().index(none().filter()),
        Field::new("refs", FieldType::Signed(64)).multi().index(none().high()),
        Field::new("name", FieldType::String).index(none().filter()),
        Field::new("url", FieldType::String).index(none().high()),
        Field::new("labels", FieldType::String).multi().index(either(rng, none().filter(), none().high())),
        Field::new("score", FieldType::Float(if rng.random() { 32 } else { 64 })).index(none().sort()),
        Field::new("at", FieldType::Time(TimeUnit::Seconds)).index(either(
            rng,
            none().sort(),
            none().sort().high(),
        )),
        Field::new("note", FieldType::String),
        Field::new("big", FieldType::Signed(64)).index(none().sort()),
    ];
    fields[6].fold_case = rng.random();
    fields[7].fold_case = rng.random();
    if rng.random() {
        fields[1].default = Some(silo_engine::DefaultValue::Int(3));
    }
    fields[12].compute = Some(Compute::parse("greatest(count, level) * 2").unwrap());
    let kind = match rng.random_range(0..3) {
        0 => FieldType::String,
        1 => FieldType::Unsigned(32),
        _ => FieldType::Signed(64),
    };
    Schema::new(IdField::new("id", kind), fields).unwrap()
}

pub(crate) fn id(schema: &Schema, rng: &mut StdRng, most: u32) -> Id {
    let number = rng.random_range(0..most);
    match schema.id.kind {
        FieldType::String => Id::Text(format!("r{number}")),
        FieldType::Signed(_) => Id::from(i64::from(number) - i64::from(most / 2)),
        _ => Id::from(number),
    }
}

pub(crate) fn value(field: &Field, rng: &mut StdRng) -> Value {
    if rng.random_range(0..6) == 0 {
        return Value::Null;
    }
    if field.multi {
        let count = rng.random_range(0..5);
        return Value::List((0..count).map(|_| item(field, rng)).collect());
    }
    item(field, rng)
}

pub(crate) fn item(field: &Field, rng: &mut StdRng) -> Value {
    match field.kind {
        FieldType::Bool => Value::Bool(rng.random()),
        FieldType::Float(_) => Value::Float(f64::from(rng.random_range(-6..6)) * 0.5),
        FieldType::String => Value::from(WORDS[rng.random_range(0..WORDS.len())]),
        FieldType::Time(_) => Value::from(START + 3600 * rng.random_range(0..50i64)),
        FieldType::Unsigned(8) => Value::from(rng.random_range(0..6u8)),
        FieldType::Signed(_) => Value::from(rng.random_range(-10..10i32)),
        FieldType::Unsigned(_) => Value::from(rng.random_range(0..30u32)),
    }
}

pub(crate) fn record(schema: &Schema, id: Id, rng: &mut StdRng) -> Record {
    let mut record = Record::new(id);
    for field in schema.fields.iter().filter(|field| field.compute.is_none()) {
        if rng.random_range(0..8) > 0 {
            record = record.with(field.name.clone(), value(field, rng));
        }
    }
    record
}

/// What a record is after it was written: sets in order, default and computed field put in.
pub(crate) fn settled(schema: &Schema, record: &Record) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for field in &schema.fields {
        let mut value = record.get(&field.name).cloned().unwrap_or_default();
        if let Value::List(items) = &mut value {
            items.sort_by(Value::compare);
            items.dedup();
        }
        if value.is_null() && field.default.is_some() {
            value = Value::from(3);
        }
        values.insert(field.name.clone(), value);
    }
    let sources = [&values["count"], &values["level"]];
    let greatest = sources.iter().filter_map(|v| if let Value::Int(x) = v { Some(*x) } else { None }).max();
    values.insert("big".to_owned(), greatest.map_or(Value::Null, |x| Value::Int(x * 2)));
    values
}

/// Whether a query may use a test on this field.
fn testable(field: &Field) -> bool {
    !field.index.is_none()
}

pub(crate) fn filter(schema: &Schema, rng: &mut StdRng, depth: u32) -> Filter {
    if depth > 0 && rng.random_range(0..3) > 0 {
        let one = filter(schema, rng, depth - 1);
        return match rng.random_range(0..5) {
            0 | 1 => one.and(filter(schema, rng, depth - 1)),
            2 | 3 => one.or(filter(schema, rng, depth - 1)),
            _ => one.negated(),
        };
    }
    let fields: Vec<&Field> = schema.fields.iter().filter(|field| testable(field)).collect();
    let pick = rng.random_range(0..=fields.len());
    let id_field = Field::new(schema.id.name.clone(), schema.id.kind);
    let field = fields.get(pick).copied().unwrap_or(&id_field);
    let is_id = pick == fields.len();
    let name = field.name.clone();
    let literal = |rng: &mut StdRng| match (is_id, field.kind) {
        (true, _) => id(schema, rng, 60).to_value(),
        (_, FieldType::Time(_)) if rng.random() => {
            let Value::Int(count) = item(field, rng) else { unreachable!() };
            let text = silo_engine::format_time(i64::try_from(count).unwrap(), TimeUnit::Seconds).unwrap();
            Value::Text(if rng.random() { text.replace('Z', ".5Z") } else { text })
        }
        (_, FieldType::Signed(_) | FieldType::Unsigned(_)) if rng.random_range(0..5) == 0 => {
            Value::Float(f64::from(rng.random_range(-20..40)) * 0.5)
        }
        (_, FieldType::Unsigned(8)) if rng.random_range(0..9) == 0 => Value::from(1_000),
        _ => item(field, rng),
    };
    let comparisons = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];
    // Hashed strings have no order.
    let ordered = field.kind != FieldType::Bool && !(field.kind == FieldType::String && field.index.high);
    let comparison = comparisons[rng.random_range(0..if ordered { 6 } else { 2 })];
    match rng.random_range(0..9) {
        0 => Filter::is_null(name),
        1 if field.multi => Filter::is_empty(name),
        2 if field.kind == FieldType::String && ordered => {
            Filter::starts_with(name, ["S", "SD", "sd", "Flux", "", "r1", "q"][rng.random_range(0..7)])
        }
        3 if ordered => Filter::between(name, literal(rng), literal(rng)),
        4 | 5 => {
            let count = rng.random_range(0..4);
            let values: Vec<Value> = (0..count).map(|_| literal(rng)).collect();
            Filter::is_in(name, values)
        }
        _ => Filter::compare(name, comparison, literal(rng)),
    }
}

/// True, false or neither.
pub(crate) fn truth(schema: &Schema, id: &Id, values: &BTreeMap<String, Value>, node: &Node) -> Option<bool> {
    match node {
        Node::And(parts) => {
            let truths: Vec<_> = parts.iter().map(|part| truth(schema, id, values, part)).collect();
            if truths.contains(&Some(false)) {
                Some(false)
            } else if truths.contains(&None) {
                None
            } else {
                Some(true)
            }
        }
        Node::Or(parts) => {
            let truths: Vec<_> = parts.iter().map(|part| truth(schema, id, values, part)).collect();
            if truths.contains(&Some(true)) {
                Some(true)
            } else if truths.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        Node::Not(part) => truth(schema, id, values, part).map(|truth| !truth),
        Node::Test { field, test } => {
            let id_value = id.to_value();
            let (value, fold) = if field.name == schema.id.name {
                (&id_value, false)
            } else {
                (&values[&field.name], schema.field(&field.name).unwrap().fold_case)
            };
            if *test == Condition::IsNull {
                return Some(value.is_null());
            }
            if value.is_null() {
                return None;
            }
            let any = |accept: &dyn Fn(&Value) -> bool| Some(value.items().iter().any(accept));
            match test {
                Condition::IsNull => unreachable!(),
                Condition::IsEmpty => Some(value.items().is_empty()),
                Condition::Compare(Comparison::NotEqual, literal) => {
                    any(&|item| order(item, &literal.value, fold).is_eq()).map(|truth| !truth)
                }
                Condition::Compare(comparison, literal) => any(&|item| {
                    let order = order(item, &literal.value, fold);
                    match comparison {
                        Comparison::Equal => order.is_eq(),
                        Comparison::Less => order.is_lt(),
                        Comparison::LessOrEqual => order.is_le(),
                        Comparison::Greater => order.is_gt(),
                        _ => order.is_ge(),
                    }
                }),
                Condition::In(literals) => {
                    any(&|item| literals.iter().any(|literal| order(item, &literal.value, fold).is_eq()))
                }
                Condition::Between(low, high) => any(&|item| {
                    order(item, &low.value, fold).is_ge() && order(item, &high.value, fold).is_le()
                }),
                Condition::StartsWith(prefix) => any(&|item| {
                    let (Value::Text(text), Value::Text(prefix)) = (item, &prefix.value) else {
                        unreachable!()
                    };
                    if fold {
                        text.to_lowercase().starts_with(&prefix.to_lowercase())
                    } else {
                        text.starts_with(prefix)
                    }
                }),
            }
        }
    }
}

/// How a stored value compares with a literal.
fn order(item: &Value, literal: &Value, fold: bool) -> std::cmp::Ordering {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let float = |value: &Value| match value {
        Value::Int(x) => *x as f64,
        Value::Float(x) => *x,
        // Only times are compared with text as numbers.
        Value::Text(text) => {
            let half = text.contains(".5");
            silo_engine::parse_time(text, TimeUnit::Seconds).unwrap() as f64 + if half { 0.5 } else { 0.0 }
        }
        Value::Bool(x) => f64::from(u8::from(*x)),
        other => panic!("{other:?}"),
    };
    match (item, literal) {
        (Value::Text(x), Value::Text(y)) if fold => x.to_lowercase().cmp(&y.to_lowercase()),
        (Value::Text(x), Value::Text(y)) => x.cmp(y),
        _ => float(item).partial_cmp(&float(literal)).unwrap(),
    }
}
