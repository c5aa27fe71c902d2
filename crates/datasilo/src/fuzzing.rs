//! Entry points for fuzzers: hostile bytes with good checksums.
//!
//! Each function takes what a fuzzer made up, puts right checksums where they belong, and runs the
//! code that would read it from a file. Wrong answers cannot be told here, since forged files may
//! say anything; what counts is that nothing panics, hangs or takes memory without bounds.
//!
//! The same functions run on generated input in the unit tests of this module.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

use crate::bytes::checksum::{crc, seeded_crc};
use crate::bytes::file_header::{FILE_HEADER_LEN, FileHeader};
use crate::bytes::frame::{BLOCK_LEN, FrameView};
use crate::bytes::group::{GROUP_HEADER_LEN, Group, GroupKind, segment_seed};
use crate::bytes::index::{Geometry, INDEX_HEADER_LEN, IndexHeader, PAGE_LEN, decode_chain, page_check};
use crate::bytes::manifest::{MANIFEST_HEADER_LEN, Manifest, decode_catalog};
use crate::bytes::mark::{MARK_SLOT_LEN, SyncMark};
use crate::files::log_scan::{
    Step, Window, all_frames, frames, groups_behind, next_batch, next_group, verify_group,
};
use crate::{
    Durability, KeyspaceOptions, MergeOperator, MergeResult, Options, Silo, SiloReader, Snapshot, Strictness,
};

