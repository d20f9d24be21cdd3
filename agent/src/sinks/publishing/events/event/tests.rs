//! The object byte by byte, and names that would break it.

use serde_json::{Value, json};

use super::*;
use crate::model::client::{ClientIdentity, ClientKey};
use crate::model::container::PodContainer;
use crate::model::engine::{Api, EngineKind, Scope};
use crate::model::socket::SocketName;

fn reporter() -> Reporter {
    Reporter {
        node: "worker-3".to_owned(),
        prefix: Prefix::parse("castoff.dev").expect("a prefix"),
    }
}

fn occurrence(news: News, pod: &str) -> Occurrence {
    let place = PodContainer {
        namespace: "ci".to_owned(),
        pod: pod.to_owned(),
        container: Some("build".to_owned()),
        workload: None,
    };
    Occurrence {
        news,
        pod_uid: "0a1b2c3d-0000-4000-8000-00000000beef".to_owned(),
        key: ClientKey {
            identity: ClientIdentity::Pod(place.clone()),
            engine: EngineKind::Dockerd,
            scope: Scope::Host,
            api: Api::Docker,
            listener: SocketName::Path("/run/docker.sock".to_owned()),
        },
        place,
        mount: (news == News::Exposure).then(|| (Via::Directory, "/var/run".to_owned())),
        at: Timestamp::from_unix(1_795_521_600),
    }
}

fn made(occurrence: &Occurrence) -> (Event, Value) {
    let event = Event::of(occurrence, &reporter()).expect("an event");
    let body = serde_json::from_str(&event.body).expect("JSON");
    (event, body)
}

#[test]
fn an_event_has_every_field_that_the_api_requires() {
    let (event, body) = made(&occurrence(News::Client, "builder-0"));
    // The name must stay: an agent of the next release finds this one's events by it.
    assert_eq!(event.name, "builder-0.a33723abd28cdd7e");
    let expected = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "namespace": "ci", "name": event.name },
        "eventTime": "2026-11-24T12:00:00.000000Z",
        "reportingController": "castoff.dev/agent",
        "reportingInstance": "worker-3",
        "action": "ConnectToDockerSocket",
        "reason": "DockerSocketClient",
        "regarding": {
            "apiVersion": "v1", "kind": "Pod", "namespace": "ci", "name": "builder-0",
            "uid": "0a1b2c3d-0000-4000-8000-00000000beef",
        },
        "related": { "apiVersion": "v1", "kind": "Node", "name": "worker-3" },
        "note": "Container build uses the Docker socket of dockerd (host) at /run/docker.sock and will break when Docker \
                 goes. `castoff explain socket-client` says what to do instead.",
        "type": "Warning",
    });
    assert_eq!(body, expected);
    let (_, body) = made(&occurrence(News::Exposure, "builder-0"));
    let note = body["note"].as_str().expect("a note");
    assert!(note.contains("it mounts /var/run, a directory above it"), "{note}");
    assert!(note.contains("explain socket-exposure"), "{note}");
}

#[test]
fn the_name_differs_exactly_between_different_news() {
    let one = occurrence(News::Client, "builder-0");
    let name = |o: &Occurrence| made(o).0.name;
    let mut later = one.clone();
    later.at = Timestamp::from_unix(9);
    assert_eq!(name(&one), name(&later));
    let mut others = vec![
        occurrence(News::Exposure, "builder-0"),
        one.clone(),
        one.clone(),
        one.clone(),
        one.clone(),
    ];
    others[1].pod_uid = "another".to_owned();
    others[2].place.container = None;
    others[3].key.scope = Scope::User { uid: 1000 };
    others[4].key.listener = SocketName::Path("/run/podman.sock".to_owned());
    for other in others {
        assert_ne!(name(&one), name(&other), "{other:?}");
    }
}

#[test]
fn no_field_is_longer_than_the_api_accepts_or_unescaped() {
    let mut long = occurrence(News::Client, &format!("{}-{}", "a".repeat(235), "b".repeat(17)));
    long.place.container = Some("\u{1b}[31m€".repeat(900));
    let mut reporter = reporter();
    reporter.node = "n".repeat(253);
    reporter.prefix = Prefix::parse(&format!("{}.dev", "p.".repeat(100).trim_end_matches('.'))).expect("a prefix");
    let event = Event::of(&long, &reporter).expect("an event");
    let body: Value = serde_json::from_str(&event.body).expect("JSON");
    assert!(is_name(&event.name), "{}", event.name);
    let note = body["note"].as_str().expect("a note");
    assert!(
        note.len() <= 1024 && !note.contains('\u{1b}') && note.ends_with("instead."),
        "{note}"
    );
    for field in ["reportingController", "reportingInstance"] {
        assert!(
            body[field].as_str().is_some_and(|text| (1..=128).contains(&text.len())),
            "{body}"
        );
    }
}

#[test]
fn there_is_no_event_for_an_invalid_pod() {
    type Spoil = fn(&mut Occurrence);
    let spoils: [Spoil; 7] = [
        |o| o.pod_uid.clear(),
        |o| o.pod_uid = "x".repeat(65),
        |o| o.pod_uid = "a\"b".to_owned(),
        |o| o.place.namespace = "../kube-system".to_owned(),
        |o| o.place.namespace = "ci/pods/x?dryRun=All#".to_owned(),
        |o| o.place.pod = "日本".to_owned(),
        |o| o.place.pod.clear(),
    ];
    for spoil in spoils {
        let mut bad = occurrence(News::Client, "builder-0");
        spoil(&mut bad);
        assert_eq!(Event::of(&bad, &reporter()), None, "{bad:?}");
    }
}
