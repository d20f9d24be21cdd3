//! What the API server's answer amounts to. Nothing of it is trusted: a load balancer, a login page or another service
//! may be answering.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::model::publishing::Outcome;

/// Bytes of an answer at most. etcd takes no object over 1.5 MiB; a page of metadata is bounded by its size.
const ANSWER_LIMIT: usize = 4 << 20;

/// The longest wait that a server may ask for: a mistaken header must not silence castoff for good.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// `Status` of k8s.io/apimachinery, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

/// The object that `response` brings.
pub(super) async fn understand<T: DeserializeOwned>(asked: &str, response: Response<Body>) -> Result<T, Refusal> {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_LIMIT)
        .await
        .map_err(|error| Refusal::new(Outcome::BadAnswer, asked, format!("the answer broke off: {error}")))?;
    let kind = media_type(&head.headers);
    let is_json = kind.starts_with("application/json");
    if head.status == StatusCode::OK && is_json {
        return serde_json::from_slice(&body).map_err(|error| {
            Refusal::new(
                Outcome::BadAnswer,
                asked,
                format!("the answer is not understood: {error}"),
            )
        });
    }
    if !head.status.is_client_error() && !head.status.is_server_error() {
        let what = format!(
            "HTTP {} with {kind} is no answer of a Kubernetes API server",
            head.status
        );
        return Err(Refusal::new(Outcome::BadAnswer, asked, what));
    }
    let status: Status = if is_json {
        // Whatever it is instead of a `Status`, the HTTP status stands.
        serde_json::from_slice(&body).unwrap_or_default()
    } else {
        Status::default()
    };
    let words = status.message.unwrap_or_else(|| first_words(&kind, &body));
    let mut refusal = Refusal::new(
        outcome(head.status),
        asked,
        format!("HTTP {}: {words}", head.status.as_u16()),
    );
    refusal.retry_after = status
        .details
        .and_then(|details| details.retry_after_seconds)
        .or_else(|| {
            head.headers
                .get(header::RETRY_AFTER)?
                .to_str()
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    Err(refusal)
}

fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED => Outcome::Unauthenticated,
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        StatusCode::NOT_FOUND => Outcome::NotFound,
        StatusCode::CONFLICT => Outcome::Conflict,
        StatusCode::TOO_MANY_REQUESTS => Outcome::Throttled,
        status if status.is_server_error() => Outcome::ServerError,
        _ => Outcome::Rejected,
    }
}

fn media_type(headers: &HeaderMap) -> String {
    headers.get(header::CONTENT_TYPE).map_or_else(
        || "no content type".to_owned(),
        |v| String::from_utf8_lossy(v.as_bytes()).into_owned(),
    )
}

fn first_words(kind: &str, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(120)]);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        format!("an empty body ({kind})")
    } else {
        format!("{line} ({kind})")
    }
}
