//! The fleet as one page to share: a single file without scripts or external resources, bounded for any fleet.

use askama::Template;

use super::words::{self, thousands};
use crate::findings::report::Verdict;
use crate::fleet::row::{NodeRow, Reported};
use crate::fleet::summary::{Count, DayCount, NODES_SHOWN, Summary};
use crate::model::time::Timestamp;

/// The number of namespaces, runtimes and reasons that get a line.
const LINES: usize = 25;
/// The number of users that are listed for a Node.
const USERS: usize = 3;

/// One line with a bar.
struct Bar {
    what: String,
    /// The kind of the line, for its colour.
    class: &'static str,
    amount: String,
    /// From 0 to 1000.
    width: u64,
}

struct VerdictLine {
    word: &'static str,
    meaning: &'static str,
    amount: String,
    /// The start and the width of its part of the whole, from 0 to 1000.
    from: u64,
    width: u64,
    percent: String,
}

/// One day of the last week.
struct DayLine {
    day: String,
    used: String,
    unused: String,
    unknown: String,
    /// The parts of the bar from the left, from 0 to 1000: its class, its start and its width.
    parts: [(&'static str, u64, u64); 3],
}

struct NodeLine {
    node: String,
    word: &'static str,
    runtime: String,
    clients: String,
    who: String,
    exposures: String,
    note: String,
}

#[derive(Template)]
#[template(path = "fleet/page.html")]
struct Page<'a> {
    summary: &'a Summary,
    of: &'a str,
    time: Timestamp,
    version: &'static str,
    nodes: String,
    headline: String,
    /// The number of nodes on which Docker is proven unused; empty if there is none.
    free: String,
    verdicts: Vec<VerdictLine>,
    users: Vec<Bar>,
    more_users: String,
    namespaces: Vec<Bar>,
    more_namespaces: usize,
    lines: Vec<NodeLine>,
    more_nodes: String,
    doubts: Vec<Bar>,
    runtimes: Vec<Bar>,
    more_runtimes: usize,
    ceilings: Vec<Bar>,
    /// Empty if no day is known.
    days: Vec<DayLine>,
}

/// Renders the page. `of` is the API server's name; `worst` are the worst Nodes, worst first.
///
/// # Errors
/// None that a fleet can cause.
pub fn render_page(summary: &Summary, worst: &[&NodeRow], of: &str, time: Timestamp) -> Result<String, askama::Error> {
    let lines: Vec<NodeLine> = worst
        .iter()
        .filter(|row| is_worth_a_line(row.verdict))
        .map(|row| line(row))
        .collect();
    let worth: u64 = summary
        .verdicts
        .iter()
        .filter(|count| is_worth_a_line(count.what))
        .map(|count| count.nodes)
        .sum();
    let most = summary.users.first().map_or(0, |user| user.nodes);
    let users = summary.users.iter().map(|user| Bar {
        what: user.user.to_string(),
        class: "in-use",
        amount: format!("{} · {} open", nodes(user.nodes), thousands(user.connections)),
        width: share(user.nodes, most),
    });
    let namespace = |namespace: &Option<String>| namespace.clone().unwrap_or_else(|| "outside Kubernetes".to_owned());
    Page {
        summary,
        of,
        time,
        version: env!("CARGO_PKG_VERSION"),
        nodes: nodes(summary.nodes),
        headline: headline(summary),
        free: words::docker_free(summary).unwrap_or_default(),
        verdicts: verdicts(summary),
        users: users.collect(),
        more_users: if summary.more_users > 0 {
            thousands(summary.more_users)
        } else {
            String::new()
        },
        namespaces: bars(&summary.namespaces, "in-use", namespace),
        more_namespaces: summary.namespaces.len().saturating_sub(LINES),
        more_nodes: match worth.saturating_sub(lines.len() as u64) {
            0 => String::new(),
            more => thousands(more),
        },
        lines,
        doubts: bars(&summary.doubts, "unknown", |doubt| words::doubt(*doubt).to_owned()),
        runtimes: bars(&summary.runtimes, "neutral", Clone::clone),
        more_runtimes: summary.runtimes.len().saturating_sub(LINES),
        ceilings: bars(&summary.kubelet_ceilings, "neutral", |minor| {
            words::ceiling(&Reported::Known(*minor))
        }),
        days: days(summary, time),
    }
    .render()
}

fn is_worth_a_line(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Runtime | Verdict::InUse | Verdict::Exposed | Verdict::Unknown => true,
        Verdict::Idle | Verdict::Clear => false,
    }
}

