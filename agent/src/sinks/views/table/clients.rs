//! The clients of a listener, now or before.

use std::collections::{BTreeSet, HashMap};

use super::words;
use crate::findings::report::Report;
use crate::model::client::{Client, ClientIdentity};
use crate::model::process::Process;
use crate::model::time::Timestamp;
use crate::sinks::views::grid::{Cell, Cut, Grid, shortened, whole};
use crate::sinks::views::style::{Style, Tone};

/// Writes one client a line. Only a wide table distinguishes the listeners of one engine: for a person it is one client.
pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    write_all(report.clients.items(), report.time, style, out);
}

/// Writes the clients of the runtime's own socket.
pub(super) fn write_runtime(report: &Report, style: Style, out: &mut String) {
    write_all(report.runtime_clients.items(), report.time, style, out);
}

fn write_all(clients: &[Client], now: Timestamp, style: Style, out: &mut String) {
    let mut columns = vec![
        shortened("WHO", Cut::End, 16).twice(),
        shortened("OF", Cut::End, 12),
        shortened("ENGINE", Cut::End, 7),
        shortened("ASKS FOR", Cut::End, 8),
        whole("CONNECTIONS"),
        whole("SINCE"),
        whole("LAST SEEN"),
    ];
    if style.wide {
        columns.extend(
            [
                "CONNECTS", "PID", "PROGRAM", "AGENT", "UID", "UNIT", "LISTENER", "SEEN BY",
            ]
            .map(whole),
        );
    }
    let mut grid = Grid::new(&columns);
    if !style.wide {
        for client in without_listeners(clients) {
            grid.push(narrow(&client, now, style));
        }
    }
    for client in clients.iter().filter(|_| style.wide) {
        let cells = narrow(client, now, style);
        let [who, of, engine, asks, connections, since, last] = cells;
        let [connects, pid, program, agent, uid, unit, listener, origin] = details(client);
        grid.push([
            who,
            of,
            engine,
            asks,
            connections,
            since,
            last,
            connects,
            pid,
            program,
            agent,
            uid,
            unit,
            listener,
            origin,
        ]);
    }
    grid.write(style, out);
}

/// Merges the entries of clients that use several listeners of one engine, in the same order.
pub(super) fn without_listeners(clients: &[Client]) -> Vec<Client> {
    let mut merged: Vec<Client> = Vec::new();
    let mut place = HashMap::new();
    for client in clients {
        let key = &client.key;
        let at = *place
            .entry((&key.identity, key.engine, &key.scope, key.api))
            .or_insert(merged.len());
        let Some(same) = merged.get_mut(at) else {
            merged.push(client.clone());
            continue;
        };
        same.connections = same.connections.saturating_add(client.connections);
        same.pending = same.pending.saturating_add(client.pending);
        same.first_seen = same.first_seen.min(client.first_seen);
        same.last_seen = same.last_seen.max(client.last_seen);
        same.connects = same.connects.saturating_add(client.connects);
        same.requests.absorb(&client.requests);
    }
    merged
}

fn narrow(client: &Client, now: Timestamp, style: Style) -> [Cell; 7] {
    let open = client.is_open();
    let key = &client.key;
    let last = if open && !style.wide {
        "now".to_owned()
    } else {
        words::when(client.last_seen, now, style)
    };
    let tone = if open { Tone::Plain } else { Tone::Faint };
    let asks = if style.wide {
        words::requests(&client.requests)
    } else {
        words::purposes(&client.requests)
    };
    let workload = match &key.identity {
        ClientIdentity::Pod(place) => place.workload.as_ref(),
        _ => None,
    };
    [
        Cell::toned(key.identity.to_string(), tone),
        Cell::toned(words::workload(workload, style), tone),
        Cell::toned(words::engine(key.engine, &key.scope, key.api), tone),
        Cell::toned(asks, tone),
        Cell::toned(words::connections(client), tone),
        Cell::toned(words::when(client.first_seen, now, style), tone),
        Cell::toned(last, tone),
    ]
}

fn details(client: &Client) -> [Cell; 8] {
    let holders = &client.holders;
    [
        client.connects.to_string().into(),
        joined(holders.iter().map(|p| p.key.pid)),
        programs(client),
        words::agent(client.agent).into(),
        distinct(holders, |p| p.uid.map(|uid| uid.to_string())),
        distinct(holders, |p| p.membership.unit.as_ref().map(ToString::to_string)),
        client.key.listener.to_string().into(),
        client.origin.code().into(),
    ]
}

/// The programs that hold its connections, and those that made them.
fn programs(client: &Client) -> Cell {
    let path = |p: &Process| p.executable.clone().unwrap_or_else(|| p.name.clone());
    let holders: BTreeSet<String> = client.holders.iter().map(path).collect();
    let connectors: BTreeSet<String> = client.connectors.iter().map(path).collect();
    let by = |path: String| format!("connected by {path}");
    joined(holders.into_iter().chain(connectors.into_iter().map(by)))
}

fn distinct(holders: &[Process], what: impl Fn(&Process) -> Option<String>) -> Cell {
    joined(holders.iter().filter_map(what).collect::<BTreeSet<_>>())
}

fn joined(items: impl IntoIterator<Item = impl ToString>) -> Cell {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    items.join(",").into()
}
