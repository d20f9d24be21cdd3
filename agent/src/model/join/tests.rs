mod ended;

use std::time::Duration;

use super::*;
use crate::model::client::ClientIdentity;
use crate::model::container::{Container, Pod, PodContainer, SupervisedContainer};
use crate::model::engine::EngineKind;
use crate::model::exposure::Reach;
use crate::model::history::History;
use crate::model::identity::ContainerId;
use crate::model::reading::Sighting;
use crate::model::sample::*;
use crate::model::time::Timestamp;
use crate::model::workload::{CgroupContainer, Manager, Membership, Unit};

fn pod(container: Option<&str>) -> ClientIdentity {
    ClientIdentity::Pod(PodContainer {
        namespace: "ci".into(),
        pod: "builder-0".into(),
        container: container.map(str::to_owned),
        workload: None,
    })
}

fn engine_container(engine: Option<EngineKind>, name: &str) -> ClientIdentity {
    ClientIdentity::EngineContainer {
        engine,
        name: name.into(),
        image: None,
    }
}

fn in_pod(containers: &[ContainerId], uid: &str) -> Process {
    let containers = containers
        .iter()
        .map(|id| CgroupContainer {
            id: id.clone(),
            manager: Manager::Unnamed,
            user: None,
        })
        .collect();
    let membership = Membership {
        containers,
        pod_uid: Some(uid.into()),
        unit: None,
    };
    Process {
        membership,
        ..process(1000, "/bin/client")
    }
}

/// A process in a group within a user's own part of the hierarchy.
fn claimed(user: u32, manager: Manager, id: ContainerId) -> Process {
    let mut process = contained(1, manager, &[id]);
    process.membership.containers[0].user = Some(user);
    process.uid = Some(1000);
    process
}

