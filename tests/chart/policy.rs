//! The rendered admission policies with hand-written requests: the rights of the agent's and the clean-up's tokens.
//! Tier `cluster` shows that a real API server accepts the same policies and refuses the same requests.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use cel::{Context, Program};
use serde_json::{Value, json};

use crate::render::{Rendering, chart, of_kind, text_at, the};

const NODE: &str = "authentication.kubernetes.io/node-name";
const AGENT: &str = "system:serviceaccount:castoff:castoff";
const CLEANUP: &str = "system:serviceaccount:castoff:castoff-cleanup";

/// The policy's answer: not matched, allowed, or refused with the first message.
#[derive(Debug, PartialEq)]
enum Answer {
    NoneOfItsBusiness,
    Allowed,
    Denied(String),
}

/// Returns an entry of `managedFields` with this below `f:metadata`.
#[expect(clippy::needless_pass_by_value, reason = "every caller makes it for this call")]
fn entry(manager: &str, operation: &str, metadata: Value) -> Value {
    json!({
        "manager": manager, "operation": operation, "apiVersion": "v1", "time": "2026-11-28T09:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": metadata },
    })
}

/// Returns castoff's own entry, with these labels and the annotation.
fn applied(labels: &[&str]) -> Value {
    let labels: serde_json::Map<String, Value> = labels
        .iter()
        .map(|label| (format!("f:castoff.dev/{label}"), json!({})))
        .collect();
    let mut applied = entry(
        "castoff",
        "Apply",
        json!({ "f:labels": labels, "f:annotations": { "f:castoff.dev/summary": {} } }),
    );
    applied["time"] = json!("2026-11-28T10:00:00Z");
    applied
}

/// Returns the entry of an administrator who has set a taint, an own label and one of castoff's.
fn admins_entry() -> Value {
    let labels = json!({ "f:example.com/rack": {}, "f:castoff.dev/docker-dependency": {} });
    let mut admins = entry("kubectl-edit", "Update", json!({ "f:labels": labels }));
    admins["fieldsV1"]["f:spec"] = json!({ "f:taints": {} });
    admins
}

/// A request to change a Node.
#[derive(Clone)]
struct Change {
    request: Value,
    before: Value,
    after: Value,
}

impl Change {
    /// Returns the usual request of the agent on `worker-1`.
    fn usual() -> Self {
        let before = json!({
            "metadata": {
                "name": "worker-1",
                "labels": { "kubernetes.io/os": "linux", "castoff.dev/docker-dependency": "in-use" },
                "annotations": { "node.alpha.kubernetes.io/ttl": "0" },
                "managedFields": [
                    entry("castoff", "Apply", json!({ "f:labels": { "f:castoff.dev/docker-dependency": {} } })),
                    entry("kubelet", "Update", json!({ "f:labels": { ".": {}, "f:kubernetes.io/os": {} } })),
                    admins_entry(),
                ],
            },
            "spec": { "taints": [{ "key": "dedicated", "effect": "NoSchedule" }] },
        });
        let mut after = before.clone();
        after["metadata"]["labels"]["castoff.dev/docker-dependency"] = json!("clear");
        after["metadata"]["labels"]["castoff.dev/container-runtime"] = json!("containerd");
        after["metadata"]["annotations"]["castoff.dev/summary"] = json!("{}");
        after["metadata"]["managedFields"][0] = applied(&["docker-dependency", "container-runtime"]);
        let request = json!({
            "operation": "UPDATE",
            "name": "worker-1",
            "userInfo": { "username": AGENT, "extra": { NODE: ["worker-1"] } },
        });
        Self { request, before, after }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the policy's answer to it.
    fn judged(&self, policy: &Value) -> Result<Answer> {
        let mut context = Context::default();
        let documents = [
            ("request", &self.request),
            ("object", &self.after),
            ("oldObject", &self.before),
        ];
        for (name, document) in documents {
            context
                .add_variable(name, document)
                .map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        }
        for condition in policy
            .pointer("/spec/matchConditions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if !truth(&condition["expression"], &context)? {
                return Ok(Answer::NoneOfItsBusiness);
            }
        }
        let variables = policy
            .pointer("/spec/variables")
            .and_then(Value::as_array)
            .context("variables")?;
        let mut values = HashMap::new();
        for variable in variables {
            // A missing object fails the variable, and so every expression that uses it.
            if let Ok(value) = evaluated(&variable["expression"], &context) {
                values.insert(text_at(variable, "/name").to_owned(), value);
            }
        }
        context.add_variable_from_value("variables", values);
        for validation in policy
            .pointer("/spec/validations")
            .and_then(Value::as_array)
            .context("validations")?
        {
            // If the policy fails, it denies the request.
            if !truth(&validation["expression"], &context).unwrap_or(false) {
                return Ok(Answer::Denied(text_at(validation, "/message").to_owned()));
            }
        }
        Ok(Answer::Allowed)
    }
}

