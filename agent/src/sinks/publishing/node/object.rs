//! A Node as far as castoff reads it, and the patches that change it. Pure.

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

/// A page of them. Their own kind is left out in a list.
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
    /// The uid, which tells it from another object of that name.
    pub uid: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keys of labels and annotations that were last applied by castoff.
    pub owned: BTreeSet<String>,
    /// The machine that its kubelet reports, where that was asked for.
    pub machine: Machine,
}

/// In what a Node differs from what it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// In nothing.
    None,
    /// In the annotation only.
    Annotation,
    /// In a label, or in a key of an earlier castoff that is there still.
    Labels,
}

impl Document {
    /// The Node, where the document is of the one that was asked for.
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

/// The keys in the `FieldsV1` of castoff's own applies: `{"f:metadata": {"f:labels": {"f:KEY": {}}}}`.
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
    /// In what it differs from `wanted`.
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

    /// The summary in the annotation `key`.
    pub fn summary(&self, key: &str) -> Option<Summary> {
        Summary::parse(self.annotations.get(key)?)
    }

    /// Forgets what is not castoff's, so that a Node with a megabyte of annotations costs nothing.
    pub fn keep_only(&mut self, wanted: &Wanted) {
        self.labels.retain(|key, _| wanted.labels.contains_key(key));
        self.annotations.retain(|key, _| *key == wanted.annotation);
    }

    /// The apply that gives this Node what `wanted` says, and takes what castoff gave it before and no longer wants.
    ///
    /// Its uid is in it: the API server then refuses where the Node was made anew meanwhile, and never makes one.
    pub fn apply(&self, wanted: &Wanted) -> String {
        let annotations = BTreeMap::from([(&wanted.annotation, wanted.summary.to_string())]);
        self.patch(json!({ "labels": wanted.labels, "annotations": annotations }))
    }

    /// The apply that takes from this Node whatever castoff alone has given it.
    pub fn release(&self) -> String {
        self.patch(json!({}))
    }

    /// The merge that takes `keys` from this Node, whoever set them.
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