fn host_of_user() -> ClientIdentity {
    ClientIdentity::Host {
        unit: None,
        executable: "/bin/client".into(),
        uid: Some(1000),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_holder_is_named_by_the_lists_of_the_runtime() {
    let unit = Unit::System {
        name: "backup.service".into(),
    };
    let host = |unit| ClientIdentity::Host {
        unit,
        executable: "/usr/bin/curl".into(),
        uid: Some(0),
    };
    let in_unit = Process {
        membership: Membership {
            unit: Some(unit.clone()),
            ..Membership::default()
        },
        ..process(1, "/usr/bin/curl")
    };
    let unlisted = "without a known name of a pod".to_owned();
    let cases: Vec<(&str, Process, ClientIdentity)> = vec![
        (
            "a container of a pod",
            contained(1, Manager::CriContainerd, &[id(1)]),
            pod(Some("build")),
        ),
        (
            "the pod's sandbox itself",
            contained(1, Manager::CriContainerd, &[id(2)]),
            pod(None),
        ),
        (
            "a group within a container that is called after another pod's",
            contained(1, Manager::CriContainerd, &[id(1), id(4)]),
            pod(Some("build")),
        ),
        (
            "the same, within one that is not listed yet",
            in_pod(&[id(9), id(4)], POD_UID),
            pod(None),
        ),
        (
            "the same, of a pod that the runtime does not list",
            in_pod(&[id(9), id(4)], "ffff"),
            engine_container(None, &unlisted),
        ),
        (
            "a user's own group, called after a pod's container",
            claimed(1000, Manager::CriContainerd, id(1)),
            host_of_user(),
        ),
        (
            "a user's own group, called after one of the node's Docker",
            claimed(1000, Manager::Docker, id(7)),
            host_of_user(),
        ),
        (
            "a user's own group, called after one that his supervisor names too",
            claimed(1000, Manager::Docker, id(5)),
            engine_container(Some(EngineKind::Dockerd), "ci of user 1000"),
        ),
        (
            "the same of another user",
            claimed(1001, Manager::Docker, id(5)),
            host_of_user(),
        ),
        (
            "a nested engine's container",
            contained(1, Manager::Docker, &[id(1), id(9)]),
            pod(Some("build")),
        ),
        (
            "a node that is a container",
            contained(1, Manager::Docker, &[id(9), id(1)]),
            pod(Some("build")),
        ),
        (
            "both known and of one pod: the innermost",
            contained(1, Manager::CriContainerd, &[id(2), id(1)]),
            pod(Some("build")),
        ),
        ("a container made a moment ago", in_pod(&[id(9)], POD_UID), pod(None)),
        (
            "a pod that the runtime does not list",
            in_pod(&[id(9)], "ffff"),
            engine_container(None, &unlisted),
        ),
        (
            "Docker's own",
            contained(1, Manager::Docker, &[id(7)]),
            engine_container(Some(EngineKind::Dockerd), "web"),
        ),
        (
            "Docker's, by the path alone",
            contained(1, Manager::Docker, &[id(8)]),
            engine_container(Some(EngineKind::Dockerd), "without a known name"),
        ),
        (
            "a nested engine's container whose path hides the outer one",
            contained(1, Manager::Docker, &[id(6)]),
            pod(Some("build")),
        ),
        (
            "a container whose ID a program in a pod has in its arguments",
            contained(1, Manager::Nerdctl, &[id(9)]),
            engine_container(None, "without a known name"),
        ),
        (
            "inside of Docker's own",
            contained(1, Manager::Docker, &[id(7), id(8)]),
            engine_container(Some(EngineKind::Dockerd), "web"),
        ),
        ("a service", in_unit, host(Some(unit))),
        ("in no unit", process(1, "/usr/bin/curl"), host(None)),
    ];
    for (what, holder, expected) in cases {
        let mut node = clear_node();
        known(&mut node.engines).push(dockerd());
        known(&mut node.supervised).push(supervised(7, Some("web")));
        let nested = SupervisedContainer {
            inside: Some(id(1)),
            has_child: true,
            ..supervised(6, None)
        };
        known(&mut node.supervised).push(nested);
        known(&mut node.supervised).push(SupervisedContainer {
            inside: Some(id(1)),
            ..supervised(9, Some("forged"))
        });
        known(&mut node.supervised).push(SupervisedContainer {
            user: Some(1000),
            ..supervised(5, Some("ci"))
        });
        let innocent = Pod {
            sandbox: id(3),
            name: "innocent".into(),
            uid: "eeee".into(),
            ..known(&mut node.runtime.pods)[0].clone()
        };
        known(&mut node.runtime.pods).push(innocent);
        let main = Container {
            id: id(4),
            sandbox: id(3),
            ..known(&mut node.runtime.containers)[0].clone()
        };
        known(&mut node.runtime.containers).push(main);
        known(&mut node.connections)
            .connections
            .push(connection(5, vec![holder]));
        let clients = join(&node).clients;
        let identities: Vec<_> = clients
            .known()
            .expect(what)
            .iter()
            .map(|c| c.key.identity.clone())
            .collect();
        assert_eq!(identities, [expected], "{what}");
    }
}

#[test]
fn a_connection_counts_once_for_each_of_its_holders() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    let forked = vec![
        process(1, "/bin/a"),
        process(2, "/bin/a"),
        contained(3, Manager::CriContainerd, &[id(1)]),
    ];
    known(&mut node.connections).connections = vec![connection(5, forked), connection(6, vec![process(1, "/bin/a")])];
    let clients = join(&node).clients;
    let counted: Vec<_> = clients
        .known()
        .expect("known")
        .iter()
        .map(|c| (c.key.identity.code(), c.connections, c.holders.len()))
        .collect();
    assert_eq!(counted, [("pod", 1, 1), ("host", 2, 2)]);
}

#[test]
fn a_connection_that_waits_is_counted_apart() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    let waiting = Connection {
        state: ConnectionState::Pending,
        ..connection(6, vec![process(1, "/bin/a")])
    };
    known(&mut node.connections).connections = vec![connection(5, vec![process(1, "/bin/a")]), waiting];
    let clients = join(&node).clients;
    let client = &clients.known().expect("known")[0];
    assert_eq!((client.connections, client.pending), (1, 1));
}

