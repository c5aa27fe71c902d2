//! Pending operations on a page: pairs to add and to remove, values to clear and to promote.
//!
//! Operations are kept in sorted tiers, the newest last, each more than half as long again as the
//! one behind it, or shared with older versions of the delta as they are. So extending a delta of `n` operations by
//! `m` costs O(m log n) in the long run, and a look-up searches O(log n) tiers (the logarithmic
//! method of J. Bentley and J. Saxe, "Decomposable searching problems", 1980).

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A change of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostingOp {
    /// The pair is in.
    Add {
        /// The value.
        value: u64,
        /// The slot.
        slot: u32,
    },
    /// The pair is not in.
    Remove {
        /// The value.
        value: u64,
        /// The slot.
        slot: u32,
    },
    /// Neither a pair nor the marker of the value is in.
    Clear {
        /// The value.
        value: u64,
    },
    /// The value's slots have moved to a bitmap of their own: no pair of it is in, its marker is.
    Promote {
        /// The value.
        value: u64,
        /// How many slots it has.
        slot_count: u32,
    },
}

impl PostingOp {
    /// The value that is changed.
    #[must_use]
    pub fn value(&self) -> u64 {
        match self {
            Self::Add { value, .. }
            | Self::Remove { value, .. }
            | Self::Clear { value }
            | Self::Promote { value, .. } => *value,
        }
    }
}

/// What happens to one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) value: u64,
    pub(super) slot: u32,
    pub(super) add: bool,
}

/// What happens to all pairs of a value, before operations on single ones: they go, and the
/// marker goes or comes with a slot count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) value: u64,
    pub(super) promoted: Option<u32>,
}

/// Operations of which the last on each pair counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tier {
    /// Value and slot ascend.
    pub(super) ops: Vec<Op>,
    /// Values ascend.
    pub(super) resets: Vec<Reset>,
}

/// The elements of a list sorted by value that have values in the range.
fn within<'a, T>(list: &'a [T], range: &RangeInclusive<u64>, value: impl Fn(&T) -> u64) -> &'a [T] {
    let from = list.partition_point(|element| value(element) < *range.start());
    let rest = list.get(from..).unwrap_or(&[]);
    let to = rest.partition_point(|element| value(element) <= *range.end());
    rest.get(..to).unwrap_or(&[])
}

impl Tier {
    fn len(&self) -> usize {
        self.ops.len() + self.resets.len()
    }

    fn ops_in(&self, range: &RangeInclusive<u64>) -> &[Op] {
        within(&self.ops, range, |op| op.value)
    }

    fn resets_in(&self, range: &RangeInclusive<u64>) -> &[Reset] {
        within(&self.resets, range, |reset| reset.value)
    }

    /// These operations, then the newer ones; O(both).
    fn then(&self, newer: &Tier) -> Tier {
        let mut ops = Vec::with_capacity(self.ops.len() + newer.ops.len());
        let mut after = newer.ops.iter().peekable();
        let mut cleared = newer.resets.iter().peekable();
        for op in &self.ops {
            while let Some(op) = after.next_if(|new| (new.value, new.slot) < (op.value, op.slot)) {
                ops.push(*op);
            }
            while cleared.next_if(|reset| reset.value < op.value).is_some() {}
            let replaced = after.peek().is_some_and(|new| (new.value, new.slot) == (op.value, op.slot));
            if !replaced && cleared.peek().is_none_or(|reset| reset.value != op.value) {
                ops.push(*op);
            }
        }
        ops.extend(after);
        let mut resets = Vec::with_capacity(self.resets.len() + newer.resets.len());
        let mut after = newer.resets.iter().peekable();
        for reset in &self.resets {
            while let Some(reset) = after.next_if(|new| new.value < reset.value) {
                resets.push(*reset);
            }
            if after.peek().is_none_or(|new| new.value != reset.value) {
                resets.push(*reset);
            }
        }
        resets.extend(after);
        Tier { ops, resets }
    }
}

/// Combined operations on one page, the last on each pair counting.
#[derive(Clone, Debug, Default)]
pub struct PostingsDelta {
    /// Oldest first; none is empty.
    tiers: Vec<Arc<Tier>>,
}

