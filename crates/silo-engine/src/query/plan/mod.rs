//! A predicate becomes a tree of bitmaps, by what is stored.
//!
//! Leaves are resolved to stored bitmaps, or to bitmaps that are made for the query (`leaves.rs`). Conjunctions are sorted by
//! the number of slots of their parts, negated parts are taken away from the others, what is
//! known to be empty ends the branch.

mod explain;
mod leaves;

use std::ops::RangeInclusive;

use bitmap_silo::store::{PostingLeaf, StoredBitmap};
use bitmap_silo::{BitmapBuf, Expr, Query};

use super::ranges;
use crate::engine::View;
use crate::engine::layout::State;
use crate::error::{Error, Result};
use crate::filter::{FieldRef, Leaf, Predicate, Test};
use crate::schema::{Field, FieldType, Schema};
use explain::{describe, describe_all};

pub use explain::Explain;

/// What matches, as a tree of bitmaps.
#[derive(Debug)]
pub(super) struct Plan<'v> {
    node: Node<'v>,
    /// What the part is, for people.
    label: String,
}

#[derive(Debug)]
enum Node<'v> {
    Nothing,
    Stored(Box<StoredBitmap<'v>>),
    /// Slots of a value in postings.
    Postings(PostingLeaf<'v>),
    /// Made for the query.
    Made(BitmapBuf),
    And {
        keep: Vec<Plan<'v>>,
        remove: Vec<Plan<'v>>,
    },
    Or(Vec<Plan<'v>>),
    /// Slots of values of a field with one value a record: no slot is in two of the parts.
    OneOf(Vec<Plan<'v>>),
}

/// Parts of a [`Node::OneOf`] up to which a conjunction with it is counted once for each part: a count of a product
/// writes nothing, a union does.
const COUNTED_APART: usize = 6;

/// A flag is tested by its other value where that one has so many times fewer records.
const DENSE_RATIO: u64 = 16;

/// What is in all of `kept` and in none of `removed`.
fn conjunction<'a>(mut kept: Vec<Expr<'a>>, removed: &'a [Plan<'_>]) -> Expr<'a> {
    let kept = if kept.len() == 1 { kept.swap_remove(0) } else { Expr::And(kept) };
    match removed {
        [] => kept,
        [one] => kept.and_not(one.expr()),
        many => kept.and_not(Expr::or(many.iter().map(Plan::expr))),
    }
}

/// The slots of any of the parts, which are values of one field.
fn values_of<'v>(field: &Field, mut parts: Vec<Plan<'v>>) -> Node<'v> {
    match parts.len() {
        0 => Node::Nothing,
        1 => parts.swap_remove(0).node,
        _ if field.multi => Node::Or(parts),
        _ => Node::OneOf(parts),
    }
}

impl<'v> Plan<'v> {
    fn new(node: Node<'v>, label: impl Into<String>) -> Self {
        Self { node, label: label.into() }
    }

    /// Makes the plan of a predicate.
    pub(super) fn of(view: &'v View<'_>, predicate: &Predicate) -> Result<Self> {
        let planner = Planner { view, schema: view.engine.schema() };
        planner.plan(predicate)
    }

    /// True if it is known without a look at chunks that nothing matches.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.node, Node::Nothing)
    }

    /// The expression to be evaluated.
    pub(super) fn expr(&self) -> Expr<'_> {
        match &self.node {
            Node::Nothing => Expr::or([]),
            Node::Stored(bitmap) => bitmap.view().into(),
            Node::Postings(leaf) => leaf.view().into(),
            Node::Made(bitmap) => bitmap.into(),
            Node::Or(parts) | Node::OneOf(parts) => Expr::or(parts.iter().map(Plan::expr)),
            Node::And { keep, remove } => conjunction(keep.iter().map(Plan::expr).collect(), remove),
        }
    }

    /// Number of slots at most, without a look at chunks.
    pub(super) fn estimate(&self) -> u64 {
        match &self.node {
            Node::Nothing => 0,
            Node::Stored(bitmap) => bitmap.len_bound(),
            Node::Postings(leaf) => leaf.view().len_bound(),
            Node::Made(bitmap) => bitmap.len(),
            Node::Or(parts) | Node::OneOf(parts) => parts.iter().map(Plan::estimate).sum(),
            Node::And { keep, .. } => keep.iter().map(Plan::estimate).min().unwrap_or(0),
        }
    }

    /// Number of matching slots.
    pub(super) fn count(&self, slot_count: u64) -> u64 {
        match &self.node {
            Node::Nothing => 0,
            Node::Stored(bitmap) => bitmap.len(),
            Node::Postings(leaf) => leaf.view().len(),
            Node::Made(bitmap) => bitmap.len(),
            Node::OneOf(parts) => parts.iter().map(|part| part.count(slot_count)).sum(),
            Node::And { keep, remove } => {
                let few = |plan: &Plan<'_>| matches!(&plan.node, Node::OneOf(parts) if parts.len() <= COUNTED_APART);
                let apart = keep.iter().position(few).and_then(|at| Some((at, keep.get(at)?)));
                let Some((at, Plan { node: Node::OneOf(parts), .. })) = apart else {
                    return Query::new(self.expr(), slot_count).count();
                };
                let others =
                    || keep.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, plan)| plan.expr());
                let products = parts.iter().map(|part| others().chain([part.expr()]).collect());
                products.map(|product| Query::new(conjunction(product, remove), slot_count).count()).sum()
            }
            Node::Or(_) => Query::new(self.expr(), slot_count).count(),
        }
    }
}

