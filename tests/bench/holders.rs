//! Finds every holder of a connection to docker.sock, on loads of several sizes: the cost, and the holders found.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::figures::{Figure, mean, median, millis, table, times};
use crate::loads::{Load, Size};
use crate::tools::{self, Run};

/// A process that is newer than castoff's limit is read again in each look. On a node this lasts for some seconds only.
const SETTLED: Duration = Duration::from_secs(6);

/// The looks of one agent after its first: two turns of the work that it spreads over twenty.
const REPEATED: usize = 40;

/// The measurements of one load.
#[derive(Debug)]
pub(crate) struct Measured {
    name: &'static str,
    ss: Run,
    lsof: Option<Run>,
    first: Run,
    repeated: Run,
    /// A repeated look with the kernel's iterator, or the reason why there is none.
    by_iterator: Result<Run, String>,
    held: usize,
    found: Vec<(&'static str, usize)>,
    pub(crate) missed: Vec<u32>,
}

/// The loads that have a goal, with the number of rounds of measurement.
const WITH_GOALS: [(&str, usize, Size); 3] = [
    ("400 processes, 6,000 sockets", 7, size(400, 6_000, 3_000, 0, 60)),
    ("400 processes, 30,000 sockets", 3, size(400, 30_000, 3_600, 0, 60)),
    ("110 namespaces", 5, size(0, 0, 0, 110, 40)),
];

/// Those between them, which are measured if `--for` gives at least a minute.
const MORE: [(&str, usize, Size); 5] = [
    ("400 processes, 12,000 sockets", 3, size(400, 12_000, 3_000, 0, 60)),
    ("1,600 processes, 6,000 sockets", 3, size(1_600, 6_000, 3_000, 0, 60)),
    ("5,000 processes, 12,000 sockets", 3, size(5_000, 12_000, 10_000, 0, 60)),
    ("10 namespaces", 3, size(0, 0, 0, 10, 5)),
    ("50 namespaces", 3, size(0, 0, 0, 50, 20)),
];

/// Returns the loads, with the number of rounds of measurement.
pub(crate) fn loads() -> Vec<(&'static str, usize, Size)> {
    let more = if tools::seconds(0) >= 60 { &MORE[..] } else { &[] };
    [&WITH_GOALS[..], more].concat()
}

const fn size(processes: usize, sockets: usize, files: usize, namespaces: usize, clients: usize) -> Size {
    Size {
        processes,
        sockets,
        files,
        namespaces,
        clients,
        ..Size::NONE
    }
}

/// Measures one load: the tools in turn, repeatedly.
pub(crate) fn measure(name: &'static str, rounds: usize, size: Size) -> Result<Measured> {
    let made = Instant::now();
    let load = Load::make(size)?;
    thread::sleep(SETTLED.saturating_sub(made.elapsed()));
    let with_lsof = tools::is_installed("lsof");
    let (mut ss, mut lsof, mut first, mut repeated) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut by_castoff, mut found_by_iterator) = (BTreeSet::new(), BTreeSet::new());
    let mut by_iterator = Ok(Vec::new());
    for _ in 0..rounds {
        ss.push(tools::time("ss", &["-xp"])?);
        let (runs, found) = tools::look(1 + REPEATED, &load.socket)?;
        first.extend(runs.first());
        repeated.push(mean(runs.get(1..).unwrap_or_default()));
        by_castoff = found;
        by_iterator = by_iterator.and_then(|mut runs: Vec<Run>| {
            let (looks, found) =
                tools::look_by_iterator(1 + REPEATED, &load.socket).map_err(|error| error.to_string())?;
            runs.push(mean(looks.get(1..).unwrap_or_default()));
            found_by_iterator = found;
            Ok(runs)
        });
        if with_lsof {
            lsof.push(tools::time("lsof", &["-nP", "-U"])?);
        }
    }
    let mut found = vec![("castoff", by_castoff), ("ss -xp", tools::found_by_ss(&load.socket)?)];
    if by_iterator.is_ok() {
        found.push(("castoff, iterator", found_by_iterator));
    }
    if with_lsof {
        found.push(("lsof -U +E", tools::found_by_lsof(&load.socket)?));
    }
    if tools::is_installed("osqueryi") {
        found.push(("osquery", tools::found_by_osquery(&load.socket)?));
    }
    let held: BTreeSet<u32> = load.holders.iter().copied().collect();
    let missed = found
        .first()
        .map(|(_, found)| held.difference(found).copied().collect());
    let counted = found
        .iter()
        .map(|(tool, found)| (*tool, held.intersection(found).count()));
    Ok(Measured {
        name,
        ss: median(&ss),
        lsof: with_lsof.then(|| median(&lsof)),
        first: median(&first),
        repeated: median(&repeated),
        by_iterator: by_iterator.map(|runs| median(&runs)),
        held: held.len(),
        found: counted.collect(),
        missed: missed.unwrap_or_default(),
    })
}

