//! An API server that has Nodes, Events and accounts and is controlled by a test, on a real TCP socket.
//!
//! Server-side apply works like on the real one as far as castoff relies on it: fields have managers; an apply removes
//! the fields that its manager owned and no longer sets, unless another owns them too; a UID that is not the Node's is
//! a conflict; and if there is no such Node, an account without the right to create is refused. Every request is
//! recorded.

mod events;
mod fleet;
mod nodes;
mod reports;
mod reviews;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use events::Events;
pub use fleet::{Fleet, FleetNode, FleetPod, Reply};
pub use nodes::Nodes;
pub use reports::{report_clear, report_in_use, report_used_by};
pub use reviews::Reviews;

/// A replacement for the answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, headers and body.
    Answer {
        /// The HTTP status.
        status: u16,
        /// More headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// Accepts the request and never answers.
    Silence,
    /// Does what is requested and never answers.
    Mute,
    /// Answers with this text after a delay.
    Slow(Duration, String),
    /// Breaks off in the middle of the body.
    CutOff,
    /// Answers with a body far larger than any Node: 8 MiB.
    Flood,
}

impl Fault {
    /// Returns the `Status` that a real API server sends with `code`.
    pub fn status(code: u16, message: &str) -> Self {
        let body =
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code });
        Self::Answer {
            status: code,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    /// Returns an HTML page.
    pub fn html(code: u16) -> Self {
        Self::Answer {
            status: code,
            headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
            body: "<!doctype html><title>Sign in</title><p>Please sign in\u{1b}[31m".to_owned(),
        }
    }
}

/// One recorded request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `PATCH` or `POST`.
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

/// The state that the server and the test share.
#[derive(Debug, Default)]
pub struct Script {
    /// The Nodes.
    pub nodes: Nodes,
    /// The accounts.
    pub reviews: Reviews,
    /// A whole cluster, for lists in printed form and agents through the proxy.
    pub fleet: Fleet,
    /// Faults for the next requests whose path and query contain the text, one each.
    pub on: Vec<(&'static str, Fault)>,
    /// True if requests are only counted and not recorded: there may be 100,000.
    pub forgets: bool,
    /// The number of requests.
    pub requests: u64,
    /// The Events.
    pub events: Events,
    /// Faults for the next requests, one each.
    pub next: VecDeque<Fault>,
    /// The fault of every request while it is set.
    pub always: Option<Fault>,
    /// The only accepted token, if one is set.
    pub token: Option<String>,
    /// Every request.
    pub seen: Vec<Seen>,
}

/// A running fake API server.
#[derive(Debug)]
pub struct FakeApi {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: Option<JoinHandle<()>>,
}

impl FakeApi {
    /// Starts a server on a port that the kernel chooses.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut fake = Self {
            address: listener.local_addr()?,
            script: Arc::default(),
            task: None,
        };
        fake.serve(listener);
        Ok(fake)
    }

    /// Returns a kubeconfig that leads to it, with a token that it does not check.
    pub fn kubeconfig(&self) -> String {
        let server = self.address();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'http://{server}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        )
    }

    /// Returns its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the script, to read or to change.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of requests of `method`.
    pub fn count(&self, method: &str) -> usize {
        self.script().seen.iter().filter(|seen| seen.method == method).count()
    }

    /// Stops: no connection is accepted any more, and open connections are closed.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Starts again at the same address.
    pub async fn come_back(&mut self) -> io::Result<()> {
        self.stop();
        // The socket of the aborted task may take a moment to close.
        for _ in 0..50 {
            match TcpListener::bind(self.address).await {
                Ok(listener) => {
                    self.serve(listener);
                    return Ok(());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new().fallback(answer).with_state(Arc::clone(&self.script));
        self.task = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }));
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let seen = Seen {
        method: head.method.to_string(),
        uri: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let fault = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        script.requests += 1;
        if !script.forgets {
            script.seen.push(seen.clone());
        }
        let at = script.on.iter().position(|(part, _)| seen.uri.contains(part));
        let fault = at.map(|at| script.on.remove(at).1);
        match fault
            .or_else(|| script.next.pop_front())
            .or_else(|| script.always.clone())
        {
            Some(Fault::Mute) => {
                script.answer(&seen);
                Fault::Silence
            }
            Some(fault) => fault,
            None => match script.answer_of_fleet(&seen) {
                Some(Ok(body)) if script.fleet.delay.is_zero() || !seen.uri.contains("/proxy/") => {
                    return reply_text(200, body);
                }
                Some(Ok(body)) => Fault::Slow(script.fleet.delay, body),
                Some(Err(fault)) => fault,
                None => return script.answer(&seen),
            },
        }
    };
    match fault {
        Fault::Answer { status, headers, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = (status, body).into_response();
            response.headers_mut().remove(header::CONTENT_TYPE);
            for (name, value) in headers {
                response
                    .headers_mut()
                    .insert(name, value.parse().expect("a header's value"));
            }
            response
        }
        Fault::Slow(time, body) => {
            tokio::time::sleep(time).await;
            reply_text(200, body)
        }
        Fault::Silence | Fault::Mute => std::future::pending().await,
        Fault::CutOff => {
            let parts = [
                Ok("{\"kind\":\"Node\",\"metadata\":{\"na"),
                Err(io::Error::other("cut off")),
            ];
            streamed(tokio_stream::iter(parts))
        }
        Fault::Flood => streamed(tokio_stream::iter(
            std::iter::repeat_with(|| Ok(" ".repeat(65_536))).take(128),
        )),
    }
}

