//! The answer for one target, and the obstacles.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::target::Target;
use crate::findings::catalogue::entry;
use crate::findings::report::Code;
use crate::model::reading::codes;

codes! {
    /// The certainty that a release removes something.
    Certainty {
        /// A release has removed it.
        Enforced = "enforced",
        /// The project has announced the release. The date can still change.
        Announced = "announced",
        /// It depends on no release: the source states it.
        Stated = "stated",
    }
}

codes! {
    /// The answer of a node, worst first.
    Answer {
        /// There is an obstacle.
        NotReady = "not-ready",
        /// Something that could not be seen may be an obstacle.
        CannotTell = "cannot-tell",
        /// castoff knows of no obstacle.
        Ready = "ready",
    }
}

codes! {
    /// The effect of an obstacle on the answer.
    Effect {
        /// It blocks the target.
        Blocks = "blocks",
        /// It may block the target: something could not be seen, or is not known.
        MayBlock = "may-block",
        /// It does not block the target, but is good to know.
        Note = "note",
    }
}

/// The source of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSource {
    /// Enforced, announced, or stated.
    pub certainty: Certainty,
    /// The day on which that release came out; without a release, the day on which the source was last read.
    pub date: &'static str,
    /// The address.
    pub source: &'static str,
}

/// `enforced 2024-11-05, https://…`.
impl fmt::Display for RuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.certainty, self.date, self.source)
    }
}

/// An obstacle to a target, or a possible one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// The effect on the answer.
    pub effect: Effect,
    /// The rule; `castoff explain CODE` says more.
    pub code: Code,
    /// The state of this node.
    pub message: String,
    /// The advice.
    pub advice: String,
    /// The source of the rule.
    #[serde(flatten)]
    pub rule_source: RuleSource,
}

impl Obstacle {
    pub(super) fn new(effect: Effect, code: Code, rule_source: RuleSource, message: impl Into<String>) -> Self {
        Self {
            effect,
            code,
            message: message.into(),
            advice: entry(code).instead[0].to_owned(),
            rule_source,
        }
    }
}

/// The answer for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The target, as it is typed: `kubelet=1.38`.
    pub target: Target,
    /// The answer for it.
    pub answer: Answer,
    /// The obstacles, worst first, and the notes.
    pub obstacles: Vec<Obstacle>,
    /// Other possible obstacles, which castoff does not judge.
    pub not_judged: &'static [&'static str],
}

impl Readiness {
    pub(super) fn new(target: Target, mut obstacles: Vec<Obstacle>) -> Self {
        obstacles.sort_by_key(|obstacle| (obstacle.effect, obstacle.code));
        let answer = match obstacles.first().map(|obstacle| obstacle.effect) {
            Some(Effect::Blocks) => Answer::NotReady,
            Some(Effect::MayBlock) => Answer::CannotTell,
            Some(Effect::Note) | None => Answer::Ready,
        };
        Self {
            target,
            answer,
            obstacles,
            not_judged: target.not_judged(),
        }
    }

    /// The obstacles that decide the answer: the worst ones. None if the node is ready.
    pub fn deciding(&self) -> impl Iterator<Item = &Obstacle> {
        let worst = self.obstacles.first().map(|obstacle| obstacle.effect);
        let worst = worst.filter(|effect| *effect != Effect::Note);
        self.obstacles
            .iter()
            .filter(move |obstacle| Some(obstacle.effect) == worst)
    }
}
