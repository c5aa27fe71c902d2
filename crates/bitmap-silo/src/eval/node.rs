//! The compiled expression and how it moves over the chunks.

use smallvec::SmallVec;

use super::product::{Factor, Want, product};
use super::tally::Tally;
use crate::container::chunk::{ChunkBuf, Form, PooledChunk, Side};
use crate::container::{CHUNK_SLOTS, ContainerRef};
use crate::expr::Expr;
use crate::kernels::Le16;
use crate::source::Source;
use crate::view::{BitmapView, Bound};

/// A compiled expression: a leaf, or an operation with a buffer for its result.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "leaves are most nodes, and are walked in place")]
pub(super) enum Node<'a> {
    Leaf { source: Source<'a>, id: usize },
    Product(Box<Product<'a>>),
    Tally(Box<Tally<'a>>),
}

/// What a compilation needs to know.
#[derive(Debug)]
pub(super) struct Compiler {
    /// Number of slots of the universe.
    pub(super) universe: u64,
    /// Leaves numbered so far, in the order of the expression.
    pub(super) leaf_count: usize,
}

impl Compiler {
    /// Compiles an expression.
    pub(super) fn compile<'a>(&mut self, expr: &Expr<'a>) -> Node<'a> {
        match expr {
            Expr::Bitmap(view) => self.leaf(view),
            Expr::AtLeast(0, _) => self.everything(),
            Expr::AtLeast(1, operands) => self.product(&Expr::Or(operands.clone())),
            Expr::AtLeast(count, operands) if *count == operands.len() => {
                self.product(&Expr::And(operands.clone()))
            }
            Expr::AtLeast(count, operands) => {
                let members = operands.iter().map(|operand| self.member(operand)).collect();
                Node::Tally(Box::new(Tally::at_least(*count, members)))
            }
            Expr::Xor(operands) => {
                let members = operands.iter().map(|operand| self.member(operand)).collect();
                Node::Tally(Box::new(Tally::parity(members)))
            }
            Expr::Or(operands) if operands.is_empty() => {
                Node::Leaf { source: Source::new(&BitmapView::EMPTY), id: usize::MAX }
            }
            Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::AndNot(..) => self.product(expr),
        }
    }

    fn leaf<'a>(&mut self, view: &BitmapView<'a>) -> Node<'a> {
        self.leaf_count += 1;
        Node::Leaf { source: Source::new(view), id: self.leaf_count - 1 }
    }

    fn member<'a>(&mut self, expr: &Expr<'a>) -> Member<'a> {
        Member { node: self.compile(expr), next: Some(0), active: false }
    }

    /// The universe as a leaf that counts as none of the expression's.
    fn everything<'a>(&self) -> Node<'a> {
        let last = self.universe.saturating_sub(1);
        let view = if self.universe == 0 {
            BitmapView::EMPTY
        } else {
            BitmapView::range(0, u32::try_from(last).unwrap_or(u32::MAX))
        };
        Node::Leaf { source: Source::new(&view), id: usize::MAX }
    }

    fn product<'a>(&mut self, expr: &Expr<'a>) -> Node<'a> {
        let mut clauses = Vec::new();
        let mut within_universe = false;
        self.conjoin(expr, false, &mut clauses, &mut within_universe);
        if within_universe || clauses.iter().all(|clause| clause.negated) {
            let member = Member { node: self.everything(), next: Some(0), active: false };
            clauses.push(ClauseNode { members: vec![member], negated: false });
        }
        // Positive clauses lead, the rarest first: it rules out most.
        clauses.sort_by_key(|clause| (clause.negated, clause.chunk_estimate()));
        Node::Product(Box::new(Product { clauses, buf: PooledChunk::take(), lent: None }))
    }

    /// Adds `expr`, or its complement, to a conjunction.
    fn conjoin<'a>(
        &mut self,
        expr: &Expr<'a>,
        negated: bool,
        clauses: &mut Vec<ClauseNode<'a>>,
        within_universe: &mut bool,
    ) {
        match (expr, negated) {
            (Expr::And(operands), false) => {
                *within_universe |= operands.is_empty();
                for operand in operands {
                    self.conjoin(operand, false, clauses, within_universe);
                }
            }
            (Expr::Not(operand), _) => {
                // Twice negated, it must still not leave the universe.
                *within_universe = true;
                self.conjoin(operand, !negated, clauses, within_universe);
            }
            (Expr::AndNot(keep, remove), false) => {
                self.conjoin(keep, false, clauses, within_universe);
                // What is outside the universe is not in `remove` if that is a negation, and
                // stays: no double negation to be cancelled here.
                if let Expr::Or(operands) = &**remove {
                    let members = operands.iter().map(|operand| self.member(operand)).collect();
                    clauses.push(ClauseNode { members, negated: true });
                } else {
                    let members = vec![self.member(remove)];
                    clauses.push(ClauseNode { members, negated: true });
                }
            }
            (Expr::Or(operands), _) => {
                let members = operands.iter().map(|operand| self.member(operand)).collect();
                clauses.push(ClauseNode { members, negated });
            }
            (other, _) => {
                let members = vec![self.member(other)];
                clauses.push(ClauseNode { members, negated });
            }
        }
    }
}