fn headline(summary: &Summary) -> String {
    let of = |verdict| {
        summary
            .verdicts
            .iter()
            .find(|count| count.what == verdict)
            .map_or(0, |count| count.nodes)
    };
    let dependent = of(Verdict::Runtime) + of(Verdict::InUse);
    let unknown = of(Verdict::Unknown);
    let mut text = match dependent {
        0 if unknown == summary.nodes => "Nothing is known of any node".to_owned(),
        0 => "No node was seen to depend on Docker".to_owned(),
        1 => "1 node depends on Docker".to_owned(),
        n => format!("{} nodes depend on Docker", thousands(n)),
    };
    if unknown > 0 && unknown < summary.nodes {
        text = format!("{text}; of {} it is not known", thousands(unknown));
    }
    text
}

fn verdicts(summary: &Summary) -> Vec<VerdictLine> {
    let mut before = 0;
    let mut lines = Vec::new();
    for count in &summary.verdicts {
        let at = |nodes: u64| nodes * 1000 / summary.nodes.max(1);
        let from = at(before);
        before += count.nodes;
        lines.push(VerdictLine {
            word: count.what.code(),
            meaning: words::meaning(count.what),
            amount: thousands(count.nodes),
            from,
            width: at(before) - from,
            percent: percent(count.nodes, summary.nodes),
        });
    }
    lines
}

fn days(summary: &Summary, time: Timestamp) -> Vec<DayLine> {
    if summary.days.iter().all(|day| day.used + day.unused == 0) {
        return Vec::new();
    }
    let line = |count: &DayCount| {
        let DayCount {
            days_ago,
            used,
            unused,
            unknown,
        } = count;
        let at = |nodes: u64| nodes * 1000 / summary.nodes.max(1);
        let (first, second) = (at(*used), at(used + unused));
        let start = Timestamp::from_unix(time.as_unix().saturating_sub(days_ago * 86_400));
        DayLine {
            day: start.calendar().strftime("%a %F").to_string(),
            used: thousands(*used),
            unused: thousands(*unused),
            unknown: thousands(*unknown),
            parts: [
                ("in-use", 0, first),
                ("clear", first, second - first),
                ("unknown", second, 1000 - second),
            ],
        }
    };
    summary.days.iter().map(line).collect()
}

fn percent(part: u64, of: u64) -> String {
    match part * 1000 / of.max(1) {
        0 if part > 0 => "< 0.1 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

fn bars<T>(counts: &[Count<T>], class: &'static str, word: impl Fn(&T) -> String) -> Vec<Bar> {
    let most = counts.iter().map(|count| count.nodes).max().unwrap_or(0);
    let bar = |count: &Count<T>| Bar {
        what: word(&count.what),
        class,
        amount: thousands(count.nodes),
        width: share(count.nodes, most),
    };
    counts.iter().take(LINES).map(bar).collect()
}

/// Returns thousandths of `most`, with a visible minimum for every value above zero.
fn share(part: u64, most: u64) -> u64 {
    if part == 0 {
        0
    } else {
        (part * 1000 / most.max(1)).max(8)
    }
}

fn nodes(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} node{plural}", thousands(count))
}

fn line(row: &NodeRow) -> NodeLine {
    NodeLine {
        node: row.node.clone(),
        word: row.verdict.code(),
        runtime: words::runtime(&row.runtime),
        clients: words::clients(&row.clients),
        who: words::who(&row.clients, USERS),
        exposures: words::count(&row.exposures),
        note: words::note(row).to_owned(),
    }
}
