//! The text of each finding: its meaning, the reason why it matters, and the steps to take. The source of the advice in a report
//! and of `castoff explain`.

mod upgrades;

use std::fmt::Display;

use super::report::{Code, Finding, Severity};

/// The text for one code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code in words.
    pub title: &'static str,
    /// The meaning of the finding, and the evidence for it.
    pub meaning: &'static str,
    /// The reason why it matters.
    pub why: &'static str,
    /// The steps to take: the first sentence is the advice of each finding.
    pub instead: &'static [&'static str],
    /// Pages with more.
    pub links: &'static [&'static str],
}

impl Entry {
    /// The steps for a reader of the entry itself: none of them refers to the entry.
    pub fn steps(&self) -> impl Iterator<Item = String> {
        self.instead
            .iter()
            .map(|step| match step.split_once("; `castoff explain ") {
                Some((step, _)) => format!("{step}."),
                None => (*step).to_owned(),
            })
    }
}

const MIGRATING: &str = "https://kubernetes.io/docs/tasks/administer-cluster/migrating-from-dockershim/";
const CHECK: &str = "https://kubernetes.io/docs/tasks/administer-cluster/migrating-from-dockershim/check-if-dockershim-removal-affects-you/";
const TELEMETRY: &str = "https://kubernetes.io/docs/tasks/administer-cluster/migrating-from-dockershim/migrating-telemetry-and-security-agents/";
const CHANGE: &str =
    "https://kubernetes.io/docs/tasks/administer-cluster/migrating-from-dockershim/change-runtime-containerd/";
const CRI: &str = "https://kubernetes.io/docs/concepts/architecture/cri/";
const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";
const CGROUPS: &str = "https://kubernetes.io/docs/concepts/architecture/cgroups/";

/// Makes a finding with the advice of the catalogue.
pub(super) fn finding(code: Code, severity: Severity, subject: impl Display, message: impl Display) -> Finding {
    Finding {
        code,
        severity,
        subject: subject.to_string(),
        message: message.to_string(),
        advice: entry(code).instead[0].to_owned(),
    }
}

/// Returns the text for one code.
pub const fn entry(code: Code) -> &'static Entry {
    match code {
        Code::RuntimeIsDocker => &RUNTIME_IS_DOCKER,
        Code::CriV1alpha2Only => &CRI_V1ALPHA2_ONLY,
        Code::KubeletCeiling => &KUBELET_CEILING,
        Code::RuntimeEndOfLife => &RUNTIME_END_OF_LIFE,
        Code::RuntimeDeprecation => &RUNTIME_DEPRECATION,
        Code::CgroupV1 => &CGROUP_V1,
        Code::SocketClient => &SOCKET_CLIENT,
        Code::DockerRelay => &upgrades::DOCKER_RELAY,
        Code::OldDockerApi => &OLD_DOCKER_API,
        Code::SocketExposure => &SOCKET_EXPOSURE,
        Code::ForeignSocket => &FOREIGN_SOCKET,
        Code::RuntimeSocketClient => &upgrades::RUNTIME_SOCKET_CLIENT,
        Code::RuntimeSocketExposure => &upgrades::RUNTIME_SOCKET_EXPOSURE,
        Code::DanglingMount => &DANGLING_MOUNT,
        Code::StaleMount => &STALE_MOUNT,
        Code::DockershimMount => &DOCKERSHIM_MOUNT,
        Code::DockerFiles => &DOCKER_FILES,
        Code::DockerInDocker => &DOCKER_IN_DOCKER,
        Code::DockerTcp => &DOCKER_TCP,
        Code::ShadowContainers => &SHADOW_CONTAINERS,
        Code::EngineLeftOver => &ENGINE_LEFT_OVER,
        Code::CriPluginOff => &CRI_PLUGIN_OFF,
        Code::SharedContainerd => &SHARED_CONTAINERD,
        Code::DaemonConfig => &upgrades::DAEMON_CONFIG,
        Code::DockerCaller => &upgrades::DOCKER_CALLER,
        Code::UnknownRelease => &upgrades::UNKNOWN_RELEASE,
        Code::KubeletEndOfLife => &upgrades::KUBELET_END_OF_LIFE,
        Code::ShimOrphan => &upgrades::SHIM_ORPHAN,
        Code::CriMetrics => &upgrades::CRI_METRICS,
        Code::SubidRange => &upgrades::SUBID_RANGE,
        Code::GetsubidsMissing => &upgrades::GETSUBIDS_MISSING,
        Code::RuntimeUpgradePath => &upgrades::RUNTIME_UPGRADE_PATH,
        Code::BlindSpot => &BLIND_SPOT,
    }
}