fn evaluated(expression: &Value, context: &Context<'_, '_>) -> Result<cel::Value> {
    let text = expression.as_str().context("an expression is a text")?;
    let program = Program::compile(text).map_err(|error| anyhow::anyhow!("{text}: {error}"))?;
    program
        .execute(context)
        .map_err(|error| anyhow::anyhow!("{text}: {error}"))
}

fn truth(expression: &Value, context: &Context<'_, '_>) -> Result<bool> {
    match evaluated(expression, context)? {
        cel::Value::Bool(truth) => Ok(truth),
        other => bail!("{expression} is {other:?}"),
    }
}

fn policy(rendering: &Rendering) -> Result<Value> {
    Ok(the(&rendering.objects()?, "ValidatingAdmissionPolicy", "castoff")?.clone())
}

fn cleanup_policy() -> Result<Value> {
    Ok(the(
        &Rendering::new().objects()?,
        "ValidatingAdmissionPolicy",
        "castoff-cleanup",
    )?
    .clone())
}

#[test]
fn an_agents_usual_requests_are_allowed() -> Result<()> {
    let policy = policy(&Rendering::new())?;
    let usual = Change::usual;
    let allowed = [
        ("changes, adds and annotates its own keys", usual()),
        ("changes nothing", usual().with(|c| c.after = c.before.clone())),
        (
            "takes its labels away",
            usual().with(|c| {
                c.after = c.before.clone();
                c.after["metadata"]["labels"] = json!({ "kubernetes.io/os": "linux" });
            }),
        ),
        (
            "labels a Node that has no label and no manager yet",
            usual().with(|c| {
                let before = entry("before-first-apply", "Update", json!({ "f:annotations": {} }));
                c.before["metadata"] = json!({ "name": "worker-1" });
                c.after["metadata"] = json!({
                    "name": "worker-1",
                    "labels": { "castoff.dev/cri-api": "v1" },
                    "managedFields": [applied(&["cri-api"]), before],
                });
            }),
        ),
        (
            "labels a Node without a spec",
            usual().with(|c| {
                c.before["spec"] = json!({});
                c.after["spec"] = json!({});
            }),
        ),
        (
            "repairs a label that somebody else has set",
            usual().with(|c| {
                c.after["metadata"]["managedFields"][2]["fieldsV1"]["f:metadata"]["f:labels"] =
                    json!({ "f:example.com/rack": {} });
            }),
        ),
        (
            "repairs a label that is all that somebody else has set",
            usual().with(|c| {
                let only = json!({ "f:labels": { "f:castoff.dev/docker-dependency": {} } });
                c.before["metadata"]["managedFields"][2] = entry("kubectl-label", "Update", only);
                c.after["metadata"]["managedFields"].as_array_mut().map(Vec::pop);
            }),
        ),
        (
            "changes a Node whose entries have no manager's name",
            usual().with(|c| {
                for node in [&mut c.before, &mut c.after] {
                    node["metadata"]["managedFields"][1]
                        .as_object_mut()
                        .map(|entry| entry.remove("manager"));
                }
            }),
        ),
    ];
    for (what, change) in allowed {
        assert_eq!(change.judged(&policy)?, Answer::Allowed, "{what}");
    }
    let others = usual().with(|c| c.request["userInfo"]["username"] = json!("system:node:worker-1"));
    assert_eq!(others.judged(&policy)?, Answer::NoneOfItsBusiness);
    Ok(())
}