/// Takes bytes off the front of the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.u8())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    /// A number that is often near an edge.
    fn edge(&mut self) -> u64 {
        let kind = self.u8();
        match kind % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (self.u8() % 64),
            3 => (1u64 << (self.u8() % 64)).wrapping_sub(1),
            4 => u64::from(self.u8()),
            5 => u64::from(self.u16()) * 8,
            6 => u64::from(self.u32()),
            _ => u64::from_le_bytes(self.number()),
        }
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(field.len())) {
        place.copy_from_slice(field);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

fn crc_of(bytes: &[u8], range: std::ops::Range<usize>, seed: u32) -> [u8; 4] {
    seeded_crc(seed, bytes.get(range).unwrap_or_default()).to_le_bytes()
}

/// A manifest whose body is the input, and one that is the input as it is.
pub fn manifest(data: &[u8]) {
    let _ = Manifest::decode(data);
    let mut bytes = Manifest::default().encode();
    bytes.truncate(MANIFEST_HEADER_LEN);
    bytes.extend_from_slice(data);
    fix_manifest(&mut bytes);
    if let Ok(manifest) = Manifest::decode(&bytes) {
        let again = Manifest::decode(&manifest.encode());
        assert!(again.is_ok_and(|again| again == manifest), "a manifest does not read back");
    }
    let mut catalog = vec![0; 8];
    catalog.extend_from_slice(data);
    put(&mut catalog, 0, &u32::try_from(data.len()).unwrap_or(0).to_le_bytes());
    put(&mut catalog, 4, &crc(data).to_le_bytes());
    let _ = decode_catalog(&catalog);
}

fn fix_manifest(bytes: &mut [u8]) {
    let len = bytes.len().saturating_sub(MANIFEST_HEADER_LEN) as u64;
    let body_crc = crc_of(bytes, MANIFEST_HEADER_LEN..bytes.len(), 0);
    put(bytes, 16, &len.to_le_bytes());
    put(bytes, 24, &body_crc);
    let crc = crc_of(bytes, 0..28, 0);
    put(bytes, 28, &crc);
}

/// A frame, with an alignment from the first byte.
pub fn frame(data: &[u8]) {
    let mut input = Input(data);
    let align = 1 << (input.u8() % 7);
    let mut bytes = input.0.to_vec();
    touch_frame(&bytes, align);
    fix_frame(&mut bytes, align, 3);
    touch_frame(&bytes, align);
}

fn touch_frame(bytes: &[u8], align: usize) {
    let Some(frame) = FrameView::parse(bytes, align) else {
        return;
    };
    assert!(frame.len() <= bytes.len() && frame.len().is_multiple_of(8), "a frame is not within its bytes");
    assert_eq!(frame.value().len(), frame.value_len(), "a value is not whole");
    let _ = (frame.kind(), frame.ordinal(), frame.is_combined(), frame.key().len(), frame.as_bytes().len());
    let _ = frame.verify_whole(3);
    let _ = frame.verify_block(usize::MAX >> 16);
}

fn fix_frame(bytes: &mut [u8], align: usize, keyspace: u32) {
    let Some(frame) = FrameView::parse(bytes, align) else {
        return;
    };
    let (len, value, value_len) = (frame.len(), frame.value_offset(), frame.value_len());
    let covered = if frame.is_blocked() { value } else { len };
    if frame.is_blocked() {
        let start = frame.key().as_ptr() as usize - bytes.as_ptr() as usize + frame.key().len();
        for block in 0..value_len.div_ceil(BLOCK_LEN) {
            let from = value + block * BLOCK_LEN;
            let crc = crc_of(bytes, from..(from + BLOCK_LEN).min(value + value_len), 0);
            put(bytes, start + block * 4, &crc);
        }
    }
    let crc = crc_of(bytes, 4..covered, keyspace);
    put(bytes, 0, &crc);
}

/// A group header and its payload.
pub fn group(data: &[u8]) {
    let _ = Group::decode(data, 0, 0);
    let mut bytes = data.to_vec();
    put(&mut bytes, 0, b"SGRP");
    put(&mut bytes, 16, &8u32.to_le_bytes());
    fix_group(&mut bytes, 0, 9);
    if let Ok(group) = Group::decode(&bytes, 9, 64) {
        let again = group.encode(9);
        assert_eq!(bytes.get(..GROUP_HEADER_LEN), Some(&again[..]), "a group header does not read back");
    }
    let window = Window { bytes: &bytes, base: 64, seed: 9 };
    if let Ok(view) = next_group(&window, 64) {
        let _ = verify_group(&view);
        let total: usize = frames(&view).map(|(_, frame)| frame.len()).sum();
        assert!(total <= view.payload.len(), "frames reach beyond their group");
    }
}

/// Puts the checksum of the group header at an offset right. Returns where the group ends.
fn fix_group(bytes: &mut [u8], at: usize, seed: u32) -> Option<usize> {
    let crc = crc_of(bytes, at + 8..at + GROUP_HEADER_LEN, seed);
    bytes.get(at..at + GROUP_HEADER_LEN).filter(|header| header.iter().any(|&b| b != 0))?;
    put(bytes, at + 4, &crc);
    let words = u32_at(bytes, at + 20)?;
    Some(at + GROUP_HEADER_LEN + words as usize * 8)
}

/// A chain.
pub fn chain(data: &[u8]) {
    let _ = decode_chain(data);
    let mut bytes = data.to_vec();
    fix_chain(&mut bytes, 0);
    if let Some(chain) = decode_chain(&bytes) {
        assert!(chain.len() * 8 + 8 <= bytes.len(), "a chain is longer than its bytes");
    }
}

/// Puts the checksum of the chain at an offset right. Returns where it ends.
fn fix_chain(bytes: &mut [u8], at: usize) -> Option<usize> {
    let end = at + 8 + u32_at(bytes, at + 4)? as usize * 8;
    bytes.get(at..end)?;
    let crc = crc_of(bytes, at + 4..end, 0);
    put(bytes, at, &crc);
    Some(end)
}

/// The groups of a segment, from the first byte on.
pub fn segment(data: &[u8]) {
    let mut bytes = vec![0; FILE_HEADER_LEN];
    bytes.extend_from_slice(data);
    fix_segment(&mut bytes);
    let seed = seed_of(&bytes);
    let window = Window { bytes: &bytes, base: 0, seed };
    let mut at = FILE_HEADER_LEN as u64;
    loop {
        match next_batch(&window, at) {
            Step::Batch(groups) => {
                for view in &groups {
                    at = view.group.end();
                    let _ = all_frames(view).count();
                }
            }
            Step::End => break,
            Step::Damage { offset, .. } => match groups_behind(&window, offset.max(at) + 8).next() {
                Some(group) => at = group.offset,
                None => break,
            },
        }
    }
}

fn seed_of(bytes: &[u8]) -> u32 {
    FileHeader::ref_from_prefix(bytes).map_or(0, |(h, _)| segment_seed(h.silo_id, h.number.get()))
}

/// Puts all checksums of a segment right, as far as its groups can be followed.
fn fix_segment(bytes: &mut [u8]) {
    let header_crc = crc_of(bytes, 0..60, 0);
    put(bytes, 60, &header_crc);
    let seed = seed_of(bytes);
    let mut at = FILE_HEADER_LEN;
    while let Some(end) = fix_group(bytes, at, seed) {
        fix_payload(bytes, at, end, seed);
        at = end;
    }
}

fn fix_payload(bytes: &mut [u8], at: usize, end: usize, seed: u32) {
    let Ok(group) = Group::decode(bytes.get(at..).unwrap_or_default(), seed, at as u64) else {
        return;
    };
    let Some(payload) = bytes.get_mut(at + GROUP_HEADER_LEN..end) else {
        return;
    };
    match group.kind {
        GroupKind::Frames | GroupKind::Fold => {
            let mut rest = payload;
            while let Some(len) = FrameView::parse(rest, group.align()).map(|f| f.len()) {
                fix_frame(rest, group.align(), group.keyspace);
                rest = rest.split_at_mut(len.min(rest.len())).1;
                if len == 0 {
                    break;
                }
            }
        }
        GroupKind::Seal => {
            let crc = crc_of(payload, 0..8, 0);
            put(payload, 8, &crc);
        }
        GroupKind::Catalog => {
            let len = u32_at(payload, 0).unwrap_or(0) as usize;
            let crc = crc_of(payload, 8..8 + len.min(payload.len().saturating_sub(8)), 0);
            put(payload, 4, &crc);
        }
        GroupKind::Pad => {}
    }
}

/// Puts all checksums of an index run right, as far as its header can be believed.
fn fix_run(bytes: &mut [u8]) {
    let header_crc = crc_of(bytes, 0..60, 0);
    put(bytes, 60, &header_crc);
    let number = u32_at(bytes, 32).unwrap_or(0);
    let index = bytes.get(FILE_HEADER_LEN..).and_then(|b| IndexHeader::read_from_prefix(b).ok());
    let Some((index, _)) = index else { return };
    let home = Geometry::from_header(&index).map_or(1, Geometry::page_count);
    let pages = home.saturating_add(u64::from(index.spill_pages.get()));
    let pages = usize::try_from(pages).unwrap_or(0).min(bytes.len() / PAGE_LEN);
    for page in 0..pages {
        let start = (page + 1) * PAGE_LEN;
        let flags = u32_at(bytes, start + PAGE_LEN - 4).unwrap_or(0);
        let slots = bytes.get(start..start + PAGE_LEN - 8).unwrap_or_default();
        let check = page_check(slots, number, page as u64, flags);
        put(bytes, start + PAGE_LEN - 8, &check.to_le_bytes());
    }
    let parts = (pages + 1) * PAGE_LEN;
    let chains = parts + index.part_count.get() as usize * 8;
    let parts_crc = crc_of(bytes, parts..chains, 0);
    put(bytes, FILE_HEADER_LEN + 40, &parts_crc);
    let mut at = chains + 8;
    while let Some(end) = fix_chain(bytes, at) {
        at = end;
    }
    let crc = crc_of(bytes, FILE_HEADER_LEN..FILE_HEADER_LEN + INDEX_HEADER_LEN - 4, 0);
    put(bytes, FILE_HEADER_LEN + INDEX_HEADER_LEN - 4, &crc);
}

fn fix_mark(bytes: &mut [u8]) {
    for slot in 0..2 {
        let at = slot * MARK_SLOT_LEN;
        let crc = crc_of(bytes, at + 8..at + MARK_SLOT_LEN, 0);
        put(bytes, at + 4, &crc);
    }
    let _ = SyncMark::newest(bytes, [0; 16]);
}

/// Puts all checksums of a file right.
fn fix_file(name: &str, bytes: &mut [u8]) {
    match name.split('-').next() {
        Some("seg") => fix_segment(bytes),
        Some("idx") => fix_run(bytes),
        Some("MANIFEST") => fix_manifest(bytes),
        Some("MARK") => fix_mark(bytes),
        _ => {}
    }
}

/// Index runs of a small silo, changed as the input says.
pub fn index_run(data: &[u8]) {
    mutate(data, |name| name.starts_with("idx-"));
}

/// Files of a small silo, changed as the input says.
pub fn silo_files(data: &[u8]) {
    mutate(data, |name| name != "LOCK");
}

/// Changes files of a sample: each change takes a file, a place, a width and a value.
fn mutate(data: &[u8], which: impl Fn(&str) -> bool) {
    let mut input = Input(data);
    let samples = samples();
    let mut files = samples.get(usize::from(input.u8()) % samples.len()).cloned().unwrap_or_default();
    let names: Vec<String> = files.keys().filter(|name| which(name)).cloned().collect();
    let changes = 1 + input.u8() % 4;
    for _ in 0..changes {
        let name = names.get(usize::from(input.u8()) % names.len().max(1));
        let Some((name, bytes)) = name.and_then(|name| Some((name, files.get_mut(name)?))) else {
            continue;
        };
        change(name, bytes, &mut input);
    }
    for (name, bytes) in &mut files {
        fix_file(name, bytes);
    }
    let dir = Scratch::new();
    for repair_first in [false, true] {
        dir.write(&files);
        if repair_first && crate::repair(&dir.0, &options()).is_err() {
            return;
        }
        exercise(&dir.0);
    }
}

/// One change to a file, at a place that means something to it.
fn change(name: &str, bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let len = bytes.len().max(1);
    let place = usize::from(input.u16());
    let at = match name.split('-').next() {
        Some("idx") => match input.u8() % 6 {
            0 => place % FILE_HEADER_LEN,
            1 | 2 => FILE_HEADER_LEN + place % INDEX_HEADER_LEN,
            // A slot in use.
            3 => nth_used_word(bytes, PAGE_LEN, place),
            4 => len - 1 - place % len.min(128),
            _ => PAGE_LEN + place * 8 % PAGE_LEN,
        },
        Some("seg") => match input.u8() % 4 {
            0 => place % FILE_HEADER_LEN,
            // In a group header.
            1 | 2 => nth_group(bytes, place / GROUP_HEADER_LEN) + place % GROUP_HEADER_LEN,
            // In the first frame's header of a group.
            _ => nth_group(bytes, place / 12) + GROUP_HEADER_LEN + place % 12,
        },
        _ => place % len,
    };
    let value = input.edge().to_le_bytes();
    let width = [1, 2, 4, 8].get(usize::from(input.u8() % 4)).copied().unwrap_or(1);
    match input.u8() % 8 {
        0 => bytes.truncate(at.min(len)),
        1 => bytes.extend_from_slice(&value),
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (width % 8);
            }
        }
        _ => put(bytes, at, value.get(..width).unwrap_or_default()),
    }
}

