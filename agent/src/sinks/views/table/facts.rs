//! The head of the table: the verdict with its reason, and the node's facts in a few lines.

use super::{clients, words};
use crate::findings::report::Report;
use crate::model::client::Client;
use crate::model::reading::{Gap, Reading};
use crate::model::runtime::Runtime;
use crate::sinks::text::visible;
use crate::sinks::views::amount::{self, Amount};
use crate::sinks::views::grid::write_paragraph;
use crate::sinks::views::style::{Style, Tone};

pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    write_verdict(report, style, out);
    out.push('\n');
    for fact in facts(report, style) {
        write_fact(&fact, style, out);
    }
}

fn write_verdict(report: &Report, style: Style, out: &mut String) {
    let word = report.verdict.code();
    let tone = words::verdict_tone(report.verdict);
    let line = format!("{word}: {}", visible(&report.verdict_reason));
    let mut text = String::new();
    write_paragraph(&line, Tone::Plain, 0, 2, style, &mut text);
    // The word comes first, so wrapping cannot have split it.
    match text.strip_prefix(word) {
        Some(rest) => {
            out.push_str(&style.paint(tone, word));
            out.push_str(rest);
        }
        None => out.push_str(&text),
    }
}

/// One line of the head.
struct Fact {
    label: &'static str,
    text: String,
    tone: Tone,
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact {
        label,
        text: text.into(),
        tone: Tone::Plain,
    }
}

fn unknown(label: &'static str, gap: &Gap) -> Fact {
    Fact {
        label,
        text: format!("unknown: {} ({})", gap.reason, gap.asked),
        tone: Tone::Warning,
    }
}

/// The width of a label and the blanks after it, in columns.
const LABEL: usize = 11;
/// The width below which values are under their labels.
const NARROW: usize = 40;

fn write_fact(fact: &Fact, style: Style, out: &mut String) {
    let text = visible(&fact.text);
    if style.columns().is_some_and(|c| c < NARROW) {
        write_paragraph(&format!("{}: {text}", fact.label), fact.tone, 0, 2, style, out);
        return;
    }
    let mut value = String::new();
    write_paragraph(&text, fact.tone, LABEL, LABEL, style, &mut value);
    out.push_str(&style.paint(Tone::Faint, fact.label));
    out.push_str(&value[fact.label.len()..]);
}

fn pods(report: &Report) -> Option<Fact> {
    if let (Reading::Known(pods), Reading::Known(containers)) = (&report.pods, &report.containers) {
        return Some(fact("Pods", format!("{pods} with {containers} containers")));
    }
    let gap = report.pods.gap().or(report.containers.gap());
    gap.map(|gap| unknown("Pods", gap))
}

fn docker_free(report: &Report) -> Fact {
    match &report.docker_free {
        Reading::Known(free) => fact("Unused", words::docker_free(free)),
        Reading::Absent => fact("Unused", words::DOCKER_USED),
        Reading::Unknown(gap) => unknown("Unused", gap),
    }
}

