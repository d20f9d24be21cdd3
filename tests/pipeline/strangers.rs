//! The results for engines in unusual places, and for a malicious ordinary user.

use anyhow::{Context, Result};
use serde_json::Value;

use castoff::sinks::views::json::render_json;

use super::agent;
use super::hosts::{Host, strangers};

async fn report(host: &Host) -> Result<Value> {
    Ok(serde_json::from_str(&render_json(&agent(host).look().await)?)?)
}

fn clients(report: &Value) -> Result<Vec<String>> {
    let clients = report["clients"]["value"].as_array().context("clients")?;
    let who = |client: &Value| {
        let identity = &client["identity"];
        let name = ["executable", "pod", "address"]
            .iter()
            .find_map(|key| identity[key].as_str());
        name.unwrap_or_default().to_owned()
    };
    Ok(clients.iter().map(who).collect())
}

#[tokio::test]
async fn clients_over_tcp_are_named_here_and_elsewhere() -> Result<()> {
    let report = report(&strangers::tcp_engine()?).await?;
    assert_eq!(report["verdict"], "in-use");
    let mut who = clients(&report)?;
    who.sort();
    assert_eq!(who, ["192.0.2.9", "builder-0"]);
    let findings = report["findings"].as_array().context("findings")?;
    let tcp = findings
        .iter()
        .find(|f| f["code"] == "docker-tcp")
        .context("it is found")?;
    assert_eq!(tcp["severity"], "critical");
    assert!(
        tcp["message"]
            .as_str()
            .is_some_and(|m| m.contains("tcp://0.0.0.0:2375")),
        "{tcp}"
    );
    Ok(())
}

#[tokio::test]
async fn a_port_that_systemd_holds_for_a_stopped_engine_is_its_listener() -> Result<()> {
    let report = report(&strangers::activated_port()?).await?;
    assert_eq!(clients(&report)?, ["192.0.2.9"]);
    let engines = report["engines"]["value"].as_array().context("engines")?;
    let [engine] = engines.as_slice() else {
        panic!("one engine: {engines:?}");
    };
    assert_eq!((&engine["kind"], &engine["process"]), (&"dockerd".into(), &Value::Null));
    let listeners = engine["listeners"].as_array().context("listeners")?;
    assert_eq!(listeners.len(), 1, "{listeners:?}");
    assert_eq!(listeners[0]["activated"], true);
    let findings = report["findings"].as_array().context("findings")?;
    let tcp: Vec<_> = findings.iter().filter(|f| f["code"] == "docker-tcp").collect();
    assert_eq!(tcp.len(), 1, "{findings:?}");
    assert_eq!(tcp[0]["severity"], "critical");
    Ok(())
}

#[tokio::test]
async fn a_client_of_an_unseen_listener_uses_docker() -> Result<()> {
    let report = report(&strangers::foreign_socket()?).await?;
    assert_eq!(report["verdict"], "in-use");
    assert_eq!(clients(&report)?, ["/usr/local/bin/backup"]);
    assert_eq!(report["clients"]["value"][0]["listener"]["path"], "/run/docker.sock");
    Ok(())
}

#[tokio::test]
async fn a_flood_of_a_user_does_not_hide_a_client_of_the_nodes_engine() -> Result<()> {
    let report = report(&strangers::flood()?).await?;
    let who = clients(&report)?;
    assert!(
        who.iter().any(|name| name == "/usr/local/bin/backup"),
        "{} clients",
        who.len()
    );
    assert!(who.len() < strangers::FLOOD as usize / 10, "{} clients", who.len());
    Ok(())
}

#[tokio::test]
async fn a_users_own_cgroup_accuses_no_pod() -> Result<()> {
    let report = report(&strangers::cgroup_named_after_a_pod()?).await?;
    assert_eq!(report["verdict"], "in-use");
    let who = clients(&report)?;
    assert!(who.iter().any(|name| name == "/tmp/tool"), "{who:?}");
    assert!(!who.iter().any(|name| name == "builder-0"), "{who:?}");
    Ok(())
}

#[tokio::test]
async fn an_api_in_a_directory_called_plugins_is_found() -> Result<()> {
    let report = report(&strangers::plugins_folder()?).await?;
    assert_eq!(report["verdict"], "in-use");
    assert_eq!(clients(&report)?, ["/usr/local/bin/backup"]);
    Ok(())
}