fn nth_used_word(bytes: &[u8], from: usize, nth: usize) -> usize {
    let used: Vec<usize> = (from..bytes.len())
        .step_by(8)
        .filter(|&at| bytes.get(at..at + 8).is_some_and(|w| w != [0; 8]))
        .collect();
    used.get(nth % used.len().max(1)).copied().unwrap_or(from)
}

fn nth_group(bytes: &[u8], nth: usize) -> usize {
    let mut starts = Vec::new();
    let mut at = FILE_HEADER_LEN;
    while bytes.get(at..at + 4) == Some(b"SGRP") {
        starts.push(at);
        at += GROUP_HEADER_LEN + u32_at(bytes, at + 20).unwrap_or(0) as usize * 8;
    }
    starts.get(nth % starts.len().max(1)).copied().unwrap_or(FILE_HEADER_LEN)
}

/// Does with a silo whatever can be done with one.
fn exercise(dir: &Path) {
    if let Ok(reader) = SiloReader::open(dir, options()) {
        read(&reader.snapshot());
        let _ = reader.check(Strictness::Lenient);
        let _ = reader.refresh();
    }
    let Ok(silo) = Silo::open(dir, options()) else {
        return;
    };
    read(&silo.snapshot());
    let _ = silo.check(Strictness::Lenient);
    let _ = silo.stats();
    for space in silo.keyspaces() {
        let _ = silo.put(&space, b"key1", b"new", Durability::Power);
        let _ = silo.merge(&space, b"key2", b"new", Durability::Process);
    }
    let _ = silo.checkpoint();
    let _ = silo.compact();
    read(&silo.snapshot());
    let _ = silo.close();
}

