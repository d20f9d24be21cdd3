//! Values that are misspelt, of the wrong type, out of bounds or contradictory are refused with a message that names
//! them.

use anyhow::{Result, ensure};
use castoff::sinks::publishing::labels::prefix::Prefix;
use castoff_tests::lab::helm::Helm;

use crate::render::{OLDEST, Rendering};
use crate::values::every_path;

/// The values, and the parts of the message. Paths are `a.b` in helm 3's messages and `/a/b` in helm 4's.
const REFUSED: &[(&[&str], &[&str])] = &[
    // misspelt
    (&["perid=15s"], &["perid"]),
    (&["podMonitor.enbled=true"], &["podMonitor", "enbled"]),
    (&["resources.limit.cpu=1"], &["resources", "limit"]),
    (&["tolerations[0].efect=NoSchedule"], &["tolerations", "efect"]),
    (
        &["updateStrategy.rollingUpdate.maxUnavailible=1"],
        &["updateStrategy.rollingUpdate", "maxUnavailible"],
    ),
    // of the wrong type
    (&["image.tag=1"], &["image.tag"]),
    (&["http.port=http"], &["http.port"]),
    (&["podMonitor.enabled=yes"], &["podMonitor.enabled"]),
    (&["tolerations=all"], &["tolerations"]),
    (&["extraArgs=--log=debug"], &["extraArgs"]),
    (&["graceSeconds=10s"], &["graceSeconds"]),
    (&["nodeSelector.gpu=true"], &["nodeSelector.gpu"]),
    (&["commonLabels.cost=7"], &["commonLabels.cost"]),
    // out of bounds, or nonexistent
    (&["labels.publish=none"], &["labels.publish"]),
    (&["labels.prefix=Castoff.Dev"], &["labels.prefix"]),
    (&["admissionPolicy.enabled=maybe"], &["admissionPolicy.enabled"]),
    (&["state.keep=disk"], &["state.keep"]),
    (&["state.directory=var/lib"], &["state.directory"]),
    (&["http.port=70000"], &["http.port"]),
    (&["http.address=localhost"], &["http.address"]),
    (&["period=soon"], &["period"]),
    (&["period=0s"], &["period"]),
    (&["readyFor={kubelet=soon}"], &["readyFor"]),
    (&["readyFor={kubelet=1}"], &["readyFor"]),
    (&["window=7"], &["window"]),
    (&["image.digest=sha256:12"], &["image.digest"]),
    (&["image.pullPolicy=Sometimes"], &["image.pullPolicy"]),
    (&["security.capabilities={NET_ADMIN}"], &["security.capabilities"]),
    (&["runtime.endpoint=tcp://1.2.3.4:5"], &["runtime.endpoint"]),
    (&["priorityClass.value=2000000000"], &["priorityClass.value"]),
    (&["resources.limits.memory=lots"], &["resources.limits.memory"]),
    (&["fullnameOverride=Castoff"], &["fullnameOverride"]),
    // contradictory
    (
        &["labels.publish=nfd", "admissionPolicy.enabled=true"],
        &["admissionPolicy.enabled=true", "labels.publish=nfd"],
    ),
    (
        &["labels.publish=off", "admissionPolicy.enabled=true"],
        &["admissionPolicy.enabled=true", "labels.publish=off"],
    ),
    (
        &["podMonitor.enabled=true", "serviceMonitor.enabled=true"],
        &["podMonitor.enabled", "serviceMonitor.enabled"],
    ),
    (
        &["serviceAccount.create=false"],
        &["serviceAccount.name", "serviceAccount.create=false"],
    ),
    (
        &["serviceAccount.create=false", "serviceAccount.name=default"],
        &["serviceAccount.name", "default"],
    ),
    (
        &["labels.prefix=node.kubernetes.io/"],
        &["labels.prefix", "node.kubernetes.io/"],
    ),
    (
        &["labels.formerPrefixes={k8s.io}"],
        &["labels.formerPrefixes", "k8s.io"],
    ),
    (
        &["commonLabels.app\\.kubernetes\\.io/name=x"],
        &["commonLabels", "app.kubernetes.io/name"],
    ),
    (
        &["podLabels.app\\.kubernetes\\.io/instance=x"],
        &["podLabels", "app.kubernetes.io/instance"],
    ),
    (&["extraArgs={--listen=0.0.0.0:80}"], &["extraArgs", "--listen"]),
    (&["extraArgs={--requests=off}"], &["extraArgs", "--requests"]),
    (
        &["extraEnv[0].name=CASTOFF_RUNTIME_TIMEOUT", "extraEnv[0].value=9s"],
        &["extraEnv", "CASTOFF_RUNTIME_TIMEOUT"],
    ),
    (&["extraArgs={--state,/tmp}"], &["extraArgs"]),
    (
        &["alerts.disabled={CastoffSocketClient}"],
        &["alerts.disabled", "CastoffSocketClient"],
    ),
    (
        &["updateStrategy.rollingUpdate.maxSurge=1"],
        &["updateStrategy.rollingUpdate", "maxSurge"],
    ),
    (
        &["labels.publish=nfd", "labels.nfdDirectory=/var/lib/castoff/"],
        &["labels.nfdDirectory"],
    ),
    (
        &["labels.publish=nfd", "labels.nfdDirectory=/var/lib/castoff"],
        &["labels.nfdDirectory", "state.directory"],
    ),
    (
        &["http.readers[0].kind=User", "http.readers[0].name=x"],
        &["http.readers", "without TLS", "http.tls.secretName"],
    ),
    (
        &["podMonitor.enabled=true", "podMonitor.authorization.type=Bearer"],
        &["podMonitor.authorization", "without TLS", "http.tls.secretName"],
    ),
    (
        &["rbac.create=false", "serviceMonitor.enabled=true"],
        &["serviceMonitor.authorization", "rbac.create=false"],
    ),
    (
        &[
            "rbac.create=false",
            "http.tls.secretName=x",
            "http.readers[0].kind=User",
            "http.readers[0].name=x",
        ],
        &["http.readers", "rbac.create=false"],
    ),
    (
        &["http.auth=none", "http.readers[0].kind=User", "http.readers[0].name=x"],
        &["http.readers", "http.auth=none"],
    ),
    // all at once
    (
        &[
            "labels.prefix=k8s.io",
            "podMonitor.enabled=true",
            "serviceMonitor.enabled=true",
            "extraArgs={--log=debug}",
        ],
        &["labels.prefix", "podMonitor.enabled", "extraArgs"],
    ),
];

