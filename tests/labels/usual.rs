//! The requests without any failure: they are few, and change only castoff's own keys.

use anyhow::Result;
use castoff::findings::report::Verdict;
use castoff::model::machine::Machine;
use castoff_tests::fake::api::FakeApi;
use serde_json::Value;
use std::time::Duration;

use super::{Agent, FREE_DAYS, NODE, SUMMARY, VERDICT, a_while, eventually, paces};

async fn cluster() -> Result<FakeApi> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    Ok(api)
}

#[tokio::test]
async fn one_read_and_one_apply_make_the_labels() -> Result<()> {
    let api = cluster().await?;
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Exposed);
    agent.published("exposed").await?;
    let seen = api.script().seen.clone();
    let [read, write] = seen.as_slice() else {
        panic!("one read and one write, not {seen:?}")
    };
    assert_eq!(
        (read.method.as_str(), read.uri.as_str()),
        ("GET", "/api/v1/nodes/worker-1")
    );
    assert_eq!(write.method, "PATCH");
    assert_eq!(write.uri, "/api/v1/nodes/worker-1?fieldManager=castoff&force=true");
    assert_eq!(write.headers["content-type"], "application/apply-patch+yaml");
    assert_eq!(write.headers["authorization"], "Bearer first");
    let patch: Value = serde_json::from_str(&write.body)?;
    assert_eq!(patch["metadata"]["uid"], "uid-1");
    let keys = api.script().nodes.keys(NODE);
    for (key, value) in [
        (VERDICT, "exposed"),
        ("castoff.dev/container-runtime", "containerd"),
        ("castoff.dev/container-runtime-version", "1.6.20_ds1"),
        ("castoff.dev/cri-api", "v1"),
        ("castoff.dev/docker-engine", "none"),
        ("castoff.dev/docker-free-days", "0"),
        ("castoff.dev/kubelet-ceiling", "1.37"),
        ("castoff.dev/valid-until", "1795543215"),
        ("castoff.dev/team", "blue"),
        ("kubernetes.io/hostname", NODE),
        ("node.alpha.kubernetes.io/ttl", "0"),
    ] {
        assert_eq!(keys.get(key).map(String::as_str), Some(value), "{key}");
    }
    let summary: Value = serde_json::from_str(&keys[SUMMARY])?;
    assert_eq!(
        (&summary["verdict"], &summary["since"]),
        (&"exposed".into(), &"2026-11-24T12:00:15Z".into())
    );
    Ok(())
}

/// Automation that removes Docker selects nodes by this label.
#[tokio::test]
async fn the_days_without_docker_are_written_as_they_grow_and_when_a_use_ends_them() -> Result<()> {
    let api = cluster().await?;
    let mut agent = Agent::of(&api)?;
    let free_days = || api.script().nodes.keys(NODE).get(FREE_DAYS).cloned();
    for (days, label) in [(6, "0"), (7, "7"), (13, "7"), (20, "14"), (40, "35")] {
        agent.say_unused_for(days);
        eventually(|| (free_days().as_deref() == Some(label)).then_some(())).await?;
    }
    // One look that fails proves neither a use nor another day.
    agent.say_nothing_is_seen();
    a_while().await;
    assert_eq!(free_days().as_deref(), Some("35"));
    agent.say_nothing_is_seen();
    eventually(|| (free_days().as_deref() == Some("unknown")).then_some(())).await?;
    agent.say(Verdict::InUse);
    eventually(|| (free_days().as_deref() == Some("0")).then_some(())).await
}

#[tokio::test]
async fn nothing_is_sent_while_nothing_changes() -> Result<()> {
    let api = cluster().await?;
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Clear);
    agent.published("clear").await?;
    let before = api.script().seen.len();
    for _ in 0..200 {
        agent.say(Verdict::Clear);
        tokio::task::yield_now().await;
    }
    agent.say_nothing_is_seen(); // one failed look is no change either
    a_while().await;
    agent.say(Verdict::Clear);
    a_while().await;
    let sent = api.script().seen.split_off(before);
    assert!(sent.is_empty(), "{sent:?}");
    Ok(())
}

/// The cost of labels that expire with their agent: one write every two to three hours.
#[tokio::test]
async fn a_running_agent_renews_the_time_of_the_labels() -> Result<()> {
    let api = cluster().await?;
    let until = |api: &FakeApi| api.script().nodes.keys(NODE)["castoff.dev/valid-until"].clone();
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Clear);
    agent.published("clear").await?;
    let since = |api: &FakeApi| -> Result<Value> {
        Ok(serde_json::from_str::<Value>(&api.script().nodes.keys(NODE)[SUMMARY])?["since"].clone())
    };
    let (first, changed) = (until(&api), since(&api)?);
    agent.second = 7_000;
    agent.say(Verdict::Clear);
    a_while().await;
    assert_eq!((until(&api), api.count("PATCH")), (first, 1));
    agent.second = 3 * 3_600 + 15;
    agent.say(Verdict::Clear);
    eventually(|| (until(&api) == "1795554030").then_some(())).await?;
    assert_eq!((api.count("GET"), api.count("PATCH")), (1, 2));
    assert_eq!(since(&api)?, changed, "a renewal is no change of the node");
    Ok(())
}

