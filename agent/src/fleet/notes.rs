//! Sentences about the whole fleet: what may be missing, and how to fix it. Pure.

use super::cluster::Where;
use super::look::Ending;

/// The number of pods that are named in one sentence.
const NAMED: usize = 5;

/// Returns the sentences; `ending` is none if the look was stopped, `refused` is the number of agents that the account
/// may not ask, `without_token` the number of agents that require a token that castoff does not have.
pub(super) fn notes(ending: Option<&Ending>, place: &Where, refused: u64, without_token: u64) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(ending) = ending else {
        return vec!["Stopped before the end: the other nodes are missing here.".to_owned()];
    };
    for broken in &ending.broken {
        notes.push(format!("A list ended early, and nodes may be missing: {broken}."));
    }
    if ending.pods == 0 && ending.broken.is_empty() {
        notes.push(no_agents(ending, place));
    }
    if refused > 0 {
        notes.push(format!(
            "The account may not ask {refused} agents: it needs the right to get pods/proxy in namespace {}.",
            place.namespace
        ));
    }
    if without_token > 0 {
        notes.push(format!(
            "{without_token} agents require a token that castoff does not have: the account needs the right to create \
             serviceaccounts/token for the reader's service account in namespace {}.",
            place.namespace
        ));
    }
    let strays = &ending.left.strays;
    if !strays.is_empty() {
        let named = strays
            .iter()
            .take(NAMED)
            .map(|pod| format!("{} on {}", pod.name, pod.node));
        let more = match strays.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        notes.push(format!(
            "Castoff pods are on nodes that do not exist: {}{more}.",
            named.collect::<Vec<_>>().join(", ")
        ));
    }
    if ending.left.doubled > 0 {
        notes.push(format!(
            "{} more castoff pods are ready beside another on the same node: castoff is installed twice, or a rollout is \
             under way. One of each was asked.",
            ending.left.doubled
        ));
    }
    if ending.left.unplaced > 0 {
        notes.push(format!("{} castoff pods are on no node yet.", ending.left.unplaced));
    }
    notes
}

fn no_agents(ending: &Ending, place: &Where) -> String {
    let Where { namespace, agents, .. } = place;
    let missing = format!("No pod in namespace {namespace} has the label {agents}, so no node was asked");
    match &ending.elsewhere {
        Some(other) => format!("{missing}. Castoff runs in namespace {other}: use -n {other}."),
        None => format!(
            "{missing}. If castoff is in another namespace, name it with -n; if it is not installed: helm install castoff \
             charts/castoff --namespace {namespace} --create-namespace"
        ),
    }
}
