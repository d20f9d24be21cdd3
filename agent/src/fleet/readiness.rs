//! Readiness of each Node for the targets of `--for`, judged here by the report of its agent: the agent needs no `--for` of its
//! own.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::report::{SENTENCE_LIMIT, cut};
use super::row::NodeRow;
use crate::findings::readiness::Grounds;
use crate::findings::readiness::answer::{Answer, Readiness};
use crate::findings::readiness::target::Target;
use crate::findings::report::Code;

/// The answer for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyFor {
    /// The target, as it is typed: `kubelet=1.38`.
    pub target: String,
    /// The answer for it.
    pub answer: Answer,
    /// The rules that decide the answer; none if the node is ready, or if there is no report.
    pub obstacles: Vec<Code>,
    /// The first obstacle in words, or the reason why castoff cannot tell; empty where the node is ready.
    pub reason: String,
}

impl ReadyFor {
    fn new(judged: &Readiness) -> Self {
        let mut deciding: Vec<_> = judged.deciding().collect();
        let reason = deciding
            .first()
            .map_or_else(String::new, |first| cut(&first.message, SENTENCE_LIMIT));
        deciding.dedup_by_key(|obstacle| obstacle.code);
        Self {
            target: judged.target.to_string(),
            answer: judged.answer,
            obstacles: deciding.iter().map(|obstacle| obstacle.code).collect(),
            reason,
        }
    }

    /// Returns the same for a look that was `age` ago: its obstacles may still be there, and others too.
    fn of_old_look(mut self, age: Duration) -> Self {
        let old = format!("the agent's last look was {}", ago(age));
        if self.answer == Answer::Ready {
            self.answer = Answer::CannotTell;
            self.reason = old;
        } else {
            self.reason = format!("{} ({old})", self.reason);
        }
        self
    }
}

/// Returns the answers for a Node without a report.
fn cannot_tell(targets: &[Target], reason: &str) -> Vec<ReadyFor> {
    let answer = |target: &Target| ReadyFor {
        target: target.to_string(),
        answer: Answer::CannotTell,
        obstacles: Vec::new(),
        reason: reason.to_owned(),
    };
    targets.iter().map(answer).collect()
}

/// Judges the report in `bytes`. `stale` is the age of a look that is too old.
pub(super) fn judge(targets: &[Target], bytes: &[u8], stale: Option<Duration>) -> Vec<ReadyFor> {
    if targets.is_empty() {
        return Vec::new();
    }
    let grounds: Grounds = match serde_json::from_slice(bytes) {
        Ok(grounds) => grounds,
        Err(error) => {
            let reason = cut(
                &format!(
                    "the report of its agent, of another version of castoff, lacks data that the answer needs: {error}"
                ),
                SENTENCE_LIMIT,
            );
            return cannot_tell(targets, &reason);
        }
    };
    let of_now = targets.iter().map(|target| ReadyFor::new(&grounds.judge(*target)));
    match stale {
        Some(age) => of_now.map(|ready| ready.of_old_look(age)).collect(),
        None => of_now.collect(),
    }
}

impl NodeRow {
    /// Fills in "cannot tell" with the reason for a Node without a report.
    pub(super) fn fill_readiness(&mut self, targets: &[Target]) {
        if self.readiness.is_empty() {
            self.readiness = cannot_tell(targets, &self.reason);
        }
    }
}

/// The age of a look in words.
pub(super) fn ago(age: Duration) -> String {
    format!("{} ago", humantime::format_duration(Duration::from_secs(age.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::tests::judge as report_of;
    use crate::fleet::row::Doubt;
    use crate::model::sample::clear_node;

    fn targets(of: &[&str]) -> Vec<Target> {
        of.iter().map(|target| target.parse().expect(target)).collect()
    }

    fn answers(judged: &[ReadyFor]) -> Vec<(&str, Answer)> {
        judged
            .iter()
            .map(|ready| (ready.target.as_str(), ready.answer))
            .collect()
    }

    #[test]
    fn a_node_is_judged_by_a_report_without_targets() {
        let report = report_of(&clear_node());
        assert!(report.readiness.is_empty());
        let bytes = serde_json::to_vec(&report).expect("it is JSON");
        let judged = judge(&targets(&["docker=removed", "kubelet=1.99"]), &bytes, None);
        let expected = [("docker=removed", Answer::Ready), ("kubelet=1.99", Answer::CannotTell)];
        assert_eq!(answers(&judged), expected);
        assert_eq!(
            (judged[0].obstacles.as_slice(), judged[0].reason.as_str()),
            (&[][..], "")
        );
        assert!(judged[1].obstacles.contains(&Code::UnknownRelease), "{judged:?}");
        assert!(judged[1].reason.contains("newer than castoff's table"), "{judged:?}");
    }

    #[test]
    fn an_old_look_makes_no_node_ready() {
        let age = Some(Duration::from_secs(7200));
        let ready = serde_json::to_vec(&report_of(&clear_node())).expect("it is JSON");
        let used = String::from_utf8_lossy(&ready).replace(r#""verdict":"clear""#, r#""verdict":"in-use""#);
        let asked = targets(&["docker=removed"]);
        let old = judge(&asked, &ready, age);
        assert_eq!(answers(&old), [("docker=removed", Answer::CannotTell)]);
        assert_eq!(old[0].reason, "the agent's last look was 2h ago");
        let old = judge(&asked, used.as_bytes(), age);
        assert_eq!(answers(&old), [("docker=removed", Answer::NotReady)]);
        assert!(old[0].reason.ends_with("(the agent's last look was 2h ago)"), "{old:?}");
    }

    #[test]
    fn an_incomplete_report_makes_no_node_ready() {
        let mut report = serde_json::to_value(report_of(&clear_node())).expect("it is JSON");
        report.as_object_mut().expect("an object").remove("cgroups");
        let judged = judge(&targets(&["kubelet=1.37"]), report.to_string().as_bytes(), None);
        assert_eq!(answers(&judged), [("kubelet=1.37", Answer::CannotTell)]);
        assert!(judged[0].reason.contains("cgroups"), "{judged:?}");
    }

    #[test]
    fn a_node_without_a_report_cannot_be_judged() {
        let mut row = NodeRow::unknown("n", Doubt::NoAgent, "no castoff pod is on it");
        row.fill_readiness(&targets(&["docker=29"]));
        assert_eq!(answers(&row.readiness), [("docker=29", Answer::CannotTell)]);
        assert_eq!(row.readiness[0].reason, "no castoff pod is on it");
    }
}
