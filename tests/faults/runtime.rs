//! The container runtime is killed, hangs, restarts, and answers with garbage.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use castoff_tests::fake::cri::{Broken, Manner};
use rustix::process::Signal;

use crate::Plan;
use crate::node::{ENDPOINT, Runtime, start_kubelet};
use crate::watched::{Phase, Watched};

/// The time for two looks while the runtime does not answer.
const LASTS: Duration = Duration::from_secs(12);

/// A node without Docker whose runtime fails is unknown, and clear again when the runtime answers.
fn endure(plan: &Plan, change: impl FnMut(Phase) -> Result<()>) -> Result<()> {
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["clear"])?;
    agent.endure((plan.times(), LASTS), &["unknown"], change)?;
    agent.stop()
}

pub(crate) fn killed(plan: &Plan) -> Result<()> {
    let _kubelet = start_kubelet()?;
    let mut runtime = Runtime::start()?;
    endure(plan, |phase| {
        match phase {
            Phase::Begin => runtime.kill()?,
            Phase::End => runtime = Runtime::start()?,
        }
        Ok(())
    })
}

pub(crate) fn stopped(plan: &Plan) -> Result<()> {
    let _kubelet = start_kubelet()?;
    let runtime = Runtime::start()?;
    endure(plan, |phase| match phase {
        Phase::Begin => runtime.signal(Signal::STOP),
        Phase::End => runtime.signal(Signal::CONT),
    })
}

pub(crate) fn garbage(plan: &Plan) -> Result<()> {
    let _kubelet = start_kubelet()?;
    let mut runtime = Some(Runtime::start()?);
    let mut broken = None;
    let manners = [
        Manner::Says(vec![0xff; 65_536]),
        Manner::SaysAndCloses(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Manner::Says(b"\0\0\x12\x04\0\0\0\0\0".to_vec()),
        Manner::Mute,
        Manner::Deaf,
    ];
    let mut manners = manners.iter().cycle();
    endure(plan, |phase| {
        broken = None;
        runtime = None;
        let _ = fs::remove_file(ENDPOINT);
        match phase {
            Phase::Begin => {
                let manner = manners.next().context("a cycle does not end")?.clone();
                broken = Some(Broken::start(ENDPOINT, manner)?);
            }
            Phase::End => runtime = Some(Runtime::start()?),
        }
        Ok(())
    })
}
