//! Who may read: the bearer of a token that the API server knows and that may `get` the path there, as users of
//! kube-rbac-proxy expect (`TokenReview`, then `SubjectAccessReview` of the path).
//!
//! Never lets anybody in because the API server could not be asked, never keeps a token, and asks no more than a bounded
//! number of questions at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use kube::client::Body;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::text;
use crate::apiserver::access::Access;
use crate::apiserver::connection::Connection;
use crate::apiserver::refusal::Refusal;

/// Bytes of a token at most, as long as a head allows.
const TOKEN: usize = 8 << 10;
/// Bytes of a review at most; an account of a thousand groups has a tenth of it.
const ANSWER: usize = 1 << 20;
/// Answers that are kept.
const KEPT: usize = 256;
/// How long a yes and a no hold. A token that is withdrawn is refused after the first.
const YES: Duration = Duration::from_secs(60);
const NO: Duration = Duration::from_secs(10);
/// Questions at once, and for how long one may take.
const AT_ONCE: usize = 4;
const DEADLINE: Duration = Duration::from_secs(4);

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    /// There is no token.
    Nobody,
    /// The API server does not know it.
    Unknown,
    /// Its bearer may not.
    Forbidden,
    /// The API server could not be asked.
    Unasked,
}

/// Digest of the token, and the path.
type Question = ([u8; 32], String);

/// What was answered, and when.
type Kept = (Instant, Result<(), Denial>);

/// Asks the API server, and remembers for a short while.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    kept: Mutex<HashMap<Question, Kept>>,
    at_once: Semaphore,
    trouble: Mutex<Option<String>>,
    holds: (Duration, Duration),
}

impl Guard {
    /// One that gets to the API server by `access`.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            kept: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
            trouble: Mutex::default(),
            holds: (YES, NO),
        }
    }

    /// The same with other times, for tests.
    #[must_use]
    pub const fn holding(mut self, yes: Duration, no: Duration) -> Self {
        self.holds = (yes, no);
        self
    }

    async fn check(&self, headers: &HeaderMap, path: &str) -> Result<(), Denial> {
        let token = token(headers).ok_or(Denial::Nobody)?;
        let question = (sha256(token), path.to_owned());
        if let Some(answer) = self.known(&question) {
            return answer;
        }
        // A question that had to wait for long would have no time left.
        let Ok(_turn) = timeout(DEADLINE / 2, self.at_once.acquire()).await else {
            return Err(self.unasked("too many questions at once".to_owned()));
        };
        // Somebody else may have asked the same meanwhile.
        if let Some(answer) = self.known(&question) {
            return answer;
        }
        let answer = match timeout(DEADLINE, self.ask(token, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => return Err(self.unasked(refusal.to_string())),
            Err(_) => return Err(self.unasked(format!("no answer within {} s", DEADLINE.as_secs()))),
        };
        self.said(None);
        self.keep(question, answer);
        answer
    }

    async fn ask(&self, token: &str, path: &str) -> Result<Result<(), Denial>, Refusal> {
        let mut server = Connection::prepare(&self.access, DEADLINE, 1).await?;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": { "token": token },
        });
        let who = "/apis/authentication.k8s.io/v1/tokenreviews";
        let who: Review<Authentication> = pose(&mut server, who, "review a token", &review).await?;
        let user = who.status.user;
        if !who.status.authenticated || user["username"].as_str().is_none_or(str::is_empty) {
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
        let may: Review<Authorization> = pose(&mut server, may, "review an access", &review).await?;
        let allowed = may.status.allowed && !may.status.denied;
        Ok(if allowed { Ok(()) } else { Err(Denial::Forbidden) })
    }

    fn known(&self, question: &Question) -> Option<Result<(), Denial>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = kept.get(question)?;
        (Instant::now() < *until).then_some(*answer)
    }

    fn keep(&self, question: Question, answer: Result<(), Denial>) {
        let now = Instant::now();
        let until = now + if answer.is_ok() { self.holds.0 } else { self.holds.1 };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (until, _)| now < *until);
        if kept.len() >= KEPT {
            // Whoever tries many tokens loses the memory of those first: a no is the first to end.
            let first = kept
                .iter()
                .min_by_key(|(_, (until, _))| *until)
                .map(|(question, _)| question.clone());
            first.and_then(|first| kept.remove(&first));
        }
        kept.insert(question, (until, answer));
    }

    fn unasked(&self, why: String) -> Denial {
        self.said(Some(why));
        Denial::Unasked
    }

    /// Logs what changed.
    fn said(&self, trouble: Option<String>) {
        let mut before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*before, &trouble) {
            (before, Some(error)) if before.as_ref() != Some(error) => {
                tracing::warn!(error, "readers cannot be checked, and are not let in");
            }
            (Some(_), None) => tracing::info!("readers can be checked again"),
            _ => {}
        }
        *before = trouble;
    }
}

/// Has a question answered that is posed as an object. Nothing is kept of it in the cluster.
async fn pose<T: DeserializeOwned>(
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

/// Lets a request on to its page, or answers it.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let checked = guard.check(request.headers(), request.uri().path()).await;
    match checked {
        Ok(()) => next.run(request).await,
        Err(denial) => refuse(denial),
    }
}

fn refuse(denial: Denial) -> Response {
    let (status, words) = match denial {
        Denial::Nobody => (StatusCode::UNAUTHORIZED, "a bearer token is needed\n"),
        Denial::Unknown => (StatusCode::UNAUTHORIZED, "the API server does not know this token\n"),
        Denial::Forbidden => (
            StatusCode::FORBIDDEN,
            "this account may not get this path (nonResourceURLs)\n",
        ),
        Denial::Unasked => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server could not be asked who this is\n",
        ),
    };
    let mut response = text(status, words);
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    } else if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// RFC 6750. What cannot be a token is not worth a question.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (one, None) = (given.next()?, given.next()) else {
        return None;
    };
    let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let plausible = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=:".contains(&b);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN && token.bytes().all(plausible))
        .then_some(token)
}

fn sha256(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

/// What both reviews have in common, as far as it is read.
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
}

#[derive(Debug, Deserialize)]
struct Authorization {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
}
