//! One row of the matrix: what is to be run, and what came of it.

use std::fmt;

use crate::lab::docker::Docker;
use crate::lab::suites::Unavailable;
use anyhow::Result;
use serde_json::Value;

/// What a row is about.
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
    /// All of them.
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

/// How a version is run and looked at; the engine is one that pods can hold connections to.
type Run = dyn Fn(&Plan, &Docker) -> Result<Seen>;

/// A version to be run.
pub struct Plan {
    /// What the row is called, like `containerd 1.4.13`.
    pub name: String,
    /// Of several of a kind one may be missing.
    pub kind: Kind,
    /// What the version that it says it has must start with.
    version: &'static str,
    /// Where it comes from, like `Debian trixie`.
    source: String,
    run: Box<Run>,
}

impl Plan {
    /// A version that says it is `version`, or starts with it.
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

    /// Whether the archive still has this version, by what the daemon says it is.
    pub fn expect(&self, version: &str) -> Result<(), Unavailable> {
        if version.starts_with(self.version) {
            return Ok(());
        }
        Err(Unavailable(format!("{} has {} {version} now", self.source, self.kind)))
    }
}

/// What castoff said of a version, and whether that is what is true.
#[derive(Debug, Default)]
pub struct Seen {
    /// The version that the daemon says it has.
    pub version: String,
    /// The version of CRI that castoff asked in.
    pub api: String,
    /// The newest kubelet, in words.
    pub ceiling: String,
    /// What was asserted.
    pub asserted: Vec<&'static str>,
    wrong: Vec<String>,
    /// What castoff could not see.
    gaps: Vec<String>,
}

impl Seen {
    /// Keeps what castoff could not see, for a failure's message.
    pub fn keep_gaps(&mut self, report: &Value) {
        let sources = report["sources"].as_array().into_iter().flatten();
        let gaps = sources.flat_map(|source| source["gaps"].as_array().into_iter().flatten());
        self.gaps = gaps
            .map(|gap| format!("\n{}: {}", gap["asked"], gap["answer"]))
            .collect();
    }

    /// Asserts that one thing that castoff said is this.
    pub fn is(&mut self, what: &'static str, said: &Value, expected: impl Into<Value>) {
        let expected = expected.into();
        self.holds(what, *said == expected, || format!("{said}, and it is {expected}"));
    }

    /// Asserts anything else; `said` is what castoff said where it does not hold.
    pub fn holds(&mut self, what: &'static str, holds: bool, said: impl FnOnce() -> String) {
        if !self.asserted.contains(&what) {
            self.asserted.push(what);
        }
        if !holds {
            self.wrong.push(format!("{what}: castoff says {}", said()));
        }
    }
}

/// What came of a row.
#[derive(Debug)]
pub enum Outcome {
    /// Castoff was right about everything.
    Right,
    /// Everything that is wrong, a line each; a daemon that did not start has its log here.
    Wrong(String),
    /// Why it could not be had.
    NotRun(String),
}

impl Outcome {
    /// The outcome of a row that broke off with `error`. The reason why something could not be had is one line.
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
    /// What castoff said; empty where the row broke off.
    pub seen: Seen,
    /// What came of it.
    pub outcome: Outcome,
}

impl Row {
    /// The row of a plan by what running it gave.
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