fn streamed<S, T>(parts: S) -> Response
where
    S: tokio_stream::Stream<Item = io::Result<T>> + Send + 'static,
    T: Into<axum::body::Bytes> + 'static,
{
    let body = Body::from_stream(parts);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

impl Script {
    fn lets_in(&self, seen: &Seen) -> bool {
        let given = seen.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let wanted = self.token.as_ref().map(|token| format!("Bearer {token}"));
        wanted.is_none_or(|wanted| given == Some(&wanted))
    }

    fn answer_of_fleet(&self, seen: &Seen) -> Option<Result<String, Fault>> {
        let accept = seen.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
        let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
        let is_asked = path.contains("/pods") || accept.is_some_and(|accept| accept.contains("as=Table"));
        if seen.method != "GET" || !is_asked || !self.lets_in(seen) {
            return None;
        }
        let token = seen.headers.get("x-castoff-token").and_then(|v| v.to_str().ok());
        let refused = path.contains("/proxy/").then(|| self.fleet.refuse(token)).flatten();
        refused.map(Err).or_else(|| self.fleet.get(path, query))
    }

    fn answer(&mut self, seen: &Seen) -> Response {
        if !self.lets_in(seen) {
            return reply(401, &json!({ "kind": "Status", "message": "Unauthorized" }));
        }
        let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
        let kind = seen
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let posted = serde_json::from_str(&seen.body).unwrap_or_default();
        if let Some(answer) = self.reviews.answer(path, &posted) {
            return reply(201, &answer);
        }
        let events = path
            .strip_prefix("/apis/events.k8s.io/v1/namespaces/")
            .and_then(|rest| rest.strip_suffix("/events"));
        let made = seen.method == "POST";
        let outcome = match (seen.method.as_str(), path.strip_prefix("/api/v1/nodes")) {
            ("POST", None) if path.ends_with("/token") => {
                let issued = self.fleet.issue(path, &posted);
                issued.unwrap_or_else(|| Err((404, format!("{path} is not served here"))))
            }
            ("POST", None) if events.is_some() => match serde_json::from_str(&seen.body) {
                Ok(event) => self.events.create(events.unwrap_or_default(), &event),
                Err(error) => Err((400, error.to_string())),
            },
            ("GET", Some("")) => Ok(self.nodes.page(query)),
            ("GET", Some(name)) => self.nodes.get(name.trim_start_matches('/')),
            ("PATCH", Some(name)) => match serde_json::from_str(&seen.body) {
                Ok(changes) => self.nodes.patch(name.trim_start_matches('/'), kind, query, &changes),
                Err(error) => Err((400, error.to_string())),
            },
            _ => Err((404, format!("{} {} is not served here", seen.method, seen.uri))),
        };
        match outcome {
            Ok(object) => reply(if made { 201 } else { 200 }, &object),
            Err((code, message)) => reply(code, &json!({ "kind": "Status", "message": message, "code": code })),
        }
    }
}

fn reply(code: u16, body: &Value) -> Response {
    reply_text(code, body.to_string())
}

fn reply_text(code: u16, body: String) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
