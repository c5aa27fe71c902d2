//! Values of fields, ids, and the sort keys of both.

use std::cmp::Ordering;

use crate::schema::{DefaultValue, Field, FieldType};
use crate::time::{format_time, parse_time};

/// A value of a field.
///
/// Integers of all types and times (counts of the field's unit) are [`Value::Int`].
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer, or a time.
    Int(i128),
    /// A float, never NaN in a document.
    Float(f64),
    /// Text.
    Text(String),
    /// A set of values; in a document it ascends and has none twice.
    List(Vec<Value>),
}

/// What identifies a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// An integer.
    Int(i128),
    /// A string.
    Text(String),
}

impl Value {
    /// Whether there is no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The values of a set, the value itself where there is one, nothing for null.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        match self {
            Self::Null => &[],
            Self::List(items) => items,
            one => std::slice::from_ref(one),
        }
    }

    /// What the value is called in messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "integer",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::List(_) => "list",
        }
    }

    /// Order of two values of one type.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(x), Self::Bool(y)) => x.cmp(y),
            (Self::Int(x), Self::Int(y)) => x.cmp(y),
            (Self::Float(x), Self::Float(y)) => (x + 0.0).total_cmp(&(y + 0.0)),
            (Self::Text(x), Self::Text(y)) => x.cmp(y),
            (x, y) => x.rank().cmp(&y.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Text(_) => 4,
            Self::List(_) => 5,
        }
    }

    /// A schema's default as a value of a type.
    pub(crate) fn from_default(kind: FieldType, default: &DefaultValue) -> Result<Self, String> {
        let value = match default {
            DefaultValue::Bool(x) => Self::Bool(*x),
            DefaultValue::Int(x) => Self::Int(i128::from(*x)),
            DefaultValue::Float(x) => Self::Float(*x),
            DefaultValue::Text(x) => Self::Text(x.clone()),
            DefaultValue::List(items) => {
                let items = items.iter().map(|item| Self::from_default(kind, item));
                return items.collect::<Result<_, _>>().map(Self::List);
            }
        };
        value.into_type(kind)
    }

    /// This value, not a list, as one of a field's type: text becomes a time, integers become floats.
    ///
    /// # Errors
    /// What does not fit.
    pub fn into_type(self, kind: FieldType) -> Result<Self, String> {
        let wrong = |value: &Self| Err(format!("{} where {} is expected", value.type_name(), kind.name()));
        match (kind, self) {
            (_, Self::Null) => Ok(Self::Null),
            (FieldType::Bool, Self::Bool(x)) => Ok(Self::Bool(x)),
            (FieldType::String, Self::Text(x)) => Ok(Self::Text(x)),
            (FieldType::Float(bits), Self::Float(x)) => float(bits, x),
            #[expect(clippy::cast_precision_loss, reason = "a float field has the precision of floats")]
            (FieldType::Float(bits), Self::Int(x)) => float(bits, x as f64),
            (FieldType::Time(unit), Self::Text(x)) => parse_time(&x, unit).map(|x| Self::Int(i128::from(x))),
            (_, Self::Int(x)) if kind.is_integer() => {
                let (low, high) = kind.integer_range().unwrap_or((0, 0));
                if (low..=high).contains(&x) {
                    Ok(Self::Int(x))
                } else {
                    Err(format!("{x} does not fit {}, which holds {low} to {high}", kind.name()))
                }
            }
            (_, other) => wrong(&other),
        }
    }

    /// The JSON form; times become ISO 8601.
    #[must_use]
    pub fn to_json(&self, kind: FieldType) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(x) => Json::Bool(*x),
            Self::Int(x) => match (kind, i64::try_from(*x)) {
                (FieldType::Time(unit), Ok(count)) => {
                    format_time(count, unit).map_or_else(|| Json::from(count), Json::from)
                }
                (_, Ok(x)) => Json::from(x),
                #[expect(clippy::cast_precision_loss, reason = "sums beyond 64 bits are shown as floats")]
                (_, Err(_)) => u64::try_from(*x).map_or_else(|_| Json::from(*x as f64), Json::from),
            },
            Self::Float(x) => Json::from(*x),
            Self::Text(x) => Json::from(x.as_str()),
            Self::List(items) => Json::Array(items.iter().map(|item| item.to_json(kind)).collect()),
        }
    }

    /// The value of a JSON form, not yet fitted to a field.
    ///
    /// # Errors
    /// For objects, lists in lists, and numbers that no field can hold.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, String> {
        use serde_json::Value as Json;
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(x) => Self::Bool(*x),
            Json::Number(x) => {
                let int = x.as_i64().map(i128::from).or_else(|| x.as_u64().map(i128::from));
                match (int, x.as_f64()) {
                    (Some(x), _) => Self::Int(x),
                    (None, Some(x)) => Self::Float(x),
                    (None, None) => return Err(format!("number {x} is out of range")),
                }
            }
            Json::String(x) => Self::Text(x.clone()),
            Json::Array(items) => {
                if items.iter().any(|item| item.is_array() || item.is_null()) {
                    return Err("a list holds neither lists nor null".to_owned());
                }
                Self::List(items.iter().map(Self::from_json).collect::<Result<_, _>>()?)
            }
            Json::Object(_) => return Err("an object cannot be stored: use its parts as fields".to_owned()),
        })
    }
}

