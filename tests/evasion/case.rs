//! A case: a use of a socket of its own, and castoff's expected results.

use anyhow::{Context, Result, bail, ensure};
use castoff_tests::report::{clients_at, list};
use serde_json::Value;
use std::any::Any;
use std::env;
use std::fmt;

use crate::world::World;

/// A client that no look saw, in the report.
const UNSEEN: &str = "unseen";

/// Returns the names under which the lab may be seen when it asks an engine whether it has started: by Docker's command, or
/// by this program.
pub(crate) fn the_lab() -> Vec<String> {
    let this = env::current_exe().ok();
    let this = this.iter().filter_map(|path| path.file_name()?.to_str());
    let programs = this.chain(["docker"]).map(|program| format!("{program} of 0"));
    programs.chain([UNSEEN.to_owned()]).collect()
}

/// The things that a case keeps until all cases are judged.
pub(crate) type Held = Box<dyn Any>;

/// The case's unit alone.
pub(crate) const UNIT: &[Said] = &[Said::Unit];

/// A case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// A short name, for its directory, its unit and its pod.
    pub(crate) name: &'static str,
    /// The text of its row.
    pub(crate) title: &'static str,
    /// The way in which castoff detects it, or what castoff reports instead.
    pub(crate) how: &'static str,
    /// Sets up the case.
    pub(crate) set: fn(&World, &Case) -> Result<Held>,
    /// All results for its socket with the kernel programs.
    pub(crate) with: &'static [Said],
    /// All results for it without them.
    pub(crate) without: &'static [Said],
}

