//! Clients of an engine that serve their own clients.

use anyhow::{Context, Result};
use castoff::findings::report::Report;
use castoff::model::relay::{Relay, RelayBasis};

use super::{agent, hosts};

fn relay<'r>(report: &'r Report, of: &str) -> Result<&'r Relay> {
    let mut relays = report.relays.items().iter();
    relays
        .find(|relay| relay.identity.to_string().starts_with(of))
        .context(of.to_owned())
}

fn behind(relay: &Relay) -> Vec<(String, bool)> {
    let clients = relay.clients.iter();
    clients
        .map(|client| (client.identity.to_string(), client.passed_on))
        .collect()
}

#[tokio::test]
async fn a_client_of_a_relay_uses_docker_and_a_mount_of_its_socket_is_an_exposure() -> Result<()> {
    let report = agent(&hosts::relays::relays()?).look().await;
    let socat = relay(&report, "front.service")?;
    assert_eq!(
        behind(socat),
        [("deploy.service (/usr/local/bin/deploy)".to_owned(), true)]
    );
    assert_eq!(socat.listeners[0].basis, Some(RelayBasis::Process));
    assert_eq!(socat.upstream[0].to_string(), "/run/docker.sock");
    let clients = report.clients.items().iter();
    let who: Vec<String> = clients.map(|client| client.key.identity.to_string()).collect();
    assert!(
        who.contains(&"deploy.service (/usr/local/bin/deploy)".to_owned()),
        "{who:?}"
    );
    let exposures = report.exposures.items().iter();
    let exposed: Vec<String> = exposures.map(|exposure| exposure.identity.to_string()).collect();
    assert!(exposed.contains(&"pod ci/caller (call)".to_owned()), "{exposed:?}");
    Ok(())
}

#[tokio::test]
async fn a_visitor_of_a_web_server_that_watches_docker_is_not_a_client_of_docker() -> Result<()> {
    let report = agent(&hosts::relays::relays()?).look().await;
    let web = relay(&report, "pod ci/builder-0 (build)")?;
    assert_eq!(behind(web), [("visitor.service (/usr/bin/curl)".to_owned(), false)]);
    assert!(!web.is_sure());
    let mut clients = report.clients.items().iter();
    assert!(!clients.any(|client| client.key.identity.to_string().starts_with("visitor")));
    Ok(())
}

#[tokio::test]
async fn a_relay_of_itself_is_reported_and_the_look_ends() -> Result<()> {
    let report = agent(&hosts::relays::relays()?).look().await;
    let ring = relay(&report, "ring.service")?;
    assert!(ring.loops);
    assert_eq!(ring.listeners[0].basis, Some(RelayBasis::Name));
    let mut findings = report.findings.iter();
    assert!(findings.any(|finding| finding.message.ends_with("its connections lead back to itself")));
    Ok(())
}

#[tokio::test]
async fn connections_that_come_and_go_with_those_to_docker_show_a_relay_after_some_looks() -> Result<()> {
    let mut host = hosts::relays::relays()?;
    let mut agent = agent(&host);
    let mut bases = Vec::new();
    for number in 1..=3 {
        let report = agent.look().await;
        bases.push(relay(&report, "pod ci/builder-0 (build)")?.listeners[0].basis);
        if number < 3 {
            hosts::relays::visit(&mut host, number)?;
            continue;
        }
        let mut clients = report.clients.items().iter();
        assert!(clients.any(|client| client.key.identity.to_string().starts_with("visitor")));
    }
    assert_eq!(bases, [None, None, Some(RelayBasis::Pairs)]);
    Ok(())
}