/// An operand with its position.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) node: Node<'a>,
    /// The first key at or after the last one asked for that may have slots.
    pub(super) next: Option<u16>,
    /// Whether the chunk under way has slots here.
    pub(super) active: bool,
}

impl Member<'_> {
    pub(super) fn rewind(&mut self) {
        self.next = Some(0);
        self.node.rewind();
    }

    /// The first key at or after `key` that may have slots.
    #[inline]
    pub(super) fn seek(&mut self, key: u16) -> Option<u16> {
        if self.next? < key || (self.next == Some(0) && key == 0) {
            self.next = self.node.seek(key);
        }
        self.next
    }

    /// Loads the chunk of `key`; answers its cardinality.
    #[inline]
    pub(super) fn load(&mut self, key: u16) -> u32 {
        let cardinality = if self.seek(key) == Some(key) { self.node.load(key) } else { 0 };
        self.active = cardinality != 0;
        cardinality
    }
}

/// A union of operands, negated or not.
#[derive(Debug)]
struct ClauseNode<'a> {
    members: Vec<Member<'a>>,
    negated: bool,
}

impl ClauseNode<'_> {
    fn chunk_estimate(&self) -> u64 {
        self.members.iter().map(|member| member.node.chunk_estimate()).sum()
    }

    fn seek(&mut self, key: u16) -> Option<u16> {
        match &mut self.members[..] {
            [one] => one.seek(key),
            members => members.iter_mut().filter_map(|member| member.seek(key)).min(),
        }
    }

    /// The values of the chunk under way, where one operand has a handful of them.
    fn handful(&self) -> Option<&[Le16]> {
        let [Member { node, active: true, .. }] = &self.members[..] else {
            return None;
        };
        match node.container() {
            ContainerRef::Array(list) if list.values().len() <= BY_VALUE_MAX => Some(list.values()),
            _ => None,
        }
    }

    /// Loads the members; answers whether none has slots, or one has all.
    fn load(&mut self, key: u16) -> Extent {
        let mut extent = Extent::Empty;
        for member in &mut self.members {
            match member.load(key) {
                0 => {}
                CHUNK_SLOTS => return Extent::Full,
                _ => extent = Extent::Partial,
            }
        }
        extent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Empty,
    Partial,
    Full,
}

/// A conjunction of clauses.
#[derive(Debug)]
pub(super) struct Product<'a> {
    /// Positive ones first, by how many chunks they may have.
    clauses: Vec<ClauseNode<'a>>,
    buf: PooledChunk,
    /// Clause and member whose container is the result, where that is one operand's.
    lent: Option<(usize, usize)>,
}

