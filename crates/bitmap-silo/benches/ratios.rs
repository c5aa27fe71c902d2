//! How this crate compares with `roaring` and `croaring`, as ratios of medians in one run.
//!
//! `cargo bench -p bitmap-silo --bench ratios` measures everything; `-- quick` runs every case
//! once or twice on small inputs, as a check that the cases work; any other word keeps only the
//! rows whose name contains it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::pedantic,
    clippy::type_complexity,
    reason = "a benchmark: a failed unwrap is a failed run"
)]

mod lab;

use std::time::Duration;

use bitmap_silo::container::Layout;
use bitmap_silo::{
    BitmapBuf, BitmapView, BitmapWriter, Delta, Expr, FrozenBitmap, Query, Rows, build_values,
    concatenate_into,
};
use croaring::Bitmap;
use lab::inputs::{Input, SMALL, independent, operands, runs};
use lab::paired::{Effort, Way, mean, medians, way};
use lab::real::{REAL_SETS, real_set};
use lab::report::{Goal, Report};
use lab::streams::two_streams;
use rand::{Rng, SeedableRng};
use roaring::{MultiOps, RoaringBitmap};

/// Rows of the large test size; the small one is that of the other benchmark.
const LARGE: u32 = 107_000_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let quick = words.iter().any(|word| word == "quick");
    let effort = if quick {
        Effort { sample: Duration::ZERO, samples: 1 }
    } else {
        Effort { sample: Duration::from_millis(4), samples: 15 }
    };
    let report = Report { effort, quick, filter: words.into_iter().find(|word| word != "quick") };
    println!("kernels: {}", bitmap_silo::instruction_set());
    open_and_probe(&report);
    from_bytes(&report);
    four_dense(&report);
    expressions(&report);
    bandwidth(&report);
    warm_operations(&report);
    pending(&report);
    merging(&report);
    rows_to_bitmaps(&report);
    field_size(&report);
}

fn view(input: &Input) -> FrozenBitmap<'_> {
    FrozenBitmap::open(&input.bytes).unwrap()
}

fn read(bytes: &[u8]) -> RoaringBitmap {
    RoaringBitmap::deserialize_unchecked_from(bytes).unwrap()
}

fn open_and_probe(report: &Report) {
    if !report.wants("open") {
        return;
    }
    let dense = Input::new(independent(report.size(LARGE), 0.4, 1));
    let few = Input::new(independent(report.size(LARGE), 1e-6, 2));
    report.row(
        "open, AND with about 107 slots",
        vec![
            way("ours", || view(&dense).and(&view(&few)).len()),
            way("roaring deserialised", || (read(&dense.bytes) & read(&few.bytes)).len()),
            way("croaring view", || dense.croaring_view().and(&few.croaring_view()).cardinality()),
        ],
        &[Goal("roaring", 40.0), Goal("croaring", 0.5)],
    );
}

/// Sets of bitmaps that are combined with their neighbours.
fn sets(report: &Report) -> Vec<(String, Vec<Input>)> {
    let small = report.size(SMALL);
    let mut sets: Vec<(String, Vec<Input>)> = Vec::new();
    for name in REAL_SETS {
        match real_set(name) {
            Some(bitmaps) => {
                sets.push((name.into(), bitmaps.into_iter().map(Input::new).collect()));
            }
            None => println!("{name}: not on this machine"),
        }
    }
    let synthetic = |name: &str, make: &dyn Fn(u64) -> RoaringBitmap| {
        (name.to_string(), (0..8).map(|seed| Input::new(make(seed))).collect())
    };
    sets.push(synthetic("dense", &|seed| independent(small, 0.3 + 0.05 * seed as f64, seed)));
    sets.push(synthetic("mixed", &|seed| independent(small, if seed % 2 == 0 { 0.2 } else { 0.02 }, seed)));
    sets.push(synthetic("sparse", &|seed| independent(small, 0.01 + 0.003 * seed as f64, seed)));
    sets.push(synthetic("runs", &|seed| runs(small, 200.0, 600.0, seed)));
    sets
}

