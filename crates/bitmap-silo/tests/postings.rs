//! Postings pages, operations on them and their bytes, against a sorted set of pairs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a failed unwrap is a failed test"
)]

mod oracle;

use std::collections::{BTreeMap, BTreeSet};

use bitmap_silo::postings::{
    PageSplit, Posting, PostingOp, PostingsDelta, PostingsError, PostingsPage, PostingsView, Splits,
    build_pages, encode_splits, fold, split,
};
use oracle::rng;
use rand::Rng;
use rand::rngs::SmallRng;

/// What a page should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    pairs: BTreeSet<(u64, u32)>,
    promoted: BTreeMap<u64, u32>,
}

impl Model {
    fn apply(&mut self, op: PostingOp) {
        match op {
            PostingOp::Add { value, slot } => {
                self.pairs.insert((value, slot));
            }
            PostingOp::Remove { value, slot } => {
                self.pairs.remove(&(value, slot));
            }
            PostingOp::Clear { value } => {
                self.pairs.retain(|pair| pair.0 != value);
                self.promoted.remove(&value);
            }
            PostingOp::Promote { value, slot_count } => {
                self.pairs.retain(|pair| pair.0 != value);
                self.promoted.insert(value, slot_count);
            }
        }
    }

    fn slots(&self, value: u64) -> Vec<u32> {
        self.pairs.range((value, 0)..=(value, u32::MAX)).map(|pair| pair.1).collect()
    }

    /// Values in a range with what belongs to them.
    fn range(&self, low: u64, high: u64) -> Vec<(u64, Option<u32>, Vec<u32>)> {
        let mut values: BTreeSet<u64> =
            self.pairs.range((low, 0)..=(high, u32::MAX)).map(|pair| pair.0).collect();
        values.extend(self.promoted.range(low..=high).map(|marker| *marker.0));
        values
            .into_iter()
            .map(|value| (value, self.promoted.get(&value).copied(), self.slots(value)))
            .collect()
    }

