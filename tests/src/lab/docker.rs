//! A dockerd in a room of its own, separate from any on the host.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::containerd::Containerd;
use super::daemon::Daemon;
use super::images;
use super::keeper::Task;
use super::packages::{self, Programs};
use super::rooms::{Paths, Room, copy_program};
use super::stage::Stage;
use crate::wait;

const READY: Duration = Duration::from_secs(30);

/// The options of a dockerd.
#[derive(Debug)]
pub struct Options<'a> {
    /// dockerd, docker, containerd, its shim and runc.
    pub programs: Programs,
    /// Addresses to listen on in addition to the room's own socket: `unix:///any/path`, `tcp://127.0.0.1:2375`.
    pub also_listen: Vec<String>,
    /// The containerd to use; without one dockerd starts its own.
    pub containerd: Option<&'a Containerd>,
    /// The content of `daemon.json`.
    pub configuration: serde_json::Map<String, serde_json::Value>,
    /// Docker before 25 writes a key to `/etc/docker` unless configured otherwise; later versions reject the setting.
    pub has_trust_key: bool,
    /// Docker before 23 lowers its own OOM score unless configured otherwise; later versions reject the flag.
    pub lowers_oom_score: bool,
    /// True to run it through its own dynamic loader. Docker before 23 cannot: it executes itself again.
    pub by_loader: bool,
    /// The name of its program, a copy, and of its socket in its room; none for the usual ones.
    pub disguise: Option<&'static str>,
    /// The stage that it runs on; none for the machine itself.
    pub stage: Option<Arc<Stage>>,
    /// The paths of its socket, its configuration and its data.
    pub paths: Paths,
}

impl Options<'_> {
    /// Returns the options for the programs of this machine's Debian release, with their own containerd.
    pub fn debian() -> Result<Self> {
        Ok(Self {
            programs: Programs::debian()?,
            also_listen: Vec::new(),
            containerd: None,
            configuration: serde_json::Map::new(),
            has_trust_key: true,
            lowers_oom_score: true,
            by_loader: false,
            disguise: None,
            stage: None,
            paths: Paths::Room,
        })
    }
}

/// A running dockerd.
#[derive(Debug)]
pub struct Docker {
    daemon: Daemon,
    programs: Programs,
    socket: PathBuf,
    data_root: PathBuf,
    stage: Option<Arc<Stage>>,
}

/// The end of dockerd's message if `/run/docker` was removed while it started.
const SHARED_FOLDER_IS_GONE: &str = "mkdir /run/docker/plugins: no such file or directory";

impl Docker {
    /// Starts the dockerd of this machine's Debian release, with the lab's image in it.
    pub fn start() -> Result<Self> {
        Self::start_with(&Options::debian()?)
    }

    /// Starts any dockerd. Another test may remove the empty directory that all of them share while this one makes its own
    /// in it; then it starts again.
    pub fn start_with(options: &Options<'_>) -> Result<Self> {
        match Self::start_once(options) {
            Err(error) if format!("{error:#}").contains(SHARED_FOLDER_IS_GONE) => Self::start_once(options),
            started => started,
        }
    }

    fn start_once(options: &Options<'_>) -> Result<Self> {
        let room = Room::make("docker")?;
        // A directory of its own, so that a pod can mount the socket's parent and nothing else of the room.
        room.folder("run")?;
        let in_room = format!("run/{}.sock", options.disguise.unwrap_or("docker"));
        let socket = options.paths.choose(&room, &in_room, "/run/docker.sock")?;
        let data_root = options.paths.choose(&room, "root", "/var/lib/docker")?;
        let command = command(options, &room, &socket, &data_root)?;
        let mut tasks = shared_leftovers();
        let elsewhere = options
            .also_listen
            .iter()
            .filter_map(|address| address.strip_prefix("unix://"));
        tasks.extend(elsewhere.map(|path| Task::File(path.into())));
        let daemon = Daemon::start_on(options.stage.as_ref(), "dockerd", &room, &command, &tasks)?;
        let this = Self {
            daemon,
            programs: options.programs.clone(),
            socket,
            data_root,
            stage: options.stage.clone(),
        };
        // `docker version` fails until the API answers.
        this.daemon
            .wait_until(|| this.ask(["version", "--format", "{{.Server.Version}}"]).map(drop))?;
        this.import(&images::write_lab(room.path(), &options.programs)?)?;
        this.forget_uses()?;
        Ok(this)
    }

