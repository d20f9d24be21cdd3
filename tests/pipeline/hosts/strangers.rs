//! Nodes with an engine in an unusual place, and nodes with a malicious ordinary user.

use std::net::SocketAddr;

use anyhow::Result;
use castoff::model::identity::{NetNs, SocketInode};
use castoff::sources::kernel::diag::encode::{Reply, SocketFacts};
use castoff::sources::kernel::diag::tcp::TcpRow;
use castoff::sources::kernel::diag::{Envelope, State};
use castoff::sources::sockets::recorded::RecordedTables;
use castoff_tests::fake::cri::Api;

use super::{HOST_NETNS, Host, POD_NETNS, id, pod_cgroup, script};

/// The listeners of a user who floods the node.
pub(crate) const FLOOD: u32 = 2_100;
const ORDINARY: &str = "Uid:\t65534\t65534\t65534\t65534\n";

/// Returns a node with containerd and pods, and without Docker.
fn node() -> Result<Host> {
    let mut host = Host::new()?;
    let endpoint = "/run/containerd/containerd.sock";
    host.kubelet(&[&format!("--container-runtime-endpoint=unix://{endpoint}")]);
    host.serve(endpoint, script("containerd", "2.3.4", &[Api::V1]))?;
    Ok(host)
}

/// A dockerd that listens on TCP, to which a pod of this node and another machine are connected.
pub(crate) fn tcp_engine() -> Result<Host> {
    let host = node()?;
    let dockerd = host.tree.process(800, 1, "dockerd").exe("/usr/bin/dockerd");
    dockerd
        .arguments(&["/usr/bin/dockerd", "-H", "tcp://0.0.0.0:2375"])
        .cgroup("/system.slice/docker.service")
        .in_host_root()
        .socket(90)
        .socket(91)
        .socket(92);
    host.in_pod(1000, &pod_cgroup(&id(0x11))).socket(81);
    let of_host = [
        row(90, State::LISTENING, "0.0.0.0:2375", "0.0.0.0:0")?,
        row(91, State::CONNECTED, "10.0.0.1:2375", "10.8.0.3:40000")?,
        row(92, State::CONNECTED, "10.0.0.1:2375", "192.0.2.9:40000")?,
    ];
    let of_pod = [row(81, State::CONNECTED, "10.8.0.3:40000", "10.0.0.1:2375")?];
    record_tcp(&host, HOST_NETNS, &of_host)?;
    record_tcp(&host, POD_NETNS, &of_pod)?;
    Ok(host)
}

/// systemd listens on a TCP port for a dockerd that does not run, as configured by a drop-in of its unit, and for sshd.
/// A client waits for dockerd.
pub(crate) fn activated_port() -> Result<Host> {
    let host = node()?;
    host.init().socket(90).socket(93);
    let drop_in = "[Socket]\nListenStream=0.0.0.0:4243\n";
    host.file("/etc/systemd/system/docker.socket.d/tcp.conf", drop_in);
    host.file("/usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n");
    let rows = [
        row(90, State::LISTENING, "0.0.0.0:4243", "0.0.0.0:0")?,
        row(93, State::LISTENING, "0.0.0.0:22", "0.0.0.0:0")?,
        row(0, State::CONNECTED, "10.0.0.1:4243", "192.0.2.9:40000")?,
        row(0, State::CONNECTED, "10.0.0.1:22", "192.0.2.10:40000")?,
    ];
    record_tcp(&host, HOST_NETNS, &rows)?;
    Ok(host)
}

fn row(inode: u32, state: State, local: &str, remote: &str) -> Result<TcpRow> {
    let (local, remote): (SocketAddr, SocketAddr) = (local.parse()?, remote.parse()?);
    Ok(TcpRow {
        inode: SocketInode(inode),
        state,
        local,
        remote,
    })
}

fn record_tcp(host: &Host, netns: u64, rows: &[TcpRow]) -> Result<()> {
    let bytes = Reply::tcp_dump(Envelope { sequence: 1, port: 1 }, rows);
    std::fs::write(RecordedTables::tcp_file(&host.tables(), NetNs(netns)), bytes)?;
    Ok(())
}

/// A live socket of another machine is at the path of Docker's, and a service is connected to it: no process of the
/// node listens on it.
pub(crate) fn foreign_socket() -> Result<Host> {
    let mut host = node()?;
    let file = Some(host.socket("/run/docker.sock")?);
    host.backup();
    let name = b"/home/outer/engine.sock\0";
    host.open_on_host(&[SocketFacts::accepted(51, name, file, 60), SocketFacts::client(60, 51)])?;
    Ok(host)
}

/// The node's own dockerd with one client, and thousands of a user's listeners with its name, each with a client.
pub(crate) fn flood() -> Result<Host> {
    let mut host = node()?;
    host.dockerd()?;
    host.backup();
    let file = Some(host.socket("/run/second.sock")?);
    let flood = host.tree.process(2000, 1, "flood").exe("/tmp/flood");
    let mut flood = flood.file("status", ORDINARY);
    let name = b"/run/docker.sock\0";
    let mut sockets = vec![
        SocketFacts::listening(50, name, file),
        SocketFacts::accepted(51, name, file, 60),
        SocketFacts::client(60, 51),
    ];
    for n in 0..FLOOD {
        let name: &'static [u8] = format!("/tmp/{n}/docker.sock\0").into_bytes().leak();
        let inode = 10_000 + n * 3;
        let file = file.map(|file| castoff::model::identity::FileIdentity {
            inode: file.inode + 1 + n,
            ..file
        });
        flood = flood.socket(inode).socket(inode + 1).socket(inode + 2);
        sockets.push(SocketFacts::listening(inode, name, file));
        sockets.push(SocketFacts::accepted(inode + 1, name, file, inode + 2));
        sockets.push(SocketFacts::client(inode + 2, inode + 1));
    }
    host.open_on_host(&sockets)?;
    Ok(host)
}

/// A user's process in a cgroup that is named after a pod's container, connected to the node's dockerd.
pub(crate) fn cgroup_named_after_a_pod() -> Result<Host> {
    let mut host = node()?;
    host.dockerd()?;
    let group = format!(
        "/user.slice/user-65534.slice/user@65534.service/cri-containerd-{}.scope",
        id(0x11)
    );
    let tool = host.tree.process(1000, 1, "tool").exe("/tmp/tool").cgroup(&group);
    tool.file("status", ORDINARY).socket(60);
    Ok(host)
}

/// A dockerd whose API socket is in a directory called `plugins`, with a client.
pub(crate) fn plugins_folder() -> Result<Host> {
    let mut host = node()?;
    host.dockerd()?;
    host.backup();
    let name = b"/run/jenkins/plugins/docker.sock\0";
    let file = Some(host.socket("/run/jenkins/plugins/docker.sock")?);
    let sockets = [
        SocketFacts::listening(50, name, file),
        SocketFacts::accepted(51, name, file, 60),
        SocketFacts::client(60, 51),
    ];
    host.open_on_host(&sockets)?;
    host.record(POD_NETNS, &[])?;
    Ok(host)
}
