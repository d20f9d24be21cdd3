//! The socket under other names, and through mounts.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::pods::Pod;

use crate::case::{Case, Held, Said, UNIT};
use crate::world::client_to;

const BY_INODE: &str = "look: the socket's device and inode";
const BY_MOUNT: &str = "look: mounts by device and root";
const POD_BY_SOCKET: &[Said] = &[Said::Pod, Said::Exposed("socket")];
const POD_BY_FOLDER: &[Said] = &[Said::Pod, Said::Exposed("directory")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "renamed-mount",
        title: "the socket is mounted under another name",
        how: BY_MOUNT,
        set: |world, case| keep(world.pod(case, &world.socket(case), "/innocent", "/innocent")),
        with: POD_BY_SOCKET,
        without: POD_BY_SOCKET,
    },
    Case {
        name: "parent-mount",
        title: "a directory above the socket is mounted",
        how: BY_MOUNT,
        set: |world, case| {
            let socket = world.socket(case);
            let folder = socket.parent().unwrap_or(&socket);
            keep(world.pod(case, folder, "/host", "/host/docker.sock"))
        },
        with: POD_BY_FOLDER,
        without: POD_BY_FOLDER,
    },
    Case {
        name: "slave-mount",
        title: "a container of Docker's mounts a directory above with propagation `rslave`",
        how: BY_MOUNT,
        set: |world, case| {
            let socket = world.socket(case);
            let folder = socket.parent().unwrap_or(&socket);
            let shared = world.beside(case, "shared");
            fs::create_dir(&shared)?;
            let mounted = Mounted::new(&["--bind", "--make-shared"], folder.as_os_str(), &shared)?;
            let volume = format!("{}:/host:rslave", shared.display());
            let container = world.docker.run(
                case.name,
                &["--volume", &volume],
                &["/client", "hold", "/host/docker.sock"],
            )?;
            container.wait_for_line("ready ")?;
            // Its guard borrows the engine, which ends with all of its containers.
            std::mem::forget(container);
            keep(Ok(mounted))
        },
        with: &[Said::Container, Said::Exposed("directory")],
        without: &[Said::Container, Said::Exposed("directory")],
    },
    Case {
        name: "static-pod",
        title: "a static pod mounts the socket",
        how: BY_MOUNT,
        set: |world, case| {
            let pod = Pod::new("evasion", case.name).annotation("kubernetes.io/config.source", "file");
            let container = Container::client("use", ["hold", "/x"]).mount(world.socket(case), "/x");
            keep(world.run(pod, container))
        },
        with: POD_BY_SOCKET,
        without: POD_BY_SOCKET,
    },
    Case {
        name: "host-pid",
        title: "a pod with `hostPID` and `hostNetwork` mounts the socket",
        how: BY_MOUNT,
        set: |world, case| {
            let pod = Pod::new("evasion", case.name).host_pid().host_network();
            let container = Container::client("use", ["hold", "/x"]).mount(world.socket(case), "/x");
            keep(world.run(pod, container))
        },
        with: POD_BY_SOCKET,
        without: POD_BY_SOCKET,
    },
    Case {
        name: "volume",
        title: "a volume that the kubelet has mounted elsewhere on the host",
        how: BY_MOUNT,
        set: |world, case| {
            let volume = world.beside(case, "volume");
            fs::create_dir(&volume)?;
            let socket = world.socket(case);
            let mounted = Mounted::new(&["--bind"], socket.parent().unwrap_or(&socket).as_os_str(), &volume)?;
            let pod = world.pod(case, &volume, "/data", "/data/docker.sock")?;
            keep(Ok((pod, mounted)))
        },
        with: POD_BY_FOLDER,
        without: POD_BY_FOLDER,
    },
    Case {
        name: "overlay",
        title: "the socket's directory is a layer of an overlay",
        how: "the kernel refuses connections through an overlay",
        set: |world, case| {
            let socket = world.socket(case);
            let lower = socket.parent().unwrap_or(&socket);
            let merged = world.beside(case, "merged");
            let empty = world.beside(case, "empty");
            fs::create_dir(&merged)?;
            fs::create_dir(&empty)?;
            let layers = format!("lowerdir={}:{}", lower.display(), empty.display());
            let mounted = Mounted::new(&["-t", "overlay", "-o", &layers], "overlay".as_ref(), &merged)?;
            let connected = UnixStream::connect(merged.join("docker.sock"));
            ensure!(connected.is_err(), "this kernel connects through an overlay");
            keep(Ok(mounted))
        },
        with: &[],
        without: &[],
    },
    Case {
        name: "symlink",
        title: "a symbolic link to the socket",
        how: BY_INODE,
        set: |world, case| {
            let link = world.beside(case, "link");
            symlink(world.socket(case), &link)?;
            keep(client_to(case, &["hold"], &link))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "hard-link",
        title: "a hard link of the socket's file",
        how: BY_INODE,
        set: |world, case| {
            let link = world.beside(case, "link");
            fs::hard_link(world.socket(case), &link)?;
            keep(client_to(case, &["hold"], &link))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "moved-file",
        title: "the socket's file is moved to another name",
        how: BY_INODE,
        set: |world, case| {
            let moved = world.beside(case, "moved");
            fs::rename(world.socket(case), &moved)?;
            keep(client_to(case, &["hold"], &moved))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "relative",
        title: "a relative path",
        how: BY_INODE,
        set: |world, case| keep(world.client(case, &["via", "relative"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "long",
        title: "a relative path to a name that is longer than a socket's address",
        how: BY_INODE,
        set: |world, case| {
            let folder = world.beside(case, &"x".repeat(150));
            fs::create_dir(&folder)?;
            let link = folder.join("docker.sock");
            fs::hard_link(world.socket(case), &link)?;
            keep(client_to(case, &["via", "relative"], &link))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "removed-file",
        title: "the socket's file is removed, and a descriptor of it is left",
        how: BY_INODE,
        set: |world, case| keep(world.client(case, &["via", "removed"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "descriptor",
        title: "`/proc/self/fd/N` of the socket's file",
        how: BY_INODE,
        set: |world, case| keep(world.client(case, &["via", "descriptor"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "proc-root",
        title: "`/proc/PID/root`",
        how: BY_INODE,
        set: |world, case| {
            let root = format!(
                "/proc/{}/root{}",
                world.docker.daemon().pid(),
                world.socket(case).display()
            );
            keep(client_to(case, &["hold"], root.as_ref()))
        },
        with: UNIT,
        without: UNIT,
    },
];

/// A mount on the host that is removed when it is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn new(options: &[&str], from: &OsStr, to: &Path) -> Result<Self> {
        let status = Command::new("mount")
            .arg("--no-mtab")
            .args(options)
            .arg(from)
            .arg(to)
            .status()?;
        ensure!(status.success(), "mount: {status}");
        Ok(Self(to.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .args(["--no-mtab", "--lazy"])
            .arg(&self.0)
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

/// Keeps the things that a case has created until all cases are judged.
pub(crate) fn keep<T: 'static>(made: Result<T>) -> Result<Held> {
    Ok(Box::new(made?))
}

/// Keeps a mount that a client has made itself.
pub(crate) fn keep_with_mount<T: 'static>(made: Result<T>, on: PathBuf) -> Result<Held> {
    let mounted = Mounted(on);
    keep(Ok((made?, mounted)))
}
