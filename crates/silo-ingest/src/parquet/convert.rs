//! Values of one type into a field of another.

use silo_engine::columns::Values;
use silo_engine::{FieldType, TimeUnit};

use crate::text::column::{fit_float, push, stored};
use crate::text::value::Wrong;

/// A value of a Parquet column that is not text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i128),
    Float(f64),
    Time(i128, TimeUnit),
}

/// Appends a value where it has an exact counterpart; NaN is left out and counted.
pub(crate) fn push_scalar(
    values: &mut Values,
    kind: FieldType,
    scalar: Scalar,
    nans: &mut u64,
) -> Result<(), Wrong> {
    if let Scalar::Float(value) = scalar
        && value.is_nan()
    {
        *nans += 1;
        return Ok(());
    }
    match values {
        Values::Bool(all) => all.push(match scalar {
            Scalar::Bool(value) => u8::from(value),
            Scalar::Int(value @ (0 | 1)) => u8::from(value == 1),
            _ => return Err(Wrong::Type),
        }),
        Values::Int(all) => all.push(whole(kind, scalar)?),
        Values::Float(all) => all.push(match scalar {
            Scalar::Bool(value) => f64::from(u8::from(value)),
            Scalar::Int(value) => exact_float(value).ok_or(Wrong::Range)?,
            Scalar::Float(value) => fit_float(kind, value + 0.0)?,
            Scalar::Time(..) => return Err(Wrong::Type),
        }),
        Values::Text { .. } => {
            let text = match scalar {
                Scalar::Bool(value) => value.to_string(),
                Scalar::Int(value) => value.to_string(),
                Scalar::Float(value) => value.to_string(),
                Scalar::Time(..) => return Err(Wrong::Type),
            };
            push(values, kind, text.as_bytes(), nans)?;
        }
        Values::List { .. } => return Err(Wrong::Type),
    }
    Ok(())
}

fn whole(kind: FieldType, scalar: Scalar) -> Result<i64, Wrong> {
    let number = match (kind, scalar) {
        (FieldType::Time(to), Scalar::Time(count, from)) if to != from => {
            (count * i128::from(from.nanoseconds())).div_euclid(to.nanoseconds().into())
        }
        (_, Scalar::Int(number) | Scalar::Time(number, _)) => number,
        (FieldType::Signed(_) | FieldType::Unsigned(_), Scalar::Bool(value)) => i128::from(value),
        (FieldType::Signed(_) | FieldType::Unsigned(_), Scalar::Float(value)) if value.fract() == 0.0 && value.abs() < 1e20 => {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and below 10^20")]
            {
                value as i128
            }
        }
        _ => return Err(Wrong::Type),
    };
    stored(kind, number)
}

/// The float that is exactly an integer.
fn exact_float(number: i128) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "compared")]
    {
        let float = number as f64;
        (float as i128 == number).then_some(float)
    }
}
