//! A node on which clients of Docker serve clients of their own.

use anyhow::Result;
use castoff::sources::kernel::diag::encode::SocketFacts;
use castoff_tests::fake::cri::Api;

use super::{Host, STATIC_UID, id, identity, pod_cgroup, script};

/// Returns a server's end of a connection and its client's.
const fn pair(server: u32, name: &'static [u8], file: super::FileIdentity, client: u32) -> [SocketFacts<'static>; 2] {
    [
        SocketFacts::accepted(server, name, Some(file), client),
        SocketFacts::client(client, server),
    ]
}

/// socat, with a process for its one client, and a pod that mounts the directory of its socket; a web server in a pod
/// that watches Docker, with one visitor; and a program that forwards a socket with an engine's name to that socket.
pub(crate) fn relays() -> Result<Host> {
    let mut host = Host::new()?;
    let endpoint = "/run/containerd/containerd.sock";
    host.kubelet(&[&format!("--container-runtime-endpoint=unix://{endpoint}")]);
    let caller = script("containerd", "2.3.4", &[Api::V1])
        .pod(&id(0x50), "ci", "caller", STATIC_UID)
        .container(&id(0x50), &id(0x51), "call", &[("/run/front", "/run/front")]);
    host.serve(endpoint, caller)?;
    host.dockerd()?;
    let (front, web, ring) = (
        host.socket("/run/front/api.sock")?,
        host.socket("/run/web.sock")?,
        host.socket("/run/ring/docker.sock")?,
    );
    let (front_name, web_name, ring_name): (&'static [u8], &'static [u8], &'static [u8]) =
        (b"/run/front/api.sock\0", b"/run/web.sock\0", b"/run/ring/docker.sock\0");
    let connections = [
        pair(81, front_name, front, 70),
        pair(91, web_name, web, 71),
        pair(96, ring_name, ring, 72),
    ];
    let listening = [
        SocketFacts::listening(80, front_name, Some(front)),
        SocketFacts::listening(90, web_name, Some(web)),
        SocketFacts::listening(95, ring_name, Some(ring)),
    ];
    host.open_on_host(&[connections.concat(), listening.to_vec()].concat())?;
    let run = |pid, parent, program: &str, unit: &str, sockets: &[u32]| {
        let process = host.tree.process(pid, parent, "x").exe(program);
        let process = process.cgroup(&format!("/system.slice/{unit}.service")).in_host_root();
        sockets.iter().fold(process, |process, socket| process.socket(*socket));
    };
    run(1100, 1, "/usr/bin/socat", "front", &[80]);
    run(1101, 1100, "/usr/bin/socat", "front", &[60, 81]);
    run(1200, 1, "/usr/local/bin/deploy", "deploy", &[70]);
    run(1300, 1, "/usr/bin/curl", "visitor", &[71, 73, 74]);
    run(1400, 1, "/usr/bin/ring", "ring", &[95, 96, 72]);
    let web = host.in_pod(1000, &pod_cgroup(&id(0x11)));
    // 63, 64, 92 and 93 are in no table before `visit`.
    let held = [61, 90, 91, 63, 64, 92, 93];
    held.iter().fold(web, |web, socket| web.socket(*socket));
    Ok(host)
}

/// One more visitor of the web server, and one more connection of it to Docker: the first or the second.
pub(crate) fn visit(host: &mut Host, number: u32) -> Result<()> {
    let (docker, web) = (
        identity(&host.at("/run/docker.sock")?)?,
        identity(&host.at("/run/web.sock")?)?,
    );
    let pairs = [
        pair(52 + number, b"/run/docker.sock\0", docker, 62 + number),
        pair(91 + number, b"/run/web.sock\0", web, 72 + number),
    ];
    host.open_on_host(&pairs.concat())
}
