//! `castoff-lab`: the keeper's process, and the commands that `tests/run` uses.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use super::cross::Cross;
use super::kubernetes::{Cluster, NODES};
use super::machine::{self, Tier};
use super::modules::{self, Module};
use super::packages::Programs;
use super::suites::{self, Kind, Suite};
use super::{rooms, tidy};
use crate::demo;
use crate::wait;

/// The machine lacks something that the tier needs (`EX_UNAVAILABLE` of sysexits.h).
const LACKING: u8 = 69;
/// Wrong use (`EX_USAGE`).
const USAGE: u8 = 64;
/// The timeout of keepers that a killed test has left.
const TIDYING: Duration = Duration::from_secs(60);

/// Runs the program with these arguments, without its own name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("castoff-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["keep", room, grace, daemon @ ..] => keep(Path::new(room), grace, daemon),
        ["machine", tier] => answer_machine(tier),
        ["prepare"] => {
            println!("{}", Programs::debian()?.root().display());
            Ok(ExitCode::SUCCESS)
        }
        ["prepare", "matrix"] => prepare_matrix(),
        ["prepare", "arm64"] => Cross::fetched().map(|_| ExitCode::SUCCESS),
        ["cluster"] => show_cluster(),
        ["wait"] => wait_for_keepers(),
        ["demo"] => match demo::enter()? {},
        ["demo", demo::INSIDE] => demo::run().map(|()| ExitCode::SUCCESS),
        _ => {
            eprintln!(
                "castoff-lab machine TIER     what this machine lacks for a tier, one line each (exit code {LACKING})\n\
                 castoff-lab prepare          unpacks the daemons' packages into the cache, prints where\n\
                 castoff-lab prepare matrix   the same for every version of the matrix, and builds what has no package\n\
                 castoff-lab prepare arm64    unpacks what compiles, links and runs a program for arm64\n\
                 castoff-lab wait             waits until nothing is left of tests that have ended\n\
                 castoff-lab cluster          a Kubernetes with one node to look around in, until standard input ends\n\
                 castoff-lab demo             a node in a box, until Ctrl-C"
            );
            Ok(ExitCode::from(USAGE))
        }
    }
}

/// Builds and downloads in parallel. An unavailable version is reported and is no failure here, because the matrix
/// reports it.
fn prepare_matrix() -> Result<ExitCode> {
    // Several threads could otherwise prepare what all need.
    Programs::debian()?;
    let modules = thread::spawn(|| {
        [Module::Containerd, Module::Dockershim, Module::Crio].map(|module| (module, modules::build(module)))
    });
    for suite in Suite::ALL {
        match suites::programs(suite, Kind::Containerd) {
            Ok(programs) => println!("{}", programs.root().display()),
            Err(error) => println!("Debian {}: {error:#}", suite.name()),
        }
    }
    let Ok(modules) = modules.join() else {
        bail!("building the modules ended with a panic");
    };
    for (module, built) in modules {
        match built {
            Ok(folder) => println!("{}", folder.display()),
            Err(error) => println!("{}: {error:#}", module.pin()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints how to access it.
fn show_cluster() -> Result<ExitCode> {
    let cluster = Cluster::start()?;
    let node = cluster.join(NODES[0])?;
    let docker = cluster.start_docker()?;
    println!("{}", cluster.kubectl(["get", "nodes", "-o", "wide"])?);
    println!("a Docker socket: {}", docker.socket().display());
    let kubectl = cluster.kubectl_command();
    let words: Vec<_> = kubectl.get_args().map(|word| word.to_string_lossy()).collect();
    let program = kubectl.get_program().display();
    let kubeconfig = cluster.kubeconfig();
    println!(
        "kubectl: KUBECONFIG={} {program} {}",
        kubeconfig.display(),
        words.join(" ")
    );
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("wait for the end of standard input")?;
    drop(docker);
    drop(node);
    Ok(ExitCode::SUCCESS)
}

fn keep(room: &Path, grace: &str, daemon: &[&str]) -> Result<ExitCode> {
    let grace = Duration::from_millis(grace.parse().context("read the grace in milliseconds")?);
    let daemon = daemon.split_first().map(|(program, arguments)| {
        let mut command = Command::new(program);
        command.args(arguments);
        command
    });
    let left = tidy::keep(room, grace, daemon)?;
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn answer_machine(tier: &str) -> Result<ExitCode> {
    let Some(tier) = Tier::named(tier) else {
        bail!("no tier {tier:?} needs anything of the machine");
    };
    let missing = machine::missing(tier, &machine::read_facts());
    for lack in &missing {
        println!("{lack}");
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(LACKING)
    })
}

/// Waits for the keepers of the run that began at `$CASTOFF_TESTS_SINCE` (seconds since 1970; by default all runs).
fn wait_for_keepers() -> Result<ExitCode> {
    let since = match env::var("CASTOFF_TESTS_SINCE") {
        Ok(seconds) => seconds
            .parse()
            .with_context(|| format!("CASTOFF_TESTS_SINCE is {seconds:?}"))?,
        Err(_) => 0,
    };
    let since = UNIX_EPOCH + Duration::from_secs(since);
    wait::until("the rooms of this run to go", TIDYING, || {
        let left = rooms::left_over(since)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(ExitCode::SUCCESS)
    })
}
