//! A stage: PID, mount, network and UTS namespaces in which daemons have a machine to themselves.
//!
//! A cluster changes addresses, the firewall, forwarding, kernel settings, `/run`, `/var/lib` and `/var/log` there
//! instead of on the machine, and the changes end with the stage. From within, no process of the machine is visible, and
//! nothing of a Docker that is installed on it. Rooms have the same paths on both sides. Control groups are the
//! machine's own.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::daemon::Daemon;
use super::keeper::Keeper;
use super::rooms::Room;

/// The kernel settings that a kubelet changes when it starts, with its values.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// The timeout of the daemons on it to end, after all were asked to: longer than the grace period of each of them.
const GRACE: Duration = Duration::from_secs(60);
/// The directories that are the stage's own, and empty at first: the ones that daemons write to, and the ones with the
/// settings, units and programs of the machine's own engines and kubelets. A directory that does not exist on the
/// machine is not created.
pub(crate) const FOLDERS: [&str; 14] = [
    "/etc/containerd",
    "/etc/containers",
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/systemd",
    "/opt/bin",
    "/snap",
    "/usr/lib/systemd",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/var/lib",
    "/var/log",
    "/var/snap",
];
/// Programs of Docker on the machine that the lab does not need; each is covered.
pub(crate) const HIDE_PROGRAMS: &str = r#"for program in /usr/bin/*docker* /usr/sbin/*docker* /usr/bin/balena-engine*; do
    [ ! -f "$program" ] || mount --no-mtab --bind /dev/null "$program"
done"#;
/// Outside: forwards SIGTERM to the stage's first process, and ends when that process ends.
const STARTER: &str = r#"/bin/sh -ec "$1" sh & init=$!
trap 'kill -TERM "$init"' TERM
echo "$init" > "$2"
while kill -0 "$init" 2> /dev/null; do wait "$init"; done"#;
/// Inside, after the setup: reaps orphans; after SIGTERM it ends when no other process is left.
const INIT: &str = r#"ending=
trap 'ending=yes' TERM
others() {
    for process in /proc/[0-9]*; do [ "$process" = /proc/1 ] || return 0; done
    return 1
}
while [ -z "$ending" ] || others; do sleep 0.3 & wait "$!" || :; done"#;

/// A running stage. It ends after the last daemon on it.
#[derive(Debug)]
pub struct Stage {
    daemon: Daemon,
    init: u32,
}

impl Stage {
    /// Sets up a stage whose network has the loopback and these addresses, like `10.214.0.1/24`, and no route out.
    ///
    /// # Errors
    /// A step was refused; with the log of the steps.
    pub fn start(addresses: &[&str]) -> Result<Arc<Self>> {
        let room = Room::make("stage")?;
        let (init, ready) = (room.join("init"), room.join("ready"));
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount", "--net", "--uts", "--propagation", "slave", "--"]);
        command.args(["/bin/sh", "-c", STARTER, "sh", &setting(&room, addresses)?]);
        let keeper = Keeper::start(&room, Some(command.arg(&init)), GRACE)?;
        let daemon = Daemon::kept("stage", keeper, &[])?;
        daemon.wait_until(|| fs::metadata(&ready).map(drop).context("it is not set up yet"))?;
        let init = fs::read_to_string(&init).context("read which process is the stage's first")?;
        let init = init.trim().parse().context("a process id")?;
        Ok(Arc::new(Self { daemon, init }))
    }

    /// Returns a command for a program on the stage. It has the machine's user, environment and control group.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string()]);
        command.args(["--pid", "--mount", "--net", "--uts", "--"]).arg(program);
        command
    }

    /// Returns the same program with the same arguments and variables, on the stage.
    pub fn take(&self, command: &Command) -> Command {
        let mut taken = self.command(command.get_program());
        taken.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => taken.env(name, value),
                None => taken.env_remove(name),
            };
        }
        taken
    }

    /// Returns the process ID, on the machine, of the stage's first process.
    pub fn pid(&self) -> u32 {
        self.init
    }

    /// Returns the machine's process ID of a process with this ID on the stage.
    ///
    /// # Errors
    /// There is none, or several candidates.
    pub fn pid_outside(&self, pid: u32) -> Result<u32> {
        // A process in a container has a PID namespace of its own, below the stage's.
        let seen_inside = format!("/proc/{}/root/proc/{pid}/ns/pid", self.init);
        let namespace = fs::read_link(&seen_inside).with_context(|| format!("read {seen_inside}"))?;
        let is_same = |folder: &Path| fs::read_link(folder.join("ns/pid")).is_ok_and(|link| link == namespace);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("read /proc")? {
            let folder = entry?.path();
            let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
            let inside = status
                .lines()
                .find_map(|line| line.strip_prefix("NSpid:"))
                .and_then(|ids| ids.split_ascii_whitespace().nth(1));
            if inside.and_then(|id| id.parse().ok()) == Some(pid) && is_same(&folder) {
                let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
                found.push(name.parse().context("a process id")?);
            }
        }
        ensure!(found.len() == 1, "processes that are {pid} on the stage: {found:?}");
        Ok(found[0])
    }

    /// Returns the end of the log of the stage's own first process.
    pub fn log_tail(&self) -> String {
        self.daemon.log_tail()
    }
}

/// Returns the script of the stage's first process.
fn setting(room: &Room, addresses: &[&str]) -> Result<String> {
    let place = room.path().display();
    let groups = room.folder("cgroup")?;
    let groups = groups.display();
    // Without --no-mtab mount(8) would record each of them in the machine's /run.
    let mut script = vec![
        "mount --no-mtab -t proc proc /proc".to_owned(),
        // A sysfs of the stage's own network, with the control groups in the same place.
        format!("mount --no-mtab --rbind /sys/fs/cgroup {groups}"),
        "mount --no-mtab -t sysfs sysfs /sys".to_owned(),
        format!("mount --no-mtab --rbind {groups} /sys/fs/cgroup"),
        format!("umount --no-mtab --recursive --lazy {groups}"),
        "mount --no-mtab -t tmpfs -o mode=755 tmpfs /run".to_owned(),
        "mkdir /run/lock".to_owned(),
        "echo stage > /proc/sys/kernel/hostname".to_owned(),
    ];
    for folder in FOLDERS {
        let own = room.folder(folder.trim_start_matches('/'))?;
        script.push(format!(
            "[ ! -d {folder} ] || mount --no-mtab --bind {} {folder}",
            own.display()
        ));
    }
    script.push(HIDE_PROGRAMS.to_owned());
    room.folder("tunables")?;
    for (tunable, wanted) in TUNABLES {
        let name = format!("tunables/{}", tunable.replace('/', "."));
        let file = room.file(&name, format!("{wanted}\n"))?;
        script.push(format!("mount --no-mtab --bind {} /proc/sys/{tunable}", file.display()));
    }
    // Not earlier: a mount that is shared twice would be unmounted twice.
    script.push("mount --no-mtab --make-rshared /".to_owned());
    script.push("ip link set lo up".to_owned());
    // A bridge can have addresses like a network card, and every machine with containers has bridges.
    script.push("ip link add machine0 type bridge".to_owned());
    for address in addresses {
        script.push(format!("ip address add {address} dev machine0"));
    }
    script.push("ip link set machine0 up".to_owned());
    script.push(format!("touch {place}/ready"));
    script.push(INIT.to_owned());
    Ok(script.join("\n"))
}
