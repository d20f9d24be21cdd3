//! Clients of the runtime's own socket, and containers that mount it.

use anyhow::Result;
use castoff::findings::report::{Code, Verdict};

use super::{agent, hosts};

#[tokio::test]
async fn other_clients_of_the_runtime_are_named_and_change_no_verdict() -> Result<()> {
    let host = hosts::clients_of_the_runtime()?;
    let report = agent(&host).look().await;
    let clients = report.runtime_clients.items().iter();
    let mut who: Vec<String> = clients.map(|client| client.key.identity.to_string()).collect();
    who.sort();
    // A process in a pod is shown although it has the name of the kubelet.
    let expected = [
        "pod ci/builder-0 (build)",
        "pod monitoring/node-agent (agent)",
        "scan.service (/usr/local/bin/scan)",
    ];
    assert_eq!(who, expected);
    assert_eq!(report.verdict, Verdict::Clear, "{}", report.verdict_reason);
    assert!(report.clients.items().is_empty() && report.exposures.items().is_empty());
    let exposures = report.runtime_exposures.items().iter();
    let mounts: Vec<(String, bool)> = exposures.map(|e| (e.identity.to_string(), e.used)).collect();
    let expected = [
        ("pod logging/shipper-x7k2p (ship)".to_owned(), false),
        ("pod monitoring/node-agent (agent)".to_owned(), true),
    ];
    assert_eq!(mounts, expected);
    let of = |code| report.findings.iter().filter(|finding| finding.code == code).count();
    assert_eq!((of(Code::RuntimeSocketClient), of(Code::RuntimeSocketExposure)), (3, 1));
    Ok(())
}
