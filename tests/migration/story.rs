//! The migration, step by step. Every part is the real one; castoff runs as the chart's `DaemonSet`, from its image, on
//! both kubelets, and keeps its state on the node.
//!
//! It runs on a stage, whose first process allows castoff to read its root, so that castoff sees the whole node and can
//! report `clear`. Other labs on the machine are not visible on the stage.

use anyhow::{Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::kubernetes::Cluster;
use castoff_tests::lab::release::{AGENTS, NAME, Release};
use castoff_tests::wait;

use crate::builder::{self, DockerUse};
use crate::node::{Machine, NODE};
use crate::outputs::{Outputs, PERIOD, row};
use crate::record::{Record, judge};
use crate::steps::{self, Table, WINDOW};

#[test]
fn a_node_leaves_dockershim_and_then_docker() -> Result<()> {
    let image = Image::of_this_tree()?;
    let cluster = Cluster::start_older()?;
    let mut machine = Machine::join(&cluster, &image)?;
    let mut table = Table::default();
    let played = play(&cluster, &image, &mut machine, &mut table);
    println!("{}", table.write());
    // While everything is still running.
    played.map_err(|error| error.context(dump(&cluster)))
}

fn play(cluster: &Cluster, image: &Image, machine: &mut Machine, table: &mut Table) -> Result<()> {
    let socket = machine.socket()?;
    let (period, window) = (
        format!("period={}s", PERIOD.as_secs()),
        format!("window={}s", WINDOW.as_secs()),
    );
    let castoff = &Release::of(cluster, image);
    castoff.install(Helm::Four, &[&period, &window, "log.format=json", "runtime.timeout=5s"])?;
    builder::deploy(cluster, &socket, DockerUse::Connected)?;
    builder::wait_for(cluster, DockerUse::Connected)?;
    let outputs = Outputs::at_once(castoff, "runtime")?;
    steps::on_dockershim(&outputs)?;
    table.add("kubelet 1.23 with dockershim", &outputs);
    let record = Record::start(cluster, castoff)?;

    machine.stop_kubelet(cluster)?;
    let old_agent = machine.clear_docker()?;
    no_agent_answers(castoff, table)?;

    machine.start_containerd(cluster, image)?;
    builder::wait_for(cluster, DockerUse::Connected)?;
    let outputs = Outputs::at_once(castoff, "in-use")?;
    steps::in_use(&outputs)?;
    table.add("containerd, a build agent still on docker.sock", &outputs);

    builder::deploy(cluster, &socket, DockerUse::Mounted)?;
    builder::wait_for(cluster, DockerUse::Mounted)?;
    steps::wait_for_the_window(castoff, "in-use", "clients")?;
    let outputs = Outputs::at_once(castoff, "exposed")?;
    steps::exposed(&outputs)?;
    table.add("the build agent without a connection, its mount kept", &outputs);

    builder::deploy(cluster, &socket, DockerUse::Free)?;
    builder::wait_for(cluster, DockerUse::Free)?;
    // A mount is remembered like a use.
    steps::wait_for_the_window(castoff, "exposed", "exposures")?;
    let outputs = Outputs::at_once(castoff, "idle")?;
    steps::idle(&outputs)?;
    table.add("the build agent without the mount", &outputs);

    machine.remove_docker()?;
    let outputs = Outputs::at_once(castoff, "clear")?;
    steps::clear(&outputs)?;
    table.add("Docker stopped, its socket gone", &outputs);

    for (witness, seen) in record.read(cluster, &old_agent)? {
        println!("{witness}: {}", seen.join(" → "));
        judge(&seen).map_err(|error| error.context(format!("the record of: {witness}")))?;
    }
    Ok(())
}

/// While no agent runs, `castoff cluster` reports this, whatever the Node's label was.
fn no_agent_answers(castoff: &Release<'_>, table: &mut Table) -> Result<()> {
    let labels = castoff.labels(NODE)?;
    let last = labels.get("docker-dependency").and_then(|value| value.as_str());
    let last = last.unwrap_or("none");
    let fleet = wait::until("the fleet without this node's agent", PERIOD * 10, || {
        let fleet = row(castoff)?;
        ensure!(fleet["verdict"] == "unknown", "the fleet says {fleet}");
        Ok(fleet)
    })?;
    ensure!(last != "clear", "the label says clear while Docker runs");
    table.add_row(
        "kubelet stopped, its containers removed: no agent",
        "–",
        &format!("docker-dependency={last}, as it was"),
        &fleet,
    );
    Ok(())
}

/// Returns the state of everything, the agent's log first.
fn dump(cluster: &Cluster) -> String {
    let castoff = cluster.kubectl(["get", "pods", "-n", NAME, "-l", AGENTS, "-o", "name"]);
    let report = castoff.and_then(|pod| {
        let pod = pod.trim().trim_start_matches("pod/").to_owned();
        cluster.kubectl(["exec", "-n", NAME, &pod, "--", "/castoff", "check", "--fail-on=runtime"])
    });
    let report = report.unwrap_or_else(|error| format!("{error:#}"));
    format!("--- the report\n{report}\n{}", cluster.dump(NAME, AGENTS))
}