    fn check(&self, view: PostingsView<'_>, probes: &[u64]) {
        assert_eq!(view.len(), self.pairs.len());
        assert_eq!(view.is_empty(), self.pairs.is_empty() && self.promoted.is_empty());
        let owned =
            |posting: Posting<'_>| (posting.value, posting.promoted, posting.slots.collect::<Vec<_>>());
        let all = self.range(0, u64::MAX);
        assert!(view.range(0..=u64::MAX).map(owned).eq(all.iter().cloned()));
        assert!(view.range_descending(0..=u64::MAX).map(owned).eq(all.iter().rev().cloned()));
        for value in probes.iter().copied() {
            let slots = self.slots(value);
            assert!(view.slots(value).eq(slots.iter().copied()), "slots of {value}");
            assert!(view.slots(value).rev().eq(slots.iter().rev().copied()));
            let folded = view.slots(value).fold(Vec::new(), |mut all, slot| {
                all.push(slot);
                all
            });
            assert_eq!(folded, slots);
            assert_eq!(view.count(value), slots.len());
            assert_eq!(view.slots(value).is_empty(), slots.is_empty());
            assert_eq!(view.get_unique(value), slots.first().copied());
            assert_eq!(view.promoted(value), self.promoted.get(&value).copied());
            for slot in slots.iter().take(3).flat_map(|s| [s.wrapping_sub(1), *s, s.wrapping_add(1)]) {
                let is_in = slots.contains(&slot);
                assert_eq!(view.contains(value, slot), is_in);
                assert_eq!(view.slots(value).contains(slot), is_in);
            }
            assert_eq!(view.contains(value, 77), slots.contains(&77));
        }
        for bounds in probes.windows(2) {
            let (low, high) = (bounds[0], bounds[1]);
            let (expected, count) = if low <= high {
                let count = self.pairs.range((low, 0)..=(high, u32::MAX)).count();
                (self.range(low, high), count)
            } else {
                (Vec::new(), 0)
            };
            assert_eq!(view.range_count(low..=high), count);
            assert!(view.range(low..=high).map(owned).eq(expected.iter().cloned()), "{low}..={high}");
            assert!(view.range_descending(low..=high).map(owned).eq(expected.iter().rev().cloned()));
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut delta = PostingsDelta::from_ops(
            self.promoted
                .iter()
                .map(|(value, count)| PostingOp::Promote { value: *value, slot_count: *count }),
        );
        delta = delta.then(&PostingsDelta::from_ops(
            self.pairs.iter().map(|(value, slot)| PostingOp::Add { value: *value, slot: *slot }),
        ));
        fold(&PostingsView::patched(PostingsPage::default(), &delta)).unwrap()
    }
}

/// Kinds of values and slots that come up.
fn random_pair(kind: u32, rng: &mut SmallRng) -> (u64, u32) {
    match kind % 8 {
        // Few values, many slots.
        0 => (rng.random_range(0..5), rng.random_range(0..100_000)),
        // Many values, clustered.
        1 => (rng.random_range(0..20) * 1_000_003 + rng.random_range(0..30), rng.random()),
        // Popular and rare values.
        2 => (1000 >> rng.random_range(0..10), rng.random_range(0..1 << 24)),
        3 => (rng.random(), rng.random()),
        // Ids in the order of slots, with gaps.
        4 => {
            let id = rng.random_range(0..3000_u32);
            (u64::from(id) * 8 / 7 + 900, id + 5)
        }
        // The extremes.
        5 => {
            let values = [0, 1, u64::MAX - 1, u64::MAX, 1 << 63];
            let slots = [0, 1, u32::MAX - 1, u32::MAX, 77];
            (values[rng.random_range(0..5)], slots[rng.random_range(0..5)])
        }
        // Neighbours share values, and slots are consecutive.
        7 => {
            let slot = rng.random_range(0..4000_u32);
            (u64::from(slot / 5 % 300), slot)
        }
        // Each value once.
        _ => {
            let value = rng.random_range(0..4000_u32);
            (u64::from(value), value.wrapping_mul(0x9e37_79b9))
        }
    }
}

fn random_op(kind: u32, known: &[(u64, u32)], rng: &mut SmallRng) -> PostingOp {
    let (value, slot) = if known.is_empty() || rng.random_ratio(1, 3) {
        random_pair(kind, rng)
    } else {
        known[rng.random_range(0..known.len())]
    };
    match rng.random_range(0..40) {
        0 => PostingOp::Clear { value },
        1 => PostingOp::Promote { value, slot_count: rng.random() },
        2..20 => PostingOp::Remove { value, slot },
        _ => PostingOp::Add { value, slot },
    }
}

/// Values that are in, beside those that are, and others.
fn probes(model: &Model, kind: u32, rng: &mut SmallRng) -> Vec<u64> {
    let values: Vec<u64> = model.pairs.iter().map(|pair| pair.0).collect();
    let mut probes = vec![0, u64::MAX, 5, 0];
    for _ in 0..30 {
        if let Some(value) = values.get(rng.random_range(0..values.len().max(1))) {
            probes.push(value.wrapping_add(rng.random_range(0..3)).wrapping_sub(1));
        }
        probes.push(random_pair(kind, rng).0);
    }
    probes.extend(model.promoted.keys());
    probes
}

fn random_model(kind: u32, pair_count: usize, rng: &mut SmallRng) -> Model {
    let mut model = Model::default();
    for _ in 0..pair_count {
        model.pairs.insert(random_pair(kind, rng));
    }
    for _ in 0..rng.random_range(0..3) {
        model.promoted.insert(random_pair(kind, rng).0, rng.random());
    }
    model
}

#[test]
fn pages_and_pending_operations_read_as_the_model() {
    for seed in 0..320 {
        let mut rng = rng(seed);
        let kind = seed as u32;
        let pair_count = [0, 1, 2, 40, 300, 3000][rng.random_range(0..6)];
        let mut model = random_model(kind, pair_count, &mut rng);
        let bytes = model.bytes();
        let page = PostingsPage::open(&bytes).unwrap();
        page.validate().unwrap();
        assert_eq!(page.len(), model.pairs.len());
        assert_eq!(page.value_count(), model.range(0, u64::MAX).iter().filter(|v| !v.2.is_empty()).count());
        let first = model.pairs.first().copied().into_iter();
        let first = first.chain(model.promoted.first_key_value().map(|marker| (*marker.0, 0))).min();
        assert_eq!(page.first(), first);
        let last = model.pairs.last().copied().into_iter();
        assert_eq!(page.last(), last.chain(model.promoted.last_key_value().map(|m| (*m.0, 0))).max());
        let asked = probes(&model, kind, &mut rng);
        model.check(PostingsView::from(page), &asked);
        for value in &asked {
            assert_eq!(page.count(*value), model.slots(*value).len());
            assert!(page.slots(*value).eq(model.slots(*value)));
        }

        let mut delta = PostingsDelta::default();
        for _ in 0..rng.random_range(1..8) {
            let known: Vec<(u64, u32)> = model.pairs.iter().copied().collect();
            let most = [2, 20, 400][rng.random_range(0..3)];
            let count = rng.random_range(0..most);
            let ops: Vec<PostingOp> = (0..count).map(|_| random_op(kind, &known, &mut rng)).collect();
            for op in &ops {
                model.apply(*op);
            }
            let newer = PostingsDelta::from_ops(ops);
            let mut operand = Vec::new();
            newer.encode_into(&mut operand);
            delta = delta.then(&PostingsDelta::decode(&operand).unwrap());
        }
        let view = PostingsView::patched(page, &delta);
        let asked = probes(&model, kind, &mut rng);
        model.check(view, &asked);

        // Folded, it is what was built from the same pairs.
        let folded = fold(&view).unwrap();
        assert_eq!(folded, model.bytes());
        let folded = PostingsPage::open(&folded).unwrap();
        folded.validate().unwrap();
        model.check(PostingsView::from(folded), &asked);

        // So are the operations when they have gone through bytes together.
        let mut operand = Vec::new();
        delta.encode_into(&mut operand);
        let read = PostingsDelta::decode(&operand).unwrap();
        model.check(PostingsView::patched(page, &read), &asked);
        let mut again = Vec::new();
        read.encode_into(&mut again);
        assert_eq!(again, operand);
    }
}

#[test]
fn split_pages_hold_the_same_in_order_and_about_equally() {
    for seed in 0..80 {
        let mut rng = rng(seed);
        let model = random_model(seed as u32, rng.random_range(0..2000), &mut rng);
        let bytes = model.bytes();
        let page = PostingsPage::open(&bytes).unwrap();
        let max = rng.random_range(1..300);
        let pages = split(&page.into(), max).unwrap();
        let mut joined = Model::default();
        let entries = model.pairs.len() + model.promoted.len();
        assert_eq!(pages.len(), entries.div_ceil(max));
        let mut before = None;
        for (first, bytes) in &pages {
            let part = PostingsPage::open(bytes).unwrap();
            part.validate().unwrap();
            assert_eq!(part.first(), Some(*first));
            assert!(before.is_none_or(|before| before <= *first));
            before = part.last();
            let mut size = 0;
            for posting in part.range(0..=u64::MAX) {
                if let Some(count) = posting.promoted {
                    assert!(joined.promoted.insert(posting.value, count).is_none());
                    size += 1;
                }
                for slot in posting.slots {
                    assert!(joined.pairs.insert((posting.value, slot)));
                    size += 1;
                }
            }
            assert!(size <= max && size >= 1);
        }
        assert_eq!(joined, model);
    }
}

#[test]
fn built_pages_are_those_of_the_pairs() {
    for seed in 0..24 {
        let mut rng = rng(seed);
        let pairs: BTreeSet<(u64, u32)> =
            (0..rng.random_range(1..5000)).map(|_| random_pair(seed as u32, &mut rng)).collect();
        let max = rng.random_range(1..900);
        let mut pages = Vec::new();
        // Every pair twice: it counts once.
        let twice = pairs.iter().flat_map(|pair| [*pair, *pair]);
        let count = build_pages(twice, max, |first, bytes| {
            pages.push((first, bytes.to_vec()));
            Ok::<(), PostingsError>(())
        })
        .unwrap();
        assert_eq!(count, pages.len());
        let pairs: Vec<(u64, u32)> = pairs.into_iter().collect();
        for (part, (first, bytes)) in pairs.chunks(max).zip(&pages) {
            assert_eq!(part[0], *first);
            let model = Model { pairs: part.iter().copied().collect(), promoted: BTreeMap::new() };
            assert_eq!(*bytes, model.bytes());
        }
        assert_eq!(pages.len(), pairs.len().div_ceil(max));
    }
}

#[test]
fn pairs_out_of_order_and_sink_errors_are_reported() {
    let none = |_: (u64, u32), _: &[u8]| Ok::<(), PostingsError>(());
    let error = build_pages([(5, 1), (4, 9)], 10, none).unwrap_err();
    assert_eq!(error, PostingsError::PairOrder { last: (5, 1), got: (4, 9) });
    assert!(build_pages([(5, 2), (5, 1)], 10, none).is_err());
    let full = |_: (u64, u32), _: &[u8]| Err(PostingsError::PageFull { entries: 1, max: 1 });
    assert_eq!(
        build_pages([(5, 1), (6, 1)], 1, full).unwrap_err(),
        PostingsError::PageFull { entries: 1, max: 1 }
    );
}

/// Reads everything that can be read; what is read does not matter.
fn read_all(bytes: &[u8]) {
    let Ok(page) = PostingsPage::open(bytes) else { return };
    let _ = page.validate();
    let _ = (page.first(), page.last(), page.len(), page.value_count());
    let delta = PostingsDelta::from_ops([
        PostingOp::Add { value: 3, slot: 5 },
        PostingOp::Remove { value: 900, slot: 5 },
        PostingOp::Clear { value: 901 },
        PostingOp::Add { value: u64::MAX, slot: 1 },
    ]);
    for view in [PostingsView::from(page), PostingsView::patched(page, &delta)] {
        for value in [0, 1, 3, 900, 905, 1000, 1_000_003, 1 << 63, u64::MAX] {
            let _ =
                (view.get_unique(value), view.contains(value, 77), view.count(value), view.promoted(value));
            let _ = (view.range_count(0..=value), view.range_count(value..=u64::MAX));
            let _ = view.slots(value).rev().take(10_000).count();
            let _ = view.slots(value).take(10_000).map(u64::from).sum::<u64>();
        }
        let all = || view.range(0..=u64::MAX).take(10_000);
        let _ = all().map(|posting| posting.slots.len()).fold(0, usize::wrapping_add);
        let _ = view.range_descending(7..=u64::MAX - 7).take(10_000).count();
        // A damaged count may claim millions of pairs; they are few bytes, but much work.
        if page.len() < 10_000 {
            let _ = (fold(&view), split(&view, 100));
        }
    }
}

#[test]
fn damaged_pages_are_refused_or_read_in_bounds() {
    for kind in 0..8 {
        let mut rng = rng(u64::from(kind));
        let model = random_model(kind, [150, 2500][kind as usize / 7], &mut rng);
        let bytes = model.bytes();
        for len in 0..bytes.len() {
            assert!(len == 0 || PostingsPage::open(&bytes[..len]).is_err(), "cut at {len}");
        }
        let mut damaged = bytes.clone();
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff, 1 << rng.random_range(0..8)] {
                damaged[at] ^= flip;
                read_all(&damaged);
                // What passes the full check is a page: it says the same after it was written anew.
                if let Ok(page) = PostingsPage::open(&damaged)
                    && page.validate().is_ok()
                    && page.len() < 10_000
                {
                    let again = fold(&page.into()).unwrap();
                    let again = PostingsPage::open(&again).unwrap();
                    assert_eq!((again.len(), again.value_count()), (page.len(), page.value_count()));
                }
                damaged[at] ^= flip;
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(PostingsPage::open(&longer).is_err());
    }
}

#[test]
fn damaged_operations_are_refused_or_have_one_form() {
    let mut rng = rng(9);
    for kind in 0..7 {
        let ops: Vec<PostingOp> = (0..60).map(|_| random_op(kind, &[], &mut rng)).collect();
        let mut bytes = Vec::new();
        PostingsDelta::from_ops(ops).encode_into(&mut bytes);
        let check = |bytes: &[u8]| {
            if let Ok(delta) = PostingsDelta::decode(bytes) {
                let mut again = Vec::new();
                delta.encode_into(&mut again);
                assert_eq!(again, bytes);
            }
        };
        (0..bytes.len()).for_each(|len| check(&bytes[..len]));
        let mut damaged = bytes.clone();
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                damaged[at] ^= flip;
                check(&damaged);
                damaged[at] ^= flip;
            }
        }
    }
}

