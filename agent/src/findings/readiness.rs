//! Readiness of a node for a version of the kubelet, of its runtime or of Docker, or for Docker's removal, and what
//! stands in the way. Pure. It rests on [`Grounds`] alone, which a report holds, so that another castoff can judge by the
//! report too.
//!
//! To add a rule: an [`Obstacle`] in the file of its target, its words in the catalogue.

pub mod answer;
mod docker;
mod kubelet;
mod runtime;
pub mod target;

#[cfg(test)]
mod tests;

use serde::Deserialize;

use super::releases::{self, Place, Support, Version, support_of};
use super::report::{Code, Report, Verdict};
use super::runtime::date;
use crate::model::host::CgroupVersion;
use crate::model::kubelet::Kubelet;
use crate::model::reading::{Gap, Reading};
use crate::model::runtime::{RefusedEndpoint, Runtime};
use crate::model::time::Timestamp;
use answer::{Certainty, Effect, Obstacle, Readiness, Said};
use target::Target;

/// The parts of a report that decide.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grounds {
    time: Timestamp,
    verdict: Verdict,
    verdict_reason: String,
    runtime: Reading<Runtime>,
    refused_endpoints: Vec<RefusedEndpoint>,
    kubelet: Reading<Kubelet>,
    cgroups: Reading<CgroupVersion>,
    shared_containerd: Reading<String>,
}

impl Grounds {
    /// Those of a report of this castoff.
    pub fn of(report: &Report) -> Self {
        Self {
            time: report.time,
            verdict: report.verdict,
            verdict_reason: report.verdict_reason.clone(),
            runtime: report.runtime.clone(),
            refused_endpoints: report.refused_endpoints.clone(),
            kubelet: report.kubelet.clone(),
            cgroups: report.cgroups.clone(),
            shared_containerd: report.shared_containerd.clone(),
        }
    }

    /// The answer for one target.
    pub fn judge(&self, target: Target) -> Readiness {
        let mut found = Vec::new();
        match target {
            Target::Kubelet(version) => {
                self.add_release("kubernetes", version, &mut found);
                kubelet::add(self, version, &mut found);
            }
            Target::Containerd(version) | Target::Crio(version) => {
                self.add_release(target.product(), version, &mut found);
                runtime::add(self, target.product(), version, &mut found);
            }
            Target::Docker(version) => {
                self.add_release(target.product(), version, &mut found);
                docker::add_release(self, version, &mut found);
            }
            Target::DockerRemoved => docker::add_removal(self, &mut found),
        }
        Readiness::new(target, found)
    }

    /// Adds obstacles of the release itself: unknown, not out yet, or out of support.
    fn add_release(&self, product: &str, version: Version, found: &mut Vec<Obstacle>) {
        let as_of = releases::table().as_of;
        let unknown = |effect, message| Obstacle::new(effect, Code::UnknownRelease, of_table(product), message);
        found.extend(match releases::place(product, version) {
            Place::Released => None,
            Place::PreRelease => Some(unknown(
                Effect::Note,
                format!("{product} {version} is not released yet (as of {as_of}); what it takes away can still change"),
            )),
            Place::Newer => Some(unknown(
                Effect::MayBlock,
                format!(
                    "{product} {version} is newer than castoff's table of {as_of}, so what it takes away is not known"
                ),
            )),
            Place::Older => Some(unknown(
                Effect::MayBlock,
                format!("{product} {version} is older than everything in castoff's table of {as_of}"),
            )),
        });
        let ended = match support_of(product, version, self.time) {
            Some(Support::EndedOn(end) | Support::VendorOnly(end, ..)) => Some(format!(" on {}", date(end))),
            Some(Support::Ended) => Some(String::new()),
            Some(Support::Goes(_) | Support::Newer) | None => None,
        };
        let code = if product == "kubernetes" {
            Code::KubeletEndOfLife
        } else {
            Code::RuntimeEndOfLife
        };
        found.extend(ended.map(|on| {
            let message = format!("support of {product} {version} itself ended{on}");
            Obstacle::new(Effect::Note, code, of_table(product), message)
        }));
    }
}

/// Says that the table of releases says so.
fn of_table(product: &str) -> Said {
    Said {
        certainty: Certainty::Stated,
        date: releases::table().as_of,
        source: releases::source(product),
    }
}

/// Says that castoff's catalogue says so, with its first link.
fn of_catalogue(code: Code) -> Said {
    Said {
        certainty: Certainty::Stated,
        date: releases::table().as_of,
        source: super::catalogue::entry(code).links.first().copied().unwrap_or_default(),
    }
}

/// An obstacle that may be there: what hides it stands in the message.
fn hidden(code: Code, said: Said, what: &str, gap: &Gap) -> Obstacle {
    Obstacle::new(
        Effect::MayBlock,
        code,
        said,
        format!("{what} could not be seen ({gap})"),
    )
}
