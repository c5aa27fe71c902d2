//! Engines that a user could pick instead, at the same work, in the same run.
//!
//! Each is behind a feature (`peer-heed` and so on, `peers-kv` and so on for groups), so that an ordinary build compiles none of them. Their
//! settings stand where they are opened.

pub mod bitmap;
pub mod kv;
pub mod query;

use crate::lab::Experiment;

/// Comparisons that are run as experiments are.
pub const PEERS: &[Experiment] = &[kv::EXPERIMENT, bitmap::EXPERIMENT, query::EXPERIMENT];
