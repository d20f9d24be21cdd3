//! One row of the matrix: the version to run, and its result.

use std::fmt;

use crate::lab::docker::Docker;
use crate::lab::suites::Unavailable;
use anyhow::Result;
use serde_json::Value;

/// The subject of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// containerd.
    Containerd,
    /// Docker Engine.
    Docker,
    /// podman's service.
    Podman,
    /// CRI-O.
    Crio,
    /// A kubelet with dockershim.
    Dockershim,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Containerd,
        Self::Docker,
        Self::Podman,
        Self::Crio,
        Self::Dockershim,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Containerd => "containerd",
            Self::Docker => "Docker",
            Self::Podman => "podman",
            Self::Crio => "CRI-O",
            Self::Dockershim => "dockershim",
        })
    }
}

/// The function that runs and checks a version; pods can hold connections to the engine.
type Run = dyn Fn(&Plan, &Docker) -> Result<Seen>;

/// A version to run.
pub struct Plan {
    /// The name of the row, like `containerd 1.4.13`.
    pub name: String,
    /// The kind. One version of each kind may be missing if there are several.
    pub kind: Kind,
    /// The required prefix of the version that it reports.
    version: &'static str,
    /// Its source, like `Debian trixie`.
    source: String,
    run: Box<Run>,
}

impl Plan {
    /// Creates the plan of a version that reports `version` or a longer one with this prefix.
    pub fn new(
        kind: Kind,
        version: &'static str,
        source: impl Into<String>,
        run: impl Fn(&Self, &Docker) -> Result<Seen> + 'static,
    ) -> Self {
        Self {
            name: format!("{kind} {}", version.trim_end_matches('.')),
            kind,
            version,
            source: source.into(),
            run: Box::new(run),
        }
    }

    /// Runs it.
    pub fn run(&self, engine: &Docker) -> Row {
        Row::of(self, (self.run)(self, engine))
    }

    /// Fails if the archive has another version now, by what the daemon reports.
    pub fn expect(&self, version: &str) -> Result<(), Unavailable> {
        if version.starts_with(self.version) {
            return Ok(());
        }
        Err(Unavailable(format!("{} has {} {version} now", self.source, self.kind)))
    }
}

/// castoff's results for a version, and whether they are right.
#[derive(Debug, Default)]
pub struct Seen {
    /// The version that the daemon reports.
    pub version: String,
    /// The version of CRI that castoff used.
    pub api: String,
    /// The newest supported kubelet, as text.
    pub ceiling: String,
    /// The names of the assertions.
    pub asserted: Vec<&'static str>,
    wrong: Vec<String>,
    /// castoff's gaps.
    gaps: Vec<String>,
}

impl Seen {
    /// Keeps castoff's gaps, for error messages.
    pub fn keep_gaps(&mut self, report: &Value) {
        let sources = report["sources"].as_array().into_iter().flatten();
        let gaps = sources.flat_map(|source| source["gaps"].as_array().into_iter().flatten());
        self.gaps = gaps
            .map(|gap| format!("\n{}: {}", gap["asked"], gap["answer"]))
            .collect();
    }

    /// Asserts that one value in castoff's report is the expected one.
    pub fn is(&mut self, what: &'static str, said: &Value, expected: impl Into<Value>) {
        let expected = expected.into();
        self.holds(what, *said == expected, || format!("{said}, and it is {expected}"));
    }

    /// Asserts any other condition; `said` returns castoff's value if it does not hold.
    pub fn holds(&mut self, what: &'static str, holds: bool, said: impl FnOnce() -> String) {
        if !self.asserted.contains(&what) {
            self.asserted.push(what);
        }
        if !holds {
            self.wrong.push(format!("{what}: castoff says {}", said()));
        }
    }
}

/// The outcome of a row.
#[derive(Debug)]
pub enum Outcome {
    /// castoff was right about everything.
    Right,
    /// Everything that is wrong, one line each; for a daemon that did not start, its log.
    Wrong(String),
    /// The reason why the version is not available.
    NotRun(String),
}

impl Outcome {
    /// Returns the outcome of a row that failed with `error`. The reason why a version is not available is one line.
    pub fn of_error(error: &anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(Unavailable(words)) => Self::NotRun(words.split_whitespace().collect::<Vec<_>>().join(" ")),
            None => Self::Wrong(format!("{error:#}")),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => out.write_str("ok"),
            Self::Wrong(what) => write!(out, "FAILED: {what}"),
            Self::NotRun(words) => write!(out, "not run: {words}"),
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The plan's.
    pub name: String,
    /// The plan's.
    pub kind: Kind,
    /// The plan's.
    pub source: String,
    /// castoff's results; empty if the row failed early.
    pub seen: Seen,
    /// The outcome.
    pub outcome: Outcome,
}

impl Row {
    /// Returns the row of a plan from its result.
    pub fn of(plan: &Plan, result: Result<Seen>) -> Self {
        let (seen, outcome) = match result {
            Ok(mut seen) if seen.wrong.is_empty() => (std::mem::take(&mut seen), Outcome::Right),
            Ok(seen) => {
                let wrong = format!("{}{}", seen.wrong.join("\n"), seen.gaps.concat());
                (seen, Outcome::Wrong(wrong))
            }
            Err(error) => (Seen::default(), Outcome::of_error(&error)),
        };
        Self {
            name: plan.name.clone(),
            kind: plan.kind,
            source: plan.source.clone(),
            seen,
            outcome,
        }
    }
}
