//! Readiness of a node for a version of the kubelet, of its runtime or of Docker, or for Docker's removal, and the obstacles.
//! Pure. The only input is [`Grounds`], which every report contains, so that another castoff can judge by the report too.
//!
//! To add a rule: an [`Obstacle`] in the file of its target, its text in the catalogue.

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
use crate::model::client::{Client, ClientIdentity};
use crate::model::connect::{ConnectEvents, ConnectMethod};
use crate::model::engine::{Api, EngineKind, Scope};
use crate::model::host::{CgroupVersion, OrphanedShim};
use crate::model::kubelet::Kubelet;
use crate::model::reading::{Gap, Hides, Reading};
use crate::model::request::{Operation, Requests};
use crate::model::runtime::{RefusedEndpoint, Runtime};
use crate::model::time::Timestamp;
use answer::{Certainty, Effect, Obstacle, Readiness, RuleSource};
use target::Target;

/// The parts of a report that decide the answer.
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
    orphaned_shims: Reading<Vec<OrphanedShim>>,
    clients: Reading<Vec<ApiUser>>,
    connect_events: Reading<Events>,
    sources: Vec<SourceGaps>,
}

/// A client, as far as a release of Docker can refuse it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct ApiUser {
    identity: ClientIdentity,
    engine: EngineKind,
    scope: Scope,
    api: Api,
    #[serde(default)]
    requests: Requests,
}

/// The kernel's connect events, as far as they concern requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Events {
    requests: RequestEvents,
}

/// The way in which the kernel reports requests; without a method it reports none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct RequestEvents {
    method: Option<ConnectMethod>,
    lost: u64,
}

/// The gaps of one source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct SourceGaps {
    gaps: Vec<Gap>,
}

impl Grounds {
    /// Extracts the grounds from a report of this castoff.
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
            orphaned_shims: report.orphaned_shims.clone(),
            clients: report.clients.as_ref().map(|all| all.iter().map(ApiUser::of).collect()),
            connect_events: report.connect_events.as_ref().map(Events::of),
            sources: report
                .sources
                .iter()
                .map(|source| SourceGaps {
                    gaps: source.gaps.clone(),
                })
                .collect(),
        }
    }

    /// Returns the answer for one target.
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

    /// Returns the first gap that may hide a client of an engine.
    fn hidden_client(&self) -> Option<&Gap> {
        let mut gaps = self.sources.iter().flat_map(|source| &source.gaps);
        self.clients
            .gap()
            .or_else(|| gaps.find(|gap| matches!(gap.hides, Hides::Client | Hides::Engine)))
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

impl Events {
    const fn of(events: &ConnectEvents) -> Self {
        Self {
            requests: RequestEvents {
                method: events.requests.method,
                lost: events.requests.lost,
            },
        }
    }
}

impl ApiUser {
    fn of(client: &Client) -> Self {
        Self {
            identity: client.key.identity.clone(),
            engine: client.key.engine,
            scope: client.key.scope.clone(),
            api: client.key.api,
            requests: client.requests.clone(),
        }
    }

    /// True if its requests show the versions that it uses. Nearly every client first queries the engine without a version, and
    /// then sends its other requests with one; Docker accepts any other request without a version.
    fn shows_version(&self) -> bool {
        let mut operations = self.requests.operations.keys();
        self.requests.lowest_api.is_some() || operations.any(|operation| *operation != Operation::System)
    }

    /// True if it uses the Docker API of the node's dockerd. Podman accepts all versions.
    fn uses_docker(&self) -> bool {
        self.engine == EngineKind::Dockerd && self.api == Api::Docker && self.scope.is_of_node()
    }
}

/// Names the table of releases as the source.
fn of_table(product: &str) -> RuleSource {
    RuleSource {
        certainty: Certainty::Stated,
        date: releases::table().as_of,
        source: releases::source(product),
    }
}

/// Names castoff's catalogue as the source, with its first link.
fn of_catalogue(code: Code) -> RuleSource {
    RuleSource {
        certainty: Certainty::Stated,
        date: releases::table().as_of,
        source: super::catalogue::entry(code).links.first().copied().unwrap_or_default(),
    }
}

/// Returns an obstacle that may exist: the message says what hides it.
fn hidden(code: Code, rule_source: RuleSource, what: &str, gap: &Gap) -> Obstacle {
    Obstacle::new(
        Effect::MayBlock,
        code,
        rule_source,
        format!("{what} could not be seen ({gap})"),
    )
}
