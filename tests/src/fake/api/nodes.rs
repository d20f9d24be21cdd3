//! The Nodes of the fake API server, and their changes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The result of a request: an object, or a code and a message.
pub(super) type Outcome = Result<Value, (u16, String)>;

/// Nodes by their name.
#[derive(Debug, Default)]
pub struct Nodes {
    by_name: BTreeMap<String, Value>,
    made: u32,
    /// True if the account may create Nodes: then an apply creates a missing one, like on the real server.
    pub may_create: bool,
}

impl Nodes {
    /// Creates a Node, or replaces it.
    pub fn create(&mut self, name: &str) {
        self.made += 1;
        let node = json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {
                "name": name,
                "uid": format!("uid-{}", self.made),
                "labels": { "kubernetes.io/hostname": name, "castoff.dev/team": "blue" },
                "annotations": { "node.alpha.kubernetes.io/ttl": "0" },
                "managedFields": [],
            },
            "spec": {},
            "status": { "nodeInfo": {}, "images": [{ "names": ["docker.io/library/busybox"] }] },
        });
        self.by_name.insert(name.to_owned(), node);
    }

    /// Deletes a Node.
    pub fn delete(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Returns a Node's JSON, to read or to change behind castoff's back.
    ///
    /// # Panics
    /// If there is no such Node.
    pub fn node(&mut self, name: &str) -> &mut Value {
        self.by_name.get_mut(name).expect("a Node that the test made")
    }

    /// Returns a Node's labels and annotations, if it exists.
    pub fn keys_of(&mut self, name: &str) -> Option<BTreeMap<String, String>> {
        self.by_name.contains_key(name).then(|| self.keys(name))
    }

    /// Returns a Node's labels and annotations.
    pub fn keys(&mut self, name: &str) -> BTreeMap<String, String> {
        let metadata = &self.node(name)["metadata"];
        ["labels", "annotations"]
            .iter()
            .filter_map(|kind| metadata[kind].as_object())
            .flatten()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    /// Sets a label as another manager.
    pub fn set_by(&mut self, manager: &str, name: &str, key: &str, value: &str) {
        let node = self.node(name);
        node["metadata"]["labels"][key] = json!(value);
        let fields = json!({ "f:metadata": { "f:labels": { (format!("f:{key}")): {} } } });
        let entry = json!({ "manager": manager, "operation": "Update", "fieldsV1": fields });
        if let Some(managed) = node["metadata"]["managedFields"].as_array_mut() {
            managed.push(entry);
        }
    }

    pub(super) fn get(&self, name: &str) -> Outcome {
        self.by_name.get(name).cloned().ok_or_else(|| not_found(name))
    }

    /// Returns a page, according to `limit` and `continue`.
    pub(super) fn page(&self, query: &str) -> Value {
        let value = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name));
        let limit = value("limit=").and_then(|v| v.parse().ok()).unwrap_or(usize::MAX);
        let from = value("continue=").unwrap_or_default();
        let from: usize = from.parse().unwrap_or(0);
        let items: Vec<&Value> = self.by_name.values().skip(from).take(limit).collect();
        let next = if from + items.len() < self.by_name.len() {
            (from + items.len()).to_string()
        } else {
            String::new()
        };
        json!({ "kind": "PartialObjectMetadataList", "metadata": { "continue": next }, "items": items })
    }

    pub(super) fn patch(&mut self, name: &str, kind: &str, query: &str, patch: &Value) -> Outcome {
        let Some(node) = self.by_name.get_mut(name) else {
            return if self.may_create && patch["metadata"]["uid"].is_null() {
                self.create(name);
                self.patch(name, kind, query, patch)
            } else {
                Err(not_found(name))
            };
        };
        let uid = &patch["metadata"]["uid"];
        if !uid.is_null() && *uid != node["metadata"]["uid"] {
            return Err((
                409,
                format!("Operation cannot be fulfilled on nodes {name:?}: uid mismatch"),
            ));
        }
        match kind {
            "application/apply-patch+yaml" => {
                let manager = query.split('&').find_map(|part| part.strip_prefix("fieldManager="));
                apply(node, manager.unwrap_or_default(), patch);
            }
            "application/merge-patch+json" => merge(node, patch),
            _ => return Err((415, format!("{kind} is not served here"))),
        }
        Ok(node.clone())
    }
}

fn not_found(name: &str) -> (u16, String) {
    (404, format!("nodes {name:?} not found"))
}

fn apply(node: &mut Value, manager: &str, patch: &Value) {
    let is_ours = |entry: &Value| entry["manager"] == manager && entry["operation"] == "Apply";
    let mut entries: Vec<Value> = node["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let before = entries.iter().find(|entry| is_ours(entry)).cloned().unwrap_or_default();
    entries.retain(|entry| !is_ours(entry));
    let mut owned = json!({});
    for kind in ["labels", "annotations"] {
        let field = format!("f:{kind}");
        let named = patch["metadata"][kind].as_object().cloned().unwrap_or_default();
        let mine = &before["fieldsV1"]["f:metadata"][&field];
        let keys: Vec<String> = mine.as_object().map(Map::keys).into_iter().flatten().cloned().collect();
        for key in keys {
            let shared = entries
                .iter()
                .any(|e| !e["fieldsV1"]["f:metadata"][&field][&key].is_null());
            let bare = key.trim_start_matches("f:");
            if !named.contains_key(bare) && !shared {
                node["metadata"][kind].as_object_mut().map(|map| map.remove(bare));
            }
        }
        for (key, value) in &named {
            // An apply by force takes the field over from a manager that set it to another value.
            if node["metadata"][kind][key] != *value {
                for entry in &mut entries {
                    let fields = entry["fieldsV1"]["f:metadata"][&field].as_object_mut();
                    fields.map(|fields| fields.remove(&format!("f:{key}")));
                }
            }
            node["metadata"][kind][key] = value.clone();
            owned["f:metadata"][&field][format!("f:{key}")] = json!({});
        }
    }
    if owned != json!({}) {
        entries.push(json!({ "manager": manager, "operation": "Apply", "fieldsV1": owned }));
    }
    node["metadata"]["managedFields"] = json!(entries);
}

fn merge(node: &mut Value, patch: &Value) {
    for kind in ["labels", "annotations"] {
        let changes = patch["metadata"][kind].as_object().cloned().unwrap_or_default();
        for (key, value) in changes {
            match value {
                Value::Null => {
                    node["metadata"][kind].as_object_mut().map(|map| map.remove(&key));
                }
                value => node["metadata"][kind][key] = value,
            }
        }
    }
}
