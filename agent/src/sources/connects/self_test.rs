//! Checks that the kernel program reports a connect and a request of castoff's own: a program that silently reports
//! nothing would be worse than none.
//!
//! A child process executes castoff itself, connects to a socket of castoff's, sends a request and exits immediately.
//! The socket's file is in a file system in memory if there is one, where stat(2) and the kernel report the same
//! device.

use std::fs::{Permissions, metadata, remove_file, set_permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::getuid;

use super::record::Record;
use super::running::{OwnRecords, Running, lock};
use crate::model::connect::SelfTest;
use crate::model::identity::FileIdentity;
use crate::model::request::{Operation, Request};
use crate::model::workload::Membership;
use crate::sources::kernel::process::ProcessDirectory;

/// The argument with which castoff executes itself. The socket's path follows.
pub const ARGUMENT: &str = "self-test-connect";

/// The time between two tests.
const PAUSE: Duration = Duration::from_secs(3600);
/// The time between two tests if something suggests that the program does not work. It bounds the cost of clients that
/// the program does not see.
const PAUSE_IN_DOUBT: Duration = Duration::from_secs(10);
/// The deadline of the child, on a busy machine.
const CHILD_DEADLINE: Duration = Duration::from_secs(10);
/// The directories for the socket: the first one that castoff can write to is used.
const FOLDERS: [&str; 3] = ["/dev/shm", "/run", "/tmp"];

/// Connects to the socket at `path`, sends a request and closes the connection. The child runs this.
///
/// # Errors
/// Those of connect(2) and send(2).
pub fn connect(path: &Path) -> io::Result<()> {
    UnixStream::connect(path)?.write_all(b"HEAD /_ping HTTP/1.1\r\n\r\n")
}

/// The time of the next test.
pub(super) struct Schedule {
    /// castoff's own executable.
    program: PathBuf,
    proc: PathBuf,
    last: Option<Instant>,
}

impl Schedule {
    pub(super) const fn new(program: PathBuf, proc: PathBuf) -> Self {
        Self {
            program,
            proc,
            last: None,
        }
    }

    /// Tests `running`, if a test is due.
    pub(super) fn test(&mut self, running: &Mutex<Running>) {
        let elapsed = self.last.map(|last| last.elapsed());
        if !is_due(elapsed, lock(running).doubted) {
            return;
        }
        self.last = Some(Instant::now());
        lock(running).doubted = false;
        let (failure, requests) = match self.run(running) {
            Ok(own) => (judge(&own.connects, &self.proc), judge_requests(own.requests)),
            Err(error) => (Some(format!("it could not be run: {error}")), None),
        };
        if let Some(failure) = &failure {
            tracing::warn!(%failure, "the self-test of connect events failed");
        }
        let at = SystemTime::now().into();
        let mut running = lock(running);
        running.self_test = Some(SelfTest { at, failure });
        running.requests_failure = requests;
    }

    /// Runs a child and returns the records of its connect and request.
    fn run(&self, running: &Mutex<Running>) -> io::Result<OwnRecords> {
        let socket = OwnSocket::bind()?;
        lock(running).watch_own(socket.file)?;
        let ended = self.execute(&socket.path, running);
        let told = lock(running).take_own(socket.file);
        ended.map(|()| told)
    }

    fn execute(&self, socket: &Path, running: &Mutex<Running>) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(ARGUMENT).arg(socket).env_clear();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let start = Instant::now();
        while start.elapsed() < CHILD_DEADLINE {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("castoff's own child failed: {status}"))),
                // The ring buffer continues to fill meanwhile.
                None => {
                    lock(running).read();
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        child.kill()?;
        child.wait()?;
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// True if a test is due, this long after the last one.
fn is_due(elapsed: Option<Duration>, doubted: bool) -> bool {
    let pause = if doubted { PAUSE_IN_DOUBT } else { PAUSE };
    elapsed.is_none_or(|elapsed| elapsed >= pause)
}

/// Returns why the recorded request is not the child's; none if it is, or if no program sees requests.
fn judge_requests(requests: Option<Vec<Request>>) -> Option<String> {
    let ping = Request {
        operation: Operation::System,
        version: None,
    };
    let is_told = requests?.contains(&ping);
    (!is_told).then(|| "the kernel did not report castoff's own request".to_owned())
}

/// Returns why the recorded connect is not the child's; none if it is.
fn judge(records: &[Record], proc: &Path) -> Option<String> {
    let Some(record) = records.first() else {
        return Some("the kernel did not report castoff's own connect".to_owned());
    };
    let uid = getuid().as_raw();
    if record.origin.uid != uid {
        return Some(format!(
            "castoff's own connect was reported for user {}, not {uid}",
            record.origin.uid
        ));
    }
    let own = ProcessDirectory::open(&proc.join("self")).and_then(|own| own.read_cgroups());
    let own = own.map(|groups| Membership::from_names(&groups)).unwrap_or_default();
    // In a cgroup namespace castoff does not know its own container.
    let is_alike = own.containers.is_empty() || own.containers == record.membership().containers;
    if record.origin.groups.is_empty() || !is_alike {
        return Some("castoff's own connect was reported without its control group".to_owned());
    }
    None
}

/// A listening socket whose file is removed with it.
struct OwnSocket {
    path: PathBuf,
    file: FileIdentity,
    _listener: UnixListener,
}

impl OwnSocket {
    fn bind() -> io::Result<Self> {
        let mut failure = io::ErrorKind::NotFound.into();
        let moment = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        for folder in FOLDERS {
            // A name that no other process can have used before.
            let name = format!(".castoff-{}-{}.sock", process::id(), moment.as_nanos());
            let path = Path::new(folder).join(name);
            match UnixListener::bind(&path) {
                Ok(listener) => return Self::of(path, listener),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn of(path: PathBuf, listener: UnixListener) -> io::Result<Self> {
        let made = metadata(&path)?;
        let socket = Self {
            file: FileIdentity::from_stat(made.dev(), made.ino()),
            path,
            _listener: listener,
        };
        set_permissions(&socket.path, Permissions::from_mode(0o600))?;
        Ok(socket)
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let _ = remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::bytes;
    use super::*;
    use crate::sources::recorded::RecordedHost;

    fn record(uid: u32, group: &str) -> Record {
        let mut record = Record::parse(&bytes("castoff", group)).expect("it is one");
        record.origin.uid = uid;
        record
    }

    fn failure(group_of_castoff: &str, records: &[Record]) -> Option<String> {
        let host = RecordedHost::new();
        host.process(40, 1, "castoff").cgroup(group_of_castoff);
        std::os::unix::fs::symlink("40", host.paths().proc.join("self")).expect("a fresh link");
        judge(records, &host.paths().proc)
    }

    #[test]
    fn a_missing_or_wrong_connect_fails_the_test() {
        let own = getuid().as_raw();
        let id = "4f2a".repeat(16);
        let (inside, told) = (format!("/docker/{id}"), format!("{id}/docker//"));
        assert_eq!(failure(&inside, &[record(own, &told)]), None);
        assert_eq!(failure("/", &[record(own, &told)]), None, "a namespace of its own");
        assert_eq!(failure("/", &[record(own, "/")]), None);
        for records in [
            vec![],
            vec![record(own + 1, &told)],
            vec![record(own, "")],
            vec![record(own, "cron.service/system.slice//")],
        ] {
            assert!(failure(&inside, &records).is_some(), "{records:?}");
        }
    }

    #[test]
    fn a_test_in_doubt_is_due_early_and_not_at_once_again() {
        assert!(is_due(None, false));
        for (seconds, doubted, due) in [
            (3_599, false, false),
            (3_600, false, true),
            (9, true, false),
            (10, true, true),
        ] {
            let elapsed = Some(Duration::from_secs(seconds));
            assert_eq!(is_due(elapsed, doubted), due, "{seconds} {doubted}");
        }
    }

    #[test]
    fn a_missing_request_fails_the_test_if_requests_are_seen() {
        let ping = |operation| Request {
            operation,
            version: None,
        };
        assert_eq!(judge_requests(None), None);
        assert_eq!(judge_requests(Some(vec![ping(Operation::System)])), None);
        assert!(judge_requests(Some(Vec::new())).is_some());
        assert!(judge_requests(Some(vec![ping(Operation::Read)])).is_some());
    }

    #[test]
    fn the_socket_is_removed_after_the_test() {
        let socket = OwnSocket::bind().expect("a folder to write to");
        let path = socket.path.clone();
        assert!(connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }
}