#[test]
fn a_connection_without_a_name_is_still_a_client() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.connections).connections = vec![connection(5, Vec::new())];
    let clients = join(&node).clients;
    assert_eq!(clients.known().expect("known")[0].key.identity, ClientIdentity::Unnamed);
}

#[test]
fn the_processes_of_one_client_are_bounded() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.connections).connections = (0..10_000)
        .map(|n| connection(n, vec![process(n, "/bin/many")]))
        .collect();
    let clients = join(&node).clients;
    let client = &clients.known().expect("known")[0];
    assert_eq!(
        (client.connections, client.holders.len()),
        (10_000, Client::HOLDERS_SHOWN)
    );
}

#[test]
fn the_scope_of_an_engine() {
    let mut rootless = dockerd();
    rootless.process = Some(Process {
        uid: Some(1000),
        ..process(1, "/usr/bin/dockerd")
    });
    let mut nested = dockerd();
    nested.process = Some(contained(1, Manager::CriContainerd, &[id(1)]));
    let mut boxed = dockerd();
    boxed.process = Some(contained(1, Manager::Docker, &[id(9)]));
    let mut activated = dockerd();
    activated.process = None;
    let awaited = EngineSighting {
        awaited_by: Some(1001),
        ..activated.clone()
    };
    activated.listeners[0].name = SocketName::Path("/run/user/1000/podman/podman.sock".into());
    let ClientIdentity::Pod(place) = pod(Some("build")) else {
        panic!("a pod")
    };
    let in_pod = Scope::Pod(place);
    for (engine, scope) in [
        (dockerd(), Scope::Host),
        (rootless, Scope::User { uid: 1000 }),
        (nested, in_pod),
        (
            boxed,
            Scope::Container {
                name: "without a known name".into(),
            },
        ),
        (activated, Scope::User { uid: 1000 }),
        (awaited, Scope::User { uid: 1001 }),
    ] {
        let mut node = clear_node();
        known(&mut node.engines).push(engine);
        assert_eq!(join(&node).engines.known().expect("known")[0].scope, scope);
    }
}

#[test]
fn containers_beside_kubernetes() {
    let mut node = clear_node();
    let mut inside_a_pod = supervised(9, None);
    inside_a_pod.inside = Some(id(1));
    *known(&mut node.supervised) = vec![
        supervised(7, Some("web")),
        supervised(1, None),
        supervised(2, None),
        inside_a_pod,
        SupervisedContainer {
            user: Some(1000),
            ..supervised(8, Some("a user's own"))
        },
    ];
    let shadow = join(&node).shadow_containers;
    let found: Vec<_> = shadow
        .known()
        .expect("known")
        .iter()
        .map(|c| (c.name.as_deref(), c.scope.clone()))
        .collect();
    assert_eq!(
        found,
        [
            (Some("web"), Scope::Host),
            (Some("a user's own"), Scope::User { uid: 1000 })
        ],
        "a pod's container, its sandbox and a nested engine's container are no shadows"
    );

    node.runtime.containers = Sighting::unknown(gap(Hides::Exposure));
    assert!(
        join(&node).shadow_containers.gap().is_some(),
        "unknown without the list of the runtime"
    );
    known(&mut node.supervised).clear();
    assert_eq!(
        join(&node).shadow_containers,
        Reading::Known(Vec::new()),
        "none is none, whatever the runtime lists"
    );
}

