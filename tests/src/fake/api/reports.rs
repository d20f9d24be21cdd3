//! The answers of agents: the golden report of a node, which castoff itself has written, under the name of another
//! node.

use std::sync::OnceLock;
use std::time::SystemTime;

use castoff::model::time::Timestamp;
use serde_json::{Value, json};

/// Returns the report of `node` at the current time: `in-use` by pod `ci/builder-0` and `backup.service`.
///
/// # Panics
/// If the golden report is invalid.
pub fn report_in_use(node: &str) -> Value {
    static GOLDEN: OnceLock<Value> = OnceLock::new();
    let golden = GOLDEN.get_or_init(|| {
        let text = include_str!("../../../pipeline/golden/containerd.json");
        serde_json::from_str(text).expect("the golden report is JSON")
    });
    let mut report = golden.clone();
    report["node"] = json!(node);
    report["time"] = json!(Timestamp::from(SystemTime::now()));
    report
}

/// Returns the same for a node without anything of Docker.
pub fn report_clear(node: &str) -> Value {
    let mut report = report_in_use(node);
    report["verdict"] = json!("clear");
    report["verdictReason"] = json!("no Docker engine, no client and no way to one was found");
    for list in ["engines", "clients", "exposures", "shadowContainers"] {
        report[list] = json!({ "state": "known", "value": [] });
    }
    report
}

/// Returns the same, used by one pod.
pub fn report_used_by(node: &str, namespace: &str, pod: &str) -> Value {
    let mut report = report_in_use(node);
    let mut client = report["clients"]["value"][0].clone();
    client["identity"] = json!({ "kind": "pod", "namespace": namespace, "pod": pod, "container": "build" });
    report["clients"] = json!({ "state": "known", "value": [client] });
    report
}
