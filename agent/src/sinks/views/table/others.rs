//! Containers that could reach a listener, and containers outside Kubernetes.

use super::words;
use crate::findings::report::Report;
use crate::model::engine::Api;
use crate::model::exposure::{Access, Exposure};
use crate::model::time::Timestamp;
use crate::sinks::views::grid::{Cell, Cut, Grid, shortened, whole};
use crate::sinks::views::style::{Style, Tone};

pub(super) fn write_exposures(report: &Report, style: Style, out: &mut String) {
    write_all(report.exposures.items(), Api::Docker, report.time, style, out);
}

/// Writes the exposures of the runtime's own socket.
pub(super) fn write_runtime_exposures(report: &Report, style: Style, out: &mut String) {
    write_all(report.runtime_exposures.items(), Api::Cri, report.time, style, out);
}

fn write_all(exposures: &[Exposure], api: Api, now: Timestamp, style: Style, out: &mut String) {
    let mut columns = vec![
        shortened("WHO", Cut::End, 16).twice(),
        shortened("OF", Cut::End, 12),
        shortened("ENGINE", Cut::End, 7),
        whole("BY"),
        shortened("MOUNTS", Cut::Start, 12).twice(),
        whole("USED"),
        whole("LAST SEEN"),
    ];
    if style.wide {
        columns.extend(["FIRST SEEN", "AT", "MODE", "LISTENER", "AGENT"].map(whole));
    }
    let mut grid = Grid::new(&columns);
    for e in exposures {
        let used = match (e.used, e.access) {
            (true, _) => Cell::toned("yes", Tone::Bad),
            (false, Access::Denied) => Cell::new("may not"),
            (false, Access::Allowed | Access::Unknown) => Cell::new("not seen"),
        };
        let engine = words::engine(e.engine, &e.scope, api);
        let cells = [
            e.identity.to_string().into(),
            words::workload(e.workload(), style).into(),
            engine.into(),
            e.via.code().into(),
            (&e.host_path).into(),
            used,
            if e.mounted && !style.wide {
                "now".into()
            } else {
                words::when(e.last_seen, now, style).into()
            },
        ];
        if style.wide {
            let [who, of, engine, via, mount, used, last] = cells;
            grid.push([
                who,
                of,
                engine,
                via,
                mount,
                used,
                last,
                words::when(e.first_seen, now, style).into(),
                (&e.container_path).into(),
                if e.readonly { "read-only" } else { "read-write" }.into(),
                e.listener.to_string().into(),
                words::agent(e.agent).into(),
            ]);
        } else {
            grid.push(cells);
        }
    }
    grid.write(style, out);
}

pub(super) fn write_shadow_containers(report: &Report, style: Style, out: &mut String) {
    let mut grid = Grid::new(&[
        whole("ID"),
        whole("ENGINE"),
        shortened("NAME", Cut::End, 10),
        shortened("IMAGE", Cut::Start, 12),
    ]);
    let or_unknown = |text: &Option<String>| match text {
        Some(text) => Cell::new(text),
        None => Cell::toned("unknown", Tone::Faint),
    };
    for shadow in report.shadow_containers.items() {
        let id = if style.wide { &shadow.id.0 } else { shadow.id.short() };
        grid.push([
            id.into(),
            words::engine(shadow.engine, &shadow.scope, Api::Docker).into(),
            or_unknown(&shadow.name),
            or_unknown(&shadow.image),
        ]);
    }
    grid.write(style, out);
}
