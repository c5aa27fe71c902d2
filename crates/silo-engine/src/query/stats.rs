//! Least, greatest, sum and mean of a field among the matching records.

use std::ops::ControlFlow;

use bitmap_silo::column::Direction;
use bitmap_silo::topk::{sum_f64, totals};
use bitmap_silo::{BitmapView, Query as BitmapQuery};

use super::request::FieldStats;
use crate::engine::View;
use crate::error::{Error, Result};
use crate::schema::{Field, FieldType};
use crate::value::{Value, value_of_key};

/// What is gathered of integers and times.
#[derive(Default)]
struct Integers {
    count: u64,
    sum: i128,
    bounds: Option<(u64, u64)>,
}

impl View<'_> {
    /// The statistics of a field. No filter means all records.
    pub(super) fn field_stats(&self, name: &str, filter: Option<&BitmapQuery<'_>>) -> Result<FieldStats> {
        let schema = self.engine.schema();
        let at = schema.position(name).ok_or_else(|| Error::Query(schema.unknown_field(name)))?;
        let Some(field) = schema.fields.get(at) else { return Ok(FieldStats::default()) };
        let indexes = self.indexes(at)?;
        if matches!(field.kind, FieldType::String | FieldType::Bool) || field.multi {
            return Err(Error::Query(format!(
                "{name:?} holds no single numbers or times, so it has no statistics"
            )));
        }
        if let Some(index) = &indexes.sort {
            let column = self.column(index)?;
            let of = totals(&column, filter)?;
            let bounds = of.min.zip(of.max);
            if let FieldType::Float(_) = field.kind {
                let number = |key| match value_of_key(field.kind, key) {
                    Value::Float(x) => x,
                    _ => 0.0,
                };
                let (sum, count) = sum_f64(&column, filter, number)?;
                return Ok(floats(field, sum, count, bounds));
            }
            let sum = if matches!(field.kind, FieldType::Unsigned(_)) {
                // At most 2³² keys below 2⁶⁴ each.
                i128::try_from(of.sum).unwrap_or(i128::MAX)
            } else {
                of.sum_i64()
            };
            return Ok(integers(field, &Integers { count: of.count, sum, bounds }));
        }
        let mut of = Integers::default();
        let mut add = |value: &Value, key: Option<u64>, count: u64| {
            if let (Value::Int(x), Some(key), true) = (value, key, count > 0) {
                of.count += count;
                of.sum += x * i128::from(count);
                let (low, high) = of.bounds.unwrap_or((key, key));
                of.bounds = Some((low.min(key), high.max(key)));
            }
        };
        let matching = filter.map(BitmapQuery::to_bitmap);
        if let Some(index) = &indexes.filter {
            let reader = self.reader();
            for code in reader.values(index)?.to_vec() {
                let bitmap = reader.bitmap(index, code)?;
                let count = match &matching {
                    Some(matching) => BitmapView::from(matching).intersection_len(&bitmap.view()),
                    None => bitmap.len(),
                };
                let value = self.engine.terms.value(self.snapshot(), field.number(), field.kind, code)?;
                add(&value, crate::value::sort_key(field.kind, &value), count);
            }
        } else if let Some(index) = &indexes.high {
            let view = matching.as_ref().map(bitmap_silo::BitmapBuf::view);
            let postings = self.reader().postings(index)?;
            let _ = postings.for_each_in::<()>(0..=u64::MAX, Direction::Ascending, |key, slots| {
                let is_in = |slot: &u32| view.as_ref().is_none_or(|view| view.contains(*slot));
                add(&value_of_key(field.kind, key), Some(key), slots.filter(is_in).count() as u64);
                ControlFlow::Continue(())
            })?;
        } else {
            return Err(Error::Query(format!(
                "{name:?} is only stored and has no statistics: give it an index in the schema"
            )));
        }
        Ok(integers(field, &of))
    }
}

fn integers(field: &Field, of: &Integers) -> FieldStats {
    let Some((low, high)) = of.bounds else { return FieldStats::default() };
    let (min, max) = (value_of_key(field.kind, low), value_of_key(field.kind, high));
    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    let (sum, mean) = if matches!(field.kind, FieldType::Time(_)) {
        (Value::Null, Value::Int(of.sum.div_euclid(i128::from(of.count))))
    } else {
        (Value::Int(of.sum), Value::Float(of.sum as f64 / of.count as f64))
    };
    FieldStats { min, max, sum, mean, count: of.count }
}

fn floats(field: &Field, sum: f64, count: u64, bounds: Option<(u64, u64)>) -> FieldStats {
    let Some((low, high)) = bounds else { return FieldStats::default() };
    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    let mean = sum / count as f64;
    FieldStats {
        min: value_of_key(field.kind, low),
        max: value_of_key(field.kind, high),
        sum: Value::Float(sum),
        mean: Value::Float(mean),
        count,
    }
}
