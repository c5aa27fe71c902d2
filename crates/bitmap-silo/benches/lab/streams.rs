//! What the memory gives: two streams read, combined and counted.

#![expect(unsafe_code, reason = "calls functions compiled for detected features")]

/// Ands and counts two arrays with the widest plain loop.
pub(crate) fn two_streams(a: &[u64], b: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vpopcntdq")]
        fn widest(a: &[u64], b: &[u64]) -> u64 {
            a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum()
        }
        #[target_feature(enable = "avx2,popcnt")]
        fn wide(a: &[u64], b: &[u64]) -> u64 {
            a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum()
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
            // SAFETY: the features were just detected.
            return unsafe { widest(a, b) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            // SAFETY: the features were just detected.
            return unsafe { wide(a, b) };
        }
    }
    a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum()
}
