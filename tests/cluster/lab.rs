//! The lab's own Kubernetes, on which the other tests rely.

use std::time::Duration;

use anyhow::{Result, ensure};
use castoff_tests::lab::images;
use castoff_tests::lab::kubernetes::Cluster;
use castoff_tests::wait;
use serde_json::json;

#[test]
fn a_pod_runs_and_reaches_the_api_server_through_its_service() -> Result<()> {
    let cluster = Cluster::start()?;
    let _node = cluster.join("node-1")?;
    cluster.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "caller" },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "caller",
                "image": images::LAB,
                "imagePullPolicy": "Never",
                "command": ["sh", "-c", "until nc -w 2 10.96.0.1 443 < /dev/null; do sleep 1; done; echo reached"],
            }],
        },
    }))?;
    let said = wait::until("a word of the pod", Duration::from_secs(90), || {
        let said = cluster.kubectl(["logs", "caller"])?;
        ensure!(said == "reached", "the pod says {said:?}");
        Ok(said)
    });
    said.map(drop)
        .map_err(|error| error.context(cluster.dump("default", "")))
}
