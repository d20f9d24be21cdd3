//! A token for agents that require one. castoff requests it from the API server for the account that may read agents,
//! sends it to agents only, and keeps it in memory only.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use kube::client::Body;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::join::AgentPod;
use crate::apiserver::audience::AUDIENCE;
use crate::apiserver::connection::ANSWER_LIMIT;
use crate::apiserver::path::is_name;
use crate::apiserver::refusal::Refusal;
use crate::model::publishing::Outcome;

/// The annotation of an agent's pod that names the account.
const ANNOTATION: &str = "castoff.dev/reader";
/// The account, if neither a person nor a pod names one.
const READER: &str = "castoff-reader";
/// The lifetime of a token, in seconds: the shortest that the API server gives.
const LIFETIME: u32 = 600;
/// A token of this age is replaced. The other half of its lifetime is a reserve for clocks that differ and for slow
/// answers.
const RENEWAL: Duration = Duration::from_secs(LIFETIME as u64 / 2);
/// The time for which a refusal is valid. Otherwise castoff would request a token again for each of the other agents.
const REFUSED: Duration = Duration::from_secs(60);

/// The token, shared by all looks of one call.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The account that a person named.
    reader: Option<String>,
    state: Arc<Mutex<State>>,
}

/// The answer to the last request for a token, and the time of it.
#[derive(Debug, Default)]
enum State {
    /// No agent has required one yet.
    #[default]
    Unasked,
    Held(HeaderValue, Instant),
    Refused(String, Instant),
}

impl State {
    /// Returns the answer, as long as it is valid.
    fn answer(&self, now: Instant) -> Option<Result<HeaderValue, String>> {
        match self {
            Self::Held(token, since) if now < *since + RENEWAL => Some(Ok(token.clone())),
            Self::Refused(why, since) if now < *since + REFUSED => Some(Err(why.clone())),
            Self::Unasked | Self::Held(..) | Self::Refused(..) => None,
        }
    }
}

#[derive(Deserialize)]
struct TokenRequest {
    status: Issued,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
}

impl Tokens {
    /// Makes tokens for `reader`; none: for the account that the agents' pods name.
    pub fn of(reader: Option<String>) -> Self {
        Self {
            reader,
            state: Arc::default(),
        }
    }

    /// True if agents have required a token before, and castoff got one.
    pub(super) async fn are_held(&self) -> bool {
        matches!(*self.state.lock().await, State::Held(..))
    }

    /// Returns a token that still lasts for a while. At most one request is under way, and all callers get its answer.
    ///
    /// # Errors
    /// [`Outcome::Unauthenticated`] with the reason why there is none and what to do, or what else the API server asked for.
    pub(super) async fn get(&self, cluster: &mut Cluster, pod: &AgentPod) -> Result<HeaderValue, Refusal> {
        let mut state = self.state.lock().await;
        if let Some(answer) = state.answer(Instant::now()) {
            return answer.map_err(|why| Refusal::new(Outcome::Unauthenticated, "get a token", why));
        }
        let named = match &self.reader {
            Some(name) => Some(name.clone()),
            None => cluster.find_annotation(pod, ANNOTATION).await,
        };
        let reader = named.filter(|name| is_name(name)).unwrap_or_else(|| READER.to_owned());
        let asked = Instant::now();
        match request(cluster, &reader).await {
            Ok(token) => {
                *state = State::Held(token.clone(), asked);
                Ok(token)
            }
            Err(refusal) => {
                let Some(why) = explain(&refusal, &reader, &cluster.place().namespace) else {
                    return Err(refusal);
                };
                *state = State::Refused(why.clone(), asked);
                Err(Refusal::new(Outcome::Unauthenticated, refusal.asked, why))
            }
        }
    }
}

async fn request(cluster: &mut Cluster, reader: &str) -> Result<HeaderValue, Refusal> {
    let asked = format!("get a token for service account {reader}");
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{reader}/token",
        cluster.place().namespace
    );
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "audiences": [AUDIENCE], "expirationSeconds": LIFETIME },
    });
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(body.to_string().into_bytes()));
    let issued: TokenRequest = cluster.send(&asked, request, ANSWER_LIMIT).await?.decode()?;
    let token = HeaderValue::from_str(&issued.status.token)
        .ok()
        .filter(|token| !token.is_empty());
    let mut token = token.ok_or_else(|| Refusal::new(Outcome::BadAnswer, asked, "the answer holds no token"))?;
    token.set_sensitive(true);
    Ok(token)
}

/// Says why there is no token, and what to do; none if the same request may succeed in a moment.
fn explain(refusal: &Refusal, reader: &str, namespace: &str) -> Option<String> {
    let why = match refusal.outcome {
        Outcome::Throttled | Outcome::ServerError | Outcome::Unreachable | Outcome::DeadlineExceeded => return None,
        Outcome::Forbidden => format!(
            "you need the right to create serviceaccounts/token for {reader} in namespace {namespace}, or --reader with another account"
        ),
        Outcome::NotFound => format!(
            "namespace {namespace} has no service account {reader}; name the account that may read agents with --reader"
        ),
        _ => format!(
            "the API server gave none for service account {reader}: {}",
            refusal.answer
        ),
    };
    Some(format!("the agent requires a token, and {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_while_it_still_lasts() {
        let since = Instant::now();
        let held = State::Held(HeaderValue::from_static("t"), since);
        let half = Duration::from_secs(300);
        assert!(held.answer(since + half - Duration::from_secs(1)).is_some());
        assert!(held.answer(since + half).is_none());
    }

    #[test]
    fn a_refusal_counts_for_a_minute_and_passing_trouble_not_at_all() {
        let since = Instant::now();
        let refused = State::Refused("why".to_owned(), since);
        assert_eq!(
            refused.answer(since + Duration::from_secs(59)),
            Some(Err("why".to_owned()))
        );
        assert_eq!(refused.answer(since + Duration::from_secs(60)), None);
        let explained = |outcome| explain(&Refusal::new(outcome, "a", "HTTP 1: b"), "r", "n");
        for outcome in [Outcome::Throttled, Outcome::ServerError, Outcome::Unreachable] {
            assert_eq!(explained(outcome), None, "{outcome}");
        }
        let forbidden = explained(Outcome::Forbidden).unwrap_or_default();
        assert!(
            forbidden.contains("create serviceaccounts/token for r in namespace n"),
            "{forbidden}"
        );
    }
}