/// One result about a socket in a report.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    /// The case's unit is a client.
    Unit,
    /// Another unit, which belongs to no other case.
    OtherUnit(&'static str),
    /// The pod's container `use`.
    Pod,
    /// The container that the engine itself runs.
    Container,
    /// A program of this uid, in no unit.
    Program(&'static str, u32),
    /// A program of this uid, if a look meets it in a short time.
    PerhapsProgram(&'static str, u32),
    /// A login session of this user.
    Session(u32),
    /// A connection is open, and its holder is not known.
    Unnamed,
    /// A client connected between two looks.
    Unseen,
    /// The case's container could reach the socket, through its file or through a directory above it.
    Exposed(&'static str),
    /// A finding with this code names the case.
    Finding(&'static str),
    /// The case's unit is a relay, and this program is shown behind it.
    Behind(&'static str),
    /// The times of the socket's file prove nothing, because they do not fit the clock.
    NoMark,
}

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit
            | Self::OtherUnit(_)
            | Self::Pod
            | Self::Container
            | Self::Program(..)
            | Self::PerhapsProgram(..)
            | Self::Session(_) => out.write_str("named"),
            Self::Unnamed => out.write_str("counted, without a name"),
            Self::Unseen => out.write_str("the time, without a name"),
            Self::Exposed(via) => write!(out, "exposure by {via}"),
            Self::Finding(code) => write!(out, "`{code}`"),
            Self::Behind(_) => out.write_str("relay, with its clients"),
            Self::NoMark => out.write_str("the file's times prove nothing"),
        }
    }
}

impl Case {
    /// Returns the name of its unit.
    pub(crate) fn unit(&self) -> String {
        format!("castoff-evasion-{}.service", self.name)
    }

    /// Compares a report with the expected results of the case. A client of `by_chance` may be in it too: one of the cases
    /// whose use is short, if a look came during the use. Then the report has it by name, and need not have it unseen.
    pub(crate) fn judge(&self, world: &World, report: &Value, expected: &[Said], by_chance: &[Said]) -> Result<()> {
        let listener = &world.listener(self);
        let named = |said: &[Said]| -> Vec<String> { said.iter().filter_map(|said| self.client(*said)).collect() };
        let perhaps = expected.iter().filter_map(|said| match said {
            Said::PerhapsProgram(name, uid) => Some(format!("{name} of {uid}")),
            _ => None,
        });
        let mut clients = named(expected);
        clients.sort();
        let mut seen = clients_at(report, listener)?;
        let others = world.others(self);
        seen.retain(|client| !others.contains(client));
        let mut chances = named(by_chance);
        chances.extend(perhaps);
        chances.retain(|client| !clients.contains(client));
        if seen.iter().any(|client| chances.contains(client)) && !seen.iter().any(|client| client == UNSEEN) {
            clients.retain(|client| client != UNSEEN);
        }
        seen.retain(|client| !chances.contains(client));
        seen.sort();
        ensure!(
            seen == clients,
            "clients are {seen:?} and not {clients:?}: {}",
            report["clients"]
        );
        ensure!(
            clients.is_empty() || report["verdict"] == "in-use",
            "verdict {}",
            report["verdict"]
        );
        let exposures: Vec<&str> = expected
            .iter()
            .filter_map(|said| match said {
                Said::Exposed(via) => Some(*via),
                _ => None,
            })
            .collect();
        let seen = self.exposures(report, listener)?;
        ensure!(seen == exposures, "exposures are {seen:?} and not {exposures:?}");
        expected
            .iter()
            .try_for_each(|said| self.judge_words(report, listener, *said))
    }

    fn client(&self, said: Said) -> Option<String> {
        match said {
            Said::Unit => Some(format!("unit {}", self.unit())),
            Said::OtherUnit(unit) => Some(format!("unit {unit}")),
            Said::Pod => Some(format!("pod evasion/{}/use", self.name)),
            Said::Container => Some(format!("dockerd container {}", self.name)),
            Said::Program(name, uid) => Some(format!("{name} of {uid}")),
            Said::Session(uid) => Some(format!("session of {uid}")),
            Said::Unnamed => Some("unnamed".to_owned()),
            Said::Unseen => Some(UNSEEN.to_owned()),
            Said::PerhapsProgram(..) | Said::Exposed(_) | Said::Finding(_) | Said::Behind(_) | Said::NoMark => None,
        }
    }

    /// Returns the ways in which the mounts of the case's own pod or container lead to its socket.
    fn exposures(&self, report: &Value, listener: &Value) -> Result<Vec<String>> {
        let is_own = |exposure: &&Value| {
            let of_case = exposure["pod"] == self.name || exposure["container"] == self.name;
            of_case && exposure["listener"] == *listener
        };
        if report["exposures"]["state"] == "absent" {
            return Ok(Vec::new()); // no container has a way to any socket
        }
        let exposures = list(report, "exposures")?.iter().filter(is_own);
        let ways = exposures.map(|exposure| Ok(exposure["via"].as_str().context("a mount leads somehow")?.to_owned()));
        ways.collect()
    }

    fn judge_words(&self, report: &Value, listener: &Value, said: Said) -> Result<()> {
        let found = match said {
            Said::Finding(code) => {
                let mut findings = report["findings"].as_array().into_iter().flatten();
                findings.any(|finding| finding["code"] == code && finding.to_string().contains(self.name))
            }
            Said::Behind(program) => {
                let mut relays = list(report, "relays")?.iter();
                let is_behind = |client: &Value| client["identity"]["executable"].to_string().contains(program);
                let clients = |relay: &Value| relay["clients"].as_array().cloned().unwrap_or_default();
                relays.any(|relay| {
                    relay["identity"]["unit"].to_string().contains(&self.unit()) && clients(relay).iter().any(is_behind)
                })
            }
            Said::NoMark => {
                let listeners = list(report, "engines")?
                    .iter()
                    .filter_map(|engine| engine["listeners"].as_array());
                let mut listeners = listeners.flatten();
                listeners.any(|own| own["name"] == *listener && own["lastConnect"]["because"] == "future")
            }
            _ => true,
        };
        if !found {
            bail!("it does not say {said:?}: {}", report["findings"]);
        }
        Ok(())
    }
}
