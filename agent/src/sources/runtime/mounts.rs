//! The mounts of each container, requested once: the mounts of a container never change.

use std::collections::{HashMap, HashSet};

use castoff_cri::{Call, v1};
use tokio::task::JoinSet;

use super::client::Client;
use super::convert;
use super::refusal::CallError;
use crate::model::container::{Container, Mount};
use crate::model::identity::ContainerId;
use crate::model::reading::{Gap, Hides, Reading};
use crate::model::runtime::CriApi;

/// The maximum number of concurrent requests: the runtime's first duty is to the kubelet.
const AT_ONCE: usize = 8;

/// The mounts of the containers in the runtime's last list. As large as that list, which is bounded.
#[derive(Debug, Default)]
pub(crate) struct KnownMounts {
    of: HashMap<ContainerId, Vec<Mount>>,
}

impl KnownMounts {
    /// Adds the mounts to the containers of both lists: requests those of new containers, and drops those of
    /// containers that are gone. A container that has vanished since it was listed is left out. If the request fails,
    /// the mounts stay unknown, the failure is counted in the gaps, and the request is repeated in the next cycle.
    /// `path` is the endpoint's path in the gaps.
    pub(crate) async fn query_new(
        &mut self,
        mut lists: [&mut Vec<Container>; 2],
        client: &Client,
        api: CriApi,
        path: &str,
    ) -> Vec<Gap> {
        let listed: Vec<&ContainerId> = lists.iter().flat_map(|list| list.iter().map(|c| &c.id)).collect();
        let all: HashSet<&ContainerId> = listed.iter().copied().collect();
        self.of.retain(|id, _| all.contains(id));
        let new = listed.into_iter().filter(|id| !self.of.contains_key(id)).cloned();
        let (mut answered, mut vanished) = (HashMap::new(), HashSet::new());
        for (id, answer) in query_each(new.collect(), client, api).await {
            match answer {
                Ok(answer) => {
                    answered.insert(id, convert::mounts(answer));
                }
                Err(error) if error.is_not_found() => {
                    vanished.insert(id);
                }
                Err(error) => {
                    let gap = error.gap(Hides::Exposure, api, v1::ContainerStatusRequest::METHOD, path);
                    answered.insert(id, Reading::Unknown(gap));
                }
            }
        }
        for list in &mut lists {
            list.retain(|c| !vanished.contains(&c.id));
        }
        let mut gaps = Vec::new();
        for container in lists.into_iter().flatten() {
            container.mounts = match (self.of.get(&container.id), answered.remove(&container.id)) {
                (Some(mounts), _) => Reading::Known(mounts.clone()),
                (None, Some(Reading::Known(mounts))) => {
                    self.of.insert(container.id.clone(), mounts.clone());
                    Reading::Known(mounts)
                }
                (None, Some(not_known)) => not_known,
                (None, None) => continue,
            };
            if let Some(gap) = container.mounts.gap() {
                gap.clone().fold_into(&mut gaps);
            }
        }
        gaps
    }
}

type Answer = (ContainerId, Result<v1::ContainerStatusResponse, CallError>);

/// Requests each container, a few concurrently. After the deadline of the cycle the remaining requests fail at once.
async fn query_each(ids: Vec<ContainerId>, client: &Client, api: CriApi) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(ids.len());
    let mut asked = JoinSet::new();
    for id in ids {
        if asked.len() >= AT_ONCE {
            answers.extend(asked.join_next().await.and_then(Result::ok));
        }
        let client = client.clone();
        asked.spawn(async move {
            // Not verbose: a verbose answer has the container's environment.
            let request = v1::ContainerStatusRequest {
                container_id: id.0.clone().into_bytes(),
                verbose: false,
            };
            (id, client.query(api, request).await)
        });
    }
    answers.extend(asked.join_all().await);
    answers
}