#[test]
fn an_exposure_says_whether_it_was_ever_used() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.reaches).push(reach());
    let used = |node: &Snapshot, history: &History| {
        let exposures = exposures(node, &join(node), history, Duration::from_secs(60));
        exposures
            .known()
            .expect("known")
            .iter()
            .map(|e| (e.place().and_then(|p| p.container.clone()).unwrap_or_default(), e.used))
            .collect::<Vec<_>>()
    };
    assert_eq!(used(&node, &History::default()), [("build".to_owned(), false)]);

    let holder = contained(1, Manager::CriContainerd, &[id(1)]);
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![holder]));
    assert_eq!(used(&node, &History::default()), [("build".to_owned(), true)]);

    let mut history = History::default();
    history.record(Timestamp::from_unix(1), join(&node).clients.known().expect("known"));
    known(&mut node.connections).connections.clear();
    assert_eq!(used(&node, &history), [("build".to_owned(), true)]);
    // Another engine's socket of the same name, such as that of an engine in the pod, is another socket.
    let of_another = |key: &ClientKey| ClientKey {
        scope: Scope::User { uid: 1000 },
        ..key.clone()
    };
    let elsewhere = History::restore(
        history.clients().map(|(key, seen)| (of_another(key), seen.clone())),
        [],
        *history.looked(),
        [],
    );
    assert_eq!(used(&node, &elsewhere), [("build".to_owned(), false)]);
}

#[test]
fn a_pod_that_is_not_listed_yet_is_noticed() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.connections).connections = vec![connection(5, vec![in_pod(&[id(1)], POD_UID)])];
    assert_eq!(unlisted_containers(&node), BTreeSet::new());
    known(&mut node.connections).connections = vec![connection(5, vec![in_pod(&[id(9)], "ffff")])];
    assert_eq!(unlisted_containers(&node), BTreeSet::from([id(9)]));

    // The same holds for a container that is not listed yet although its pod is: in the next look it would be another
    // client.
    for (holder, missing) in [
        (in_pod(&[id(9)], POD_UID), true),
        (contained(7, Manager::CriContainerd, &[id(9)]), true),
        (in_pod(&[id(1), id(9)], POD_UID), false),
        (in_pod(&[], POD_UID), false),
        (contained(7, Manager::Docker, &[id(9)]), false),
        (contained(7, Manager::Unnamed, &[id(9)]), false),
    ] {
        known(&mut node.connections).connections[0].holders = vec![holder.clone()];
        assert_eq!(!unlisted_containers(&node).is_empty(), missing, "{holder:?}");
    }

    known(&mut node.connections).connections[0].holders = vec![in_pod(&[id(9)], "ffff")];
    let mut without_pods = node.clone();
    without_pods.runtime.pods = Sighting::unknown(gap(Hides::Identity));
    node.runtime.containers = Sighting::unknown(gap(Hides::Exposure));
    assert_eq!(
        unlisted_containers(&node),
        BTreeSet::new(),
        "without a list nothing is missing from it"
    );
    assert_eq!(unlisted_containers(&without_pods), BTreeSet::new());
}

/// The clients of a node whose engine these processes are connected to.
fn clients_of(node: &mut Snapshot, holders: Vec<Process>) -> BTreeSet<String> {
    known(&mut node.engines).push(dockerd());
    let connections = &mut known(&mut node.connections).connections;
    for (n, holder) in (0_u32..).zip(holders) {
        connections.push(connection(100 + n, vec![holder]));
    }
    let clients = join(node).clients;
    let named = clients
        .known()
        .expect("the list is known")
        .iter()
        .map(|c| c.key.identity.to_string());
    named.collect()
}

#[test]
fn two_runs_of_one_unit_are_one_client() {
    let in_unit = |unit: Unit| {
        let membership = Membership {
            unit: Some(unit),
            ..Membership::default()
        };
        Process {
            membership,
            ..process(1, "/usr/bin/docker")
        }
    };
    let system = |name: String| in_unit(Unit::System { name });
    let runs = (0..50).flat_map(|n| {
        [
            system(format!("check-mk-agent@{n}-{}-0.service", 1_849_349 + n)),
            system(format!("run-u{n}.service")),
            system("backup@orders.service".to_owned()),
            system("backup@users.service".to_owned()),
            in_unit(Unit::User {
                uid: 1000,
                name: format!("run-u{n}.service"),
            }),
        ]
    });
    let clients = clients_of(&mut clear_node(), runs.collect());
    let expected = [
        "backup@orders.service (/usr/bin/docker)",
        "backup@users.service (/usr/bin/docker)",
        "check-mk-agent@.service (/usr/bin/docker)",
        "run-u.service (/usr/bin/docker)",
        "run-u.service of user 1000 (/usr/bin/docker)",
    ];
    assert_eq!(clients, expected.map(str::to_owned).into());
}