/// Returns requests that exceed the rights, with a word of the refusal.
fn excessive_requests() -> Vec<(&'static str, Change)> {
    let usual = Change::usual;
    vec![
        ("runs on", usual().with(|c| c.request["name"] = json!("worker-2"))),
        (
            "names no node",
            usual().with(|c| c.request["userInfo"]["extra"] = json!({})),
        ),
        (
            "names no node",
            usual().with(|c| c.request["userInfo"] = json!({ "username": AGENT })),
        ),
        (
            "names no node",
            usual().with(|c| c.request["userInfo"]["extra"] = json!({ "scopes": ["all"] })),
        ),
        (
            "runs on",
            usual().with(|c| c.request["userInfo"]["extra"][NODE] = json!(["worker-1", "worker-2"])),
        ),
        ("taints", usual().with(|c| c.after["spec"]["taints"] = json!([]))),
        (
            "taints",
            usual().with(|c| c.after["spec"]["unschedulable"] = json!(true)),
        ),
        (
            "taints",
            usual().with(|c| drop(c.after.as_object_mut().and_then(|node| node.remove("spec")))),
        ),
        (
            "only change labels",
            usual().with(|c| c.after["metadata"]["labels"]["kubernetes.io/os"] = json!("windows")),
        ),
        (
            "only change labels",
            usual().with(|c| c.after["metadata"]["labels"]["example.com/pool"] = json!("gpu")),
        ),
        (
            "only change labels",
            usual().with(|c| c.after["metadata"]["labels"]["castoff.dev.evil.example/x"] = json!("1")),
        ),
        (
            "only change labels",
            usual().with(|c| c.after["metadata"]["labels"]["castoff.device/x"] = json!("1")),
        ),
        (
            "only change labels",
            usual().with(|c| c.after["metadata"]["labels"] = json!({ "castoff.dev/cri-api": "v1" })),
        ),
        (
            "only change labels",
            usual().with(|c| drop(c.after["metadata"].as_object_mut().and_then(|m| m.remove("labels")))),
        ),
        (
            "only change annotations",
            usual().with(|c| c.after["metadata"]["annotations"]["x"] = json!("1")),
        ),
        (
            "only change annotations",
            usual().with(|c| c.after["metadata"]["annotations"] = json!({})),
        ),
        (
            "finalizers",
            usual().with(|c| c.after["metadata"]["finalizers"] = json!(["example.com/stay"])),
        ),
        (
            "owner references",
            usual().with(|c| c.after["metadata"]["ownerReferences"] = json!([{ "uid": "1" }])),
        ),
        (
            "may only update Nodes",
            usual().with(|c| c.request["subResource"] = json!("status")),
        ),
        (
            "may only update Nodes",
            usual().with(|c| {
                c.request["operation"] = json!("CREATE");
                c.before = Value::Null;
            }),
        ),
        (
            "create or delete",
            usual().with(|c| {
                c.request["operation"] = json!("DELETE");
                c.after = Value::Null;
            }),
        ),
    ]
    .into_iter()
    .chain(takeovers())
    .collect()
}

