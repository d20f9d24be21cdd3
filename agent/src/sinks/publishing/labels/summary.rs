//! The annotation: the verdict, its reason, the time since when, and the counts, as one line of JSON.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::findings::report::Report;
use crate::model::time::Timestamp;
use crate::sinks::text::{cut_bytes, visible};

/// The maximum size of the reason in bytes: a Node has 256 KiB for all annotations of all tools.
const REASON_LIMIT: usize = 256;

/// The contents of the annotation. A count is left out where it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The verdict, as in the label.
    pub verdict: String,
    /// The time of the report with which the labels last changed. Not the time of the last look, which would make every cycle a
    /// write.
    pub since: Timestamp,
    /// The reason for the verdict, as it was when this was written.
    pub reason: String,
    /// Clients of the node's engines, now or within the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<usize>,
    /// Containers that could reach an engine of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_containers: Option<usize>,
    /// Containers outside Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_containers: Option<usize>,
}

impl Summary {
    /// Summarizes `report`.
    pub fn of(report: &Report, since: Timestamp) -> Self {
        let exposed = report.exposures.known().map(|exposures| {
            let of_node = exposures.iter().filter(|e| e.scope.is_of_node());
            let containers: BTreeSet<_> = of_node.map(|e| &e.identity).collect();
            containers.len()
        });
        Self {
            verdict: report.verdict.code().to_owned(),
            since,
            reason: cut_bytes(visible(&report.verdict_reason), REASON_LIMIT).into_owned(),
            clients: report
                .clients
                .known()
                .map(|clients| clients.iter().filter(|c| c.key.scope.is_of_node()).count()),
            exposed_containers: exposed,
            shadow_containers: report.shadow_containers.known().map(Vec::len),
        }
    }

    /// Reads an annotation; none if castoff did not write it, or another release of castoff did.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// True if both are equal except for the time and the wording of the reason, which follow from the rest or change with every
    /// look.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let facts = |s: &Self| (s.verdict.clone(), s.clients, s.exposed_containers, s.shadow_containers);
        facts(self) == facts(other)
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Strings, numbers and a time: serialization cannot fail.
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}
