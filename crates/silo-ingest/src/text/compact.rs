//! Columns without the rows that are left out.

use silo_engine::columns::{Column, Values};

use super::position;

/// Drops rows, given ascending, of a column of so many.
pub(crate) fn drop_rows(column: &mut Column, rows: usize, dropped: &[u32]) {
    if !column.nulls.is_empty() {
        let mut nulls = vec![0u64; (rows - dropped.len()).div_ceil(64)];
        let mut to = 0;
        kept(rows, dropped, |row| {
            let null = column.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
            if let (true, Some(word)) = (null, nulls.get_mut(to / 64)) {
                *word |= 1 << (to % 64);
            }
            to += 1;
        });
        column.nulls = if nulls.iter().all(|&word| word == 0) { Vec::new() } else { nulls };
    }
    drop_values(&mut column.values, rows, dropped);
}

fn drop_values(values: &mut Values, rows: usize, dropped: &[u32]) {
    match values {
        Values::Bool(values) => drop_plain(values, rows, dropped),
        Values::Int(values) => drop_plain(values, rows, dropped),
        Values::Float(values) => drop_plain(values, rows, dropped),
        Values::Text { ends, bytes } => {
            // The bytes of a dropped row are dropped too.
            let gone = drop_ranges(ends, rows, dropped);
            drop_plain_ranges(bytes, &gone);
        }
        Values::List { ends, items } => {
            let gone = drop_ranges(ends, rows, dropped);
            let gone: Vec<u32> = gone.into_iter().flatten().collect();
            let count = super::column::value_count(items);
            drop_values(items, count, &gone);
        }
    }
}

/// Calls with each row that stays.
fn kept(rows: usize, dropped: &[u32], mut each: impl FnMut(usize)) {
    let mut dropped = dropped.iter().map(|&row| row as usize).peekable();
    for row in 0..rows {
        if dropped.next_if_eq(&row).is_none() {
            each(row);
        }
    }
}

fn drop_plain<T: Copy>(values: &mut Vec<T>, rows: usize, dropped: &[u32]) {
    let mut all = Vec::with_capacity(rows.saturating_sub(dropped.len()));
    kept(rows, dropped, |row| all.extend(values.get(row)));
    *values = all;
}

fn drop_plain_ranges(values: &mut Vec<u8>, gone: &[std::ops::Range<u32>]) {
    let mut all = Vec::with_capacity(values.len());
    let mut from = 0;
    for range in gone {
        all.extend_from_slice(values.get(from..range.start as usize).unwrap_or_default());
        from = range.end as usize;
    }
    all.extend_from_slice(values.get(from..).unwrap_or_default());
    *values = all;
}

/// Drops rows from their ends; the ranges that they had.
fn drop_ranges(ends: &mut Vec<u32>, rows: usize, dropped: &[u32]) -> Vec<std::ops::Range<u32>> {
    let mut gone = Vec::with_capacity(dropped.len());
    let mut next = dropped.iter().peekable();
    let mut all = Vec::with_capacity(rows.saturating_sub(dropped.len()));
    let (mut start, mut removed) = (0, 0);
    for (row, &end) in ends.iter().enumerate() {
        if next.next_if(|&&drop| drop == position(row)).is_some() {
            removed += end - start;
            gone.push(start..end);
        } else {
            all.push(end - removed);
        }
        start = end;
    }
    *ends = all;
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_rows_leaves_the_others_as_they_were() {
        let rows = 200;
        let text = |row: usize| "x".repeat(row % 5);
        let column = |keep: &dyn Fn(usize) -> bool| {
            let kept: Vec<usize> = (0..rows).filter(|&row| keep(row)).collect();
            let mut nulls = vec![0u64; kept.len().div_ceil(64)];
            let (mut ends, mut bytes) = (vec![], vec![]);
            let (mut list_ends, mut item_ends, mut item_bytes) = (vec![], vec![], vec![]);
            for (to, &row) in kept.iter().enumerate() {
                nulls[to / 64] |= u64::from(row % 3 == 0) << (to % 64);
                bytes.extend_from_slice(text(row).as_bytes());
                ends.push(position(bytes.len()));
                for item in 0..row % 4 {
                    item_bytes.extend_from_slice(text(row + item).as_bytes());
                    item_ends.push(position(item_bytes.len()));
                }
                list_ends.push(position(item_ends.len()));
            }
            let items = Box::new(Values::Text { ends: item_ends, bytes: item_bytes });
            [
                Column { nulls: nulls.clone(), values: Values::Text { ends, bytes } },
                Column { nulls: nulls.clone(), values: Values::List { ends: list_ends, items } },
                Column { nulls, values: Values::Int(kept.iter().map(|&row| row as i64).collect()) },
            ]
        };
        let dropped: Vec<u32> = vec![0, 1, 63, 64, 65, 130, 199];
        let all = column(&|_| true);
        let expected = column(&|row| !dropped.contains(&position(row)));
        for (mut column, expected) in all.into_iter().zip(expected) {
            drop_rows(&mut column, rows, &dropped);
            assert_eq!(column, expected);
        }
    }
}
