//! Reading a Node, comparing it, and the patch that is sent.

use super::*;
use crate::apiserver::path::is_name;
use crate::sinks::publishing::labels::prefix::Prefix;
use crate::sinks::publishing::labels::settled::Settled;
use crate::sinks::sample;

fn wanted() -> Wanted {
    let prefix = Prefix::parse("castoff.dev").expect("a prefix");
    Settled::new(prefix, 0.0)
        .take_in(&sample::report())
        .expect("nothing of the sample is unknown")
}

/// The Node after an apply of `wanted`, as the API server would send it.
fn applied(wanted: &Wanted) -> Value {
    let fields = |keys: Vec<&String>| {
        keys.into_iter()
            .map(|k| (format!("f:{k}"), json!({})))
            .collect::<serde_json::Map<_, _>>()
    };
    let mut labels = json!(wanted.labels);
    labels["kubernetes.io/arch"] = json!("amd64");
    labels["castoff.dev/team"] = json!("blue");
    json!({
        "kind": "PartialObjectMetadata",
        "metadata": {
            "name": "worker-3",
            "uid": "u-1",
            "labels": labels,
            "annotations": { "castoff.dev/summary": wanted.summary.to_string(), "other": "x" },
            "managedFields": [
                { "manager": "kubelet", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:kubernetes.io/arch": {} } } } },
                { "manager": "castoff", "operation": "Apply", "fieldsV1": { "f:metadata": {
                    "f:labels": fields(wanted.labels.keys().collect()),
                    "f:annotations": fields(vec![&wanted.annotation]),
                } } },
            ],
        },
    })
}

fn read(document: Value) -> Node {
    serde_json::from_value::<Document>(document)
        .expect("a Node")
        .node("worker-3")
        .expect("the Node that was asked for")
}

#[test]
fn a_node_with_the_wanted_labels_has_no_difference() {
    let wanted = wanted();
    let mut node = read(applied(&wanted));
    assert_eq!(node.difference(&wanted), Difference::None);
    node.keep_only(&wanted);
    assert_eq!(node.difference(&wanted), Difference::None);
    assert_eq!(node.labels, wanted.labels, "what is not castoff's is not remembered");
}

type Change = fn(&mut Value);

#[test]
fn each_kind_of_difference_is_seen() {
    let wanted = wanted();
    let cases: [(&str, Change, Difference); 7] = [
        (
            "/metadata/labels",
            |labels| labels["castoff.dev/cri-api"] = json!("v9"),
            Difference::Labels,
        ),
        ("/metadata/labels", |labels| *labels = Value::Null, Difference::Labels),
        ("/metadata/annotations", |a| *a = Value::Null, Difference::Annotation),
        (
            "/metadata/annotations",
            |a| a["castoff.dev/summary"] = json!("{}"),
            Difference::Annotation,
        ),
        // A key that an earlier castoff set: with another prefix, or for a label that no longer exists.
        (
            "/metadata/managedFields/1/fieldsV1/f:metadata/f:labels",
            |fields| fields["f:old.example/docker-dependency"] = json!({}),
            Difference::Labels,
        ),
        (
            "/metadata/labels",
            |labels| labels["castoff.dev/team"] = json!("red"),
            Difference::None,
        ),
        (
            "/metadata/managedFields",
            |fields| *fields = Value::Null,
            Difference::None,
        ),
    ];
    for (path, change, difference) in cases {
        let mut document = applied(&wanted);
        change(document.pointer_mut(path).expect("a place in the document"));
        assert_eq!(read(document.clone()).difference(&wanted), difference, "{document}");
    }
}

#[test]
fn another_object_is_refused() {
    for (kind, name) in [("Node", "worker-4"), ("Status", "worker-3"), ("Pod", "worker-3")] {
        let document = json!({ "kind": kind, "metadata": { "name": name } });
        let document: Document = serde_json::from_value(document).expect("a document");
        let refusal = document.node("worker-3").expect_err("not the Node that was asked for");
        assert_eq!(refusal.outcome, Outcome::BadAnswer);
    }
}

#[test]
fn a_patch_names_its_node_and_only_castoffs_fields() {
    let wanted = wanted();
    let node = read(applied(&wanted));
    let patch: Value = serde_json::from_str(&node.apply(&wanted)).expect("JSON");
    assert_eq!(patch["metadata"]["uid"], "u-1");
    assert_eq!(patch["metadata"]["labels"], json!(wanted.labels));
    let annotations = patch["metadata"]["annotations"].as_object().expect("a map");
    assert_eq!(annotations.keys().collect::<Vec<_>>(), [&wanted.annotation]);
    let release: Value = serde_json::from_str(&node.release()).expect("JSON");
    assert_eq!(release["metadata"], json!({ "name": "worker-3", "uid": "u-1" }));
    assert_eq!(
        patch.as_object().map(serde_json::Map::len),
        Some(3),
        "neither spec nor status"
    );
}

#[test]
fn a_kubelets_machine_is_read_from_the_whole_node() {
    let document = json!({
        "kind": "Node",
        "metadata": { "name": "worker-3" },
        "status": { "nodeInfo": { "bootID": "b", "machineID": "", "kernelVersion": "6.1" }, "images": [{}, {}] },
    });
    let machine = read(document).machine;
    assert_eq!((machine.boot_id.as_deref(), machine.machine_id), (Some("b"), None));
}

#[test]
fn names_that_are_not_valid_for_nodes_are_refused() {
    for name in ["worker-3", "ip-10-0-0-1.eu.internal", "a", "9"] {
        assert!(is_name(name), "{name}");
    }
    let long = "a".repeat(254);
    for name in [
        "",
        "../secrets",
        "a/b",
        "a?x",
        "A",
        "-a",
        "a-",
        "a..b",
        ".",
        "a b",
        "é",
        "a%2f",
        &long,
    ] {
        assert!(!is_name(name), "{name}");
    }
}