    /// Returns the directory of its images, containers and volumes.
    pub fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// Resets the times of the socket's file by a change of its mode, so that the lab's own requests do not count as
    /// uses in a test.
    pub fn forget_uses(&self) -> Result<()> {
        let mode = fs::metadata(&self.socket).map(|file| file.permissions());
        mode.and_then(|mode| fs::set_permissions(&self.socket, mode))
            .context("begin the socket's times anew")
    }

    /// Returns its socket. In a room it is the only file in its directory.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the daemon itself: process ID, log, room.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Returns the version that it reports, like `20.10.24+dfsg1`.
    pub fn version(&self) -> Result<String> {
        self.ask(["version", "--format", "{{.Server.Version}}"])
    }

    /// Allows every user of the machine to connect, for clients of another user.
    pub fn open_to_all(&self) -> Result<()> {
        fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o666)).context("open the socket to all")
    }

    /// Runs `docker …` against it to its end and returns the output.
    pub fn ask(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        packages::output(self.client()?.args(arguments))
    }

    /// Returns all that a container has written to both of its outputs.
    pub fn read_log(&self, container: &str) -> Result<String> {
        let logs = self
            .client()?
            .args(["logs", container])
            .output()
            .context("docker logs")?;
        let log = [logs.stdout, logs.stderr].concat();
        String::from_utf8(log).context("a container's log")
    }

    /// Returns a `docker` command for this daemon.
    pub fn client(&self) -> Result<Command> {
        let mut docker = self.programs.command("docker")?;
        docker.arg("--host").arg(format!("unix://{}", self.socket.display()));
        // The host user's own contexts and credentials must not be used.
        docker.env("DOCKER_CONFIG", self.daemon.room().join("client"));
        // From outside it would be a client that is invisible on the stage.
        Ok(match &self.stage {
            Some(stage) => stage.take(&docker),
            None => docker,
        })
    }

    /// Loads a docker-archive.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.ask([
            OsStr::new("load"),
            OsStr::new("--quiet"),
            OsStr::new("--input"),
            archive.as_os_str(),
        ])
        .map(drop)
    }

    /// Runs a container of the lab's image: `docker run --detach` with these options and this command.
    pub fn run(&self, name: &str, options: &[&str], command: &[&str]) -> Result<DockerContainer<'_>> {
        let mut run = self.client()?;
        run.args(["run", "--detach", "--name", name]).args(options);
        run.args([
            "--entrypoint",
            command.first().copied().unwrap_or("/client"),
            images::LAB,
        ]);
        let id = packages::output(run.args(command.iter().skip(1)))
            .with_context(|| format!("dockerd's log ends:\n{}", self.daemon.log_tail()))?;
        Ok(DockerContainer {
            docker: self,
            name: name.to_owned(),
            id,
        })
    }

    /// Runs the client program in one of its modes, in a container that has `socket` as `/var/run/docker.sock`, and
    /// waits until it prints `ready`.
    pub fn run_client<'a>(
        &self,
        name: &str,
        socket: &Path,
        mode: impl IntoIterator<Item = &'a str>,
    ) -> Result<DockerContainer<'_>> {
        let volume = format!("{}:/var/run/docker.sock", socket.display());
        let command: Vec<&str> = ["/client"].into_iter().chain(mode).collect();
        let container = self.run(name, &["--volume", &volume], &command)?;
        container.wait_for_line("ready ")?;
        Ok(container)
    }
}

