//! A mount namespace for the demo. Docker, containerd and the clients have their usual paths in it, like `/run/docker.sock`.
//!
//! All that is written to these paths is in memory, and ends with the last process of the demo. Everything else is the
//! machine's own: the process table, the network, the control groups, and the files at other paths. castoff sees the
//! processes of the machine there as it does on a node; in a PID namespace of its own it would report a gap.

use std::convert::Infallible;
use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::node;
use crate::lab::packages::Programs;
use crate::lab::stage::{FOLDERS, HIDE_PROGRAMS};
use crate::lab::{castoff_binary, images, keeper, prometheus};

/// The argument of the demo that is in its namespaces.
pub(crate) const INSIDE: &str = "inside";
/// The directory of the demo's programs. It is one of [`FOLDERS`].
const PROGRAMS: &str = "/usr/local/bin";
/// The demo's own program there. It is a client of the runtime, so its name is on the page.
const STARTER: &str = "start-pods";
/// Files can be added to `/etc`, and the machine's files stay. `/mnt` is covered only during the setup.
const OWN_ETC: &str = "mount --no-mtab -t tmpfs tmpfs /mnt
mkdir /mnt/new /mnt/work
mount --no-mtab -t overlay -o lowerdir=/etc,upperdir=/mnt/new,workdir=/mnt/work overlay /etc
umount --no-mtab /mnt";
/// Puts each program, given by its path and its name, into the directory `$1`.
const PUT_PROGRAMS: &str = r#"cd "$1"
shift
while [ "$#" -gt 0 ]; do
    touch "$2"
    mount --no-mtab --bind "$1" "$2"
    shift 2
done
cd /"#;

/// Replaces this process by the demo in a mount namespace and a UTS namespace of its own.
///
/// # Errors
/// A program that the demo needs is not available, or the namespaces cannot be created.
pub(crate) fn enter() -> Result<Infallible> {
    // Missing programs are downloaded to the cache here, because the package manager's directories are covered inside.
    let packages = Programs::debian()?;
    images::client()?;
    prometheus::Tools::debian()?;
    let this = env::current_exe().context("ask for the path of the running program")?;
    let programs = [
        ("castoff", castoff_binary()?),
        (keeper::PROGRAM, this.clone()),
        (STARTER, this),
        ("containerd", packages.path("containerd")?),
        ("dockerd", packages.path("dockerd")?),
    ];
    let mut command = Command::new("unshare");
    command.args(["--mount", "--uts", "--propagation", "slave", "--"]);
    command.args(["/bin/sh", "-ec", &setting(), "sh", PROGRAMS]);
    for (name, program) in programs {
        command.arg(program).arg(name);
    }
    command.env("CASTOFF_BIN", Path::new(PROGRAMS).join("castoff"));
    Err(command.exec()).context("start unshare")
}

/// Returns the programs that run in the namespace.
pub(super) fn programs() -> Result<Programs> {
    let prefix = Path::new(PROGRAMS).parent().context("programs are in a directory")?;
    Ok(Programs::built(prefix.to_owned(), Programs::debian()?))
}

/// Returns a script that covers the machine's paths, puts the programs of its arguments in place, and runs the demo.
fn setting() -> String {
    let mut script = vec![
        OWN_ETC.to_owned(),
        "mount --no-mtab -t tmpfs -o mode=755 tmpfs /run".to_owned(),
        "mkdir /run/lock".to_owned(),
        // Without it, the programs would be written to the machine.
        format!("[ -d {PROGRAMS} ] || {{ echo 'the demo needs a directory {PROGRAMS}' >&2; exit 1; }}"),
    ];
    for folder in FOLDERS {
        script.push(format!(
            "[ ! -d {folder} ] || mount --no-mtab -t tmpfs -o mode=755 tmpfs {folder}"
        ));
    }
    script.push(HIDE_PROGRAMS.to_owned());
    script.push(format!("echo {} > /proc/sys/kernel/hostname", node::NAME));
    script.push(PUT_PROGRAMS.to_owned());
    script.push(format!("exec {PROGRAMS}/{STARTER} demo {INSIDE}"));
    script.join("\n")
}
