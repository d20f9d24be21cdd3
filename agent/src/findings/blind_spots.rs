//! The facts that castoff could not read, and the claims that this prevents.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use crate::model::reading::Hides;

/// The findings of this family: one for each gap of each source.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let gaps = facts.gaps.iter();
    gaps.map(|(source, gap)| {
        let severity = match gap.hides {
            Hides::Runtime | Hides::Engine | Hides::Client | Hides::Exposure => Severity::Warning,
            Hides::Identity | Hides::ShadowContainer | Hides::Detail => Severity::Info,
        };
        let hidden = match gap.hides {
            Hides::Runtime => "the runtime that the kubelet uses",
            Hides::Engine => "an engine or a socket of one",
            Hides::Client => "clients",
            Hides::Identity => "the identity of a client",
            Hides::Exposure => "containers that could reach an engine",
            Hides::ShadowContainer => "containers that Docker runs outside Kubernetes",
            Hides::Detail => "a detail",
        };
        finding(
            Code::BlindSpot,
            severity,
            source.code(),
            format!("{gap}; this may hide {hidden}"),
        )
    })
    .collect()
}
