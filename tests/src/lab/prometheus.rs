//! A Prometheus and its promtool: Debian's packages, unpacked into the cache and run from there.
//!
//! They are not of this machine's release but of the newest stable one whose Prometheus supports Kubernetes: bookworm's
//! was built without. It must never touch the host's apt: the lists of this release are in a directory of their own.
//! The archive is that of the host's own sources.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::FlockOperation;
use serde_json::Value;

use super::daemon::Daemon;
use super::packages::{output, run};
use super::rooms::{self, Room};

/// The Debian release that the packages are from: Prometheus 2.53, a long-term line.
const RELEASE: &str = "trixie";
const PACKAGES: [&str; 2] = ["prometheus", "promtool"];
/// The key of Debian's archives, which every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const PATIENCE: Duration = Duration::from_secs(20);

/// The programs.
#[derive(Debug, Clone)]
pub struct Tools {
    root: PathBuf,
}

impl Tools {
    /// Returns the programs, which the first call unpacks into the cache (32 MB, a few seconds).
    ///
    /// # Errors
    /// The host's sources have no archive of Debian, or it cannot be reached; with the end of apt's output.
    pub fn debian() -> Result<Self> {
        let cache = rooms::cache()?;
        let root = cache.join("prometheus");
        let stamp = root.join("packages");
        let wanted = format!("{RELEASE} {}", PACKAGES.join(" "));
        let lock = File::create(cache.join("prometheus.lock")).context("make the lock of Prometheus's cache")?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock Prometheus's cache")?;
        if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == wanted) {
            return Ok(Self { root });
        }
        if root.exists() {
            fs::remove_dir_all(&root).context("remove the outdated Prometheus")?;
        }
        let folder = tempfile::tempdir_in(&cache).context("make a folder for apt")?;
        for package in download(folder.path())? {
            run(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
        }
        fs::write(&stamp, wanted).context("stamp Prometheus's cache")?;
        Ok(Self { root })
    }

    /// Returns a `promtool` command.
    pub fn promtool(&self) -> Command {
        Command::new(self.root.join("usr/bin/promtool"))
    }
}

/// Returns the archive of the host's own release.
fn archive() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("read which release this is")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("this release has no codename")?;
    let targets =
        output(Command::new("apt-get").args(["indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"]))?;
    let of_release = format!("{codename} main ");
    let archive = targets.lines().find_map(|line| line.strip_prefix(&of_release));
    Ok(archive
        .with_context(|| format!("apt's sources name no archive for {codename}"))?
        .to_owned())
}

fn download(folder: &Path) -> Result<Vec<PathBuf>> {
    for part in [
        "etc/apt.conf.d",
        "etc/preferences.d",
        "etc/sources.list.d",
        "state/lists/partial",
        "cache/archives/partial",
    ] {
        fs::create_dir_all(folder.join(part)).context("make apt's folders")?;
    }
    let sources = format!("deb [signed-by={KEYRING}] {} {RELEASE} main\n", archive()?);
    fs::write(folder.join("etc/sources.list"), sources).context("write apt's sources")?;
    let here = folder.display();
    let settings = format!(
        "Dir::Etc \"{here}/etc\";\nDir::State \"{here}/state\";\nDir::State::status \"/var/lib/dpkg/status\";\n\
         Dir::Cache \"{here}/cache\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
    );
    let configuration = folder.join("apt.conf");
    fs::write(&configuration, settings).context("write apt's configuration")?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", &configuration).current_dir(folder).arg("-q");
        apt
    };
    run(apt().arg("update"))?;
    run(apt().arg("download").args(PACKAGES))?;
    let entries = fs::read_dir(folder).context("read what apt downloaded")?;
    let files: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    Ok(files
        .into_iter()
        .filter(|f| f.extension().is_some_and(|e| e == "deb"))
        .collect())
}

/// A running Prometheus. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    daemon: Daemon,
    address: String,
}

impl Prometheus {
    /// Starts one with this configuration and waits until it is ready.
    ///
    /// # Errors
    /// It refuses the configuration or does not become ready; with the end of its log.
    pub fn start(configuration: &str) -> Result<Self> {
        let tools = Tools::debian()?;
        let room = Room::make("prometheus")?;
        let file = room.file("prometheus.yml", configuration)?;
        // It does not report the port that the kernel chose, so the lab chooses one.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(tools.root.join("usr/bin/prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", room.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.console.templates=/nonexistent")
            .arg("--web.console.libraries=/nonexistent");
        let daemon = Daemon::start("prometheus", &room, &command, &[])?;
        let this = Self { daemon, address };
        this.daemon.wait_until(|| this.get("/-/ready").map(drop))?;
        Ok(this)
    }

    /// Returns its address, `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the daemon itself.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Returns the `data` of an answer of its API: `api("alerts", &[])`.
    ///
    /// # Errors
    /// The answer, if it is not a success.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let body = self.get(&format!("/api/v1/{path}?{}", pairs.join("&")))?;
        let mut answer: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
        ensure!(answer["status"] == "success", "{path} {parameters:?}: {body}");
        Ok(answer["data"].take())
    }

    /// Returns the current series of an expression.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.api("query", &[("query", expression)])?;
        match data["result"].as_array() {
            Some(series) if data["resultType"] == "vector" => Ok(series.clone()),
            _ => bail!("{expression} is no vector: {data}"),
        }
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // 1.0, so that its answers come in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        // The body of a refused query has the reason, and so has its status in JSON.
        let server_is_fine = !head.split(' ').nth(1).is_some_and(|status| status.starts_with('5'));
        ensure!(server_is_fine, "{path}: {head}\n{body}");
        Ok(body.to_owned())
    }
}
