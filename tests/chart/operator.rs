//! The objects for the Prometheus operator: checked against its own definitions, and against the needs of the alerts
//! and metrics.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::prometheus::Tools;
use castoff_tests::lab::{packages, rooms};
use serde_json::{Value, json};

use crate::render::{Rendering, chart, objects, of_kind, read, text_at};

/// The operator's definitions as programs that validate an object.
const MODELS: &str = "@kubernetes-models/prometheus-operator";
const MODELS_VERSION: &str = "6.0.0";

/// Reads objects from standard input and prints the errors of each.
const CHECK: &str = r#"
import { readFileSync } from "node:fs";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
const models = { PodMonitor, PrometheusRule, ServiceMonitor };
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  try { new models[object.kind](object).validate(); }
  catch (error) { console.log(object.kind + ": " + error.message); }
}
"#;

/// Returns the errors of objects for the operator.
fn wrong(objects: &[&Value]) -> Result<String> {
    let folder = rooms::tool(&format!("prometheus-operator-models-{MODELS_VERSION}"), |folder| {
        packages::run(
            Command::new("npm")
                .current_dir(folder)
                .args(["install", "--silent", "--no-save", "--ignore-scripts"])
                .arg(format!("{MODELS}@{MODELS_VERSION}")),
        )
    })?;
    let mut node = Command::new("node")
        .args(["--input-type=module", "--eval", CHECK])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start node")?;
    let mut input = node.stdin.take().context("node reads")?;
    input.write_all(serde_json::to_string(objects)?.as_bytes())?;
    drop(input);
    let output = node.wait_with_output()?;
    ensure!(output.status.success(), "node: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Enables everything, with a `PodMonitor` or with a `ServiceMonitor`.
fn everything() -> Rendering {
    Rendering::new().values(&chart().join("ci/everything-values.yaml"))
}

/// Renders the `ServiceMonitor` with the settings of the other.
fn with_a_service_monitor() -> Result<Rendering> {
    let everything = everything()
        .set("podMonitor.enabled=false")
        .set("serviceMonitor.enabled=true");
    let documents = objects(&read("charts/castoff/ci/everything-values.yaml")?)?;
    let settings = documents[0]["podMonitor"].as_object().context("podMonitor")?;
    let settings = settings.iter().filter(|(key, _)| *key != "enabled");
    Ok(settings.fold(everything, |rendering, (key, value)| {
        rendering.flag(&format!("--set-json=serviceMonitor.{key}={value}"))
    }))
}

#[test]
fn the_operator_accepts_its_objects() -> Result<()> {
    let mut made = everything().objects()?;
    made.extend(with_a_service_monitor()?.objects()?);
    let mut of_operator: Vec<Value> = Vec::new();
    for kind in ["PodMonitor", "ServiceMonitor", "PrometheusRule"] {
        let found = of_kind(&made, kind);
        ensure!(!found.is_empty(), "no {kind}");
        of_operator.extend(found.into_iter().cloned());
    }
    let said = wrong(&of_operator.iter().collect::<Vec<_>>())?;
    ensure!(said.is_empty(), "{said}");
    let mut bad = of_operator[0].clone();
    bad["spec"]["selector"] = json!("all");
    let said = wrong(&[&bad])?;
    ensure!(said.contains("PodMonitor"), "the definitions are awake: {said}");
    Ok(())
}

/// The client's names must be kept, and if there are none, the agent's must not replace them.
#[test]
fn a_scrape_keeps_the_clients_names() -> Result<()> {
    let made = everything().objects()?;
    let pod_monitor = of_kind(&made, "PodMonitor")[0];
    let endpoint = &pod_monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["honorLabels"], true);
    // Its own relabelings, in Prometheus's own notation, in a real Prometheus.
    let spelt = |rule: &Value| {
        let text = rule.to_string();
        let text = text.replace("\"sourceLabels\"", "\"source_labels\"");
        text.replace("\"targetLabel\"", "\"target_label\"")
    };
    let rules = endpoint["relabelings"].as_array().context("relabelings")?;
    let spelt: Vec<String> = rules.iter().map(spelt).collect();
    let config = format!(
        r#"{{"scrape_configs": [{{"job_name": "castoff", "relabel_configs": [{}]}}]}}"#,
        spelt.join(", ")
    );
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config)?;
    packages::run(Tools::debian()?.promtool().args(["check", "config"]).arg(&file))?;
    let dropped: Vec<&str> = rules
        .iter()
        .filter(|rule| rule["action"] == "labeldrop")
        .map(|rule| text_at(rule, "/regex"))
        .collect();
    assert_eq!(dropped, ["namespace|pod|container"]);
    let made = with_a_service_monitor()?.objects()?;
    let service_monitor = of_kind(&made, "ServiceMonitor")[0];
    assert_eq!(&service_monitor["spec"]["endpoints"][0], endpoint);
    Ok(())
}