const RUNTIME_IS_DOCKER: Entry = Entry {
    title: "the kubelet's own runtime is Docker",
    meaning: "The kubelet of this node runs its pods through Docker, with the dockershim of kubelets up to 1.23 or \
              with cri-dockerd. castoff reads the kubelet's flags and files, and asks the runtime for its name over \
              CRI.",
    why: "Every pod of the node depends on dockerd. A kubelet from 1.24 on has no dockershim; cri-dockerd continues to \
          work, with a second daemon, a root-equivalent socket and releases of its own.",
    instead: &[
        "Move the node to containerd or CRI-O: drain it, change the kubelet's containerRuntimeEndpoint, restart.",
        "Before that, let castoff show the other clients of its Docker socket: those clients do not move by themselves.",
    ],
    links: &[CHANGE, MIGRATING],
};

const CRI_V1ALPHA2_ONLY: Entry = Entry {
    title: "the runtime has no CRI v1",
    meaning: "The runtime answered Unimplemented to CRI v1 and speaks only v1alpha2, as containerd up to 1.5, dockershim \
              and cri-dockerd up to 0.2 do.",
    why: "A kubelet from Kubernetes 1.26 on needs CRI v1 and exits without it.",
    instead: &["Upgrade the runtime before the kubelet: containerd 1.6 or newer, CRI-O 1.20 or newer."],
    links: &[CRI],
};

const KUBELET_CEILING: Entry = Entry {
    title: "the newest kubelet that this runtime can serve",
    meaning: "The runtime lacks something that newer kubelets need. Without CRI v1, the newest kubelet is 1.25. \
              Without RuntimeConfig (containerd 1.x, CRI-O before 1.28, cri-dockerd before 0.3.17), Kubernetes \
              announces that it is 1.37; it has changed this version twice. With dockershim, it is 1.23. The kubelet's \
              own metric kubelet_cri_losing_support may name another version, depending on its patch release.",
    why: "A kubelet past the ceiling does not start, and the node stays NotReady after the upgrade.",
    instead: &["Upgrade the runtime before the kubelet passes this version: containerd 2.x or a current CRI-O."],
    links: &[RUNTIMES, CRI],
};

const RUNTIME_END_OF_LIFE: Entry = Entry {
    title: "the runtime's release line is out of support",
    meaning: "The runtime's version belongs to a release line that its project no longer supports, according to \
              castoff's built-in, dated table. For some lines, a vendor continues backports for its own customers \
              only. If a line is newer than the table, the finding says so.",
    why: "The runtime's own project no longer provides security fixes for it.",
    instead: &["Upgrade to a supported line, or make sure that your distribution still maintains this one."],
    links: &["https://containerd.io/releases/", RUNTIMES],
};

const RUNTIME_DEPRECATION: Entry = Entry {
    title: "the runtime reports the use of a deprecated feature",
    meaning: "containerd lists the deprecated features that were used since it started, and shows the list in its CRI \
              status. castoff shows this list and never adds to it.",
    why: "These features stop working in a later version of the runtime.",
    instead: &["Change the configuration or the client that the runtime's message names before upgrading it."],
    links: &["https://github.com/containerd/containerd/blob/main/RELEASES.md#deprecated-features"],
};

const CGROUP_V1: Entry = Entry {
    title: "the node is on cgroup v1",
    meaning: "/sys/fs/cgroup is not the unified hierarchy (the hybrid of both versions counts as version 1, as for the \
              kubelet).",
    why: "From Kubernetes 1.35 on a kubelet does not start on cgroup v1 unless failCgroupV1 is set to false. castoff reads \
          that setting from the kubelet's flags and files.",
    instead: &["Boot the node with the unified hierarchy (systemd.unified_cgroup_hierarchy=1) or a newer image."],
    links: &[CGROUPS],
};

