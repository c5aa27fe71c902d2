//! Bitmap libraries.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bitmap_silo::{FrozenBitmap, intersection_len, union, union_len};
use roaring::{MultiOps, RoaringBitmap};

use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::Random;

/// The comparison.
pub const EXPERIMENT: Experiment = Experiment {
    name: "peers-bitmap",
    question: "How do stored bitmaps compare with those of roaring and croaring, in memory and read in place?",
    strategies: &[
        ("ours", "bitmap-silo over portable blobs, read in place"),
        ("roaring", "roaring, in memory"),
        ("croaring", "CRoaring, in memory"),
        ("croaring-portable", "CRoaring's views of portable blobs"),
        ("croaring-frozen", "CRoaring's views of frozen blobs, which its own format are"),
    ],
    baseline: "roaring",
    limit: "none is stated",
    memory: false,
    decision: "One unmodified portable blob for each bitmap, read in place: any library reads it, and opening it costs nothing. Open, contains, iteration, unions of eight and \
        counts are ahead of roaring or level with it. The engine is behind CRoaring where the common slots of sparse bitmaps or of runs are counted, and behind both where \
        a union of two is materialised: it draws lists into words and reads them back. Merging lists in vector registers is the next thing to do there.",
    shapes,
    run,
};

const WORKS: [&str; 8] = ["open", "contains", "and", "or", "and-count", "or-count", "or-8", "iterate"];
const KINDS: [&str; 5] = ["dense", "mixed", "sparse", "runs", "sets"];

fn shapes(scale: Scale) -> Vec<Shape> {
    let universe = scale.pick(500_000, 4_000_000, 14_600_000);
    let shape = |kind: &str, work: &str| Shape::new(format!("{kind}-{work}"), universe, "slots", 30.0, 30);
    KINDS.iter().flat_map(|kind| WORKS.iter().map(move |work| shape(kind, work))).collect()
}

/// Eight bitmaps of a kind.
fn synthetic(kind: &str, universe: u32, seed: u64) -> Vec<RoaringBitmap> {
    (0..8)
        .map(|index| {
            let mut random = Random::new(seed, 140 + index);
            let density = match kind {
                "dense" => 0.4,
                "sparse" => 0.000_5,
                _ if index % 2 == 0 => 0.2,
                _ => 0.004,
            };
            let mut slots = Vec::new();
            let mut at = 0;
            while at < universe {
                let run = if kind == "runs" { 50 + random.below(500) } else { 1 };
                slots.extend(at..(at + run).min(universe));
                let mean = f64::from(run) * (1.0 - density) / density;
                at += run + (-(1.0 - random.unit()).ln() * mean) as u32;
            }
            slots.dedup();
            let mut bitmap = RoaringBitmap::from_sorted_iter(slots).unwrap();
            bitmap.optimize();
            bitmap
        })
        .collect()
}

/// The bitmaps of a folder: zip files, whose files are numbers separated by commas.
fn sets(dir: &Path) -> Result<Vec<RoaringBitmap>> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "zip"))
        .collect();
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no zip files of lists of numbers", dir.display());
    let mut bitmaps = Vec::new();
    for path in paths {
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&path)?)?;
        for index in 0..archive.len() {
            let text = std::io::read_to_string(archive.by_index(index)?)?;
            let numbers: Result<Vec<u32>, _> = text
                .split([',', '\n'])
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::parse)
                .collect();
            let numbers =
                numbers.with_context(|| format!("{} has something else than numbers", path.display()))?;
            let mut bitmap: RoaringBitmap = numbers.into_iter().collect();
            bitmap.optimize();
            bitmaps.push(bitmap);
        }
    }
    Ok(bitmaps)
}