struct Planner<'v, 'e> {
    view: &'v View<'e>,
    schema: &'v Schema,
}

impl<'v> Planner<'v, '_> {
    fn plan(&self, predicate: &Predicate) -> Result<Plan<'v>> {
        match predicate {
            Predicate::All => self.alive(),
            Predicate::Nothing => Ok(Plan::new(Node::Nothing, "nothing")),
            Predicate::Leaf(leaf) => self.and(std::slice::from_ref(predicate), Some(leaf)),
            Predicate::And(parts) => self.and(parts, None),
            Predicate::Or(parts) => self.or(parts),
        }
    }

    fn alive(&self) -> Result<Plan<'v>> {
        Ok(Plan::new(Node::Stored(Box::new(self.view.state(State::Alive)?)), "all records"))
    }

    fn or(&self, parts: &[Predicate]) -> Result<Plan<'v>> {
        let mut plans = Vec::with_capacity(parts.len());
        for part in parts {
            let plan = self.plan(part)?;
            if !plan.is_nothing() {
                plans.push(plan);
            }
        }
        Ok(match plans.len() {
            0 => Plan::new(Node::Nothing, "any of nothing"),
            1 => plans.swap_remove(0),
            _ => Plan::new(Node::Or(plans), "any of"),
        })
    }

    /// A conjunction. What is on columns alone comes last, where it only has to be looked at for what is left.
    fn and(&self, parts: &[Predicate], only: Option<&Leaf>) -> Result<Plan<'v>> {
        if contradicts(self.schema, parts) {
            return Ok(Plan::new(Node::Nothing, "a contradiction"));
        }
        let (mut keep, mut remove, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        // Flags that nearly all records have, and what to take away in their place.
        let mut dense = Vec::new();
        for part in parts {
            match part {
                Predicate::Leaf(leaf) => {
                    if let Some((at, range)) = self.column_range(leaf)? {
                        ranges.push((at, range, leaf));
                        continue;
                    }
                    let found = self.leaf(leaf)?;
                    if !leaf.negated {
                        match self.rare_complement(leaf, &found)? {
                            Some(rare) => dense.push((found, rare)),
                            None => keep.push(found),
                        }
                        continue;
                    }
                    if !found.is_nothing() {
                        remove.push(found);
                    }
                    // What is null is not known to fail.
                    if leaf.test != Test::Null {
                        remove.extend(self.nulls(leaf.field)?);
                    }
                }
                other => keep.push(self.plan(other)?),
            }
            if keep.last().is_some_and(Plan::is_nothing) {
                return Ok(Plan::new(Node::Nothing, describe_all(self.schema, parts)));
            }
        }
        for (found, rare) in dense {
            if keep.is_empty() {
                keep.push(found);
            } else {
                remove.extend(rare);
            }
        }
        keep.sort_by_cached_key(Plan::estimate);
        remove.sort_by_cached_key(|plan| std::cmp::Reverse(plan.estimate()));
        let label = only.map_or_else(|| "all of".to_owned(), |leaf| describe(self.schema, leaf));
        let base = if keep.is_empty() && remove.is_empty() {
            None
        } else {
            if keep.is_empty() {
                keep.push(self.alive()?);
            }
            Some(if remove.is_empty() && keep.len() == 1 {
                keep.swap_remove(0)
            } else {
                Plan::new(Node::And { keep, remove }, label.clone())
            })
        };
        if ranges.is_empty() {
            return base.map_or_else(|| self.alive(), Ok);
        }
        let mut columns = Vec::with_capacity(ranges.len());
        for (at, range, leaf) in &ranges {
            columns.push((self.sort_column(*at)?, range.clone(), leaf.negated));
        }
        let made = match &base {
            Some(base) => ranges::within(&Query::new(base.expr(), self.view.slot_count()), &columns)?,
            None => ranges::alone(&columns)?,
        };
        let parts: Vec<String> = ranges.iter().map(|(_, _, leaf)| describe(self.schema, leaf)).collect();
        let label = match base {
            Some(base) => format!("{}, then {}", base.label_of_parts(), parts.join(" and ")),
            None => parts.join(" and "),
        };
        Ok(if made.is_empty() { Plan::new(Node::Nothing, label) } else { Plan::new(Node::Made(made), label) })
    }

    /// The range of sort keys that a leaf on a field with a column, and with nothing better for this test, asks for.
    fn column_range(&self, leaf: &Leaf) -> Result<Option<(FieldRef, RangeInclusive<u64>)>> {
        let range = match &leaf.test {
            Test::Range(low, high) => *low..=*high,
            Test::Keys(keys) => match keys.as_slice() {
                [key] => *key..=*key,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let FieldRef::Field(at) = leaf.field else {
            // A single id is a look-up, and a record that has another is not null.
            let is_range = matches!(leaf.test, Test::Range(..)) && !self.schema.id.is_string();
            return Ok(is_range.then_some((FieldRef::Id, range)));
        };
        let indexes = self.view.indexes(at)?;
        let is_key = matches!(leaf.test, Test::Keys(_));
        let better = is_key && (indexes.filter.is_some() || indexes.high.is_some());
        Ok((indexes.sort.is_some() && !better).then_some((leaf.field, range)))
    }

    fn sort_column(&self, field: FieldRef) -> Result<crate::engine::Column<'v>> {
        match field {
            FieldRef::Id => self.view.ids(),
            FieldRef::Field(at) => match &self.view.indexes(at)?.sort {
                Some(index) => self.view.column(index),
                None => Err(Error::Query(format!("{:?} has no column", field.name(self.schema)))),
            },
        }
    }

    /// Where a test holds for nearly all records: the few with the other value, and those without any. A list
    /// is erased from a chunk faster than runs are cut out.
    fn rare_complement(&self, leaf: &Leaf, found: &Plan<'v>) -> Result<Option<Vec<Plan<'v>>>> {
        let (Test::Keys(keys), FieldRef::Field(at)) = (&leaf.test, leaf.field) else { return Ok(None) };
        let (Some(field), [key], Some(index)) =
            (self.schema.fields.get(at), keys.as_slice(), &self.view.indexes(at)?.filter)
        else {
            return Ok(None);
        };
        if field.kind != FieldType::Bool || field.multi {
            return Ok(None);
        }
        let other = self.view.reader().bitmap(index, u32::from(*key == 0))?;
        if other.len_bound().saturating_mul(DENSE_RATIO) > found.estimate() {
            return Ok(None);
        }
        let label = format!("{} = {}", field.name, *key == 0);
        let mut rare: Vec<Plan<'v>> = self.nulls(leaf.field)?.into_iter().collect();
        if !other.is_empty() {
            rare.push(Plan::new(Node::Stored(Box::new(other)), label));
        }
        Ok(Some(rare))
    }

    /// Records without a value in a field; nothing where there is none.
    fn nulls(&self, field: FieldRef) -> Result<Option<Plan<'v>>> {
        let Some(field) = self.field(field) else { return Ok(None) };
        let nulls = self.view.state(State::Null(field.number()))?;
        let label = format!("{} IS NULL", field.name);
        Ok((!nulls.is_empty()).then(|| Plan::new(Node::Stored(Box::new(nulls)), label)))
    }

    fn field(&self, field: FieldRef) -> Option<&'v Field> {
        match field {
            FieldRef::Id => None,
            FieldRef::Field(at) => self.schema.fields.get(at),
        }
    }
}

