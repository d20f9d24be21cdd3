//! Prints one look as rows come, in the requested format.

use std::time::Duration;

use anyhow::Context;

use super::printer::Printer;
use crate::cli::args::{Cluster as Args, FleetOutput};
use crate::fleet::row::NodeRow;
use crate::fleet::summary::{Summary, Tally};
use crate::model::time::Timestamp;
use crate::sinks::views::fleet::digest::{render_digest, render_line};
use crate::sinks::views::fleet::json::JsonDocument;
use crate::sinks::views::fleet::page::render_page;
use crate::sinks::views::fleet::rows::RowTable;
use crate::sinks::views::style::Style;

/// The time for which rows are collected before the first is printed: a small fleet is then complete, and is printed worst first.
const AT_FIRST: Duration = Duration::from_millis(300);
/// The maximum number of rows that wait to be printed.
const WAITING: usize = 256;

/// The output of one look.
pub(super) struct Sheet {
    format: Format,
    style: Style,
    watched: bool,
    waiting: Vec<NodeRow>,
    begun: bool,
}

enum Format {
    Table(RowTable),
    Json(JsonDocument),
    Page,
}

impl Sheet {
    /// Returns an empty sheet. Nothing is printed yet.
    pub(super) fn new(args: &Args, style: Style) -> Self {
        Self {
            format: match args.output {
                FleetOutput::Table | FleetOutput::Wide => {
                    Format::Table(RowTable::new(style, !args.ready_for.is_empty()))
                }
                FleetOutput::Json => Format::Json(JsonDocument::default()),
                FleetOutput::Html => Format::Page,
            },
            style,
            watched: args.watch,
            waiting: Vec::new(),
            begun: false,
        }
    }

    /// Adds a row, to be printed with the next.
    pub(super) fn add(&mut self, row: NodeRow) {
        // A page shows the worst of all rows, which the tally keeps.
        if !matches!(self.format, Format::Page) {
            self.waiting.push(row);
        }
    }

    /// True if rows should be printed before more come.
    pub(super) const fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    /// Prints the waiting rows, unless it is too early; true if the reader closed the pipe.
    pub(super) async fn print_in_time(
        &mut self,
        printer: &mut Printer,
        time: Timestamp,
        elapsed: Duration,
    ) -> anyhow::Result<bool> {
        if self.waiting.is_empty() || (!self.begun && elapsed < AT_FIRST) {
            return Ok(false);
        }
        self.print(printer, time).await
    }

    /// Prints the waiting rows; true if the reader closed the pipe.
    pub(super) async fn print(&mut self, printer: &mut Printer, time: Timestamp) -> anyhow::Result<bool> {
        let text = self.part(time)?;
        Ok(printer.print(text).await.is_err())
    }

    /// Prints the rest; true if the reader closed the pipe.
    pub(super) async fn end(
        &mut self,
        printer: &mut Printer,
        time: Timestamp,
        summary: &Summary,
        tally: &Tally,
        server: &str,
    ) -> anyhow::Result<bool> {
        if !self.begun {
            self.waiting.sort_by_cached_key(NodeRow::rank);
        }
        let mut text = self.part(time)?;
        let worst: Vec<&NodeRow> = tally.worst().collect();
        match &self.format {
            Format::Table(_) if self.watched => text = format!("{text}{time}: {}\n", render_line(summary)),
            Format::Table(_) => text.push_str(&render_digest(summary, &worst, self.style)),
            Format::Json(_) => text.push_str(&JsonDocument::tail(summary).context("writing the fleet as JSON")?),
            Format::Page => text = render_page(summary, &worst, server, time).context("writing the page")?,
        }
        Ok(printer.print(text).await.is_err())
    }

    fn part(&mut self, time: Timestamp) -> anyhow::Result<String> {
        let rows = std::mem::take(&mut self.waiting);
        let mut text = String::new();
        match &mut self.format {
            Format::Table(table) => text = table.part(&rows),
            Format::Json(document) => {
                if !self.begun {
                    text = JsonDocument::head(time);
                }
                text.push_str(&document.part(&rows).context("writing the fleet as JSON")?);
            }
            Format::Page => {}
        }
        self.begun = true;
        Ok(text)
    }
}
