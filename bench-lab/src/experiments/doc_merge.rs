//! Adding to documents that are there.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasilo::{Durability, IntKey, Keyspace, KeyspaceOptions, MergeOperator, MergeResult, Options, Silo};
use rayon::prelude::*;

use super::log::fingerprint;
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "doc-merge",
    question: "Documents of 230 bytes are loaded, then 30 tags (250 bytes) come for each. When do the two become one?",
    strategies: &[
        ("read-merge-write", "load; then read each document, add, write it again"),
        ("append-compact", "load; then a merge operand for each; then a checkpoint folds them"),
        ("ops", "load; then a merge operand for each, left unfolded"),
        (
            "invert-first",
            "tag bitmaps are inverted to one list for each slot, then each document is written once, whole",
        ),
        ("limit-one-load", "documents that are whole from the start, loaded once"),
    ],
    baseline: "read-merge-write",
    limit: "documents that are whole from the start, loaded once",
    memory: true,
    decision: "What is known when a load begins is joined first, and each document is written once. A later file of values for records that exist is gathered to one list \
        for each slot; each document is then read, grown and written once, and the index is told which frame it replaces. Operands would be cheaper to write, but each \
        read of a document would pay for them until they are folded.",
    shapes,
    run,
};

const DOCUMENT: usize = 230;
const TAGS: usize = 30;

fn shapes(scale: Scale) -> Vec<Shape> {
    vec![Shape::new("230B+250B", scale.pick(20_000, 200_000, 2_000_000), "documents", 30_000.0, 2_000)]
}

/// Operands are appended to documents.
#[derive(Debug)]
struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let mut whole = base.unwrap_or_default().to_vec();
        operands.iter().for_each(|operand| whole.extend_from_slice(operand));
        Ok(whole)
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(operands.concat())
    }
}

/// Documents and tags, made from the key.
struct Input {
    documents: u64,
    pool: Vec<u8>,
    /// Lists of slots by tag, as pairs sorted by tag.
    by_tag: Vec<(u16, u32)>,
}

impl Input {
    fn new(documents: u64, seed: u64) -> Self {
        let mut pool = vec![0; 1 << 16];
        Random::new(seed, 80).fill(&mut pool);
        let mut by_tag: Vec<(u16, u32)> =
            (0..documents).flat_map(|key| tags_of(key).map(move |tag| (tag, key as u32))).collect();
        by_tag.par_sort_unstable();
        Self { documents, pool, by_tag }
    }

    fn document(&self, key: u64) -> &[u8] {
        let at = mix(key ^ 0xd0c) as usize % (self.pool.len() - DOCUMENT);
        &self.pool[at..at + DOCUMENT]
    }
}

/// The tags of a document, ascending.
fn tags_of(key: u64) -> [u16; TAGS] {
    let mut tags: [u16; TAGS] =
        std::array::from_fn(|at| (mix(key * 64 + at as u64) % 1_000 + at as u64 * 1_000) as u16);
    tags.sort_unstable();
    tags
}

/// As documents hold them: eight bytes each and a head of ten.
fn encode_tags(tags: &[u16], out: &mut Vec<u8>) {
    out.extend_from_slice(b"tagIds\0\0");
    out.extend_from_slice(&(tags.len() as u16).to_le_bytes());
    tags.iter().for_each(|tag| out.extend_from_slice(&u64::from(*tag).to_le_bytes()));
}

fn create(dir: &Path) -> Result<(Silo, Keyspace)> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    let options = Options::new().background(false).checkpoint_ops(1 << 25).checkpoint_bytes(1 << 40);
    let silo = Silo::open(dir, options.merge_operator(Arc::new(Append)))?;
    let keyspace = silo.create_keyspace("documents", &KeyspaceOptions::new().merge_operator("append"))?;
    Ok((silo, keyspace))
}

fn load(
    silo: &Silo,
    keyspace: &Keyspace,
    documents: u64,
    threads: usize,
    value: impl Fn(u64, &mut Vec<u8>) + Sync,
) -> Result<()> {
    let session = silo.bulk(&[keyspace])?;
    let one = |thread: usize| -> Result<()> {
        let mut writer = session.writer();
        let mut bytes = Vec::new();
        let edge = |thread: usize| documents * thread as u64 / threads as u64;
        for key in edge(thread)..edge(thread + 1) {
            bytes.clear();
            value(key, &mut bytes);
            writer.put(keyspace, IntKey::from(key), &bytes)?;
        }
        Ok(writer.close()?)
    };
    (0..threads).into_par_iter().try_for_each(one)?;
    session.finish()?;
    Ok(())
}