fn float(bits: u8, x: f64) -> Result<Value, String> {
    if x.is_nan() {
        return Err("NaN is no value: use null".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what the type asks for")]
    let x = if bits == 32 { f64::from(x as f32) } else { x };
    Ok(Value::Float(x + 0.0))
}

impl Field {
    /// Fits a value to this field: types, sets in order and without repetition.
    ///
    /// # Errors
    /// What does not fit, without the field's name.
    pub fn fit(&self, value: Value) -> Result<Value, String> {
        match value {
            Value::List(items) if self.multi => {
                let mut items = items
                    .into_iter()
                    .map(|item| match item {
                        Value::List(_) | Value::Null => Err("a list holds neither lists nor null".to_owned()),
                        item => item.into_type(self.kind),
                    })
                    .collect::<Result<Vec<Value>, String>>()?;
                items.sort_unstable_by(Value::compare);
                items.dedup();
                Ok(Value::List(items))
            }
            Value::Null => Ok(Value::Null),
            Value::List(_) => Err("a list where one value is expected: make the field `multi`".to_owned()),
            one if self.multi => Ok(Value::List(vec![one.into_type(self.kind)?])),
            one => one.into_type(self.kind),
        }
    }
}

const SIGN: u64 = 1 << 63;

/// The sort key of an integer of a type: keys compare as values do.
#[must_use]
pub(crate) fn integer_key(kind: FieldType, x: i128) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value fits its type")]
    let bits = x as u64;
    if matches!(kind, FieldType::Unsigned(_)) { bits } else { bits ^ SIGN }
}

/// The sort key of a float: the usual flip; 32-bit floats have 32-bit keys.
pub(crate) fn float_key(bits: u8, x: f64) -> u64 {
    let x = x + 0.0;
    if bits == 32 {
        #[expect(clippy::cast_possible_truncation, reason = "values of the field are 32-bit floats")]
        let raw = (x as f32).to_bits();
        return u64::from(if raw >> 31 == 1 { !raw } else { raw | 1 << 31 });
    }
    let raw = x.to_bits();
    if raw & SIGN == 0 { raw | SIGN } else { !raw }
}

/// The sort key of a value that is not text; none for null, text and lists.
#[must_use]
pub fn sort_key(kind: FieldType, value: &Value) -> Option<u64> {
    match (kind, value) {
        (_, Value::Bool(x)) => Some(u64::from(*x)),
        (_, Value::Int(x)) => Some(integer_key(kind, *x)),
        (FieldType::Float(bits), Value::Float(x)) => Some(float_key(bits, *x)),
        _ => None,
    }
}

/// The value of a sort key.
#[must_use]
pub fn value_of_key(kind: FieldType, key: u64) -> Value {
    match kind {
        FieldType::Bool => Value::Bool(key != 0),
        FieldType::Unsigned(_) | FieldType::Signed(_) | FieldType::Time(_) => {
            Value::Int(integer_of_key(kind, key))
        }
        FieldType::Float(32) => {
            #[expect(clippy::cast_possible_truncation, reason = "keys of 32-bit floats have 32 bits")]
            let raw = key as u32;
            let raw = if raw >> 31 == 1 { raw & !(1 << 31) } else { !raw };
            Value::Float(f64::from(f32::from_bits(raw)))
        }
        FieldType::Float(_) => Value::Float(f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })),
        FieldType::String => Value::Null,
    }
}

/// The integer that has a sort key, for types of integers.
pub(crate) fn integer_of_key(kind: FieldType, key: u64) -> i128 {
    match kind {
        FieldType::Unsigned(_) => i128::from(key),
        _ => i128::from(bits_of_key(kind, key)),
    }
}

/// The sort key of the integer that has these 64 bits.
pub(crate) fn key_of_bits(kind: FieldType, bits: i64) -> u64 {
    match kind {
        FieldType::Unsigned(_) => bits.cast_unsigned(),
        _ => bits.cast_unsigned() ^ SIGN,
    }
}

/// The bits of the integer that has a sort key.
pub(crate) fn bits_of_key(kind: FieldType, key: u64) -> i64 {
    match kind {
        FieldType::Unsigned(_) => key.cast_signed(),
        _ => (key ^ SIGN).cast_signed(),
    }
}

