//! Decides whether a run of the matrix passes: one version of a kind may be missing, because archives change; two may
//! not.

use super::row::{Kind, Outcome, Row};

/// Returns the lines that `tests/run` counts, and whether the run passes.
pub fn conclude(rows: &[Row]) -> (String, bool) {
    let (mut lines, mut passed, mut failed) = (Vec::new(), 0, 0);
    for row in rows {
        match &row.outcome {
            Outcome::Right => passed += 1,
            Outcome::Wrong(_) => failed += 1,
            Outcome::NotRun(words) => {
                lines.push(format!("check {}: skipped, {words}\n", row.name));
            }
        }
    }
    for kind in Kind::ALL {
        let of_kind = rows.iter().filter(|row| row.kind == kind);
        let missing = of_kind.filter(|row| matches!(row.outcome, Outcome::NotRun(_))).count();
        if missing > 1 {
            lines.push(format!(
                "{missing} versions of {kind} are not to be had: one may be missing, not more\n"
            ));
            failed += 1;
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    lines.push(format!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored\n"
    ));
    (lines.concat(), failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::suites::Unavailable;
    use crate::matrix::{Plan, Seen};
    use anyhow::{Result, anyhow};

    fn row(kind: Kind, version: &'static str, result: Result<Seen>) -> Row {
        Row::of(
            &Plan::new(kind, version, "Debian x", |_, _| Ok(Seen::default())),
            result,
        )
    }

    fn gone() -> Result<Seen> {
        Err(anyhow!(Unavailable("E: Unable to locate\npackage x".to_owned())).context("the programs"))
    }

    #[test]
    fn one_missing_version_of_a_kind_is_named_and_two_are_a_failure() {
        let mut rows = vec![
            row(Kind::Docker, "1", Ok(Seen::default())),
            row(Kind::Docker, "2", gone()),
            row(Kind::Podman, "3", gone()),
        ];
        let (lines, good) = conclude(&rows);
        assert!(good, "{lines}");
        assert_eq!(
            lines,
            "check Docker 2: skipped, E: Unable to locate package x\n\
             check podman 3: skipped, E: Unable to locate package x\n\
             test result: ok. 1 passed; 0 failed; 0 ignored\n"
        );
        rows.push(row(Kind::Podman, "4", gone()));
        let (lines, good) = conclude(&rows);
        assert!(!good && lines.contains("2 versions of podman"), "{lines}");
        assert!(lines.ends_with("FAILED. 1 passed; 1 failed; 0 ignored\n"), "{lines}");
    }

    #[test]
    fn a_daemon_that_does_not_start_fails_with_its_log() {
        let log = anyhow!("exit status 1; its log ends:\nunknown flag").context("dockerd");
        let row = row(Kind::Docker, "1", Err(log));
        assert_eq!(
            row.outcome.to_string(),
            "FAILED: dockerd: exit status 1; its log ends:\nunknown flag"
        );
        assert!(!conclude(&[row]).1);
    }

    #[test]
    fn a_wrong_result_is_reported() {
        let mut seen = Seen::default();
        seen.is("verdict", &"idle".into(), "in-use");
        seen.is("ceiling", &37.into(), 37);
        let row = row(Kind::Crio, "1", Ok(seen));
        assert_eq!(
            row.outcome.to_string(),
            "FAILED: verdict: castoff says \"idle\", and it is \"in-use\""
        );
        assert_eq!(row.seen.asserted, ["verdict", "ceiling"]);
    }
}