/// Windows of neighbours, for all of a set.
fn windows(inputs: &[Input], size: usize) -> Vec<Vec<&Input>> {
    inputs.windows(size).map(|window| window.iter().collect()).collect()
}

fn from_bytes(report: &Report) {
    if !report.concerns("from bytes") {
        return;
    }
    let sets = sets(report);
    for (size, musts) in [(2, [4.5, 1.0]), (4, [4.0, 1.0])] {
        let (mut to_roaring, mut to_croaring) = (Vec::new(), Vec::new());
        for (name, inputs) in &sets {
            let row = format!("from bytes, AND of {size}: {name}");
            if !report.wants(&row) {
                continue;
            }
            let groups = windows(inputs, size);
            let ways = vec![
                way("ours", || {
                    let and = |group: &Vec<&Input>| {
                        let views: Vec<_> = group.iter().map(|input| view(input)).collect();
                        bitmap_silo::intersection_of_frozen(&views).len()
                    };
                    groups.iter().map(and).sum()
                }),
                way("roaring deserialised", || {
                    let and = |group: &Vec<&Input>| {
                        let all: Vec<_> = group.iter().map(|input| read(&input.bytes)).collect();
                        all.into_iter().reduce(|a, b| a & b).unwrap().len()
                    };
                    groups.iter().map(and).sum()
                }),
                way("roaring with serialised", || {
                    let and = |group: &Vec<&Input>| {
                        let first = read(&group[0].bytes);
                        let all = group[1..].iter().fold(first, |all, input| {
                            let bytes = std::io::Cursor::new(&input.bytes);
                            all.intersection_with_serialized_unchecked(bytes).unwrap()
                        });
                        all.len()
                    };
                    groups.iter().map(and).sum()
                }),
                way("croaring view", || {
                    let and = |group: &Vec<&Input>| {
                        let first = group[0].croaring_view().and(&group[1].croaring_view());
                        let all = group[2..].iter().fold(first, |mut all, input| {
                            all.and_inplace(&input.croaring_view());
                            all
                        });
                        all.cardinality()
                    };
                    groups.iter().map(and).sum()
                }),
            ];
            let ratios = report.row(&row, ways, &[Goal("roaring", 1.0), Goal("croaring", 0.0)]);
            to_roaring.push(ratios[0]);
            to_croaring.push(ratios[1]);
        }
        println!(
            "from bytes, AND of {size}: geometric mean  roaring ×{:.2} (must {})  croaring ×{:.2} (must {})",
            mean(&to_roaring),
            musts[0],
            mean(&to_croaring),
            musts[1]
        );
    }
}

fn four_dense(report: &Report) {
    if !report.wants("four dense") {
        return;
    }
    let inputs: Vec<Input> =
        (0..4).map(|seed| Input::new(independent(report.size(LARGE), 0.7, seed))).collect();
    report.row(
        "four dense from a mapping, AND",
        vec![
            way("ours", || bitmap_silo::intersection(inputs.iter().map(view)).len()),
            way("roaring deserialised", || {
                let all: Vec<_> = inputs.iter().map(|input| read(&input.bytes)).collect();
                all.into_iter().reduce(|a, b| a & b).unwrap().len()
            }),
            way("roaring with serialised", || {
                let all = inputs[1..].iter().fold(read(&inputs[0].bytes), |all, input| {
                    let bytes = std::io::Cursor::new(&input.bytes);
                    all.intersection_with_serialized_unchecked(bytes).unwrap()
                });
                all.len()
            }),
            way("croaring view", || {
                let mut all = inputs[0].croaring_view().and(&inputs[1].croaring_view());
                all.and_inplace(&inputs[2].croaring_view());
                all.and_inplace(&inputs[3].croaring_view());
                all.cardinality()
            }),
        ],
        &[Goal("roaring", 7.0), Goal("croaring", 3.0)],
    );
}