/// The operator looks for the token in the namespace of the monitor, and Kubernetes makes one for an account of that namespace only.
#[test]
fn prometheus_gets_a_token_that_may_read() -> Result<()> {
    for (monitor, endpoints) in [("podMonitor", "podMetricsEndpoints"), ("serviceMonitor", "endpoints")] {
        for (namespace, accounts) in [("", &["castoff"][..]), ("prometheus", &["castoff", "prometheus"])] {
            let made = Rendering::new()
                .set(&format!("{monitor}.enabled=true,{monitor}.namespace={namespace}"))
                .objects()?;
            let kind = monitor.replacen(&monitor[..1], &monitor[..1].to_uppercase(), 1);
            let monitors = of_kind(&made, &kind);
            let authorization = &monitors[0]["spec"][endpoints][0]["authorization"];
            let credentials = json!({ "credentials": { "name": "castoff-reader", "key": "token" } });
            assert_eq!(authorization, &credentials);
            let secret = of_kind(&made, "Secret")[0];
            assert_eq!(secret["type"], "kubernetes.io/service-account-token");
            let annotations = &secret["metadata"]["annotations"];
            assert_eq!(annotations["kubernetes.io/service-account.name"], "castoff-reader");
            for at in ["/metadata/name", "/metadata/namespace"] {
                let wanted = [text_at(authorization, "/credentials/name"), text_at(monitors[0], at)];
                assert_eq!(text_at(secret, at), wanted[usize::from(at.ends_with("namespace"))]);
            }
            let found = of_kind(&made, "ServiceAccount").into_iter().map(|account| {
                (
                    text_at(account, "/metadata/name"),
                    text_at(account, "/metadata/namespace"),
                )
            });
            let found: Vec<&str> = found
                .filter(|(name, _)| *name == "castoff-reader")
                .map(|(_, of)| of)
                .collect();
            assert_eq!(found, accounts);
            let bindings = of_kind(&made, "ClusterRoleBinding");
            let bound = bindings
                .iter()
                .find(|binding| binding["metadata"]["name"] == "castoff-reader");
            let subjects = bound.context("no binding")?["subjects"]
                .as_array()
                .context("subjects")?;
            let bound: Vec<&str> = subjects.iter().map(|subject| text_at(subject, "/namespace")).collect();
            assert_eq!(bound, accounts);
        }
    }
    let made = Rendering::new()
        .set("podMonitor.enabled=true,http.auth=none")
        .objects()?;
    ensure!(
        of_kind(&made, "Secret").is_empty() && !of_kind(&made, "PodMonitor")[0].to_string().contains("authorization")
    );
    Ok(())
}

