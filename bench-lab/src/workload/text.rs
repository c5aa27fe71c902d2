//! Rows as CSV and NDJSON.

use super::block::{Row, flag};
use super::files::Columns;
use super::tables::{AVAILABILITY, BASE_MODELS, BLOCKED_FOR, TYPES};

/// A value of a row.
pub(super) enum Cell<'a> {
    Null,
    Number(u32),
    Bool(bool),
    /// Never with quotes, commas or line ends.
    Text(&'a str),
    /// Spelled from a word in base 64.
    Name(u64),
    /// Spelled from a word in base 16.
    Hash(u64),
    /// Numbers that are not zero.
    List(&'a [u8]),
    Tags(&'a [u16]),
}

/// Calls `f` with name and value of each column, in the order of the file.
pub(super) fn cells<'a>(
    row: &'a Row,
    tags: Option<&'a [u16]>,
    columns: Columns,
    mut f: impl FnMut(&'static str, Cell<'a>),
) {
    let full = columns == Columns::Full;
    let text = |index: u8, table: &[&'static str]| {
        table.get(usize::from(index)).map_or(Cell::Null, |t| Cell::Text(t))
    };
    let set = |bit: u8| Cell::Bool(row.flags & bit != 0);
    f("imageId", Cell::Number(row.id));
    f("userId", Cell::Number(row.user));
    f("postId", Cell::Number(row.post));
    f("nsfwLevel", Cell::Number(u32::from(row.level)));
    f("type", text(row.kind, &TYPES));
    f("baseModel", text(row.base_model, &BASE_MODELS));
    if full {
        f("availability", text(row.availability, &AVAILABILITY));
        f("blockedFor", text(row.blocked, &BLOCKED_FOR));
    }
    f("hasMeta", set(flag::HAS_META));
    f("poi", set(flag::POI));
    if full {
        f("onSite", set(flag::ON_SITE));
        f("minor", set(flag::MINOR));
        f("isPublished", set(flag::IS_PUBLISHED));
        f("isRemix", Cell::Bool(row.remix_of != 0));
        f("remixOf", if row.remix_of == 0 { Cell::Null } else { Cell::Number(row.remix_of) });
        f("toolIds", Cell::List(&row.tools));
        f("techniqueIds", Cell::List(&row.techniques));
    }
    f("sortAt", Cell::Number(row.sort_at));
    if full {
        f("createdAt", Cell::Number(row.created_at));
    }
    f("reactionCount", Cell::Number(row.reactions));
    f("commentCount", Cell::Number(row.comments));
    f("collectedCount", Cell::Number(row.collected));
    if full {
        f("url", Cell::Name(row.name));
        f("hash", Cell::Hash(row.name));
        f("width", Cell::Number(u32::from(row.width)));
        f("height", Cell::Number(u32::from(row.height)));
    }
    if let Some(tags) = tags {
        f("tagIds", Cell::Tags(tags));
    }
}

/// The first line of a CSV file.
pub(super) fn csv_header(columns: Columns, tags: bool) -> String {
    let mut names = Vec::new();
    cells(&Row::default(), tags.then_some(&[]), columns, |name, _| names.push(name));
    names.join(",") + "\n"
}

pub(super) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Spells a word: 22 digits of base 64, or 16 of base 16.
fn push_name(out: &mut Vec<u8>, word: u64, digits: u32, bits: u32) {
    const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let mut left = 0;
    for digit in 0..digits {
        if digit % 10 == 0 {
            left = crate::random::mix(word ^ u64::from(digit + bits));
        }
        out.push(DIGITS[(left & ((1 << bits) - 1)) as usize]);
        left >>= bits;
    }
}

fn push_list<T: itoa::Integer + Copy>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, separator: u8) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(separator);
        }
        push_number(out, item);
    }
}

/// What a cell is in a CSV file; lists are separated by `|`.
fn push_csv(out: &mut Vec<u8>, cell: &Cell<'_>) {
    match cell {
        Cell::Null => {}
        Cell::Number(number) => push_number(out, *number),
        Cell::Bool(set) => out.extend_from_slice(if *set { b"true" } else { b"false" }),
        Cell::Text(text) => out.extend_from_slice(text.as_bytes()),
        Cell::Name(word) => push_name(out, *word, 22, 6),
        Cell::Hash(word) => push_name(out, *word, 16, 4),
        Cell::List(items) => push_list(out, items.iter().copied().filter(|item| *item != 0), b'|'),
        Cell::Tags(tags) => push_list(out, tags.iter().copied(), b'|'),
    }
}

pub(super) fn csv_line(out: &mut Vec<u8>, row: &Row, tags: Option<&[u16]>, columns: Columns) {
    cells(row, tags, columns, |_, cell| {
        push_csv(out, &cell);
        out.push(b',');
    });
    out.pop();
    out.push(b'\n');
}

pub(super) fn json_line(out: &mut Vec<u8>, row: &Row, tags: Option<&[u16]>, columns: Columns) {
    let mut separator = b'{';
    cells(row, tags, columns, |name, cell| {
        out.push(separator);
        separator = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Number(_) | Cell::Bool(_) => push_csv(out, &cell),
            Cell::Text(_) | Cell::Name(_) | Cell::Hash(_) => {
                out.push(b'"');
                push_csv(out, &cell);
                out.push(b'"');
            }
            Cell::List(items) => {
                out.push(b'[');
                push_list(out, items.iter().copied().filter(|item| *item != 0), b',');
                out.push(b']');
            }
            Cell::Tags(tags) => {
                out.push(b'[');
                push_list(out, tags.iter().copied(), b',');
                out.push(b']');
            }
        }
    });
    out.extend_from_slice(b"}\n");
}

/// The text of a name or hash, for formats that want it whole.
pub(super) fn spelled(cell: &Cell<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    push_csv(&mut out, cell);
    out
}
