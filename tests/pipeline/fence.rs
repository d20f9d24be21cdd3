//! castoff opens no engine's socket, whatever setting and name make it the runtime's endpoint.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use castoff::findings::report::{Report, Verdict};
use castoff::model::history::History;
use castoff_tests::fake::cri::{Api, Script};

use super::hosts::Host;
use super::{agent_at, hosts};

const CONFIGURATION: &str = "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix://";

/// Sets an endpoint in one of the places where it is read. Returns castoff's own setting.
type Naming = fn(&Host, &str) -> Option<String>;

const WAYS: [(&str, Naming); 8] = [
    ("castoff's own setting", |_, endpoint| {
        Some(format!("unix://{endpoint}"))
    }),
    ("the kubelet's flag", |host, endpoint| {
        host.kubelet(&[&format!("--container-runtime-endpoint=unix://{endpoint}")]);
        None
    }),
    ("the kubelet's configuration", |host, endpoint| {
        host.kubelet(&["--config=/c"]);
        host.file("/c", &format!("{CONFIGURATION}{endpoint}\n"));
        None
    }),
    ("a drop-in", |host, endpoint| {
        host.kubelet(&["--config-dir", "/d"]);
        host.file("/d/10/a.conf", &format!("{CONFIGURATION}{endpoint}\n"));
        None
    }),
    ("the files of an installer", |host, endpoint| {
        host.file("/var/lib/kubelet/config.yaml", &format!("{CONFIGURATION}{endpoint}\n"));
        None
    }),
    ("k3s", |host, endpoint| {
        host.k3s();
        let text = format!("container-runtime-endpoint: {endpoint}\n");
        host.file("/etc/rancher/k3s/config.yaml", &text);
        None
    }),
    ("k3s' drop-in", |host, endpoint| {
        host.k3s();
        let path = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf";
        host.file(path, &format!("{CONFIGURATION}{endpoint}\n"));
        None
    }),
    ("a path that runtimes are known to use", |host, endpoint| {
        host.link("/run/crio/crio.sock", endpoint);
        None
    }),
];

/// Creates names that lead to dockerd's socket, and returns them.
fn lead_to_dockers(host: &Host) -> Result<[&'static str; 5]> {
    let at = |path: &str| host.paths().root.join(path.trim_start_matches('/'));
    fs::create_dir_all(at("/srv"))?;
    fs::hard_link(at("/run/docker.sock"), at("/srv/hard.sock"))?;
    host.link("/srv/link.sock", "/run/docker.sock");
    host.link("/srv/chain.sock", "/srv/link.sock");
    Ok([
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/srv/hard.sock",
        "/srv/link.sock",
        "/srv/chain.sock",
    ])
}

fn assert_refused(host: &Host, report: &Report, how: &str) {
    let refused = report
        .refused_endpoints
        .iter()
        .find(|r| r.refusal.answer.contains("not opened"));
    assert!(refused.is_some(), "{how}: {:?}", report.refused_endpoints);
    assert_eq!(host.accept().expect_err(how).kind(), ErrorKind::WouldBlock, "{how}");
    assert!(report.runtime.gap().is_some(), "{how}");
    assert_ne!(report.verdict, Verdict::Clear, "{how}");
}

#[tokio::test]
async fn an_engines_socket_is_never_opened_whatever_names_it() -> Result<()> {
    for (who, name_it) in WAYS {
        for nth in 0..5 {
            let host = hosts::with_dockerd()?;
            let endpoint = lead_to_dockers(&host)?[nth];
            let told = name_it(&host, endpoint);
            let report = agent_at(&host, told, History::default()).look().await;
            assert_refused(&host, &report, &format!("{who} names {endpoint}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_runtimes_endpoint_that_becomes_an_engines_is_not_opened() -> Result<()> {
    let mut host = hosts::with_dockerd()?;
    host.serve("/run/cri.sock", Script::of("containerd", "2.3.4", [Api::V1]))?;
    let mut agent = agent_at(&host, Some("/run/cri.sock".to_owned()), History::default());
    let report = agent.look().await;
    assert_eq!(report.runtime.known().context("it answers")?.name, "containerd");
    let at = |path: &str| host.paths().root.join(path);
    fs::remove_file(at("run/cri.sock"))?;
    fs::hard_link(at("run/docker.sock"), at("run/cri.sock"))?;
    assert_refused(&host, &agent.look().await, "the second look");
    Ok(())
}

#[tokio::test]
async fn a_possible_engines_socket_is_not_opened_if_listeners_cannot_be_seen() -> Result<()> {
    for (endpoint, opened) in [("/srv/hard.sock", false), ("/run/crio/crio.sock", true)] {
        let mut host = hosts::with_dockerd()?;
        lead_to_dockers(&host)?;
        if opened {
            host.serve(endpoint, Script::of("cri-o", "1.33.4", [Api::V1]))?;
        }
        host.break_tables()?;
        let report = agent_at(&host, Some(endpoint.to_owned()), History::default())
            .look()
            .await;
        assert_eq!(report.runtime.known().is_some(), opened, "{endpoint}");
        assert_eq!(host.accept().expect_err("nothing").kind(), ErrorKind::WouldBlock);
        assert_eq!(report.verdict, Verdict::Unknown, "{}", report.verdict_reason);
    }
    Ok(())
}
