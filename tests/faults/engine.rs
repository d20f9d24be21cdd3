//! The engine is killed, stopped, and restarted again and again, while a client uses it.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::Plan;
use crate::node::{ENDPOINT, Runtime, start_engine, start_kubelet};
use crate::watched::{PERIOD, Phase, Watched};

const LASTS: Duration = Duration::from_secs(12);

pub(crate) fn stopped(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let engine = start_engine()?;
    let _client = engine.connect()?;
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["in-use"])?;
    agent.endure((plan.times(), LASTS), &["in-use"], |phase| match phase {
        Phase::Begin => engine.signal(Signal::STOP),
        Phase::End => engine.signal(Signal::CONT),
    })?;
    agent.stop()
}

/// The client was seen, so it counts for the window, whatever happens to the engine.
pub(crate) fn killed(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let mut engine = start_engine()?;
    let mut client = Some(engine.connect()?);
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["in-use"])?;
    agent.endure((plan.times(), LASTS), &["in-use"], |phase| {
        match phase {
            Phase::Begin => {
                engine.signal(Signal::KILL)?;
                client = None;
            }
            Phase::End => {
                engine = start_engine()?;
                client = Some(engine.connect()?);
            }
        }
        Ok(())
    })?;
    drop(client);
    agent.stop()
}

/// The engine restarts in each period, so that looks meet it in each state.
pub(crate) fn restarted(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let mut engine = start_engine()?;
    let mut client = engine.connect()?;
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["in-use"])?;
    agent.endure((plan.times(), LASTS), &["in-use"], |phase| {
        if phase == Phase::Begin {
            for _ in 0..3 {
                engine.signal(Signal::KILL)?;
                engine = start_engine()?;
                client = engine.connect()?;
                thread::sleep(PERIOD / 3);
            }
        }
        Ok(())
    })?;
    drop(client);
    agent.stop()
}
