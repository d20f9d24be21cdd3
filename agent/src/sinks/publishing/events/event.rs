//! One piece of news as an object of `events.k8s.io/v1`.
//!
//! Its name is a hash of its content, so that an agent that restarts, or that got no answer, finds its own event
//! instead of creating a second one. No field is longer than the API server accepts (kubernetes,
//! `pkg/apis/core/validation/events.go`), and every name that a pod chose is escaped.

use serde::Serialize;

use super::novelty::{News, Occurrence};
use crate::model::exposure::Via;
use crate::model::name::is_name;
use crate::model::text::{cut_bytes, visible};
use crate::model::time::Timestamp;
use crate::sinks::publishing::labels::prefix::Prefix;

/// The maximum size of a note in bytes.
const NOTE_LIMIT: usize = 1024;

/// The maximum size of the reporting controller and of its instance in bytes.
const REPORTER_LIMIT: usize = 128;

/// The maximum size of the pod's part of an event's name in bytes: with a dot and 16 digits it stays a legal name.
const POD_LIMIT: usize = 236;

/// The maximum size of a pod's uid in bytes: a UUID, or a static pod's 32 digits.
const UID_LIMIT: usize = 64;

/// The reporting controller and its instance.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The Node's name.
    pub node: String,
    /// The prefix of its events: `castoff.dev/`.
    pub prefix: Prefix,
}

/// An event that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The namespace in which it is created.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object as JSON.
    pub body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    event_time: String,
    reporting_controller: &'a str,
    reporting_instance: &'a str,
    action: &'a str,
    reason: &'a str,
    regarding: Reference<'a>,
    related: Reference<'a>,
    note: &'a str,
    r#type: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    namespace: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    api_version: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

impl Event {
    /// Makes the event of `occurrence`; none if the runtime's data are no valid pod of Kubernetes.
    pub fn of(occurrence: &Occurrence, reporter: &Reporter) -> Option<Self> {
        let Occurrence { place, pod_uid, .. } = occurrence;
        let is_uid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let legal = is_name(&place.namespace)
            && is_name(&place.pod)
            && (1..=UID_LIMIT).contains(&pod_uid.len())
            && pod_uid.bytes().all(is_uid);
        if !legal {
            return None;
        }
        let name = name(occurrence);
        let note = note(occurrence);
        let controller = reporter.prefix.key("agent");
        let document = Document {
            api_version: "events.k8s.io/v1",
            kind: "Event",
            metadata: Metadata {
                namespace: &place.namespace,
                name: &name,
            },
            event_time: micro_time(occurrence.at),
            // A longer prefix is legal in a label, but not here.
            reporting_controller: if controller.len() > REPORTER_LIMIT {
                "castoff.dev/agent"
            } else {
                &controller
            },
            reporting_instance: &cut_bytes(reporter.node.as_str().into(), REPORTER_LIMIT),
            action: match occurrence.news {
                News::Client => "ConnectToDockerSocket",
                News::Exposure => "MountDockerSocket",
            },
            reason: occurrence.news.code(),
            regarding: Reference {
                api_version: "v1",
                kind: "Pod",
                namespace: Some(&place.namespace),
                name: &place.pod,
                uid: Some(pod_uid),
            },
            related: Reference {
                api_version: "v1",
                kind: "Node",
                namespace: None,
                name: &reporter.node,
                uid: None,
            },
            note: &note,
            r#type: "Warning",
        };
        Some(Self {
            namespace: place.namespace.clone(),
            body: serde_json::to_string(&document).ok()?,
            name,
        })
    }
}

/// Makes the name: equal for equal news of the same pod, whichever agent makes it.
fn name(occurrence: &Occurrence) -> String {
    let Occurrence {
        news,
        place,
        pod_uid,
        key,
        ..
    } = occurrence;
    let container = place.container.as_deref().unwrap_or_default();
    let content = [
        pod_uid,
        container,
        news.code(),
        key.engine.code(),
        &key.scope.to_string(),
        &key.listener.to_string(),
    ];
    let pod = &place.pod[..place.pod.len().min(POD_LIMIT)]; // a name is ASCII
    format!("{}.{:016x}", pod.trim_end_matches(['-', '.']), fnv(&content))
}

/// FNV-1a, 64 bits, of texts and their ends: the standard library's hash may change with the compiler.
fn fnv(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Writes one or two sentences: the client, the socket, and the reference.
fn note(occurrence: &Occurrence) -> String {
    let Occurrence {
        news,
        place,
        key,
        mount,
        ..
    } = occurrence;
    let who = match &place.container {
        Some(container) => format!("Container {container}"),
        None => "A container".to_owned(),
    };
    let of = match &place.workload {
        Some(workload) => format!(" ({workload})"),
        None => String::new(),
    };
    let target = format!("{} ({}) at {}", key.engine, key.scope, key.listener);
    let (what, code) = match (news, mount) {
        (News::Client, _) => (format!("uses the Docker socket of {target}"), "socket-client"),
        (News::Exposure, Some((Via::Directory, path))) => {
            let what = format!("can reach the Docker socket of {target}: it mounts {path}, a directory above it");
            (what, "socket-exposure")
        }
        (News::Exposure, _) => (format!("can reach the Docker socket of {target}"), "socket-exposure"),
    };
    // Only the part that the pod chose is cut, not the reference.
    let advice = format!(" and will break when Docker goes. `castoff explain {code}` says what to do instead.");
    let what = format!("{who}{of} {what}");
    let room = NOTE_LIMIT - advice.len();
    format!("{}{advice}", cut_bytes(visible(&what), room))
}

/// RFC 3339 with six digits after the second, as `metav1.MicroTime` reads it.
fn micro_time(at: Timestamp) -> String {
    let seconds = at.to_string();
    format!("{}.000000Z", seconds.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests;
