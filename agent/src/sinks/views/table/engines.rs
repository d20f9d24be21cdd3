//! The engines and their listeners: one line for each listener.

use super::words;
use crate::findings::report::Report;
use crate::model::engine::{Api, Engine, Listener};
use crate::model::socket::ListenerId;
use crate::sinks::views::grid::{Cell, Cut, Grid, shortened, whole};
use crate::sinks::views::style::Style;

pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    let mut columns = vec![
        whole("ENGINE"),
        shortened("SCOPE", Cut::End, 10),
        whole("PID"),
        shortened("LISTENER", Cut::Start, 14),
        whole("BY"),
    ];
    if style.wide {
        columns.extend([whole("PROGRAM"), whole("FILE"), whole("NETNS"), whole("LAST CONNECT")]);
    }
    let mut grid = Grid::new(&columns);
    for engine in report.engines.items() {
        let mut listeners = engine.listeners.iter();
        push(engine, listeners.next(), true, style, &mut grid);
        for listener in listeners {
            push(engine, Some(listener), false, style, &mut grid);
        }
    }
    grid.write(style, out);
}

fn push(engine: &Engine, listener: Option<&Listener>, first: bool, style: Style, grid: &mut Grid) {
    let process = engine.process.as_ref();
    // The engine is named once; its further listeners are below.
    let once = |text: String| if first { Cell::from(text) } else { Cell::default() };
    let name = listener.map_or_else(
        || "no socket".to_owned(),
        |l| match l.api {
            Api::Docker => l.name.to_string(),
            Api::Cri => format!("{} (CRI)", l.name),
        },
    );
    let cells = [
        once(engine.kind.to_string()),
        once(engine.scope.to_string()),
        once(process.map_or_else(|| words::absence(engine).to_owned(), |p| p.key.pid.to_string())),
        name.into(),
        if listener.is_some_and(|l| l.activated) {
            "systemd"
        } else {
            ""
        }
        .into(),
    ];
    if !style.wide {
        grid.push(cells);
        return;
    }
    let [kind, scope, pid, name, by] = cells;
    let file = match listener.map(|l| &l.id) {
        Some(ListenerId::File(file)) => file.to_string(),
        Some(ListenerId::Abstract(..)) => "abstract".to_owned(),
        Some(ListenerId::Tcp(..)) => listener
            .and_then(|l| l.transport)
            .map_or_else(String::new, words::transport),
        None => String::new(),
    };
    grid.push([
        kind,
        scope,
        pid,
        name,
        by,
        once(
            process
                .map(|p| p.executable.clone().unwrap_or_else(|| p.name.clone()))
                .unwrap_or_default(),
        ),
        file.into(),
        listener.map(|l| l.netns.0.to_string()).unwrap_or_default().into(),
        listener
            .and_then(|l| l.last_connect)
            .map_or_else(String::new, words::last_connect)
            .into(),
    ]);
}
