//! Containers with the image of a known agent, and the advice for builds.

use anyhow::{Context, Result};
use castoff::findings::report::{Code, Finding, Report, Verdict};
use serde_json::json;

use super::{agent, hosts};

/// Looks at the first node, whose pods `builder-0` and `shipper-x7k2p` have these images.
async fn look(builder: &str, shipper: &str) -> Result<Report> {
    let host = hosts::containerd()?;
    let runtime = host.runtime.as_ref().context("it has one")?;
    runtime.edit(|script| {
        for (container, image) in script.containers.iter_mut().zip([builder, shipper]) {
            container.image.get_or_insert_default().user_specified_image = image.into();
        }
    });
    Ok(agent(&host).look().await)
}

fn of_pod<'r>(report: &'r Report, code: Code, pod: &str) -> Result<&'r Finding> {
    let mut findings = report.findings.iter();
    let found = findings.find(|finding| finding.code == code && finding.subject.contains(pod));
    found.with_context(|| format!("{code} of {pod}: {:#?}", report.findings))
}

#[tokio::test]
async fn a_known_image_has_its_advice_and_the_verdict_of_any_other() -> Result<()> {
    let unknown = look("registry.test/build:1", "registry.test/ship:1").await?;
    let known = look("gcr.io/datadoghq/agent:7", "mirror.test:5000/hub/fluent/fluent-bit:3").await?;
    assert_eq!(known.verdict, Verdict::InUse);
    assert_eq!(
        (known.verdict, &known.verdict_reason),
        (unknown.verdict, &unknown.verdict_reason)
    );
    let judged = |report: &Report| -> Vec<_> {
        let findings = report.findings.iter();
        findings
            .map(|finding| (finding.code, finding.severity, finding.subject.clone()))
            .collect()
    };
    assert_eq!(judged(&known), judged(&unknown));
    for (code, pod, name, advice) in [
        (
            Code::SocketClient,
            "builder-0",
            "Datadog Agent",
            "Upgrade to Agent 7.27 or newer",
        ),
        (
            Code::SocketExposure,
            "shipper-x7k2p",
            "Fluent Bit",
            "Remove the inputs docker and docker_events",
        ),
    ] {
        let (general, own) = (of_pod(&unknown, code, pod)?, of_pod(&known, code, pod)?);
        assert_eq!(
            own.message,
            format!("{}; its image name matches {name}", general.message)
        );
        assert!(own.advice.starts_with(advice), "{}", own.advice);
        assert!(own.advice.ends_with(&general.advice), "{}", own.advice);
    }
    let json = serde_json::to_value(&known)?;
    let agents = |list: &str| -> Vec<_> {
        let items = json[list]["value"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .filter_map(|item| item.get("agent").cloned())
            .collect()
    };
    let datadog = json!({ "name": "Datadog Agent", "kind": "telemetry", "by": "image" });
    let fluent_bit = json!({ "name": "Fluent Bit", "kind": "logs", "by": "image" });
    assert_eq!(agents("clients"), std::slice::from_ref(&datadog));
    assert_eq!(agents("exposures"), [datadog, fluent_bit]);
    Ok(())
}

#[tokio::test]
async fn the_advice_for_builds_follows_the_settings_of_the_kernel() -> Result<()> {
    let host = hosts::mounted::docker_in_a_pod_below_the_root()?;
    let settings = host.paths().proc.join("sys/user");
    std::fs::create_dir_all(&settings)?;
    let mut agent = agent(&host);
    for (limit, expected) in [
        (None, "castoff could not read"),
        (Some("0\n"), "user.max_user_namespaces is 0 on this node"),
        (Some("63542\n"), "which this node allows"),
    ] {
        if let Some(limit) = limit {
            std::fs::write(settings.join("max_user_namespaces"), limit)?;
        }
        let report = agent.look().await;
        let finding = of_pod(&report, Code::DockerInDocker, "builder-0")?;
        assert!(finding.advice.contains(expected), "{limit:?}: {}", finding.advice);
    }
    Ok(())
}