/// What a library does with its bitmaps. `work` names the operation; the answer sums up the results.
fn ours(blobs: &[Vec<u8>], work: &str, probes: &[u32]) -> Result<u64> {
    let views: Vec<FrozenBitmap<'_>> =
        blobs.iter().map(|blob| FrozenBitmap::open(blob)).collect::<Result<_, _>>()?;
    let pairs = || views.windows(2).map(|pair| (pair[0], pair[1]));
    Ok(match work {
        "open" => views.iter().map(FrozenBitmap::len).sum(),
        "contains" => {
            views.iter().map(|view| probes.iter().filter(|slot| view.contains(**slot)).count() as u64).sum()
        }
        "and" => pairs().map(|(a, b)| a.and(&b).len()).sum(),
        "or" => pairs().map(|(a, b)| union([a, b]).len()).sum(),
        "and-count" => pairs().map(|(a, b)| intersection_len([a, b])).sum(),
        "or-count" => pairs().map(|(a, b)| union_len([a, b])).sum(),
        "or-8" => views.chunks(8).map(|views| union(views.iter().copied()).len()).sum(),
        _ => views
            .iter()
            .map(|view| view.iter().fold(0_u64, |sum, slot| sum.wrapping_add(u64::from(slot))))
            .fold(0, u64::wrapping_add),
    })
}

fn roaring(blobs: &[Vec<u8>], bitmaps: &[RoaringBitmap], work: &str, probes: &[u32]) -> Result<u64> {
    let pairs = || bitmaps.windows(2).map(|pair| (&pair[0], &pair[1]));
    Ok(match work {
        "open" => {
            let opened: Result<Vec<u64>, _> = blobs
                .iter()
                .map(|blob| RoaringBitmap::deserialize_from(&blob[..]).map(|bitmap| bitmap.len()))
                .collect();
            opened?.into_iter().sum()
        }
        "contains" => bitmaps
            .iter()
            .map(|bitmap| probes.iter().filter(|slot| bitmap.contains(**slot)).count() as u64)
            .sum(),
        "and" => pairs().map(|(a, b)| (a & b).len()).sum(),
        "or" => pairs().map(|(a, b)| (a | b).len()).sum(),
        "and-count" => pairs().map(|(a, b)| a.intersection_len(b)).sum(),
        "or-count" => pairs().map(|(a, b)| a.union_len(b)).sum(),
        "or-8" => bitmaps.chunks(8).map(|bitmaps| bitmaps.union().len()).sum(),
        _ => bitmaps
            .iter()
            .map(|bitmap| bitmap.iter().fold(0_u64, |sum, slot| sum.wrapping_add(u64::from(slot))))
            .fold(0, u64::wrapping_add),
    })
}

#[cfg(feature = "peer-croaring")]
mod c {
    //! CRoaring, whose views trust their bytes.
    #![expect(unsafe_code, reason = "views of the peer are opened without looking at the bytes")]

    use anyhow::{Result, bail};
    use croaring::{Bitmap, BitmapView, Frozen, Portable};

    /// The same bitmaps in the forms of the peer.
    pub(super) struct Forms {
        pub(super) owned: Vec<Bitmap>,
        /// Bytes and the start of the blob among them, at a multiple of 32.
        frozen: Vec<(Vec<u8>, usize)>,
    }

    impl Forms {
        pub(super) fn new(blobs: &[Vec<u8>]) -> Self {
            let owned: Vec<Bitmap> = blobs.iter().map(|blob| Bitmap::deserialize::<Portable>(blob)).collect();
            let frozen = owned
                .iter()
                .map(|bitmap| {
                    let mut bytes = Vec::new();
                    let len = bitmap.serialize_into_vec::<Frozen>(&mut bytes).len();
                    let start = bytes.len() - len;
                    (bytes, start)
                })
                .collect();
            Self { owned, frozen }
        }
    }

