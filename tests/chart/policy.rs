//! The admission policy, as it is rendered, over requests made by hand: what an agent's token may and may not. That a real
//! API server takes the same policy, and refuses the same, is tier `cluster`'s to see.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use cel::{Context, Program};
use serde_json::{Value, json};

use crate::render::{Rendering, chart, of_kind, text_at, the};

const NODE: &str = "authentication.kubernetes.io/node-name";
const AGENT: &str = "system:serviceaccount:castoff:castoff";
const CLEANUP: &str = "system:serviceaccount:castoff:castoff-cleanup";

/// Whether the policy is about a request at all, and if so the first message of a refusal.
#[derive(Debug, PartialEq)]
enum Answer {
    NoneOfItsBusiness,
    Allowed,
    Denied(String),
}

/// One request to change a Node.
#[derive(Clone)]
struct Change {
    request: Value,
    before: Value,
    after: Value,
}

impl Change {
    /// What the agent on `worker-1` does all day.
    fn usual() -> Self {
        let before = json!({
            "metadata": {
                "name": "worker-1",
                "labels": { "kubernetes.io/os": "linux", "castoff.dev/docker-dependency": "in-use" },
                "annotations": { "node.alpha.kubernetes.io/ttl": "0" },
            },
            "spec": { "taints": [{ "key": "dedicated", "effect": "NoSchedule" }] },
        });
        let mut after = before.clone();
        after["metadata"]["labels"]["castoff.dev/docker-dependency"] = json!("clear");
        after["metadata"]["labels"]["castoff.dev/container-runtime"] = json!("containerd");
        after["metadata"]["annotations"]["castoff.dev/summary"] = json!("{}");
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

    /// What the policy says of it.
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
            // An object that is not there fails the variable, and so whatever asks for it.
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
            // The policy fails closed.
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

#[test]
fn what_an_agent_may() -> Result<()> {
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
            "labels a Node that has no label yet",
            usual().with(|c| {
                c.before["metadata"] = json!({ "name": "worker-1" });
                c.after["metadata"] = json!({ "name": "worker-1", "labels": { "castoff.dev/cri-api": "v1" } });
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
            "cleans up on any Node",
            usual().with(|c| {
                c.request["userInfo"] = json!({ "username": CLEANUP });
                c.after["metadata"]["labels"] = json!({ "kubernetes.io/os": "linux" });
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

/// What goes too far, and a word of the refusal.
fn too_far() -> Vec<(&'static str, Change)> {
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
            "only labels",
            usual().with(|c| c.after["metadata"]["labels"]["kubernetes.io/os"] = json!("windows")),
        ),
        (
            "only labels",
            usual().with(|c| c.after["metadata"]["labels"]["example.com/pool"] = json!("gpu")),
        ),
        (
            "only labels",
            usual().with(|c| c.after["metadata"]["labels"]["castoff.dev.evil.example/x"] = json!("1")),
        ),
        (
            "only labels",
            usual().with(|c| c.after["metadata"]["labels"]["castoff.device/x"] = json!("1")),
        ),
        (
            "only labels",
            usual().with(|c| c.after["metadata"]["labels"] = json!({ "castoff.dev/cri-api": "v1" })),
        ),
        (
            "only labels",
            usual().with(|c| drop(c.after["metadata"].as_object_mut().and_then(|m| m.remove("labels")))),
        ),
        (
            "only annotations",
            usual().with(|c| c.after["metadata"]["annotations"]["x"] = json!("1")),
        ),
        (
            "only annotations",
            usual().with(|c| c.after["metadata"]["annotations"] = json!({})),
        ),
        (
            "finalizers",
            usual().with(|c| c.after["metadata"]["finalizers"] = json!(["example.com/stay"])),
        ),
        (
            "owners",
            usual().with(|c| c.after["metadata"]["ownerReferences"] = json!([{ "uid": "1" }])),
        ),
        (
            "makes none",
            usual().with(|c| c.request["subResource"] = json!("status")),
        ),
        (
            "makes none",
            usual().with(|c| {
                c.request["operation"] = json!("CREATE");
                c.before = Value::Null;
            }),
        ),
        (
            "deletes none",
            usual().with(|c| {
                c.request["operation"] = json!("DELETE");
                c.after = Value::Null;
            }),
        ),
        (
            "only labels",
            usual().with(|c| {
                c.request["userInfo"] = json!({ "username": CLEANUP });
                c.after["metadata"]["labels"]["example.com/pool"] = json!("gpu");
            }),
        ),
    ]
}

#[test]
fn what_a_stolen_token_may_not() -> Result<()> {
    let policy = policy(&Rendering::new())?;
    for (named, change) in too_far() {
        let answer = change.judged(&policy)?;
        ensure!(
            matches!(&answer, Answer::Denied(message) if message.contains(named)),
            "{named}: {answer:?}"
        );
    }
    Ok(())
}

/// Keys of an earlier prefix may be taken away once the chart is told of it.
#[test]
fn a_former_prefix_is_castoffs_too() -> Result<()> {
    let moved = Change::usual().with(|c| {
        c.after["metadata"]["labels"] =
            json!({ "kubernetes.io/os": "linux", "new.example/docker-dependency": "clear" });
        c.after["metadata"]["annotations"] = c.before["metadata"]["annotations"].clone();
    });
    let new = Rendering::new().set("labels.prefix=new.example");
    let answer = moved.judged(&policy(&new)?)?;
    ensure!(matches!(answer, Answer::Denied(_)), "{answer:?}");
    let answer = moved.judged(&policy(&new.set("labels.formerPrefixes={castoff.dev/}"))?)?;
    assert_eq!(answer, Answer::Allowed);
    Ok(())
}

/// A policy that names another account than the pods have is silently none.
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
        let policy = of_kind(&objects, "ValidatingAdmissionPolicy")[0];
        let binding = of_kind(&objects, "ValidatingAdmissionPolicyBinding")[0];
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        for kind in ["DaemonSet", "Job"] {
            let pods = of_kind(&objects, kind)[0];
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
        // The agent is held to its own Node, under whatever name it goes.
        let agent = of_kind(&objects, "DaemonSet")[0];
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
