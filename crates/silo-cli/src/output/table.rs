//! Tables that fit the terminal.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// A table under construction.
pub(crate) struct TextTable {
    table: Table,
}

impl TextTable {
    /// A table with these column heads.
    pub(crate) fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(heads.into_iter().map(Cell::new));
        Self { table }
    }

    /// Adds a row; numbers are set flush right.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.add_row(cells.into_iter().map(|text| {
            let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
                && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | '-' | 'e' | '+'))
                && text.chars().skip(1).all(|c| c != '-');
            Cell::new(&text).set_alignment(if number { CellAlignment::Right } else { CellAlignment::Left })
        }));
    }
}

impl std::fmt::Display for TextTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.table.fmt(f)
    }
}
