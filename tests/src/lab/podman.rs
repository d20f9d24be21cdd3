//! Podman's API service, root's own or an ordinary user's, in a room of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::daemon::Daemon;
use super::images;
use super::keeper::Task;
use super::packages::{self, Programs};
use super::places::ORDINARY_UID;
use super::rooms::Room;
use crate::wait;

/// The timeout of a container's client until it prints `ready`.
const READY: Duration = Duration::from_secs(30);

/// A running `podman system service`.
#[derive(Debug)]
pub struct Podman {
    daemon: Daemon,
    socket: PathBuf,
    programs: Programs,
    files: Files,
}

impl Podman {
    /// Starts root's service.
    pub fn start() -> Result<Self> {
        Self::start_with(Programs::debian()?, "cni")
    }

    /// Starts root's service from the programs of any version; `network` is that version's name for its network
    /// backend.
    pub fn start_with(programs: Programs, network: &str) -> Result<Self> {
        let room = Room::make("podman")?;
        let files = Files::write(&room, &Places::of(&programs)?, network)?;
        let mut command = programs.command_by_loader("podman")?;
        files.set(&mut command);
        Self::serve(&room, command, programs, files)
    }

    /// Starts the service of an ordinary user, [`ORDINARY_UID`], in a user namespace that podman creates.
    ///
    /// The user exists for this process tree only: in a mount namespace, `/etc` has one more user with a range of
    /// subordinate IDs, and the programs are in a place that the user can reach.
    pub fn start_rootless() -> Result<Self> {
        let room = Room::make("rootless")?;
        let programs = Programs::debian()?;
        let seen = Programs::seen_at(room.folder("debian")?);
        let places = Places::of(&programs)?.seen_from(programs.root(), seen.root())?;
        let files = Files::write(&room, &places, "cni")?;
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
                // Podman warns about a root that is not shared; this one is shared only with its own children.
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
        Self::serve(&room, command, seen, files)
    }

    /// Returns its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the daemon itself: process ID (of the program that starts podman, which re-executes itself when
    /// rootless), log, room.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Returns the version that it reports, like `4.3.1`.
    pub fn version(&self) -> Result<String> {
        packages::output(self.client()?.args(["version", "--format", "{{.Client.Version}}"]))
    }

    /// Returns a `podman` command on the service's containers and images, without the service.
    pub fn client(&self) -> Result<Command> {
        let mut podman = self.programs.command("podman")?;
        self.files.set(&mut podman);
        Ok(podman)
    }

    /// Runs the client program in one of its modes, in a container that has `socket` as `/var/run/docker.sock` and a
    /// network namespace of its own, and waits until it prints `ready`.
    pub fn run_client(&self, name: &str, socket: &Path, mode: &[&str]) -> Result<PodmanContainer<'_>> {
        let room = self.daemon.room();
        let image = images::write_lab(room, &self.programs)?;
        let policy = room.join("policy.json");
        fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).context("write a policy")?;
        let mut load = self.client()?;
        load.args(["load", "--quiet", "--signature-policy"]).arg(&policy);
        packages::run(load.arg("--input").arg(image))?;
        let volume = format!("{}:/var/run/docker.sock", socket.display());
        let mut run = self.client()?;
        // The keeper is not an ancestor of these processes; it ends those in the cgroup.
        let cgroup = PathBuf::from(format!("/{}", room.file_name().unwrap_or_default().display()));
        self.daemon.keeper().later(&Task::Cgroup(cgroup.clone()))?;
        run.args(["run", "--detach", "--network=none", "--name", name, "--volume", &volume]);
        run.arg("--cgroup-parent").arg(cgroup);
        // Podman's own limits need CAP_SYS_RESOURCE, which not every test machine grants.
        run.args(["--ulimit=nofile=256:256", "--ulimit=nproc=256:256"]);
        run.args(["--entrypoint", "/client", images::LAB]).args(mode);
        let id = packages::output(&mut run)?;
        let container = PodmanContainer { podman: self, id };
        wait::until(&format!("container {name}"), READY, || {
            let log = container.log()?;
            ensure!(log.contains("ready "), "it is not ready: {log}");
            Ok(())
        })?;
        Ok(container)
    }

    fn serve(room: &Room, mut command: Command, programs: Programs, files: Files) -> Result<Self> {
        let socket = room.folder("run")?.join("podman.sock");
        command
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", socket.display()));
        let tasks = [
            Task::SharedFolder("/run/libpod".into()),
            Task::SharedFolder("/run/mount".into()),
        ];
        let daemon = Daemon::start("podman", room, &command, &tasks)?;
        let this = Self {
            daemon,
            socket,
            programs,
            files,
        };
        this.daemon.wait_until(|| {
            UnixStream::connect(&this.socket)
                .map(drop)
                .with_context(|| format!("connect to {}", this.socket.display()))
        })?;
        Ok(this)
    }
}

/// A container that podman runs. Dropping it removes it.
#[derive(Debug)]
pub struct PodmanContainer<'a> {
    podman: &'a Podman,
    id: String,
}

impl PodmanContainer<'_> {
    /// Returns the container's full ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn log(&self) -> Result<String> {
        packages::output(self.podman.client()?.args(["logs", &self.id]))
    }
}

impl Drop for PodmanContainer<'_> {
    fn drop(&mut self) {
        let remove = self.podman.client();
        let removed = remove.and_then(|mut podman| packages::run(podman.args(["rm", "--force", &self.id])));
        if let Err(error) = removed {
            eprintln!("container {} was not removed: {error:#}", self.id);
        }
    }
}

/// The programs that podman starts.
struct Places {
    conmon: PathBuf,
    runc: PathBuf,
    helpers: PathBuf,
    cni_plugins: PathBuf,
}

impl Places {
    fn of(programs: &Programs) -> Result<Self> {
        let conmon = programs.path("conmon")?;
        Ok(Self {
            helpers: conmon.parent().context("a program is in a folder")?.to_path_buf(),
            conmon,
            runc: programs.path("runc")?,
            cni_plugins: programs.cni_plugins(),
        })
    }

    /// Returns the same places below another path.
    fn seen_from(self, root: &Path, seen: &Path) -> Result<Self> {
        let move_below = |path: PathBuf| {
            let rest = path.strip_prefix(root).map(Path::to_path_buf);
            rest.map(|rest| seen.join(rest)).context("a program is in its tree")
        };
        Ok(Self {
            conmon: move_below(self.conmon)?,
            runc: move_below(self.runc)?,
            helpers: move_below(self.helpers)?,
            cni_plugins: move_below(self.cni_plugins)?,
        })
    }
}

/// Podman's configuration, with everything below the room.
#[derive(Debug)]
struct Files {
    containers: PathBuf,
    storage: PathBuf,
}

impl Files {
    fn write(room: &Room, programs: &Places, network: &str) -> Result<Self> {
        let containers = format!(
            r#"[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
conmon_path = ["{conmon}"]
helper_binaries_dir = ["{helpers}"]
tmp_dir = "{room}/tmp"
[engine.runtimes]
runc = ["{runc}"]
[network]
network_backend = "{network}"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{room}/net"
"#,
            conmon = programs.conmon.display(),
            helpers = programs.helpers.display(),
            runc = programs.runc.display(),
            room = room.path().display(),
            plugins = programs.cni_plugins.display(),
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

/// Copies a file of the host into a directory and appends a line.
fn add_line(file: &str, folder: &Path, line: &str) -> Result<()> {
    let file = Path::new(file);
    let content = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().context("the file has a name")?;
    fs::write(folder.join(name), format!("{}\n{line}\n", content.trim_end())).context("write the user's etc")
}
