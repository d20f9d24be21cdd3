//! `deploy/manifests`: the chart for users without helm. Rendered, never written by hand.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff::sinks::golden;
use castoff_tests::lab::helm::Tools;
use castoff_tests::lab::packages;
use serde_json::Value;

use crate::render::{NEWEST, Rendering, objects, of_kind, place, read, text_at};
use crate::schemas::Schemas;

const FOLDER: &str = "deploy/manifests";
const HEAD: &str = "# Rendered from charts/castoff with its own values, for Kubernetes 1.30 and newer: CASTOFF_BLESS=1 tests/run chart\n";
const REMOVE: &str = "\
# Removes castoff's labels from all Nodes, for installations without Helm. Run it after the agents are gone: they set the labels again.
#   kubectl delete -k deploy/manifests
#   kubectl create namespace castoff && kubectl apply -f deploy/manifests/remove-labels.yaml
#   kubectl -n castoff wait --for=condition=complete job/castoff-cleanup && kubectl delete namespace castoff
#   kubectl delete -f deploy/manifests/remove-labels.yaml --ignore-not-found
";

/// True for a line that only helm uses.
fn is_helms(line: &str) -> bool {
    let line = line.trim_start();
    ["helm.sh/", "app.kubernetes.io/managed-by: Helm"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Removes the parts for helm from a document, and annotations that are empty afterwards.
fn plain(document: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = document
        .lines()
        .filter(|line| !is_helms(line) && !line.starts_with("# Source: "))
        .collect();
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let inner = lines.get(at + 1).is_some_and(|next| indent(next) > indent(line));
        if line.trim() != "annotations:" || inner {
            text += line;
            text.push('\n');
        }
    }
    text.trim().to_owned() + "\n"
}

/// Returns each file's text, by name, with one file for each template of the chart.
fn rendered() -> Result<BTreeMap<String, String>> {
    let text = Rendering::new().text()?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for document in text.split("\n---\n").map(|part| part.trim_start_matches("---\n")) {
        let source = document
            .lines()
            .find_map(|line| line.strip_prefix("# Source: castoff/templates/"));
        let source = source.context("helm names each document's template")?;
        files.entry(source.to_owned()).or_default().push(plain(document));
    }
    let file = |(name, documents): (String, Vec<String>)| match name.as_str() {
        "cleanup.yaml" => (
            "remove-labels.yaml".to_owned(),
            format!("{REMOVE}{}", documents.join("---\n")),
        ),
        _ => (name, format!("{HEAD}{}", documents.join("---\n"))),
    };
    Ok(files.into_iter().map(file).collect())
}

#[test]
fn the_files_are_the_charts_output() -> Result<()> {
    let files = rendered()?;
    ensure!(files.len() >= 6, "{:?}", files.keys());
    for (name, text) in files {
        golden::hold(&place(FOLDER).join(name).to_string_lossy(), &text);
    }
    Ok(())
}

fn kustomized() -> Result<Vec<Value>> {
    let mut kubectl: Command = Tools::fetched()?.kubectl();
    objects(&packages::output(kubectl.arg("kustomize").arg(place(FOLDER)))?)
}

/// The kustomization has what helm installs: nothing is missing, and nothing but the namespace is added.
#[test]
fn the_kustomization_is_the_chart_and_its_namespace() -> Result<()> {
    let key = |object: &Value| format!("{} {}", text_at(object, "/kind"), text_at(object, "/metadata/name"));
    let chart = Rendering::new().flag("--no-hooks").objects()?;
    let mut wanted: BTreeMap<String, Value> = chart.into_iter().map(|object| (key(&object), object)).collect();
    for object in wanted.values_mut() {
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(labels).and_then(Value::as_object_mut) {
                labels.retain(|key, _| key != "helm.sh/chart" && key != "app.kubernetes.io/managed-by");
            }
        }
    }
    let mut made: BTreeMap<String, Value> = kustomized()?.into_iter().map(|object| (key(&object), object)).collect();
    let namespace = made.remove("Namespace castoff").context("the namespace")?;
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "privileged"
    );
    assert_eq!(made, wanted);
    Ok(())
}

#[test]
fn kubernetes_accepts_the_files() -> Result<()> {
    let schemas = Schemas::fetched(NEWEST)?;
    let mut all = kustomized()?;
    all.extend(objects(&read("deploy/manifests/remove-labels.yaml")?)?);
    assert_eq!(of_kind(&all, "Job").len(), 1);
    for object in &all {
        let wrong = schemas.wrong(object)?;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    Ok(())
}