/// Returns requests that take fields from other managers, or imitate one.
fn takeovers() -> Vec<(&'static str, Change)> {
    let managed = |change: fn(&mut Value)| Change::usual().with(|c| change(&mut c.after["metadata"]["managedFields"]));
    vec![
        (
            "may not add fields",
            managed(|m| m[0]["manager"] = json!("cluster-autoscaler")),
        ),
        ("may not add fields", managed(|m| m[0]["manager"] = json!(""))),
        ("may not add fields", managed(|m| m[1]["operation"] = json!("Apply"))),
        ("may not add fields", managed(|m| m[1]["subresource"] = json!("status"))),
        (
            "may not add fields",
            managed(|m| m[1]["fieldsV1"]["f:spec"] = json!({ "f:taints": {} })),
        ),
        (
            "may not add fields",
            managed(|m| m[2]["fieldsV1"]["f:spec"]["f:unschedulable"] = json!({})),
        ),
        (
            "may not add fields",
            managed(|m| m[2]["fieldsV1"]["f:spec"] = json!({})),
        ),
        (
            "may not add fields",
            managed(|m| m[1]["fieldsV1"]["f:metadata"]["f:annotations"] = json!({ "f:castoff.dev/summary": {} })),
        ),
        (
            "may not add fields",
            managed(|m| m[1]["fieldsV1"]["f:metadata"]["f:labels"]["f:example.com/rack"] = json!({})),
        ),
        (
            "may not add fields",
            managed(|m| {
                let passed_off = entry("before-first-apply", "Update", json!({ "f:labels": {} }));
                m.as_array_mut().into_iter().for_each(|m| m.push(passed_off.clone()));
            }),
        ),
        ("may only take keys", managed(|m| *m = json!([]))),
        (
            "may only take keys",
            managed(|m| drop(m.as_array_mut().map(|m| m.remove(1)))),
        ),
        (
            "may only take keys",
            managed(|m| drop(m.as_array_mut().map(|m| m.remove(2)))),
        ),
        (
            "may not add fields",
            managed(|m| m[2]["fieldsV1"]["f:metadata"]["f:labels"] = json!({})),
        ),
        (
            "may not add fields",
            managed(|m| drop(m[2]["fieldsV1"].as_object_mut().map(|f| f.remove("f:spec")))),
        ),
        (
            "may only own",
            managed(|m| m[0]["fieldsV1"]["f:metadata"]["f:labels"]["f:kubernetes.io/os"] = json!({})),
        ),
        (
            "may only own",
            managed(|m| m[0]["fieldsV1"]["f:spec"] = json!({ "f:taints": {} })),
        ),
        (
            "may only own",
            managed(|m| m[0]["fieldsV1"]["f:metadata"]["f:finalizers"] = json!({})),
        ),
        ("may only own", managed(|m| m[0]["subresource"] = json!("status"))),
    ]
}

/// Returns a request of the clean-up on any Node, whose token is bound to another or to none.
fn cleaning(change: impl FnOnce(&mut Change)) -> Change {
    Change::usual().with(|c| {
        c.request["userInfo"] = json!({ "username": CLEANUP, "extra": { NODE: ["worker-2"] } });
        c.after = c.before.clone();
        change(c);
    })
}

#[test]
fn the_clean_up_removes_only_castoffs_keys() -> Result<()> {
    let policy = cleanup_policy()?;
    let labels = |c: &mut Change, labels: Value| c.after["metadata"]["labels"] = labels;
    let taken = cleaning(|c| {
        labels(c, json!({ "kubernetes.io/os": "linux" }));
        let managed = &mut c.after["metadata"]["managedFields"];
        managed[2]["fieldsV1"]["f:metadata"]["f:labels"] = json!({ "f:example.com/rack": {} });
        managed.as_array_mut().map(|managed| managed.remove(0));
    });
    assert_eq!(taken.judged(&policy)?, Answer::Allowed);
    assert_eq!(Change::usual().judged(&policy)?, Answer::NoneOfItsBusiness);
    let denied = [
        (
            "may only remove",
            cleaning(|c| c.after["metadata"]["labels"]["castoff.dev/docker-dependency"] = json!("clear")),
        ),
        (
            "may only remove",
            cleaning(|c| c.after["metadata"]["labels"]["castoff.dev/more"] = json!("1")),
        ),
        (
            "may only remove",
            cleaning(|c| c.after["metadata"]["annotations"]["castoff.dev/summary"] = json!("{}")),
        ),
        (
            "only change labels",
            cleaning(|c| labels(c, json!({ "castoff.dev/docker-dependency": "in-use" }))),
        ),
        (
            "only change labels",
            cleaning(|c| c.after["metadata"]["labels"]["example.com/pool"] = json!("gpu")),
        ),
        (
            "only change annotations",
            cleaning(|c| c.after["metadata"]["annotations"] = json!({})),
        ),
        ("taints", cleaning(|c| c.after["spec"]["taints"] = json!([]))),
        (
            "create or delete",
            cleaning(|c| c.request["operation"] = json!("DELETE")),
        ),
        (
            "may only take keys",
            cleaning(|c| c.after["metadata"]["managedFields"] = json!([])),
        ),
    ];
    for (named, change) in denied {
        let answer = change.judged(&policy)?;
        ensure!(
            matches!(&answer, Answer::Denied(message) if message.contains(named)),
            "{named}: {answer:?}"
        );
    }
    Ok(())
}

