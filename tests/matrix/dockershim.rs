//! A kubelet's own dockershim, over CRI v1alpha2.

use anyhow::{Context, Result};
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::dockershim::{Dockershim, Mount, NODE};
use castoff_tests::lab::modules::Module;
use castoff_tests::lab::sockets::wait_for_connection;
use castoff_tests::lab::suites::{self, Suite};
use castoff_tests::report::{clients_of, list, report};
use serde_json::{Value, json};

use super::containerd::{findings, runtime_of};
use super::row::{Kind, Plan, Seen};

pub(crate) fn plan() -> Plan {
    Plan::new(
        Kind::Dockershim,
        "20.10.24",
        format!("Go module {}", Module::Dockershim.pin()),
        run,
    )
}

fn run(plan: &Plan, _: &Docker) -> Result<Seen> {
    let node = Dockershim::start(suites::programs(Suite::Bookworm, suites::Kind::Docker)?)?;
    let docker = node.docker();
    let version = docker.version()?;
    plan.expect(&version)?;
    let socket = Mount {
        host: docker.socket(),
        inside: "/var/run/docker.sock",
        readonly: false,
    };
    let hold = ["/client", "hold", "/var/run/docker.sock"];
    let build = node.run("builds", "builder-0", "build", &hold, &socket)?;
    let above = Mount {
        host: docker.socket().parent().context("a socket is in a folder")?,
        inside: "/host/run",
        readonly: true,
    };
    node.run("logging", "shipper-x", "ship", &["/client", "pause"], &above)?;
    wait_for_connection(build, docker.socket())?;

    // The kubelet's own flags say where to ask.
    let said = report([])?;
    if std::env::var_os("CASTOFF_MATRIX_DUMP").is_some() {
        eprintln!("{said:#}");
    }
    let mut seen = Seen::default();
    runtime_of(&mut seen, &said, "docker", &version);
    let runtime = &said["runtime"]["value"];
    seen.is(
        "endpoint",
        &runtime["endpoint"]["path"],
        node.socket().display().to_string(),
    );
    seen.is("CRI API", &runtime["api"], "v1alpha2");
    seen.is(
        "ceiling",
        &said["kubeletCeiling"]["value"],
        json!({ "kind": "minor", "minor": 23 }),
    );
    seen.is("cgroup driver", &runtime["cgroupDriver"], json!({ "state": "absent" }));
    seen.is("deprecations", &runtime["deprecations"], json!({ "state": "absent" }));
    findings(
        &mut seen,
        &said,
        &[
            "runtime-is-docker",
            "cri-v1alpha2-only",
            "kubelet-ceiling",
            "runtime-end-of-life",
        ],
    );
    seen.is("pods", &said["pods"]["value"], 2);
    seen.is("pods", &said["containers"]["value"], 2);
    let mut clients = clients_of(&said, docker.socket())?;
    clients.sort();
    // dockershim is in the kubelet, which so is a client of Docker; castoff says it and warns of the pod only.
    seen.is(
        "clients",
        &clients.into(),
        json!(["kubelet of 0", format!("pod builds/builder-0-{NODE}/build")]),
    );
    let warned = said["findings"].as_array().into_iter().flatten();
    let warned = warned.filter(|finding| finding["code"] == "socket-client" && finding["severity"] == "warning");
    let warned: Vec<&Value> = warned.map(|finding| &finding["subject"]).collect();
    let pod = format!("pod builds/builder-0-{NODE} (build)");
    seen.holds("socket-client", warned.contains(&&json!(pod)), || format!("{warned:?}"));
    let names_kubelet = |subject: &&Value| subject.as_str().is_some_and(|subject| subject.contains("kubelet"));
    seen.holds("socket-client", !warned.iter().any(names_kubelet), || {
        format!("{warned:?}")
    });
    let exposures: Vec<Value> = list(&said, "exposures")?
        .iter()
        .filter(|exposure| exposure["listener"]["path"] == json!(docker.socket()))
        .map(|e| {
            json!([
                e["pod"],
                e["container"],
                e["via"],
                e["containerPath"],
                e["readonly"],
                e["used"]
            ])
        })
        .collect();
    seen.is(
        "mounts",
        &exposures.into(),
        json!([
            [
                format!("builder-0-{NODE}"),
                "build",
                "socket",
                "/var/run/docker.sock",
                false,
                true
            ],
            [
                format!("shipper-x-{NODE}"),
                "ship",
                "directory",
                "/host/run",
                true,
                false
            ],
        ]),
    );
    seen.is("verdict", &said["verdict"], "runtime");
    Ok(seen)
}
