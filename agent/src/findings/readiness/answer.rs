//! The answer for one target, and what stands in its way.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::target::Target;
use crate::findings::catalogue::entry;
use crate::findings::report::Code;
use crate::model::reading::codes;

codes! {
    /// The certainty that a release does without something.
    Certainty {
        /// A release does.
        Enforced = "enforced",
        /// Its project says that one will. It can still move.
        Announced = "announced",
        /// It is no matter of a release: the source says so.
        Stated = "stated",
    }
}

codes! {
    /// The answer of a node, worst first.
    Answer {
        /// Something stands in the way.
        NotReady = "not-ready",
        /// Something that could not be seen may stand in the way.
        CannotTell = "cannot-tell",
        /// Nothing that castoff knows of stands in the way.
        Ready = "ready",
    }
}

codes! {
    /// The effect of an obstacle on the answer.
    Effect {
        /// It stands in the way.
        Blocks = "blocks",
        /// It may: something could not be seen, or is not known.
        MayBlock = "may-block",
        /// It does not, and is good to know.
        Note = "note",
    }
}

/// The source of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Enforced, announced, or stated.
    pub certainty: Certainty,
    /// The day on which the release came out that does so; for anything else, on which the source was last read.
    pub date: &'static str,
    /// The address.
    pub source: &'static str,
}

/// `enforced 2024-11-05, https://…`.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.certainty, self.date, self.source)
    }
}

/// One thing that stands in the way, or may.
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
    pub said: Said,
}

impl Obstacle {
    pub(super) fn new(effect: Effect, code: Code, said: Said, message: impl Into<String>) -> Self {
        Self {
            effect,
            code,
            message: message.into(),
            advice: entry(code).instead[0].to_owned(),
            said,
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
    /// The obstacles, worst first, and what is good to know.
    pub obstacles: Vec<Obstacle>,
    /// Things that castoff does not judge, and that can stand in the way all the same.
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

    /// The obstacles that decide the answer: the worst ones. None where the node is ready.
    pub fn deciding(&self) -> impl Iterator<Item = &Obstacle> {
        let worst = self.obstacles.first().map(|obstacle| obstacle.effect);
        let worst = worst.filter(|effect| *effect != Effect::Note);
        self.obstacles
            .iter()
            .filter(move |obstacle| Some(obstacle.effect) == worst)
    }
}
