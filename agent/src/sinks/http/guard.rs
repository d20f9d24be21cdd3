//! Access to the pages: for the bearer of a token that the API server knows and that may `get` the path, as users of
//! kube-rbac-proxy expect (`TokenReview`, then `SubjectAccessReview` of the path). Tokens of both headers are judged and limited
//! in the same way.
//!
//! If the API server does not answer, access is denied. Tokens are never stored, and the number of concurrent requests
//! is bounded. Requests about tokens that were never accepted have a separate rate limit, so that a flood of them
//! neither reaches the API server nor locks out a known reader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::credential::Credential;
use super::{PAGES, RIGHTS, text};
use crate::apiserver::access::Access;
use crate::apiserver::connection::Connection;
use crate::apiserver::pace::{Allowance, Bucket, chance};
use crate::apiserver::refusal::Refusal;

/// The maximum size of a review in bytes. A review of an account with a thousand groups has a tenth of it.
const ANSWER: usize = 1 << 20;
/// The number of answers of each kind that are kept.
const KEPT: usize = 256;
/// The time for which an admission and a denial are valid. A token that is revoked is denied after the first.
const YES: Duration = Duration::from_secs(60);
const NO: Duration = Duration::from_secs(10);
/// The time for which a bearer who was admitted counts as known.
const KNOWN: Duration = Duration::from_secs(3600);
/// The allowance for requests about unknown tokens: a burst for a few browsers and scrapers, then one each half second.
const UNKNOWN_TOKENS: Allowance = Allowance {
    burst: 20,
    refill: Duration::from_millis(500),
};
/// The number of concurrent requests, for unknown tokens and the same for known ones, and the timeout of one.
const AT_ONCE: usize = 2;
const DEADLINE: Duration = Duration::from_secs(4);

/// The reason why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    /// There is no token.
    NoToken,
    /// The API server does not know the token.
    Unknown,
    /// Its bearer does not have the right.
    Forbidden,
    /// The API server did not answer.
    Unavailable,
    /// There were too many unknown tokens.
    TooMany,
}

/// Digest of the token and its header, and the path.
type Question = ([u8; 32], String);

/// The earlier answers.
#[derive(Debug, Default)]
struct Memory {
    /// The time of the admission. An expired one is no longer valid, but shows that the bearer is known.
    yes: HashMap<Question, Instant>,
    /// The reason for the denial, and the time until which it is valid.
    no: HashMap<Question, (Instant, Denial)>,
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug)]
enum Recalled {
    Answer(Result<(), Denial>),
    /// The bearer was admitted before.
    Bearer,
    Stranger,
}

impl Memory {
    fn recall(&self, question: &Question, yes: Duration) -> Recalled {
        let now = Instant::now();
        if self.yes.get(question).is_some_and(|at| now < *at + yes) {
            return Recalled::Answer(Ok(()));
        }
        match self.no.get(question) {
            Some((until, denial)) if now < *until => Recalled::Answer(Err(*denial)),
            _ if self
                .yes
                .iter()
                .any(|((token, _), at)| *token == question.0 && now < *at + KNOWN) =>
            {
                Recalled::Bearer
            }
            _ => Recalled::Stranger,
        }
    }

    fn keep(&mut self, question: Question, answer: Result<(), Denial>, no: Duration) {
        let now = Instant::now();
        let until = now + no;
        self.no.retain(|_, (until, _)| now < *until);
        match answer {
            Ok(()) => {
                make_room(&mut self.yes, |at| *at);
                self.yes.insert(question, now);
            }
            Err(denial) => {
                let (token, path) = &question;
                let withdrawn = |(t, p): &Question| t == token && (p == path || denial == Denial::Unknown);
                self.yes.retain(|question, _| !withdrawn(question));
                make_room(&mut self.no, |(until, _)| *until);
                self.no.insert(question, (until, denial));
            }
        }
    }
}

/// Removes the oldest entry where there is no room for one more.
fn make_room<V>(kept: &mut HashMap<Question, V>, time: impl Fn(&V) -> Instant) {
    if kept.len() >= KEPT {
        let first = kept
            .iter()
            .min_by_key(|(_, v)| time(v))
            .map(|(question, _)| question.clone());
        first.and_then(|first| kept.remove(&first));
    }
}

/// Asks the API server, and remembers the answers for a short time.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    memory: Mutex<Memory>,
    bearers: Semaphore,
    unknown: Semaphore,
    allowance: Mutex<Bucket>,
    trouble: Mutex<Option<String>>,
    holds: (Duration, Duration),
}

