mod ended;
mod late;
pub(super) mod marks;

use super::*;
use crate::model::client::ClientIdentity;
use crate::model::client::Connected;
use crate::model::container::PodContainer;
use crate::model::engine::{Api, EngineKind, Scope};
use crate::model::exposure::{Access, Via};
use crate::model::request::{ApiVersion, Operation, Request, Requests};
use crate::model::socket::SocketName;
use crate::model::workload::Unit;
use crate::model::workload::owner::{Workload, WorkloadKind};

pub(super) fn open(name: usize, sockets: &[u32]) -> OpenClient {
    OpenClient {
        key: ClientKey {
            identity: ClientIdentity::EngineContainer {
                engine: None,
                name: name.to_string(),
                image: None,
            },
            engine: EngineKind::Dockerd,
            scope: Scope::Host,
            api: Api::Docker,
            listener: SocketName::Path("/run/docker.sock".into()),
        },
        connections: 1,
        pending: 0,
        holders: Vec::new(),
        connectors: Vec::new(),
        sockets: sockets.iter().map(|s| SocketInode(*s)).collect(),
        connects: None,
    }
}

#[test]
fn a_connection_counts_once_however_often_it_is_seen() {
    let mut history = History::default();
    for (at, sockets) in [
        (1, vec![5]),
        (2, vec![5]),
        (3, vec![5, 6]),
        (4, vec![6]),
        (5, vec![]),
        (6, vec![6]),
    ] {
        history.record(Timestamp::from_unix(at), &[open(0, &sockets)]);
    }
    let seen = history.get(&open(0, &[]).key).expect("it was recorded");
    assert_eq!(seen.connects, 3, "5, 6, and 6 again after a look without it");
    assert_eq!((seen.first.as_unix(), seen.last.as_unix()), (1, 6));
}

#[test]
fn the_runtimes_own_client_stays_marked_once_the_runtime_has_changed() {
    let process = |pid| crate::model::sample::process(pid, "/usr/bin/x");
    let held = |name, pid| OpenClient {
        holders: vec![process(pid)],
        connectors: Vec::new(),
        ..open(name, &[1])
    };
    let clients = [held(0, 10), held(1, 11)];
    let mut history = History::default();
    history.record(Timestamp::from_unix(1), &clients);
    history.mark_runtime(&clients, &BTreeSet::from([process(10).key]));
    history.mark_runtime(&clients, &BTreeSet::new());
    let marked = |name| history.get(&open(name, &[]).key).map(|seen| seen.as_runtime);
    assert_eq!((marked(0), marked(1)), (Some(true), Some(false)));
}

/// A client in a pod of a Deployment; `certain` is false where it may be another workload's.
fn in_pod(pod: &str, certain: bool) -> OpenClient {
    let mut client = open(0, &[1]);
    client.key.identity = ClientIdentity::Pod(PodContainer {
        namespace: "ci".to_owned(),
        pod: pod.to_owned(),
        container: Some("build".to_owned()),
        workload: Some(Workload {
            kind: WorkloadKind::Deployment,
            name: "builder".to_owned(),
            certain,
        }),
    });
    client
}

fn kept(history: &History) -> Vec<(String, u64)> {
    let kept = history.clients();
    kept.map(|(key, seen)| (key.identity.to_string(), seen.first.as_unix()))
        .collect()
}

#[test]
fn a_rollout_makes_no_new_client() {
    let at = Timestamp::from_unix;
    let (old, new, other) = (in_pod("a", true), in_pod("b", true), in_pod("c", false));
    let mut history = History::default();
    history.record(at(1), std::slice::from_ref(&old));
    history.record(at(2), &[old.clone(), new.clone()]);
    let both = [("pod ci/a (build)".to_owned(), 1), ("pod ci/b (build)".to_owned(), 1)];
    assert_eq!(kept(&history), both);
    history.record(at(3), &[]);
    assert_eq!(kept(&history), both, "no pod took over yet");
    history.record(at(4 + 7_200), std::slice::from_ref(&new));
    assert_eq!(kept(&history), [("pod ci/b (build)".to_owned(), 1)]);
    let hours = history.get(&new.key).map(|seen| seen.hours.iter().collect::<Vec<_>>());
    assert_eq!(hours, Some(vec![at(0), at(7_200)]), "and what was seen of the other");
    history.record(at(5 + 7_200), &[other]);
    history.record(at(6 + 7_200), &[in_pod("d", false)]);
    let apart = [("b", 1), ("c", 7_205), ("d", 7_206)];
    let apart = apart.map(|(pod, first)| (format!("pod ci/{pod} (build)"), first));
    assert_eq!(kept(&history), apart, "an uncertain workload takes over from no pod");
    // A state file from before workloads were known.
    let mut before = in_pod("a", true);
    if let ClientIdentity::Pod(place) = &mut before.key.identity {
        place.workload = None;
    }
    let seen = ClientRecord {
        first: at(1),
        last: at(2),
        connects: 1,
        requests: Requests::default(),
        by_event: false,
        hours: Hours::default(),
        as_runtime: false,
    };
    let mut history = History::restore([(before.key, seen)], [], Hours::default(), []);
    history.record(at(9), &[old]);
    assert_eq!(kept(&history), [("pod ci/a (build)".to_owned(), 1)], "the same pod");
}

