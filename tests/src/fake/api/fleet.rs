//! The Nodes and agents' pods of a whole cluster, printed like the API server does (`Table` of meta.k8s.io/v1), and the
//! answer of each agent through the pod proxy. Supports 100,000 nodes: a report is written when it is requested.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Fault;

/// A Node.
#[derive(Clone, Debug)]
pub struct FleetNode {
    /// `Ready`, `NotReady`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The answer of an agent.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This report; if it is null, the fleet's own for that Node.
    Report(Value),
    /// A fault.
    Fault(Fault),
}

/// An agent's pod.
#[derive(Clone, Debug)]
pub struct FleetPod {
    /// The Node that it is on.
    pub node: String,
    /// `1/1`.
    pub ready: String,
    /// `Running`.
    pub status: String,
    /// Its answer.
    pub reply: Reply,
}

/// The cluster.
#[derive(Debug)]
pub struct Fleet {
    /// The Nodes by name.
    pub nodes: BTreeMap<String, FleetNode>,
    /// The pods by name, in castoff's namespace.
    pub pods: BTreeMap<String, FleetPod>,
    /// That namespace.
    pub namespace: String,
    /// The agents' port: `9559`, `https:9559`.
    pub agent_port: String,
    /// Writes the report of a Node whose pod has none of its own.
    pub report: fn(&str) -> String,
    /// The account that may read the agents, if they require a token; their pods name it.
    pub reader: Option<String>,
    /// The tokens that were issued to it, the newest last: agents accept this one.
    pub issued: Vec<String>,
    /// The delay of every agent.
    pub delay: Duration,
    /// The most objects of one page, whatever limit was requested.
    pub page: usize,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            namespace: "castoff".to_owned(),
            agent_port: "9559".to_owned(),
            report: |node| super::report_clear(node).to_string(),
            reader: None,
            issued: Vec::new(),
            delay: Duration::ZERO,
            page: usize::MAX,
        }
    }
}

impl Fleet {
    /// Adds a ready Linux Node with a ready agent that answers with the fleet's report.
    pub fn add(&mut self, node: &str) {
        self.add_node(node, &[("kubernetes.io/os", "linux")]);
        self.add_pod(&format!("castoff-{node}"), node, "1/1", "Running");
    }

    /// Adds a ready Node.
    pub fn add_node(&mut self, node: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let status = "Ready".to_owned();
        self.nodes.insert(node.to_owned(), FleetNode { status, labels });
    }

    /// Adds an agent's pod.
    pub fn add_pod(&mut self, pod: &str, node: &str, ready: &str, status: &str) {
        let pod_on = FleetPod {
            node: node.to_owned(),
            ready: ready.to_owned(),
            status: status.to_owned(),
            reply: Reply::Report(Value::Null),
        };
        self.pods.insert(pod.to_owned(), pod_on);
    }

    /// Sets the answer of the pod on `node`.
    #[expect(clippy::needless_pass_by_value, reason = "the caller makes it for this call")]
    pub fn answer(&mut self, node: &str, reply: Reply) {
        for pod in self.pods.values_mut().filter(|pod| pod.node == node) {
            pod.reply = reply.clone();
        }
    }

    /// Returns an agent's refusal of a request with this token, if it refuses it.
    pub(super) fn refuse(&self, token: Option<&str>) -> Option<Fault> {
        self.reader.as_ref()?;
        let words = match token {
            None => "a bearer token is needed\n",
            Some(token) if self.issued.last().is_some_and(|newest| newest == token) => return None,
            Some(_) => "the API server does not accept this token here\n",
        };
        Some(Fault::Answer {
            status: 401,
            headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: words.to_owned(),
        })
    }

    /// Returns the answer to a request for a token; none if `path` is another one.
    pub(super) fn issue(&mut self, path: &str, request: &Value) -> Option<Result<Value, (u16, String)>> {
        let accounts = format!("/api/v1/namespaces/{}/serviceaccounts/", self.namespace);
        let account = path.strip_prefix(&accounts)?.strip_suffix("/token")?;
        if self.reader.as_deref() != Some(account) {
            return Some(Err((404, format!("serviceaccounts {account:?} not found"))));
        }
        let token = format!("issued-{}", self.issued.len());
        self.issued.push(token.clone());
        let mut answer = request.clone();
        answer["status"] = json!({ "token": token, "expirationTimestamp": "2100-01-01T00:00:00Z" });
        Some(Ok(answer))
    }