#[test]
fn each_wrong_value_is_refused_by_name() -> Result<()> {
    for helm in Helm::ALL {
        for (values, named) in REFUSED {
            let rendering = values.iter().fold(Rendering::new().by(helm), |r, value| r.set(value));
            let said = rendering.refusal()?;
            for name in *named {
                let by_pointer = format!("/{}", name.replace('.', "/"));
                ensure!(
                    said.contains(name) || said.contains(&by_pointer),
                    "{values:?} by {helm:?}: {said}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn features_that_an_old_kubernetes_lacks_are_named() -> Result<()> {
    let old = Rendering::new().kubernetes(OLDEST);
    old.text()?;
    for value in [
        "admissionPolicy.enabled=true",
        "labels.publish=api",
        "updateStrategy.rollingUpdate.maxSurge=1,updateStrategy.rollingUpdate.maxUnavailable=0",
    ] {
        let said = old.clone().set(value).refusal()?;
        let (name, _) = value.split_once('=').unwrap_or_default();
        ensure!(said.contains(name) && said.contains("1.20"), "{said}");
    }
    Ok(())
}

/// A value that is removed is either not needed or named in the message. Templates never fail on it.
#[test]
fn a_removed_value_is_not_needed_or_named() -> Result<()> {
    for path in every_path()? {
        let spelt: Vec<String> = path.iter().map(|key| key.replace('.', "\\.")).collect();
        let rendering = Rendering::new().set(&format!("{}=null", spelt.join(".")));
        let output = rendering.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let name = path.last().map(String::as_str).unwrap_or_default();
            ensure!(
                said.contains("missing propert") && said.contains(name),
                "{path:?}: {said}"
            );
        }
    }
    Ok(())
}

/// The chart refuses the same prefixes as the agent.
#[test]
fn chart_and_agent_agree_on_prefixes() -> Result<()> {
    let prefixes = [
        "castoff.dev",
        "castoff.dev/",
        "docker.platform-9.example/",
        "notkubernetes.io",
        "kubernetes.io",
        "node.kubernetes.io/",
        "feature.node.kubernetes.io",
        "node-restriction.kubernetes.io/",
        "castoff.node-restriction.kubernetes.io",
        "evilnode-restriction.kubernetes.io",
        "k8s.io/",
        "x.k8s.io",
        "castoff.dev//",
        "castoff..dev",
        "-castoff.dev",
        "UPPER.dev",
    ];
    for prefix in prefixes {
        let rendering = Rendering::new().set(&format!("labels.prefix={prefix}"));
        match Prefix::parse(prefix) {
            Ok(_) => drop(rendering.text()?),
            Err(_) => drop(rendering.refusal()?),
        }
    }
    Ok(())
}
