//! The portable form of one chunk.

use super::view::{ContainerKind, ContainerRef, as_le16, run_pair};
use super::{ARRAY_MAX, BITSET_BYTES};
use crate::kernels::{LIST_SLACK, kernels};

/// Which encodings a writer considers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The smallest of all three; counting runs costs a pass over each chunk.
    #[default]
    Smallest,
    /// Arrays and bitsets by cardinality; runs only where the chunk already comes as runs and
    /// they are smaller. For results that are used once.
    Quick,
}

/// Bytes that a container body takes.
#[must_use]
pub(crate) fn body_bytes(kind: ContainerKind, cardinality: u32, run_count: usize) -> usize {
    match kind {
        ContainerKind::Array => 2 * cardinality as usize,
        ContainerKind::Bitset => BITSET_BYTES,
        ContainerKind::Runs => 2 + 4 * run_count,
    }
}

/// The encoding that a layout chooses for a container with `cardinality` values.
fn choose(container: ContainerRef<'_>, cardinality: u32, layout: Layout) -> ContainerKind {
    let flat = if cardinality <= ARRAY_MAX { ContainerKind::Array } else { ContainerKind::Bitset };
    let consider = layout == Layout::Smallest || container.kind() == ContainerKind::Runs;
    if !consider {
        return flat;
    }
    let run_count = container.run_count() as usize;
    if body_bytes(ContainerKind::Runs, cardinality, run_count) < body_bytes(flat, cardinality, 0) {
        ContainerKind::Runs
    } else {
        flat
    }
}

/// Appends the body of `container`, whose true cardinality is `cardinality` and not zero, and
/// answers the encoding chosen.
pub(crate) fn encode_into(
    container: ContainerRef<'_>,
    cardinality: u32,
    layout: Layout,
    out: &mut Vec<u8>,
) -> ContainerKind {
    let kind = choose(container, cardinality, layout);
    match (kind, container) {
        (ContainerKind::Array, ContainerRef::Array(a)) => {
            out.extend_from_slice(a.values().as_flattened());
        }
        (ContainerKind::Array, ContainerRef::Bitset(b)) => {
            let mut list = [0_u16; ARRAY_MAX as usize + LIST_SLACK];
            let len = (kernels().extract16)(b.bits(), &mut list);
            let list = list.get(..len).unwrap_or(&[]);
            out.extend_from_slice(as_le16(list).as_flattened());
        }
        (ContainerKind::Array, ContainerRef::Runs(_)) => {
            container.for_each(|slot| out.extend_from_slice(&slot.to_le_bytes()));
        }
        (ContainerKind::Bitset, ContainerRef::Bitset(b)) => {
            out.extend_from_slice(b.bits().as_flattened());
        }
        (ContainerKind::Bitset, _) => {
            let mut scratch = super::Scratch::new();
            scratch.or(container);
            out.extend_from_slice(scratch.bits().as_flattened());
        }
        (ContainerKind::Runs, ContainerRef::Runs(r)) => {
            push_run_count(r.run_count(), out);
            out.extend_from_slice(r.pairs().as_flattened());
        }
        (ContainerKind::Runs, _) => push_runs(container, out),
    }
    kind
}

#[expect(clippy::cast_possible_truncation, reason = "a chunk has at most 32,768 runs")]
fn push_run_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(count as u16).to_le_bytes());
}

fn push_runs(container: ContainerRef<'_>, out: &mut Vec<u8>) {
    push_run_count(container.run_count() as usize, out);
    let mut open: Option<(u16, u16)> = None;
    let mut push = |run: (u16, u16)| out.extend_from_slice(&run_pair(run.0, run.1));
    container.for_each(|slot| match &mut open {
        Some((_, last)) if *last + 1 == slot => *last = slot,
        _ => {
            if let Some(run) = open.replace((slot, slot)) {
                push(run);
            }
        }
    });
    if let Some(run) = open {
        push(run);
    }
}
