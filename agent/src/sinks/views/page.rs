//! The page for people: the whole report and nothing else. Rendered on the server; works without scripts, and loads nothing but
//! its style.
//!
//! Templates contain only fixed text; every value goes through the escaper of `askama.toml`. The page leaves out nothing that the
//! report has: a test compares them.

mod drawing;
mod rows;
mod todo;
mod when;

use askama::Template;

use crate::findings::report::{Report, Verdict};
use crate::model::client::Client;
use crate::model::container::ShadowContainer;
use crate::model::engine::Api;
use crate::model::publishing::Standing;
use crate::model::reading::{Gap, Reading};
use crate::model::time::Timestamp;
use crate::sinks::views::amount;
use crate::sinks::views::style::Tone;
use crate::sinks::views::table::{settings, unseen, words};
use drawing::{Day, Drawing, days};
use rows::{ClientRow, EngineRow, ExposureRow, ReadyRow, Rows, SourceRow, source_rows};
use todo::{Group, groups};
use when::When;

use crate::sinks::http::Stalled;

/// The style sheet, served by itself: the policy allows no style within the page.
pub(in crate::sinks) const STYLE: &str = include_str!("page/style.css");

/// The data for the page.
pub(in crate::sinks) struct PageData<'a> {
    /// The latest report; none before the first.
    pub(in crate::sinks) report: Option<&'a Report>,
    /// The state of publishing.
    pub(in crate::sinks) standing: &'a Standing,
    /// The reason why the report is old: the cycle makes no progress.
    pub(in crate::sinks) stalled: Option<Stalled>,
    /// The time at which the page is rendered.
    pub(in crate::sinks) now: Timestamp,
    /// The reload interval in seconds.
    pub(in crate::sinks) refresh: Option<u32>,
}

/// Renders the page as HTML.
pub(in crate::sinks) fn render(data: &PageData<'_>) -> askama::Result<String> {
    let view = data.report.map(|report| View::new(report, data));
    Page { data, view }.render()
}

// Links are relative, so that they hold behind the API server's pod proxy.
#[derive(Template)]
#[template(path = "page/page.html")]
struct Page<'a> {
    data: &'a PageData<'a>,
    view: Option<View<'a>>,
}

/// The parts of the page once there is a report.
struct View<'a> {
    report: &'a Report,
    seen: When,
    clients: Rows<'a, ClientRow<'a>>,
    /// Clients of the node's engines with a connection now.
    open: usize,
    timeline: Drawing,
    days: Vec<Day>,
    exposures: Rows<'a, ExposureRow<'a>>,
    runtime_clients: Rows<'a, ClientRow<'a>>,
    runtime_exposures: Rows<'a, ExposureRow<'a>>,
    engines: Rows<'a, EngineRow<'a>>,
    shadows: Rows<'a, &'a ShadowContainer>,
    groups: Vec<Group<'a>>,
    readiness: Vec<ReadyRow<'a>>,
    /// The files that the settings come from, and what is left out.
    remarks: Vec<String>,
    sources: Vec<SourceRow<'a>>,
    /// Each gap with the sources that have it.
    unseen: Vec<(Vec<&'static str>, &'a Gap)>,
    /// The method that found the connections: the code and the words.
    connects: Option<String>,
    /// The way in which the kernel reports requests.
    requests: Option<String>,
    method: Option<(&'static str, String)>,
    /// The time at which the labels were last confirmed.
    confirmed: Option<When>,
    /// The class for the colour of the verdict; its word and its shape say the same.
    tone: &'static str,
    meaning: &'static str,
}

/// A table of clients, or of exposures.
struct Part<'v, 'a, T> {
    /// The API of the socket: Docker's engines come first, the runtime after them.
    api: Api,
    rows: &'v Rows<'a, T>,
    caption: &'static str,
    /// The sentence in place of an empty table.
    none: &'static str,
}

impl<'a> View<'a> {
    const fn client_parts(&self) -> [Part<'_, 'a, ClientRow<'a>>; 2] {
        [
            Part {
                api: Api::Docker,
                rows: &self.clients,
                caption: "Clients, those with a connection now first",
                none: "None: no client used an engine within the window.",
            },
            Part {
                api: Api::Cri,
                rows: &self.runtime_clients,
                caption: "Clients of the runtime, those with a connection now first",
                none: "None: no other client used the runtime's socket within the window.",
            },
        ]
    }

    const fn exposure_parts(&self) -> [Part<'_, 'a, ExposureRow<'a>>; 2] {
        [
            Part {
                api: Api::Docker,
                rows: &self.exposures,
                caption: "Containers that could reach an engine",
                none: "None: no container can reach an engine.",
            },
            Part {
                api: Api::Cri,
                rows: &self.runtime_exposures,
                caption: "Containers that could reach the runtime",
                none: "None: no container can reach the runtime's socket.",
            },
        ]
    }

    fn new(report: &'a Report, data: &PageData<'_>) -> Self {
        let now = data.now;
        let clients = amount::clients(report);
        let exposures = amount::exposures(report);
        let is_open = |row: &&ClientRow<'_>| row.open && row.client.key.scope.is_of_node();
        let row = |of: &'static str| move |(n, client)| ClientRow::new(format!("{of}-{n}"), client, now);
        let clients = Rows::new(&clients, row("client")).apart(&clients, |client| &client.key.scope);
        let exposed = |(_, exposure)| ExposureRow::new(exposure, now);
        Self {
            report,
            seen: When::new(report.time, now),
            open: clients.shown.iter().filter(is_open).count(),
            clients,
            timeline: Drawing::new("node", "all clients together", &report.timeline),
            days: days(&report.timeline),
            runtime_clients: Rows::new(&amount::runtime_clients(report), row("runtime-client")),
            exposures: Rows::new(&exposures, exposed).apart(&exposures, |exposure| &exposure.scope),
            runtime_exposures: Rows::new(&amount::runtime_exposures(report), exposed),
            engines: Rows::new(&amount::engines(report), |(_, engine)| EngineRow::new(engine)),
            shadows: Rows::new(&amount::shadow_containers(report), |(_, shadow)| shadow),
            groups: groups(report),
            readiness: report.readiness.iter().map(ReadyRow::new).collect(),
            remarks: settings::remarks(report),
            sources: source_rows(report),
            unseen: unseen::gaps(report),
            method: report
                .holder_method
                .map(|method| (method.code(), words::method(method, report.iterator_refused.as_deref()))),
            connects: report.connect_events.known().map(words::connect_events),
            requests: report
                .connect_events
                .known()
                .map(|events| words::request_events(&events.requests)),
            confirmed: data
                .standing
                .publishing
                .as_ref()
                .and_then(|publishing| Some(When::new(publishing.last_success?, now))),
            tone: class(words::verdict_tone(report.verdict)),
            meaning: meaning(report.verdict),
        }
    }
}

/// The class of a tone.
const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "bad",
        Tone::Warning => "warning",
        Tone::Notice => "notice",
        Tone::Good => "good",
        Tone::Plain | Tone::Strong | Tone::Faint => "plain",
    }
}

/// The meaning of a verdict, in a sentence.
const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Runtime => "The kubelet's own runtime is Docker.",
        Verdict::InUse => {
            "A client uses an engine of this node or used one within the window, or Docker runs containers here."
        }
        Verdict::Exposed => "A container could use an engine of this node, but was not seen doing so.",
        Verdict::Idle => "An engine is on this node, and no client uses it.",
        Verdict::Clear => "This node has no Docker of its own.",
        Verdict::Unknown => "castoff could not see enough to decide.",
    }
}

#[cfg(test)]
mod tests;
