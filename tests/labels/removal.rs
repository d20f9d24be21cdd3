//! `castoff labels --remove` removes everything of castoff and nothing else.

use anyhow::Result;
use castoff::apiserver::access::Access;
use castoff::findings::report::Verdict;
use castoff::model::publishing::Outcome;
use castoff::sinks::publishing::labels::prefix::Prefix;
use castoff::sinks::publishing::node::remove::Removal;
use castoff_tests::fake::api::{FakeApi, Fault};

use super::{Agent, NODE, VERDICT, kubeconfig};

fn removal(api: &FakeApi, folder: &tempfile::TempDir) -> Result<Removal> {
    let path = folder.path().join("kubeconfig");
    std::fs::write(folder.path().join("token"), "t")?;
    std::fs::write(
        &path,
        kubeconfig(&format!("http://{}", api.address()), &folder.path().join("token")),
    )?;
    Ok(Removal {
        prefix: Prefix::parse("castoff.dev/")?,
        access: Access::Kubeconfig { path, programs: true },
    })
}

async fn labelled(api: &FakeApi) -> Result<()> {
    api.script().nodes.create(NODE);
    let mut agent = Agent::of(api)?;
    agent.say(Verdict::Clear);
    agent.published("clear").await
}

#[tokio::test]
async fn only_castoffs_own_keys_are_removed() -> Result<()> {
    let (api, folder) = (FakeApi::start().await?, tempfile::tempdir()?);
    labelled(&api).await?;
    // Another manager has set the same label to the same value: it has two owners.
    api.script().nodes.set_by("kubectl-label", NODE, VERDICT, "clear");
    // An agent had set it; its targets are recorded nowhere else.
    let ready = "castoff.dev/ready-for-kubelet-1.38";
    api.script().nodes.set_by("kubectl-label", NODE, ready, "ready");
    let removal = removal(&api, &folder)?;
    assert!(removal.from_one(NODE).await?);
    let keys = api.script().nodes.keys(NODE);
    let left: Vec<&str> = keys.keys().map(String::as_str).collect();
    assert_eq!(
        left,
        [
            "castoff.dev/team",
            "kubernetes.io/hostname",
            "node.alpha.kubernetes.io/ttl"
        ]
    );
    let writes = api.count("PATCH");
    assert!(!removal.from_one(NODE).await?, "a second time there is nothing to do");
    assert_eq!(api.count("PATCH"), writes);
    Ok(())
}

#[tokio::test]
async fn every_node_of_every_page_is_cleaned() -> Result<()> {
    let (api, folder) = (FakeApi::start().await?, tempfile::tempdir()?);
    labelled(&api).await?;
    let labels = api.script().nodes.node(NODE)["metadata"].clone();
    for n in 0..600 {
        let name = format!("node-{n}");
        let mut script = api.script();
        script.nodes.create(&name);
        if n % 2 == 0 {
            let node = script.nodes.node(&name);
            node["metadata"]["labels"] = labels["labels"].clone();
            node["metadata"]["annotations"] = labels["annotations"].clone();
            node["metadata"]["managedFields"] = labels["managedFields"].clone();
        }
    }
    let before = (api.count("GET"), api.count("PATCH"));
    let removed = removal(&api, &folder)?.from_all().await?;
    assert_eq!(removed.len(), 601);
    assert_eq!(removed.iter().filter(|r| matches!(r.outcome, Ok(true))).count(), 301);
    assert_eq!((api.count("GET") - before.0, api.count("PATCH") - before.1), (3, 301));
    assert!(!api.script().nodes.keys("node-598").contains_key(VERDICT));
    Ok(())
}

#[tokio::test]
async fn temporary_failures_are_retried_and_others_reported() -> Result<()> {
    let (api, folder) = (FakeApi::start().await?, tempfile::tempdir()?);
    labelled(&api).await?;
    let removal = removal(&api, &folder)?;
    api.script().next.extend([Fault::status(500, "etcd"), Fault::html(502)]);
    assert!(removal.from_one(NODE).await?);
    api.script().always = Some(Fault::status(403, "nodes is forbidden"));
    let refusal = removal.from_all().await.expect_err("it may not list");
    assert_eq!(refusal.outcome, Outcome::Forbidden);
    api.script().always = None;
    let refusal = removal.from_one("worker-9").await.expect_err("there is no such Node");
    assert_eq!(refusal.outcome, Outcome::NotFound);
    Ok(())
}
