//! Lays out one table: columns are aligned by their width on a terminal; on a narrow one they are shortened, and if even that
//! does not fit, every row becomes a paragraph. A shortened cell ends or begins with `…`, so that no loss goes unnoticed.

use super::prose::{columns, keep_end, keep_ends, keep_start, wrap};
use super::style::{Style, Tone};
use crate::sinks::text::visible;

/// The part of a cell that may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// None: numbers, codes, ages.
    Never,
    /// The end.
    End,
    /// The start.
    Start,
    /// The middle, so that names with equal starts and names with equal ends stay different.
    Middle,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// The heading, in capitals.
    pub(super) heading: &'static str,
    /// The part of its cells that may be cut.
    pub(super) cut: Cut,
    /// The minimum width, in terminal columns.
    pub(super) least: usize,
    /// Its share of the free width, relative to the other columns that may be shortened.
    pub(super) weight: usize,
}

impl Column {
    /// Returns the same column with twice the share of the width.
    pub(super) const fn twice(self) -> Self {
        Self { weight: 2, ..self }
    }
}

/// A column that is always shown whole.
pub(super) const fn whole(heading: &'static str) -> Column {
    Column {
        heading,
        cut: Cut::Never,
        least: 0,
        weight: 1,
    }
}

/// A column that may be shortened to `least`.
pub(super) const fn shortened(heading: &'static str, cut: Cut, least: usize) -> Column {
    Column {
        heading,
        cut,
        least,
        weight: 1,
    }
}

/// One cell: safe to print, on one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Makes a cell of `text` from any source.
    pub(super) fn new(text: impl AsRef<str>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// Makes a cell of `text` in a colour.
    pub(super) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: visible(text.as_ref().trim_end()).into_owned(),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// One table.
#[derive(Debug)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

const INDENT: usize = 2;
const GAP: usize = 2;

impl Grid {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has a cell for every column.
    pub(super) fn push<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for every column");
        self.push_row(cells.into());
    }

    /// Adds a row with as many cells as there are columns.
    pub(super) fn push_row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes the table, or nothing where it has no rows.
    pub(super) fn write(mut self, style: Style, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        self.leave_out_empty_columns();
        let mut natural = Vec::new();
        self.write_part(style, &mut natural, out);
    }

    /// Writes the rows as one of several parts of a table: its columns are at least as wide as those of the parts before, which
    /// `natural` keeps; it is empty before the first part, which has the headings.
    pub(super) fn write_part(&self, style: Style, natural: &mut Vec<usize>, out: &mut String) {
        let first = natural.is_empty();
        self.widen(natural);
        match self.fit(natural.clone(), style) {
            Some(widths) => self.write_aligned(&widths, first, style, out),
            None => self.write_stacked(style, out),
        }
    }

    fn leave_out_empty_columns(&mut self) {
        let used: Vec<bool> = (0..self.columns.len())
            .map(|i| self.rows.iter().any(|row| !row[i].text.is_empty()))
            .collect();
        let mut keep = used.iter();
        self.columns.retain(|_| *keep.next().unwrap_or(&true));
        for row in &mut self.rows {
            let mut keep = used.iter();
            row.retain(|_| *keep.next().unwrap_or(&true));
        }
    }

    /// Makes every column at least as wide as its heading and its cells.
    fn widen(&self, widths: &mut Vec<usize>) {
        widths.resize(self.columns.len(), 0);
        for (at, (width, column)) in widths.iter_mut().zip(&self.columns).enumerate() {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| columns(&cell.text)).max().unwrap_or(0);
            *width = (*width).max(widest).max(columns(column.heading));
        }
    }

    /// The widths that fit the terminal; none if even the minimum widths do not.
    fn fit(&self, mut widths: Vec<usize>, style: Style) -> Option<Vec<usize>> {
        let Some(room) = style.columns().filter(|_| !style.wide) else {
            return Some(widths);
        };
        let room = room.saturating_sub(INDENT + GAP * widths.len().saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let widest = widths
                .iter_mut()
                .zip(&self.columns)
                .filter(|(width, c)| c.cut != Cut::Never && **width > c.least.max(columns(c.heading)))
                .max_by_key(|(width, c)| **width * 2 / c.weight)?;
            *widest.0 -= 1;
        }
        Some(widths)
    }

    fn write_aligned(&self, widths: &[usize], headed: bool, style: Style, out: &mut String) {
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|c| Cell::toned(c.heading, Tone::Faint))
            .collect();
        for row in headed.then_some(&headings).into_iter().chain(&self.rows) {
            // Blanks are written only before the next text, so that no line ends in one.
            let mut owed = INDENT;
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
                let text = match column.cut {
                    Cut::Never => cell.text.clone(),
                    Cut::End => keep_start(&cell.text, *width),
                    Cut::Start => keep_end(&cell.text, *width),
                    Cut::Middle => keep_ends(&cell.text, *width),
                };
                if !text.is_empty() {
                    out.extend(std::iter::repeat_n(' ', owed));
                    out.push_str(&style.paint(cell.tone, &text));
                    owed = 0;
                }
                owed += width.saturating_sub(columns(&text)) + GAP;
            }
            out.push('\n');
        }
    }

    /// Writes each row as a paragraph under its first cell.
    fn write_stacked(&self, style: Style, out: &mut String) {
        for row in &self.rows {
            let mut cells = row.iter().zip(&self.columns);
            if let Some((first, _)) = cells.next().filter(|(first, _)| !first.text.is_empty()) {
                write_paragraph(&first.text, first.tone, INDENT, 2 * INDENT, style, out);
            }
            let others: Vec<String> = cells
                .filter(|(cell, _)| !cell.text.is_empty())
                .map(|(cell, column)| format!("{} {}", column.heading.to_lowercase(), cell.text))
                .collect();
            if !others.is_empty() {
                write_paragraph(&others.join(", "), Tone::Plain, 2 * INDENT, 2 * INDENT, style, out);
            }
        }
    }
}