    /// Returns the answer for `path`, if it is one of the fleet's.
    pub(super) fn get(&self, path: &str, query: &str) -> Option<Result<String, Fault>> {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        if path == "/api/v1/nodes" {
            return Some(Ok(self.list_nodes(query).to_string()));
        }
        if path == "/api/v1/pods" || path.starts_with("/api/v1/namespaces/") && path.ends_with("/pods") {
            let here = path == "/api/v1/pods" || path == pods;
            return Some(Ok(self.list_pods(query, here).to_string()));
        }
        let rest = path.strip_prefix(&pods)?.strip_prefix('/')?;
        let Some((target, "api/v1/report")) = rest.split_once("/proxy/") else {
            return Some(
                self.pods
                    .get(rest)
                    .map_or_else(|| Err(not_found(rest)), |_| Ok(self.pod().to_string())),
            );
        };
        let (tls, target) = target
            .strip_prefix("https:")
            .map_or(("", target), |rest| ("https:", rest));
        let (name, port) = target.split_once(':').unwrap_or((target, ""));
        Some(match self.pods.get(name) {
            None => Err(not_found(name)),
            Some(_) if format!("{tls}{port}") != self.agent_port => {
                let what = "error trying to reach service: dial tcp 10.0.0.1: connect: connection refused";
                Err(Fault::status(503, what))
            }
            Some(FleetPod {
                reply: Reply::Fault(fault),
                ..
            }) => Err(fault.clone()),
            Some(FleetPod {
                reply: Reply::Report(Value::Null),
                node,
                ..
            }) => Ok((self.report)(node)),
            Some(FleetPod {
                reply: Reply::Report(report),
                ..
            }) => Ok(report.to_string()),
        })
    }

    fn pod(&self) -> Value {
        let (scheme, port) = match self.agent_port.strip_prefix("https:") {
            Some(port) => ("HTTPS", port),
            None => ("HTTP", self.agent_port.as_str()),
        };
        let port: u16 = port.parse().unwrap_or(9559);
        let annotations = json!({ "castoff.dev/reader": self.reader.as_deref().unwrap_or_default() });
        json!({ "kind": "Pod", "metadata": { "annotations": annotations }, "spec": { "containers": [{
            "ports": [{ "name": "http", "containerPort": port }],
            "readinessProbe": { "httpGet": { "port": "http", "scheme": scheme } },
        }] } })
    }

    fn list_nodes(&self, query: &str) -> Value {
        let wanted = value(query, "labelSelector").unwrap_or_default();
        let selected = |node: &FleetNode| match wanted.split_once('=') {
            Some((key, value)) => node.labels.get(key).is_some_and(|given| given == value),
            None => true,
        };
        let nodes: Vec<_> = self.nodes.iter().filter(|(_, node)| selected(node)).collect();
        let metadata = value(query, "includeObject").as_deref() == Some("Metadata");
        self.table(
            query,
            &["Name", "Status", "Roles", "Age", "Version"],
            nodes.len(),
            |at| {
                let (name, node) = nodes[at];
                let object =
                    json!({ "kind": "PartialObjectMetadata", "metadata": { "name": name, "labels": node.labels } });
                let cells = json!([name, node.status, "<none>", "5d", "v1.34.4"]);
                json!({ "cells": cells, "object": if metadata { object } else { Value::Null } })
            },
        )
    }

    fn list_pods(&self, query: &str, here: bool) -> Value {
        let asked = value(query, "labelSelector").unwrap_or_default();
        let here = here && asked == "app.kubernetes.io/name=castoff";
        let pods: Vec<_> = self.pods.iter().filter(|_| here).collect();
        let columns = ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"];
        self.table(query, &columns, pods.len(), |at| {
            let (name, pod) = pods[at];
            let cells = json!([name, pod.ready, pod.status, 0, "5d", "10.0.0.1", pod.node]);
            let object = json!({ "metadata": { "name": name, "namespace": self.namespace } });
            json!({ "cells": cells, "object": object })
        })
    }

    fn table(&self, query: &str, columns: &[&str], items: usize, row: impl Fn(usize) -> Value) -> Value {
        let limit = value(query, "limit")
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(usize::MAX);
        let from: usize = value(query, "continue").and_then(|from| from.parse().ok()).unwrap_or(0);
        let end = items.min(from.saturating_add(limit.min(self.page)));
        let columns: Vec<Value> = columns.iter().map(|name| json!({ "name": name })).collect();
        let rows: Vec<Value> = (from..end).map(row).collect();
        let mut metadata = json!({ "resourceVersion": "1" });
        if end < items {
            metadata["continue"] = json!(end.to_string());
            metadata["remainingItemCount"] = json!(items - end);
        }
        json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows })
    }
}

fn not_found(pod: &str) -> Fault {
    Fault::status(404, &format!("pods {pod:?} not found"))
}

/// Returns a decoded parameter of the query.
fn value(query: &str, name: &str) -> Option<String> {
    let given = query
        .split('&')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::new();
    let mut rest = given.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        if let (b'%', Some(byte)) = (first, digits.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
