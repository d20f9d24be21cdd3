//! A row: a kernel with its parameters, and the result.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use castoff_tests::lab::guests::{Answers, Guest};
use castoff_tests::lab::images;
use castoff_tests::lab::kernels::{self, Kernel};
use castoff_tests::lab::suites::{Suite, Unavailable};
use castoff_tests::matrix::Outcome;

use crate::cases::{self, Judged};

const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/init");

/// A kernel to boot.
pub(crate) struct Plan {
    suite: Suite,
    /// Its release, with an `x` for the part that changes from month to month.
    version: &'static str,
    /// The parameters, in addition to those of every guest.
    parameters: &'static str,
    /// The method to record connects there; none if the kernel allows no program.
    method: Option<&'static str>,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) judged: Judged,
    pub(crate) outcome: Outcome,
}

/// Returns Debian's kernels: unchanged, locked down, and one without the module that castoff asks first.
pub(crate) fn plans() -> Vec<Plan> {
    const FENTRY: Option<&str> = Some("fentry");
    const LOCKED: &str = "lockdown=confidentiality";
    [
        (Suite::Bullseye, "5.10.x", "", FENTRY),
        (Suite::Bullseye, "5.10.x", LOCKED, None),
        (Suite::Bookworm, "6.1.x", "", FENTRY),
        (Suite::Bookworm, "6.1.x", LOCKED, FENTRY),
        (Suite::Bookworm, "6.1.x", cases::WITHOUT_UNIX_DIAG, FENTRY),
        (Suite::Trixie, "6.12.x", "", FENTRY),
        (Suite::Sid, "7.x", "", FENTRY),
        (Suite::Sid, "7.x", LOCKED, FENTRY),
    ]
    .map(|(suite, version, parameters, method)| Plan {
        suite,
        version,
        parameters,
        method,
    })
    .into()
}

impl Plan {
    /// Returns a name like `6.1.x lockdown=confidentiality`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.version, self.parameters).trim_end().to_owned()
    }

    /// Boots it with this castoff.
    pub(crate) fn run(&self, castoff: &Path) -> Row {
        let (judged, outcome) = match self.judge(castoff) {
            Ok(judged) if judged.wrong.is_empty() => (judged, Outcome::Right),
            Ok(judged) => {
                let wrong = judged.wrong.join("\n");
                (judged, Outcome::Wrong(wrong))
            }
            Err(error) => (Judged::default(), Outcome::of_error(&error)),
        };
        Row {
            name: self.name(),
            source: format!("Debian {}", self.suite.name()),
            judged,
            outcome,
        }
    }

    fn judge(&self, castoff: &Path) -> Result<Judged> {
        let kernel = kernels::kernel(self.suite)?;
        let answers = self.boot(&kernel, castoff)?;
        let release = answers.text("kernel")?;
        if !release.starts_with(self.version.trim_end_matches('x')) {
            let source = self.suite.name();
            return Err(Unavailable(format!("Debian {source} has Linux {release} now")).into());
        }
        cases::judge(self.parameters, self.method, &answers)
    }

    fn boot(&self, kernel: &Kernel, castoff: &Path) -> Result<Answers> {
        let client = images::client()?;
        let files = [
            ("init", PathBuf::from(INIT)),
            ("lib/unix_diag.ko", kernel.unix_diag.clone()),
            ("bin/castoff", castoff.to_owned()),
            ("bin/client", client.clone()),
            ("opt/pause", client.clone()),
            // A name by which castoff recognises the engine.
            ("opt/dockerd", client),
        ];
        let guest = Guest {
            kernel,
            parameters: self.parameters,
            memory: 512,
            trees: &[],
            files: &files,
        };
        guest.run().with_context(|| format!("the guest of {}", self.name()))
    }
}
