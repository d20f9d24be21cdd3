//! Clients of an engine's TCP port.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::clients;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::{Docker, Options};
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::stage::Stage;
use serde_json::json;

use crate::case::{Case, Said};
use crate::paths::keep;

const HOLDER: &str = "look: the holder";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "tcp",
        title: "over TCP: a unit, and a pod in the host's network",
        how: HOLDER,
        set: |world, case| {
            world.is_about(case, json!({ "tcp": world.tcp }));
            let address = world.tcp.to_string();
            let unit = clients::start(Place::unit(&case.unit())?, &["tcp", &address])?;
            let pod = Pod::new("evasion", case.name).host_network();
            keep(Ok((world.run(pod, Container::client("use", ["tcp", &address]))?, unit)))
        },
        with: &[Said::Unit, Said::Pod, Said::Finding("docker-tcp")],
        without: &[Said::Unit, Said::Pod, Said::Finding("docker-tcp")],
    },
    Case {
        name: "tcp-away",
        title: "over TCP: a pod in a network namespace of its own, to an engine in another one",
        how: HOLDER,
        set: |world, case| {
            let address: SocketAddr = "10.217.0.1:2375".parse()?;
            world.is_about(case, json!({ "tcp": address }));
            let stage = Stage::start(&["10.217.0.1/24"])?;
            let mut options = Options::debian()?;
            options.also_listen.push(format!("tcp://{address}"));
            // dockerd waits for 15 seconds at an address that others reach, unless this is set.
            options.configuration.insert("tls".to_owned(), false.into());
            options.stage = Some(stage.clone());
            let docker = Docker::start_with(&options)?;
            let pod = world.runtime.run(Pod::new("evasion", case.name))?;
            let container = pod.start(Container::client("use", ["late-tcp", &address.to_string()]))?;
            connect(stage.pid(), container.pid()?)?;
            keep(Ok((pod, docker)))
        },
        with: &[Said::Pod],
        without: &[Said::Pod],
    },
];

/// Connects the network of a process on a stage, by the stage's bridge, with that of another process.
fn connect(stage: u32, other: u32) -> Result<()> {
    let (stage, other) = (stage.to_string(), other.to_string());
    let pair = "ip link add pod0 netns $1 type veth peer name stage0 netns $2
        nsenter --net --target $1 ip link set pod0 master machine0 up
        nsenter --net --target $2 ip address add 10.217.0.2/24 dev stage0
        nsenter --net --target $2 ip link set stage0 up";
    let status = Command::new("sh").args(["-ec", pair, "sh", &stage, &other]).status();
    let status = status.context("start a shell")?;
    ensure!(status.success(), "ip: {status}");
    Ok(())
}
