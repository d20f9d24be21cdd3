//! Compares a verdict with that of `--fail-on`, and returns the exit code, which is a contract: see [`super`].

use super::{CANNOT_TELL, FOUND, OK};
use crate::findings::readiness::answer::Answer;
use crate::findings::report::{Report, Verdict};
use crate::model::reading::Hides;
use crate::sinks::views::junit::Outcome;

/// Judges `report` by the readiness for `--for` if that was given, else by the verdict.
pub(super) fn judge(report: &Report, fail_on: &str) -> Outcome {
    let answers = judge_answers(report.readiness.iter().map(|ready| ready.answer));
    answers.unwrap_or_else(|| judge_verdict(report.verdict, hides_the_runtime(report), fail_on))
}

/// Judges by the worst of the `answers`; none if there is no answer.
pub(super) fn judge_answers(answers: impl Iterator<Item = Answer>) -> Option<Outcome> {
    Some(match answers.min()? {
        Answer::Ready => Outcome::Passed,
        Answer::NotReady => Outcome::Failed,
        Answer::CannotTell => Outcome::CannotTell,
    })
}

/// Compares a verdict with that of `--fail-on`; `runtime_is_hidden` is true if something hides the runtime that the kubelet uses.
pub(super) fn judge_verdict(verdict: Verdict, runtime_is_hidden: bool, fail_on: &str) -> Outcome {
    let bar = Verdict::ALL.iter().position(|v| v.code() == fail_on);
    let at = Verdict::ALL.iter().position(|v| *v == verdict);
    match verdict {
        Verdict::Unknown => Outcome::CannotTell,
        // Verdicts are ordered worst first: a smaller index is worse.
        _ if at <= bar => Outcome::Failed,
        // `in-use` is given in spite of gaps. If the runtime is hidden, the only worse verdict, `runtime`, may apply.
        Verdict::InUse if runtime_is_hidden => Outcome::CannotTell,
        _ => Outcome::Passed,
    }
}

pub(super) const fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Passed => OK,
        Outcome::Failed => FOUND,
        Outcome::CannotTell => CANNOT_TELL,
    }
}

fn hides_the_runtime(report: &Report) -> bool {
    let mut gaps = report.sources.iter().flat_map(|source| &source.gaps);
    gaps.any(|gap| gap.hides == Hides::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::{Gap, Reason};
    use crate::sinks::sample;

    #[test]
    fn the_exit_code_follows_from_verdict_and_fail_on() {
        for (verdict, bar, code) in [
            (Verdict::Runtime, "runtime", FOUND),
            (Verdict::InUse, "runtime", OK),
            (Verdict::InUse, "in-use", FOUND),
            (Verdict::InUse, "exposed", FOUND),
            (Verdict::Exposed, "exposed", FOUND),
            (Verdict::Exposed, "in-use", OK),
            (Verdict::Idle, "exposed", OK),
            (Verdict::Idle, "idle", FOUND),
            (Verdict::Clear, "idle", OK),
            (Verdict::Clear, "clear", FOUND),
            (Verdict::Unknown, "runtime", CANNOT_TELL),
            (Verdict::Unknown, "clear", CANNOT_TELL),
        ] {
            let report = Report {
                verdict,
                ..sample::clear()
            };
            assert_eq!(exit_code(judge(&report, bar)), code, "{verdict} with --fail-on {bar}");
        }
    }

    #[test]
    fn readiness_decides_instead_of_the_verdict() {
        let asked = sample::asked();
        let with = |answers: &[Answer]| {
            let mut report = asked.clone();
            report.readiness.retain(|ready| answers.contains(&ready.answer));
            exit_code(judge(&report, "clear"))
        };
        assert_eq!(with(&[Answer::Ready]), OK);
        assert_eq!(with(&[Answer::Ready, Answer::CannotTell]), CANNOT_TELL);
        assert_eq!(with(&[Answer::NotReady, Answer::CannotTell, Answer::Ready]), FOUND);
    }

    #[test]
    fn a_hidden_runtime_may_be_docker() {
        let mut report = sample::clear();
        report.verdict = Verdict::InUse;
        report.sources[0].gaps = vec![Gap::new(Reason::DeadlineExceeded, Hides::Runtime, "Version", "nothing")];
        for (bar, code) in [("runtime", CANNOT_TELL), ("in-use", FOUND)] {
            assert_eq!(exit_code(judge(&report, bar)), code, "--fail-on {bar}");
        }
    }
}
