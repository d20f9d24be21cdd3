//! The shipped alerts, their runbooks and the dashboards, checked against the existing metrics, with promtool, and in a
//! real Prometheus that scrapes a real agent.

mod dashboards;
mod live;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::prometheus::Tools;
use serde_json::{Value, json};

/// Returns the directory that is shipped.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Returns the names of a directory's files with this extension, without it.
fn names(folder: &Path, end: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stem = name.strip_suffix(end);
        names.insert(
            stem.with_context(|| format!("{name} does not end in {end}"))?
                .to_owned(),
        );
    }
    Ok(names)
}

/// Runs promtool to its end and returns its output. Fails if it fails.
fn succeeds(command: &mut Command) -> Result<String> {
    let output = command.output().context("start promtool")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    Ok(text)
}

/// Fails unless promtool can parse these expressions.
fn parse(expressions: &[String]) -> Result<()> {
    let rule = |(n, expression): (usize, &String)| json!({ "record": format!("q:{n}"), "expr": expression });
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    let folder = tempfile::tempdir()?;
    // JSON is YAML.
    let file = folder.path().join("queries.yaml");
    fs::write(
        &file,
        json!({ "groups": [{ "name": "queries", "rules": rules }] }).to_string(),
    )?;
    let said = succeeds(Tools::debian()?.promtool().args(["check", "rules"]).arg(&file))?;
    ensure!(
        said.contains(&format!("SUCCESS: {} rules found", expressions.len())),
        "{said}"
    );
    Ok(())
}

/// Returns every name of a castoff metric in a text that is not in the reference of metrics.
fn unknown_metrics(text: &str) -> BTreeSet<String> {
    let families: BTreeSet<&str> = castoff::sinks::views::metrics::catalogue::ALL
        .iter()
        .map(|d| d.name)
        .collect();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let known = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|end| name.strip_suffix(end));
        families.contains(name) || of_histogram.is_some_and(|family| families.contains(family))
    };
    words
        .filter(|word| word.starts_with("castoff_") && !known(word))
        .map(str::to_owned)
        .collect()
}
