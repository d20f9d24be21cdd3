//! Engines other than dockerd, the runtime's own socket, and clients and mounts that end early or began before the agents.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use castoff_tests::lab::clients;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::podman::Podman;
use castoff_tests::lab::pods::Pod;

use crate::case::{Case, Said, UNIT, the_lab};
use crate::paths::keep;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "podman-link",
        title: "`docker.sock` is a link to the socket of podman's service",
        how: "look: the socket is known by device and inode",
        set: |world, case| {
            let podman = Podman::start()?;
            world.may_have(case, the_lab());
            let link = world.socket(case);
            fs::remove_file(&link)?;
            symlink(podman.socket(), &link)?;
            keep(Ok((world.client(case, &["hold"])?, podman)))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "rootless",
        title: "an ordinary user's own engine in a user namespace, with a client of that user",
        how: "look: every engine, whoever runs it",
        set: |world, case| {
            let podman = Podman::start_rootless()?;
            world.may_have(case, the_lab());
            let link = world.socket(case);
            fs::remove_file(&link)?;
            symlink(podman.socket(), &link)?;
            let place = Place::unit(&case.unit())?.ordinary_user();
            keep(Ok((clients::hold(podman.socket(), place)?, podman)))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "runtime-socket",
        title: "a client of the runtime's own socket",
        how: "look: who holds it",
        set: |world, case| keep(clients::hold(world.runtime.socket(), Place::unit(&case.unit())?)),
        with: &[Said::Finding("runtime-socket-client")],
        without: &[Said::Finding("runtime-socket-client")],
    },
    Case {
        name: "log-shipper",
        title: "a pod mounts the logs of Docker's containers, and Docker's data is not in the usual directory",
        how: "look: mounts by device and root",
        set: |world, case| {
            let logs = world.docker.data_root().join("containers");
            keep(world.run(
                Pod::new("evasion", case.name),
                Container::sleeper("use").mount(&logs, "/logs"),
            ))
        },
        with: &[Said::Finding("docker-files")],
        without: &[Said::Finding("docker-files")],
    },
    Case {
        name: "stale",
        title: "a pod mounts the socket of an engine that has ended, and another engine has its name",
        how: "look: mounts by device and root",
        set: |world, case| {
            let socket = world.socket(case);
            fs::remove_file(&socket)?;
            let before = clients::listen(&socket, Place::host())?;
            let container = Container::sleeper("use").mount(&socket, "/x");
            let pod = world.run(Pod::new("evasion", case.name), container)?;
            // Both agents see that it leads to the first engine.
            thread::sleep(Duration::from_secs(3));
            drop(before);
            fs::remove_file(&socket)?;
            keep(Ok((clients::listen(&socket, Place::host())?, pod)))
        },
        with: &[Said::Finding("stale-mount"), Said::Exposed("socket")],
        without: &[Said::Finding("stale-mount"), Said::Exposed("socket")],
    },
    Case {
        name: "ended",
        title: "a container that connects for a moment and ends",
        how: "events: who connected",
        set: |world, case| {
            let pod = world.runtime.run(Pod::new("evasion", case.name))?;
            let container = Container::client("use", ["blink", "/x", "0", "2000"]).mount(world.socket(case), "/x");
            let container = pod.start(container)?;
            // Both agents see its mount meanwhile.
            thread::sleep(Duration::from_secs(3));
            container.stop()?;
            keep(Ok(pod))
        },
        with: &[Said::Pod, Said::Exposed("socket")],
        without: &[Said::Unseen, Said::Exposed("socket")],
    },
];
