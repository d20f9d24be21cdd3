//! The story, step by step. Every part is the real one; castoff runs as the chart's `DaemonSet`, from its image, on both
//! kubelets, and keeps its state on the node.
//!
//! It is played on a stage, whose first process lets castoff read its root: so the node can be seen whole, and `clear` can
//! be said. What other labs run on the machine is not on the stage.

use anyhow::{Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::kubernetes::Cluster;
use castoff_tests::lab::release::{AGENTS, NAME, Release};
use castoff_tests::wait;

use crate::builder::{self, Habit};
use crate::node::{Machine, NODE};
use crate::record::{Record, judge};
use crate::steps::{self, Table, WINDOW};
use crate::told::{PERIOD, Told, row};

#[test]
fn a_node_leaves_dockershim_and_then_docker() -> Result<()> {
    let image = Image::of_this_tree()?;
    let cluster = Cluster::start()?;
    let mut machine = Machine::join(&cluster, &image)?;
    let mut table = Table::default();
    let played = play(&cluster, &image, &mut machine, &mut table);
    println!("{}", table.write());
    // While everything still runs.
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
    builder::deploy(cluster, &socket, Habit::Connected)?;
    builder::wait_for(cluster, Habit::Connected)?;
    let told = Told::at_once(castoff, "runtime")?;
    steps::on_dockershim(&told)?;
    table.add("kubelet 1.23 with dockershim", &told);
    let record = Record::start(cluster, castoff)?;

    machine.stop_kubelet(cluster)?;
    let old_agent = machine.clear_docker()?;
    nobody_answers(castoff, table)?;

    machine.start_containerd(cluster, image)?;
    builder::wait_for(cluster, Habit::Connected)?;
    let told = Told::at_once(castoff, "in-use")?;
    steps::in_use(&told)?;
    table.add("containerd, a build agent still on docker.sock", &told);

    builder::deploy(cluster, &socket, Habit::Mounted)?;
    builder::wait_for(cluster, Habit::Mounted)?;
    steps::wait_for_the_window(castoff, "in-use", "clients")?;
    let told = Told::at_once(castoff, "exposed")?;
    steps::exposed(&told)?;
    table.add("the build agent without a connection, its mount kept", &told);

    builder::deploy(cluster, &socket, Habit::Free)?;
    builder::wait_for(cluster, Habit::Free)?;
    // A mount is remembered as a use is.
    steps::wait_for_the_window(castoff, "exposed", "exposures")?;
    let told = Told::at_once(castoff, "idle")?;
    steps::idle(&told)?;
    table.add("the build agent without the mount", &told);

    machine.remove_docker()?;
    let told = Told::at_once(castoff, "clear")?;
    steps::clear(&told)?;
    table.add("Docker stopped, its socket gone", &told);

    for (witness, seen) in record.read(cluster, &old_agent)? {
        println!("{witness}: {}", seen.join(" → "));
        judge(&seen).map_err(|error| error.context(format!("the record of: {witness}")))?;
    }
    Ok(())
}

/// While no agent runs the fleet says so, whatever the Node's label was.
fn nobody_answers(castoff: &Release<'_>, table: &mut Table) -> Result<()> {
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

/// The state of everything, the agent's own words first.
fn dump(cluster: &Cluster) -> String {
    let castoff = cluster.kubectl(["get", "pods", "-n", NAME, "-l", AGENTS, "-o", "name"]);
    let report = castoff.and_then(|pod| {
        let pod = pod.trim().trim_start_matches("pod/").to_owned();
        cluster.kubectl([
            "get",
            "--raw",
            &format!("/api/v1/namespaces/{NAME}/pods/{pod}:9559/proxy/api/v1/report"),
        ])
    });
    let report = report.unwrap_or_else(|error| format!("{error:#}"));
    format!("--- the report\n{report}\n{}", cluster.dump(NAME, AGENTS))
}
