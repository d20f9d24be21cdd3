//! Mounts of other kinds than those that a kubelet makes.

use std::fs;

use castoff_tests::lab::clients;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::Pod;

use crate::case::{Case, Said, UNIT};
use crate::paths::{Mounted, keep, keep_with_mount};
use crate::world::World;

const BY_MOUNT: &str = "look: mounts by device and root";
const BY_VIEW: &str = "look: every view of the container's mounts";
const POD_BY_SOCKET: &[Said] = &[Said::Pod, Said::Exposed("socket")];
const POD_BY_FOLDER: &[Said] = &[Said::Pod, Said::Exposed("directory")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "idmapped",
        title: "a pod mounts a directory whose mount shows other owners (idmapped)",
        how: BY_MOUNT,
        set: |world, case| {
            let (socket, volume) = (world.socket(case), world.beside(case, "volume"));
            fs::create_dir(&volume)?;
            let folder = socket.parent().unwrap_or(&socket).to_string_lossy();
            let to = volume.to_string_lossy();
            // The mount outlives the process that made it.
            drop(clients::start(Place::host(), &["idmapped", &folder, &to])?);
            let pod = world.pod(case, &volume, "/data", "/data/docker.sock");
            keep_with_mount(pod, volume)
        },
        with: POD_BY_FOLDER,
        without: POD_BY_FOLDER,
    },
    Case {
        name: "private",
        title: "a pod mounts a private mount of the host",
        how: BY_MOUNT,
        set: |world, case| {
            let (socket, volume) = (world.socket(case), world.beside(case, "volume"));
            fs::create_dir(&volume)?;
            let folder = socket.parent().unwrap_or(&socket).as_os_str();
            let mounted = Mounted::new(&["--bind", "--make-private"], folder, &volume)?;
            let pod = world.pod(case, &volume, "/data", "/data/docker.sock")?;
            keep(Ok((pod, mounted)))
        },
        with: POD_BY_FOLDER,
        without: POD_BY_FOLDER,
    },
    Case {
        name: "injected",
        title: "a process of the host mounts the directory into a container that runs",
        how: BY_MOUNT,
        set: |world, case| {
            let pod = world.runtime.run(Pod::new("evasion", case.name))?;
            let container = pod.start(Container::client("use", ["late", "/data/docker.sock"]))?;
            let socket = world.socket(case);
            let folder = socket.parent().unwrap_or(&socket).to_string_lossy();
            let pid = container.pid()?.to_string();
            drop(clients::start(Place::host(), &["inject", &pid, &folder, "/data"])?);
            keep(Ok(pod))
        },
        with: POD_BY_FOLDER,
        without: POD_BY_FOLDER,
    },
    Case {
        name: "jailed",
        title: "the first process of a pod changes its root (`chroot`), and another one keeps the mount",
        how: BY_VIEW,
        set: |world, case| {
            keep(world.run(
                pod(case),
                client(world, case, &["jailed", "/jail", "/data/docker.sock"]),
            ))
        },
        with: POD_BY_SOCKET,
        without: POD_BY_SOCKET,
    },
    Case {
        name: "outside",
        title: "all processes of a pod change their root, and one keeps its working directory",
        how: "look: the mounts that the runtime was asked for",
        set: |world, case| {
            keep(world.run(
                pod(case),
                client(world, case, &["outside", "/jail", "/data/docker.sock"]),
            ))
        },
        with: POD_BY_SOCKET,
        without: POD_BY_SOCKET,
    },
    Case {
        name: "unmounted",
        title: "the first process of a pod unmounts the socket in its own mount namespace (`unshare`), and another one keeps \
                the mount",
        how: BY_VIEW,
        set: |world, case| {
            let container = client(world, case, &["unmounted", "/data/docker.sock"]);
            keep(world.run(pod(case).privileged(), container.privileged()))
        },
        with: POD_BY_SOCKET,
        without: POD_BY_SOCKET,
    },
    Case {
        name: "pivoted",
        title: "a process in a root of its own, without the host's root (`pivot_root`)",
        how: "look: the holder",
        set: |world, case| {
            let folder = world.beside(case, "root");
            fs::create_dir(&folder)?;
            keep(world.client(case, &["pivoted", &folder.to_string_lossy()]))
        },
        with: UNIT,
        without: UNIT,
    },
];

fn pod(case: &Case) -> Pod {
    Pod::new("evasion", case.name)
}

/// Returns a container that mounts the case's socket at `/data/docker.sock`.
fn client(world: &World, case: &Case, mode: &[&str]) -> Container {
    Container::client("use", mode.iter().copied()).mount(world.socket(case), "/data/docker.sock")
}
