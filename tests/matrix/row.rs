//! One row of the matrix: what is to be run, and what came of it.

use std::fmt;

use anyhow::Result;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::suites::Unavailable;
use serde_json::Value;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Containerd,
    Docker,
    Podman,
    Crio,
    Dockershim,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
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
pub(crate) struct Plan {
    /// What the row is called, like `containerd 1.4.13`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What the version that it says it has must start with.
    version: &'static str,
    /// Where it comes from, like `Debian trixie`.
    source: String,
    pub(crate) run: Box<Run>,
}

impl Plan {
    pub(crate) fn new(
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

    /// Whether the archive still has this version, by what the daemon says it is.
    pub(crate) fn expect(&self, version: &str) -> Result<(), Unavailable> {
        if version.starts_with(self.version) {
            return Ok(());
        }
        Err(Unavailable(format!("{} has {} {version} now", self.source, self.kind)))
    }
}

/// What castoff said of a version, and whether that is what is true.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The version that the daemon says it has.
    pub(crate) version: String,
    /// The version of CRI that castoff asked in.
    pub(crate) api: String,
    /// The newest kubelet, in words.
    pub(crate) ceiling: String,
    /// What was asserted.
    pub(crate) asserted: Vec<&'static str>,
    wrong: Vec<String>,
}

impl Seen {
    /// Asserts that one thing that castoff said is this.
    pub(crate) fn is(&mut self, what: &'static str, said: &Value, expected: impl Into<Value>) {
        let expected = expected.into();
        self.holds(what, *said == expected, || format!("{said}, and it is {expected}"));
    }

    /// Asserts anything else; `said` is what castoff said where it does not hold.
    pub(crate) fn holds(&mut self, what: &'static str, holds: bool, said: impl FnOnce() -> String) {
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
pub(crate) enum Outcome {
    Right,
    /// Everything that is wrong, a line each; a daemon that did not start has its log here.
    Wrong(String),
    /// Why it could not be had.
    NotRun(String),
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
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) source: String,
    pub(crate) seen: Seen,
    pub(crate) outcome: Outcome,
}

impl Row {
    pub(crate) fn of(plan: &Plan, result: Result<Seen>) -> Self {
        let (seen, outcome) = match result {
            Ok(mut seen) if seen.wrong.is_empty() => (std::mem::take(&mut seen), Outcome::Right),
            Ok(seen) => {
                let wrong = seen.wrong.join("\n");
                (seen, Outcome::Wrong(wrong))
            }
            Err(error) => {
                let outcome = match error.downcast_ref::<Unavailable>() {
                    Some(Unavailable(words)) => Outcome::NotRun(words.clone()),
                    None => Outcome::Wrong(format!("{error:#}")),
                };
                (Seen::default(), outcome)
            }
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