/// The 30 tags of each document out of lists of slots by tag.
fn inverted(input: &Input) -> Vec<[u16; TAGS]> {
    let mut tags = vec![[0; TAGS]; input.documents as usize];
    let mut filled = vec![0_u8; input.documents as usize];
    for (tag, slot) in &input.by_tag {
        let slot = *slot as usize;
        tags[slot][usize::from(filled[slot])] = *tag;
        filled[slot] += 1;
    }
    tags
}

fn read_merge_write(input: &Input, silo: &Silo, keyspace: &Keyspace) -> Result<()> {
    let snapshot = silo.snapshot();
    let (mut batch, mut document) = (silo.batch(), Vec::new());
    for key in 0..input.documents {
        document.clear();
        document
            .extend_from_slice(&snapshot.get(keyspace, IntKey::from(key))?.context("a document is missing")?);
        encode_tags(&tags_of(key), &mut document);
        batch.put(keyspace, IntKey::from(key), &document)?;
        if batch.len() == 1_000 || key + 1 == input.documents {
            silo.commit(&mut batch, Durability::Process)?;
            batch.clear();
        }
    }
    Ok(())
}

fn merge_all(input: &Input, silo: &Silo, keyspace: &Keyspace) -> Result<()> {
    let (mut batch, mut operand) = (silo.batch(), Vec::new());
    for key in 0..input.documents {
        operand.clear();
        encode_tags(&tags_of(key), &mut operand);
        batch.merge(keyspace, IntKey::from(key), &operand)?;
        if batch.len() == 1_000 || key + 1 == input.documents {
            silo.commit(&mut batch, Durability::Process)?;
            batch.clear();
        }
    }
    Ok(())
}

fn digest_of(silo: &Silo, keyspace: &Keyspace) -> Result<u64> {
    let mut digest = Digest::default();
    silo.snapshot().for_each::<anyhow::Error>(keyspace, |key, value| {
        digest.add(fingerprint(IntKey::to_u64(key).unwrap_or(u64::MAX), &value));
        Ok(())
    })?;
    Ok(digest.value())
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let input = Input::new(shape.items, lab.settings.seed);
    let threads = lab.settings.threads;
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let dir = scratch.path().join("silo");
    let (input, dir) = (&input, &dir);
    let fresh = || create(dir);
    let digest = |(silo, keyspace): &(Silo, Keyspace)| digest_of(silo, keyspace);
    let load_documents = |silo: &Silo, keyspace: &Keyspace| {
        load(silo, keyspace, input.documents, threads, |key, out| out.extend_from_slice(input.document(key)))
    };
    lab.measure(vec![
        Strategy::with_input(
            "read-merge-write",
            fresh,
            |(silo, keyspace)| {
                load_documents(&silo, &keyspace)?;
                read_merge_write(input, &silo, &keyspace)?;
                silo.checkpoint()?;
                Ok((silo, keyspace))
            },
            digest,
        ),
        Strategy::with_input(
            "append-compact",
            fresh,
            |(silo, keyspace)| {
                load_documents(&silo, &keyspace)?;
                merge_all(input, &silo, &keyspace)?;
                silo.checkpoint()?;
                Ok((silo, keyspace))
            },
            digest,
        ),
        Strategy::with_input(
            "ops",
            fresh,
            |(silo, keyspace)| {
                load_documents(&silo, &keyspace)?;
                merge_all(input, &silo, &keyspace)?;
                silo.sync()?;
                Ok((silo, keyspace))
            },
            digest,
        ),
        Strategy::with_input(
            "invert-first",
            fresh,
            |(silo, keyspace)| {
                let tags = inverted(input);
                load(&silo, &keyspace, input.documents, threads, |key, out| {
                    out.extend_from_slice(input.document(key));
                    encode_tags(&tags[key as usize], out);
                })?;
                Ok((silo, keyspace))
            },
            digest,
        ),
        Strategy::limit_with("limit-one-load", fresh, |(silo, keyspace)| {
            load(&silo, &keyspace, input.documents, threads, |key, out| {
                out.extend_from_slice(input.document(key));
                encode_tags(&[7; TAGS], out);
            })?;
            Ok((silo, keyspace))
        }),
    ])
}
