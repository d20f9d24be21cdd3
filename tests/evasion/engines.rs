//! Engines that hang, restart, run elsewhere or pass their sockets on, and proxies in front of them.

use std::fs;

use castoff_tests::lab::cgroups::UnitCgroup;
use castoff_tests::lab::clients;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::{Docker, Options};
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::Pod;
use serde_json::json;

use crate::case::{Case, Said, UNIT, the_lab};
use crate::paths::keep;
use crate::world::client_to;

/// The case's unit is the client, and the relay.
const RELAY: &[Said] = &[Said::Unit, Said::Finding("docker-relay"), Said::Behind("client")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "hung",
        title: "the engine does not accept",
        how: "look: the waiting process",
        set: |world, case| {
            let socket = world.socket(case);
            fs::remove_file(&socket)?;
            let engine = clients::listen(&socket, Place::host())?;
            keep(Ok((world.client(case, &["hold"])?, engine)))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "handed-listener",
        title: "the listener itself is handed to another process",
        how: "look: the process that connected to the listener",
        set: |world, case| {
            let socket = world.socket(case);
            fs::remove_file(&socket)?;
            let engine = clients::start(Place::host(), &["handed", &socket.to_string_lossy()])?;
            keep(Ok((world.client(case, &["hold"])?, engine)))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "replaced",
        title: "another engine takes the name of a socket that a pod mounts, whose engine still listens",
        how: "look: mounts by device and root",
        set: |world, case| {
            let socket = world.socket(case);
            let container = Container::sleeper("use").mount(&socket, "/x");
            let pod = world.run(Pod::new("evasion", case.name), container)?;
            fs::remove_file(&socket)?;
            keep(Ok((clients::listen(&socket, Place::host())?, pod)))
        },
        with: &[Said::Exposed("socket")],
        without: &[Said::Exposed("socket")],
    },
    Case {
        name: "renamed-engine",
        title: "a dockerd whose program and socket have other names",
        how: "look: its socket for sandbox keys, whose name does not depend on the program's name",
        set: |world, case| {
            let mut options = Options::debian()?;
            options.disguise = Some("innocent");
            let engine = Docker::start_with(&options)?;
            world.may_have(case, the_lab());
            world.is_about(case, json!({ "path": engine.socket() }));
            keep(Ok((client_to(case, &["hold"], engine.socket())?, engine)))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "inside",
        title: "an engine inside a pod",
        how: "look: the owner of the listener",
        set: |world, case| {
            let container = Container::client("dind", ["listen", "/docker.sock"]);
            keep(world.run(Pod::new("evasion", case.name), container))
        },
        with: &[Said::Finding("docker-in-docker")],
        without: &[Said::Finding("docker-in-docker")],
    },
    Case {
        name: "nested",
        title: "a process in a cgroup below a pod's container",
        how: "look: its cgroup and those above it",
        set: |world, case| {
            let pod = world.runtime.run(Pod::new("evasion", case.name))?;
            let container = pod.start(Container::sleeper("use"))?;
            let below = format!("{}/{}/docker/{}", pod.cgroup(), container.id(), "5f0c2b7a".repeat(8));
            let place = Place::host().cgroup(UnitCgroup::make(below)?);
            keep(Ok((clients::hold(&world.socket(case), place)?, pod)))
        },
        // It has the machine's own root, and so the directory of the socket.
        with: &[Said::Pod, Said::Exposed("directory")],
        without: &[Said::Pod, Said::Exposed("directory")],
    },
    Case {
        name: "relay",
        title: "a relay on a socket of another name, with a client of its own",
        how: "look: the relay accepts connections, and the clients connected to it",
        set: |world, case| {
            let front = world.beside(case, "front");
            let relay = world.client(case, &["relay", &front.to_string_lossy()])?;
            keep(Ok((clients::hold(&front, Place::host())?, relay)))
        },
        with: RELAY,
        without: RELAY,
    },
    Case {
        name: "abstract-relay",
        title: "a relay on an abstract socket, with a client of its own",
        how: "look: the relay accepts connections, and the clients connected to it",
        set: |world, case| {
            let relay = world.client(case, &["relay", "@castoff-evasion"])?;
            keep(Ok((clients::hold_abstract("castoff-evasion", Place::host())?, relay)))
        },
        with: RELAY,
        without: RELAY,
    },
    Case {
        name: "host",
        title: "a program of the host outside of units",
        how: "look: the holder",
        set: |world, case| keep(clients::hold(&world.socket(case), Place::host())),
        with: &[Said::Program("client", 0)],
        without: &[Said::Program("client", 0)],
    },
];
