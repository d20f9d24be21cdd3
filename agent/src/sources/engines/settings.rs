//! The settings of a dockerd, from its arguments and its `daemon.json`.
//!
//! Files are read for root's daemons only, and only their settings can improve a verdict. castoff may read every file,
//! so an ordinary user's process could point it to files that the user may not read. Relies on dockerd(8) and moby
//! `daemon/config`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::names;
use super::program::{self, is_true, option, options, short_options};
use crate::model::engine::Security;
use crate::model::identity::ProcessKey;
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::socket::SocketName;
use crate::sources::aside::Aside;
use crate::sources::docker::{CONFIGURATIONS, DATA_ROOTS};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::processes::{ProcessEntry, ProcessReader};

/// The limit of a configuration file, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// The time for the files of all daemons together, because their disk may hang and the look at processes and sockets
/// must not wait for it.
const DEADLINE: Duration = Duration::from_secs(1);

/// The keys of a `daemon.json` that castoff reads.
#[derive(Debug, Default, Deserialize)]
pub(in crate::sources) struct Configuration {
    /// The directory of images, containers and volumes.
    #[serde(rename = "data-root", alias = "graph")]
    pub(in crate::sources) data_root: Option<String>,
    #[serde(rename = "exec-root")]
    exec_root: Option<String>,
    /// The socket of the daemon's containerd.
    containerd: Option<String>,
    #[serde(rename = "containerd-namespace")]
    namespace: Option<String>,
    hosts: Option<Vec<String>>,
    tls: Option<bool>,
    tlsverify: Option<bool>,
}

impl Configuration {
    /// Reads the file. The error is `NotFound` if there is no file, and `InvalidData` if it is no configuration.
    pub(in crate::sources) fn read(root: &Rooted, path: &str) -> io::Result<Self> {
        Self::parse(&read_bytes(root, path)?)
    }