#[test]
fn a_long_delta_grows_by_what_is_added() {
    let mut delta = PostingsDelta::default();
    let mut model = Model::default();
    let mut rng = rng(4);
    for _ in 0..3000 {
        let op = random_op(1, &[], &mut rng);
        model.apply(op);
        delta = delta.then(&PostingsDelta::from_ops([op]));
    }
    assert!(delta.op_count() < 6000);
    model.check(PostingsView::patched(PostingsPage::default(), &delta), &probes(&model, 1, &mut rng));
}

#[test]
fn splits_say_to_which_page_a_pair_belongs() {
    let mut rng = rng(11);
    for round in 0..60 {
        let firsts: BTreeSet<(u64, u32)> =
            (0..rng.random_range(0..30)).map(|_| random_pair(round, &mut rng)).collect();
        let entries: Vec<PageSplit> =
            firsts.iter().zip(40..).map(|(first, page)| PageSplit { first: *first, page }).collect();
        let bytes = encode_splits(entries.iter().copied()).unwrap();
        let splits = Splits::open(&bytes).unwrap();
        splits.validate().unwrap();
        assert!(splits.iter().eq(entries.iter().copied()));
        assert_eq!((splits.len(), splits.is_empty()), (entries.len(), entries.is_empty()));
        let index_of = |pair: (u64, u32)| {
            let last = entries.len().checked_sub(1)?;
            Some(entries.iter().filter(|entry| entry.first <= pair).count().saturating_sub(1).min(last))
        };
        for _ in 0..50 {
            let pair = random_pair(round, &mut rng);
            for pair in [pair, (pair.0, 0), (0, 0), (u64::MAX, u32::MAX)] {
                assert_eq!(splits.page_of(pair.0, pair.1), index_of(pair));
            }
            let high = random_pair(round, &mut rng).0;
            let range = splits.pages_of_range(pair.0..=high);
            let expected = index_of((pair.0, 0)).zip(index_of((high, u32::MAX)));
            let expected = expected.filter(|_| pair.0 <= high).map_or(0..0, |(from, to)| from..to + 1);
            assert_eq!(range, expected);
        }
        // A page that was split in two, and one that went.
        if let [first, second, ..] = &*entries {
            let between = (first.first.0, first.first.1.saturating_add(1));
            if between > first.first && between < second.first {
                let new = [*first, PageSplit { first: between, page: 7 }];
                let bytes = splits.replaced(0..1, &new).unwrap();
                let more = Splits::open(&bytes).unwrap();
                assert_eq!((more.len(), more.get(1)), (entries.len() + 1, Some(new[1])));
                assert!(more.iter().skip(2).eq(entries.iter().skip(1).copied()));
            }
            let bytes = splits.replaced(1..2, &[]).unwrap();
            assert_eq!(Splits::open(&bytes).unwrap().len(), entries.len() - 1);
            assert!(splits.replaced(0..0, &[*second]).is_err());
        }
    }
}

