//! The API server is away, silent, or answers with errors, while the agent labels its node.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::fake::api::{FakeApi, Fault};
use serde_json::json;
use tokio::runtime::Runtime as Async;

use crate::Plan;
use crate::node::{ENDPOINT, Runtime, start_kubelet};
use crate::watched::{Phase, Watched};

const LASTS: Duration = Duration::from_secs(12);
const NODE: &str = "worker-1";

/// Whatever the API server does, the agent continues to look, and its resources do not grow.
pub(crate) fn fails(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let server = Async::new().context("start an async runtime")?;
    let mut api = server.block_on(FakeApi::start())?;
    api.script().nodes.create(NODE);
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_of(&format!("http://{}", api.address())))?;
    let kubeconfig = kubeconfig.to_str().context("UTF-8")?;
    let mut agent = Watched::start(&[
        "--runtime-endpoint",
        ENDPOINT,
        "--labels",
        "api",
        "--kubeconfig",
        kubeconfig,
        "--node-name",
        NODE,
        "--events",
    ])?;
    agent.wait_for_verdict(&["clear"])?;
    let faults = [
        None,
        Some(Fault::Silence),
        Some(Fault::status(500, "etcd is away")),
        Some(Fault::status(429, "slow down")),
        Some(Fault::CutOff),
        Some(Fault::Flood),
        Some(Fault::html(503)),
    ];
    let times = plan.times().max(u32::try_from(faults.len())?);
    let mut next = faults.iter().cycle();
    agent.endure((times, LASTS), &["clear"], |phase| {
        match phase {
            Phase::Begin => match next.next().context("a cycle does not end")? {
                None => api.stop(),
                fault => api.script().always.clone_from(fault),
            },
            Phase::End => {
                api.script().always = None;
                server.block_on(api.come_back())?;
            }
        }
        Ok(())
    })?;
    let asked = api.script().requests;
    ensure!(asked > 0, "the agent asked the API server nothing");
    agent.stop()
}

fn kubeconfig_of(server: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
        "clusters": [{ "name": "k", "cluster": { "server": server } }],
        "users": [{ "name": "u", "user": { "token": "agent" } }],
    })
    .to_string()
}