/// Writes `text` wrapped: its first line indented by `indent`, the others by `hang`.
pub(super) fn write_paragraph(text: &str, tone: Tone, indent: usize, hang: usize, style: Style, out: &mut String) {
    let text = text.trim_end();
    let lines = match style.columns() {
        Some(c) => wrap(text, c.saturating_sub(indent), c.saturating_sub(hang)),
        None => vec![text.to_owned()],
    };
    for (at, line) in lines.iter().enumerate() {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', if at == 0 { indent } else { hang }));
            out.push_str(&style.paint(tone, line));
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(&[
            shortened("WHO", Cut::End, 8),
            whole("CONNECTIONS"),
            whole("NOTE"),
            shortened("LISTENER", Cut::Start, 8),
        ]);
        grid.push([
            "pod ci/日本語-0".into(),
            "3".into(),
            Cell::default(),
            "/run/docker.sock".into(),
        ]);
        grid.push(["x\u{1b}[0m".into(), "12".into(), Cell::default(), Cell::default()]);
        grid
    }

    fn written(width: Option<usize>, wide: bool) -> String {
        let mut out = String::new();
        grid().write(
            Style {
                colour: false,
                width,
                wide,
            },
            &mut out,
        );
        out
    }

    #[test]
    fn columns_are_aligned_by_their_width_on_a_terminal() {
        let expected = "  WHO              CONNECTIONS  LISTENER\n  \
                        pod ci/日本語-0  3            /run/docker.sock\n  \
                        x\\u{1b}[0m       12\n";
        assert_eq!(written(None, false), expected);
        assert_eq!(written(Some(20), true), expected);
    }

    #[test]
    fn a_narrow_terminal_shortens_the_widest_first() {
        let expected = "  WHO           CONNECTIONS  LISTENER\n  \
                        pod ci/日本…  3            …docker.sock\n  \
                        x\\u{1b}[0m    12\n";
        assert_eq!(written(Some(41), false), expected);
    }

    #[test]
    fn a_very_narrow_terminal_gets_complete_paragraphs() {
        let expected = "  pod ci/日本語-0\n    \
                        connections 3,\n    \
                        listener\n    \
                        /run/docker.sock\n  \
                        x\\u{1b}[0m\n    \
                        connections 12\n";
        assert_eq!(written(Some(20), false), expected);
    }
}
