//! A stolen token of an agent has almost no rights.

use anyhow::{Context, Result, bail, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::packages;
use castoff_tests::lab::release::NAME;
use castoff_tests::wait;
use serde_json::{Value, json};

use crate::site::{NODE, OFTEN, Site, on_a_cluster};

const OWN: &str = r#"{"metadata":{"labels":{"castoff.dev/docker-dependency":"runtime"}}}"#;

#[test]
fn an_agents_token_changes_its_own_labels_of_its_own_node_only() -> Result<()> {
    on_a_cluster(|site| {
        site.release().install(Helm::Four, &[OFTEN])?;
        site.wait_for_verdict("clear")?;
        let other = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node-2" } });
        site.cluster.apply(&other)?;
        let token = read_token(site)?;
        // A new policy takes effect only after some moments: wait until it refuses a request.
        let foreign = r#"{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":"x"}}}"#;
        wait::until("the policy in force", crate::site::PATIENCE, || {
            refused(site, &token, NODE, foreign, "only change labels under")
        })?;

        patch(site, &token, NODE, OWN).context("its own key on its own node")?;
        refused(site, &token, "node-2", OWN, "the Node that it runs on, and no other")?;
        let foreign = r#"{"metadata":{"annotations":{"example.com/x":"1"}}}"#;
        refused(site, &token, NODE, foreign, "only change annotations under")?;
        let taken_away = r#"{"metadata":{"labels":{"kubernetes.io/hostname":null}}}"#;
        refused(site, &token, NODE, taken_away, "only change labels under")?;
        let cordon = r#"{"spec":{"unschedulable":true}}"#;
        refused(site, &token, NODE, cordon, "may not change the spec of a Node")?;
        let finalizer = r#"{"metadata":{"finalizers":["castoff.dev/x"]}}"#;
        refused(
            site,
            &token,
            NODE,
            finalizer,
            "may not change finalizers or owner references",
        )?;

        owners_stay(site, &token)?;

        // A token that the API server issued for the same account and for no pod.
        let unbound = site.cluster.kubectl(["create", "token", NAME, "-n", NAME])?;
        refused(site, &unbound, NODE, OWN, "names no node")?;
        nothing_else_is_granted(site, &token)
    })
}

/// Labels may have the same value afterwards and still belong to another manager.
fn owners_stay(site: &Site, token: &str) -> Result<()> {
    let owners = || -> Result<Value> {
        Ok(site.cluster.get(["node", NODE, "--show-managed-fields"])?["metadata"]["managedFields"].clone())
    };
    let others = |owners: Value| -> Vec<Value> {
        let owners = owners.as_array().cloned().unwrap_or_default();
        owners
            .into_iter()
            .filter(|owner| owner["manager"] == "kubelet")
            .collect()
    };
    let before = others(owners()?);
    ensure!(!before.is_empty(), "the kubelet owns nothing of its Node");
    let nobody = r#"{"metadata":{"managedFields":[{}]}}"#;
    refused(
        site,
        token,
        NODE,
        nobody,
        "may only take keys from other field managers",
    )?;

    // Server-side applies: under another's name, and of another's label with its current value.
    let own = json!({ "castoff.dev/docker-dependency": "clear" });
    let said = applied(site, token, "cluster-autoscaler", &own)?;
    ensure!(said.contains("may not add fields to another manager"), "{said}");
    let theirs = json!({ "kubernetes.io/os": "linux" });
    let said = applied(site, token, NAME, &theirs)?;
    ensure!(said.contains("may only own labels and annotations under"), "{said}");
    ensure!(others(owners()?).len() == before.len(), "owners changed: {}", owners()?);
    Ok(())
}

/// Returns kubectl's output for a forced apply of these labels.
fn applied(site: &Site, token: &str, manager: &str, labels: &Value) -> Result<String> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": labels } });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), node.to_string())?;
    let mut kubectl = site.cluster.kubectl_command();
    kubectl.args(["--token", token, "apply", "--server-side", "--force-conflicts"]);
    kubectl.arg(format!("--field-manager={manager}"));
    let output = kubectl.arg("--filename").arg(file.path()).output()?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The roles grant nothing beyond the policy.
fn nothing_else_is_granted(site: &Site, token: &str) -> Result<()> {
    let questions: [&[&str]; 8] = [
        &["list", "nodes"],
        &["delete", "nodes"],
        &["create", "nodes"],
        &["patch", "nodes", "--subresource=status"],
        &["get", "secrets"],
        &["list", "pods"],
        &["create", "pods"],
        &["create", "serviceaccounts", "--subresource=token"],
    ];
    for question in questions {
        let mut kubectl = site.cluster.kubectl_command();
        let output = kubectl
            .args(["--token", token, "auth", "can-i", "--all-namespaces"])
            .args(question)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.trim() == "no", "may it {}: {said}", question.join(" "));
    }
    Ok(())
}

/// Reads the token of the agent's pod from the kubelet's directory: no program in the image could print it.
fn read_token(site: &Site) -> Result<String> {
    let pod = site.release().agent()?;
    let uid = pod["metadata"]["uid"].as_str().context("a pod's uid")?;
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut projected = volumes.filter(|volume| volume["projected"].is_object());
    let volume = projected.next().context("the pod has no token")?;
    let volume = volume["name"].as_str().context("a volume's name")?;
    let kept = site.node.kubelet().room().join("kubelet/pods").join(uid);
    let token = kept.join("volumes/kubernetes.io~projected").join(volume).join("token");
    packages::output(site.cluster.command("cat").arg(token))
}

fn patch(site: &Site, token: &str, node: &str, patch: &str) -> Result<()> {
    let mut kubectl = site.cluster.kubectl_command();
    packages::run(kubectl.args([
        "--token",
        token,
        "patch",
        "node",
        node,
        "--field-manager=castoff",
        "--type=merge",
        "--patch",
        patch,
    ]))
}

/// Fails unless the API server refuses it with this message.
fn refused(site: &Site, token: &str, node: &str, what: &str, words: &str) -> Result<()> {
    let Err(error) = patch(site, token, node, what) else {
        bail!("{node} was given {what}");
    };
    let said = format!("{error:#}");
    ensure!(said.contains(words), "{what} to {node}: refused, but with {said}");
    Ok(())
}
