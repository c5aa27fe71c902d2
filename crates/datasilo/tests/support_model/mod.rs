//! What the model, behaviour, concurrency and process tests share.
#![allow(dead_code, reason = "every test binary uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_for_each,
    reason = "a test stops at the first surprise, and its numbers are small"
)]

pub(crate) mod children;
pub(crate) mod dirs;
pub(crate) mod full_disk;
pub(crate) mod operators;
pub(crate) mod world;

use std::sync::Arc;
use std::time::Duration;

use datasilo::Options;

/// Options with every capacity shrunk, so that edges come up; no maintenance thread.
pub(crate) fn tiny() -> Options {
    Options::new()
        .segment_bytes(16 << 10)
        .allocate_bytes(4096)
        .region_bytes(1024)
        .background(false)
        .merge_operator(Arc::new(operators::Append::new("append")))
        .merge_operator(Arc::new(operators::Append::lazy("append-lazy")))
        .merge_operator(Arc::new(operators::Affine))
}

/// [`tiny`], with the maintenance thread on and busy.
pub(crate) fn tiny_with_maintenance() -> Options {
    tiny().background(true).checkpoint_ops(40).checkpoint_bytes(8 << 10).dead_ratio(0.1)
}

/// The seed that a run starts from: `SILO_SEED`, or a fixed one.
pub(crate) fn seed() -> u64 {
    std::env::var("SILO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// How long a campaign goes on; `None` for the short default run.
pub(crate) fn campaign() -> Option<Duration> {
    let seconds = std::env::var("SILO_CAMPAIGN_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("SILO_CAMPAIGN_SECONDS is a whole number")))
}

/// `len` bytes that differ from seed to seed and from place to place.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