impl Id {
    /// The id as a value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(x) => Value::Int(*x),
            Self::Text(x) => Value::Text(x.clone()),
        }
    }

    /// A value as an id of a type.
    ///
    /// # Errors
    /// What does not fit.
    pub fn from_value(kind: FieldType, value: Value) -> Result<Self, String> {
        match value.into_type(kind)? {
            Value::Int(x) => Ok(Self::Int(x)),
            Value::Text(x) => Ok(Self::Text(x)),
            Value::Null => Err("null is no id".to_owned()),
            other => Err(format!("{} is no id", other.type_name())),
        }
    }

    /// The id of a text as a person writes it: digits for an integer id.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(kind: FieldType, text: &str) -> Result<Self, String> {
        if kind == FieldType::String {
            return Ok(Self::Text(text.to_owned()));
        }
        let number: i128 = text.parse().map_err(|_| format!("{text:?} is no integer, which ids are here"))?;
        Self::from_value(kind, Value::Int(number))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(x) => write!(f, "{x}"),
            Self::Text(x) => write!(f, "{x}"),
        }
    }
}

macro_rules! from_integers {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(x: $type) -> Self {
                Self::Int(i128::from(x))
            }
        }
        impl From<$type> for Id {
            fn from(x: $type) -> Self {
                Self::Int(i128::from(x))
            }
        }
    )*};
}
from_integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl From<bool> for Value {
    fn from(x: bool) -> Self {
        Self::Bool(x)
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

impl From<&str> for Value {
    fn from(x: &str) -> Self {
        Self::Text(x.to_owned())
    }
}

impl From<String> for Value {
    fn from(x: String) -> Self {
        Self::Text(x)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(x: Option<T>) -> Self {
        x.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(x: Vec<T>) -> Self {
        Self::List(x.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(x: [T; N]) -> Self {
        Self::List(x.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for Id {
    fn from(x: &str) -> Self {
        Self::Text(x.to_owned())
    }
}

impl From<String> for Id {
    fn from(x: String) -> Self {
        Self::Text(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TimeUnit;

    #[test]
    fn sort_keys_compare_as_values_and_lead_back() {
        let ints = |kind: FieldType, values: &[i128]| {
            (kind, values.iter().map(|x| Value::Int(*x)).collect::<Vec<_>>())
        };
        let floats = |bits| {
            let values = [f64::NEG_INFINITY, -1e30, -1.5, 0.0, 1.0, 1.5, 1e30, f64::INFINITY];
            let kind = FieldType::Float(bits);
            (kind, values.iter().map(|x| Value::Float(*x).into_type(kind).unwrap()).collect::<Vec<_>>())
        };
        let cases = [
            ints(FieldType::Signed(64), &[i128::from(i64::MIN), -1, 0, 1, i128::from(i64::MAX)]),
            ints(FieldType::Signed(8), &[-128, -1, 0, 127]),
            ints(FieldType::Unsigned(64), &[0, 1, i128::from(u64::MAX)]),
            ints(FieldType::Time(TimeUnit::Seconds), &[-5, 0, 5]),
            (FieldType::Bool, vec![Value::Bool(false), Value::Bool(true)]),
            floats(32),
            floats(64),
        ];
        for (kind, values) in cases {
            let keys: Vec<u64> = values.iter().map(|v| sort_key(kind, v).unwrap()).collect();
            assert!(keys.windows(2).all(|w| w[0] < w[1]), "{kind:?}: {keys:?}");
            for (key, value) in keys.iter().zip(&values) {
                assert_eq!(&value_of_key(kind, *key), value, "{kind:?}");
            }
        }
        let minus_zero = sort_key(FieldType::Float(64), &Value::Float(-0.0));
        assert_eq!(minus_zero, sort_key(FieldType::Float(64), &Value::Float(0.0)));
    }

    #[test]
    fn values_fit_their_field_or_say_why_not() {
        let field = Field::new("f", FieldType::Unsigned(8));
        assert_eq!(field.fit(Value::from(255)), Ok(Value::Int(255)));
        assert!(field.fit(Value::from(256)).unwrap_err().contains("0 to 255"));
        assert!(field.fit(Value::from("1")).is_err());
        assert!(field.fit(Value::from([1])).unwrap_err().contains("multi"));
        assert_eq!(field.clone().multi().fit(Value::from([3, 1, 3])), Ok(Value::from([1, 3])));
        assert_eq!(field.multi().fit(Value::from(3)), Ok(Value::from([3])));
        let time = Field::new("t", FieldType::Time(TimeUnit::Milliseconds));
        assert_eq!(time.fit(Value::from("1970-01-02")), Ok(Value::Int(86_400_000)));
        let float = Field::new("x", FieldType::Float(64));
        assert!(float.fit(Value::Float(f64::NAN)).is_err());
        assert_eq!(float.fit(Value::from(2)), Ok(Value::Float(2.0)));
    }
}
