//! The Events of the fake API server, validated like on the real one (kubernetes, `pkg/apis/core/validation/events.go`,
//! of `events.k8s.io/v1`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::nodes::Outcome;

/// Events by namespace and name.
#[derive(Debug, Default)]
pub struct Events {
    by_name: BTreeMap<(String, String), Value>,
    /// Namespaces that do not exist.
    pub gone: BTreeSet<String>,
    /// Namespaces that are being deleted: the real server answers with 403.
    pub terminating: BTreeSet<String>,
    /// Namespaces in which the account may not create any.
    pub forbidden: BTreeSet<String>,
}

impl Events {
    /// Returns all of them.
    pub fn all(&self) -> Vec<&Value> {
        self.by_name.values().collect()
    }

    pub(super) fn create(&mut self, namespace: &str, event: &Value) -> Outcome {
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        if self.forbidden.contains(namespace) {
            let who = "User \"system:serviceaccount:castoff:castoff\" cannot create resource \"events\"";
            let what = format!("events.events.k8s.io is forbidden: {who} in API group \"events.k8s.io\"");
            return Err((403, format!("{what} in the namespace {namespace:?}")));
        }
        if self.gone.contains(namespace) {
            return Err((404, format!("namespaces {namespace:?} not found")));
        }
        if self.terminating.contains(namespace) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            return Err((403, format!("events.events.k8s.io {name:?} is forbidden: {why}")));
        }
        validate(namespace, event).map_err(|why| (422, format!("Event {name:?} is invalid: {why}")))?;
        let key = (namespace.to_owned(), name.to_owned());
        if self.by_name.contains_key(&key) {
            return Err((409, format!("events.events.k8s.io {name:?} already exists")));
        }
        self.by_name.insert(key, event.clone());
        Ok(event.clone())
    }
}

fn validate(namespace: &str, event: &Value) -> Result<(), String> {
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if (text("/apiVersion"), text("/kind")) != ("events.k8s.io/v1", "Event") {
        return Err("another kind".to_owned());
    }
    for at in ["/metadata/namespace", "/regarding/namespace"] {
        if text(at) != namespace {
            return Err(format!("{at}: Invalid value: does not match event.namespace"));
        }
    }
    for at in ["/reportingController", "/reportingInstance", "/reason", "/action"] {
        if !(1..=128).contains(&text(at).len()) {
            return Err(format!("{at}: Required, and can have at most 128 characters"));
        }
    }
    let time = text("/eventTime").as_bytes();
    if time.len() != "2006-01-02T15:04:05.000000Z".len() || time.get(19) != Some(&b'.') {
        return Err("eventTime: Required".to_owned());
    }
    if !["Normal", "Warning"].contains(&text("/type")) {
        return Err("type: Invalid value".to_owned());
    }
    if text("/note").len() > 1024 {
        return Err("note: can have at most 1024 characters".to_owned());
    }
    Ok(())
}
