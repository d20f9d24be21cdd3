//! Words for the values of a row.

use crate::findings::report::Verdict;
use crate::fleet::readiness::ReadyFor;
use crate::fleet::row::{Clients, Doubt, FreeSeen, NodeRow, Reported, RuntimeSeen};
use crate::fleet::summary::Summary;
use crate::sinks::views::table::words;

/// Formats `3`, `≥3`, `?`.
pub(super) fn count(part: &Reported<u64>) -> String {
    number(part, |n| *n)
}

fn number<T>(part: &Reported<T>, of: impl Fn(&T) -> u64) -> String {
    match part {
        Reported::Known(value) => of(value).to_string(),
        // Nothing was seen, but not everything could be seen.
        Reported::AtLeast(value) if of(value) == 0 => "?".to_owned(),
        Reported::AtLeast(value) => format!("≥{}", of(value)),
        Reported::Unknown => "?".to_owned(),
    }
}

/// Formats the number of clients with an open connection; `+2` for those before.
pub(super) fn clients(part: &Reported<Clients>) -> String {
    let now = number(part, |clients| clients.now);
    match part.seen().map_or(0, |clients| clients.before) {
        0 => now,
        before if now == "?" => format!("? +{before}"),
        before => format!("{now} +{before}"),
    }
}

/// Lists the names of the clients, at most `most` of them.
pub(super) fn who(part: &Reported<Clients>, most: usize) -> String {
    let Some(clients) = part.seen() else {
        return String::new();
    };
    let named = clients.users.iter().take(most).map(|used| used.user.to_string());
    let mut text = named.collect::<Vec<_>>().join(", ");
    let more = clients.more_users + clients.users.len().saturating_sub(most) as u64;
    if more > 0 {
        text = format!("{text} and {more} more");
    }
    text
}

/// Formats `containerd 1.7.2`, `none`, `?`.
pub(super) fn runtime(part: &Reported<Option<RuntimeSeen>>) -> String {
    match part.seen() {
        Some(Some(runtime)) => format!("{} {}", runtime.name, runtime.version),
        Some(None) => "none".to_owned(),
        None => "?".to_owned(),
    }
}

/// Formats `1.37`, `any`, `?`.
pub(super) fn ceiling(part: &Reported<Option<u32>>) -> String {
    match part.seen() {
        Some(Some(minor)) => format!("1.{minor}"),
        Some(None) => "any".to_owned(),
        None => "?".to_owned(),
    }
}

/// Lists the answers with the rules that decide them, in a wide table in words: `kubelet=1.38 not ready (cgroup-v1)`.
pub(super) fn readiness(readiness: &[ReadyFor], wide: bool) -> String {
    let each = readiness.iter().map(|ready| {
        let answer = format!("{} {}", ready.target, words::answer(ready.answer));
        let codes: Vec<&str> = ready.obstacles.iter().map(|code| code.code()).collect();
        let why = if wide { ready.reason.clone() } else { codes.join(", ") };
        if why.is_empty() {
            answer
        } else {
            format!("{answer} ({why})")
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// `16d`, `used`, `?`.
pub(super) fn free(told: &Reported<Option<FreeSeen>>) -> String {
    match told.seen() {
        Some(Some(free)) => format!("{}d", free.days),
        Some(None) => "used".to_owned(),
        None => "?".to_owned(),
    }
}

/// `Docker is proven unused on 3 nodes for 7 days, on 2 for 14, on 0 for 35`; none if it is proven on no node.
pub(super) fn docker_free(summary: &Summary) -> Option<String> {
    let (first, longer) = summary.docker_free.split_first()?;
    let plural = if first.nodes == 1 { "" } else { "s" };
    let mut text = format!(
        "Docker is proven unused on {} node{plural} for {} days",
        thousands(first.nodes),
        first.what
    );
    for count in longer {
        text = format!("{text}, on {} for {}", thousands(count.nodes), count.what);
    }
    (first.nodes > 0).then_some(text)
}

/// The note beside the verdict, if there is one.
pub(super) fn note(row: &NodeRow) -> &str {
    if row.doubt.is_some() { &row.reason } else { "" }
}

/// The reason why a fact about a Node is not known.
pub(super) const fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::NotLinux => "no agent can run there: it is not Linux",
        Doubt::VirtualNode => "no agent can run there: it has no machine of its own",
        Doubt::NoAgent => "no castoff pod is on it",
        Doubt::AgentNotReady => "its castoff pod does not run",
        Doubt::NoAnswer => "its agent did not answer",
        Doubt::Refused => "this account may not ask its agent",
        Doubt::Unauthenticated => "its agent requires a token, which the API server does not pass on",
        Doubt::NotUnderstood => "its agent's answer is not a report",
        Doubt::OtherSchema => "its report is of another version of castoff",
        Doubt::OtherNode => "its agent reports another node",
        Doubt::Stale => "its agent's last look was long ago",
        Doubt::AgentCannotTell => "its agent could not see enough",
    }
}

/// The meaning of a verdict, for a reader who does not know it yet.
pub(super) const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Runtime => "Kubernetes itself runs its pods through Docker",
        Verdict::InUse => "something uses a Docker socket, or did within the window",
        Verdict::Exposed => "something could use a Docker socket, and nothing was seen using it",
        Verdict::Idle => "Docker is on the node, and no client uses it",
        Verdict::Clear => "no Docker",
        Verdict::Unknown => "castoff could not see enough to decide",
    }
}

/// Formats `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_zero() {
        assert_eq!(count(&Reported::Known(0)), "0");
        assert_eq!(count(&Reported::AtLeast(0)), "?");
        assert_eq!(count(&Reported::AtLeast(3)), "≥3");
        assert_eq!(count(&Reported::Unknown), "?");
        assert_eq!(clients(&Reported::Unknown), "?");
        assert_eq!(runtime(&Reported::Unknown), "?");
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (100_000, "100,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
