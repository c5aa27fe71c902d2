//! Operations that ask how many operands hold a slot: parity and threshold.

use super::node::Member;
use super::product::Want;
use crate::container::chunk::{Form, PooledChunk};
use crate::container::{ContainerRef, Scratch};
use crate::kernels::Words;

/// Parity or threshold over some operands, with a buffer for the result.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    members: Vec<Member<'a>>,
    rule: Rule,
    buf: PooledChunk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Odd,
    AtLeast(usize),
}

/// Planes of a counter per slot; enough for any number of operands.
const PLANES_MAX: usize = usize::BITS as usize;

impl<'a> Tally<'a> {
    /// Slots in an odd number of members.
    pub(super) fn parity(members: Vec<Member<'a>>) -> Self {
        Self { members, rule: Rule::Odd, buf: PooledChunk::take() }
    }

    /// Slots in at least `count` members.
    pub(super) fn at_least(count: usize, members: Vec<Member<'a>>) -> Self {
        Self { members, rule: Rule::AtLeast(count), buf: PooledChunk::take() }
    }

    pub(super) fn rewind(&mut self) {
        self.members.iter_mut().for_each(Member::rewind);
    }

    pub(super) fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The first key at or after `key` at which enough members may have slots.
    pub(super) fn seek(&mut self, key: u16) -> Option<u16> {
        let needed = match self.rule {
            Rule::Odd => 1,
            Rule::AtLeast(count) => count,
        };
        let keys = self.members.iter_mut().filter_map(|member| member.seek(key));
        let mut keys: smallvec::SmallVec<[u16; 16]> = keys.collect();
        // Below the key at which the `needed`-th member is, too few have any slots.
        keys.sort_unstable();
        keys.get(needed - 1).copied()
    }

    pub(super) fn evaluate(&mut self, key: u16, _: Want) -> u32 {
        self.buf.form = Form::Empty;
        let active = self.members.iter_mut().filter_map(|m| (m.load(key) != 0).then_some(())).count();
        match self.rule {
            Rule::AtLeast(count) if active < count => return 0,
            _ if active == 0 => return 0,
            Rule::Odd => self.parity_of_chunk(),
            Rule::AtLeast(count) => self.threshold_of_chunk(count, active),
        }
        let cardinality = self.buf.words.cardinality();
        self.buf.form = Form::Words { cardinality };
        cardinality
    }

    fn parity_of_chunk(&mut self) {
        self.buf.words.clear();
        for member in self.members.iter().filter(|member| member.active) {
            self.buf.words.xor(member.node.container());
        }
    }

    /// Adds the members up in counters that lie across bitsets, one plane per binary digit, and
    /// compares the counters with the threshold digit by digit.
    fn threshold_of_chunk(&mut self, count: usize, active: usize) {
        let plane_count = (usize::BITS - active.leading_zeros()) as usize;
        debug_assert!(plane_count <= PLANES_MAX, "a counter of the operands");
        let crate::container::chunk::ChunkBuf { words, extra, .. } = &mut *self.buf;
        while extra.len() < plane_count {
            extra.push(Scratch::new());
        }
        let planes = extra.get_mut(..plane_count).unwrap_or(&mut []);
        planes.iter_mut().for_each(Scratch::clear);
        for member in self.members.iter().filter(|member| member.active) {
            words.load(member.node.container());
            add(planes, words.words_mut());
        }
        // Greater so far, from the highest digit down; equal so far is kept beside it.
        let mut equal = Scratch::new();
        equal.fill();
        words.clear();
        for (digit, plane) in planes.iter().enumerate().rev() {
            let one = count >> digit & 1 == 1;
            let greater = words.words_mut().iter_mut();
            for ((greater, equal), plane) in greater.zip(equal.words_mut()).zip(plane.words()) {
                if one {
                    *equal &= plane;
                } else {
                    *greater |= *equal & plane;
                    *equal &= !plane;
                }
            }
        }
        words.or(ContainerRef::Bitset(equal.as_bitset(0)));
    }

    pub(super) fn container(&self) -> ContainerRef<'_> {
        self.buf.container()
    }
}

/// Adds one to the counters of the slots in `carry`.
fn add(planes: &mut [Scratch], carry: &mut Words) {
    for plane in planes {
        for (plane, carry) in plane.words_mut().iter_mut().zip(carry.iter_mut()) {
            let sum = *plane ^ *carry;
            *carry &= *plane;
            *plane = sum;
        }
    }
}
