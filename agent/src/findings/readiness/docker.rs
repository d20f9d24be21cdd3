//! Obstacles to another release of Docker, and to a node without it.

use super::answer::{Certainty, Effect, Obstacle, RuleSource};
use super::{ApiUser, Grounds, hidden, of_catalogue};
use crate::findings::releases::{DOCKER_29_0_API, DOCKER_29_API, Version};
use crate::findings::report::{Code, Verdict};
use crate::model::reading::Reading;

/// The first release of Docker that refuses old versions of its API.
const RAISES_MINIMUM: Version = Version(29, 0);

/// Docker 29 refuses clients that request an old version of its API. A client is judged by the lowest version that it was seen to
/// request.
pub(super) fn add_release(grounds: &Grounds, version: Version, found: &mut Vec<Obstacle>) {
    let code = Code::OldDockerApi;
    let may_block = |message: String| Obstacle::new(Effect::MayBlock, code, of_catalogue(code), message);
    if grounds.verdict == Verdict::Unknown {
        let reason = &grounds.verdict_reason;
        found.push(may_block(format!("the clients of Docker could not be seen: {reason}")));
    }
    if version < RAISES_MINIMUM {
        return;
    }
    let all = grounds.clients.items().iter();
    let users: Vec<&ApiUser> = all.filter(|user| user.uses_docker()).collect();
    found.extend(refused(&users, version));
    if matches!(grounds.verdict, Verdict::Runtime | Verdict::InUse) {
        found.extend(unseen(grounds, &users).map(may_block));
    }
}

/// Returns the clients that the release refuses, by the one that requests the lowest version.
fn refused(users: &[&ApiUser], version: Version) -> Option<Obstacle> {
    let lowest = |user: &&ApiUser| Some((user.requests.lowest_api?.version(), user.identity.to_string()));
    let old = users
        .iter()
        .filter_map(lowest)
        .filter(|(api, _)| api.0 < DOCKER_29_0_API);
    let mut old: Vec<_> = old.collect();
    old.sort();
    let (api, who) = old.first()?;
    let (effect, refuses) = if api.0 < DOCKER_29_API {
        (Effect::Blocks, format!("Docker {} refuses", version.0))
    } else {
        let later = "Docker 29.0 refuses, and later releases of 29 accept,";
        (Effect::Note, later.to_owned())
    };
    let more = more(old.len());
    let message = format!("{who}{more} uses version {api} of the Docker API, which {refuses} by default");
    let rule_source = RuleSource {
        certainty: Certainty::Enforced,
        ..of_catalogue(Code::OldDockerApi)
    };
    Some(Obstacle::new(effect, Code::OldDockerApi, rule_source, message))
}

/// The reason why a client may request a version that was not seen.
fn unseen(grounds: &Grounds, users: &[&ApiUser]) -> Option<String> {
    let events = grounds.connect_events.known().map(|events| &events.requests);
    let Some(events) = events.filter(|events| events.method.is_some()) else {
        let not_seen =
            "castoff does not see the clients' API versions: let the kernel record requests (--connect-events)";
        return Some(not_seen.to_owned());
    };
    let mut unseen = users.iter().filter(|user| !user.shows_version());
    if let Some(user) = unseen.next() {
        let more = more(unseen.count() + 1);
        return Some(format!(
            "the version of the Docker API that {}{more} uses was not seen",
            user.identity
        ));
    }
    if events.lost > 0 {
        return Some(format!(
            "{} requests were lost, and with them their versions",
            events.lost
        ));
    }
    let gap = grounds.hidden_client()?;
    Some(format!(
        "a client that could not be seen may use an old version ({gap})"
    ))
}

/// The rest of `count`, in words.
fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    }
}

/// A node is ready to run without Docker if no client can use Docker and the kubelet's runtime does not depend on it.
pub(super) fn add_removal(grounds: &Grounds, found: &mut Vec<Obstacle>) {
    let (effect, code) = match grounds.verdict {
        Verdict::Runtime => (Effect::Blocks, Code::RuntimeIsDocker),
        Verdict::InUse => (Effect::Blocks, Code::SocketClient),
        Verdict::Exposed => (Effect::Blocks, Code::SocketExposure),
        Verdict::Unknown => (Effect::MayBlock, Code::BlindSpot),
        Verdict::Idle | Verdict::Clear => return add_shared(grounds, found),
    };
    let reason = grounds.verdict_reason.clone();
    found.push(Obstacle::new(effect, code, of_catalogue(code), reason));
    add_shared(grounds, found);
}

/// Adds the parts that must stay when Docker is removed.
fn add_shared(grounds: &Grounds, found: &mut Vec<Obstacle>) {
    let code = Code::SharedContainerd;
    let rule_source = of_catalogue(code);
    match &grounds.shared_containerd {
        Reading::Known(why) => {
            let message = format!("the kubelet's containerd must stay: {why}");
            found.push(Obstacle::new(Effect::Note, code, rule_source, message));
        }
        // Without Docker there is nothing to remove.
        Reading::Unknown(gap) if grounds.verdict != Verdict::Clear => {
            found.push(hidden(code, rule_source, "the origin of the kubelet's containerd", gap));
        }
        Reading::Absent | Reading::Unknown(_) => {}
    }
}
