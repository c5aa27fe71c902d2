//! The format page and the code agree.

use std::mem::offset_of;

use super::file_header::FileHeader;
use super::frame::FrameHeader;
use super::group::GroupHeader;
use super::index::{ChainHeader, IndexHeader, PageTrailer, PartRow};
use super::manifest::ManifestHeader;
use super::mark::MarkSlot;

type Fields = Vec<(usize, usize, String)>;

/// The offset tables of the page, by title, without the reserved fields.
fn tables() -> Vec<(String, usize, Fields)> {
    let page = include_str!("../../../../docs/format/datasilo-v1.md");
    let mut tables: Vec<(String, usize, Fields)> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            let (name, size) = title.split_once(" (").unwrap();
            let size = size.strip_suffix(" bytes)").unwrap().parse().unwrap();
            tables.push((name.to_owned(), size, Vec::new()));
            open = true;
        } else if line.starts_with("## ") {
            open = false;
        } else if open {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            if let [offset, size, name, ..] = cells[..]
                && let (Ok(offset), Ok(size)) = (offset.parse(), size.parse())
            {
                tables.last_mut().unwrap().2.push((offset, size, name.to_owned()));
            } else if cells.len() > 1 && cells[0].parse::<usize>().is_ok() {
                panic!("row without a size: {line}");
            }
        }
    }
    tables
}

macro_rules! layout {
    ($title:literal, $struct:ty, $($field:ident),+) => {
        ($title, size_of::<$struct>(), vec![$((offset_of!($struct, $field), stringify!($field))),+])
    };
}

#[test]
fn format_page_agrees_with_the_code() {
    let code = [
        layout!(
            "File header",
            FileHeader,
            magic,
            version,
            features,
            silo_id,
            number,
            role,
            generation,
            prev_number,
            prev_words,
            detail,
            crc
        ),
        layout!(
            "Group header",
            GroupHeader,
            magic,
            crc,
            base_seq,
            offset_words,
            payload_words,
            frame_count,
            keyspace,
            synced_words,
            kind,
            flags,
            align_shift
        ),
        layout!("Frame header", FrameHeader, crc, value_len, ordinal, flags, key_len),
        layout!("Mark slot", MarkSlot, magic, crc, silo_id, counter, segment, synced_words),
        layout!(
            "Index header",
            IndexHeader,
            page_count,
            entry_count,
            chain_bytes,
            part_count,
            multiplier,
            shift,
            hash_bits,
            flags,
            hash_seed,
            parts_crc,
            spill_pages,
            crc
        ),
        layout!("Page trailer", PageTrailer, check, flags),
        layout!("Part row", PartRow, segment, part),
        layout!("Chain header", ChainHeader, crc, count),
        layout!("Manifest header", ManifestHeader, magic, version, features, body_len, body_crc, crc),
    ];
    let page = tables();
    assert_eq!(page.len(), code.len(), "a table is missing on one side");
    for ((title, size, fields), (code_title, code_size, code_fields)) in page.iter().zip(code) {
        assert_eq!((title.as_str(), *size), (code_title, code_size));
        let mut end = 0;
        for (offset, size, name) in fields {
            assert_eq!(*offset, end, "{title}: {name} does not follow the field before it");
            end = offset + size;
        }
        assert_eq!(end, *size, "{title}: the rows do not add up to the size");
        let named: Vec<(usize, &str)> =
            fields.iter().filter(|f| f.2 != "reserved").map(|f| (f.0, f.2.as_str())).collect();
        assert_eq!(named, code_fields, "{title}");
    }
}
