//! Requests of clients to a Docker API: the class of each request, and the version of the API that it names. Nothing else of a
//! request is kept.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reading::codes;
use super::time::Timestamp;

codes! {
    /// The class of a request. Closed, because it is a metric label.
    Operation {
        /// Builds an image, or creates one from a container.
        Build = "build",
        /// Creates, starts, stops, changes or removes containers, or attaches to one.
        Run = "run",
        /// Runs a program in a container.
        Exec = "exec",
        /// Lists or inspects containers and images.
        Read = "read",
        /// Brings images in: from a registry or from a file.
        Pull = "pull",
        /// Sends images to a registry.
        Push = "push",
        /// Waits for events.
        Events = "events",
        /// Reads a container's logs.
        Logs = "logs",
        /// Swarm: its nodes, services, tasks, secrets and configurations.
        Swarm = "swarm",
        /// Volumes.
        Volumes = "volumes",
        /// Networks.
        Networks = "networks",
        /// Asks the engine about itself, as nearly every client does at its start.
        System = "system",
        /// Anything else.
        Other = "other",
    }
}

/// The version of the Docker API that a request names: the minor of `/v1.41/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(pub u8);

impl ApiVersion {
    /// The highest number that is accepted as a version; a larger one was invented.
    pub const HIGHEST: u8 = 99;
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The class of the request.
    pub operation: Operation,
    /// The version of the Docker API in its path; none if it names none, or another API's.
    pub version: Option<ApiVersion>,
}

/// The lowest version of the Docker API that a client requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LowestApi {
    /// Its minor: 41 for 1.41.
    pub minor: u8,
    /// The time of its last request for this version.
    pub last_seen: Timestamp,
}

impl LowestApi {
    /// The version.
    pub const fn version(self) -> ApiVersion {
        ApiVersion(self.minor)
    }

    /// Returns the lower of the two. A version that was not requested for a week is forgotten when another is requested: its
    /// client was upgraded.
    fn lower(self, other: Self) -> Self {
        const WEEK: u64 = 7 * 86_400;
        let (early, late) = if self.last_seen <= other.last_seen {
            (self, other)
        } else {
            (other, self)
        };
        let is_outdated = late.last_seen.since(early.last_seen).as_secs() > WEEK;
        if is_outdated || late.minor <= early.minor {
            late
        } else {
            early
        }
    }
}

/// The requests of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requests {
    /// The number of requests of each class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<Operation, u64>,
    /// The lowest version of the Docker API in its recent requests; none if no request named a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_api: Option<LowestApi>,
}

impl Requests {
    /// True if no request was seen.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Counts a request at the time `at`.
    pub fn add(&mut self, request: Request, at: Timestamp) {
        let lowest_api = request.version.map(|version| LowestApi {
            minor: version.0,
            last_seen: at,
        });
        self.absorb(&Self {
            operations: BTreeMap::from([(request.operation, 1)]),
            lowest_api,
        });
    }

    /// Adds the requests of another record of the same client.
    pub fn absorb(&mut self, other: &Self) {
        for (operation, count) in &other.operations {
            let sum = self.operations.entry(*operation).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.lowest_api = match (self.lowest_api, other.lowest_api) {
            (Some(this), Some(other)) => Some(this.lower(other)),
            (this, other) => this.or(other),
        };
    }

    /// Lists the classes of its requests, most frequent first. `System` is listed only where there is nothing else: every client
    /// queries the engine itself before it sends other requests.
    pub fn purposes(&self) -> Vec<Operation> {
        let mut purposes: Vec<_> = self.operations.iter().collect();
        purposes.sort_by_key(|(operation, count)| (std::cmp::Reverse(**count), **operation));
        if purposes.len() > 1 {
            purposes.retain(|(operation, _)| **operation != Operation::System);
        }
        purposes.into_iter().map(|(operation, _)| *operation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn requests(asked: &[(Operation, Option<u8>, u64)]) -> Requests {
        let mut requests = Requests::default();
        for (operation, minor, day) in asked {
            let version = minor.map(ApiVersion);
            let request = Request {
                operation: *operation,
                version,
            };
            requests.add(request, Timestamp::from_unix(day * DAY));
        }
        requests
    }

    #[test]
    fn a_ping_before_each_request_does_not_count() {
        use Operation::{Build, Read, System};
        let asked = [(System, None, 1), (System, None, 1), (Read, Some(41), 1)];
        assert_eq!(requests(&asked).purposes(), [Read]);
        assert_eq!(requests(&asked[..1]).purposes(), [System]);
        let asked = [(Read, None, 1), (Build, None, 1), (Build, None, 1)];
        assert_eq!(requests(&asked).purposes(), [Build, Read]);
    }

    #[test]
    fn the_lowest_version_stands_until_it_is_not_asked_by_for_a_week() {
        use Operation::Read;
        let lowest = |asked: &[(u8, u64)]| {
            let asked: Vec<_> = asked.iter().map(|(minor, day)| (Read, Some(*minor), *day)).collect();
            requests(&asked).lowest_api.map(|lowest| lowest.minor)
        };
        assert_eq!(lowest(&[(41, 1), (24, 1), (47, 2)]), Some(24));
        assert_eq!(lowest(&[(24, 1), (47, 7), (47, 9)]), Some(47));
        assert_eq!(lowest(&[(24, 1), (24, 6), (47, 9)]), Some(24));
        assert_eq!(lowest(&[]), None);
    }
}
