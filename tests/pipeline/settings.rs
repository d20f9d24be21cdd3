//! Docker's settings beside those of the runtime, on nodes that have both configurations.

use anyhow::{Context, Result};
use castoff::findings::report::{Code, Report, Severity};
use castoff::model::daemon_config::{Carried, DaemonConfig};
use castoff::model::reading::{Reading, Source};
use castoff::sinks::views::json::render_json;
use castoff::sinks::views::style::Style;
use castoff::sinks::views::table::render_table;

use super::{agent, hosts};

/// The node of a test, with a job of cron that calls Docker.
fn with_a_job() -> Result<hosts::Host> {
    let host = hosts::containerd()?;
    host.file("/etc/cron.d/prune", "# m h\n0 1 * * * root docker login -p hunter2\n");
    Ok(host)
}

#[tokio::test]
async fn files_that_call_docker_are_read_on_request_only() -> Result<()> {
    let host = with_a_job()?;
    let callers = |report: &Report| {
        let findings = report
            .findings
            .iter()
            .filter(|finding| finding.code == Code::DockerCaller);
        findings
            .map(|finding| (finding.subject.clone(), finding.message.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(callers(&agent(&host).look().await), []);
    let look = castoff::config::Look {
        scan_host_files: true,
        ..super::look_at(&host, None)
    };
    let report = super::agent_of(&host, look, castoff::model::history::History::default())
        .look()
        .await;
    let [(subject, message)] = &callers(&report)[..] else {
        anyhow::bail!("{:?}", report.findings)
    };
    assert_eq!(subject, "/etc/cron.d/prune:2");
    assert_eq!(message, "line 2 of this file (cron) calls docker");
    assert!(!render_json(&report)?.contains("hunter2"));
    Ok(())
}

const DAEMON_JSON: &str = r#"{
    "registry-mirrors": ["https://mirror.test"],
    "insecure-registries": ["registry.test:5000", "other.test"],
    "log-driver": "fluentd",
    "log-opts": {"fluentd-address": "u:hunter2@logs.test"},
    "exec-opts": ["native.cgroupdriver=systemd"],
    "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}},
    "proxies": {"http-proxy": "http://u:hunter2@proxy.test"},
    "live-restore": true,
    "dns": ["10.0.0.1"]
}"#;

fn compared(report: &Report) -> Result<&DaemonConfig> {
    report.daemon_config.known().context("both are readable")
}

fn states(compared: &DaemonConfig) -> Vec<(&'static str, &str, Carried)> {
    let rows = compared.settings.iter();
    rows.map(|row| (row.setting.code(), row.docker.as_str(), row.state))
        .collect()
}

fn containerd() -> Result<hosts::Host> {
    let host = hosts::with_settings()?;
    host.file("/etc/docker/daemon.json", DAEMON_JSON);
    host.file(
        "/etc/containerd/config.toml",
        "version = 2\nimports = [\"conf.d/*.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
         config_path = \"/etc/containerd/certs.d\"\n",
    );
    host.file(
        "/etc/containerd/conf.d/cgroups.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n",
    );
    host.file(
        "/etc/containerd/certs.d/registry.test:5000/hosts.toml",
        "[host.\"http://registry.test:5000\"]\n",
    );
    Ok(host)
}

#[tokio::test]
async fn each_setting_of_docker_is_carried_over_or_named_with_the_place_to_set_it() -> Result<()> {
    let report = agent(&containerd()?).look().await;
    let of_both = compared(&report)?;
    assert_eq!(
        states(of_both),
        [
            ("registry-mirrors", "https://mirror.test", Carried::Missing),
            ("insecure-registries", "registry.test:5000", Carried::CarriedOver),
            ("insecure-registries", "other.test", Carried::Missing),
            ("log-driver", "fluentd", Carried::Missing),
            ("native.cgroupdriver", "systemd", Carried::CarriedOver),
            ("default-ulimits", "nofile=1024:4096", Carried::Missing),
            ("proxies", "HTTP_PROXY is set", Carried::CarriedOver),
            ("live-restore", "true", Carried::NotApplicable),
        ]
    );
    assert_eq!(
        of_both.settings[0].advice,
        "In /etc/containerd/certs.d/docker.io/hosts.toml, add [host.\"https://mirror.test\"]."
    );
    assert_eq!(of_both.not_compared, ["dns"]);
    assert_eq!(
        of_both.runtime_files,
        [
            "/etc/containerd/config.toml",
            "/etc/containerd/conf.d/cgroups.toml",
            "/etc/containerd/certs.d/registry.test:5000/hosts.toml"
        ]
    );
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.code == Code::DaemonConfig);
    let finding = finding.context("four are missing")?;
    assert_eq!(finding.severity, Severity::Warning, "clients use Docker here");
    assert!(
        finding.message.contains("registry-mirrors https://mirror.test"),
        "{}",
        finding.message
    );
    let wide = Style {
        wide: true,
        ..Style::default()
    };
    let [json, table, wide] = [
        render_json(&report)?,
        render_table(&report, &Style::default()),
        render_table(&report, &wide),
    ];
    assert!(wide.contains("SETTINGS OF DOCKER AND OF THE RUNTIME") && !table.contains("SETTINGS OF DOCKER"));
    for text in [json, table, wide] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_configuration_of_the_runtime_that_cannot_be_read_makes_no_setting_missing() -> Result<()> {
    let host = containerd()?;
    host.file("/etc/containerd/conf.d/broken.toml", "[plugins\n");
    let report = agent(&host).look().await;
    let of_both = compared(&report)?;
    let missing: Vec<_> = of_both
        .in_state(Carried::Missing)
        .map(|row| row.setting.code())
        .collect();
    assert_eq!(missing, ["log-driver"], "no runtime has that");
    assert_eq!(of_both.in_state(Carried::Unknown).count(), 5);
    let files = report.sources.iter().find(|status| status.source == Source::HostFiles);
    let gaps = &files.context("the files were read")?.gaps;
    let is_named = |asked: &str| asked == "/etc/containerd/conf.d/broken.toml";
    assert!(
        gaps.iter()
            .any(|gap| is_named(&gap.asked) && gap.answer == "line 1 is not TOML"),
        "{gaps:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_node_whose_docker_has_no_settings_has_no_comparison() -> Result<()> {
    for host in [hosts::crio()?, hosts::no_runtime()?, hosts::docker_only()?] {
        let report = agent(&host).look().await;
        assert_eq!(report.daemon_config, Reading::Absent);
    }
    let report = agent(&hosts::containerd()?).look().await;
    assert_eq!(compared(&report)?.settings, [], "dockerd runs with its defaults");
    assert!(report.findings.iter().all(|finding| finding.code != Code::DaemonConfig));
    Ok(())
}

#[tokio::test]
async fn cri_o_is_compared_by_its_own_files_and_an_unused_docker_makes_no_warning() -> Result<()> {
    let host = hosts::crio()?;
    host.file("/etc/docker/daemon.json", DAEMON_JSON);
    host.file(
        "/etc/crio/crio.conf.d/10.conf",
        "[crio.runtime]\ndefault_ulimits = [\"nofile=1024:4096\"]\n",
    );
    host.file(
        "/etc/containers/registries.conf",
        "[[registry]]\nlocation = \"other.test\"\ninsecure = true\n[[registry]]\nlocation = \"docker.io\"\n\
         [[registry.mirror]]\nlocation = \"mirror.test\"\n",
    );
    let report = agent(&host).look().await;
    let of_both = compared(&report)?;
    let missing: Vec<_> = of_both
        .in_state(Carried::Missing)
        .map(|row| row.docker.as_str())
        .collect();
    assert_eq!(missing, ["registry.test:5000", "fluentd"]);
    // No process was seen that serves its socket.
    let unknown: Vec<_> = of_both
        .in_state(Carried::Unknown)
        .map(|row| row.setting.code())
        .collect();
    assert_eq!(unknown, ["proxies"]);
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.code == Code::DaemonConfig);
    assert_eq!(finding.map(|finding| finding.severity), Some(Severity::Info));
    Ok(())
}

#[tokio::test]
async fn where_docker_serves_the_kubelet_the_next_runtime_is_compared() -> Result<()> {
    let host = hosts::cri_dockerd()?;
    host.file("/etc/docker/daemon.json", DAEMON_JSON);
    // As Docker's package containerd.io installs it.
    host.file("/etc/containerd/config.toml", "disabled_plugins = [\"cri\"]\n");
    let report = agent(&host).look().await;
    let of_both = compared(&report)?;
    assert!(!of_both.serves_kubelet);
    assert_eq!(of_both.runtime_files, ["/etc/containerd/config.toml"]);
    assert!(of_both.in_state(Carried::Missing).count() > 4);
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.code == Code::DaemonConfig);
    assert_eq!(finding.map(|finding| finding.severity), Some(Severity::Warning));
    Ok(())
}
