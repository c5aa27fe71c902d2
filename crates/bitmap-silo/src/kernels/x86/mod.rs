//! Kernels for x86-64 processors, chosen by what the processor reports at run time.

mod avx2;
mod avx512;
mod lists;

use super::Kernels;

/// Compiles scalar kernels for a set of target features and wraps them as plain functions.
///
/// The using module must only be reachable through a table that is offered after the features
/// were detected.
macro_rules! instantiate {
    ($features:literal: $($rest:tt)*) => {
        instantiate! { $features, scalar: $($rest)* }
    };
    ($features:literal, $twin:ident: $(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => {$(
        fn $name($($arg: $ty),*) $(-> $ret)? {
            #[target_feature(enable = $features)]
            fn inner($($arg: $ty),*) $(-> $ret)? {
                $twin::$name($($arg),*)
            }
            // SAFETY: `inner` needs the features named above and nothing else; this function is
            // private to a module whose table `tables` below offers only after detecting them.
            unsafe { inner($($arg),*) }
        }
    )*};
}
use instantiate;

/// Tables that this processor can run, the narrowest first.
pub(super) fn tables() -> Vec<&'static Kernels> {
    let mut tables = Vec::new();
    let has_avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("sse4.2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2");
    if has_avx2 {
        tables.push(&avx2::TABLE);
    }
    let has_avx512 = has_avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("avx512vpopcntdq");
    if has_avx512 {
        tables.push(&avx512::TABLE);
    }
    tables
}
