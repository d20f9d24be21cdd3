//! The live socket tables of all network namespaces. A separate thread enters each namespace and reads its table there.
//!
//! No other thread ever changes its namespace: one thread is started for each round. It visits castoff's own namespace
//! first, then enters the others one after the other, and ends, so that castoff keeps no namespace alive. Needs
//! `CAP_SYS_PTRACE` to open another process's namespace and `CAP_SYS_ADMIN` to enter it; castoff's own namespace needs
//! neither.

use std::io;
use std::os::fd::OwnedFd;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::namespaces::Namespace;
use super::tables::{EnterError, NotEntered, SocketTables, Visitor};
use crate::model::identity::NetNs;
use crate::model::snapshot::HolderMethod;
use crate::sources::kernel::diag::netlink::{BUFFER_LEN, DiagTable};
use crate::sources::kernel::netns::{self, namespace_path, open_expected, open_of_process};

/// The kernel's socket tables.
#[derive(Clone, Debug)]
pub struct KernelTables {
    proc: PathBuf,
    time: Duration,
    deadline: Instant,
}

impl KernelTables {
    /// Returns the tables of the namespaces whose processes are under `proc`. All rounds of one walk together take at
    /// most `time`.
    pub fn new(proc: PathBuf, time: Duration) -> Self {
        let deadline = Instant::now() + time;
        Self { proc, time, deadline }
    }
}

impl SocketTables for KernelTables {
    fn method(&self) -> HolderMethod {
        HolderMethod::SockDiag
    }

    fn begin(&mut self) {
        self.deadline = Instant::now() + self.time;
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered> {
        let (proc, deadline) = (&self.proc, self.deadline);
        thread::scope(|scope| {
            let round = thread::Builder::new()
                .name("castoff-netns".into())
                .spawn_scoped(scope, || visit_each(proc, namespaces, deadline, look));
            match round {
                Ok(round) => round.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
                Err(error) => namespaces
                    .iter()
                    .map(|namespace| NotEntered {
                        netns: namespace.netns,
                        error: EnterError::Thread(io::Error::from(error.kind())),
                    })
                    .collect(),
            }
        })
    }
}

/// Runs on a thread that ends afterwards, because it leaves that thread in the last namespace.
fn visit_each(proc: &Path, namespaces: &[&Namespace], deadline: Instant, look: &mut Visitor<'_>) -> Vec<NotEntered> {
    let own = netns::own();
    let mut buffer = vec![0; BUFFER_LEN];
    let mut not_entered = Vec::new();
    let is_own = |namespace: &&&Namespace| Some(namespace.netns) == own;
    for namespace in namespaces.iter().filter(is_own) {
        look(namespace.netns, &mut DiagTable::new(deadline, &mut buffer));
    }
    for namespace in namespaces.iter().filter(|namespace| !is_own(namespace)) {
        match enter(proc, namespace, deadline) {
            Ok(true) => look(namespace.netns, &mut DiagTable::new(deadline, &mut buffer)),
            Ok(false) => {}
            Err(error) => not_entered.push(NotEntered {
                netns: namespace.netns,
                error,
            }),
        }
    }
    not_entered
}

/// Moves the calling thread into `namespace`. Returns false if the namespace has gone.
fn enter(proc: &Path, namespace: &Namespace, deadline: Instant) -> Result<bool, EnterError> {
    if Instant::now() >= deadline {
        return Err(EnterError::Deadline);
    }
    let Some(file) = open_namespace(proc, namespace)? else {
        return Ok(false);
    };
    netns::enter(&file).map_err(EnterError::Enter)?;
    Ok(true)
}

/// Opens the namespace through the first of its members that still runs. Returns none if they have all ended.
fn open_namespace(proc: &Path, namespace: &Namespace) -> Result<Option<OwnedFd>, EnterError> {
    let mut refused = None;
    for pid in &namespace.members {
        match open_of_process(proc, *pid, namespace.netns) {
            Ok(Some(file)) => return Ok(Some(file)),
            // The member moved to another namespace, its pid was reused, or it has ended.
            Ok(None) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => refused = Some((namespace_path(proc, *pid), errno)),
        }
    }
    if let (Some(point), []) = (&namespace.mounted, &*namespace.members) {
        return open_mounted(proc, point, namespace.netns).map(Some);
    }
    refused.map_or(Ok(None), |(path, errno)| Err(open_error(&path, errno)))
}

/// Opens the namespace at its mount point on the host.
fn open_mounted(proc: &Path, point: &Path, netns: NetNs) -> Result<OwnedFd, EnterError> {
    // Through the root of process 1, because a container's view of the host's root may lack later mounts. If that is
    // refused, castoff's own view is used: the opened file is checked to be the namespace in any case.
    let path = proc.join("1/root").join(point.strip_prefix("/").unwrap_or(point));
    match (open_expected(&path, netns), open_expected(point, netns)) {
        (Ok(Some(file)), _) | (_, Ok(Some(file))) => Ok(file),
        (Ok(None), _) => Err(EnterError::Another(path.display().to_string())),
        (Err(errno), _) => Err(open_error(&path, errno)),
    }
}

fn open_error(path: &Path, errno: Errno) -> EnterError {
    EnterError::Open {
        path: path.display().to_string(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::Pid;
    use crate::sources::kernel::diag::Ask;
    use crate::sources::kernel::diag::table::DumpError;

    #[test]
    fn all_rounds_of_a_walk_share_its_time() {
        let mut tables = KernelTables::new("/proc".into(), Duration::from_millis(20));
        let own = Namespace {
            netns: netns::own().expect("it has one"),
            members: vec![Pid(std::process::id())],
            mounted: None,
        };
        let other = Namespace {
            netns: NetNs(1),
            ..own.clone()
        };
        let mut is_late = || {
            let mut late = false;
            let refused = tables.visit(&[&own, &other], &mut |_, table| {
                late = matches!(table.dump(Ask::Connected, &mut |_| {}), Err(DumpError::Deadline));
                thread::sleep(Duration::from_millis(30));
            });
            let refused = refused
                .iter()
                .all(|refused| matches!(refused.error, EnterError::Deadline));
            (late, refused)
        };
        is_late();
        assert_eq!(is_late(), (true, true), "the second round has no time of its own");
    }
}
