//! Every metric family: its name, its meaning, its labels. `docs/metrics.md` is generated from this list.

use std::fmt::Write as _;

/// The kind of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Goes up; restarts with the agent, or, for clients, with a lost state file.
    Counter,
    /// A distribution.
    Histogram,
}

/// One family.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The name, with the prefix.
    pub name: &'static str,
    /// The help text: one or two sentences.
    pub help: &'static str,
    /// The kind of the family.
    pub kind: Kind,
    /// The labels' names in order.
    pub labels: &'static [&'static str],
    /// The maximum number of series, where its labels are not from closed lists.
    pub limit: Option<usize>,
}

/// The series of one family that names offenders: a node has 110 pods, or a few hundred; further ones are counted.
const OFFENDERS: Option<usize> = Some(500);

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $($limit:ident)? : $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Description = Description {
                name: $name,
                help: $help,
                kind: Kind::$kind,
                labels: &[$($label),*],
                limit: catalogue!(@limit $($limit)?),
            };
        )+

        /// All families.
        pub const ALL: &[&Description] = &[$(&$constant),+];
    };
    (@limit) => { None };
    (@limit $limit:ident) => { $limit };
}

catalogue! {
    BUILD_INFO = Gauge "castoff_build_info" ["version", "revision"]:
        "The version and revision of castoff. Always 1.";
    NODE_INFO = Gauge "castoff_node_info" ["node", "cgroups"]:
        "The node that the agent looks at, and its control group version. Always 1.";
    NODE_VERDICT = Gauge "castoff_node_verdict" ["verdict"]:
        "The verdict on the node: 1 for the verdict that holds, 0 for the others. Before the first report: unknown.";
    RUNTIME_INFO = Gauge "castoff_runtime_info" ["name", "version", "cri_api", "cgroup_driver"]:
        "The container runtime as it calls itself over CRI. Always 1; no series while it is unknown.";
    KUBELET_CEILING = Gauge "castoff_kubelet_ceiling_minor" []:
        "The last Kubernetes 1.x minor whose kubelet starts on this runtime. No series where nothing limits it or it is unknown.";
    READY = Gauge "castoff_ready" ["target", "answer"]:
        "Readiness of the node for a target of --for: 1 for the answer that holds, 0 for the others. At most 8 targets. No series without --for.";
    REPORT_TIMESTAMP = Gauge "castoff_report_timestamp_seconds" []:
        "Start of the look that the current report is based on.";
    ENGINES = Gauge "castoff_engines" ["kind", "scope"]:
        "Daemons that serve the Docker API on the node. No series while that is unknown.";
    SHADOW_CONTAINERS = Gauge "castoff_shadow_containers" ["engine"]:
        "Containers that an engine runs and that Kubernetes does not know. No series while that is unknown.";
    DOCKER_FREE_SINCE = Gauge "castoff_docker_free_since_timestamp_seconds" ["by"]:
        "The time since which Docker on the node is proven to be unused, by the node's clock: subtract it from `castoff_report_timestamp_seconds`. by is the weakest proof: events (the kernel reported each connect), socket-clock (the times of the sockets' files) or looks. No series while Docker is used, or while a gap may hide a use.";
    FINDINGS = Gauge "castoff_findings" ["code", "severity"]:
        "Conclusions of the current report. `castoff explain CODE` explains each.";
    CLIENTS = Gauge "castoff_clients" ["who", "state"]:
        "Clients of the node's engines: connected now, or seen earlier within the window. Clients of an engine inside a pod do not count. No series while that is unknown.";
    RELAYS = Gauge "castoff_relays" ["passes_on"]:
        "Clients of an engine that accept connections themselves: `yes` where there is evidence that they pass the Docker API on, else `maybe`. No series while that is unknown.";
    RUNTIME_CLIENTS = Gauge "castoff_runtime_socket_clients" ["who", "state"]:
        "Clients of the runtime's own socket other than the kubelet, the runtime and its tools: connected now, or seen earlier within the window. They do not use Docker. No series while that is unknown.";
    RUNTIME_EXPOSURES = Gauge "castoff_runtime_socket_exposures" ["who"]:
        "Mounts through which a container can reach the runtime's own socket now. No series while that is unknown.";
    POD_CONNECTIONS = Gauge "castoff_pod_client_connections" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope"] OFFENDERS:
        "Connections that a container of a pod holds to a Docker socket now; 0 for one that was seen earlier within the window.";
    POD_FIRST_SEEN = Gauge "castoff_pod_client_first_seen_timestamp_seconds" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope"] OFFENDERS:
        "When a connection of the container to a Docker socket was first seen, as far as the state file reaches back.";
    POD_LAST_SEEN = Gauge "castoff_pod_client_last_seen_timestamp_seconds" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope"] OFFENDERS:
        "When a connection of the container to a Docker socket was last seen.";
    POD_CONNECTS = Counter "castoff_pod_client_connects_total" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope"] OFFENDERS:
        "New connections of the container to a Docker socket that were seen: a lower bound.";
    POD_REQUESTS = Counter "castoff_pod_client_requests_total" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope", "operation"] OFFENDERS:
        "Requests of the container to a Docker socket, by class, where the kernel reports them.";
    HOST_CONNECTIONS = Gauge "castoff_host_client_connections" ["unit", "executable", "uid", "engine", "scope"] OFFENDERS:
        "Connections that processes of the host hold to a Docker socket now; 0 for one that was seen earlier within the window.";
    HOST_FIRST_SEEN = Gauge "castoff_host_client_first_seen_timestamp_seconds" ["unit", "executable", "uid", "engine", "scope"] OFFENDERS:
        "When a connection of the host's processes to a Docker socket was first seen, as far as the state file reaches back.";
    HOST_LAST_SEEN = Gauge "castoff_host_client_last_seen_timestamp_seconds" ["unit", "executable", "uid", "engine", "scope"] OFFENDERS:
        "When a connection of the host's processes to a Docker socket was last seen.";
    HOST_CONNECTS = Counter "castoff_host_client_connects_total" ["unit", "executable", "uid", "engine", "scope"] OFFENDERS:
        "New connections of the host's processes to a Docker socket that were seen: a lower bound.";
    HOST_REQUESTS = Counter "castoff_host_client_requests_total" ["unit", "executable", "uid", "engine", "scope", "operation"] OFFENDERS:
        "Requests of the host's processes to a Docker socket, by class, where the kernel reports them.";
    ENGINE_CONTAINER_CONNECTIONS = Gauge "castoff_engine_container_client_connections" ["name", "owner", "engine", "scope"] OFFENDERS:
        "Connections that a container outside Kubernetes holds to a Docker socket now; owner is the engine that runs it.";
    ENGINE_CONTAINER_FIRST_SEEN = Gauge "castoff_engine_container_client_first_seen_timestamp_seconds" ["name", "owner", "engine", "scope"] OFFENDERS:
        "When a connection of the container outside Kubernetes to a Docker socket was first seen, as far as the state file reaches back.";
    ENGINE_CONTAINER_LAST_SEEN = Gauge "castoff_engine_container_client_last_seen_timestamp_seconds" ["name", "owner", "engine", "scope"] OFFENDERS:
        "When a connection of the container outside Kubernetes to a Docker socket was last seen.";
    ENGINE_CONTAINER_CONNECTS = Counter "castoff_engine_container_client_connects_total" ["name", "owner", "engine", "scope"] OFFENDERS:
        "New connections of the container outside Kubernetes to a Docker socket that were seen: a lower bound.";
    ENGINE_CONTAINER_REQUESTS = Counter "castoff_engine_container_client_requests_total" ["name", "owner", "engine", "scope", "operation"] OFFENDERS:
        "Requests of the container outside Kubernetes to a Docker socket, by class, where the kernel reports them.";
    REMOTE_CONNECTIONS = Gauge "castoff_remote_client_connections" ["address", "engine", "scope"] OFFENDERS:
        "Connections from another machine to an engine's TCP port now; 0 for one that was seen earlier within the window.";
    REMOTE_FIRST_SEEN = Gauge "castoff_remote_client_first_seen_timestamp_seconds" ["address", "engine", "scope"] OFFENDERS:
        "When a connection from the other machine was first seen, as far as the state file reaches back.";
    REMOTE_LAST_SEEN = Gauge "castoff_remote_client_last_seen_timestamp_seconds" ["address", "engine", "scope"] OFFENDERS:
        "When a connection from the other machine was last seen.";
    REMOTE_CONNECTS = Counter "castoff_remote_client_connects_total" ["address", "engine", "scope"] OFFENDERS:
        "New connections from the other machine that were seen: a lower bound.";
    UNNAMED_CONNECTIONS = Gauge "castoff_unnamed_client_connections" ["engine", "scope"]:
        "Connections to a Docker socket by clients that could not be named.";
    UNNAMED_FIRST_SEEN = Gauge "castoff_unnamed_client_first_seen_timestamp_seconds" ["engine", "scope"]:
        "When a client that could not be named was first seen connected to a Docker socket, as far as the state file reaches back.";
    UNNAMED_LAST_SEEN = Gauge "castoff_unnamed_client_last_seen_timestamp_seconds" ["engine", "scope"]:
        "When a client that could not be named was last seen connected to a Docker socket.";
    UNNAMED_CONNECTS = Counter "castoff_unnamed_client_connects_total" ["engine", "scope"]:
        "New connections to a Docker socket by clients that could not be named: a lower bound.";
    UNNAMED_REQUESTS = Counter "castoff_unnamed_client_requests_total" ["engine", "scope", "operation"]:
        "Requests to a Docker socket by clients that could not be named, by class, where the kernel reports them.";
    UNSEEN_FIRST_SEEN = Gauge "castoff_unseen_client_first_seen_timestamp_seconds" ["engine", "scope"]:
        "When a client that no look saw first connected to a Docker socket, by the times of its file, as far as the state file reaches back.";
    UNSEEN_LAST_SEEN = Gauge "castoff_unseen_client_last_seen_timestamp_seconds" ["engine", "scope"]:
        "When a client that no look saw last connected to a Docker socket, by the times of its file.";
    UNSEEN_CONNECTS = Counter "castoff_unseen_client_connects_total" ["engine", "scope"]:
        "Looks before which a client that no look saw had connected to a Docker socket: a lower bound of the connections.";
    LISTENER_LAST_CONNECT = Gauge "castoff_listener_last_connect_timestamp_seconds" ["engine", "scope", "kind"]:
        "When a client last connected to an engine's socket, by the times of its file. kind is exact, at-least (then, and perhaps within 24 hours after) or none-since (no client since). A socket whose file shows no times has no series.";
    POD_EXPOSURE = Gauge "castoff_pod_exposure" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope", "via", "used"] OFFENDERS:
        "Mounts through which a container of a pod can reach a Docker socket now; 0 where it could within the window. used says if it was ever seen using it.";
    POD_EXPOSURE_FIRST_SEEN = Gauge "castoff_pod_exposure_first_seen_timestamp_seconds" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope", "via", "used"] OFFENDERS:
        "When a container of a pod, or of an earlier pod of its workload, was first seen with such a mount, as far as the state file reaches back.";
    POD_EXPOSURE_LAST_SEEN = Gauge "castoff_pod_exposure_last_seen_timestamp_seconds" ["namespace", "pod", "container", "workload", "workload_kind", "engine", "scope", "via", "used"] OFFENDERS:
        "When a container of a pod was last seen with such a mount.";
    ENGINE_CONTAINER_EXPOSURE = Gauge "castoff_engine_container_exposure" ["name", "owner", "engine", "scope", "via", "used"] OFFENDERS:
        "Mounts through which a container outside Kubernetes can reach a Docker socket now; 0 where it could within the window. owner is the engine that runs it.";
    ENGINE_CONTAINER_EXPOSURE_FIRST_SEEN = Gauge "castoff_engine_container_exposure_first_seen_timestamp_seconds" ["name", "owner", "engine", "scope", "via", "used"] OFFENDERS:
        "When a container outside Kubernetes was first seen with such a mount, as far as the state file reaches back.";
    ENGINE_CONTAINER_EXPOSURE_LAST_SEEN = Gauge "castoff_engine_container_exposure_last_seen_timestamp_seconds" ["name", "owner", "engine", "scope", "via", "used"] OFFENDERS:
        "When a container outside Kubernetes was last seen with such a mount.";
    CONNECT_METHOD = Gauge "castoff_connect_events_method" ["method"]:
        "The method by which the kernel reports connects: 1 for the method that runs, 0 for the others. No series with --connect-events=off.";
    CONNECT_LISTENERS = Gauge "castoff_connect_events_listeners" []:
        "Sockets whose connects the kernel reports.";
    CONNECT_RECORDED = Counter "castoff_connect_events_recorded_total" []:
        "Connects that the kernel recorded.";
    CONNECT_LOST = Counter "castoff_connect_events_lost_total" []:
        "Connects whose records the kernel dropped for lack of room. They count as connects of a client that could not be named.";
    CONNECT_ATTRIBUTED = Counter "castoff_connect_events_attributed_total" ["source"]:
        "Connects by the source of the client's name: the running process, the kernel's record alone, or none.";
    CONNECT_SELF_TEST = Gauge "castoff_connect_events_self_test_passed" []:
        "1 if the kernel reported castoff's own last test connect, which it makes at the start and hourly, else 0. No series before the first.";
    REQUEST_METHOD = Gauge "castoff_request_events_method" ["method"]:
        "The method by which the kernel reports requests: 1 for the method that runs, 0 for the others. No series with --connect-events=off.";
    REQUEST_RECORDED = Counter "castoff_request_events_recorded_total" []:
        "Requests to Docker sockets, and pieces of them, that the kernel recorded.";
    REQUEST_LOST = Counter "castoff_request_events_lost_total" []:
        "Requests to Docker sockets whose records the kernel dropped for lack of room. They are counted for no client.";
    SOURCE_UP = Gauge "castoff_source_up" ["source"]:
        "1 if the source gave an answer in the last cycle, else 0. At 0, metrics that depend on it have no series.";
    SOURCE_DURATION = Gauge "castoff_source_duration_seconds" ["source"]:
        "Duration of the source in the last cycle.";
    SOURCE_LAST_SUCCESS = Gauge "castoff_source_last_success_timestamp_seconds" ["source"]:
        "When the source last gave an answer. No series until it has.";
    SOURCE_GAPS = Gauge "castoff_source_gaps" ["source", "reason"]:
        "Things that the source could not see in the last cycle. Only reasons that occur now have a series.";
    SOURCE_FAILURES = Counter "castoff_source_failures_total" ["source", "reason"]:
        "Cycles in which the source gave no answer.";
    CYCLES = Counter "castoff_cycles_total" []:
        "Looks at the node that ended in a report.";
    CYCLE_DURATION = Histogram "castoff_cycle_duration_seconds" []:
        "Duration of a look at the node, from the first question to the report.";
    SERIES_DROPPED = Gauge "castoff_series_dropped" ["family"]:
        "Series that the current exposition leaves out because their family is at its bound.";
    CLIENTS_FORGOTTEN = Counter "castoff_clients_forgotten_total" []:
        "Clients whose history was forgotten for lack of room.";
    STATE_WRITES = Counter "castoff_state_writes_total" ["outcome"]:
        "Attempts to write the state file that keeps first and last seen of each client.";
    LABELS_STATE = Gauge "castoff_labels_state" ["way", "state"]:
        "State of the node's labels: 1 for the state that holds, 0 for the others. States other than published and pending name the reason why the last attempt failed. No series with --labels=off.";
    LABELS_REQUESTS = Counter "castoff_labels_requests_total" ["way", "verb", "outcome"]:
        "Requests to the API server about the node's labels, or writes of the features.d file, by how they ended. No series with --labels=off.";
    LABELS_LAST_SUCCESS = Gauge "castoff_labels_last_success_timestamp_seconds" ["way"]:
        "When the node's labels were last confirmed. No series before that, and with --labels=off.";
    EVENTS_STATE = Gauge "castoff_events_state" ["state"]:
        "State of the events on pods: 1 for the state that holds, 0 for the others. States other than made and pending (nothing new to report yet) name the reason why the last request failed. No series without --events.";
    EVENTS_REQUESTS = Counter "castoff_events_requests_total" ["outcome"]:
        "Requests to the API server for an event, by how they ended. An event that existed already counts as succeeded. No series without --events.";
    EVENTS_DROPPED = Counter "castoff_events_dropped_total" ["reason"]:
        "Events that were not made, by reason. No series without --events.";
    EVENTS_WAITING = Gauge "castoff_events_waiting" []:
        "Events that wait to be sent. No series without --events.";
    EVENTS_LAST_SUCCESS = Gauge "castoff_events_last_success_timestamp_seconds" []:
        "When an event was last made. No series before that, and without --events.";
}

