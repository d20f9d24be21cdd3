//! The lab works as documented: checked from the outside with `ss`, `/proc` and the daemons' own answers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::clients::{self, Connector};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::{Docker, Options};
use castoff_tests::lab::places::{ORDINARY_UID, Place};
use castoff_tests::lab::podman::Podman;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::sockets::{holds_connection_to, wait_for_connection};

#[test]
fn a_pod_in_its_own_network_namespace_holds_a_docker_connection() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let pod = runtime.run(Pod::new("builds", "builder-0").label("app", "builder"))?;
    let container = pod.start(
        Container::client("build", ["hold", "/var/run/docker.sock"]).mount(docker.socket(), "/var/run/docker.sock"),
    )?;

    let pid = container.pid()?;
    wait_for_connection(pid, docker.socket())?;
    assert_ne!(namespace(pid, "net")?, namespace(std::process::id(), "net")?);
    let cgroup = format!("{}/{}", pod.cgroup(), container.id());
    assert!(cgroups(pid)?.contains(&cgroup), "{:?}", cgroups(pid)?);
    Ok(())
}

#[test]
fn a_pod_of_the_host_network_mounts_the_sockets_directory_and_never_connects() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let pod = runtime.run(Pod::new("kube-system", "agent").host_network())?;
    let folder = docker.socket().parent().context("a socket is in a folder")?;
    let container = pod.start(Container::sleeper("agent").mount_read_only(folder, "/host/run"))?;

    let pid = container.pid()?;
    assert_eq!(namespace(pid, "net")?, namespace(std::process::id(), "net")?);
    assert!(!holds_connection_to(pid, docker.socket())?);
    let seen = fs::metadata(format!("/proc/{pid}/root/host/run/docker.sock"))?;
    assert_eq!(seen.ino(), fs::metadata(docker.socket())?.ino());
    Ok(())
}

#[test]
fn a_docker_container_holds_a_connection() -> Result<()> {
    let docker = Docker::start()?;
    let container = docker.run_client("agent", docker.socket(), ["hold", "/var/run/docker.sock"])?;

    let pid = container.pid()?;
    wait_for_connection(pid, docker.socket())?;
    assert!(cgroups(pid)?.contains(&format!("/docker/{}", container.id())));
    Ok(())
}

#[test]
fn docker_can_use_the_nodes_containerd_and_listen_elsewhere() -> Result<()> {
    let runtime = Containerd::start()?;
    let elsewhere = runtime.daemon().room().join("elsewhere.sock");
    let mut options = Options::debian()?;
    options.containerd = Some(&runtime);
    options.also_listen.push(format!("unix://{}", elsewhere.display()));
    let docker = Docker::start_with(&options)?;

    let container = docker.run_client("agent", &elsewhere, ["hold", "/var/run/docker.sock"])?;
    wait_for_connection(container.pid()?, &elsewhere)?;
    assert!(docker.version()?.starts_with("20.10."), "{}", docker.version()?);
    assert!(runtime.version()?.starts_with("1.6."), "{}", runtime.version()?);
    Ok(())
}

#[test]
fn a_client_is_in_a_units_cgroup() -> Result<()> {
    let podman = Podman::start()?;
    let client = clients::hold(podman.socket(), Place::unit("castoff-lab-shipper.service")?)?;

    wait_for_connection(client.holder(), podman.socket())?;
    let cgroups = cgroups(client.holder())?;
    assert!(
        cgroups
            .iter()
            .any(|path| path == "/system.slice/castoff-lab-shipper.service")
    );
    drop(client);
    let unit = "system.slice/castoff-lab-shipper.service";
    assert!(!Path::new("/sys/fs/cgroup/systemd").join(unit).exists());
    assert!(!Path::new("/sys/fs/cgroup/unified").join(unit).exists());
    Ok(())
}

#[test]
fn a_rootless_podman_serves_a_rootless_client() -> Result<()> {
    let podman = Podman::start_rootless()?;
    assert_eq!(fs::metadata(podman.socket())?.uid(), ORDINARY_UID);
    let client = clients::hold(podman.socket(), Place::rootless())?;

    let pid = client.holder();
    wait_for_connection(pid, podman.socket())?;
    assert_eq!(fs::metadata(format!("/proc/{pid}"))?.uid(), ORDINARY_UID);
    assert_ne!(namespace(pid, "user")?, namespace(std::process::id(), "user")?);
    Ok(())
}

#[test]
fn a_rootless_client_uses_roots_docker() -> Result<()> {
    let docker = Docker::start()?;
    docker.open_to_all()?;
    let client = clients::hold(docker.socket(), Place::rootless().network_namespace())?;

    wait_for_connection(client.holder(), docker.socket())?;
    assert_ne!(
        namespace(client.holder(), "net")?,
        namespace(std::process::id(), "net")?
    );
    Ok(())
}

#[test]
fn a_connection_is_passed_on() -> Result<()> {
    let podman = Podman::start()?;
    for connector in [Connector::Stays, Connector::Leaves] {
        for hand in [clients::hand_by_fork, clients::hand_by_message] {
            let client = hand(podman.socket(), connector, Place::host())?;
            assert_ne!(client.connector(), client.holder());
            wait_for_connection(client.holder(), podman.socket())?;
            let is_there = Path::new("/proc")
                .join(client.connector().to_string())
                .join("exe")
                .exists();
            if connector == Connector::Stays {
                assert!(is_there && !holds_connection_to(client.connector(), podman.socket())?);
            }
        }
    }
    Ok(())
}

#[test]
fn clients_come_and_go() -> Result<()> {
    let podman = Podman::start()?;
    let (hold, pause) = (Duration::from_millis(400), Duration::from_millis(20));
    let client = clients::blink(podman.socket(), hold, pause, Place::host())?;

    let children = format!("/proc/{0}/task/{0}/children", client.connector());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let now = fs::read_to_string(&children)?;
        let seen = now.split(' ').filter_map(|pid| pid.parse().ok());
        if seen
            .into_iter()
            .any(|pid: u32| holds_connection_to(pid, podman.socket()).unwrap_or(false))
        {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no client was seen to hold a connection");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn servers_without_an_api_run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for serve in [clients::listen, clients::mute] {
        let socket = folder.path().join("docker.sock");
        let _server = serve(&socket, Place::host())?;
        let _client = clients::say(&socket, "GET /_ping HTTP/1.1", Place::host())?;
        fs::remove_file(&socket)?;
    }
    Ok(())
}

fn namespace(pid: u32, kind: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/{kind}");
    Ok(fs::metadata(&path).with_context(|| path)?.ino())
}

/// Returns the paths in `/proc/PID/cgroup`, one per hierarchy.
fn cgroups(pid: u32) -> Result<Vec<String>> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(lines
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .map(str::to_owned)
        .collect())
}
