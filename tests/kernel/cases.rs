//! The expected results of castoff in a guest, in the order in which its init runs it.

use std::path::Path;

use anyhow::{Context, Result};
use castoff_tests::lab::guests::Answers;
use castoff_tests::report::{clients_of, list};
use serde_json::Value;

/// The parameter that makes init skip the module that lists Unix sockets.
pub(crate) const WITHOUT_UNIX_DIAG: &str = "castoff.unix_diag=no";

/// The client in the control group of a pod. The guest has no runtime that knows the pod's name.
const POD: &str = "? container 5f0c2b7a9d1e of pod 8f0c1d52-9f5e-4a30-b6d1-2f1f5f0a7c11";

const SOCKET: &str = "/run/docker.sock";

/// Connects of the pod and of the unit, each by a process that exits at once, as in init.
const BURSTS: [u32; 2] = [600, 400];

/// The comparison of castoff's results with the expected ones.
#[derive(Default)]
pub(crate) struct Judged {
    /// Short names of the right results.
    pub(crate) right: Vec<&'static str>,
    /// castoff's method to record connects.
    pub(crate) method: String,
    /// The wrong results, one line each.
    pub(crate) wrong: Vec<String>,
    /// The measured times, as text. They are not checked.
    pub(crate) figures: String,
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

/// Compares all results of a guest with these parameters with the expected ones; `method` is the expected method to
/// record connects.
pub(crate) fn judge(parameters: &str, method: Option<&str>, answers: &Answers) -> Result<Judged> {
    let mut judged = Judged::default();
    if parameters.contains("lockdown=") {
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
    // The table of Unix sockets as text does not show the client, unless it is alone in its network namespace.
    let holders = if parameters == WITHOUT_UNIX_DIAG {
        vec![POD, "unnamed"]
    } else {
        vec![POD, "client of 0", "unit backup.service"]
    };
    judged.is("holders", who(&held)?, holders);
    let with_events = answers.json("auto")?;
    judge_events(&mut judged, method, &with_events)?;
    let asked = answers.json("asked")?;
    judge_requests(&mut judged, parameters, method, &asked)?;
    judge_holders(&mut judged, &asked)?;
    judged.figures = figures(answers)?;
    let without = answers.json("off")?;
    judged.is("in use without events", verdict(&without), "in-use");
    judged.is(
        "events switched off",
        without["connectEvents"]["state"].clone(),
        "absent",
    );
    Ok(judged)
}

/// Returns the rate of the bursts, and the cost of an unrelated connect, with connect events and without.
fn figures(answers: &Answers) -> Result<String> {
    let seconds = |events: &str| -> Result<f64> {
        let text = answers.text(&format!("burst-{events}"))?;
        let (start, end) = text.trim().split_once(' ').context("two times")?;
        Ok(end.parse::<f64>()? - start.parse::<f64>()?)
    };
    let rate = |seconds: f64| f64::from(BURSTS.iter().sum::<u32>()) / seconds.max(0.01);
    let cost = |events: &str| -> Result<f64> { Ok(answers.text(&format!("cost-{events}"))?.trim().parse()?) };
    let (with, without) = (cost("auto")?, cost("off")?);
    Ok(format!(
        "{:.0} connects/s with events, {:.0} without; an unrelated connect {with:.0} ns with, {without:.0} without: {:.2} times",
        rate(seconds("auto")?),
        rate(seconds("off")?),
        with / without.max(1.0),
    ))
}

/// Compares the agent's report after the bursts.
fn judge_events(judged: &mut Judged, method: Option<&str>, report: &Value) -> Result<()> {
    let events = &report["connectEvents"]["value"];
    events["method"]
        .as_str()
        .unwrap_or("none")
        .clone_into(&mut judged.method);
    judged.is("method", events["method"].clone(), method);
    judged.is("in use by short connects", verdict(report), "in-use");
    let clients = list(report, "clients")?.iter().map(|client| {
        let name = castoff_tests::report::who(&client["identity"]);
        format!("{name}: {}", client["connects"])
    });
    let mut clients: Vec<String> = clients.collect();
    clients.sort();
    // The times of the socket's file report the clients before the agent's start, and all clients if no method runs.
    let before = clients.iter().any(|client| client.starts_with("unseen: "));
    judged.is("clients before the agent", before, true);
    if method.is_none() {
        judged.is("why no method runs", events["refused"].as_array().map(Vec::len), 3);
        return Ok(());
    }
    // Without its module the table of sockets as text may add a connection without a holder while one is open.
    clients.retain(|client| {
        !["unseen: ", "unnamed: "]
            .iter()
            .any(|nobody| client.starts_with(nobody))
    });
    let [of_pod, of_unit] = BURSTS;
    let expected = vec![format!("{POD}: {of_pod}"), format!("unit backup.service: {of_unit}")];
    judged.is("every short client by name", clients, expected);
    judged.is("all connects recorded", events["recorded"].clone(), of_pod + of_unit);
    judged.is("none lost", events["lost"].clone(), 0);
    judged.is("all attributed", events["attributed"]["none"].clone(), 0);
    Ok(())
}

/// Compares the agent's report of the requests of the pod and the unit. Under this lockdown no program reads them.
fn judge_requests(judged: &mut Judged, parameters: &str, method: Option<&str>, report: &Value) -> Result<()> {
    let method = method.filter(|_| !parameters.contains("lockdown="));
    let requests = &report["connectEvents"]["value"]["requests"];
    judged.is("requests by", requests["method"].clone(), method);
    let asked = list(report, "clients")?.iter().filter_map(|client| {
        let name = castoff_tests::report::who(&client["identity"]);
        let operations = client["requests"]["operations"].as_object()?;
        let operations: Vec<&str> = operations.keys().map(String::as_str).collect();
        let api = &client["requests"]["lowestApi"]["minor"];
        Some(format!("{name}: {} {api}", operations.join(",")))
    });
    let mut asked: Vec<String> = asked.collect();
    asked.sort();
    let all = vec![format!("{POD}: read 41"), "unit backup.service: build null".to_owned()];
    let expected = if method.is_some() { all } else { Vec::new() };
    judged.is("what each client asks for", asked, expected);
    if method.is_some() {
        judged.is("no request lost", requests["lost"].clone(), 0);
    }
    Ok(())
}

/// Compares the holders that the kernel's iterator finds: each kernel runs it, also under lockdown.
fn judge_holders(judged: &mut Judged, report: &Value) -> Result<()> {
    let refused = &report["iteratorRefused"];
    let method = if refused.is_null() {
        report["holderMethod"].clone()
    } else {
        refused.clone()
    };
    judged.is("holders by", method, "iterator");
    let held = list(report, "clients")?.iter().filter_map(|client| {
        let holders = client["holders"].as_array().filter(|holders| !holders.is_empty())?;
        let name = castoff_tests::report::who(&client["identity"]);
        Some(format!("{name}: {}", holders.len()))
    });
    let mut held: Vec<String> = held.collect();
    held.sort();
    let expected = [
        format!("{POD}: 1"),
        "unit backup.service: 1".into(),
        "unit worker.service: 1".into(),
    ];
    judged.is("a thread with descriptors of its own", held, expected.to_vec());
    Ok(())
}

fn verdict(report: &Value) -> Value {
    report["verdict"].clone()
}

/// Returns the kind of the last connect of the engine's socket.
fn last_connect(report: &Value) -> Result<Value> {
    let engines = list(report, "engines")?;
    Ok(engines[0]["listeners"][0]["lastConnect"]["kind"].clone())
}

/// Returns the clients, as in the table, in order.
fn who(report: &Value) -> Result<Vec<String>> {
    let mut who = clients_of(report, Path::new(SOCKET))?;
    who.sort();
    Ok(who)
}