fn read(snapshot: &Snapshot) {
    for space in snapshot.keyspaces() {
        for number in 0..20 {
            let _ = snapshot.get(&space, format!("key{number}"));
            let _ = snapshot.get_parts(&space, format!("key{number}"));
        }
        if let Ok(entries) = snapshot.iter(&space) {
            let _ = entries.count();
        }
        let _ = snapshot.unverified().get(&space, b"key1");
        let _ = snapshot.multi_get(&space, &[b"key1", b"key2"]);
    }
}

/// Appends operands.
#[derive(Debug)]
struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok([base.unwrap_or_default(), &operands.concat()].concat())
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(operands.concat())
    }

    fn should_fold(&self, base_len: Option<usize>, _pending_len: usize) -> bool {
        base_len.is_some_and(|len| len < 8)
    }
}

fn options() -> Options {
    Options::new()
        .segment_bytes(1 << 16)
        .allocate_bytes(4096)
        .region_bytes(1024)
        .merge_operator(std::sync::Arc::new(Append))
        .background(false)
        .create(false)
}

type Files = BTreeMap<String, Vec<u8>>;

/// A directory that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let fast = Path::new("/dev/shm");
        let base = if fast.is_dir() { fast.to_path_buf() } else { std::env::temp_dir() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(base.join(format!("datasilo-fuzz-{}-{number}", std::process::id())))
    }

    fn write(&self, files: &Files) {
        let _ = std::fs::remove_dir_all(&self.0);
        std::fs::create_dir_all(&self.0).expect("a scratch directory can be made");
        for (name, bytes) in files {
            std::fs::write(self.0.join(name), bytes).expect("a scratch file can be written");
        }
    }

    fn read(&self) -> Files {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                Some((entry.file_name().into_string().ok()?, std::fs::read(entry.path()).ok()?))
            })
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Small silos: closed after checkpoints, bulk load and chains; and killed with a log tail.
fn samples() -> &'static [Files] {
    static SAMPLES: OnceLock<Vec<Files>> = OnceLock::new();
    SAMPLES.get_or_init(|| make_samples().expect("the samples can be written"))
}