impl PostingsDelta {
    /// The delta of a sequence of operations; O(n log n).
    pub fn from_ops(ops: impl IntoIterator<Item = PostingOp>) -> Self {
        let mut ops: Vec<PostingOp> = ops.into_iter().collect();
        // Stable sorts keep the order of the operations on one value, then of those on one slot.
        ops.sort_by_key(PostingOp::value);
        let mut tier = Tier::default();
        for same in ops.chunk_by(|a, b| a.value() == b.value()) {
            let begin = tier.ops.len();
            let mut reset = None;
            for op in same {
                match *op {
                    PostingOp::Add { value, slot } => tier.ops.push(Op { value, slot, add: true }),
                    PostingOp::Remove { value, slot } => tier.ops.push(Op { value, slot, add: false }),
                    PostingOp::Clear { value } => reset = Some(Reset { value, promoted: None }),
                    PostingOp::Promote { value, slot_count } => {
                        reset = Some(Reset { value, promoted: Some(slot_count) });
                    }
                }
                if matches!(op, PostingOp::Clear { .. } | PostingOp::Promote { .. }) {
                    tier.ops.truncate(begin);
                }
            }
            tier.resets.extend(reset);
            let kept = keep_last(tier.ops.split_off(begin));
            tier.ops.extend(kept);
        }
        Self::from_tier(tier)
    }

    pub(super) fn from_tier(tier: Tier) -> Self {
        Self { tiers: if tier.len() == 0 { Vec::new() } else { vec![Arc::new(tier)] } }
    }

    /// The delta of these operations followed by newer ones: in the long run O(m log n) for `m`
    /// newer operations on `n`, which stay as they are.
    #[must_use]
    pub fn then(&self, newer: &PostingsDelta) -> PostingsDelta {
        let mut tiers = Vec::with_capacity(self.tiers.len() + newer.tiers.len());
        for tier in self.tiers.iter().chain(&newer.tiers) {
            let mut tier = Arc::clone(tier);
            while let Some(before) = tiers.pop_if(|before: &mut Arc<Tier>| before.len() / 2 <= tier.len()) {
                tier = Arc::new(before.then(&tier));
            }
            tiers.push(tier);
        }
        PostingsDelta { tiers }
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Number of operations that are kept, at most a few times as many as count; O(log n).
    #[must_use]
    pub fn op_count(&self) -> usize {
        self.tiers.iter().map(|tier| tier.len()).sum()
    }

    /// The operations as one tier, values ascending.
    pub(super) fn combined(&self) -> Cow<'_, Tier> {
        match &*self.tiers {
            [] => Cow::Owned(Tier::default()),
            [tier] => Cow::Borrowed(tier),
            [oldest, newer @ ..] => {
                // From the newest on, so that short tiers are merged before they meet long ones.
                let newest = newer.iter().rev().fold(Tier::default(), |merged, tier| tier.then(&merged));
                Cow::Owned(oldest.then(&newest))
            }
        }
    }

    /// What happens to all pairs of a value, if anything, and then to single ones, slots
    /// ascending; O(log² n) and what there is.
    pub(super) fn of(&self, value: u64) -> (Option<Reset>, Cow<'_, [Op]>) {
        let range = value..=value;
        let mut reset = None;
        let mut found: Cow<'_, [Op]> = Cow::Borrowed(&[]);
        for tier in self.tiers.iter().rev() {
            let ops = tier.ops_in(&range);
            if found.is_empty() {
                found = Cow::Borrowed(ops);
            } else if !ops.is_empty() {
                // The newer ones behind the older ones.
                found = Cow::Owned(keep_last([ops, &*found].concat()));
            }
            reset = tier.resets_in(&range).first().copied();
            if reset.is_some() {
                break;
            }
        }
        (reset, found)
    }

    /// What the operations decide about a pair; none where they leave it as it is.
    pub(super) fn get(&self, value: u64, slot: u32) -> Option<bool> {
        for tier in self.tiers.iter().rev() {
            if let Ok(at) = tier.ops.binary_search_by_key(&(value, slot), |op| (op.value, op.slot)) {
                return tier.ops.get(at).map(|op| op.add);
            }
            if tier.resets.binary_search_by_key(&value, |reset| reset.value).is_ok() {
                return Some(false);
            }
        }
        None
    }

    /// The lowest value in the range with operations.
    pub(super) fn first_value_in(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let firsts = self.tiers.iter().flat_map(|tier| {
            let op = tier.ops_in(range).first().map(|op| op.value);
            [op, tier.resets_in(range).first().map(|reset| reset.value)]
        });
        firsts.flatten().min()
    }

    /// The highest value in the range with operations.
    pub(super) fn last_value_in(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let lasts = self.tiers.iter().flat_map(|tier| {
            let op = tier.ops_in(range).last().map(|op| op.value);
            [op, tier.resets_in(range).last().map(|reset| reset.value)]
        });
        lasts.flatten().max()
    }
}

/// Sorts operations on one value by slot and keeps the last on each.
fn keep_last(mut ops: Vec<Op>) -> Vec<Op> {
    ops.sort_by_key(|op| op.slot);
    ops.dedup_by(|later, kept| {
        let same = later.slot == kept.slot;
        if same {
            kept.add = later.add;
        }
        same
    });
    ops
}