/// The objects that a monitor selects exist, and belong to the chart.
#[test]
fn monitors_find_the_agents() -> Result<()> {
    let made = with_a_service_monitor()?.objects()?;
    let labels = |object: &Value, wanted: &Value| {
        let wanted = wanted
            .as_object()
            .map(|wanted| wanted.iter().collect::<Vec<_>>())
            .unwrap_or_default();
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| object["metadata"]["labels"][key.as_str()] == **value)
    };
    let pods = &of_kind(&made, "DaemonSet")[0]["spec"]["template"];
    let service = of_kind(&made, "Service")[0];
    ensure!(
        labels(pods, &service["spec"]["selector"]),
        "the Service selects the agents"
    );
    let monitor = of_kind(&made, "ServiceMonitor")[0];
    ensure!(
        labels(service, &monitor["spec"]["selector"]["matchLabels"]),
        "the ServiceMonitor selects the Service"
    );
    let made = everything().objects()?;
    let monitor = of_kind(&made, "PodMonitor")[0];
    let selector = &monitor["spec"]["selector"]["matchLabels"];
    ensure!(
        labels(&of_kind(&made, "DaemonSet")[0]["spec"]["template"], selector),
        "the PodMonitor selects the agents"
    );
    ensure!(
        !labels(&of_kind(&made, "Job")[0]["spec"]["template"], selector),
        "and not the Job"
    );
    for monitor in of_kind(&made, "PodMonitor") {
        assert_eq!(
            monitor["spec"]["namespaceSelector"]["matchNames"],
            json!(["monitoring"])
        );
        assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], "http");
    }
    Ok(())
}

#[test]
fn the_rule_is_the_file_except_for_the_values() -> Result<()> {
    let file = &objects(&read("deploy/alerts/castoff.rules.yaml")?)?[0];
    let plain = Rendering::new().set("alerts.enabled=true").objects()?;
    assert_eq!(of_kind(&plain, "PrometheusRule")[0]["spec"]["groups"], file["groups"]);

    let made = everything().objects()?;
    let rule = of_kind(&made, "PrometheusRule")[0];
    let alerts = |groups: &Value| -> Vec<(String, Value)> {
        let groups = groups.as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules
            .map(|rule| (text_at(rule, "/alert").to_owned(), rule["labels"].clone()))
            .collect()
    };
    let wanted: Vec<(String, Value)> = alerts(&file["groups"])
        .into_iter()
        .filter(|(alert, _)| alert != "CastoffSocketExposure")
        .map(|(alert, mut labels)| {
            labels["team"] = json!("platform");
            (alert, labels)
        })
        .collect();
    assert_eq!(alerts(&rule["spec"]["groups"]), wanted);
    // The real promtool reads helm's output.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, rule["spec"].to_string())?;
    packages::run(
        Tools::debian()?
            .promtool()
            .args(["check", "rules", "--lint=all", "--lint-fatal"])
            .arg(&file),
    )
}

#[test]
fn dashboards_are_the_files() -> Result<()> {
    let made = everything().objects()?;
    let maps = of_kind(&made, "ConfigMap");
    assert_eq!(maps.len(), 2);
    for map in maps {
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let data = map["data"].as_object().context("data")?;
        for (name, text) in data {
            let file = read(&format!("deploy/dashboards/{}", name.trim_start_matches("castoff-")))?;
            let text: Value = serde_json::from_str(text.as_str().unwrap_or_default())?;
            assert_eq!(text, serde_json::from_str::<Value>(&file)?, "{name}");
        }
    }
    Ok(())
}

#[test]
fn links_to_runbooks_lead_to_a_mirror_if_one_is_set() -> Result<()> {
    let made = everything().set("runbooks=https://wiki.example/castoff").objects()?;
    let rules = of_kind(&made, "PrometheusRule");
    let dashboards: Vec<&Value> = of_kind(&made, "ConfigMap");
    ensure!(
        rules.len() == 1 && dashboards.len() == 2,
        "{} {}",
        rules.len(),
        dashboards.len()
    );
    for object in [rules, dashboards].concat() {
        let text = object.to_string();
        ensure!(!text.contains("deploy/runbooks"), "{}", object["metadata"]["name"]);
        ensure!(
            text.contains("https://wiki.example/castoff"),
            "{}",
            object["metadata"]["name"]
        );
    }
    let refused = everything().set("runbooks=wiki/castoff").refusal()?;
    ensure!(refused.contains("runbooks"), "{refused}");
    Ok(())
}