/// A time far in the future would make the labels outlive their agent.
#[tokio::test]
async fn a_time_that_another_manager_set_is_repaired() -> Result<()> {
    let api = cluster().await?;
    let mut hasty = paces();
    hasty.verify = Duration::from_millis(200);
    let mut agent = Agent::with(&format!("http://{}", api.address()), hasty, Machine::default())?;
    agent.say(Verdict::Clear);
    agent.published("clear").await?;
    let key = "castoff.dev/valid-until";
    let right = api.script().nodes.keys(NODE)[key].clone();
    api.script().nodes.set_by("kubectl-label", NODE, key, "4102444800");
    eventually(|| (api.script().nodes.keys(NODE)[key] == right).then_some(())).await
}

#[tokio::test]
async fn each_change_is_one_write() -> Result<()> {
    let api = cluster().await?;
    let mut agent = Agent::of(&api)?;
    for (n, verdict) in [
        Verdict::Runtime,
        Verdict::InUse,
        Verdict::Exposed,
        Verdict::Idle,
        Verdict::Clear,
    ]
    .into_iter()
    .enumerate()
    {
        agent.say(verdict);
        agent.published(verdict.code()).await?;
        assert_eq!((api.count("GET"), api.count("PATCH")), (1, n + 1));
    }
    agent.say_nothing_is_seen();
    agent.say_nothing_is_seen();
    a_while().await;
    agent.say_nothing_is_seen();
    agent.published("unknown").await?;
    assert_eq!((api.count("GET"), api.count("PATCH")), (1, 6));
    Ok(())
}

#[tokio::test]
async fn a_restarted_agent_only_reads() -> Result<()> {
    let api = cluster().await?;
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Idle);
    agent.published("idle").await?;
    drop(agent);
    let mut agent = Agent::of(&api)?;
    agent.second = 3_600;
    agent.say_nothing_is_seen(); // its runtime is not running yet
    agent.say(Verdict::Idle);
    agent.published("idle").await?;
    a_while().await;
    assert_eq!((api.count("GET"), api.count("PATCH")), (2, 1));
    agent.say(Verdict::Clear);
    agent.published("clear").await?;
    let summary = api.script().nodes.keys(NODE)[SUMMARY].clone();
    assert!(
        summary.contains("2026-11-24T13:00:45Z"),
        "the time of the last change: {summary}"
    );
    Ok(())
}

#[tokio::test]
async fn changes_of_other_managers_are_found_and_repaired() -> Result<()> {
    let api = cluster().await?;
    let mut hasty = paces();
    hasty.verify = Duration::from_millis(200);
    let mut agent = Agent::with(&format!("http://{}", api.address()), hasty, Machine::default())?;
    agent.say(Verdict::InUse);
    agent.published("in-use").await?;
    api.script().nodes.set_by("kubectl-label", NODE, VERDICT, "clear");
    let labels = |api: &FakeApi| api.script().nodes.keys(NODE);
    eventually(|| (labels(&api)[VERDICT] == "in-use").then_some(())).await?;
    // Another manager removes all of it, and the fields' owners with it.
    api.script().nodes.node(NODE)["metadata"]["labels"] = serde_json::json!({ "mine": "x" });
    api.script().nodes.node(NODE)["metadata"]["managedFields"] = serde_json::json!([]);
    eventually(|| labels(&api).contains_key(VERDICT).then_some(())).await?;
    assert_eq!(labels(&api)["mine"], "x");
    assert_eq!(api.count("PATCH"), 3);
    let metadata_only = api.script().seen.iter().rev().find(|s| s.method == "GET").cloned();
    let accept = metadata_only.expect("a read").headers["accept"].clone();
    assert!(
        accept.to_str()?.contains("PartialObjectMetadata"),
        "the rare read is a small one"
    );
    Ok(())
}

#[tokio::test]
async fn keys_of_an_earlier_castoff_are_removed() -> Result<()> {
    let api = cluster().await?;
    {
        let mut script = api.script();
        let node = script.nodes.node(NODE);
        node["metadata"]["labels"]["old.example/docker-dependency"] = "clear".into();
        node["metadata"]["managedFields"] = serde_json::json!([{ "manager": "castoff", "operation": "Apply",
            "fieldsV1": { "f:metadata": { "f:labels": { "f:old.example/docker-dependency": {} } } } }]);
    }
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Clear);
    agent.published("clear").await?;
    assert!(
        !api.script()
            .nodes
            .keys(NODE)
            .contains_key("old.example/docker-dependency")
    );
    assert_eq!(api.script().nodes.keys(NODE)["castoff.dev/team"], "blue");
    Ok(())
}