#[test]
fn two_containers_with_generated_names_are_one_client() {
    let mut node = clear_node();
    let container = |n: u8, name: &str, image: &str| SupervisedContainer {
        image: Some(image.to_owned()),
        ..supervised(n, Some(name))
    };
    known(&mut node.supervised).extend([
        container(
            10,
            "ryuk-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a",
            "testcontainers/ryuk:0.12.0",
        ),
        container(
            11,
            "ryuk-1d3bc2d6-8b4f-4a1f-8e4c-2a3f4e5d6c7b",
            "testcontainers/ryuk:0.13.0",
        ),
        container(12, "happy_einstein", "alpine:3.22"),
        container(13, "frosty_morse2", "alpine:3.22"),
        container(14, "frosty_morse", "maven:3"),
        container(15, "portainer", "portainer/portainer-ce:2.21"),
    ]);
    let holders = (10..16).map(|n| contained(1, Manager::Docker, &[id(n)])).collect();
    let expected = [
        "dockerd container * of alpine",
        "dockerd container * of maven",
        "dockerd container portainer",
        "dockerd container ryuk-* of testcontainers/ryuk",
    ];
    assert_eq!(clients_of(&mut node, holders), expected.map(str::to_owned).into());
}

#[test]
fn containers_without_a_known_name_are_one_client_of_their_engine() {
    let mut node = clear_node();
    let by_image = |n: u8| SupervisedContainer {
        image: Some("maven:3".into()),
        ..supervised(n, None)
    };
    known(&mut node.supervised).extend([by_image(10), by_image(11), supervised(12, None)]);
    let of = |manager, n| contained(1, manager, &[id(n)]);
    let holders = vec![
        of(Manager::Docker, 10),
        of(Manager::Docker, 11),
        of(Manager::Docker, 12),
        of(Manager::Docker, 13),
        of(Manager::Podman, 14),
        of(Manager::Nerdctl, 15),
        of(Manager::Nerdctl, 16),
    ];
    let expected = [
        "container without a known name",
        "dockerd container * of maven",
        "dockerd container without a known name",
        "podman container without a known name",
    ];
    assert_eq!(clients_of(&mut node, holders), expected.map(str::to_owned).into());
}

#[test]
fn an_exposure_of_a_container_whose_pod_is_not_known_is_shown() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.reaches).push(reach());
    let names = |node: &Snapshot| {
        let exposures = exposures(node, &join(node), &History::default(), Duration::from_secs(60));
        let exposures = exposures.known().expect("known").iter();
        exposures.map(|e| e.identity.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&node), ["pod ci/builder-0 (build)"]);
    node.runtime.pods = Sighting::unknown(gap(Hides::Identity));
    assert_eq!(
        names(&node),
        ["container build (010101010101)"],
        "the list of pods failed"
    );
    node.runtime.containers = Sighting::unknown(gap(Hides::Identity));
    assert_eq!(names(&node), ["container 010101010101"], "both failed");
}

#[test]
fn an_engines_own_container_is_an_exposure_under_its_name() {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.supervised).push(supervised(7, Some("watchtower")));
    known(&mut node.reaches).push(Reach {
        membership: Membership::of_container(id(7), None),
        ..reach()
    });
    let exposures = exposures(&node, &join(&node), &History::default(), Duration::from_secs(60));
    let json = serde_json::to_value(&exposures.known().expect("known")[0]).expect("it serializes");
    assert_eq!(json["pod"], serde_json::Value::Null);
    assert_eq!(
        (&json["container"], &json["runBy"]),
        (&"watchtower".into(), &"dockerd".into())
    );
}