    /// Parses a configuration. dockerd accepts an empty file.
    fn parse(file: &[u8]) -> io::Result<Self> {
        if file.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(file).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Returns the directories of Docker's data by the files below `root`: the default ones, and those that a configuration
/// names.
pub(in crate::sources) fn data_roots_of(root: &Rooted) -> BTreeSet<String> {
    let configured = CONFIGURATIONS
        .iter()
        .filter_map(|path| Configuration::read(root, path).ok()?.data_root);
    let usual = DATA_ROOTS.iter().map(|&path| path.to_owned());
    usual.chain(configured).collect()
}

/// Reads the settings of each dockerd once in a look.
#[derive(Debug, Default)]
pub(super) struct SettingsReader {
    aside: Aside,
    /// The settings that this look has read; none if they could not be read.
    read: BTreeMap<ProcessKey, Option<Arc<DaemonSettings>>>,
    /// The daemon whose files exceeded the deadline in this look.
    late: Option<ProcessKey>,
    /// The daemon without settings that listens on this TCP port.
    unclear: Option<(ProcessKey, u16)>,
    /// The containerd namespaces that root's daemons have used, but the default one. Containers may outlive their daemon.
    namespaces: BTreeSet<String>,
}

impl SettingsReader {
    /// Starts a look.
    pub(super) fn begin(&mut self) {
        self.read.clear();
        (self.late, self.unclear) = (None, None);
    }

    /// Returns the settings of `process`. Returns none if they cannot be read.
    pub(super) fn read(
        &mut self,
        reader: &ProcessReader,
        entry: &ProcessEntry,
        process: &Process,
    ) -> Option<Arc<DaemonSettings>> {
        if let Some(read) = self.read.get(&entry.key) {
            return read.clone();
        }
        let read = self.read_anew(reader, entry, process).map(Arc::new);
        let namespace = read.as_ref().and_then(|settings| settings.namespace());
        self.namespaces.extend(namespace.map(str::to_owned));
        self.read.insert(entry.key, read.clone());
        read
    }

    fn read_anew(&mut self, reader: &ProcessReader, entry: &ProcessEntry, process: &Process) -> Option<DaemonSettings> {
        let command = program::read_command(reader, entry).ok()?;
        if process.uid != Some(0) {
            return Some(DaemonSettings::of_arguments(command));
        }
        let root = Rooted::new(reader.open_root(entry.key).ok()?);
        let answer = self.aside.run(DEADLINE, move || DaemonSettings::read(&root, command));
        if answer.is_none() {
            self.late = Some(entry.key);
        }
        answer?
    }

    /// Returns the containerd namespaces that root's daemons have used, but the default one.
    pub(super) const fn namespaces(&self) -> &BTreeSet<String> {
        &self.namespaces
    }

    /// Records that a daemon, whose settings could not be read, listens on a TCP port.
    pub(super) fn add_unclear_port(&mut self, reader: &ProcessReader, entry: &ProcessEntry, port: u16) {
        // A daemon that has ended meanwhile has no settings and no port.
        if program::read_command(reader, entry).is_ok() {
            self.unclear = Some((entry.key, port));
        }
    }

    /// Returns the gap if settings of a daemon were not read in this look that may name a TCP port of its API.
    pub(super) fn gap(&self) -> Option<Gap> {
        let asked = |daemon: ProcessKey| format!("the settings of dockerd, pid {}", daemon.pid);
        if let Some(late) = self.late {
            let answer = "its files did not answer within a second: their disk hangs";
            return Some(Gap::new(Reason::DeadlineExceeded, Hides::Client, asked(late), answer));
        }
        let (daemon, port) = self.unclear?;
        let answer =
            format!("its configuration cannot be read, and it listens on TCP port {port}, which may be its API");
        Some(Gap::new(Reason::Malformed, Hides::Client, asked(daemon), answer))
    }
}

/// The settings of one dockerd.
#[derive(Debug)]
pub(super) struct DaemonSettings {
    command: Vec<String>,
    /// None if the daemon is not root's.
    file: Option<Configuration>,
    /// The path of the configured containerd's socket in the daemon's root, with every link resolved.
    resolved_containerd: Option<String>,
}

impl DaemonSettings {
    fn of_arguments(command: Vec<String>) -> Self {
        Self {
            command,
            file: None,
            resolved_containerd: None,
        }
    }

    /// Reads the files of root's dockerd with these arguments, in its root. Returns none if they cannot be read.
    fn read(root: &Rooted, command: Vec<String>) -> Option<Self> {
        let file = match settings_file(root, &command).ok()? {
            Some((_, file)) => Configuration::parse(&file).ok()?,
            None => Configuration::default(),
        };
        let mut settings = Self {
            file: Some(file),
            ..Self::of_arguments(command)
        };
        let walked = settings.containerd().and_then(|path| root.walk(path).ok());
        settings.resolved_containerd = walked.map(|walked| walked.name.to_string_lossy().into_owned());
        Some(settings)
    }

    /// Returns the path of containerd's socket with its links resolved, as far as they could be.
    pub(super) fn resolved_containerd(&self) -> Option<&str> {
        self.resolved_containerd.as_deref().or_else(|| self.containerd())
    }

    /// Returns the directory of its internal sockets; none if that is the default one.
    fn exec_root(&self) -> Option<&str> {
        let file = self.file.as_ref()?;
        option(&self.command, &["--exec-root"]).or(file.exec_root.as_deref())
    }

    /// Returns the configured path of containerd's socket; none if dockerd searches for one itself.
    fn containerd(&self) -> Option<&str> {
        let in_file = self.file.as_ref().and_then(|file| file.containerd.as_deref());
        let configured = option(&self.command, &["--containerd"]).or(in_file)?;
        Some(configured.strip_prefix("unix://").unwrap_or(configured)).filter(|path| !path.is_empty())
    }

    /// Returns the configured addresses to listen on.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        let in_file = self
            .file
            .iter()
            .flat_map(|file| &file.hosts)
            .flatten()
            .map(String::as_str);
        hosts_of(&self.command).chain(in_file)
    }

    /// True if this socket of the daemon serves no API: it is in the directory of its internal sockets, and the settings do
    /// not name it.
    pub(super) fn is_internal(&self, name: &SocketName) -> bool {
        let is_below = match self.exec_root() {
            Some(root) => names::is_internal_below(root, name),
            None => names::is_internal_to_its_dockerd(name),
        };
        is_below && !self.serves(name)
    }

    fn serves(&self, name: &SocketName) -> bool {
        let SocketName::Path(path) = name else { return false };
        self.hosts().any(|host| host.strip_prefix("unix://") == Some(path))
    }

    /// Returns the containerd namespace of its containers; none if that is the default one, or the daemon is not root's.
    fn namespace(&self) -> Option<&str> {
        let file = self.file.as_ref()?;
        option(&self.command, &["--containerd-namespace"]).or(file.namespace.as_deref())
    }

    /// Returns the security of its TCP listeners, which is plain unless TLS is configured. None if the daemon is not
    /// root's.
    pub(super) fn security(&self) -> Option<Security> {
        let file = self.file.as_ref()?;
        Some(if says(&self.command, "--tlsverify", file.tlsverify) {
            Security::VerifiedTls
        } else if says(&self.command, "--tls", file.tls) {
            Security::Tls
        } else {
            Security::Plain
        })
    }
}

/// Returns the addresses to listen on in a dockerd's arguments.
pub(super) fn hosts_of(command: &[String]) -> impl Iterator<Item = &str> {
    options(command, &["--host"]).chain(short_options(command, 'H'))
}

/// Returns the value of a flag: `--tls`, `--tls=true`.
pub(super) fn says(command: &[String], name: &str, in_file: Option<bool>) -> bool {
    let given = command.iter().rev().find_map(|argument| {
        let value = argument.strip_prefix(name)?;
        match value.strip_prefix('=') {
            None => value.is_empty().then_some(true),
            Some(value) => Some(is_true(value)),
        }
    });
    given.or(in_file).unwrap_or(false)
}

/// Reads a `daemon.json` and the ports of its hosts.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn fuzz(bytes: &[u8]) {
    let Ok(file) = serde_json::from_slice(bytes) else {
        return;
    };
    let settings = DaemonSettings {
        file: Some(file),
        ..DaemonSettings::of_arguments(Vec::new())
    };
    let _ = (settings.exec_root(), settings.containerd());
    let security = settings.security().unwrap_or(Security::Plain);
    for host in settings.hosts() {
        let _ = port_of(host, security);
    }
}

