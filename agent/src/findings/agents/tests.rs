use super::*;

#[test]
fn the_catalogue_is_read_whole_and_has_each_kind() {
    let catalogue = read(TEXT).expect("it is read");
    assert!(catalogue.agents.len() >= 35, "{}", catalogue.agents.len());
    for &kind in AgentKind::ALL {
        assert!(catalogue.agents.iter().any(|agent| agent.kind == kind), "{kind}");
    }
    for agent in &catalogue.agents {
        assert!(agent.checked.is_none_or(|day| day <= catalogue.as_of), "{}", agent.name);
        let texts = std::iter::once(agent.advice).chain(agent.by_operation.values().copied());
        for text in texts.chain(agent.runtime_advice) {
            assert!(text.ends_with('.') && !text.contains("  "), "{}: {text}", agent.name);
        }
        if agent.kind == AgentKind::Ai {
            assert!(agent.advice.contains("root on this node"), "{}", agent.name);
        }
    }
}

const ONE: &str = r#"{
    "name": "Agent", "kind": "logs", "images": ["maker/agent"], "executables": ["agentd"], "advice": "Set it.",
    "byOperation": { "logs": "Read files." }, "runtimeAdvice": "Move it.", "source": "https://agent.test/",
    "checked": "2026-11-29"
}"#;

const OTHER: &str = r#"{
    "name": "Other", "kind": "ci", "images": ["other/agent"], "executables": ["bin/other"], "advice": "Set it.",
    "source": "https://other.test/", "checked": "2026-11-29"
}"#;

fn of(agents: &[&str]) -> &'static str {
    format!(r#"{{ "asOf": "2026-11-29", "agents": [{}] }}"#, agents.join(",")).leak()
}

#[test]
fn a_catalogue_with_a_defect_is_refused() {
    assert!(read(of(&[ONE, OTHER])).is_ok());
    for (right, wrong) in [
        ("\"advice\"", "\"advise\""),
        ("\"byOperation\"", "\"byOperations\""),
        ("\"logs\", ", "\"shipper\", "),
        ("\"logs\":", "\"log\":"),
        ("2026-11-29", "2026-11-31"),
        ("2026-11-29", "today"),
        ("Set it.", " "),
        ("Read files.", ""),
        ("Move it.", ""),
        ("\"Agent\"", "\"\""),
        ("https://agent", "http://agent"),
        ("[\"maker/agent\"], \"executables\": [\"agentd\"]", "[]"),
        ("maker/agent", "maker//agent"),
        ("maker/agent", "maker/agent:1"),
        ("maker/agent", ""),
        ("[\"maker/agent\"]", "[\"maker/agent\", \"maker/agent\"]"),
        ("maker/agent", "other/agent"),
        ("maker/agent", "agent"),
        ("maker/agent", "maker/other/agent"),
        ("agentd", "bin/other"),
        ("agentd", "other"),
        ("\"Agent\"", "\"Other\""),
    ] {
        let edited = ONE.replacen(right, wrong, 1);
        assert_ne!(edited, ONE, "{right}");
        assert!(read(of(&[&edited, OTHER])).is_err(), "{wrong}");
    }
    let undated = of(&[ONE]).replacen("2026-11-29", "2026", 1);
    assert!(read(undated.leak()).is_err());
}

fn by_image(reference: &str) -> Option<&'static str> {
    of_image(reference).map(|known| known.name)
}

#[test]
fn an_image_is_known_in_any_registry_with_any_tag() {
    let digest = "0c2ab1c57a3e4f0e".repeat(4);
    for (reference, expected) in [
        ("gcr.io/datadoghq/agent:7", "Datadog Agent"),
        ("datadog/agent", "Datadog Agent"),
        ("mirror.local:5000/datadog/agent:7", "Datadog Agent"),
        ("localhost/datadog/agent", "Datadog Agent"),
        ("harbor.test/hub-proxy/datadog/agent:7.60.1", "Datadog Agent"),
        (&format!("docker.io/datadog/agent@sha256:{digest}"), "Datadog Agent"),
        (&format!("docker.io/datadog/agent:7@sha256:{digest}"), "Datadog Agent"),
        ("traefik:v3.1", "Traefik"),
        ("docker.io/library/traefik", "Traefik"),
        ("mirror.local:5000/traefik:v3", "Traefik"),
        ("harbor.test/hub-proxy/library/traefik:v3", "Traefik"),
        (
            "registry.twistlock.com/twistlock/defender:defender_33",
            "Prisma Cloud Defender",
        ),
        ("ghcr.io/actions/actions-runner:2.319.1", "GitHub Actions runner"),
        ("docker.openhands.dev/openhands/openhands:0.62", "OpenHands"),
    ] {
        assert_eq!(by_image(reference), Some(expected), "{reference}");
    }
}

#[test]
fn an_image_with_a_similar_name_is_unknown() {
    for reference in [
        "evil/datadog-agent-fake",
        "evil/notdatadog/agent",
        "datadog/agent-fake",
        "datadog/agent/extra",
        "evil/traefik",
        "mytraefik",
        "docker.io/evil-library/traefik",
        "agent",
        "registry.test/agent:7",
        "datadog",
        "sha256:0c2ab1c57a3e4f0e9d3b1f2e3d4c5b6a0c2ab1c57a3e4f0e9d3b1f2e3d4c5b6a",
        "0c2ab1c57a3e",
        "",
        "/",
        "@",
    ] {
        assert_eq!(by_image(reference), None, "{reference}");
    }
}

#[test]
fn an_executable_is_known_by_its_last_segments() {
    for (path, expected) in [
        ("/usr/bin/telegraf", Some("Telegraf")),
        ("telegraf", Some("Telegraf")),
        ("/opt/datadog-agent/bin/agent/agent", Some("Datadog Agent")),
        (
            "/opt/actions-runner/bin.2.319.1/Runner.Listener",
            Some("GitHub Actions runner"),
        ),
        ("/usr/bin/vector", Some("Vector")),
        ("/opt/game/vector", None),
        ("/usr/bin/agent", None),
        ("/usr/bin/telegraf-wrapper", None),
        ("/usr/bin/nottelegraf", None),
        ("/usr/bin/telegraf/x", None),
        ("", None),
    ] {
        assert_eq!(of_executable(path).map(|known| known.name), expected, "{path}");
    }
}