impl Product<'_> {
    /// The first key at or after `key` at which all positive clauses may have slots.
    fn seek(&mut self, mut key: u16) -> Option<u16> {
        'again: loop {
            for clause in &mut self.clauses {
                if clause.negated {
                    break;
                }
                let found = clause.seek(key)?;
                if found > key {
                    key = found;
                    continue 'again;
                }
            }
            return Some(key);
        }
    }

    fn evaluate(&mut self, key: u16, want: Want) -> u32 {
        self.lent = None;
        self.buf.form = Form::Empty;
        let mut used: SmallVec<[usize; 8]> = SmallVec::new();
        let Some((rarest, others)) = self.clauses.split_first_mut() else {
            unreachable!("a conjunction has a positive clause");
        };
        let extent = rarest.load(key);
        if let Some(values) = rarest.handful() {
            return by_value(values, others, key, &mut self.buf, want);
        }
        for (index, clause) in self.clauses.iter_mut().enumerate() {
            let loaded = if index == 0 { extent } else { clause.load(key) };
            match (loaded, clause.negated) {
                (Extent::Empty, false) | (Extent::Full, true) => return 0,
                (Extent::Empty, true) | (Extent::Full, false) => {}
                (Extent::Partial, _) => used.push(index),
            }
        }
        let Self { clauses, buf, lent } = self;
        if let [index] = used[..]
            && let Some(clause) = clauses.get(index).filter(|clause| !clause.negated)
        {
            // A union with one operand here is that operand.
            let mut active = clause.members.iter().enumerate().filter(|(_, m)| m.active);
            if let (Some((at, member)), None) = (active.next(), active.next()) {
                *lent = Some((index, at));
                return member.node.container().cardinality();
            }
        }
        let mut members: SmallVec<[ContainerRef<'_>; 12]> = SmallVec::new();
        let mut bounds: SmallVec<[(usize, bool); 8]> = SmallVec::new();
        for clause in used.iter().filter_map(|index| clauses.get(*index)) {
            let active = clause.members.iter().filter(|member| member.active);
            members.extend(active.map(|member| member.node.container()));
            bounds.push((members.len(), clause.negated));
        }
        let (mut rest, mut start) = (&members[..], 0);
        let factors: SmallVec<[Factor<'_>; 8]> = bounds
            .iter()
            .map(|(end, negated)| {
                let (members, after) = rest.split_at((end - start).min(rest.len()));
                (rest, start) = (after, *end);
                Factor { members, negated: *negated }
            })
            .collect();
        product(&factors, buf, want)
    }

    fn container(&self) -> ContainerRef<'_> {
        match self.lent {
            Some((clause, member)) => self
                .clauses
                .get(clause)
                .and_then(|clause| clause.members.get(member))
                .map_or(ContainerRef::EMPTY, |member| member.node.container()),
            None => self.buf.container(),
        }
    }
}

/// Most values that are asked about one by one.
const BY_VALUE_MAX: usize = 16;