/// The path and the content of a configuration.
type SettingsFile = (String, Vec<u8>);

/// Reads the file that a dockerd with these arguments uses: the one that they name, else the first of the default ones.
/// Returns its path and its content, or none if there is no such file.
///
/// # Errors
/// The path of the file, and the error.
pub(super) fn settings_file(root: &Rooted, command: &[String]) -> Result<Option<SettingsFile>, (String, io::Error)> {
    let named = option(command, &["--config-file"]);
    let paths = named.map_or_else(|| CONFIGURATIONS.to_vec(), |path| vec![path]);
    for path in paths {
        match read_bytes(root, path) {
            Ok(file) => return Ok(Some((path.to_owned(), file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((path.to_owned(), error)),
        }
    }
    Ok(None)
}

/// Reads a file, without the mark of its byte order and blanks around it, which dockerd ignores.
fn read_bytes(root: &Rooted, path: &str) -> io::Result<Vec<u8>> {
    let file = root.read_file(path, FILE_LIMIT)?;
    Ok(file
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(&file)
        .trim_ascii()
        .to_vec())
}

/// Returns the port of a host in dockerd's notation: `tcp://0.0.0.0:2376`, `:2375`, `tcp://localhost`. None if it is
/// not TCP.
pub(super) fn port_of(host: &str, security: Security) -> Option<u16> {
    let rest = match host.split_once("://") {
        Some(("tcp", rest)) => rest,
        Some(_) => return None,
        None => host,
    };
    let rest = rest.split('/').next().unwrap_or(rest);
    match rest.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().ok(),
        _ => Some(security.usual_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(command: &[&str], file: &str) -> DaemonSettings {
        DaemonSettings {
            file: Some(serde_json::from_str(file).expect("a configuration")),
            ..DaemonSettings::of_arguments(command.iter().map(|a| (*a).to_owned()).collect())
        }
    }

    #[test]
    fn the_containerd_is_the_configured_one() {
        #[rustfmt::skip]
        let table: [(&[&str], &str, Option<&str>); 6] = [
            (&["dockerd"], "{}", None),
            (&["dockerd", "--containerd=/run/a.sock"], "{}", Some("/run/a.sock")),
            (&["dockerd", "--containerd", "unix:///run/a.sock"], "{}", Some("/run/a.sock")),
            (&["dockerd"], r#"{"containerd":"/run/b.sock"}"#, Some("/run/b.sock")),
            (&["dockerd", "--containerd=/run/a.sock"], r#"{"containerd":"/run/b.sock"}"#, Some("/run/a.sock")),
            (&["dockerd", "--containerd-namespace=x"], r#"{"containerd":""}"#, None),
        ];
        for (command, file, expected) in table {
            assert_eq!(settings(command, file).containerd(), expected, "{command:?} {file}");
        }
    }

    #[test]
    fn the_arguments_come_before_the_file() {
        use Security::{Plain, Tls, VerifiedTls};
        #[rustfmt::skip]
        let table: [(&[&str], &str, Security); 8] = [
            (&["dockerd"], "{}", Plain),
            (&["dockerd", "--tls"], "{}", Tls),
            (&["dockerd", "--tlsverify"], "{}", VerifiedTls),
            (&["dockerd", "--tls", "--tlsverify=true"], "{}", VerifiedTls),
            (&["dockerd", "--tlsverify=false"], r#"{"tlsverify":true}"#, Plain),
            (&["dockerd"], r#"{"tlsverify":true,"debug":true}"#, VerifiedTls),
            (&["dockerd"], r#"{"tls":true}"#, Tls),
            (&["dockerd", "--tlscacert=/ca.pem"], "{}", Plain),
        ];
        for (command, file, expected) in table {
            assert_eq!(settings(command, file).security(), Some(expected), "{command:?} {file}");
        }
    }

    #[test]
    fn hosts_are_read_in_every_notation() {
        let given = settings(
            &[
                "dockerd",
                "-H",
                "fd://",
                "-Htcp://:2377",
                "--host=tcp://0.0.0.0:1234",
                "-H=unix:///x",
            ],
            r#"{"hosts":["tcp://[::1]:99"]}"#,
        );
        let ports = |security| given.hosts().filter_map(|h| port_of(h, security)).collect::<Vec<_>>();
        assert_eq!(ports(Security::Plain), [1234, 2377, 99]);
        for (host, port) in [
            ("tcp://localhost", Some(2375)),
            ("tcp://[::1]", Some(2375)),
            (":2400", Some(2400)),
            ("127.0.0.1:2400", Some(2400)),
            ("tcp://:0x", None),
            ("npipe://x", None),
        ] {
            assert_eq!(port_of(host, Security::Plain), port, "{host}");
        }
        assert_eq!(port_of("tcp://localhost", Security::VerifiedTls), Some(2376));
    }
}