/// Returns milliseconds of wall time and of CPU time, and the ratio to castoff's.
pub(crate) fn print_times(all: &[Measured]) -> String {
    let pair = |run: Run| format!("{:.1} / {:.1}", millis(run.wall), millis(run.cpu));
    let row = |m: &Measured| {
        let quicker = |run: Run| format!("{:.1} / {:.1}", times(m.ss.wall, run.wall), times(m.ss.cpu, run.cpu));
        vec![
            m.name.to_owned(),
            pair(m.ss),
            m.lsof.map_or("-".to_owned(), pair),
            pair(m.first),
            pair(m.repeated),
            m.by_iterator.as_ref().map_or("-".to_owned(), |run| pair(*run)),
            quicker(m.first),
            quicker(m.repeated),
            m.by_iterator.as_ref().map_or_else(Clone::clone, |run| quicker(*run)),
        ]
    };
    table(
        "Find every holder: milliseconds, wall / CPU (medians), and how many times less than ss -xp",
        &[
            "load",
            "ss -xp",
            "lsof -nP -U",
            "first look",
            "repeated",
            "by iterator",
            "× first",
            "× repeated",
            "× by iterator",
        ],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Returns the holders found, of all holders of a connection.
pub(crate) fn print_found(all: &[Measured]) -> String {
    let mut rows = Vec::new();
    for m in all {
        for (tool, count) in &m.found {
            let misses = match m.held - count {
                0 => "all".to_owned(),
                missed => format!("misses {missed}"),
            };
            rows.push(vec![
                m.name.to_owned(),
                (*tool).to_owned(),
                format!("{count} of {}", m.held),
                misses,
            ]);
        }
    }
    table("Holders found", &["load", "tool", "found", ""], &rows)
}

/// Returns the figures that follow from these loads.
pub(crate) fn figures(all: &[Measured]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for m in all {
        let least = match m.name {
            "400 processes, 6,000 sockets" => 2.0,
            "400 processes, 30,000 sockets" => 3.0,
            "110 namespaces" => {
                figures.push(Figure::at_most(
                    "110 namespaces, first look, CPU",
                    millis(m.first.cpu),
                    40.0,
                    "ms",
                ));
                figures.push(Figure::at_most(
                    "110 namespaces, repeated, CPU",
                    millis(m.repeated.cpu),
                    40.0,
                    "ms",
                ));
                continue;
            }
            _ => continue,
        };
        let by_iterator = if m.name.contains("30,000") { 15.0 } else { 25.0 };
        let by_iterator = m.by_iterator.iter().map(|run| ("by iterator", *run, by_iterator));
        let looks = [("first look", m.first, least), ("repeated", m.repeated, 15.0)];
        for (kind, run, least) in looks.into_iter().chain(by_iterator) {
            for (of, value) in [("wall", times(m.ss.wall, run.wall)), ("CPU", times(m.ss.cpu, run.cpu))] {
                figures.push(Figure::at_least(
                    format!("{}, {kind}, {of}", m.name),
                    value,
                    least,
                    "× ss -xp",
                ));
            }
        }
    }
    figures
}
