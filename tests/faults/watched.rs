//! An agent that is watched while things fail around it, and the one list of invariants that hold meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use castoff_tests::lab::process::Resources;
use castoff_tests::report::Agent;
use castoff_tests::wait;
use serde_json::Value;

/// The time from one look to the next.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// The time that a look may take on a busy machine, added to the period.
const MARGIN: Duration = Duration::from_secs(3);
/// The timeout of one call to the runtime.
const RUNTIME_TIMEOUT: &str = "300ms";
/// The timeout for the report to show what has changed.
const PATIENCE: Duration = Duration::from_secs(20);
/// The repetitions before the resources are measured: threads are started and memory is kept on first use.
const WARM_UP: u32 = 1;

/// A moment of a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The fault begins.
    Begin,
    /// The fault ends.
    End,
}

/// The first and last time and the connects of a client, by its identity and listener.
type Known = BTreeMap<String, (String, String, u64)>;

/// A running agent, and what it has reported so far.
pub(crate) struct Watched {
    agent: Agent,
    known: Known,
}

impl Watched {
    /// Starts an agent with these arguments and waits for its first report.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let common = ["--period", "1s", "--runtime-timeout", RUNTIME_TIMEOUT];
        Ok(Self::of(Agent::start(
            common.into_iter().chain(arguments.iter().copied()),
        )?))
    }

    /// Watches an agent that was started otherwise.
    pub(crate) fn of(agent: Agent) -> Self {
        Self {
            agent,
            known: Known::new(),
        }
    }

    /// Returns the agent.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// It did not end with exit code 0.
    pub(crate) fn stop(self) -> Result<()> {
        let log = self.agent.log();
        let code = self.agent.stop()?;
        ensure!(code == Some(0), "the agent ended with {code:?}; its log is\n{log}");
        Ok(())
    }

    /// Waits until the verdict is one of these, and returns it.
    pub(crate) fn wait_for_verdict(&mut self, verdicts: &[&str]) -> Result<String> {
        wait::until(&format!("a verdict of {verdicts:?}"), PATIENCE, || {
            let report = self.agent.report()?;
            let verdict = report["verdict"].as_str().context("a verdict")?;
            ensure!(verdicts.contains(&verdict), "{}", explain(&report));
            Ok(verdict.to_owned())
        })
    }

    /// Waits until `looks` more looks have ended. The first of them may have begun before this call.
    ///
    /// # Errors
    /// They did not end within `within`.
    pub(crate) fn wait_for_looks(&self, looks: u32, within: Duration) -> Result<()> {
        let before = self.looks()?;
        wait::until(&format!("{looks} more looks"), within, || {
            let now = self.looks()?;
            ensure!(now >= before + f64::from(looks), "{now} looks after {before}");
            Ok(())
        })
    }

    fn looks(&self) -> Result<f64> {
        let looks = self.agent.metric("castoff_cycles_total")?;
        looks.context("castoff_cycles_total")
    }

    /// Repeats a fault, and checks the invariants while it lasts and after each end of it. While it lasts, two looks end
    /// within `lasts`, and the verdict of the second is one of `verdicts`. After its end the agent reports what it
    /// reported before. The resources of the agent are flat over the repetitions.
    pub(crate) fn endure(
        &mut self,
        (times, lasts): (u32, Duration),
        verdicts: &[&str],
        mut change: impl FnMut(Phase) -> Result<()>,
    ) -> Result<()> {
        let usual = self.check()?;
        let mut before = None;
        let all = WARM_UP + times;
        for repetition in 0..all {
            let context = || format!("repetition {repetition}");
            if repetition == WARM_UP {
                before = Some(Resources::measure(self.agent.pid())?);
            }
            change(Phase::Begin).with_context(context)?;
            self.wait_for_looks(2, lasts).with_context(context)?;
            let verdict = self.check().with_context(context)?;
            ensure!(
                verdicts.contains(&verdict.as_str()),
                "repetition {repetition}: {}",
                explain(&self.agent.report()?)
            );
            change(Phase::End).with_context(context)?;
            self.wait_for_looks(1, PERIOD + MARGIN).with_context(context)?;
            self.wait_for_verdict(&[&usual]).with_context(context)?;
            self.check().with_context(context)?;
        }
        let before = before.context("a fault is repeated at least once")?;
        let after = Resources::measure(self.agent.pid())?;
        after.are_flat_since(&before)
    }

    /// Checks everything that holds at any time while looks end, and returns the verdict: the process lives and has not
    /// panicked, `/livez` says so, and no client that was reported is lost.
    pub(crate) fn check(&mut self) -> Result<String> {
        let log = self.agent.log();
        ensure!(!log.contains("panicked"), "the agent panicked:\n{log}");
        let (status, body) = self.agent.request("/livez").context("the agent does not answer")?;
        ensure!(status == 200, "/livez is {status}: {body}");
        let report = self.agent.report()?;
        let hides = |gap: &Value| gap["hides"] != "detail";
        let is_false = report["verdict"] == "clear" && castoff_tests::report::gaps(&report).any(hides);
        ensure!(!is_false, "a false clear: {}", explain(&report));
        if report["clients"]["state"] != "unknown" {
            self.check_clients(&report)?;
        }
        Ok(report["verdict"].as_str().context("a verdict")?.to_owned())
    }

    /// Checks that every client that was reported before still is. While clients are unknown, that waits for the next check.
    fn check_clients(&mut self, report: &Value) -> Result<()> {
        let now = known(report);
        for (client, before) in &self.known {
            let Some(after) = now.get(client) else {
                bail!("{client} is no longer reported: {}", explain(report));
            };
            let ((first, last, connects), (first_now, last_now, connects_now)) = (before, after);
            ensure!(
                first_now <= first && last_now >= last && connects_now >= connects,
                "{client}: {after:?} after {before:?}"
            );
        }
        self.known.extend(now);
        Ok(())
    }

    /// Waits until `holds` succeeds.
    pub(crate) fn wait_for(&self, what: &str, holds: impl Fn(&Agent) -> Result<()>) -> Result<()> {
        wait::until(what, PATIENCE, || holds(&self.agent))
    }

    /// Waits until `/livez` has this status.
    pub(crate) fn wait_for_livez(&self, status: u16, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        wait::until(&format!("/livez {status}"), within, || {
            let (now, body) = self.agent.request("/livez")?;
            ensure!(now == status, "{now}: {body}");
            Ok(())
        })?;
        Ok(begun.elapsed())
    }
}

/// Returns the clients of a report, by identity and listener.
fn known(report: &Value) -> Known {
    let clients = report["clients"]["value"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |client: &Value| {
        let key = format!("{} of {}", client["identity"], client["listener"]);
        let connects = client["connects"].as_u64().unwrap_or_default();
        (key, (text(&client["firstSeen"]), text(&client["lastSeen"]), connects))
    };
    clients.map(row).collect()
}

/// Returns the verdict of a report with its reason and its gaps.
pub(crate) fn explain(report: &Value) -> String {
    let gaps: Vec<String> = castoff_tests::report::gaps(report).map(Value::to_string).collect();
    format!("{}: {}; gaps {gaps:#?}", report["verdict"], report["verdictReason"])
}
