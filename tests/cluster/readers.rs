//! Access to the agents of the chart as it is shipped.

use anyhow::{Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::release::{NAME, READER, token};
use castoff_tests::wait;

use crate::site::{NODE, OFTEN, PATIENCE, Site, on_a_cluster};

const REPORT: &str = "api/v1/report";

#[test]
fn an_agent_serves_its_reader_and_no_other_pod() -> Result<()> {
    on_a_cluster(|site| {
        site.release().install(Helm::Four, &[OFTEN])?;
        site.wait_for_verdict("clear")?;
        let reader = |audience| token(&site.cluster, NAME, READER, audience);
        let pod = |audience| token(&site.cluster, "default", "default", audience);
        let own = |token: String| format!("X-Castoff-Token: {token}");
        let bearer = |token: String| format!("Authorization: Bearer {token}");
        for (name, header, status) in [
            ("no token", "Accept: */*".to_owned(), "401"),
            ("a pod's token", bearer(pod(None)?), "403"),
            ("a pod's token for agents", own(pod(Some(NAME))?), "403"),
            ("the reader's token for the API server", own(reader(None)?), "401"),
            (
                "the reader's token for somebody else",
                own(reader(Some("vault"))?),
                "401",
            ),
            (
                "the reader's token for agents as a bearer token",
                bearer(reader(Some(NAME))?),
                "401",
            ),
        ] {
            let Err(error) = site.release().page_with(REPORT, &header) else {
                anyhow::bail!("{name} is accepted");
            };
            let said = format!("{error:#}");
            ensure!(said.contains(status), "{name}: {said}");
        }
        site.release().page_with("metrics", &bearer(reader(None)?))?;
        ensure!(site.release().report()?["node"] == NODE, "another node's report");
        it_is_not_accepted_elsewhere(site, &reader(Some(NAME))?)?;
        wait::until("the node's verdict in the fleet", PATIENCE, || {
            let fleet = site.release().fleet()?;
            ensure!(fleet["nodes"][0]["verdict"] == "clear", "the fleet: {fleet}");
            Ok(())
        })
    })
}

/// The API server does not accept the token that castoff sends to agents.
fn it_is_not_accepted_elsewhere(site: &Site, token: &str) -> Result<()> {
    let mut kubectl = site.cluster.kubectl_command();
    let output = kubectl.args(["--token", token, "get", "--raw", "/metrics"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("Unauthorized"), "{said}");
    Ok(())
}
