//! The socket on which the node's runtime serves CRI, and the processes that are expected there.

use super::engine::EngineSighting;
use super::exposure::Reach;
use super::process::Process;
use super::reading::Sighting;
use super::snapshot::ConnectionsSeen;
use super::workload::Unit;

/// Programs that come with a runtime to query it by hand.
const TOOLS: [&str; 3] = ["ctr", "crictl", "crio-status"];

/// The directories that hold such programs, besides the runtime's own.
const TOOL_DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/bin"];

/// The runtime's socket as one look sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSocket {
    /// The runtime's process, where it was found, and its one listener. It is no engine: its kind is `other`, its API CRI.
    pub server: EngineSighting,
    /// The kubelet and the processes that serve the socket, as far as they were found.
    pub expected: Vec<Process>,
    /// The connections to the socket.
    pub connections: Sighting<ConnectionsSeen>,
    /// The mounts of containers that lead to it.
    pub reaches: Sighting<Vec<Reach>>,
}

impl RuntimeSocket {
    /// True if a process is the kubelet, the runtime, or a tool of the runtime. Its name proves nothing: it must belong to root
    /// in castoff's user namespace, and be in no container.
    pub fn expects(&self, process: &Process) -> bool {
        let membership = &process.membership;
        let is_of_host = process.uid == Some(0) && membership.containers.is_empty() && membership.pod_uid.is_none();
        let is_one = |own: &Process| {
            own.key == process.key || is_of_host && (is_alike(own, process) || is_tool_beside(own, process))
        };
        self.expected.iter().any(is_one)
    }
}

/// True if both execute the same program, or are in the same service: containerd's shims are in containerd's.
fn is_alike(own: &Process, process: &Process) -> bool {
    let of_one_service = match (&own.membership.unit, &process.membership.unit) {
        (Some(Unit::System { name }), Some(Unit::System { name: other })) => {
            name == other && name.ends_with(".service")
        }
        _ => false,
    };
    of_one_service || own.executable.is_some() && own.executable == process.executable
}

/// True if a process executes a tool of the runtime, from the directory of the runtime or a usual one.
fn is_tool_beside(own: &Process, process: &Process) -> bool {
    let split = |process: &Process| -> Option<(String, String)> {
        let (directory, name) = process.executable.as_deref()?.rsplit_once('/')?;
        Some((directory.to_owned(), name.to_owned()))
    };
    let own_directory = split(own).map(|(directory, _)| directory);
    split(process).is_some_and(|(directory, name)| {
        TOOLS.contains(&name.as_str())
            && (TOOL_DIRECTORIES.contains(&directory.as_str()) || own_directory == Some(directory))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::{contained, id, process, runtime_socket};
    use crate::model::workload::{Manager, Membership};

    fn in_service(process: Process, name: &str) -> Process {
        Process {
            membership: Membership {
                unit: Some(Unit::System { name: name.into() }),
                ..Membership::default()
            },
            ..process
        }
    }

    #[test]
    fn the_kubelet_the_runtime_and_its_tools_are_expected() {
        let mut socket = runtime_socket();
        socket.expected = vec![
            in_service(process(700, "/usr/bin/kubelet"), "kubelet.service"),
            in_service(process(600, "/opt/containerd/bin/containerd"), "containerd.service"),
        ];
        for expected in [
            process(700, "/usr/bin/kubelet"),
            process(701, "/usr/bin/kubelet"), // it was restarted
            process(601, "/opt/containerd/bin/containerd"),
            process(602, "/opt/containerd/bin/ctr"),
            process(603, "/usr/local/bin/crictl"),
            in_service(process(604, "/usr/bin/containerd-shim-runc-v2"), "containerd.service"),
        ] {
            assert!(socket.expects(&expected), "{expected:?}");
        }
        for other in [
            process(800, "/usr/bin/dockerd"),
            in_service(process(801, "/usr/bin/agent"), "agent.service"),
        ] {
            assert!(!socket.expects(&other), "{other:?}");
        }
    }

    #[test]
    fn a_name_alone_makes_no_process_the_runtimes_own() {
        let mut socket = runtime_socket();
        let session = |process: Process| in_service(process, "session-3.scope");
        socket.expected = vec![session(process(600, "/usr/bin/containerd"))];
        let named = |pid, executable: &str| process(pid, executable);
        let of_user = Process {
            uid: Some(1000),
            ..named(900, "/usr/bin/containerd")
        };
        let in_pod = Process {
            executable: Some("/usr/bin/ctr".into()),
            ..contained(901, Manager::CriContainerd, &[id(1)])
        };
        let unknown_user = Process {
            uid: None,
            ..named(902, "/usr/bin/ctr")
        };
        for other in [
            of_user,
            in_pod,
            unknown_user,
            named(903, "/tmp/ctr"),
            session(named(904, "/usr/bin/agent")),
        ] {
            assert!(!socket.expects(&other), "{other:?}");
        }
    }
}