/// A ∧ (B ∨ C ∨ D) ∧ ¬E.
fn expression<'a>(views: &[BitmapView<'a>]) -> Expr<'a> {
    let leaf = |index: usize| Expr::bitmap(views[index]);
    Expr::and([leaf(0), Expr::or([leaf(1), leaf(2), leaf(3)])]).and_not(leaf(4))
}

/// The best ways that were found to write the expression with the peers.
fn expression_ways<'a>(inputs: &'a [Input]) -> Vec<Way<'a>> {
    let [a, b, c, d, e] = inputs else { unreachable!("five operands") };
    vec![
        way("ours", || {
            let views: Vec<BitmapView<'_>> = inputs.iter().map(|i| view(i).into()).collect();
            Query::new(expression(&views), 1 << 32).count()
        }),
        way("roaring or first", move || {
            let or = [&b.roaring, &c.roaring, &d.roaring].union();
            ((&a.roaring - &e.roaring) & or).len()
        }),
        way("roaring or first, counted", move || {
            let or = &(&b.roaring | &c.roaring) | &d.roaring;
            or.intersection_len(&(&a.roaring - &e.roaring))
        }),
        way("roaring spread", move || {
            let keep = &a.roaring - &e.roaring;
            ((&keep & &b.roaring) | (&keep & &c.roaring) | (&keep & &d.roaring)).len()
        }),
        way("roaring spread, not last", move || {
            let any = (&a.roaring & &b.roaring) | (&a.roaring & &c.roaring) | (&a.roaring & &d.roaring);
            any.difference_len(&e.roaring)
        }),
        way("croaring or first", move || {
            let or = Bitmap::fast_or(&[&b.croaring, &c.croaring, &d.croaring]);
            a.croaring.andnot(&e.croaring).and_cardinality(&or)
        }),
        way("croaring or lazily", move || {
            let mut or = b.croaring.clone();
            or.lazy_batch(|lazy| {
                lazy.or_inplace(&c.croaring, false).or_inplace(&d.croaring, false);
            });
            a.croaring.and(&or).andnot_cardinality(&e.croaring)
        }),
        way("croaring or in place", move || {
            let mut or = b.croaring.or(&c.croaring);
            or.or_inplace(&d.croaring);
            or.and_inplace(&a.croaring);
            or.andnot_cardinality(&e.croaring)
        }),
        way("croaring spread", move || {
            let keep = a.croaring.andnot(&e.croaring);
            let mut any = keep.and(&b.croaring);
            any.or_inplace(&keep.and(&c.croaring));
            any.or_inplace(&keep.and(&d.croaring));
            any.cardinality()
        }),
        way("croaring spread, not last", move || {
            let mut any = a.croaring.and(&b.croaring);
            any.or_inplace(&a.croaring.and(&c.croaring));
            any.or_inplace(&a.croaring.and(&d.croaring));
            any.andnot_cardinality(&e.croaring)
        }),
    ]
}

fn expressions(report: &Report) {
    let musts = [
        ("dense", 2.3, 1.2),
        ("mixed", 1.6, 1.8),
        ("sparse", 1.25, 1.1),
        ("rare", 7.0, 4.0),
        ("runs", 1.2, 0.95),
    ];
    for (kind, roaring, croaring) in musts {
        let name = format!("expression, {kind}");
        if report.wants(&name) {
            let inputs = operands(kind, report.size(SMALL));
            let goals = [Goal("roaring", roaring), Goal("croaring", croaring)];
            report.row(&name, expression_ways(&inputs), &goals);
        }
    }
}

