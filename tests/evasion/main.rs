//! Ways to use Docker without being seen. Each is set up with a real engine, on a socket of its own, and compared with
//! the results of two agents that run concurrently, one with its kernel programs and one without.
//!
//! With arguments, only the cases run whose name contains one of them. The table of a complete run is in
//! `agent/docs/blind-spots.md`; `CASTOFF_BLESS=1` writes it.

mod case;
mod connects;
mod earlier;
mod engines;
mod handed;
mod mounts;
mod others;
mod paths;
mod processes;
mod table;
mod tcp;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use castoff_tests::report::Agent;
use castoff_tests::rows::{self, Words};
use castoff_tests::wait;

use case::Case;
use world::World;

/// The timeout of an agent until it reports the expected results.
const PATIENCE: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    rows::main("evasion", run)
}

fn run(words: &Words) -> Result<bool> {
    let chosen = |all: &[&[Case]]| -> Vec<Case> {
        let all = all.iter().flat_map(|cases| cases.iter().copied());
        all.filter(|case| words.choose(case.name)).collect()
    };
    let earlier = chosen(&[earlier::CASES]);
    let later = chosen(&[
        paths::CASES,
        mounts::CASES,
        tcp::CASES,
        engines::CASES,
        others::CASES,
        handed::CASES,
        processes::CASES,
        connects::CASES,
    ]);
    let cases = [earlier.clone(), later.clone()].concat();
    let world = World::start(&cases)?;
    let set = |case: &Case| (case.set)(&world, case).with_context(|| format!("set case {}", case.name));
    let mut held: Vec<_> = earlier.iter().map(set).collect();
    // The method that every kernel with BPF allows.
    let with = world.watch(&["--connect-events", "tracepoint"])?;
    let without = world.watch(&["--connect-events", "off"])?;
    held.extend(later.iter().map(set));
    let mut failed = 0;
    for (case, set) in cases.iter().zip(&held) {
        let outcome = match set {
            Err(error) => Err(format!("{error:#}")),
            Ok(_) => judge(&world, case, &with, &without).map_err(|error| format!("{error:#}")),
        };
        match outcome {
            Ok(()) => println!("check {}: passed", case.name),
            Err(error) => {
                failed += 1;
                println!("check {}: failed, {error}", case.name);
            }
        }
    }
    drop(held);
    print!("\n{}", table::write(&cases));
    if words.are_none() && failed == 0 {
        failed += usize::from(!table::compare(&cases)?);
    }
    // The checks above are counted one by one; this line is for the table.
    let (result, passed) = if failed == 0 { ("ok", 1) } else { ("FAILED", 0) };
    println!(
        "test result: {result}. {passed} passed; {} failed; 0 ignored",
        1 - passed
    );
    Ok(failed == 0)
}

fn judge(world: &World, case: &Case, with: &Agent, without: &Agent) -> Result<()> {
    wait::until("with the kernel programs", PATIENCE, || {
        case.judge(world, &with.report()?, case.with, &[])
    })?;
    wait::until("without them", PATIENCE, || {
        case.judge(world, &without.report()?, case.without, case.with)
    })?;
    Ok(())
}
