//! Classifies the API server's answer. The answer is not trusted: it may come from a load balancer, a login page or
//! another service.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::model::publishing::Outcome;
use crate::model::time::Timestamp;

/// The maximum wait that a server may request: a wrong header must not silence castoff for good.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// `Status` of k8s.io/apimachinery, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    kind: String,
    message: Option<String>,
    details: Option<Details>,
    metadata: ListMetadata,
}

/// The token that an expired list offers instead of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    resume: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

/// A JSON document that came with status 200, or with 201 for one that was sent.
#[derive(Debug)]
pub struct Answer {
    asked: String,
    body: Bytes,
    /// The clock of the server, from `Date`.
    pub date: Option<Timestamp>,
}

impl Answer {
    /// Reads the body of `response` to its end, at most `limit` bytes.
    pub(super) async fn read(asked: &str, response: Response<Body>, limit: usize) -> Result<Self, Refusal> {
        let (head, body) = response.into_parts();
        let body = to_bytes(body, limit)
            .await
            .map_err(|error| Refusal::new(Outcome::BadAnswer, asked, format!("the answer broke off: {error}")))?;
        let kind = media_type(&head.headers);
        let is_json = kind.starts_with("application/json");
        if matches!(head.status, StatusCode::OK | StatusCode::CREATED) && is_json {
            let asked = asked.to_owned();
            let date = date(&head.headers);
            return Ok(Self { asked, body, date });
        }
        Err(refused(asked, &head, &kind, &body))
    }

    /// The document as it was received.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Decodes the document as a `T`.
    ///
    /// # Errors
    /// [`Outcome::BadAnswer`], with the part that is not understood.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let what = format!("the answer is not understood: {error}");
            Refusal::new(Outcome::BadAnswer, &self.asked, what)
        })
    }
}

fn refused(asked: &str, head: &Parts, kind: &str, body: &[u8]) -> Refusal {
    if !head.status.is_client_error() && !head.status.is_server_error() {
        let what = format!(
            "HTTP {} with {kind} is not an answer of a Kubernetes API server",
            head.status
        );
        return Refusal::new(Outcome::BadAnswer, asked, what);
    }
    let is_json = kind.starts_with("application/json");
    let status: Status = if is_json {
        // If the body is no `Status`, the HTTP status counts alone.
        serde_json::from_slice(body).unwrap_or_default()
    } else {
        Status::default()
    };
    let words = status.message.unwrap_or_else(|| first_words(kind, body));
    let mut refusal = Refusal::new(
        outcome(head.status),
        asked,
        format!("HTTP {}: {words}", head.status.as_u16()),
    );
    refusal.is_status = status.kind == "Status";
    refusal.is_expired = head.status == StatusCode::GONE;
    refusal.resume = status.metadata.resume.filter(|token| !token.is_empty());
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
    refusal
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(Timestamp::from)
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
