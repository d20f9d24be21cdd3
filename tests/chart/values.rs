//! The values and their descriptions: every value is described, the README's table is made from them, and the schema
//! has the same values.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use castoff::sinks::golden;
use serde_json::Value;

use crate::render::{objects, place, read};

const BEGIN: &str = "<!-- The table is made of values.yaml: CASTOFF_BLESS=1 tests/run chart -->\n";

/// A described value.
struct Described {
    path: Vec<String>,
    words: String,
    default: Value,
}

impl Described {
    fn name(&self) -> String {
        self.path.join(".")
    }

    /// True if the value at `path`, or a map that it is part of, is described here.
    fn covers(&self, path: &[String]) -> bool {
        path.starts_with(&self.path)
    }
}

fn values() -> Result<Value> {
    let documents = objects(&read("charts/castoff/values.yaml")?)?;
    documents.into_iter().next().context("values")
}

/// Returns the values with a comment that begins with `# -- `, in the order of the file.
fn described() -> Result<Vec<Described>> {
    let (values, text) = (values()?, read("charts/castoff/values.yaml")?);
    let (mut path, mut words, mut described): (Vec<String>, Vec<&str>, Vec<Described>) = Default::default();
    for line in text.lines() {
        let inner = line.trim_start();
        if let Some(first) = inner.strip_prefix("# -- ") {
            words = vec![first];
        } else if let (Some(more), false) = (inner.strip_prefix("# "), words.is_empty()) {
            words.push(more);
        } else if let Some((key, _)) = inner
            .split_once(':')
            .filter(|(key, _)| key.chars().all(char::is_alphanumeric))
        {
            path.truncate((line.len() - inner.len()) / 2);
            path.push(key.to_owned());
            if !words.is_empty() {
                let default = values
                    .pointer(&format!("/{}", path.join("/")))
                    .with_context(|| path.join("."))?;
                described.push(Described {
                    path: path.clone(),
                    words: words.join(" "),
                    default: default.clone(),
                });
                words.clear();
            }
        }
    }
    Ok(described)
}

/// Collects the path of every value that is not a map, or is an empty one.
fn leaves(value: &Value, path: &[String], found: &mut Vec<Vec<String>>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(value, &[path, std::slice::from_ref(key)].concat(), found);
            }
        }
        _ => found.push(path.to_vec()),
    }
}

/// Returns the path of every value, and of every map of values.
pub(crate) fn every_path() -> Result<BTreeSet<Vec<String>>> {
    let mut found = Vec::new();
    leaves(&values()?, &[], &mut found);
    let beginnings = found
        .iter()
        .flat_map(|path| (1..=path.len()).map(|end| path[..end].to_vec()));
    Ok(beginnings.collect())
}

#[test]
fn every_value_is_described() -> Result<()> {
    let (described, mut found) = (described()?, Vec::new());
    leaves(&values()?, &[], &mut found);
    ensure!(found.len() > 60, "only {} values", found.len());
    for leaf in found {
        ensure!(
            described.iter().any(|value| value.covers(&leaf)),
            "{} has no comment",
            leaf.join(".")
        );
    }
    Ok(())
}

#[test]
fn the_readme_has_all_values() -> Result<()> {
    let readme = read("charts/castoff/README.md")?;
    let (head, _) = readme.split_once(BEGIN).context("the README's mark before the table")?;
    let mut text = format!("{head}{BEGIN}\n| value | default | what it is |\n|---|---|---|\n");
    for value in described()? {
        let default = format!("`{}`", value.default);
        text += &["| `", &value.name(), "` | ", &default, " | ", &value.words, " |\n"].concat();
    }
    golden::hold(&place("charts/castoff/README.md").to_string_lossy(), &text);
    Ok(())
}

/// Returns a part of the schema, with its reference resolved.
fn resolved<'a>(schema: &'a Value, part: &'a Value) -> Result<&'a Value> {
    match part.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .with_context(|| reference.to_owned()),
        None => Ok(part),
    }
}

/// Collects the paths of the properties of a schema that have none themselves.
fn properties(schema: &Value, part: &Value, path: &[String], found: &mut Vec<Vec<String>>) -> Result<()> {
    let part = resolved(schema, part)?;
    let Some(own) = part.get("properties").and_then(Value::as_object) else {
        found.push(path.to_vec());
        return Ok(());
    };
    for (key, part) in own {
        properties(schema, part, &[path, std::slice::from_ref(key)].concat(), found)?;
    }
    Ok(())
}

#[test]
fn schema_and_values_have_the_same_keys() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("charts/castoff/values.schema.json")?)?;
    let described = described()?;
    let mut known = Vec::new();
    properties(&schema, &schema, &[], &mut known)?;
    for path in &known {
        // Set by a parent chart; it has no default here.
        let of_a_parent = path == &["enabled"];
        ensure!(
            of_a_parent || described.iter().any(|value| value.covers(path)),
            "{} is in the schema only",
            path.join(".")
        );
    }
    for value in &described {
        ensure!(
            known.iter().any(|path| path.starts_with(&value.path)),
            "{} is in the values only",
            value.name()
        );
    }
    Ok(())
}

/// The schema works offline, and rejects unknown properties.
#[test]
fn the_schema_is_complete_and_strict() -> Result<()> {
    fn walk(part: &Value, at: &str, wrong: &mut Vec<String>) {
        if let Some(map) = part.as_object() {
            if map
                .get("$ref")
                .and_then(Value::as_str)
                .is_some_and(|reference| !reference.starts_with("#/"))
            {
                wrong.push(format!("{at} refers elsewhere"));
            }
            if map.contains_key("properties") && map.get("additionalProperties") != Some(&Value::Bool(false)) {
                wrong.push(format!("{at} is open"));
            }
            map.iter()
                .for_each(|(key, part)| walk(part, &format!("{at}/{key}"), wrong));
        }
        part.as_array()
            .into_iter()
            .flatten()
            .for_each(|part| walk(part, at, wrong));
    }
    let schema: Value = serde_json::from_str(&read("charts/castoff/values.schema.json")?)?;
    let mut wrong = Vec::new();
    walk(&schema, "", &mut wrong);
    // It also has the values of other charts.
    assert_eq!(wrong, ["/properties/global is open"]);
    Ok(())
}