const SOCKET_CLIENT: Entry = Entry {
    title: "a client uses a Docker socket",
    meaning: "A process holds a connection to a socket on which a Docker engine accepts, or held one within the \
              window. castoff identifies the socket by device and inode, under any path and in every network \
              namespace. It names the client by its container and pod, its unit or its executable.",
    why: "It acts on the node outside Kubernetes' control: no RBAC, no admission, no quota, no audit log. It stops \
          working when Docker is removed, and on a node that has moved to containerd it sees none of the pods.",
    instead: &[
        "Move this client off the Docker socket; `castoff explain socket-client` lists what to use instead.",
        "Building images: rootless BuildKit or Buildah in a pod; the advice of the finding says what this node allows.",
        "Listing or inspecting containers: the Kubernetes API, or crictl on the node.",
        "Reading logs: /var/log/pods, or the Kubernetes API.",
        "Metrics of containers: the kubelet's /metrics/cadvisor and /metrics/resource.",
        "Images on the node: crictl images, or nerdctl --namespace k8s.io.",
        "Running containers that Docker runs outside Kubernetes: pods, static pods, or podman without a service.",
    ],
    links: &[CHECK, TELEMETRY],
};

const OLD_DOCKER_API: Entry = Entry {
    title: "a client uses an old version of the Docker API",
    meaning: "A client uses a version of the Docker API below 1.44, according to the path of its requests. castoff \
              sees the version only if the kernel records requests (`--requests`). If a client uses a newer version \
              and has not used the old one for a week, castoff forgets the old one.",
    why: "Docker Engine 29.0 refuses versions below 1.44, and later releases of 29 refuse those below 1.40: the client stops \
          working when Docker is upgraded.",
    instead: &[
        "Update the client, or the Docker library in it; or move it off the Docker socket.",
        "Until then, set min-api-version in daemon.json so that the engine accepts older versions.",
    ],
    links: &["https://docs.docker.com/engine/release-notes/29/"],
};

const SOCKET_EXPOSURE: Entry = Entry {
    title: "a container can reach a Docker socket",
    meaning: "A container mounts the socket itself, under whatever name, or a directory above it (/run, /var/run, /), \
              found by device and inode. It was not seen using it.",
    why: "Everyone who controls the container can take over the node through the socket; a read-only mount does not \
          prevent connections. The container may also be a client that castoff has not seen yet.",
    instead: &["Remove the mount from the pod, or mount the one file or directory that it needs."],
    links: &[
        TELEMETRY,
        "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath",
    ],
};

const FOREIGN_SOCKET: Entry = Entry {
    title: "a container can reach a Docker socket that nothing here serves",
    meaning: "A container mounts a socket with the name of a Docker socket, and no process that castoff sees listens \
              on it. If the node runs inside another machine, as in kind, the socket belongs to that machine. castoff \
              never opens the socket, so it cannot tell if an engine serves it.",
    why: "Everyone who controls the container may be able to take over the outer machine through the socket, and the \
          container may depend on the Docker of that machine.",
    instead: &[
        "Remove the mount from the pod, and the socket from the mounts of the node itself (extraMounts in kind).",
        "Where Docker was stopped and left its socket's file, remove the file.",
    ],
    links: &["https://kind.sigs.k8s.io/docs/user/configuration/#extra-mounts"],
};

const DANGLING_MOUNT: Entry = Entry {
    title: "a container mounts a Docker socket that is not there",
    meaning: "A container mounts the path of a Docker socket, but the node has no socket there: the path does not \
              exist, or it is a directory or an ordinary file. If the path of a mount does not exist, as after the \
              removal of Docker, the runtime creates a directory.",
    why: "The container cannot reach Docker, and may not report an error. A directory in the place of the socket also \
          keeps dockerd from listening there again.",
    instead: &["Remove the mount from the pod, then the directory from the node."],
    links: &[CHECK, "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath"],
};