#[test]
fn damaged_splits_are_refused_or_read_in_bounds() {
    let entries = (0..9_u32).map(|n| PageSplit { first: (u64::from(n) * 300, n), page: n });
    let bytes = encode_splits(entries).unwrap();
    assert!((1..bytes.len()).all(|len| Splits::open(&bytes[..len]).is_err()));
    let mut damaged = bytes.clone();
    for at in 0..bytes.len() {
        for flip in 1..=255 {
            damaged[at] ^= flip;
            if let Ok(splits) = Splits::open(&damaged) {
                let _ = splits.validate();
                assert!(splits.page_of(700, 3).unwrap() < 9);
                assert!(splits.pages_of_range(300..=900).end <= 9);
                let _ = splits.replaced(2..3, &[]);
            }
            damaged[at] ^= flip;
        }
    }
}

/// The tables of the format page, compared with the bytes that are written.
#[test]
fn bytes_are_those_of_the_format_page() {
    let text = include_str!("../../../docs/format/bitmap-silo-v1.md");
    let section = text.split("## Postings page").nth(1).unwrap().split("## Media").next().unwrap();
    let row = |offset: &str, bytes: &str, start: &str| {
        assert!(section.contains(&format!("| {offset} | {bytes} | {start}")), "{offset} {bytes} {start}");
    };
    row("0", "1", "`50` |");
    row("4", "4", "u32 `n`");
    row("8", "4", "u32 `d`");
    row("12", "4", "u32 `h`");
    row("16", "8", "u64 lowest");
    row("24", "8", "u64 highest");
    row("32", "4", "u32 `r`");
    row("36", "12 h", "markers");
    row("0", "1", "`53` |");
    row("8", "16 each", "u64 value and u32 slot");
    let delta = PostingsDelta::from_ops([
        PostingOp::Promote { value: 9, slot_count: 0x0102_0304 },
        PostingOp::Add { value: 10, slot: 100 },
        PostingOp::Add { value: 11, slot: 90 },
        PostingOp::Remove { value: 11, slot: 95 },
    ]);
    let page = fold(&PostingsView::patched(PostingsPage::default(), &delta)).unwrap();
    let mut expected = vec![0x50, 1, 0, 0];
    expected.extend([2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
    expected.extend([10, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0]);
    // Two runs of one slot.
    expected.extend([2, 0, 0, 0]);
    expected.extend([9, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1]);
    // Consecutive values and single slots need no sequences; one block follows.
    expected.extend([90, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    expected.extend([0x0a, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(page, expected);
    let mut operand = Vec::new();
    delta.encode_into(&mut operand);
    // Head 2 and the count; head 4 and a slot with its kind; head 8 and two of them.
    assert_eq!(operand, [0x70, 1, 9, 2, 0x84, 0x86, 0x88, 0x08, 0, 4, 201, 1, 0, 8, 181, 1, 8]);
    let splits = encode_splits([PageSplit { first: (3, 4), page: 5 }]).unwrap();
    assert_eq!(splits, [0x53, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0]);
}