impl Plan<'_> {
    fn label_of_parts(&self) -> String {
        match &self.node {
            Node::And { keep, remove } => {
                let not = remove.iter().map(|part| format!("NOT {}", part.label));
                let parts: Vec<String> = keep.iter().map(|part| part.label.clone()).chain(not).collect();
                parts.join(" AND ")
            }
            _ => self.label.clone(),
        }
    }
}

/// Whether two leaves of a conjunction exclude each other.
fn contradicts(schema: &Schema, parts: &[Predicate]) -> bool {
    let leaves: Vec<&Leaf> = parts
        .iter()
        .filter_map(|part| if let Predicate::Leaf(leaf) = part { Some(leaf) } else { None })
        .collect();
    let multi = |field: FieldRef| match field {
        FieldRef::Id => false,
        FieldRef::Field(at) => schema.fields.get(at).is_none_or(|field| field.multi),
    };
    let disjoint = |x: &Leaf, y: &Leaf| match (&x.test, &y.test) {
        _ if x.negated || y.negated => x.test == y.test && x.negated != y.negated,
        (Test::Null, Test::Null) => false,
        (Test::Null, _) | (_, Test::Null) => true,
        _ if multi(x.field) => false,
        (Test::Keys(x), Test::Keys(y)) => !x.iter().any(|key| y.binary_search(key).is_ok()),
        (Test::Texts(x), Test::Texts(y)) => !x.iter().any(|text| y.binary_search(text).is_ok()),
        (Test::Range(low, high), Test::Range(low_2, high_2)) => high < low_2 || high_2 < low,
        (Test::Keys(keys), Test::Range(low, high)) | (Test::Range(low, high), Test::Keys(keys)) => {
            !keys.iter().any(|key| (low..=high).contains(&key))
        }
        _ => false,
    };
    leaves
        .iter()
        .enumerate()
        .any(|(at, x)| leaves.iter().take(at).any(|y| x.field == y.field && disjoint(x, y)))
}