const STALE_MOUNT: Entry = Entry {
    title: "a container mounts a Docker socket that nothing serves any more",
    meaning: "A container has the file of a Docker socket on which no process listens. A daemon that restarts makes a new \
              file, and the container keeps the old one; a daemon that was stopped may leave its file.",
    why: "Every connection of the container is refused, whether Docker runs or not.",
    instead: &["Restart the pod where Docker runs; where Docker is gone, remove the mount and the file."],
    links: &[CHECK],
};

const DOCKERSHIM_MOUNT: Entry = Entry {
    title: "a container mounts the socket of dockershim or cri-dockerd",
    meaning: "A container mounts dockershim.sock or cri-dockerd.sock, over which a kubelet runs its pods through Docker.",
    why: "The socket goes away with dockershim or cri-dockerd, and the container can then reach no runtime.",
    instead: &["Give it the socket of the runtime that stays (containerd or CRI-O), or the Kubernetes API."],
    links: &[CHECK, CRI],
};

const DOCKER_FILES: Entry = Entry {
    title: "a container mounts Docker's files",
    meaning: "A container mounts Docker's data directory, a directory in it such as containers or overlay2, or Docker's \
              configuration in /etc/docker. Log shippers mount /var/lib/docker/containers, and agents for metrics or \
              security /var/lib/docker. castoff finds such mounts by device and path, also where the data directory was \
              moved. A mount of a directory above, such as /var or /, is not reported.",
    why: "Under another runtime Docker's directories are empty or missing: the logs of pods are in /var/log/pods. The \
          container then reads nothing, often without an error, and a change to /etc/docker has no effect.",
    instead: &[
        "Give the container the files or the interface that replace Docker's, then remove the mount.",
        "Logs: mount /var/log/pods and /var/log/containers, and set the log format of the shipper to CRI.",
        "Metrics of containers: the kubelet's /metrics/cadvisor and /metrics/resource.",
        "Images and layers: the runtime's own data, by an agent that supports the runtime.",
        "Registries, mirrors and the like: the configuration of containerd or CRI-O.",
    ],
    links: &[
        CHECK,
        TELEMETRY,
        "https://kubernetes.io/docs/concepts/cluster-administration/logging/",
    ],
};

const DOCKER_IN_DOCKER: Entry = Entry {
    title: "an engine runs inside a pod",
    meaning: "A process of a pod's container serves the Docker API, usually dockerd for CI jobs.",
    why: "It needs a privileged container, and its containers are hidden from Kubernetes: limits, policies and logs do \
          not reach them. It does not depend on the node's Docker and keeps running without it.",
    instead: &[
        "Build with rootless BuildKit or Buildah; where an engine is needed, isolate it (sysbox, user namespaces, a VM).",
        "Rootless BuildKit needs user namespaces on the node, and unconfined seccomp and AppArmor profiles. So does Buildah, unless it \
         has CAP_SYS_ADMIN.",
        "kaniko is archived since June 2025; the fork osscontainertools/kaniko continues it.",
    ],
    links: &["https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/"],
};

const DOCKER_TCP: Entry = Entry {
    title: "an engine accepts on TCP",
    meaning: "An engine's process listens on a TCP port: 2375 or 2376 by convention, or a port from its configuration. \
              castoff finds the listener through the kernel and never connects to it. It reads from the arguments and \
              the daemon.json of root's dockerd if TLS protects the port; otherwise it assumes this from the port \
              number.",
    why: "Without TLS and client certificates, everyone who can reach the port is root on the node, and scanners \
          constantly look for this port on the internet. Even with them, the port bypasses the cluster's access \
          control.",
    instead: &[
        "Take the tcp:// host out of dockerd's arguments, its unit and daemon.json, and restart it.",
        "Until then bind it to an address that only its client reaches, with --tlsverify, and close the port to all others.",
        "A client on another machine can use ssh:// in place of tcp://.",
    ],
    links: &["https://docs.docker.com/engine/security/protect-access/"],
};

