//! Compares castoff's subset with the interface: `cri-v1.json` (cri-api v0.36.3) and `cri-v1alpha2.json` (v0.25.0) list
//! all fields of each message in the subset, and every call.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{FieldDescriptorProto, FileDescriptorProto};
use serde_json::Value;

/// Fields that the older version lacks. A runtime with only that version leaves them empty.
const ONLY_V1: &[(&str, &str)] = &[
    ("ImageSpec", "user_specified_image"),
    ("RuntimeConfigResponse", "linux"),
    ("LinuxRuntimeConfiguration", "cgroup_driver"),
];

fn facts(version: &str) -> Value {
    let path = format!("{}/tests/cri-{version}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn declared() -> BTreeMap<String, FileDescriptorProto> {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["v1.proto", "v1alpha2.proto"], [proto]).expect("the definitions compile");
    files.file.into_iter().map(|f| (f.package().to_owned(), f)).collect()
}

/// Returns a field in the format of the facts: `{"name", "number", "repeated", "type"}`.
fn as_fact(field: &FieldDescriptorProto) -> Value {
    let kind = match field.r#type() {
        Type::String => "string",
        Type::Bool => "bool",
        Type::Int64 => "int64",
        Type::Uint32 => "uint32",
        Type::Message | Type::Enum => field.type_name().trim_start_matches(".runtime.v1."),
        other => panic!("{}: {other:?} is not in use yet", field.name()),
    };
    serde_json::json!({
        "name": field.name(),
        "number": field.number(),
        "repeated": field.label() == Label::Repeated,
        "type": kind,
    })
}

#[test]
fn every_field_is_as_in_the_interface() {
    let v1 = &declared()["runtime.v1"];
    assert!(!v1.message_type.is_empty());
    for version in ["v1", "v1alpha2"] {
        let facts = facts(version);
        for message in &v1.message_type {
            let known = facts["messages"].get(message.name()).and_then(Value::as_array);
            for field in &message.field {
                let name = (message.name(), field.name());
                if version == "v1alpha2" && ONLY_V1.contains(&name) {
                    assert!(
                        !known.is_some_and(|k| k.iter().any(|f| f["name"] == name.1)),
                        "{name:?} is in both"
                    );
                    continue;
                }
                let fact = as_fact(field);
                assert!(
                    known.is_some_and(|k| k.contains(&fact)),
                    "{version} {name:?}: {fact} is not so"
                );
            }
        }
    }
}

#[test]
fn every_enum_is_complete() {
    for declared in &declared()["runtime.v1"].enum_type {
        let values = declared.value.iter().map(|v| (v.name().to_owned(), v.number().into()));
        let fact = &facts("v1")["enums"][declared.name()];
        assert_eq!(&Value::Object(values.collect()), fact, "{}", declared.name());
    }
}

#[test]
fn every_call_is_as_in_the_interface_and_has_the_same_messages_in_both_versions() {
    let declared = declared();
    for (package, expected) in castoff_cri::PACKAGES.into_iter().zip([7, 5]) {
        let facts = facts(package.trim_start_matches("runtime."));
        assert_eq!(facts["package"], package);
        let service = &declared[package].service[0];
        assert_eq!(service.name(), "RuntimeService");
        assert_eq!(service.method.len(), expected);
        for method in &service.method {
            let short = |t: &str| t.trim_start_matches(".runtime.v1.").to_owned();
            let call = serde_json::json!({
                "request": short(method.input_type()),
                "response": short(method.output_type()),
                "server_streaming": method.server_streaming(),
            });
            assert_eq!(
                facts["services"]["RuntimeService"][method.name()],
                call,
                "{package} {}",
                method.name()
            );
            assert!(
                castoff_cri::METHODS.contains(&method.name()),
                "{} has no `Call`",
                method.name()
            );
        }
    }
}

#[test]
fn calls_that_take_events_from_the_kubelet_do_not_exist() {
    assert!(!castoff_cri::METHODS.contains(&"GetContainerEvents"));
}
