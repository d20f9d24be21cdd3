//! castoff as a user runs it: the built program, and its report as data for assertions.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::lab::castoff_binary;
use crate::lab::stage::Stage;
use crate::wait;

/// The timeout of operations that usually take a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of an agent's log that are kept.
pub const LOG_LIMIT: usize = 4 << 20;

/// Runs `castoff check` with these arguments to its end.
pub fn check<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Output> {
    let mut command = Command::new(castoff_binary()?);
    command.arg("check").args(arguments).env_remove("NODE_NAME");
    command.output().context("castoff check")
}

/// Returns the report of `castoff check -o json` with these arguments.
pub fn report<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Value> {
    read(&check(["-o", "json"].into_iter().chain(arguments))?)
}

/// Does the same for a castoff that runs on a stage and sees only that machine.
pub fn report_on(stage: &Stage, arguments: &[&str]) -> Result<Value> {
    let mut command = stage.command(castoff_binary()?);
    command
        .args(["check", "-o", "json"])
        .args(arguments)
        .env_remove("NODE_NAME");
    read(&command.output().context("castoff check")?)
}

fn read(output: &Output) -> Result<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(errors.is_empty(), "castoff check says {errors}");
    serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the entries of a known reading: `list(&report, "clients")`.
pub fn list<'a>(report: &'a Value, field: &str) -> Result<&'a [Value]> {
    let reading = &report[field];
    let entries = reading["value"].as_array();
    entries
        .map(Vec::as_slice)
        .with_context(|| format!("{field} is not known: {reading}"))
}

/// Returns the gaps of every source.
pub fn gaps(report: &Value) -> impl Iterator<Item = &Value> {
    let sources = report["sources"].as_array().into_iter().flatten();
    sources.flat_map(|source| source["gaps"].as_array().into_iter().flatten())
}

/// Returns the clients of the listener at `socket`, as in the column `WHO` of the table.
pub fn clients_of(report: &Value, socket: &Path) -> Result<Vec<String>> {
    clients_at(report, &json!({ "path": socket }))
}

/// Returns the clients of a listener, which is given as in the report: `{"path": …}` or `{"tcp": …}`.
pub fn clients_at(report: &Value, listener: &Value) -> Result<Vec<String>> {
    Ok(list(report, "clients")?
        .iter()
        .filter(|client| client["listener"] == *listener)
        .map(|client| who(&client["identity"]))
        .collect())
}

/// Returns an identity as text: `pod NS/POD/CONTAINER`, `dockerd container NAME`, `unit NAME`, `session of UID`,
/// `PROGRAM of UID`.
pub fn who(identity: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    match text(&identity["kind"]).as_str() {
        "pod" => {
            format!(
                "pod {}/{}/{}",
                text(&identity["namespace"]),
                text(&identity["pod"]),
                text(&identity["container"])
            )
        }
        "engine-container" => format!("{} container {}", text(&identity["engine"]), text(&identity["name"])),
        "host" if identity["unit"]["kind"] == "session" => format!("session of {}", identity["unit"]["uid"]),
        "host" if identity["unit"].is_object() => format!("unit {}", text(&identity["unit"]["name"])),
        "host" => {
            let program = text(&identity["executable"]);
            format!(
                "{} of {}",
                program.rsplit('/').next().unwrap_or(&program),
                identity["uid"]
            )
        }
        other => other.to_owned(),
    }
}

/// A `castoff run` that serves on a port of the kernel's choice. Dropping it ends it by process ID.
pub struct Agent {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Agent {
    /// Starts it with these arguments and waits until it is ready.
    pub fn start<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let agent = Self::start_unready(arguments)?;
        agent.wait_until("/readyz answers ok", |agent| {
            Ok(agent.get("/readyz")?.starts_with("ok"))
        })?;
        Ok(agent)
    }

    /// Starts it and waits until it listens.
    pub fn start_unready<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        Self::start_by(Command::new(castoff_binary()?), arguments)
    }

    /// Starts it with a command that executes castoff with its arguments, and waits until it listens.
    pub fn start_by<'a>(mut castoff: Command, arguments: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut child = castoff
            .args(["run", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .context("castoff run")?;
        let mut errors = std::io::BufReader::new(child.stderr.take().context("a pipe")?);
        let mut agent = Self {
            child,
            address: String::new(),
            log: Arc::default(),
        };
        let mut line = String::new();
        while agent.address.is_empty() {
            line.clear();
            let read = std::io::BufRead::read_line(&mut errors, &mut line)?;
            ensure!(read > 0, "castoff run ended: {:?}", agent.child.wait()?);
            keep_line(&agent.log, &line);
            let event: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if event["fields"]["message"] == "serving" {
                event["fields"]["address"]
                    .as_str()
                    .context("an address")?
                    .clone_into(&mut agent.address);
            }
        }
        // The log must be read, or its writer blocks.
        let log = Arc::clone(&agent.log);
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(errors).map_while(std::io::Result::ok) {
                keep_line(&log, &line);
            }
        });
        Ok(agent)
    }

    /// Returns its log so far: lines of JSON, and the text of a panic. At most [`LOG_LIMIT`] bytes; later lines are dropped.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns its address, `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the body of a page.
    pub fn get(&self, path: &str) -> Result<String> {
        let (_, body) = self.request(path)?;
        Ok(body)
    }

    /// Returns the status and the body of a page.
    pub fn request(&self, path: &str) -> Result<(u16, String)> {
        use std::io::Write;
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: castoff\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .with_context(|| head.to_owned())?;
        Ok((status, body.to_owned()))
    }

    /// Returns its latest report.
    pub fn report(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/api/v1/report")?)?)
    }

    /// Returns the value of one sample of `/metrics`, which is given with its labels as in the text; none if there is
    /// no such line.
    pub fn metric(&self, sample: &str) -> Result<Option<f64>> {
        let metrics = self.get("/metrics")?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse().context(value)).transpose()
    }

    /// Waits until `holds` is true.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        wait::until_or_hopeless(what, PATIENCE, || match holds(self) {
            Ok(true) => Ok(Ok(())),
            Ok(false) => bail!("the report is {}", self.get("/api/v1/report")?),
            Err(error) => Ok(Err(error)),
        })
    }

    /// Returns its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and returns the exit code; none if it does not end before the timeout.
    pub fn stop(mut self) -> Result<Option<i32>> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        wait::until("castoff run to stop after SIGTERM", PATIENCE, || {
            let status = self.child.try_wait()?.context("it still runs")?;
            Ok(status.code())
        })
    }
}

fn keep_line(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if log.len() + line.len() < LOG_LIMIT {
        log.push_str(line.trim_end());
        log.push('\n');
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
