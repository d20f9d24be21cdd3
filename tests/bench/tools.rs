//! The tools that are compared: how each is called and timed, and the holders that it finds.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::{castoff_binary, images};

/// Returns the seconds of `--for` of `tests/run`, or else `usual`.
pub(crate) fn seconds(usual: u64) -> u64 {
    let given = std::env::var("CASTOFF_TESTS_SECONDS").ok();
    given.and_then(|seconds| seconds.parse().ok()).unwrap_or(usual)
}

/// One run of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// The peak in KiB.
    pub(crate) peak: u64,
}

/// Runs a program to its end, with its output discarded.
pub(crate) fn time(program: &str, arguments: &[&str]) -> Result<Run> {
    let mut command = Command::new(images::load()?);
    let output = command.args(["time", program]).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<u64> = text.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    ensure!(
        numbers.len() == 4,
        "{program} was not run: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Run {
        wall: Duration::from_micros(numbers[0]),
        cpu: Duration::from_micros(numbers[1]),
        peak: numbers[2],
    })
}

/// Returns the times of castoff's looks, one after another by the same agent, and the pids found at the end.
pub(crate) fn look(cycles: usize, socket: &Path) -> Result<(Vec<Run>, BTreeSet<u32>)> {
    look_with(cycles, socket, &[])
}

/// Does the same with the kernel's iterator over open files.
pub(crate) fn look_by_iterator(cycles: usize, socket: &Path) -> Result<(Vec<Run>, BTreeSet<u32>)> {
    look_with(cycles, socket, &["iterator"])
}

fn look_with(cycles: usize, socket: &Path, more: &[&str]) -> Result<(Vec<Run>, BTreeSet<u32>)> {
    let program = castoff_binary()?.with_file_name("castoff-look");
    let output = Command::new(&program)
        .arg(cycles.to_string())
        .arg(socket)
        .args(more)
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "castoff-look: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.pop().context("castoff-look says nothing")?;
    let found = last
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let run = |line: &str| {
        let numbers: Vec<u64> = line.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
        Some(Run {
            wall: Duration::from_micros(*numbers.first()?),
            cpu: Duration::from_micros(*numbers.get(1)?),
            peak: 0,
        })
    };
    Ok((lines.into_iter().filter_map(run).collect(), found))
}

/// Returns the clients that `ss -xpn` shows: it has the engine's end with its path, and the peer with its inode.
pub(crate) fn found_by_ss(socket: &Path) -> Result<BTreeSet<u32>> {
    let text = answer("ss", &["-xpnH"])?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    let path = socket.to_string_lossy();
    // Netid State Recv-Q Send-Q Local Port Peer Port Process
    let accepted = rows.iter().filter(|row| row.get(4) == Some(&&*path));
    let clients: BTreeSet<&str> = accepted.filter_map(|row| row.get(7).copied()).collect();
    let held = rows
        .iter()
        .filter(|row| row.get(5).is_some_and(|inode| clients.contains(inode)));
    Ok(held
        .filter_map(|row| row.get(8))
        .flat_map(|users| users.split("pid=").skip(1).filter_map(leading_number))
        .collect())
}

/// Returns the clients that lsof shows with its endpoints option, without which it shows the engine only.
pub(crate) fn found_by_lsof(socket: &Path) -> Result<BTreeSet<u32>> {
    let text = answer("lsof", &["-nP", "-U", "+E"])?;
    let engine = socket.to_string_lossy();
    let is_engine = |line: &&str| line.contains(&*engine);
    // The engine's rows end in `->INO=… PID,NAME,FD…` for each client.
    let ends = text
        .lines()
        .filter(is_engine)
        .filter_map(|line| line.split_once("->INO=")?.1.split_once(' '));
    Ok(ends
        .flat_map(|(_, others)| others.split(' ').filter_map(leading_number))
        .collect())
}

/// Returns the clients that osquery shows, if it is installed.
pub(crate) fn found_by_osquery(socket: &Path) -> Result<BTreeSet<u32>> {
    let query = format!(
        "SELECT DISTINCT pid FROM process_open_sockets WHERE family = 1 AND path = '{}'",
        socket.display()
    );
    let text = answer("osqueryi", &["--csv", "--header=false", &query])?;
    Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// True if a program is in `PATH`.
pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

fn answer(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
