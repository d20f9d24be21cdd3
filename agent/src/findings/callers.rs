//! Files of the host that call Docker.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use crate::model::host::DockerCaller;

/// The findings of this family: one for each line.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let host = facts.snapshot.host.reading.known();
    let callers = host.map_or(&[][..], |host| host.docker_callers.items());
    callers.iter().map(of_line).collect()
}

fn of_line(caller: &DockerCaller) -> Finding {
    let DockerCaller {
        kind,
        path,
        line,
        program,
        named_by,
    } = caller;
    let by = named_by
        .as_ref()
        .map_or_else(String::new, |by| format!("; {by} names it"));
    let message = format!("line {line} of this file ({kind}) calls {program}{by}");
    finding(
        Code::DockerCaller,
        Severity::Info,
        format_args!("{path}:{line}"),
        message,
    )
}
