//! Rows as a table that is printed in parts: the columns keep the widths of the first part, and only grow.

use std::time::Duration;

use super::words;
use crate::fleet::row::NodeRow;
use crate::sinks::views::grid::{Cell, Column, Cut, Grid, shortened, whole};
use crate::sinks::views::style::{Style, Tone};
use crate::sinks::views::table::words::{age, verdict_tone};

/// The number of users in a line that is not wide.
const USERS: usize = 2;

/// A table in parts.
#[derive(Debug)]
pub struct RowTable {
    style: Style,
    /// True if the Nodes are judged for targets.
    asks: bool,
    columns: Vec<Column>,
    /// The current width of the columns.
    natural: Vec<usize>,
}

impl RowTable {
    /// Returns an empty table. `asks` is true if there are answers for targets.
    pub fn new(style: Style, asks: bool) -> Self {
        let mut columns = vec![
            shortened("NODE", Cut::Middle, 20).twice(),
            whole("VERDICT"),
            shortened("RUNTIME", Cut::End, 7),
            whole("CLIENTS"),
            whole("EXPOSURES"),
            whole("AGE"),
        ];
        if asks {
            columns.push(whole("READY FOR"));
        }
        if style.wide {
            columns.extend(["SHADOW", "UNUSED", "KUBELET UP TO", "AGENT", "POD", "WHO", "WHY"].map(whole));
        } else {
            columns.push(shortened("WHO / NOTE", Cut::End, 10).twice());
        }
        Self {
            style,
            asks,
            columns,
            natural: Vec::new(),
        }
    }

    /// Renders the next rows, in this order.
    pub fn part(&mut self, rows: &[NodeRow]) -> String {
        let mut out = String::new();
        if rows.is_empty() {
            return out;
        }
        let mut grid = Grid::new(&self.columns);
        for row in rows {
            grid.push_row(self.cells(row));
        }
        grid.write_part(self.style, &mut self.natural, &mut out);
        out
    }

    fn cells(&self, row: &NodeRow) -> Vec<Cell> {
        let wide = self.style.wide;
        let agent = row.agent.as_ref();
        let look = agent.and_then(|agent| agent.age_seconds);
        let mut cells = vec![
            Cell::new(&row.node),
            Cell::toned(row.verdict.code(), verdict_tone(row.verdict)),
            Cell::new(words::runtime(&row.runtime)),
            Cell::new(words::clients(&row.clients)),
            Cell::new(words::count(&row.exposures)),
            Cell::new(look.map_or_else(|| "?".to_owned(), |seconds| age(Duration::from_secs(seconds)))),
        ];
        if self.asks {
            cells.push(Cell::new(words::readiness(&row.readiness, wide)));
        }
        if wide {
            cells.extend([
                Cell::new(words::count(&row.shadow_containers)),
                Cell::new(words::free(&row.docker_free)),
                Cell::new(words::ceiling(&row.kubelet_ceiling)),
                Cell::new(agent.and_then(|agent| agent.version.as_deref()).unwrap_or("?")),
                Cell::new(agent.map_or("none", |agent| &agent.pod)),
                Cell::new(words::who(&row.clients, usize::MAX)),
                Cell::toned(&row.reason, Tone::Faint),
            ]);
        } else {
            let who = words::who(&row.clients, USERS);
            let note = words::note(row);
            let gap = if who.is_empty() || note.is_empty() { "" } else { "; " };
            cells.push(Cell::new(format!("{who}{gap}{note}")));
        }
        cells
    }
}