fn bandwidth(report: &Report) {
    if !report.wants("bandwidth") {
        return;
    }
    let inputs = operands("dense", report.size(LARGE));
    let bytes: usize = inputs.iter().map(|input| input.bytes.len()).sum();
    // Two streams, each as long as two and a half operands, and-ed and counted.
    let words = bytes / 16;
    let streams: [Vec<u64>; 2] = [7_u64, 9].map(|seed| {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        (0..words).map(|_| rng.random()).collect()
    });
    let mut ways = vec![
        way("ours", || {
            let views: Vec<BitmapView<'_>> = inputs.iter().map(|i| view(i).into()).collect();
            std::hint::black_box(Query::new(expression(&views), 1 << 32).count());
            0
        }),
        way("two streams", || {
            std::hint::black_box(two_streams(&streams[0], &streams[1]));
            0
        }),
    ];
    let medians = medians(&mut ways, report.effort);
    let rate = |ns: f64| bytes as f64 / ns;
    println!(
        "{:<44} {:>11.2} µs  {:.1} GB/s of {:.1} GB/s by two streams: {:.0} % (must 80)",
        "bandwidth, dense expression at 107 M",
        medians[0] / 1e3,
        rate(medians[0]),
        rate(medians[1]),
        100.0 * medians[1] / medians[0]
    );
}

fn warm_operations(report: &Report) {
    if !report.concerns("warm") {
        return;
    }
    let sets = sets(report);
    let mut rng = rand::rngs::SmallRng::seed_from_u64(5);
    let mut means: Vec<(&str, Vec<f64>, Vec<f64>, [f64; 2])> = vec![
        ("intersection count", vec![], vec![], [1.2, 1.55]),
        ("wide union", vec![], vec![], [2.4, 3.8]),
        ("contains", vec![], vec![], [1.0, 1.2]),
        ("iterate", vec![], vec![], [5.0, 7.0]),
    ];
    for (name, inputs) in &sets {
        let views: Vec<FrozenBitmap<'_>> = inputs.iter().map(view).collect();
        let highest = inputs.iter().filter_map(|input| input.roaring.max()).max().unwrap_or(1);
        let probes: Vec<u32> = (0..1000).map(|_| rng.random_range(0..=highest)).collect();
        let mut buffer = vec![0; 4096];
        let rows: Vec<Vec<Way<'_>>> = vec![
            vec![
                way("ours", || {
                    let pair = |pair: &[FrozenBitmap<'_>]| pair[0].intersection_len(&pair[1]);
                    views.windows(2).map(pair).sum()
                }),
                way("roaring", || {
                    inputs.windows(2).map(|p| p[0].roaring.intersection_len(&p[1].roaring)).sum()
                }),
                way("croaring", || {
                    inputs.windows(2).map(|p| p[0].croaring.and_cardinality(&p[1].croaring)).sum()
                }),
            ],
            vec![
                way("ours", || bitmap_silo::union(views.iter().copied()).len()),
                way("roaring", || inputs.iter().map(|i| &i.roaring).union().len()),
                way("roaring in place", || {
                    let mut all = RoaringBitmap::new();
                    inputs.iter().for_each(|input| all |= &input.roaring);
                    all.len()
                }),
                way("croaring", || {
                    let all: Vec<&Bitmap> = inputs.iter().map(|input| &input.croaring).collect();
                    Bitmap::fast_or(&all).cardinality()
                }),
                way("croaring by heap", || {
                    let all: Vec<&Bitmap> = inputs.iter().map(|input| &input.croaring).collect();
                    Bitmap::fast_or_heap(&all).cardinality()
                }),
            ],
            vec![
                way("ours", || {
                    let held = |v: &FrozenBitmap<'_>| probes.iter().filter(|p| v.contains(**p)).count();
                    views.iter().map(held).sum::<usize>() as u64
                }),
                way("roaring", || {
                    let held = |i: &Input| probes.iter().filter(|p| i.roaring.contains(**p)).count();
                    inputs.iter().map(held).sum::<usize>() as u64
                }),
                way("croaring", || {
                    let held = |i: &Input| probes.iter().filter(|p| i.croaring.contains(**p)).count();
                    inputs.iter().map(held).sum::<usize>() as u64
                }),
            ],
            vec![
                way("ours", || {
                    let mut sum = 0_u64;
                    for view in &views {
                        let mut iter = view.iter();
                        loop {
                            let count = iter.next_many(&mut buffer);
                            sum += buffer[..count].iter().map(|slot| u64::from(*slot)).sum::<u64>();
                            if count < buffer.len() {
                                break;
                            }
                        }
                    }
                    sum
                }),
                way("roaring", || {
                    let sum = |i: &Input| i.roaring.iter().map(u64::from).sum::<u64>();
                    inputs.iter().map(sum).sum()
                }),
                way("croaring iterator", || {
                    let sum = |i: &Input| i.croaring.iter().map(u64::from).sum::<u64>();
                    inputs.iter().map(sum).sum()
                }),
                way("croaring batches", || {
                    let mut sum = 0_u64;
                    let mut buffer = [0_u32; 4096];
                    for input in inputs {
                        let mut cursor = input.croaring.cursor();
                        loop {
                            let count = cursor.read_many(&mut buffer);
                            sum += buffer[..count].iter().map(|slot| u64::from(*slot)).sum::<u64>();
                            if count == 0 {
                                break;
                            }
                        }
                    }
                    sum
                }),
            ],
        ];
        for (ways, (operation, roaring, croaring, _)) in rows.into_iter().zip(&mut means) {
            let row = format!("warm {operation}: {name}");
            if !report.wants(&row) {
                continue;
            }
            let ratios = report.row(&row, ways, &[Goal("roaring", 0.75), Goal("croaring", 0.75)]);
            roaring.push(ratios[0]);
            croaring.push(ratios[1]);
        }
    }
    for (operation, roaring, croaring, musts) in means {
        println!(
            "warm {operation}: geometric mean  roaring ×{:.2} (must {})  croaring ×{:.2} (must {})",
            mean(&roaring),
            musts[0],
            mean(&croaring),
            musts[1]
        );
    }
}

