//! What castoff has to say in a guest, in the order in which its init asks.

use std::path::Path;

use anyhow::Result;
use castoff_tests::lab::guests::Answers;
use castoff_tests::report::{clients_of, list};
use serde_json::Value;

/// The parameter with which init does not load the module that lists Unix sockets.
pub(crate) const WITHOUT_UNIX_DIAG: &str = "castoff.unix_diag=no";

const SOCKET: &str = "/run/docker.sock";

/// What was held against what is true.
#[derive(Default)]
pub(crate) struct Judged {
    /// Short words for what castoff was right about.
    pub(crate) right: Vec<&'static str>,
    /// What it said instead, a line each.
    pub(crate) wrong: Vec<String>,
}

impl Judged {
    fn is(&mut self, what: &'static str, said: impl Into<Value>, expected: impl Into<Value>) {
        let (said, expected) = (said.into(), expected.into());
        if said == expected {
            self.right.push(what);
        } else {
            self.wrong.push(format!("{what}: {said}, and it is {expected}"));
        }
    }
}

/// Holds all answers of a guest with these parameters against what is true in it.
pub(crate) fn judge(parameters: &str, answers: &Answers) -> Result<Judged> {
    let mut judged = Judged::default();
    if parameters.contains("lockdown=confidentiality") {
        let lockdown = answers.text("lockdown")?;
        judged.is("lockdown", lockdown.contains("[confidentiality]"), true);
    }
    let nothing = answers.json("nothing")?;
    judged.is("no engine", verdict(&nothing), "clear");
    let quiet = answers.json("quiet")?;
    judged.is("an engine nobody uses", verdict(&quiet), "idle");
    judged.is("nobody connected", last_connect(&quiet)?, "none-since");
    let left = answers.json("left")?;
    judged.is("a client that left", who(&left)?, vec!["unseen"]);
    judged.is("when it connected", last_connect(&left)?, "exact");
    let held = answers.json("held")?;
    judged.is("holders", who(&held)?, vec!["x"]);
    Ok(judged)
}

fn verdict(report: &Value) -> Value {
    report["verdict"].clone()
}

/// The kind of reading that the engine's socket gives of the last connect.
fn last_connect(report: &Value) -> Result<Value> {
    let engines = list(report, "engines")?;
    Ok(engines[0]["listeners"][0]["lastConnect"]["kind"].clone())
}

/// The clients, in the words of the table, in order.
fn who(report: &Value) -> Result<Vec<String>> {
    let mut who = clients_of(report, Path::new(SOCKET))?;
    who.sort();
    Ok(who)
}
