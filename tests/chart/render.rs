//! helm's rendering of the chart, as objects.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::helm::{Helm, Tools};
use serde_json::Value;

/// The oldest Kubernetes that the chart supports, and the newest one with a schema.
pub(crate) const OLDEST: &str = "1.20.0";
pub(crate) const NEWEST: &str = "1.37.0";

/// Returns a path in the repository.
pub(crate) fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Returns the chart's directory.
pub(crate) fn chart() -> PathBuf {
    place("charts/castoff")
}

/// Returns the text of a file of the repository.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(place(path)).with_context(|| format!("read {path}"))
}

/// Returns the values of each scenario, by file.
pub(crate) fn scenarios() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(chart().join("ci")).context("read the scenarios")?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files.len() >= 4, "only {} scenarios", files.len());
    Ok(files)
}

/// A way to render a chart.
#[derive(Debug, Clone)]
pub(crate) struct Rendering {
    helm: Helm,
    kubernetes: &'static str,
    chart: PathBuf,
    arguments: Vec<String>,
}

impl Rendering {
    /// Renders with helm 4 for the newest Kubernetes, with the chart's own values.
    pub(crate) fn new() -> Self {
        Self {
            helm: Helm::Four,
            kubernetes: NEWEST,
            chart: chart(),
            arguments: Vec::new(),
        }
    }

    pub(crate) fn by(mut self, helm: Helm) -> Self {
        self.helm = helm;
        self
    }

    pub(crate) fn kubernetes(mut self, version: &'static str) -> Self {
        self.kubernetes = version;
        self
    }

    pub(crate) fn chart(mut self, chart: &Path) -> Self {
        chart.clone_into(&mut self.chart);
        self
    }

    /// Adds a file of values.
    pub(crate) fn values(mut self, file: &Path) -> Self {
        self.arguments.push(format!("--values={}", file.display()));
        self
    }

    /// Sets one value, in the syntax of `--set`.
    pub(crate) fn set(mut self, value: &str) -> Self {
        self.arguments.push(format!("--set={value}"));
        self
    }

    /// Adds another flag of `helm template`.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.to_owned());
        self
    }

    pub(crate) fn output(&self) -> Result<Output> {
        let mut command: Command = Tools::fetched()?.helm(self.helm);
        command.args(["template", "castoff"]).arg(&self.chart);
        command.args(["--namespace=castoff", "--kube-version", self.kubernetes]);
        command.args(&self.arguments).output().context("start helm")
    }

    /// Returns helm's output. Fails if helm prints any warning.
    pub(crate) fn text(&self) -> Result<String> {
        let output = self.output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && complaint.is_empty(),
            "{self:?}: {}\n{complaint}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns the objects.
    pub(crate) fn objects(&self) -> Result<Vec<Value>> {
        objects(&self.text()?)
    }

    /// Returns helm's message when it refuses.
    pub(crate) fn refusal(&self) -> Result<String> {
        let output = self.output()?;
        ensure!(!output.status.success(), "{self:?} was not refused");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Returns the documents of a YAML text, except for empty ones.
pub(crate) fn objects(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("read what was rendered")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Returns the text at a path.
pub(crate) fn text_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Returns the one object of a kind with a name.
pub(crate) fn the<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let of_kind = of_kind(objects, kind);
    let mut named = of_kind.iter().filter(|object| object["metadata"]["name"] == name);
    let found = named.next().with_context(|| format!("no {kind} {name}"))?;
    ensure!(named.next().is_none(), "more than one {kind} {name}");
    Ok(found)
}
