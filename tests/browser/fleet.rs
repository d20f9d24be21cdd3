//! The page of a whole cluster that `castoff cluster -o html` writes, on a screen, on paper, and with the system's own colours.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::fake::api::{FakeApi, report_clear, report_in_use};
use castoff_tests::lab::browser::Browser;
use castoff_tests::lab::castoff_binary;
use serde_json::{Value, json};

use crate::{DESK, PHONE, axe_reports_nothing, nothing_is_wider_than_the_screen, photograph, text};
use castoff_tests::past;

/// The hours of a report: 168, the oldest first.
const WEEK: usize = 168;

#[test]
fn a_lead_sees_what_is_left_and_how_it_went() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fleet.html");
    fs::write(&file, page(folder.path())?)?;
    let browser = Browser::start()?;
    for (dark, when) in [(false, "light"), (true, "dark")] {
        browser.show(dark, DESK.0, DESK.1)?;
        browser.load(&format!("file://{}", file.display()))?;
        let colours = fills(&browser, "tbody .mark rect")?;
        ensure!(colours.len() == 6, "the verdicts have the colours {colours:?}, {when}");
        axe_reports_nothing(&browser, when)?;
        photograph(&browser, &format!("fleet-{when}"))?;
    }
    let shown = text(&browser)?;
    for words in [
        "31 nodes depend on Docker; of 1 it is not known",
        "ci/Deployment builder\t24 nodes",
        "The last week, by day (UTC)",
        "Newest supported kubelet",
        "1.37\t",
        "containerd 1.7.27\t",
    ] {
        ensure!(shown.contains(words), "no {words:?} in {shown}");
    }
    browser.show(false, DESK.0, DESK.1)?;
    browser.emulate("print", &[("prefers-color-scheme", "dark")])?;
    let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")?;
    ensure!(ground == "rgb(255, 255, 255)", "paper is {ground}");

    browser.emulate("screen", &[("forced-colors", "active")])?;
    let parts = fills(&browser, "#days ~ table tr:nth-child(4) .bar rect")?;
    ensure!(
        parts.len() == 3,
        "with the system's colours, the parts of a day are {parts:?}"
    );

    browser.show(false, PHONE.0, PHONE.1)?;
    nothing_outside_of_a_table_is_wider(&browser)?;
    Ok(())
}

/// A table may be scrolled; nothing else may.
fn nothing_outside_of_a_table_is_wider(browser: &Browser) -> Result<()> {
    browser.evaluate("document.querySelectorAll('table').forEach(table => table.remove())")?;
    nothing_is_wider_than_the_screen(browser, "on a phone")
}

/// Returns the different colours of these shapes.
fn fills(browser: &Browser, shapes: &str) -> Result<BTreeSet<String>> {
    let fills = browser.evaluate(&format!(
        "[...document.querySelectorAll('{shapes}')].map(shape => getComputedStyle(shape).fill)"
    ))?;
    let fills = fills.as_array().context("a list")?;
    Ok(fills.iter().map(Value::to_string).collect())
}

/// Runs `castoff cluster -o html` against an API server with forty nodes.
fn page(folder: &std::path::Path) -> Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let api = runtime.block_on(FakeApi::start())?;
    {
        let fleet = &mut api.script().fleet;
        for at in 0..40 {
            fleet.add(&format!("worker-{at:02}"));
        }
        fleet.add_node("worker-40", &[("kubernetes.io/os", "linux")]);
        fleet.report = report;
    }
    let kubeconfig = folder.join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig())?;
    let mut castoff = Command::new(castoff_binary()?);
    castoff.args(["cluster", "-o", "html", "--kubeconfig"]).arg(&kubeconfig);
    let output = castoff.output().context("start castoff cluster")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(output.stdout)
}

/// A fleet that moves off Docker: two nodes a day.
fn report(node: &str) -> String {
    let at: usize = node[node.len() - 2..].parse().unwrap_or_default();
    let pod = |namespace: &str, kind: &str, name: &str| {
        json!({
            "kind": "pod", "namespace": namespace, "pod": format!("{name}-{at}"), "container": name,
            "workload": { "kind": kind, "name": name, "certain": true },
        })
    };
    let unit =
        json!({ "kind": "host", "unit": { "name": "backup.service" }, "executable": "/usr/bin/docker", "uid": 0 });
    let (verdict, users) = match at {
        0 => ("runtime", vec![unit]),
        1..=24 => ("in-use", vec![pod("ci", "Deployment", "builder")]),
        25..=28 => ("in-use", vec![pod("monitoring", "DaemonSet", "docker-exporter"), unit]),
        29..=30 => ("in-use", vec![unit]),
        31 => ("exposed", Vec::new()),
        32..=33 => ("idle", Vec::new()),
        _ => ("clear", Vec::new()),
    };
    let mut report = if users.is_empty() {
        report_clear(node)
    } else {
        report_in_use(node)
    };
    report["verdict"] = json!(verdict);
    let client = report_in_use(node)["clients"]["value"][0].clone();
    let clients: Vec<Value> = users
        .into_iter()
        .map(|identity| {
            let mut client = client.clone();
            client["identity"] = identity;
            client
        })
        .collect();
    report["clients"] = json!({ "state": "known", "value": clients });
    if at.is_multiple_of(3) {
        report["runtime"]["value"]["version"] = json!("1.7.27");
    } else {
        report["runtime"]["value"]["version"] = json!("2.2.4");
        report["kubeletCeiling"] = json!({ "state": "known", "value": { "kind": "none" } });
    }
    // The hours end with the current one; castoff came to the last nodes three days ago.
    let left = at.saturating_sub(25) * 12;
    let hours: String = (0..WEEK)
        .map(|hour| match hour {
            hour if at > 36 && hour < 90 => '?',
            hour if at <= 30 || hour + left < WEEK => '#',
            _ => '.',
        })
        .collect();
    report["timeline"] = json!({ "from": past::ago(WEEK as u64 - 1), "hours": hours });
    report.to_string()
}