fn pending(report: &Report) {
    if !report.wants("pending") {
        return;
    }
    let inputs = operands("dense", report.size(SMALL));
    let mut rng = rand::rngs::SmallRng::seed_from_u64(6);
    let ops: Vec<(u32, bool)> =
        (0..10_000).map(|_| (rng.random_range(0..report.size(SMALL)), rng.random())).collect();
    let delta = Delta::from_ops(ops);
    let plain: Vec<BitmapView<'_>> = inputs.iter().map(|input| view(input).into()).collect();
    let mut patched = plain.clone();
    patched[0] = patched[0].patched(&delta);
    let cases: [(&str, Box<dyn Fn(&[BitmapView<'_>]) -> u64>); 3] = [
        ("AND with another", Box::new(|views| views[0].intersection_len(&views[1]))),
        ("AND of 2 to bitmap", Box::new(|views| views[0].and(&views[1]).len())),
        ("expression", Box::new(|views| Query::new(expression(views), 1 << 32).count())),
    ];
    for (name, work) in &cases {
        let mut ways = vec![
            way("with", || {
                std::hint::black_box(work(&patched));
                0
            }),
            way("without", || {
                std::hint::black_box(work(&plain));
                0
            }),
        ];
        let medians = medians(&mut ways, report.effort);
        println!(
            "{:<44} {:>11.2} µs  {:.2} × the time with none (must be at most 1.25)",
            format!("pending 10,000 ops, {name}"),
            medians[0] / 1e3,
            medians[0] / medians[1]
        );
    }
}

fn merging(report: &Report) {
    if !report.wants("merge") {
        return;
    }
    for (name, universe) in [("1 MB", 8_400_000), ("13 MB", LARGE)] {
        let whole = independent(report.size(universe), 0.4, 3);
        let whole = Input::new(whole);
        let mut parts: Vec<BitmapWriter> = vec![BitmapWriter::new(Layout::Smallest); 8];
        let count = view(&whole).container_count();
        for (index, (key, container)) in view(&whole).chunks().enumerate() {
            parts[index * 8 / count.max(1)].push(key, container).unwrap();
        }
        let blobs: Vec<BitmapBuf> = parts.into_iter().map(BitmapWriter::finish).collect();
        let views: Vec<FrozenBitmap<'_>> = blobs.iter().map(BitmapBuf::view).collect();
        let (mut to, mut copy) = (Vec::new(), Vec::new());
        let mut ways = vec![
            way("ours", || {
                to.clear();
                concatenate_into(&views, &mut to).unwrap();
                0
            }),
            way("memcpy", || {
                copy.clear();
                views.iter().for_each(|part| copy.extend_from_slice(part.as_bytes()));
                std::hint::black_box(copy.len());
                0
            }),
        ];
        let medians = medians(&mut ways, report.effort);
        println!(
            "{:<44} {:>11.2} µs  {:.0} % of memcpy (must 80)",
            format!("merge of 8 parts, {name}"),
            medians[0] / 1e3,
            100.0 * medians[1] / medians[0]
        );
    }
}

/// Values per row with the skew of the workload's fields.
fn field(rows: u32, value_count: u32, seed: u64) -> Vec<u32> {
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    (0..rows)
        .map(|_| {
            let share: f64 = rng.random();
            // Low values more often where values are many.
            let skew = if value_count > 100 { share * share } else { share };
            ((skew * f64::from(value_count)) as u32).min(value_count - 1)
        })
        .collect()
}

fn rows_to_bitmaps(report: &Report) {
    for (name, value_count, must) in
        [("5 values", 5, 15.0), ("31 k values", 31_000, 1.8), ("2 M values", 2_000_000, 11.0)]
    {
        let row = format!("rows to bitmaps, {name}");
        if !report.wants(&row) {
            continue;
        }
        let rows = report.size(SMALL);
        let values = field(rows, value_count, 9);
        let ways = vec![
            way("ours", || {
                let rows = Rows::Consecutive { first_slot: 0, values: &values };
                build_values(rows, value_count).unwrap().value_count() as u64
            }),
            way("tuples", || {
                let mut tuples: Vec<(u32, u32)> = values.iter().copied().zip(0..rows).collect();
                tuples.sort_unstable();
                let mut bitmaps = vec![RoaringBitmap::new(); value_count as usize];
                for same in tuples.chunk_by(|x, y| x.0 == y.0) {
                    let slots = same.iter().map(|(_, slot)| *slot);
                    bitmaps[same[0].0 as usize] = RoaringBitmap::from_sorted_iter(slots).unwrap();
                }
                bitmaps.len() as u64
            }),
        ];
        let few = Report {
            effort: Effort { samples: report.effort.samples.min(5), ..report.effort },
            quick: report.quick,
            filter: None,
        };
        few.row(&row, ways, &[Goal("tuples", must)]);
    }
}

fn field_size(report: &Report) {
    if !report.wants("size") {
        return;
    }
    let rows = report.size(SMALL);
    let value_count = (rows / 7).min(2_000_000);
    let values = field(rows, value_count, 9);
    let built = build_values(Rows::Consecutive { first_slot: 0, values: &values }, value_count).unwrap();
    let mut portable = 0;
    let mut slots: Vec<(u32, u32)> = values.iter().copied().zip(0..rows).collect();
    slots.sort_unstable();
    for same in slots.chunk_by(|x, y| x.0 == y.0) {
        let mut bitmap = RoaringBitmap::from_sorted_iter(same.iter().map(|(_, slot)| *slot)).unwrap();
        bitmap.optimize();
        portable += bitmap.serialized_size();
    }
    println!(
        "{:<44} {:.2} × portable Roaring (must be at most 0.45), {:.1} bytes a row",
        format!("size of a field of {value_count} values"),
        built.stored_bytes() as f64 / portable as f64,
        built.stored_bytes() as f64 / f64::from(rows)
    );
}
