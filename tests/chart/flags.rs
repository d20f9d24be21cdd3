//! The flags in the chart are castoff's: its own command line accepts them.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use serde_json::Value;

use crate::render::{Rendering, of_kind, scenarios};

fn castoff(container: &Value, and: &[&str]) -> Result<Output> {
    let arguments = container["args"].as_array().context("arguments")?;
    let mut command = Command::new(castoff_binary()?);
    command.env_clear().env("NODE_NAME", "worker-1");
    for variable in container["env"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            command.env(name, value);
        }
    }
    command.args(arguments.iter().filter_map(Value::as_str));
    command.args(and).output().context("start castoff")
}

/// One additional flag is wrong, so that nothing starts: castoff reports all errors at once, and this one must be the
/// only one.
#[test]
fn the_agent_accepts_its_flags_in_every_scenario() -> Result<()> {
    for scenario in scenarios()? {
        let objects = Rendering::new().values(&scenario).objects()?;
        for agent in of_kind(&objects, "DaemonSet") {
            let output = castoff(
                &agent["spec"]["template"]["spec"]["containers"][0],
                &["--proc=/nowhere"],
            )?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{}: {said}", scenario.display());
            let lines: Vec<&str> = said.lines().collect();
            ensure!(
                lines.len() == 1 && said.contains("--proc /nowhere"),
                "{}: {said}",
                scenario.display()
            );
        }
    }
    Ok(())
}

/// It runs until it looks for the service account, which this machine does not have.
#[test]
fn the_job_accepts_its_flags() -> Result<()> {
    let objects = Rendering::new().objects()?;
    let jobs = of_kind(&objects, "Job");
    let job = jobs.first().context("the Job that cleans up")?;
    let output = castoff(&job["spec"]["template"]["spec"]["containers"][0], &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() != Some(64) && said.contains("service account"),
        "{said}"
    );
    Ok(())
}