#[test]
fn other_requests_of_a_stolen_token_are_refused() -> Result<()> {
    let policy = policy(&Rendering::new())?;
    for (named, change) in excessive_requests() {
        let answer = change.judged(&policy)?;
        ensure!(
            matches!(&answer, Answer::Denied(message) if message.contains(named)),
            "{named}: {answer:?}"
        );
    }
    Ok(())
}

/// Keys of an earlier prefix may be removed if the chart is configured with it.
#[test]
fn a_former_prefix_is_castoffs_too() -> Result<()> {
    let moved = Change::usual().with(|c| {
        c.after["metadata"]["labels"] =
            json!({ "kubernetes.io/os": "linux", "new.example/docker-dependency": "clear" });
        c.after["metadata"]["annotations"] = c.before["metadata"]["annotations"].clone();
        let own = json!({ "f:labels": { "f:new.example/docker-dependency": {} } });
        c.after["metadata"]["managedFields"][0] = entry("castoff", "Apply", own);
    });
    let new = Rendering::new().set("labels.prefix=new.example");
    let answer = moved.judged(&policy(&new)?)?;
    ensure!(matches!(answer, Answer::Denied(_)), "{answer:?}");
    let answer = moved.judged(&policy(&new.set("labels.formerPrefixes={castoff.dev/}"))?)?;
    assert_eq!(answer, Answer::Allowed);
    Ok(())
}

/// A policy for another account than the pods' would silently have no effect.
#[test]
fn the_policy_is_about_the_account_that_the_agents_have() -> Result<()> {
    let renderings = [
        Rendering::new(),
        Rendering::new().set("fullnameOverride=watch"),
        Rendering::new().set("namespaceOverride=elsewhere"),
        Rendering::new()
            .set("serviceAccount.create=false")
            .set("serviceAccount.name=theirs"),
        Rendering::new().values(&chart().join("ci/everything-values.yaml")),
    ];
    for rendering in renderings {
        let objects = rendering.objects()?;
        let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
        let bindings = of_kind(&objects, "ValidatingAdmissionPolicyBinding");
        assert_eq!((policies.len(), bindings.len()), (2, 2), "{rendering:?}");
        for (policy, binding) in policies.iter().zip(bindings) {
            assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
            assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
            assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        }
        for kind in ["DaemonSet", "Job"] {
            let pods = of_kind(&objects, kind)[0];
            let policy = the(&objects, "ValidatingAdmissionPolicy", text_at(pods, "/metadata/name"))?;
            let namespace = text_at(pods, "/metadata/namespace");
            let account = text_at(pods, "/spec/template/spec/serviceAccountName");
            let user = format!("system:serviceaccount:{namespace}:{account}");
            let change = Change::usual().with(|c| {
                c.request["userInfo"]["username"] = json!(user);
                c.after["metadata"]["labels"]["example.com/pool"] = json!("gpu");
            });
            let answer = change.judged(policy)?;
            ensure!(matches!(answer, Answer::Denied(_)), "{rendering:?}: {user}: {answer:?}");
        }
        // The agent is restricted to its own Node, whatever its name is.
        let agent = of_kind(&objects, "DaemonSet")[0];
        let policy = the(&objects, "ValidatingAdmissionPolicy", text_at(agent, "/metadata/name"))?;
        let (namespace, account) = (
            text_at(agent, "/metadata/namespace"),
            text_at(agent, "/spec/template/spec/serviceAccountName"),
        );
        let other = Change::usual().with(|c| {
            c.request["userInfo"]["username"] = json!(format!("system:serviceaccount:{namespace}:{account}"));
            c.request["name"] = json!("worker-2");
            c.after = c.before.clone();
        });
        ensure!(
            matches!(other.judged(policy)?, Answer::Denied(message) if message.contains("runs on")),
            "{rendering:?}"
        );
    }
    Ok(())
}
