//! Sort keys: every sortable number as a `u64` that compares as the number does.

const SIGN: u64 = 1 << 63;
const SIGN_32: u32 = 1 << 31;

/// The key of a signed number.
#[must_use]
pub fn from_i64(number: i64) -> u64 {
    number.cast_unsigned() ^ SIGN
}

/// The signed number of a key.
#[must_use]
pub fn to_i64(key: u64) -> i64 {
    (key ^ SIGN).cast_signed()
}

/// The key of a float; −0 counts as 0, NaN has none.
#[must_use]
pub fn from_f64(number: f64) -> Option<u64> {
    // Adding zero turns −0 into 0.
    let bits = (number + 0.0).to_bits();
    let key = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
    (!number.is_nan()).then_some(key)
}

/// The float of a key made by [`from_f64`].
#[must_use]
pub fn to_f64(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key ^ SIGN })
}

/// The key of a 32-bit float, in the lower 32 bits; −0 counts as 0, NaN has none.
#[must_use]
pub fn from_f32(number: f32) -> Option<u64> {
    let bits = (number + 0.0).to_bits();
    let key = if bits & SIGN_32 == 0 { bits ^ SIGN_32 } else { !bits };
    (!number.is_nan()).then_some(u64::from(key))
}

/// The 32-bit float of a key made by [`from_f32`]; upper bits are ignored.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the key lies in the lower half")]
pub fn to_f32(key: u64) -> f32 {
    let key = key as u32;
    f32::from_bits(if key & SIGN_32 == 0 { !key } else { key ^ SIGN_32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_signed_numbers_compare_as_the_numbers() {
        let numbers = [i64::MIN, i64::MIN + 1, -300, -1, 0, 1, 2, 1 << 40, i64::MAX];
        assert!(numbers.windows(2).all(|pair| from_i64(pair[0]) < from_i64(pair[1])));
        assert!(numbers.iter().all(|number| to_i64(from_i64(*number)) == *number));
        assert_eq!((from_i64(i64::MIN), from_i64(i64::MAX)), (0, u64::MAX));
    }

    #[test]
    fn keys_of_floats_compare_as_the_floats() {
        let floats =
            [f64::NEG_INFINITY, f64::MIN, -1.5, -f64::MIN_POSITIVE, -5e-324, 0.0, 5e-324, 1.0, f64::MAX];
        assert!(floats.windows(2).all(|pair| from_f64(pair[0]) < from_f64(pair[1])));
        assert!(floats.iter().all(|float| to_f64(from_f64(*float).unwrap()).to_bits() == float.to_bits()));
        assert_eq!(from_f64(-0.0), from_f64(0.0));
        assert_eq!([f64::NAN, -f64::NAN].map(from_f64), [None, None]);
        let floats = [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-45, 0.0, 1e-45, 1.0, f32::MAX, f32::INFINITY];
        assert!(floats.windows(2).all(|pair| from_f32(pair[0]) < from_f32(pair[1])));
        assert!(floats.iter().all(|float| to_f32(from_f32(*float).unwrap()).to_bits() == float.to_bits()));
        assert_eq!((from_f32(-0.0), from_f32(f32::NAN)), (from_f32(0.0), None));
    }
}
