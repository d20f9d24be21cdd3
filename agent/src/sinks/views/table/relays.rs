//! Clients of an engine that accept connections themselves.

use crate::findings::report::Report;
use crate::model::relay::{Relay, RelayBasis};
use crate::sinks::views::grid::{Cell, Cut, Grid, shortened, whole};
use crate::sinks::views::style::{Style, Tone};

/// Writes one line for each relay.
pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    let mut columns = vec![
        shortened("WHO", Cut::End, 16).twice(),
        shortened("ACCEPTS AT", Cut::Start, 12).twice(),
        whole("PASSES ON"),
        shortened("CONNECTED TO IT", Cut::End, 15),
    ];
    if style.wide {
        columns.extend(["EVIDENCE", "USES"].map(whole));
    }
    let mut grid = Grid::new(&columns);
    for relay in report.relays.items() {
        let passes_on = if relay.is_sure() {
            Cell::toned("yes", Tone::Bad)
        } else {
            Cell::new("maybe")
        };
        let mut cells = vec![
            relay.identity.to_string().into(),
            joined(relay.listeners.iter().map(|point| point.name.to_string())),
            passes_on,
            joined(relay.clients.iter().map(|client| client.identity.to_string())),
        ];
        if style.wide {
            cells.push(joined(evidence(relay)));
            cells.push(joined(relay.upstream.iter().map(ToString::to_string)));
        }
        grid.push_row(cells);
    }
    grid.write(style, out);
}

fn evidence(relay: &Relay) -> impl Iterator<Item = String> {
    let bases = relay.listeners.iter().filter_map(|point| point.basis);
    bases.map(RelayBasis::code).map(str::to_owned)
}

fn joined(parts: impl Iterator<Item = String>) -> Cell {
    parts.collect::<Vec<_>>().join(", ").into()
}