fn facts(report: &Report, style: Style) -> Vec<Fact> {
    let mut facts = Vec::new();
    let node = report.node.as_deref().unwrap_or("without a known name");
    facts.push(fact("Node", format!("{node}, {}", report.time)));
    match &report.runtime {
        Reading::Known(runtime) => add_runtime(runtime, &mut facts),
        Reading::Absent => facts.push(fact("Runtime", "none: no endpoint of one is on this node")),
        Reading::Unknown(gap) => facts.push(unknown("Runtime", gap)),
    }
    facts.push(kubelet(report));
    facts.push(match &report.cgroups {
        Reading::Known(version) => fact("Cgroups", version.code()),
        Reading::Absent => fact("Cgroups", "none"),
        Reading::Unknown(gap) => unknown("Cgroups", gap),
    });
    facts.extend(pods(report));
    facts.push(fact_of("Engines", &amount::engines(report), |e| e.len().to_string()));
    facts.push(fact_of("Clients", &amount::clients(report), |clients| {
        let (of_node, of_pods): (Vec<Client>, Vec<Client>) = clients::without_listeners(clients)
            .into_iter()
            .partition(|client| client.key.scope.is_of_node());
        let now = of_node.iter().filter(|client| client.is_open()).count();
        let count = match of_node.len() - now {
            0 => format!("{now} now"),
            before => format!("{now} now, {before} before"),
        };
        count + &inside_pods(of_pods.len())
    }));
    facts.push(fact_of("Exposures", &amount::exposures(report), |e| {
        let of_node = e.iter().filter(|e| e.scope.is_of_node()).count();
        of_node.to_string() + &inside_pods(e.len() - of_node)
    }));
    facts.push(fact_of("Shadow", &amount::shadow_containers(report), |s| {
        format!("{} outside Kubernetes", s.len())
    }));
    // One look proves no time; a day of looks does.
    if style.wide || report.docker_free.known().is_some_and(|free| free.days > 0) {
        facts.push(docker_free(report));
    }
    if let Some(method) = report.holder_method.filter(|_| style.wide) {
        facts.push(fact(
            "Method",
            words::method(method, report.iterator_refused.as_deref()),
        ));
    }
    if style.wide {
        facts.push(match &report.connect_events {
            Reading::Known(events) => fact("Connects", words::connect_events(events)),
            Reading::Absent => fact("Connects", "not requested"),
            Reading::Unknown(gap) => unknown("Connects", gap),
        });
        if let Some(events) = report.connect_events.known() {
            facts.push(fact("Requests", words::request_events(&events.requests)));
        }
    }
    facts
}

/// The number of further clients in pods, of engines that do not count for the node.
fn inside_pods(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(", {count} of engines inside pods"),
    }
}

fn add_runtime(runtime: &Runtime, facts: &mut Vec<Fact>) {
    let driver = match &runtime.cgroup_driver {
        Reading::Known(driver) => format!("cgroup driver {driver}"),
        Reading::Absent => "cgroup driver not reported".to_owned(),
        Reading::Unknown(gap) => format!("cgroup driver unknown ({})", gap.reason),
    };
    facts.push(fact(
        "Runtime",
        format!("{} {}, CRI {}, {driver}", runtime.name, runtime.version, runtime.api),
    ));
    let endpoint = &runtime.endpoint;
    let leads_to = if endpoint.path == runtime.canonical_path {
        String::new()
    } else {
        format!(" which is {}", runtime.canonical_path)
    };
    facts.push(fact(
        "Endpoint",
        format!("{}{leads_to}, {}", endpoint.path, words::origin(&endpoint.origin)),
    ));
    for condition in runtime.conditions.items().iter().filter(|c| !c.status) {
        facts.push(Fact {
            label: "Condition",
            text: format!(
                "{} does not hold: {} {}",
                condition.kind, condition.reason, condition.message
            ),
            tone: Tone::Warning,
        });
    }
}

fn kubelet(report: &Report) -> Fact {
    let program = match &report.kubelet {
        Reading::Known(kubelet) => words::kubelet(kubelet),
        Reading::Absent => "none on this node".to_owned(),
        Reading::Unknown(gap) => return unknown("Kubelet", gap),
    };
    let ceiling = match &report.kubelet_ceiling {
        Reading::Known(ceiling) => words::ceiling(ceiling),
        Reading::Absent => return fact("Kubelet", program),
        Reading::Unknown(gap) => format!("newest supported kubelet: unknown ({})", gap.reason),
    };
    fact("Kubelet", format!("{program}; {ceiling}"))
}

/// A fact about the number of items, and whether it is complete.
fn fact_of<T>(label: &'static str, amount: &Amount<'_, T>, count: impl Fn(&[T]) -> String) -> Fact {
    match *amount {
        Amount::Unknown(gap) => unknown(label, gap),
        Amount::All([]) => fact(label, "none"),
        Amount::All(items) => fact(label, count(items)),
        Amount::Some([]) => Fact {
            label,
            text: "none seen, but not everything could be seen".to_owned(),
            tone: Tone::Warning,
        },
        Amount::Some(items) => fact(label, format!("at least {}", count(items))),
    }
}
