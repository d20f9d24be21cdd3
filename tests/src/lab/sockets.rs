//! Asks the kernel for the holders of a connection, as an independent check: `ss` in the network namespace of a
//! process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::wait;
use anyhow::{Context, Result, ensure};

/// Returns the output lines of `ss -xpH` in the network namespace of this process: every Unix socket there, with its
/// holders.
///
/// # Errors
/// The process has ended, or `nsenter` and `ss` (packages util-linux and iproute2) are missing.
pub fn list_in_namespace_of(pid: u32) -> Result<Vec<String>> {
    let output = Command::new("nsenter")
        .args(["--net", "--target", &pid.to_string(), "ss", "-xapH"])
        .output()
        .context("start nsenter")?;
    ensure!(
        output.status.success(),
        "ss: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// The timeout of a busy server to accept.
const ACCEPT: Duration = Duration::from_secs(10);

/// Waits until [`holds_connection_to`] returns true. A client is ready once it is in the listener's queue; the kernel
/// shows the server's end only after the server has accepted.
pub fn wait_for_connection(pid: u32, path: &Path) -> Result<()> {
    let what = format!("an accepted connection of process {pid} to {}", path.display());
    wait::until(&what, ACCEPT, || {
        ensure!(holds_connection_to(pid, path)?, "it holds none");
        Ok(())
    })
}

/// True if, in the network namespace of this process, `pid` itself holds a socket whose peer was accepted on `path`.
///
/// `path` is the address that the server has bound, not the one that the client has used.
pub fn holds_connection_to(pid: u32, path: &Path) -> Result<bool> {
    let path = &*path.to_string_lossy();
    let lines = list_in_namespace_of(pid)?;
    let accepted: Vec<&str> = lines
        .iter()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        // Podman 3.0 binds `///tmp/…`.
        .filter(|fields| fields.get(1) == Some(&"ESTAB") && fields.get(4).is_some_and(|name| is_same(name, path)))
        .filter_map(|fields| fields.get(7).copied())
        .collect();
    let held_by = format!("pid={pid},");
    Ok(lines.iter().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        line.contains(&held_by) && fields.get(5).is_some_and(|inode| accepted.contains(inode))
    }))
}

fn is_same(bound: &str, path: &str) -> bool {
    bound == path || bound.starts_with("//") && bound.trim_start_matches('/') == path.trim_start_matches('/')
}
