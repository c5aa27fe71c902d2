//! Writing an index run, page after page.

use std::collections::HashMap;

use zerocopy::IntoBytes;

use crate::bytes::address::FileNumber;
use crate::bytes::checksum;
use crate::bytes::file_header::{FileHeader, FileKind, SiloId};
use crate::bytes::index::{
    Geometry, IndexHeader, LINE_SLOTS, MAX_PARTS, PAGE_LEN, PAGE_LINES, PAGE_SLOTS, PAGE_SPILLS, PageTrailer,
    PartRow, Slot, encode_chain, page_check, part_of,
};
use crate::bytes::manifest::RunRecord;
use crate::error::{Error, Result};
use crate::storage::{DirFiles, SiloFile};

use super::run::Target;

/// Bytes of a write. File systems that keep large folios make one huge page of each stretch of 2 MiB
/// that is written at once, which saves look-ups most of their TLB misses.
const WRITE_LEN: usize = 2 << 20;

/// What a new run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunSpec {
    pub(crate) number: FileNumber,
    pub(crate) silo_id: SiloId,
    pub(crate) generation: u64,
    pub(crate) keyspace: u32,
    pub(crate) hash_seed: u64,
    pub(crate) geometry: Geometry,
}

/// Builds a run from entries in ascending order of their hashes' known bits.
///
/// Memory: a page, a write buffer, the part table and the chains.
#[derive(Debug)]
pub(crate) struct RunBuilder {
    spec: RunSpec,
    file: SiloFile,
    buffer: Vec<u8>,
    written: u64,
    page: Page,
    page_number: u64,
    /// Entries that did not fit into their page, with their home line.
    carry: Vec<(usize, Slot)>,
    spilled: bool,
    entry_count: u64,
    parts: Vec<PartRow>,
    /// Ordinals by segment and part.
    ordinals: HashMap<(u32, u32), u32>,
    last_part: Option<(PartRow, u32)>,
    chains: Vec<u8>,
}

#[derive(Debug)]
struct Page {
    slots: Box<[u64; PAGE_SLOTS]>,
    used: usize,
}

impl Page {
    fn new() -> Self {
        Self { slots: Box::new([0; PAGE_SLOTS]), used: 0 }
    }

    /// Puts a slot into the first free place from its home line on. False if the page is full.
    fn insert(&mut self, home: usize, slot: Slot) -> bool {
        if self.used == PAGE_SLOTS {
            return false;
        }
        for step in 0..PAGE_LINES {
            let start = (home + step) % PAGE_LINES * LINE_SLOTS;
            let end = (start + LINE_SLOTS).min(PAGE_SLOTS);
            let line = self.slots.get_mut(start..end).unwrap_or_default();
            if let Some(free) = line.iter_mut().find(|word| **word == 0) {
                *free = slot.0;
                self.used += 1;
                return true;
            }
        }
        unreachable!("a page with free slots has a line with one")
    }
}

impl RunBuilder {
    pub(crate) fn new(files: &DirFiles, spec: RunSpec) -> Result<Self> {
        let file = files.create(&DirFiles::file_name(FileKind::Index, spec.number))?;
        file.allocate(0, (spec.geometry.page_count() + 1) * PAGE_LEN as u64)?;
        let chains = vec![0; 8]; // word 0 stays unused, so that no slot is zero
        Ok(Self {
            spec,
            file,
            buffer: vec![0; PAGE_LEN], // the header page, filled in at the end
            written: 0,
            page: Page::new(),
            page_number: 0,
            carry: Vec::new(),
            spilled: false,
            entry_count: 0,
            parts: Vec::new(),
            ordinals: HashMap::new(),
            last_part: None,
            chains,
        })
    }