/// Asks the clauses about each of a few values; answers how many are left. They are in the buffer where they
/// are wanted.
fn by_value(values: &[Le16], others: &mut [ClauseNode<'_>], key: u16, buf: &mut ChunkBuf, want: Want) -> u32 {
    // One bit for each value: no branch waits for what a container says.
    let mut left = (1_u32 << values.len()) - 1;
    for clause in others {
        let mut found = 0;
        for member in &mut clause.members {
            if member.load(key) != 0 {
                found |= member.node.container().find_each(values);
            }
        }
        left &= if clause.negated { !found } else { found };
        if left == 0 {
            break;
        }
    }
    if want == Want::Slots {
        let mut len = 0;
        for (at, value) in values.iter().enumerate() {
            if let Some(to) = buf.left.get_mut(len) {
                *to = u16::from_le_bytes(*value);
            }
            len += usize::from(left >> at & 1 == 1);
        }
        buf.form = Form::List { side: Side::Left, len };
    }
    left.count_ones()
}

impl<'a> Node<'a> {
    /// The first key at or after `key` at which there may be slots. Keys must not descend.
    #[inline]
    pub(super) fn seek(&mut self, key: u16) -> Option<u16> {
        match self {
            Self::Leaf { source, .. } => source.seek(key),
            Self::Product(node) => node.seek(key),
            Self::Tally(node) => node.seek(key),
        }
    }

    /// Moves back before the first chunk.
    pub(super) fn rewind(&mut self) {
        match self {
            Self::Leaf { source, .. } => source.rewind(),
            Self::Product(node) => {
                node.clauses.iter_mut().flat_map(|clause| &mut clause.members).for_each(Member::rewind);
            }
            Self::Tally(node) => node.rewind(),
        }
    }

    /// Evaluates the chunk of `key`, which `seek` answered; answers its cardinality.
    #[inline]
    pub(super) fn load(&mut self, key: u16) -> u32 {
        match self {
            Self::Leaf { source, .. } => source.load(key),
            Self::Product(node) => node.evaluate(key, Want::Slots),
            Self::Tally(node) => node.evaluate(key, Want::Slots),
        }
    }

    /// Counts the chunk of `key`, which `seek` answered, without keeping its slots.
    pub(super) fn count(&mut self, key: u16) -> u32 {
        match self {
            Self::Leaf { source, .. } => source.load(key),
            Self::Product(node) => node.evaluate(key, Want::Count),
            Self::Tally(node) => node.evaluate(key, Want::Count),
        }
    }

    /// The chunk loaded last.
    #[inline]
    pub(super) fn container(&self) -> ContainerRef<'_> {
        match self {
            Self::Leaf { source, .. } => source.container(),
            Self::Product(node) => node.container(),
            Self::Tally(node) => node.container(),
        }
    }

    /// About how many chunks may have slots.
    fn chunk_estimate(&self) -> u64 {
        match self {
            Self::Leaf { source, .. } => source.view().chunk_estimate(),
            Self::Product(node) => {
                let positive = node.clauses.iter().filter(|clause| !clause.negated);
                positive.map(ClauseNode::chunk_estimate).min().unwrap_or(0)
            }
            Self::Tally(node) => node.members().iter().map(|member| member.node.chunk_estimate()).sum(),
        }
    }

    /// About how large the result can get, for reserving room.
    pub(super) fn bound(&self) -> Bound {
        let sum = |members: &[Member<'_>]| {
            members.iter().fold(Bound { containers: 0, bytes: 0 }, |sum, member| {
                let bound = member.node.bound();
                Bound {
                    containers: (sum.containers + bound.containers).min(1 << 16),
                    bytes: sum.bytes + bound.bytes,
                }
            })
        };
        match self {
            Self::Leaf { source, .. } => source.view().bound(),
            Self::Product(node) => {
                let positive = node.clauses.iter().filter(|clause| !clause.negated);
                let bounds = positive.map(|clause| sum(&clause.members));
                let least = bounds.reduce(|least, bound| Bound {
                    containers: least.containers.min(bound.containers),
                    bytes: least.bytes.min(bound.bytes),
                });
                least.unwrap_or(Bound { containers: 0, bytes: 0 })
            }
            Self::Tally(node) => sum(node.members()),
        }
    }

    /// Calls `f` with number and source of every leaf of the expression.
    pub(super) fn for_each_leaf(&self, f: &mut dyn FnMut(usize, &Source<'a>)) {
        match self {
            Self::Leaf { id: usize::MAX, .. } => {}
            Self::Leaf { source, id } => f(*id, source),
            Self::Product(node) => {
                for member in node.clauses.iter().flat_map(|clause| &clause.members) {
                    member.node.for_each_leaf(f);
                }
            }
            Self::Tally(node) => {
                node.members().iter().for_each(|member| member.node.for_each_leaf(f));
            }
        }
    }
}
