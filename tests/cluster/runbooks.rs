//! The commands of the runbooks, run against the chart as it is shipped.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::packages;
use serde_json::{Value, json};

use crate::site::{NODE, OFTEN, Site, on_a_cluster};
use crate::typed::{ROOT, programs, shell};

/// The values that a reader has from the alert and from earlier steps of the runbook.
const PLACES: [(&str, &str); 2] = [("NODE", NODE), ("NAMESPACE", "builds")];

/// The blocks of commands of a runbook: those for a user with a kubeconfig, and those for a shell on the node.
struct Commands {
    of_cluster: Vec<String>,
    of_node: Vec<String>,
}

/// Returns the commands of each runbook, by its alert.
fn runbooks() -> Result<BTreeMap<String, Commands>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(Path::new(ROOT).join("deploy/runbooks")).context("read the runbooks")? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let mut commands = Commands {
            of_cluster: Vec::new(),
            of_node: Vec::new(),
        };
        let mut before = text.as_str();
        while let Some((words, rest)) = before.split_once("```sh\n") {
            let (block, after) = rest.split_once("```").context("the end of a block")?;
            let paragraph = words.trim_end().rsplit("\n\n").next().unwrap_or_default();
            let kind = if paragraph.starts_with("On the node") {
                &mut commands.of_node
            } else {
                &mut commands.of_cluster
            };
            kind.push(block.to_owned());
            before = after;
        }
        let alert = path
            .file_stem()
            .context("a runbook's name")?
            .to_string_lossy()
            .into_owned();
        found.insert(alert, commands);
    }
    Ok(found)
}

/// Defines the kinds of the Prometheus operator that runbooks list.
fn define_monitors(site: &Site) -> Result<()> {
    let definitions: Vec<Value> = [
        ("podmonitors", "PodMonitor"),
        ("servicemonitors", "ServiceMonitor"),
        ("prometheuses", "Prometheus"),
    ]
    .map(|(plural, kind)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.monitoring.coreos.com") },
            "spec": {
                "group": "monitoring.coreos.com",
                "scope": "Namespaced",
                "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind },
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                }],
            },
        })
    })
    .into();
    site.cluster
        .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": definitions }))?;
    site.cluster
        .kubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])
        .map(drop)
}

/// Runs a block. Fails if one of its programs prints an error.
fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().context("start a shell")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // The exit code of `check` is its verdict, and kubectl returns the same code.
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| {
            !matches!(
                *line,
                "command terminated with exit code 1" | "command terminated with exit code 2"
            )
        })
        .collect();
    ensure!(complaints.is_empty(), "{complaints:#?}");
    Ok(output)
}

#[test]
fn every_command_of_a_runbook_runs_against_the_shipped_daemonset() -> Result<()> {
    on_a_cluster(|site| {
        define_monitors(site)?;
        let endpoint = format!("runtime.endpoint={}", site.node.containerd().endpoint());
        let values = [OFTEN, "podMonitor.enabled=true", "events.enabled=true", &endpoint];
        site.release().install(Helm::Four, &values)?;
        let docker = site.cluster.start_docker()?;
        site.deploy_builder(docker.socket())?;
        site.wait_for_builder(|| site.release().report())?;
        let builder = site.cluster.kubectl([
            "get",
            "pods",
            "-n",
            "builds",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ])?;
        let programs = programs(site)?;
        let runbooks = runbooks()?;
        ensure!(runbooks.len() > 15, "{} runbooks", runbooks.len());
        for (alert, commands) in &runbooks {
            for block in &commands.of_cluster {
                // Does not stop at the first failure: a search without a result fails too.
                let mut shell = shell(site, programs.path(), &format!("set +e\n{block}"))?;
                shell.envs(PLACES).env("NAME", &builder);
                let output = run(&mut shell).with_context(|| format!("{alert}: {block}"))?;
                ensure!(
                    !block.contains("/castoff ") || !output.stdout.is_empty(),
                    "{alert}: {block} shows nothing"
                );
            }
            for block in &commands.of_node {
                packages::run(Command::new("bash").args(["-n", "-c", block]))
                    .with_context(|| format!("{alert}: {block}"))?;
            }
        }
        a_check_in_the_pod_has_the_agents_results(site)
    })
}

/// Compares the runtime, its endpoint and the verdict.
fn a_check_in_the_pod_has_the_agents_results(site: &Site) -> Result<()> {
    let mut check = site.cluster.kubectl_command();
    let pod = site.release().agent()?["metadata"]["name"]
        .as_str()
        .context("a pod's name")?
        .to_owned();
    let output = check
        .args(["exec", "-n", "castoff", &pod, "--", "/castoff", "check", "-o", "json"])
        .output()?;
    let checked: Value = serde_json::from_slice(&output.stdout).context("a report")?;
    let served = site.release().report()?;
    for part in ["verdict", "runtime", "node"] {
        ensure!(
            checked[part] == served[part],
            "{part}: {} and {}",
            checked[part],
            served[part]
        );
    }
    Ok(())
}
