//! Every object of every scenario against Kubernetes' own schemas, of the oldest version that the chart supports and of
//! the newest one. Strict: a field that a version does not have is an error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use castoff_tests::lab::{packages, rooms};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::render::{NEWEST, OLDEST, Rendering, scenarios, text_at};

/// Returns the Python package with a version's schemas.
fn package(kubernetes: &str) -> &'static str {
    if kubernetes == OLDEST { "1.27.1" } else { "1.37.0" }
}

/// Kinds that are not part of Kubernetes; the monitors have a test of their own.
const FOREIGN: [&str; 4] = [
    "PodMonitor",
    "PrometheusRule",
    "SecurityContextConstraints",
    "ServiceMonitor",
];

/// The schemas of a version.
pub(crate) struct Schemas {
    definitions: Map<String, Value>,
    /// The definition of each kind, by its API and name.
    kinds: BTreeMap<(String, String), String>,
    /// Compiled on first use.
    compiled: RefCell<BTreeMap<String, Validator>>,
}

impl Schemas {
    pub(crate) fn fetched(kubernetes: &str) -> Result<Self> {
        let mut text = fs::read_to_string(fetch(kubernetes)?).context("read the schemas")?;
        // Older ones refer to their own file, newer ones to its address.
        for prefix in [
            "/api/_definitions.json#/$defs/",
            "_definitions.json#/definitions/",
            "#/definitions/",
        ] {
            text = text.replace(&format!("\"{prefix}"), "\"#/$defs/");
        }
        let mut document: Map<String, Value> = serde_json::from_str(&text).context("read the schemas")?;
        let definitions = document.remove("$defs").or_else(|| document.remove("definitions"));
        let Some(Value::Object(definitions)) = definitions else {
            bail!("the schemas have no definitions");
        };
        let mut kinds = BTreeMap::new();
        for (name, definition) in &definitions {
            let of_kinds = definition["x-kubernetes-group-version-kind"].as_array();
            for kind in of_kinds.into_iter().flatten() {
                let (group, version) = (text_at(kind, "/group"), text_at(kind, "/version"));
                let separator = if group.is_empty() { "" } else { "/" };
                let api = format!("{group}{separator}{version}");
                kinds.insert((api, text_at(kind, "/kind").to_owned()), name.clone());
            }
        }
        Ok(Self {
            definitions,
            kinds,
            compiled: RefCell::default(),
        })
    }

    /// Returns the errors of an object.
    pub(crate) fn wrong(&self, object: &Value) -> Result<Vec<String>> {
        let kind = (
            text_at(object, "/apiVersion").to_owned(),
            text_at(object, "/kind").to_owned(),
        );
        let name = self.kinds.get(&kind).with_context(|| format!("there is no {kind:?}"))?;
        let mut compiled = self.compiled.borrow_mut();
        if !compiled.contains_key(name) {
            compiled.insert(name.clone(), self.compile(name)?);
        }
        let errors = compiled[name].iter_errors(object);
        let told = errors.map(|error| format!("{kind:?} {}: {error}", error.instance_path()));
        Ok(told.collect())
    }

    /// Compiles the schema of one definition with those that it refers to, because all of them are megabytes.
    fn compile(&self, name: &str) -> Result<Validator> {
        let mut needed: BTreeMap<&str, &Value> = BTreeMap::new();
        let mut ahead = vec![name];
        while let Some(name) = ahead.pop() {
            if !needed.contains_key(name) {
                let (name, definition) = self.definitions.get_key_value(name).with_context(|| name.to_owned())?;
                needed.insert(name, definition);
                references(definition, &mut ahead);
            }
        }
        let schema = json!({ "$ref": format!("#/$defs/{name}"), "$defs": needed });
        jsonschema::validator_for(&schema).with_context(|| format!("compile the schema of {name}"))
    }
}

/// Collects the definitions that a part of one refers to.
fn references<'a>(part: &'a Value, found: &mut Vec<&'a str>) {
    match part {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|reference| reference.strip_prefix("#/$defs/")));
            map.values().for_each(|part| references(part, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| references(part, found)),
        _ => {}
    }
}

