//! A Node, as far as castoff reads it, and the patches that change it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::server::MANAGER;
use crate::apiserver::refusal::Refusal;
use crate::model::machine::Machine;
use crate::model::publishing::Outcome;
use crate::sinks::publishing::labels::Wanted;
use crate::sinks::publishing::labels::summary::Summary;

/// `Node` or `PartialObjectMetadata`, as the API server sends it.
#[derive(Debug, Deserialize)]
pub struct Document {
    kind: String,
    metadata: Metadata,
    status: Option<Status>,
}

/// A page of Nodes. A list leaves out the kind of its items.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The metadata of each Node.
    #[serde(deserialize_with = "nodes")]
    pub items: Vec<Node>,
    #[serde(default)]
    metadata: PageMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    managed_fields: Option<Vec<ManagedFields>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedFields {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    fields_v1: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    node_info: Option<NodeInfo>,
}

#[derive(Debug, Deserialize)]
struct NodeInfo {
    #[serde(rename = "bootID")]
    boot_id: Option<String>,
    #[serde(rename = "machineID")]
    machine_id: Option<String>,
}

/// The parts of a Node that castoff remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its uid, which distinguishes it from another object of that name.
    pub uid: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The keys of labels and annotations that castoff last applied.
    pub owned: BTreeSet<String>,
    /// The machine that its kubelet reports, if it was requested.
    pub machine: Machine,
}

/// The difference between a Node and its wanted labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// No difference.
    None,
    /// Only the annotation differs.
    Annotation,
    /// A label differs, or a key of an earlier castoff is still there.
    Labels,
}

impl Document {
    /// Returns the Node if the document is the requested one.
    pub fn node(self, name: &str) -> Result<Node, Refusal> {
        let kind = ["Node", "PartialObjectMetadata"].contains(&self.kind.as_str());
        if kind && self.metadata.name == name {
            return Ok(node(self.metadata, self.status));
        }
        let what = format!("the answer is of {} {:?}", self.kind, self.metadata.name);
        Err(Refusal::new(Outcome::BadAnswer, format!("read node {name}"), what))
    }
}

impl Page {
    /// The token of the next page, where there is one.
    pub fn next(&self) -> Option<&str> {
        self.metadata.next.as_deref().filter(|next| !next.is_empty())
    }
}

fn nodes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Node>, D::Error> {
    #[derive(Deserialize)]
    struct Item {
        metadata: Metadata,
    }
    let items = Option::<Vec<Item>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(items.into_iter().map(|item| node(item.metadata, None)).collect())
}

fn node(metadata: Metadata, status: Option<Status>) -> Node {
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let info = status.and_then(|status| status.node_info);
    let machine = info.map_or_else(Machine::default, |info| Machine {
        boot_id: said(info.boot_id),
        machine_id: said(info.machine_id),
    });
    Node {
        name: metadata.name,
        uid: said(metadata.uid),
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        owned: owned(&metadata.managed_fields.unwrap_or_default()),
        machine,
    }
}

/// Returns the keys in the `FieldsV1` of castoff's own applies: `{"f:metadata": {"f:labels": {"f:KEY": {}}}}`.
fn owned(managed: &[ManagedFields]) -> BTreeSet<String> {
    let ours = managed.iter().filter(|m| {
        m.manager.as_deref() == Some(MANAGER)
            && m.operation.as_deref() == Some("Apply")
            && m.subresource.as_deref().unwrap_or_default().is_empty()
    });
    let metadata = ours.filter_map(|m| m.fields_v1.as_ref()?.get("f:metadata"));
    let maps = metadata.flat_map(|m| [m.get("f:labels"), m.get("f:annotations")]);
    maps.flatten()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys())
        .filter_map(|field| field.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

impl Node {
    /// Compares the Node with `wanted`.
    pub fn difference(&self, wanted: &Wanted) -> Difference {
        let missing = wanted
            .labels
            .iter()
            .any(|(key, value)| self.labels.get(key) != Some(value));
        let left_over = self
            .owned
            .iter()
            .any(|key| !wanted.labels.contains_key(key) && *key != wanted.annotation);
        if missing || left_over {
            return Difference::Labels;
        }
        match self.summary(&wanted.annotation) {
            Some(summary) if summary.says_the_same_as(&wanted.summary) => Difference::None,
            _ => Difference::Annotation,
        }
    }

    /// Parses the summary in the annotation `key`.
    pub fn summary(&self, key: &str) -> Option<Summary> {
        Summary::parse(self.annotations.get(key)?)
    }

    /// Drops everything that is not castoff's, so that a Node with a megabyte of annotations uses no memory.
    pub fn keep_only(&mut self, wanted: &Wanted) {
        self.labels.retain(|key, _| wanted.labels.contains_key(key));
        self.annotations.retain(|key, _| *key == wanted.annotation);
    }

    /// The apply that sets the labels of `wanted`, and removes those that castoff set before and no longer wants.
    ///
    /// It contains the uid: the API server then refuses if the Node was recreated in the meantime, and never creates one.
    pub fn apply(&self, wanted: &Wanted) -> String {
        let annotations = BTreeMap::from([(&wanted.annotation, wanted.summary.to_string())]);
        self.patch(json!({ "labels": wanted.labels, "annotations": annotations }))
    }

    /// The apply that removes from this Node everything that castoff alone has set.
    pub fn release(&self) -> String {
        self.patch(json!({}))
    }

    /// The merge that removes `keys` from this Node, whoever set them.
    pub fn without(&self, labels: &[String], annotation: &str) -> String {
        let gone = |keys: &[&str]| {
            keys.iter()
                .map(|key| ((*key).to_owned(), Value::Null))
                .collect::<BTreeMap<_, _>>()
        };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.patch(json!({ "labels": gone(&labels), "annotations": gone(&[annotation]) }))
    }

    fn patch(&self, mut metadata: Value) -> String {
        metadata["name"] = json!(self.name);
        if let Some(uid) = &self.uid {
            metadata["uid"] = json!(uid);
        }
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata }).to_string()
    }
}

#[cfg(test)]
mod tests;