fn make_samples() -> crate::Result<Vec<Files>> {
    let dir = Scratch::new();
    let silo = Silo::open(&dir.0, options().create(true))?;
    let plain = silo.create_keyspace("plain", &KeyspaceOptions::new())?;
    let wide = silo.create_keyspace("wide", &KeyspaceOptions::new().align(64))?;
    let log = silo.create_keyspace("log", &KeyspaceOptions::new().merge_operator("append"))?;
    for round in 0..2u8 {
        let mut batch = silo.batch();
        for number in 0..12 {
            let key = format!("key{number}");
            batch.put(&plain, &key, [round; 20])?;
            batch.put(&wide, &key, vec![round; number * 500])?;
            batch.merge(&log, &key, [b'a' + round; 9])?;
            if number == 3 {
                batch.delete(&plain, &key)?;
            }
        }
        silo.commit(&mut batch, Durability::Power)?;
        silo.checkpoint()?;
    }
    let session = silo.bulk(&[&plain, &wide])?;
    let mut writer = session.writer();
    for number in 6..16 {
        writer.put(&plain, format!("key{number}"), [9; 30])?;
        writer.put(&wide, format!("key{number}"), [9; 30])?;
    }
    writer.close()?;
    session.finish()?;
    for number in 0..4 {
        silo.put(&plain, format!("key{number}"), b"tail", Durability::Process)?;
        silo.merge(&log, format!("key{number}"), b"tail", Durability::Process)?;
    }
    let killed = dir.read();
    silo.close()?;
    Ok(vec![dir.read(), killed])
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