    /// Adds the entry of a key. `hash` need only be right in its known bits.
    pub(crate) fn push(&mut self, hash: u64, target: &Target) -> Result<()> {
        let (page, tag) = self.spec.geometry.place(hash);
        assert!(page >= self.page_number, "entries of a run come in the order of their hashes");
        while self.page_number < page {
            self.emit_page()?;
        }
        let slot = match target {
            Target::Frame(address) => {
                let (row, word) = part_of(*address);
                Slot::new(tag, self.ordinal_of(row)?, word)
            }
            Target::Chain(addresses) => {
                let word = u32::try_from(self.chains.len() / 8).unwrap_or(u32::MAX);
                if word >= 1 << 25 {
                    return Err(Error::TooManySegments { parts: self.parts.len(), max: MAX_PARTS });
                }
                encode_chain(&mut self.chains, addresses);
                Slot::new(tag, 0, word)
            }
        };
        self.entry_count += 1;
        let home = self.spec.geometry.line(tag);
        if !self.page.insert(home, slot) {
            self.carry.push((home, slot));
        }
        Ok(())
    }

    fn ordinal_of(&mut self, row: PartRow) -> Result<u32> {
        if let Some((last, ordinal)) = self.last_part
            && last == row
        {
            return Ok(ordinal);
        }
        let key = (row.segment.get(), row.part.get());
        let ordinal = if let Some(&ordinal) = self.ordinals.get(&key) {
            ordinal
        } else {
            if self.parts.len() >= MAX_PARTS {
                return Err(Error::TooManySegments { parts: self.parts.len(), max: MAX_PARTS });
            }
            self.parts.push(row);
            let ordinal = u32::try_from(self.parts.len()).expect("parts are below 2^17");
            self.ordinals.insert(key, ordinal);
            ordinal
        };
        self.last_part = Some((row, ordinal));
        Ok(ordinal)
    }

    /// Writes the current page and begins the next one with what this one spills.
    fn emit_page(&mut self) -> Result<()> {
        let flags = if self.carry.is_empty() { 0 } else { PAGE_SPILLS };
        self.spilled |= flags != 0;
        let slots = self.page.slots.as_bytes();
        let check = page_check(slots, self.spec.number, self.page_number, flags);
        self.buffer.extend_from_slice(slots);
        let trailer = PageTrailer { check: check.into(), flags: flags.into() };
        self.buffer.extend_from_slice(trailer.as_bytes());
        if self.buffer.len() == WRITE_LEN {
            self.flush()?;
        }
        self.page.slots.fill(0);
        self.page.used = 0;
        self.page_number += 1;
        let mut carry = std::mem::take(&mut self.carry);
        carry.retain(|&(home, slot)| !self.page.insert(home, slot));
        self.carry = carry;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Completes and syncs the file. The directory is left to the caller.
    pub(crate) fn finish(mut self) -> Result<RunRecord> {
        let home_pages = self.spec.geometry.page_count();
        while self.page_number < home_pages || self.page.used > 0 || !self.carry.is_empty() {
            self.emit_page()?;
        }
        let parts = std::mem::take(&mut self.parts);
        let parts_crc = checksum::crc(parts.as_bytes());
        self.buffer.extend_from_slice(parts.as_bytes());
        let chains = std::mem::take(&mut self.chains);
        self.buffer.extend_from_slice(&chains);
        self.flush()?;
        let mut header = IndexHeader {
            page_count: home_pages.into(),
            entry_count: self.entry_count.into(),
            chain_bytes: (chains.len() as u64).into(),
            part_count: u32::try_from(parts.len()).expect("parts are below 2^17").into(),
            multiplier: self.spec.geometry.multiplier(),
            shift: self.spec.geometry.shift(),
            hash_bits: u8::try_from(self.spec.geometry.hash_bits()).expect("at most 64"),
            flags: u8::from(self.spilled),
            hash_seed: self.spec.hash_seed.into(),
            parts_crc: parts_crc.into(),
            spill_pages: u32::try_from(self.page_number - home_pages).expect("spills are few").into(),
            reserved: [0; 12],
            crc: 0.into(),
        };
        header.crc = header.expected_crc().into();
        let RunSpec { number, silo_id, generation, keyspace, .. } = self.spec;
        let mut file_header = FileHeader::new(FileKind::Index, silo_id, number, generation);
        file_header.detail = keyspace.into();
        let file_header = file_header.seal();
        self.file.write_all_at(&[file_header.as_bytes(), header.as_bytes()].concat(), 0)?;
        self.file.set_len(self.written)?;
        self.file.sync()?;
        Ok(RunRecord { file: number, origin: silo_id, file_len: self.written, entries: self.entry_count })
    }
}