const SHADOW_CONTAINERS: Entry = Entry {
    title: "containers that Kubernetes does not know",
    meaning: "An engine runs containers that the kubelet's runtime does not list. castoff sees the processes that \
              supervise them (containerd-shim in the namespace moby, conmon).",
    why: "They take CPU and memory that the scheduler believes to be free, and no policy of the cluster reaches them.",
    instead: &["Find out what started them (a client of the socket, a unit, a person) and run them as pods."],
    links: &[CHECK],
};

const ENGINE_LEFT_OVER: Entry = Entry {
    title: "Docker is on the node and no client uses it",
    meaning: "An engine runs, would be started, is installed or left its data, and no client was seen within the window.",
    why: "Nobody needs this root-equivalent daemon, but you still have to patch and secure it. Its images and volumes \
          use disk space.",
    instead: &["Stop and disable docker.service and docker.socket, then remove the package and /var/lib/docker."],
    links: &[CHANGE],
};

const CRI_PLUGIN_OFF: Entry = Entry {
    title: "a socket answers but does not serve CRI",
    meaning: "A socket that a kubelet would use answered Unimplemented to both versions of CRI, and no other runtime \
              answered. containerd does that while its CRI plugin is in disabled_plugins, as Docker's package containerd.io \
              installs it, or failed to load.",
    why: "A kubelet cannot start with this runtime. The node does have a runtime, but its CRI plugin is disabled or \
          failed to load.",
    instead: &[
        "Remove \"cri\" from disabled_plugins in /etc/containerd/config.toml, then restart containerd.",
        "If it is not disabled there, `journalctl -u containerd` says why the plugin failed to load.",
    ],
    links: &[RUNTIMES],
};

const SHARED_CONTAINERD: Entry = Entry {
    title: "Docker and the kubelet share one containerd",
    meaning: "The containerd that serves the kubelet comes from Docker's package containerd.io, or dockerd uses it \
              too. castoff looks for the package's files and reads dockerd's configuration (--containerd, \
              daemon.json). A dockerd that has no such setting and did not start a containerd of its own uses the one \
              at the default path.",
    why: "Removing all of Docker's packages, or /var/lib/containerd, removes the kubelet's runtime and its pods.",
    instead: &[
        "Remove docker-ce, docker-ce-cli and /var/lib/docker only; keep containerd.io and /var/lib/containerd.",
        "Hold the package (`apt-mark hold containerd.io`) so that autoremove does not remove it.",
    ],
    links: &[RUNTIMES, CHANGE],
};

const BLIND_SPOT: Entry = Entry {
    title: "castoff could not see a part of the node",
    meaning: "castoff tried to read something and got no answer, or an answer that it could not read. The finding \
              gives the question, the answer and what may be hidden. The verdict makes no claim that depends on it.",
    why: "\"None found\" means something only if castoff could look.",
    instead: &[
        "Give castoff the right or the mount that the message names, or fix what it names; then look again.",
        "To see everything, castoff needs: the host's PID namespace, root or CAP_SYS_PTRACE (descriptors and namespaces of others), \
         CAP_SYS_ADMIN (entering network namespaces), CAP_DAC_READ_SEARCH (files of others), the runtime's socket.",
        "Some dependencies leave no trace on the node, so check them by hand: alerts, dashboards and log searches that expect Docker's \
         names or metrics; kubectl plugins and scripts on other machines; clients that use another machine's Docker over SSH or TCP.",
        "castoff does not look for pods that restart docker.service through systemd's sockets, or for CNI plugins and configurations \
         that containerd 1.6.0 to 1.6.3 cannot load.",
    ],
    links: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_advice() {
        for &code in Code::ALL {
            let entry = entry(code);
            assert!(!entry.instead.is_empty(), "{code}");
            assert!(entry.steps().all(|step| !step.contains("castoff explain")), "{code}");
            for text in [entry.title, entry.meaning, entry.why].iter().chain(entry.instead) {
                assert!(!text.is_empty() && !text.contains("  "), "{code}: {text:?}");
            }
            assert!(
                entry.title.starts_with(char::is_lowercase) || entry.title.starts_with("Docker"),
                "{code}"
            );
        }
    }
}
