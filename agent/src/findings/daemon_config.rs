//! Docker's settings that the node's runtime lacks.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use super::runtime::docker_is_the_runtime;
use super::verdict::in_use;
use crate::model::daemon_config::compare::compare;
use crate::model::daemon_config::{Carried, ComparedSetting, DaemonConfig};
use crate::model::reading::Reading;
use crate::model::snapshot::Snapshot;

/// The most settings that the message names.
const NAMED: usize = 4;

/// Returns the comparison; absent where Docker has no settings.
pub(super) fn reading(snapshot: &Snapshot) -> Reading<DaemonConfig> {
    let runtime = snapshot.runtime.runtime.reading.known();
    let driver = runtime.and_then(|runtime| runtime.cgroup_driver.known()).copied();
    snapshot
        .settings
        .reading
        .as_ref()
        .map(|settings| compare(settings, driver))
}

/// The finding of this family: one for the node.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let Reading::Known(compared) = reading(facts.snapshot) else {
        return Vec::new();
    };
    let missing: Vec<&ComparedSetting> = compared.in_state(Carried::Missing).collect();
    let Some(first) = missing.first() else {
        return Vec::new();
    };
    let relies = in_use(facts).is_some() || docker_is_the_runtime(facts.snapshot).is_some();
    let severity = if relies { Severity::Warning } else { Severity::Info };
    let named: Vec<String> = missing.iter().take(NAMED).map(|missing| described(missing)).collect();
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let unknown = match compared.in_state(Carried::Unknown).count() {
        0 => String::new(),
        unknown => format!("; {unknown} could not be compared"),
    };
    let lacks = if missing.len() == 1 { "a setting" } else { "settings" };
    let message = format!(
        "{} lacks {lacks} that Docker has here: {}{more}{unknown}",
        compared.runtime,
        named.join(", ")
    );
    let mut found = finding(Code::DaemonConfig, severity, "node", message);
    found.advice = format!("{} `castoff check -o wide` shows each setting.", first.advice);
    vec![found]
}

fn described(missing: &ComparedSetting) -> String {
    let own = missing
        .runtime
        .as_ref()
        .map_or_else(String::new, |own| format!(" (has {own})"));
    format!("{} {}{own}", missing.setting, missing.docker)
}
