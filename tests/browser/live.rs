//! A node whose dockerd is used, for a user at a desk, with a phone, and without a mouse.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff::model::client::{ClientIdentity, ClientKey};
use castoff::model::container::PodContainer;
use castoff::model::engine::EngineKind;
use castoff::model::history::ClientRecord;
use castoff::model::workload::Unit;
use castoff_tests::lab::browser::Browser;
use castoff_tests::lab::clients;
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::scene::{Cast, Scene};
use castoff_tests::report::Agent;
use serde_json::json;

use crate::{
    DESK, PHONE, axe_reports_nothing, headers, load, nothing_is_wider_than_the_screen, photograph, text,
    the_page_loaded_and_logged_nothing_else,
};
use castoff_tests::past;

#[test]
fn a_user_sees_the_clients_of_docker_and_the_next_steps() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let cast = Cast {
        builder: Pod::new("builds", "builder-7d9c5b6f4-x2v8q"),
        shipper: Pod::new("logs", "shipper-x7k2p"),
        container: "portainer",
        unit: "castoff-lab-backup.service",
    };
    let scene = Scene::set(&docker, &runtime, cast)?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    past::save(before(&docker), past::hours(looked), &state)?;
    let state = state.display().to_string();
    let endpoint = runtime.endpoint();
    let agent = Agent::start([
        "--runtime-endpoint",
        &endpoint,
        "--period",
        "1s",
        "--node-name",
        "worker-1",
        "--state",
        &state,
    ])?;

    let browser = Browser::start()?;
    browser.show(false, DESK.0, DESK.1)?;
    load(&browser, &agent)?;
    let headers = headers(&browser, &agent)?;
    let policy = headers["Content-Security-Policy"]
        .as_str()
        .or(headers["content-security-policy"].as_str())
        .context("a policy")?;
    ensure!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe-"),
        "{policy}"
    );

    let told = text(&browser)?;
    let listener = docker.socket().display().to_string();
    for words in [
        "Node worker-1",
        "in-use",
        "builder-7d9c5b6f4-x2v8q",
        "dockerd container portainer",
        "castoff-lab-backup.service",
        "shipper-x7k2p",
        "the newest kubelet that this runtime can serve",
        "Building images: rootless BuildKit or Buildah in a pod",
        &listener,
        endpoint.trim_start_matches("unix://"),
        // From an earlier agent: its clients, and the times when it did not run.
        "registry-gc.service (/usr/bin/docker)",
        "seen in 7 h, not seen in 148 h, unknown for 13 h",
    ] {
        ensure!(told.contains(words), "{words:?} is not in the page:\n{told}");
    }
    let title = browser.evaluate("document.title")?;
    ensure!(title == "in-use: worker-1 · castoff", "{title}");

    for (dark, theme) in [(false, "light"), (true, "dark")] {
        for ((width, height), screen) in [(DESK, "wide"), (PHONE, "phone")] {
            browser.show(dark, width, height)?;
            load(&browser, &agent)?;
            let when = format!("{screen}-{theme}");
            nothing_is_wider_than_the_screen(&browser, &when)?;
            photograph(&browser, &when)?;
            axe_reports_nothing(&browser, &when)?;
        }
    }
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")?;
    axe_reports_nothing(&browser, "with all details open")?;
    nothing_is_wider_than_the_screen(&browser, "with all details open")?;
    the_page_loaded_and_logged_nothing_else(&browser, &agent)?;

    it_changes_with_the_node(&browser, &agent, scene.unit)
}

/// A client ends: the page that refreshes itself shows it, with scripts forbidden and without a mouse.
fn it_changes_with_the_node(browser: &Browser, agent: &Agent, unit: clients::Client) -> Result<()> {
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }))?;
    browser.show(false, DESK.0, DESK.1)?;
    load(browser, agent)?;
    // The first tab stops: past the bar to the report, refresh, refresh by itself.
    let mut stops = Vec::new();
    for _ in 0..3 {
        browser.press("Tab")?;
        stops.push(browser.evaluate("document.activeElement.innerText")?);
    }
    ensure!(stops == ["To the report", "Refresh", "Every 15 s"], "{stops:?}");
    browser.press("Enter")?;
    browser.loaded()?;
    let told = text(browser)?;
    ensure!(
        told.contains("automatically every 15 s") && told.contains("Stop"),
        "{told}"
    );

    // The shortest period that is allowed; the page itself offers longer ones.
    browser.load(&format!("http://{}/?refresh=5", agent.address()))?;
    let of_unit = "[...document.querySelectorAll('.clients tbody tr')]
        .find(row => row.innerText.includes('castoff-lab-backup.service')).querySelector('[data-label=\"Last seen\"]').innerText";
    let before = browser.evaluate(of_unit)?;
    ensure!(before.as_str().is_some_and(|seen| seen.starts_with("now")), "{before}");
    drop(unit);
    agent.wait_until("the unit is gone", |agent| {
        let report = agent.report()?;
        let clients = report["clients"]["value"].as_array().context("clients")?;
        let mut of_unit = clients
            .iter()
            .filter(|c| c["identity"]["unit"]["name"] == "castoff-lab-backup.service");
        Ok(of_unit.all(|client| client["connections"] == 0))
    })?;
    std::thread::sleep(Duration::from_millis(100));
    browser.loaded()?;
    let after = browser.evaluate(of_unit)?;
    ensure!(after.as_str().is_some_and(|seen| seen.contains("ago")), "{after}");
    ensure!(text(browser)?.contains("automatically every 5 s"));
    Ok(())
}

/// True if the earlier agent ran: it was stopped for half a day.
fn looked(hours: u64) -> bool {
    !(70..83).contains(&hours)
}

/// Returns the clients of this dockerd in the week before: one every night until yesterday, one in the daytime, one
/// always.
fn before(docker: &Docker) -> Vec<(ClientKey, ClientRecord)> {
    let listener = docker.socket().display().to_string();
    let client = |identity, hours: &dyn Fn(u64) -> bool| {
        past::client(identity, &listener, past::hours(|ago| looked(ago) && hours(ago)))
    };
    let unit = |name: &str| ClientIdentity::Host {
        unit: Some(Unit::System { name: name.to_owned() }),
        executable: "/usr/bin/docker".to_owned(),
        uid: Some(0),
    };
    let pod = ClientIdentity::Pod(PodContainer {
        namespace: "builds".to_owned(),
        pod: "builder-7d9c5b6f4-x2v8q".to_owned(),
        container: Some("build".to_owned()),
        workload: None,
    });
    let portainer = ClientIdentity::EngineContainer {
        engine: Some(EngineKind::Dockerd),
        name: "portainer".to_owned(),
        image: None,
    };
    vec![
        client(unit("registry-gc.service"), &|ago| ago >= 14 && ago % 24 == 14),
        client(pod, &|ago| (1..9).contains(&(ago % 24)) && ago % 5 != 0),
        client(portainer, &|ago| ago < 100),
    ]
}
