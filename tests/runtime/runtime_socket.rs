//! Clients and mounts of a real containerd's own socket.

use anyhow::{Context, Result};
use castoff_tests::lab::clients;
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::Pod;
use castoff_tests::report::{list, report, who};
use serde_json::{Value, json};

const INSIDE: &str = "/run/containerd.sock";

/// Returns the subjects of the findings with this code.
fn subjects(report: &Value, code: &str) -> Vec<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let of_code = findings.filter(|finding| finding["code"] == code);
    let mut subjects: Vec<String> = of_code
        .filter_map(|finding| finding["subject"].as_str().map(str::to_owned))
        .collect();
    subjects.sort();
    subjects
}

/// Returns the clients of the runtime's socket.
fn names(report: &Value) -> Result<Vec<String>> {
    let clients = list(report, "runtimeClients")?.iter();
    let mut names: Vec<String> = clients.map(|client| who(&client["identity"])).collect();
    names.sort();
    Ok(names)
}

#[test]
fn clients_and_mounts_of_the_runtimes_socket_are_named_and_are_none_of_dockers() -> Result<()> {
    let runtime = Containerd::start()?;
    let endpoint = runtime.endpoint();
    let look = || report(["--runtime-endpoint", &endpoint]);
    let before = look()?;
    // The lab creates pods over the same socket.
    let of_lab = names(&before)?;
    assert_eq!(of_lab.len(), 1, "castoff is no client: {of_lab:?}");
    assert_eq!(
        before["runtimeExposures"],
        json!({ "state": "absent" }),
        "there are no containers"
    );

    let place = Place::unit("castoff-backup.service")?;
    let _unit = clients::hold(runtime.socket(), place)?;
    let pod = runtime.run(Pod::new("monitoring", "scanner"))?;
    let scanner = Container::client("scan", ["hold", INSIDE]);
    pod.start(scanner.mount(runtime.socket(), INSIDE))?;
    let shipper = runtime.run(Pod::new("monitoring", "shipper"))?;
    shipper.start(Container::sleeper("ship").mount(runtime.socket(), INSIDE))?;

    let after = look()?;
    let mut clients = names(&after)?;
    clients.retain(|client| !of_lab.contains(client));
    assert_eq!(clients, ["pod monitoring/scanner/scan", "unit castoff-backup.service"]);
    let mut mounts: Vec<(String, bool)> = list(&after, "runtimeExposures")?
        .iter()
        .map(|mount| {
            let pod = mount["pod"].as_str().context("a pod")?.to_owned();
            Ok((pod, mount["used"] == json!(true)))
        })
        .collect::<Result<_>>()?;
    mounts.sort();
    assert_eq!(mounts, [("scanner".to_owned(), true), ("shipper".to_owned(), false)]);
    assert_eq!(
        subjects(&after, "runtime-socket-client").len(),
        3,
        "{}",
        after["findings"]
    );
    assert_eq!(
        subjects(&after, "runtime-socket-exposure").len(),
        1,
        "{}",
        after["findings"]
    );
    // The verdict is that of the whole machine, where other tests use Docker meanwhile. That it does not change is
    // proven by the test of the pipeline.
    let of_runtime = |entry: &Value| entry["listener"]["path"] == json!(runtime.socket());
    for field in ["clients", "exposures"] {
        let entries = after[field]["value"].as_array().into_iter().flatten();
        let wrong: Vec<&Value> = entries.filter(|entry| of_runtime(entry)).collect();
        assert!(wrong.is_empty(), "{field} of Docker: {wrong:?}");
    }
    Ok(())
}