#[test]
fn the_clients_unseen_for_longest_are_forgotten_first_and_counted() {
    let mut history = History::default();
    for n in 0..History::LIMIT + 10 {
        history.record(Timestamp::from_unix(n as u64), &[open(n, &[1])]);
    }
    assert_eq!(history.clients().count(), History::LIMIT);
    assert_eq!(history.forgotten(), 10);
    assert_eq!(history.get(&open(9, &[]).key), None);
    assert!(history.get(&open(10, &[]).key).is_some());
}

/// One client of each kind that was seen from time to time for three days, and is not connected.
fn honest() -> Vec<OpenClient> {
    let host = |unit: Option<Unit>, uid| ClientIdentity::Host {
        unit,
        executable: "/usr/bin/docker".to_owned(),
        uid: Some(uid),
    };
    let system = |name: &str| Some(Unit::System { name: name.to_owned() });
    let mut pod = in_pod("nightly", true);
    if let ClientIdentity::Pod(place) = &mut pod.key.identity {
        place.namespace = "ops".to_owned();
    }
    let identities = [
        ClientIdentity::EngineContainer {
            engine: Some(EngineKind::Dockerd),
            name: "portainer".to_owned(),
            image: None,
        },
        host(system("backup.service"), 0),
        host(Some(Unit::Session { uid: 1001 }), 1001),
        host(None, 1002),
        ClientIdentity::Unnamed,
    ];
    let mut all: Vec<OpenClient> = identities.into_iter().map(of).collect();
    all.push(pod);
    all
}

fn of(identity: ClientIdentity) -> OpenClient {
    let mut client = open(0, &[1]);
    client.key.identity = identity;
    client
}

/// Makes the client with this number.
type Maker = fn(u32) -> ClientIdentity;

/// Ten thousand clients of each kind, as an attacker can make them.
fn floods() -> Vec<(&'static str, Maker)> {
    vec![
        ("pods of a namespace", |n| {
            ClientIdentity::Pod(PodContainer {
                namespace: "tenant".to_owned(),
                pod: format!("nightly-{n}"),
                container: Some("build".to_owned()),
                workload: None,
            })
        }),
        ("containers", |n| ClientIdentity::EngineContainer {
            engine: Some(EngineKind::Dockerd),
            name: format!("portainer-{n}"),
            image: Some("evil".to_owned()),
        }),
        ("units", |n| ClientIdentity::Host {
            unit: Some(Unit::System {
                name: format!("backup{n}.service"),
            }),
            executable: "/usr/bin/docker".to_owned(),
            uid: Some(0),
        }),
        ("programs of a user", |n| ClientIdentity::Host {
            unit: Some(Unit::Session { uid: 1000 }),
            executable: format!("/home/u/docker{n}"),
            uid: Some(1000),
        }),
        ("users of a user namespace", |n| ClientIdentity::Host {
            unit: Some(Unit::User {
                uid: 1000,
                name: "evil.service".to_owned(),
            }),
            executable: "/usr/bin/docker".to_owned(),
            uid: Some(100_000 + n),
        }),
    ]
}

#[test]
fn ten_thousand_clients_of_one_kind_displace_no_other() {
    const DAY: u64 = 86_400;
    let at = Timestamp::from_unix;
    for (what, flood) in floods() {
        let mut history = History::default();
        for day in 0..4 {
            history.record(at(day * DAY), &honest());
            history.record(at(day * DAY + 15), &[]);
        }
        for batch in 0..10 {
            let open: Vec<OpenClient> = (batch * 1000..(batch + 1) * 1000).map(|n| of(flood(n))).collect();
            history.record(at(3 * DAY + 3_600 + u64::from(batch)), &open);
        }
        assert_eq!(history.clients().count(), History::LIMIT, "{what}");
        assert_eq!(history.forgotten(), 10_006 - History::LIMIT as u64, "{what}");
        for client in honest() {
            let seen = history.get(&client.key);
            assert_eq!(
                seen.map(|s| s.first),
                Some(at(0)),
                "{what} pushed out {}",
                client.key.identity
            );
        }
    }
}

