//! `castoff-bench`: compares castoff with the tools that users would run instead, on generated loads, in one run.
//! Prints each figure with its limit. Fails only if castoff misses a holder of a connection. `tests/run bench` builds
//! what it needs.
//!
//! `castoff-bench soak` is another program: it runs castoff for an hour, and fails if an invariant does not hold.

mod exposition;
mod figures;
mod fleet;
mod holders;
mod loads;
mod pods;
mod scale;
mod soak;
mod storm;
mod tools;

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use figures::table;
use tools::seconds;

/// Returns the numbers of pods, and for each the time for which the agent is measured: `--for` of `tests/run` (by
/// default half a minute), and an eighth of it. With `--for 240s` the first is 240 looks, which take an hour with the
/// agent's default period.
fn steps() -> [(usize, Duration); 2] {
    let span = Duration::from_secs(seconds(30));
    [(110, span), (250, span / 8)]
}

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let outcome = match parts.as_slice() {
        ["soak"] => soak::run(),
        [soak::ON_STAGE] => soak::run_on_stage(),
        parts => run(parts),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("castoff-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `holders`, `scale`, `pods`, `storm`, `fleet`, or all of them. Returns whether no holder was missed.
fn run(parts: &[&str]) -> Result<bool> {
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let start = Instant::now();
    println!("{}", machine());
    let (mut reached, mut missed) = (Vec::new(), Vec::new());
    if wanted("holders") {
        let mut all = Vec::new();
        for (name, rounds, size) in holders::loads() {
            eprintln!("{:4} s: {name}", start.elapsed().as_secs());
            all.push(holders::measure(name, rounds, size)?);
        }
        println!("{}{}", holders::print_times(&all), holders::print_found(&all));
        if !tools::is_installed("osqueryi") {
            println!(
                "  osquery is not installed: Debian has no package of it, PyPI's is the client without the daemon"
            );
        }
        reached.extend(holders::figures(&all));
        missed.extend(all.into_iter().flat_map(|m| m.missed));
    }
    if wanted("scale") {
        let all = scale::measure(|what| eprintln!("{:4} s: {what}", start.elapsed().as_secs()))?;
        println!("{}", scale::print(&all));
        reached.extend(scale::figures(&all));
        scale::ensure_no_client_is_lost(&all)?;
    }
    if wanted("pods") {
        eprintln!("{:4} s: pods", start.elapsed().as_secs());
        let all = pods::measure(&steps())?;
        println!("{}", pods::print(&all));
        reached.extend(pods::figures(&all));
        missed.extend(all.into_iter().flat_map(|m| m.missed));
    }
    if wanted("storm") {
        let all = storm::measure(|what| eprintln!("{:4} s: {what}", start.elapsed().as_secs()))?;
        println!("{}", storm::print(&all));
        reached.extend(storm::figures(&all));
    }
    if wanted("fleet") {
        let all = fleet::measure(|what| eprintln!("{:4} s: {what}", start.elapsed().as_secs()))?;
        println!("{}", fleet::print(&all));
        reached.extend(fleet::figures(&all));
        fleet::ensure_none_is_left_out(&all)?;
    }
    let rows: Vec<_> = reached.iter().map(figures::Figure::row).collect();
    println!("{}", table("Figures", &["what", "measured", "limit", ""], &rows));
    println!("{}", noise());
    println!("{} s", start.elapsed().as_secs());
    if !missed.is_empty() {
        println!("castoff misses the processes {missed:?}");
    }
    Ok(missed.is_empty())
}

/// Describes this machine.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "Linux {}, {} × {}, {}",
        read("/proc/sys/kernel/osrelease").trim(),
        thread::available_parallelism().map_or(1, usize::from),
        model.map_or("unknown processor", |(_, model)| model),
        noise(),
    )
}

/// Describes its other load.
fn noise() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average, runnable/all threads, last pid: {}", load.trim())
}
