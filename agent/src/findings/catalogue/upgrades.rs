//! The text for the obstacles to an upgrade.

use super::Entry;

pub(super) const UNKNOWN_RELEASE: Entry = Entry {
    title: "castoff's table does not have this release",
    meaning: "A release that was asked for with --for is newer than castoff's dated table of releases, older than everything \
              in it, or not released yet.",
    why: "castoff knows only from its table what a release removes. The obstacles that it found are valid, but there \
          may be others.",
    instead: &["Upgrade castoff, or read the release notes of that version."],
    links: &["https://kubernetes.io/releases/"],
};

pub(super) const KUBELET_END_OF_LIFE: Entry = Entry {
    title: "support of this version of Kubernetes has ended",
    meaning: "The kubelet version that you gave with --for no longer gets patches, according to castoff's built-in, \
              dated table.",
    why: "The kubelet still starts, but gets no more security fixes.",
    instead: &["Choose a supported version of Kubernetes."],
    links: &["https://kubernetes.io/releases/patch-releases/"],
};

const USER_NAMESPACES: &str = "https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/";

pub(super) const SUBID_RANGE: Entry = Entry {
    title: "a subordinate ID range of the user kubelet includes the last ID",
    meaning: "A line of /etc/subuid or /etc/subgid gives the user kubelet a range that reaches 4294967295 or exceeds \
              it. Pods in user namespaces get their IDs from this range.",
    why: "The kernel does not map 4294967295. Kubernetes has announced a kubelet that does not start with such a range.",
    instead: &["Shorten the range in /etc/subuid and /etc/subgid so that it ends before 4294967295."],
    links: &["https://github.com/kubernetes/kubernetes/pull/141345", USER_NAMESPACES],
};

pub(super) const GETSUBIDS_MISSING: Entry = Entry {
    title: "the host has a user kubelet and no getsubids",
    meaning: "/etc/passwd has a user kubelet, and none of the directories in which programs are installed has getsubids. A kubelet of \
              Kubernetes 1.33 to 1.37 asks it for the ids of pods in user namespaces.",
    why: "If the host has the user but not the program, such a kubelet does not start.",
    instead: &["Install getsubids (package uidmap or shadow-utils), or remove the user kubelet."],
    links: &[USER_NAMESPACES],
};

pub(super) const SHIM_ORPHAN: Entry = Entry {
    title: "the shim of running containers is no longer on the disk",
    meaning: "containerd keeps the path of each container's shim in the container's bundle (shim-binary-path). castoff \
              reads this path for the kubelet's containers, and found one that does not exist. Upgrades of rke2 and \
              k3s have left such paths.",
    why: "The containers still run. Each upgrade restarts containerd, which then cannot reconnect to them.",
    instead: &["Drain the node before you restart containerd, so that its pods are recreated."],
    links: &["https://github.com/containerd/containerd/blob/main/docs/runtime-v2.md"],
};

pub(super) const CRI_METRICS: Entry = Entry {
    title: "the runtime does not serve the metrics of pods",
    meaning: "The runtime does not answer ListMetricDescriptors of CRI, as containerd before 2.2 and cri-dockerd do not.",
    why: "The kubelet still reads these metrics itself. Kubernetes has announced that it will read them from the \
          runtime, but has not named a release.",
    instead: &["Plan for a runtime that serves them, such as containerd 2.2 or newer."],
    links: &["https://kep.k8s.io/2371"],
};

pub(super) const RUNTIME_UPGRADE_PATH: Entry = Entry {
    title: "the runtime cannot be upgraded to this release in one step",
    meaning: "containerd supports upgrades to the next minor release, and from one release with long-term support to the next \
              such release (1.7 to 2.3). castoff compares the release that was asked for with --for with the one that \
              answers.",
    why: "No project tests other upgrades: running containers may be lost, or the daemon may not read its own state.",
    instead: &["Upgrade release by release, as the finding lists them; drain the node before each step."],
    links: &["https://github.com/containerd/containerd/blob/main/RELEASES.md"],
};

pub(super) const RUNTIME_SOCKET_CLIENT: Entry = Entry {
    title: "a client uses the runtime's own socket",
    meaning: "A process other than the kubelet holds a connection to the socket on which the runtime serves CRI, or held one within \
              the window: containerd.sock, crio.sock or cri-dockerd.sock. castoff knows the socket by device and inode. The \
              kubelet, castoff, the runtime's own processes and its tools (ctr, crictl) are left out where root runs them \
              outside of all containers.",
    why: "This is not a use of Docker. The client depends on this runtime and on its version: containerd 2 no longer \
          has CRI v1alpha2. Everyone who can use the socket can take over the node.",
    instead: &[
        "Before the runtime is upgraded or replaced, make sure that this client works with the new one.",
        "Listing containers: the Kubernetes API, or the kubelet's pod resources API.",
        "Metrics of containers: the kubelet's /metrics/cadvisor and /metrics/resource.",
    ],
    links: &[
        "https://kubernetes.io/docs/concepts/architecture/cri/",
        "https://github.com/containerd/containerd/blob/main/RELEASES.md#deprecated-features",
    ],
};