impl Guard {
    /// Returns a guard that connects to the API server by `access`.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            memory: Mutex::default(),
            bearers: Semaphore::new(AT_ONCE),
            unknown: Semaphore::new(AT_ONCE),
            allowance: Mutex::new(Bucket::new(UNKNOWN_TOKENS, chance(), Instant::now())),
            trouble: Mutex::default(),
            holds: (YES, NO),
        }
    }

    /// The same with other validity times, for tests.
    #[must_use]
    pub const fn holding(mut self, yes: Duration, no: Duration) -> Self {
        self.holds = (yes, no);
        self
    }

    async fn check(&self, headers: &HeaderMap, path: &str) -> Result<(), Denial> {
        let credential = Credential::of(headers).ok_or(Denial::NoToken)?;
        let question = (credential.digest(), path.to_owned());
        let turns = match self.recall(&question) {
            Recalled::Answer(answer) => return answer,
            Recalled::Bearer => &self.bearers,
            Recalled::Stranger => {
                let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
                if !allowance.try_take(Instant::now()) {
                    return Err(Denial::TooMany);
                }
                &self.unknown
            }
        };
        // A request that had to wait for long would have no time left.
        let Ok(_turn) = timeout(DEADLINE / 2, turns.acquire()).await else {
            return Err(self.unavailable("too many concurrent reviews".to_owned()));
        };
        // Another request may have asked the same in the meantime.
        if let Recalled::Answer(answer) = self.recall(&question) {
            return answer;
        }
        let answer = match timeout(DEADLINE, self.ask(credential, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => return Err(self.unavailable(refusal.to_string())),
            Err(_) => return Err(self.unavailable(format!("no answer within {} s", DEADLINE.as_secs()))),
        };
        self.log_change(None);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.keep(question, answer, self.holds.1);
        answer
    }

    async fn ask(&self, credential: Credential<'_>, path: &str) -> Result<Result<(), Denial>, Refusal> {
        let mut server = Connection::prepare(&self.access, DEADLINE, 1).await?;
        let who = "/apis/authentication.k8s.io/v1/tokenreviews";
        let who: Review<Authentication> =
            create_review(&mut server, who, "review a token", &credential.review()).await?;
        let Authentication {
            authenticated,
            user,
            audiences,
        } = who.status;
        let is_known = authenticated && user["username"].as_str().is_some_and(|name| !name.is_empty());
        if !is_known || !credential.is_for(&audiences) {
            return Ok(Err(Denial::Unknown));
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": user["username"], "uid": user["uid"], "groups": user["groups"], "extra": user["extra"],
                "nonResourceAttributes": { "path": path, "verb": "get" },
            },
        });
        let may = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let may: Review<Authorization> = create_review(&mut server, may, "review an access", &review).await?;
        let allowed = may.status.allowed && !may.status.denied;
        Ok(if allowed { Ok(()) } else { Err(Denial::Forbidden) })
    }

    fn recall(&self, question: &Question) -> Recalled {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.recall(question, self.holds.0)
    }

    fn unavailable(&self, why: String) -> Denial {
        self.log_change(Some(why));
        Denial::Unavailable
    }

    /// Logs a change.
    fn log_change(&self, trouble: Option<String>) {
        let mut before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*before, &trouble) {
            (before, Some(error)) if before.as_ref() != Some(error) => {
                tracing::warn!(error, "readers cannot be checked and are refused");
            }
            (Some(_), None) => tracing::info!("readers can be checked again"),
            _ => {}
        }
        *before = trouble;
    }
}

/// Creates a review object and returns the answer. The cluster stores nothing of it.
async fn create_review<T: DeserializeOwned>(
    server: &mut Connection,
    path: &str,
    asked: &str,
    review: &Value,
) -> Result<T, Refusal> {
    let request = http::Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(review.to_string().into_bytes()));
    server.ask(asked, request, ANSWER).await?.decode()
}

/// Forwards a request to its page, or denies it.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let right = PAGES.iter().zip(RIGHTS).find(|(page, _)| **page == path);
    let path = right.map_or(path, |(_, right)| right);
    let checked = guard.check(request.headers(), path).await;
    match checked {
        Ok(()) => next.run(request).await,
        Err(denial) => refuse(denial),
    }
}

fn refuse(denial: Denial) -> Response {
    let (status, words) = match denial {
        Denial::NoToken => (StatusCode::UNAUTHORIZED, "a bearer token is needed\n"),
        Denial::Unknown => (
            StatusCode::UNAUTHORIZED,
            "the API server does not accept this token here\n",
        ),
        Denial::Forbidden => (
            StatusCode::FORBIDDEN,
            "this account may not get this path (nonResourceURLs)\n",
        ),
        Denial::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many unknown tokens; try again later\n",
        ),
        Denial::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent could not check this token with the API server\n",
        ),
    };
    let mut response = text(status, words);
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    } else if status != StatusCode::FORBIDDEN {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// The common part of both reviews, as far as it is read.
#[derive(Debug, Deserialize)]
struct Review<S> {
    status: S,
}

#[derive(Debug, Deserialize)]
struct Authentication {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    user: Value,
    #[serde(default)]
    audiences: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Authorization {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
}