/// Returns the file of a version's strict schemas, from a Python package.
fn fetch(kubernetes: &str) -> Result<PathBuf> {
    let version = package(kubernetes);
    let folder = rooms::tool(&format!("kubernetes-schemas-{version}"), |folder| {
        let work = tempfile::tempdir_in(folder).context("make a folder for the download")?;
        let archives = work.path().join("archives");
        packages::run(
            Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                    "--dest",
                ])
                .arg(&archives)
                .arg(format!("kubernetes-validate=={version}")),
        )?;
        let archive = fs::read_dir(&archives)?
            .next()
            .context("pip downloaded nothing")??
            .path();
        packages::run(
            Command::new("python3")
                .args([
                    "-c",
                    "import shutil, sys; shutil.unpack_archive(sys.argv[1], sys.argv[2], sys.argv[3])",
                ])
                .arg(&archive)
                .arg(work.path())
                // A wheel is a zip file with another extension.
                .arg(if archive.extension().is_some_and(|end| end == "whl") {
                    "zip"
                } else {
                    "gztar"
                }),
        )?;
        let sources = work.path().join(format!("kubernetes-validate-{version}/src"));
        for kubernetes in [OLDEST, NEWEST]
            .into_iter()
            .filter(|kubernetes| package(kubernetes) == version)
        {
            let schemas =
                format!("kubernetes_validate/kubernetes-json-schema/v{kubernetes}-local-strict/_definitions.json");
            let unpacked = [work.path(), &sources].map(|tree| tree.join(&schemas));
            let found = unpacked
                .iter()
                .find(|path| path.exists())
                .context("the package has no such schemas")?;
            fs::rename(found, file(folder, kubernetes)).context("keep the schemas")?;
        }
        Ok(())
    })?;
    Ok(file(&folder, kubernetes))
}

fn file(folder: &Path, kubernetes: &str) -> PathBuf {
    folder.join(format!("{kubernetes}.json"))
}

#[test]
fn every_scenario_is_valid_for_the_oldest_and_the_newest_kubernetes() -> Result<()> {
    for kubernetes in [OLDEST, NEWEST] {
        let schemas = Schemas::fetched(kubernetes)?;
        for scenario in scenarios()? {
            let mut rendering = Rendering::new().kubernetes(kubernetes).values(&scenario);
            if kubernetes == OLDEST {
                // It lacks the policy, and the chart refuses it there.
                rendering = rendering.set("admissionPolicy.enabled=auto");
                rendering = rendering.set("updateStrategy.rollingUpdate=null");
            }
            let mut wrong = Vec::new();
            for object in rendering.objects()? {
                if !FOREIGN.iter().any(|kind| object["kind"] == *kind) {
                    wrong.extend(schemas.wrong(&object)?);
                }
            }
            ensure!(
                wrong.is_empty(),
                "{kubernetes}, {}:\n{}",
                scenario.display(),
                wrong.join("\n")
            );
        }
    }
    Ok(())
}

/// The schemas work: they find a misspelt field and a wrong type, and the oldest does not have the newest field.
#[test]
fn the_schemas_detect_errors() -> Result<()> {
    let mut objects = Rendering::new().objects()?;
    let agent = objects
        .iter_mut()
        .find(|object| object["kind"] == "DaemonSet")
        .context("the DaemonSet")?;
    let newest = Schemas::fetched(NEWEST)?;
    ensure!(newest.wrong(agent)?.is_empty());
    let said = Schemas::fetched(OLDEST)?.wrong(agent)?.join("\n");
    ensure!(said.contains("appArmorProfile"), "{said}");
    let container = &mut agent["spec"]["template"]["spec"]["containers"][0];
    container["imagePulPolicy"] = json!("Always");
    container["ports"][0]["containerPort"] = json!("http");
    let said = newest.wrong(agent)?;
    if said.len() < 2 {
        bail!("{}", said.join("\n"));
    }
    Ok(())
}