fn mount(n: usize) -> BTreeMap<ExposureKey, Mounted> {
    let key = ExposureKey {
        client: in_pod(&format!("nightly-{n}"), true).key,
        container_path: "/run/docker.sock".to_owned(),
        unnamed: None,
    };
    let mounted = Mounted {
        via: Via::Socket,
        host_path: "/var/run/docker.sock".to_owned(),
        readonly: false,
        access: Access::Unknown,
    };
    [(key, mounted)].into()
}

#[test]
fn a_mount_keeps_its_first_and_last_time_over_a_restart() {
    let at = Timestamp::from_unix;
    let times = |history: &History| -> Vec<(Timestamp, Timestamp)> {
        history.exposures().map(|(_, seen)| (seen.first, seen.last)).collect()
    };
    let mut before = History::default();
    before.record_exposures(at(1), &mount(1));
    before.record_exposures(at(5), &mount(1));
    assert_eq!(times(&before), [(at(1), at(5))]);
    let kept = before.exposures().map(|(key, seen)| (key.clone(), seen.clone()));
    let mut after = History::restore([], kept, Hours::default(), []);
    after.record_exposures(at(9), &mount(1));
    assert_eq!(times(&after), [(at(1), at(9))]);
}

#[test]
fn the_last_readonly_mount_is_remembered_over_a_restart() {
    let at = Timestamp::from_unix;
    let readonly = |at, readonly| {
        let (key, mut mounted) = mount(1).pop_first().expect("it has one");
        mounted.readonly = readonly;
        let seen = ExposureRecord {
            first: at,
            last: at,
            mount: mounted,
        };
        History::restore([], [(key, seen)], Hours::default(), [])
    };
    assert_eq!(readonly(at(5), false).readonly_mounted(), None);
    let mut history = readonly(at(5), true);
    assert_eq!(history.readonly_mounted(), Some(at(5)));
    history.mark_readonly_mounted(at(9));
    let mut late = History::default();
    late.mark_readonly_mounted(at(7));
    late.absorb(history);
    assert_eq!(late.readonly_mounted(), Some(at(9)));
    late.clamp(at(8));
    assert_eq!(late.readonly_mounted(), Some(at(8)));
}

#[test]
fn a_connected_client_is_kept_before_those_known_for_longer() {
    let at = Timestamp::from_unix;
    let mut history = History::default();
    let known: Vec<_> = (0..History::LIMIT).map(|name| open(name, &[1])).collect();
    history.record(at(1), &known);
    history.record(at(10), &known);
    let new = open(History::LIMIT, &[1]);
    history.record(at(11), std::slice::from_ref(&new));
    assert!(history.get(&new.key).is_some());
    assert_eq!(history.clients().count(), History::LIMIT);
}

#[test]
fn the_next_run_takes_over_the_mount_of_the_last() {
    let at = Timestamp::from_unix;
    let mut history = History::default();
    history.record_exposures(at(1), &mount(1));
    history.record_exposures(at(2), &BTreeMap::new());
    assert_eq!(history.exposures().count(), 1, "it is remembered");
    history.record_exposures(at(9), &mount(2));
    let kept: Vec<_> = history.exposures().collect();
    let [(key, seen)] = kept[..] else { panic!("{kept:?}") };
    assert_eq!(Some(key), mount(2).keys().next());
    assert_eq!((seen.first, seen.last), (at(1), at(9)));
}

#[test]
fn exposures_are_bounded_and_no_namespace_displaces_another() {
    let at = Timestamp::from_unix;
    let mut history = History::default();
    history.record_exposures(at(1), &mount(1));
    let flood = (0..10_000).map(|n| {
        let (mut key, mounted) = mount(2).pop_first().expect("it has one");
        key.client.identity = ClientIdentity::Pod(PodContainer {
            namespace: "tenant".to_owned(),
            pod: format!("p{n}"),
            container: Some("c".to_owned()),
            workload: None,
        });
        (key, mounted)
    });
    let flood: Vec<_> = flood.collect();
    for (n, batch) in flood.chunks(1000).enumerate() {
        history.record_exposures(at(10 + n as u64), &batch.iter().cloned().collect());
    }
    assert_eq!(history.exposures().count(), History::EXPOSURES);
    let honest = mount(1);
    assert!(history.exposures().any(|(key, _)| honest.contains_key(key)));
}