/// Renders the reference of all families, in Markdown.
pub fn render_reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Written from `src/sinks/views/metrics/catalogue.rs`; change that file, then run the tests with `CASTOFF_BLESS=1`.\n\n\
         - A reading that is unknown makes no series: absence is not zero. `castoff_source_up` and \
         `castoff_source_gaps` say what is missing.\n\
         - `namespace`, `pod` and `container` name the *client*, as in kube-state-metrics: scrape with \
         `honorLabels: true`. Only `castoff_pod_*` has them.\n\
         - A label of a client whose value is unknown is `(unknown)`, which is not a valid name in Kubernetes.\n\
         - A label's value has at most 256 bytes; control characters are written out.\n\n\
         | family | type | labels | |\n|---|---|---|---|\n",
    );
    for family in ALL {
        let labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
        let bound = family
            .limit
            .map(|n| format!(" At most {n} series."))
            .unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {}{bound} |",
            family.name,
            format!("{:?}", family.kind).to_lowercase(),
            labels.join(" "),
            family.help
        );
    }
    text.push_str("\n`process_*` are the figures of the agent's own process.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::golden;

    #[test]
    fn the_checked_in_reference_is_up_to_date() {
        golden::hold("docs/metrics.md", &render_reference());
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for family in ALL {
            assert!(family.name.starts_with("castoff_"), "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.'), "{}", family.name);
            // Only a metric about a pod may have a pod's labels: those of the scrape itself would be overwritten.
            assert_eq!(
                family.labels.contains(&"pod"),
                family.name.starts_with("castoff_pod_"),
                "{}",
                family.name
            );
        }
    }
}
