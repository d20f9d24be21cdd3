//! Mounts that lead to a Docker socket, that seem to, and that were meant to.

use anyhow::{Context, Result};
use castoff::findings::report::{Code, Report, Verdict};

use super::agent;
use super::hosts::Host;
use super::hosts::mounted as hosts;

async fn look(host: Result<Host>) -> Result<Report> {
    let host = host?;
    Ok(agent(&host).look().await)
}

/// Returns the exposed containers, each with the path on the host.
fn exposed(report: &Report) -> Result<Vec<String>> {
    let exposures = report.exposures.known().context("exposures are known")?;
    Ok(exposures
        .iter()
        .map(|e| format!("{} by {}", e.identity, e.host_path))
        .collect())
}

fn subjects(report: &Report, code: Code) -> Vec<&str> {
    let findings = report.findings.iter().filter(|finding| finding.code == code);
    findings.map(|finding| finding.subject.as_str()).collect()
}

#[tokio::test]
async fn a_list_of_pods_that_fails_drops_no_exposure() -> Result<()> {
    let report = look(hosts::without_a_list_of_pods()).await?;
    assert_eq!(
        exposed(&report)?,
        [
            "container build (111111111111) by /run/docker.sock",
            "container ship (212121212121) by /var/run"
        ]
    );
    assert!(
        matches!(report.verdict, Verdict::Exposed | Verdict::Unknown),
        "{}: {}",
        report.verdict,
        report.verdict_reason
    );
    Ok(())
}

#[tokio::test]
async fn a_container_that_docker_runs_is_exposed_by_its_own_mount() -> Result<()> {
    let report = look(hosts::a_container_of_docker()).await?;
    let exposed = exposed(&report)?;
    assert!(
        exposed.contains(&"dockerd container watchtower by /var/run/docker.sock".to_owned()),
        "{exposed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_mount_of_a_missing_socket_is_reported_and_changes_no_verdict() -> Result<()> {
    for host in [
        hosts::a_socket_that_is_missing(),
        hosts::a_directory_in_the_sockets_place(),
    ] {
        let report = look(host).await?;
        assert_eq!(report.verdict, Verdict::Clear, "{}", report.verdict_reason);
        assert_eq!(subjects(&report, Code::DanglingMount), ["pod ci/builder-0 (build)"]);
        assert_eq!(exposed(&report).unwrap_or_default(), [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn a_socket_of_another_machine_is_an_exposure() -> Result<()> {
    let report = look(hosts::a_socket_of_another_machine()).await?;
    assert_eq!(report.verdict, Verdict::Exposed, "{}", report.verdict_reason);
    assert_eq!(
        subjects(&report, Code::ForeignSocket),
        ["pod ci/builder-0 (build)", "pod logging/shipper-x7k2p (ship)"],
        "the socket itself, and the directory above it"
    );
    Ok(())
}

#[tokio::test]
async fn an_engine_in_a_volume_is_reached_through_a_mount_of_the_root() -> Result<()> {
    let report = look(hosts::docker_in_a_pod_below_the_root()).await?;
    assert_eq!(exposed(&report)?, ["pod debug/shell (shell) by /"]);
    Ok(())
}
