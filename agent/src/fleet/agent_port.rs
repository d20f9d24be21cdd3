//! The port and the scheme of the agents, from the spec of one agent's pod or from the command line.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The port on which the agents serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPort {
    /// True if they serve over TLS.
    pub tls: bool,
    /// The port in the pod.
    pub port: u16,
}

impl Default for AgentPort {
    /// The default port of `castoff run`.
    fn default() -> Self {
        Self { tls: false, port: 9559 }
    }
}

/// A pod, as far as it shows the port on which it serves and the account that may read it.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    #[serde(default)]
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Pod {
    /// The annotation of this name.
    pub(super) fn annotation(mut self, name: &str) -> Option<String> {
        self.metadata.annotations.remove(name)
    }
}

#[derive(Debug, Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    ports: Vec<Port>,
    readiness_probe: Option<Probe>,
    liveness_probe: Option<Probe>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    container_port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
}

#[derive(Debug, Deserialize)]
struct HttpGet {
    port: Value,
    scheme: Option<String>,
}

impl AgentPort {
    /// Parses `9559` or `https:9559`.
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, port) = match text.split_once(':') {
            Some(("https", port)) => (true, port),
            Some(("http", port)) => (false, port),
            Some(_) => return None,
            None => (false, text),
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { tls, port })
    }

    /// Returns the port of the readiness or liveness probe, else the one named port.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        pod.spec.containers.iter().find_map(|container| {
            let probes = [&container.readiness_probe, &container.liveness_probe];
            let asked = probes.into_iter().flatten().find_map(|probe| probe.http_get.as_ref());
            if let Some(get) = asked {
                let port = match &get.port {
                    Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
                    Value::String(name) => container.port(|port| port == name)?,
                    _ => return None,
                };
                let tls = get.scheme.as_deref() == Some("HTTPS");
                return Some(Self { tls, port });
            }
            let named = |name: &'static str| container.port(move |port| port == name);
            let tls = named("https").map(|port| Self { tls: true, port });
            let plain = || named("http").or(named("metrics"));
            tls.or_else(|| plain().map(|port| Self { tls: false, port }))
        })
    }
}

impl Container {
    fn port(&self, is_it: impl Fn(&str) -> bool) -> Option<u16> {
        let mut ports = self.ports.iter();
        let found = ports.find(|port| port.name.as_deref().is_some_and(&is_it));
        found.map(|port| port.container_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_port_is_read_from_the_pods_spec() {
        let cases = [
            (
                json!({ "readinessProbe": { "httpGet": { "port": 8443, "scheme": "HTTPS" } } }),
                Some((true, 8443)),
            ),
            (
                json!({ "ports": [{ "name": "web", "containerPort": 9000 }], "livenessProbe": { "httpGet": { "port": "web" } } }),
                Some((false, 9000)),
            ),
            (
                json!({ "ports": [{ "name": "https", "containerPort": 1 }] }),
                Some((true, 1)),
            ),
            (
                json!({ "ports": [{ "name": "metrics", "containerPort": 2 }] }),
                Some((false, 2)),
            ),
            (json!({ "readinessProbe": { "httpGet": { "port": "nowhere" } } }), None),
            (json!({ "readinessProbe": { "exec": {} } }), None),
            (json!({}), None),
        ];
        for (container, agent_port) in cases {
            let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [container] } })).expect("a pod");
            assert_eq!(
                AgentPort::of(&pod),
                agent_port.map(|(tls, port)| AgentPort { tls, port }),
                "{container}"
            );
        }
    }

    #[test]
    fn an_invalid_port_is_refused() {
        assert_eq!(
            AgentPort::parse("https:9559"),
            Some(AgentPort { tls: true, port: 9559 })
        );
        assert_eq!(AgentPort::parse("80"), Some(AgentPort { tls: false, port: 80 }));
        for wrong in ["", "0", "65536", "ftp:1", "https:", "-1", "http:1:2"] {
            assert_eq!(AgentPort::parse(wrong), None, "{wrong}");
        }
    }
}