/// A container that Docker itself runs. Dropping it removes it.
#[derive(Debug)]
pub struct DockerContainer<'a> {
    docker: &'a Docker,
    name: String,
    id: String,
}

impl DockerContainer<'_> {
    /// Returns the container's full ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its name, without Docker's slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process ID of its first process, in the daemon's PID namespace.
    pub fn pid(&self) -> Result<u32> {
        let pid = self.docker.ask(["inspect", "--format", "{{.State.Pid}}", &self.id])?;
        pid.parse().with_context(|| format!("{pid:?} is no process id"))
    }

    /// Waits until it has written a line that contains `part`.
    pub fn wait_for_line(&self, part: &str) -> Result<()> {
        wait::until_or_hopeless(&format!("{part:?} from container {}", self.name), READY, || {
            // Read before the log, so that the log is complete if the container has ended.
            let running = self
                .docker
                .ask(["inspect", "--format", "{{.State.Running}}", &self.id])?;
            let log = self.docker.ask(["logs", &self.id])?;
            match (log.contains(part), running.as_str()) {
                (true, _) => Ok(Ok(())),
                (false, "true") => Err(anyhow!("it has written: {log}")),
                (false, _) => Ok(Err(anyhow!("container {} has ended: {log}", self.name))),
            }
        })
    }
}

impl Drop for DockerContainer<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.docker.ask(["rm", "--force", "--volumes", &self.id]) {
            eprintln!("container {} was not removed: {error:#}", self.name);
        }
    }
}

fn command(options: &Options<'_>, room: &Room, socket: &Path, data_root: &Path) -> Result<Command> {
    let path = |own: &str, usual: &str| options.paths.choose(room, own, usual);
    let mut configuration = options.configuration.clone();
    if options.has_trust_key {
        configuration.insert(
            "deprecated-key-path".to_owned(),
            path("key.json", "/etc/docker/key.json")?.display().to_string().into(),
        );
    }
    let file = path("daemon.json", "/etc/docker/daemon.json")?;
    fs::write(&file, serde_json::Value::from(configuration).to_string()).context("configure dockerd")?;
    let mut command = if let Some(name) = options.disguise {
        let program = room.join(name);
        copy_program(&options.programs.path("dockerd")?, &program)?;
        options.programs.with_environment(Command::new(program))
    } else if options.by_loader {
        options.programs.command_by_loader("dockerd")?
    } else {
        options.programs.command("dockerd")?
    };
    command
        .arg("--config-file")
        .arg(file)
        .arg("--data-root")
        .arg(data_root)
        .arg("--exec-root")
        .arg(path("exec", "/run/docker")?)
        .arg("--pidfile")
        .arg(path("docker.pid", "/run/docker.pid")?)
        // The host's network does not change: no bridge, no rule, no forwarding.
        .args([
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .arg("--host")
        .arg(format!("unix://{}", socket.display()));
    if options.lowers_oom_score {
        // It needs CAP_SYS_RESOURCE, which not every test machine grants.
        command.arg("--oom-score-adjust=0");
    }
    for address in &options.also_listen {
        command.arg("--host").arg(address);
    }
    if let Some(containerd) = options.containerd {
        command.arg("--containerd").arg(containerd.socket());
    }
    Ok(command)
}

/// Returns what dockerd and its containerd create outside of the room, which other daemons may be using.
fn shared_leftovers() -> Vec<Task> {
    let mut tasks = vec![Task::SharedCgroup("/docker".into())];
    for folder in [
        "/run/containerd",
        "/run/containerd/s",
        "/run/docker",
        "/run/docker/plugins",
    ] {
        tasks.push(Task::SharedFolder(folder.into()));
    }
    tasks.push(Task::DeadSockets("/run/containerd/s".into()));
    tasks
}