    fn of(bitmaps: &[&Bitmap], work: &str, probes: &[u32]) -> Result<u64> {
        let pairs = || bitmaps.windows(2).map(|pair| (pair[0], pair[1]));
        Ok(match work {
            "open" => bitmaps.iter().map(|bitmap| bitmap.cardinality()).sum(),
            "contains" => bitmaps
                .iter()
                .map(|bitmap| probes.iter().filter(|slot| bitmap.contains(**slot)).count() as u64)
                .sum(),
            "and" => pairs().map(|(a, b)| a.and(b).cardinality()).sum(),
            "or" => pairs().map(|(a, b)| a.or(b).cardinality()).sum(),
            "and-count" => pairs().map(|(a, b)| a.and_cardinality(b)).sum(),
            "or-count" => pairs().map(|(a, b)| a.or_cardinality(b)).sum(),
            "or-8" => bitmaps.chunks(8).map(|bitmaps| Bitmap::fast_or(bitmaps).cardinality()).sum(),
            "iterate" => {
                let sum = |bitmap: &&Bitmap| {
                    bitmap.iter().fold(0_u64, |sum, slot| sum.wrapping_add(u64::from(slot)))
                };
                bitmaps.iter().map(sum).fold(0, u64::wrapping_add)
            }
            other => bail!("no work is named {other}"),
        })
    }

    pub(super) fn owned(forms: &Forms, blobs: &[Vec<u8>], work: &str, probes: &[u32]) -> Result<u64> {
        if work == "open" {
            return Ok(blobs.iter().map(|blob| Bitmap::deserialize::<Portable>(blob).cardinality()).sum());
        }
        of(&forms.owned.iter().collect::<Vec<_>>(), work, probes)
    }

    pub(super) fn portable(blobs: &[Vec<u8>], work: &str, probes: &[u32]) -> Result<u64> {
        // SAFETY: the blobs were serialised in this process by `roaring`.
        let views: Vec<BitmapView<'_>> =
            blobs.iter().map(|blob| unsafe { BitmapView::deserialize::<Portable>(blob) }).collect();
        of(&views.iter().map(|view| &**view).collect::<Vec<_>>(), work, probes)
    }

    pub(super) fn frozen(forms: &Forms, work: &str, probes: &[u32]) -> Result<u64> {
        // SAFETY: the blobs were serialised in this process by the peer, and lie at multiples of 32.
        let views: Vec<BitmapView<'_>> = forms
            .frozen
            .iter()
            .map(|(bytes, start)| unsafe { BitmapView::deserialize::<Frozen>(&bytes[*start..]) })
            .collect();
        of(&views.iter().map(|view| &**view).collect::<Vec<_>>(), work, probes)
    }
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let (kind, work) = shape.name.split_once('-').unwrap_or(("mixed", "and"));
    let universe = shape.items as u32;
    let bitmaps = if kind == "sets" {
        let Some(dir) = &lab.settings.sets else {
            lab.skip("no folder of real sets was given by --sets");
            return Ok(());
        };
        sets(dir)?
    } else {
        synthetic(kind, universe, lab.settings.seed)
    };
    let highest = bitmaps.iter().filter_map(RoaringBitmap::max).max().unwrap_or(0);
    let blobs: Vec<Vec<u8>> = bitmaps
        .iter()
        .map(|bitmap| {
            let mut blob = Vec::new();
            bitmap.serialize_into(&mut blob)?;
            Ok(blob)
        })
        .collect::<Result<_>>()?;
    let mut random = Random::new(lab.settings.seed, 150);
    let probes: Vec<u32> = (0..1_000).map(|_| random.below(highest.max(1))).collect();
    let (bitmaps, blobs, probes) = (&bitmaps, &blobs, &probes);
    let of = |sum: &u64| Ok(Digest::of([*sum]));
    let strategies = vec![
        Strategy::new("ours", || ours(blobs, work, probes), of),
        Strategy::new("roaring", || roaring(blobs, bitmaps, work, probes), of),
    ];
    #[cfg(feature = "peer-croaring")]
    let forms = c::Forms::new(blobs);
    #[cfg(feature = "peer-croaring")]
    let strategies = {
        let mut strategies = strategies;
        strategies.extend([
            Strategy::new("croaring", || c::owned(&forms, blobs, work, probes), of),
            Strategy::new("croaring-portable", || c::portable(blobs, work, probes), of),
            Strategy::new("croaring-frozen", || c::frozen(&forms, work, probes), of),
        ]);
        strategies
    };
    lab.measure(strategies)
}