pub(super) const RUNTIME_SOCKET_EXPOSURE: Entry = Entry {
    title: "a container can reach the runtime's own socket",
    meaning: "A container mounts the socket on which the runtime serves CRI, under whatever name, or a directory above it (/run, \
              /run/containerd, /), found by device and inode. It was not seen using it.",
    why: "This is not a use of Docker. Everyone who controls the container can take over the node through the socket; a read-only mount does \
          not prevent connections.",
    instead: &["Remove the mount from the pod, or mount the one file or directory that it needs."],
    links: &["https://kubernetes.io/docs/concepts/storage/volumes/#hostpath"],
};

pub(super) const DOCKER_RELAY: Entry = Entry {
    title: "a client of Docker passes its API on, or may do so",
    meaning: "A process uses an engine's socket and accepts connections itself, like socat, a Docker socket proxy or a \
              sidecar. castoff reports that it passes the Docker API on if there is evidence: clients send it requests \
              of the Docker API, it listens on a port or a socket name of the Docker API, it has a process with a \
              connection to the engine for each client, or incoming and outgoing connections open and close together. \
              Otherwise castoff reports only that it may pass the API on: a web server that watches Docker's events \
              accepts connections, too.",
    why: "The programs behind a relay depend on Docker as much as the relay does, and they do not appear as clients of \
          Docker's own socket. Everyone who can reach the relay can control the engine.",
    instead: &[
        "Move the programs behind the relay off Docker first, then remove the relay.",
        "If castoff has no evidence, check the settings of the program: `castoff check -o json` lists what it \
         listens on and who is connected to it.",
    ],
    links: &[super::CHECK],
};

pub(super) const DAEMON_CONFIG: Entry = Entry {
    title: "the runtime lacks settings that Docker has here",
    meaning: "castoff reads Docker's settings from dockerd's arguments, its daemon.json and its proxy variables, and the \
              runtime's from the files that its process uses: containerd's config.toml with its imports and the \
              hosts.toml of each registry, or crio.conf with its drop-ins and registries.conf. It compares mirrors, \
              insecure registries, the log driver, runtimes, the cgroup driver, ulimits, proxies and the directory of \
              images. Values of proxies and of options that may be secret are compared and not shown.",
    why: "Pods that move from Docker to the runtime lose what was set for Docker: pulls fail or leave the mirror, GPUs and \
          limits are missing, logs no longer reach their destination. Other settings of daemon.json are listed and not \
          compared.",
    instead: &[
        "Set each missing setting in the runtime before pods depend on it; `castoff check -o wide` names the file and the key.",
        "registry-mirrors and insecure-registries: a hosts.toml for each registry below config_path, or registries.conf of CRI-O.",
        "log-driver: CRI has no log drivers; an agent collects /var/log/pods. log-opts: containerLogMaxSize and \
         containerLogMaxFiles of the kubelet.",
        "runtimes and default-runtime: a runtime of the same name and a RuntimeClass; `nvidia-ctk runtime configure` for GPUs.",
        "native.cgroupdriver: the same driver for the runtime and the kubelet, systemd on cgroup v2.",
        "default-ulimits: rlimits of a base_runtime_spec of containerd, or default_ulimits of CRI-O.",
        "proxies: the variables in a drop-in of the runtime's unit. data-root: root of the runtime. live-restore: nothing.",
    ],
    links: &[
        "https://github.com/containerd/containerd/blob/main/docs/hosts.md",
        "https://github.com/cri-o/cri-o/blob/main/docs/crio.conf.5.md",
        "https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md",
        "https://docs.docker.com/reference/cli/dockerd/",
    ],
};

pub(super) const DOCKER_CALLER: Entry = Entry {
    title: "a file of the host calls Docker",
    meaning: "With --scan-host-files, castoff searches files of the host: the commands of systemd units, cron and \
              cloud-init, and the scripts that these name. A line is a call if it has the name of a Docker client as a \
              whole word, followed by a subcommand or an option. castoff keeps the path and the line number, never the \
              text. A finding does not prove that the file is ever executed. castoff does not search scripts that such \
              a script names.",
    why: "When Docker is removed, the command fails, perhaps at the next boot or once a month. A look at the sockets does not \
          show a job that has not run yet.",
    instead: &[
        "Change the line: run the container as a pod, use crictl or ctr for the runtime's own containers, or remove the job.",
        "Where the host itself needs a container, a unit with podman needs no daemon.",
    ],
    links: &["https://kubernetes.io/docs/tasks/debug/debug-cluster/crictl/"],
};
