//! castoff on a node as people run it: systemd, the unified hierarchy of control groups, Debian's units of containerd
//! and Docker, and a real kubelet with static pods. The node is a virtual machine, because the test machine may have
//! another init and another hierarchy.

mod node;

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::guests::Answers;
use castoff_tests::report::{gaps, list, who};
use serde_json::Value;

/// Boots the node once for all tests.
fn node() -> Result<&'static Answers> {
    static NODE: OnceLock<Result<Answers, String>> = OnceLock::new();
    let answers = NODE.get_or_init(|| node::run().map_err(|error| format!("{error:#}")));
    answers.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))
}

#[test]
fn the_daemon_that_systemd_awaits_is_idle_and_castoff_does_not_start_it() -> Result<()> {
    let node = node()?;
    let check = node.json("awaited")?;
    ensure!(check["verdict"] == "idle", "{check:#}");
    let engines = list(&check, "engines")?;
    ensure!(
        engines.len() == 1 && engines[0]["kind"] == "dockerd" && engines[0]["process"].is_null(),
        "{engines:#?}"
    );
    ensure!(node.text("inactive")? == "ActiveState=inactive", "castoff started it");
    Ok(())
}

#[test]
fn a_client_that_systemd_starts_the_daemon_for_is_named() -> Result<()> {
    let check = node()?.json("activated")?;
    ensure!(check["verdict"] == "in-use", "{check:#}");
    let clients: Vec<String> = list(&check, "clients")?.iter().map(|c| who(&c["identity"])).collect();
    ensure!(clients == ["unit backup.service"], "{clients:#?}");
    Ok(())
}

/// The groups of the clients, in which the names of the following tests are.
#[test]
fn clients_are_in_the_groups_that_systemd_and_the_runtimes_create() -> Result<()> {
    let groups = node()?.text("groups")?;
    for part in [
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod",
        ".slice/cri-containerd-",
        "0::/system.slice/docker-",
        "0::/system.slice/backup.service",
        "0::/system.slice/system-report.slice/report@7.service",
        "0::/user.slice/user-1000.slice/session-7.scope",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/claim.service/kubepods.slice/",
    ] {
        ensure!(groups.contains(part), "no {part} in\n{groups}");
    }
    Ok(())
}

#[test]
fn each_client_is_named_by_its_group() -> Result<()> {
    let check = node()?.json("check")?;
    ensure!(
        check["verdict"] == "in-use" && check["cgroups"]["value"] == "v2",
        "{check:#}"
    );
    let mut clients: Vec<String> = list(&check, "clients")?.iter().map(|c| who(&c["identity"])).collect();
    // The short client may be connected at this moment.
    clients.retain(|client| client != SHORT);
    clients.sort();
    let expected = [
        "dockerd container ci",
        "pod ci/builder-guest/build",
        "session of 1000",
        "unit backup.service",
        "unit ci.service",
        "unit claim.service",
        "unit report@7.service",
    ];
    ensure!(clients == expected, "{clients:#?}");
    Ok(())
}

const SHORT: &str = "pod ci/step-guest/ask";

#[test]
fn a_users_group_with_the_name_of_a_pods_container_is_the_users() -> Result<()> {
    let check = node()?.json("check")?;
    let clients = list(&check, "clients")?;
    let of_user = clients.iter().filter(|client| client["identity"]["uid"] == 1000);
    let mut units: Vec<&Value> = of_user.map(|client| &client["identity"]["unit"]["kind"]).collect();
    units.sort_by_key(ToString::to_string);
    ensure!(units == ["session", "user"], "{units:?}");
    let builder = clients.iter().find(|c| c["identity"]["pod"] == "builder-guest");
    let builder = builder.context("no client is the builder")?;
    ensure!(
        builder["connections"] == 1,
        "the user's connection counts as the pod's: {builder:#}"
    );
    Ok(())
}

#[test]
fn the_shipped_unit_names_a_pod_that_connects_for_a_moment() -> Result<()> {
    let report = node()?.json("report")?;
    let events = &report["connectEvents"]["value"];
    ensure!(
        events["method"] == "fentry" && events["selfTest"]["failure"].is_null(),
        "{events:#}"
    );
    ensure!(events["lost"] == 0 && events["attributed"]["none"] == 0, "{events:#}");
    let clients = list(&report, "clients")?;
    let short = clients.iter().find(|client| who(&client["identity"]) == SHORT);
    let short = short.with_context(|| format!("no client of the pod: {clients:#?}"))?;
    ensure!(short["origin"] == "event", "{short:#}");
    ensure!(short["identity"]["workload"]["kind"] == "StaticPod", "{short:#}");
    Ok(())
}

#[test]
fn the_shipped_unit_runs_without_a_restart_and_keeps_its_state() -> Result<()> {
    let node = node()?;
    ensure!(
        node.text("unit")? == "NRestarts=0\nActiveState=active",
        "{:?}",
        node.text("unit")
    );
    ensure!(node.text("state")? == "700 root\n600 root", "{:?}", node.text("state"));
    Ok(())
}

#[test]
fn what_the_node_runs_is_found() -> Result<()> {
    let check = node()?.json("check")?;
    ensure!(
        check["runtime"]["value"]["name"] == "containerd",
        "{:#}",
        check["runtime"]
    );
    let origin = &check["runtime"]["value"]["endpoint"]["origin"]["from"];
    ensure!(origin == "kubelet-file", "the endpoint is from {origin}");
    let engines = list(&check, "engines")?;
    ensure!(engines.len() == 1 && engines[0]["kind"] == "dockerd", "{engines:#?}");
    let shadows = list(&check, "shadowContainers")?;
    ensure!(shadows.len() == 1 && shadows[0]["name"] == "ci", "{shadows:#?}");
    let codes: Vec<&Value> = list_of_codes(&check)?;
    for code in [
        "socket-client",
        "socket-exposure",
        "shadow-containers",
        "shared-containerd",
    ] {
        ensure!(codes.iter().any(|known| *known == code), "no {code} in {codes:?}");
    }
    ensure!(!codes.iter().any(|code| *code == "cgroup-v1"), "{codes:?}");
    let gaps: Vec<&Value> = gaps(&check).collect();
    ensure!(gaps.is_empty(), "{gaps:#?}");
    Ok(())
}

#[test]
fn no_mount_of_a_container_is_reported_that_it_does_not_have() -> Result<()> {
    let report = node()?.json("report")?;
    let mut mounts: Vec<String> = list(&report, "exposures")?
        .iter()
        .map(|e| format!("{} {}", e["container"], e["containerPath"]))
        .collect();
    mounts.sort();
    let expected = ["\"ask\"", "\"build\"", "\"ci\""].map(|container| format!("{container} \"/var/run/docker.sock\""));
    ensure!(mounts == expected, "{mounts:#?}");
    Ok(())
}

fn list_of_codes(report: &Value) -> Result<Vec<&Value>> {
    let findings = report["findings"].as_array().context("a report has findings")?;
    Ok(findings.iter().map(|finding| &finding["code"]).collect())
}
