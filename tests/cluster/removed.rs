//! Upgrades keep the labels, and an uninstall removes everything.

use anyhow::{Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::release::NAME;
use castoff_tests::wait;

use crate::site::{NODE, OFTEN, PATIENCE, Site, on_a_cluster};

#[test]
fn helm_4_upgrades_and_uninstalls() -> Result<()> {
    on_a_cluster(|site| come_and_go(site, Helm::Four))
}

#[test]
fn helm_3_upgrades_and_uninstalls() -> Result<()> {
    on_a_cluster(|site| come_and_go(site, Helm::Three))
}

fn come_and_go(site: &mut Site, helm: Helm) -> Result<()> {
    site.release().install(helm, &[OFTEN])?;
    site.wait_for_verdict("clear")?;
    let (labels, agent) = (site.release().labels(NODE)?, site.release().agent()?);

    site.release().upgrade(helm, &[OFTEN, "podLabels.revision=second"])?;
    // The new pod is ready before it has sent anything to the API server.
    ensure!(
        site.release().labels(NODE)? == labels,
        "{:?} in place of {labels:?}",
        site.release().labels(NODE)?
    );
    ensure!(
        site.release().agent()?["metadata"]["uid"] != agent["metadata"]["uid"],
        "the pod was not replaced"
    );

    // Another owner's label, which must stay.
    site.cluster.kubectl(["label", "node", NODE, "example.com/rack=7"])?;
    site.release().uninstall(helm)?;
    let left = (site.release().labels(NODE)?, site.release().annotations(NODE)?);
    ensure!(left.0.is_empty() && left.1.is_empty(), "left on the Node: {left:?}");
    let node = site.cluster.get(["node", NODE])?;
    ensure!(
        node["metadata"]["labels"]["example.com/rack"] == "7",
        "{}",
        node["metadata"]
    );
    everything_is_removed(site)
}

/// Pods may take a moment to end after the release is removed.
fn everything_is_removed(site: &Site) -> Result<()> {
    let kinds = "daemonsets,pods,jobs,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,\
                 priorityclasses,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let instance = format!("app.kubernetes.io/instance={NAME}");
    wait::until("nothing left of the release", PATIENCE, || {
        let question = ["get", kinds, "--all-namespaces", "-l", &instance, "-o", "name"];
        let left = site.cluster.kubectl(question)?;
        ensure!(left.is_empty(), "left of the release: {left}");
        Ok(())
    })
}
