//! Podman's API service, root's own or an ordinary user's, in a room of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::daemon::Daemon;
use super::keeper::Task;
use super::packages::Programs;
use super::places::ORDINARY_UID;
use super::rooms::Room;

/// A `podman system service` that runs.
#[derive(Debug)]
pub struct Podman {
    daemon: Daemon,
    socket: PathBuf,
}

impl Podman {
    /// Starts root's service.
    pub fn start() -> Result<Self> {
        let room = Room::make("podman")?;
        let programs = Programs::debian()?;
        let files = Files::write(&room, &programs)?;
        let mut command = programs.command("podman")?;
        files.set(&mut command);
        Self::serve(&room, command)
    }

    /// Starts the service of an ordinary user, [`ORDINARY_UID`], in a user namespace that podman makes for it.
    ///
    /// The user exists for this process tree only: a mount namespace in which `/etc` has one more user and its range of
    /// subordinate ids, and in which the programs are where that user can reach them.
    pub fn start_rootless() -> Result<Self> {
        let room = Room::make("rootless")?;
        let programs = Programs::debian()?;
        let seen = Programs::seen_at(room.folder("debian")?);
        let files = Files::write(&room, &seen)?;
        for folder in ["root", "runroot", "home", "user", "run", "net", "tmp"] {
            let folder = room.folder(folder)?;
            chown(&folder, Some(ORDINARY_UID), Some(ORDINARY_UID)).context("give the user its folders")?;
        }
        fs::set_permissions(room.join("user"), fs::Permissions::from_mode(0o700))
            .context("close the runtime folder")?;
        let etc = room.folder("etc")?;
        room.folder("etc.work")?;
        add_line(
            "/etc/passwd",
            &etc,
            &format!(
                "castoff:x:{ORDINARY_UID}:{ORDINARY_UID}::{}:/bin/sh",
                room.join("home").display()
            ),
        )?;
        add_line("/etc/group", &etc, &format!("castoff:x:{ORDINARY_UID}:"))?;
        for file in ["subuid", "subgid"] {
            room.file(&format!("etc/{file}"), "castoff:1612340000:65536\n")?;
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", "/bin/sh", "-ec"])
            .arg(format!(
                // Podman warns about a root that is not shared; this one is shared with nobody but its own children.
                r#"mount --no-mtab --bind {programs} {room}/debian
            mount --no-mtab -t overlay -o lowerdir=/etc,upperdir={room}/etc,workdir={room}/etc.work overlay /etc
            mount --no-mtab --make-shared / || true
            exec setpriv --reuid {ORDINARY_UID} --regid {ORDINARY_UID} --clear-groups "$@""#,
                programs = programs.root().display(),
                room = room.path().display(),
            ));
        command.arg("sh").arg(room.join("debian/usr/bin/podman"));
        for (variable, value) in seen.environment() {
            command.env(variable, value);
        }
        files.set(&mut command);
        command
            .env("HOME", room.join("home"))
            .env("USER", "castoff")
            .env("XDG_RUNTIME_DIR", room.join("user"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .current_dir("/");
        Self::serve(&room, command)
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon itself: process id (of what starts podman, which re-executes itself when rootless), log, room.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn serve(room: &Room, mut command: Command) -> Result<Self> {
        let socket = room.folder("run")?.join("podman.sock");
        command
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", socket.display()));
        let tasks = [
            Task::SharedFolder("/run/libpod".into()),
            Task::SharedFolder("/run/mount".into()),
        ];
        let daemon = Daemon::start("podman", room, &command, &tasks)?;
        let this = Self { daemon, socket };
        this.daemon.wait_until(|| {
            UnixStream::connect(&this.socket)
                .map(drop)
                .with_context(|| format!("connect to {}", this.socket.display()))
        })?;
        Ok(this)
    }
}

/// Podman's configuration: everything below the room.
struct Files {
    containers: PathBuf,
    storage: PathBuf,
}

impl Files {
    fn write(room: &Room, programs: &Programs) -> Result<Self> {
        let containers = format!(
            r#"[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["{root}/usr/bin/conmon"]
tmp_dir = "{room}/tmp"
[engine.runtimes]
runc = ["{root}/usr/sbin/runc"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{room}/net"
"#,
            root = programs.root().display(),
            room = room.path().display(),
            plugins = programs.cni_plugins().display(),
        );
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{room}/runroot\"\ngraphroot = \"{room}/root\"\n",
            room = room.path().display(),
        );
        Ok(Self {
            containers: room.file("containers.conf", containers)?,
            storage: room.file("storage.conf", storage)?,
        })
    }

    fn set(&self, command: &mut Command) {
        command
            .env("CONTAINERS_CONF", &self.containers)
            .env("CONTAINERS_STORAGE_CONF", &self.storage);
    }
}

/// Copies a file of the host into a folder, with one more line.
fn add_line(file: &str, folder: &Path, line: &str) -> Result<()> {
    let file = Path::new(file);
    let content = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().context("the file has a name")?;
    fs::write(folder.join(name), format!("{}\n{line}\n", content.trim_end())).context("write the user's etc")
}