#[test]
fn a_time_in_the_future_is_set_to_now() {
    let at = Timestamp::from_unix;
    let (then, now) = (at(10 * 365 * 86_400), at(86_400));
    let mut history = History::default();
    history.record(at(3_600), &[open(1, &[1])]);
    let mut requests = Requests::default();
    let (operation, version) = (Operation::Read, Some(ApiVersion(24)));
    requests.add(Request { operation, version }, then);
    let connects = reported(1, 1, 1)
        .connects
        .map(|reported| Connected { requests, ..reported });
    history.record(
        then,
        &[OpenClient {
            connects,
            ..open(2, &[1])
        }],
    );
    history.record_exposures(then, &mount(1));
    history.mark_whole(then);
    assert_eq!(history.clamp(now), 2, "a client and an exposure");
    for client in [open(1, &[]), open(2, &[])] {
        let seen = history.get(&client.key).expect("it stays");
        assert!(seen.first <= now && seen.last <= now);
        assert!(seen.hours.iter().all(|hour| hour <= now));
        assert!(seen.requests.lowest_api.is_none_or(|lowest| lowest.last_seen == now));
    }
    assert!(
        history
            .exposures()
            .all(|(_, seen)| seen.first == now && seen.last == now)
    );
    assert!(history.looked().is_empty());
    assert_eq!(history.clamp(now), 0);
    assert_eq!(history.clamp(at(86_400 - 60)), 0, "a clock that is set a little");
}

#[test]
fn a_unit_of_an_old_state_file_gets_its_current_name() {
    let unit = |name: &str| {
        let identity = ClientIdentity::Host {
            unit: Some(Unit::System { name: name.to_owned() }),
            executable: "/usr/bin/docker".to_owned(),
            uid: Some(0),
        };
        of(identity).key
    };
    let seen = |first, last| ClientRecord {
        first: Timestamp::from_unix(first),
        last: Timestamp::from_unix(last),
        connects: 2,
        requests: Requests::default(),
        by_event: false,
        hours: Hours::default(),
        as_runtime: false,
    };
    let of_before = [
        (unit("run-u1.service"), seen(1, 2)),
        (unit("run-u2.service"), seen(3, 4)),
    ];
    let history = History::restore(of_before, [], Hours::default(), []);
    let kept = history.get(&unit("run-u.service")).expect("both are one");
    assert_eq!((kept.first.as_unix(), kept.last.as_unix(), kept.connects), (1, 4, 4));
    assert_eq!(history.clients().count(), 1);
}

/// A client with `count` connects that the kernel reported, the last at `last`.
fn reported(count: u64, first: u64, last: u64) -> OpenClient {
    OpenClient {
        connections: 0,
        connects: Some(Connected {
            count,
            first: Timestamp::from_unix(first),
            last: Timestamp::from_unix(last),
            processes: Vec::new(),
            requests: Requests::default(),
        }),
        ..open(0, &[])
    }
}

#[test]
fn a_client_that_only_the_kernel_reported_was_there_when_it_connected() {
    let mut history = History::default();
    history.record(Timestamp::from_unix(7_300), &[reported(3, 7_190, 7_210)]);
    let seen = |history: &History| history.get(&open(0, &[]).key).cloned().expect("it was seen");
    let first = seen(&history);
    assert_eq!(
        (first.first.as_unix(), first.last.as_unix(), first.connects),
        (7_190, 7_210, 3)
    );
    assert!(first.by_event);
    assert_eq!(first.hours.iter().count(), 2, "7,200 is a full hour");
    history.record(Timestamp::from_unix(7_310), &[]);
    assert_eq!(seen(&history), first, "not since");
    // Two of its connects are still open: they are counted once.
    let both = OpenClient {
        connections: 2,
        sockets: [5, 6].map(SocketInode).into(),
        ..reported(2, 7_315, 7_316)
    };
    history.record(Timestamp::from_unix(7_320), &[both]);
    let then = seen(&history);
    assert_eq!((then.last.as_unix(), then.connects, then.by_event), (7_320, 5, false));
}

/// A client's requests are kept with it, over looks and from one pod of a workload to the next.
#[test]
fn requests_add_up_and_pass_to_the_next_pod() {
    let asks = |pod: &str, operation| {
        let mut client = in_pod(pod, true);
        let mut requests = Requests::default();
        let version = Some(ApiVersion(41));
        requests.add(Request { operation, version }, Timestamp::from_unix(1));
        client.connects = reported(0, 1, 1)
            .connects
            .map(|reported| Connected { requests, ..reported });
        client
    };
    let mut history = History::default();
    history.record(Timestamp::from_unix(1), &[asks("a", Operation::Read)]);
    history.record(Timestamp::from_unix(2), &[asks("a", Operation::Read)]);
    history.record(Timestamp::from_unix(3), &[asks("b", Operation::Build)]);
    let (_, seen) = history.clients().next().expect("it is known");
    assert_eq!(
        seen.requests.operations,
        [(Operation::Read, 2), (Operation::Build, 1)].into()
    );
    assert_eq!(seen.requests.lowest_api.map(|lowest| lowest.minor), Some(41));
    assert_eq!(history.clients().count(), 1);
}
