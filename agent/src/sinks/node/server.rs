//! One connection to the API server, for one exchange: each request with its deadline, its bounds and its count.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body as AnswerBody;
use http::{Method, Request, Response, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube_client::Config;
use kube_client::client::{Body, ConfigExt as _};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tower::util::BoxService;
use tower::{BoxError, Service as _, ServiceBuilder, ServiceExt as _};

use super::access::Access;
use super::answer::understand;
use super::object::{Document, Node, Page};
use super::refusal::Refusal;
use crate::model::publishing::{Outcome, Verb};
use crate::model::reading::Gap;
use crate::sinks::labels::ledger::Ledger;

/// The field manager that castoff's fields belong to.
pub const MANAGER: &str = "castoff";

/// Only the metadata: a Node's status holds the names of all its images.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.5";
const LIST_METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.5";

/// How to change a Node.
#[derive(Clone, Copy, Debug)]
pub enum Patch {
    /// Server-side apply.
    Apply,
    /// RFC 7386.
    Merge,
}

/// How much of a Node to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its metadata.
    Metadata,
}

/// A connection.
pub struct Server {
    service: BoxService<Request<Body>, Response<AnswerBody>, BoxError>,
    ledger: Ledger,
    deadline: Duration,
}

impl Server {
    /// Prepares a connection with the credentials as they are now. Nothing is sent yet, so nothing is counted.
    pub async fn reach(access: &Access, ledger: &Ledger, deadline: Duration) -> Result<Self, Refusal> {
        let config = access.read().await?;
        let service = connect(&config)
            .map_err(|error| Refusal::new(Outcome::Unconfigured, access.to_string(), Gap::chain(&error)))?;
        Ok(Self {
            service,
            ledger: ledger.clone(),
            deadline,
        })
    }

    /// Reads the Node `name`.
    pub async fn get(&mut self, name: &str, part: Part) -> Result<Node, Refusal> {
        let request = Request::get(format!("/api/v1/nodes/{name}"));
        let request = match part {
            Part::Whole => request.header(header::ACCEPT, "application/json"),
            Part::Metadata => request.header(header::ACCEPT, METADATA_ONLY),
        };
        let of = |document: Document| document.node(name);
        self.ask(Verb::Read, format!("read node {name}"), request.body(Body::empty()), of)
            .await
    }

    /// Reads the metadata of one page of Nodes. `next` is what the page before gave.
    pub async fn list(&mut self, size: u32, next: &str) -> Result<Page, Refusal> {
        let mut uri = format!("/api/v1/nodes?limit={size}&continue=");
        for byte in next.bytes() {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
        let request = Request::get(uri).header(header::ACCEPT, LIST_METADATA_ONLY);
        self.ask(Verb::Read, "list nodes".to_owned(), request.body(Body::empty()), Ok)
            .await
    }

    /// Changes the Node `name`; gives its metadata as it is then.
    pub async fn patch(&mut self, name: &str, patch: Patch, body: &str) -> Result<Node, Refusal> {
        let (query, content_type) = match patch {
            Patch::Apply => ("&force=true", "application/apply-patch+yaml"), // JSON is YAML
            Patch::Merge => ("", "application/merge-patch+json"),
        };
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("/api/v1/nodes/{name}?fieldManager={MANAGER}{query}"))
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, METADATA_ONLY)
            .body(Body::from(body.as_bytes().to_vec()));
        let of = |document: Document| document.node(name);
        self.ask(Verb::Write, format!("label node {name}"), request, of).await
    }

    /// Sends, counts, and takes `of` the answer what was asked for.
    async fn ask<A: DeserializeOwned, T>(
        &mut self,
        verb: Verb,
        asked: String,
        request: Result<Request<Body>, http::Error>,
        of: impl FnOnce(A) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let answer = match request {
            Ok(request) => match timeout(self.deadline, self.exchange(&asked, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Refusal::new(
                    Outcome::DeadlineExceeded,
                    asked,
                    format!("no answer within {}", humantime::format_duration(self.deadline)),
                )),
            },
            Err(error) => Err(Refusal::new(Outcome::Unconfigured, asked, error)),
        };
        let answer = answer.and_then(of);
        let outcome = answer
            .as_ref()
            .map_or_else(|refusal| refusal.outcome, |_| Outcome::Succeeded);
        self.ledger.count(verb, outcome);
        answer
    }

    async fn exchange<T: DeserializeOwned>(&mut self, asked: &str, request: Request<Body>) -> Result<T, Refusal> {
        let failed = |error: BoxError| Refusal::of_transport(asked, error.as_ref());
        let service = self.service.ready().await.map_err(failed)?;
        let response = service.call(request).await.map_err(failed)?;
        understand(asked, response).await
    }
}

/// The client's layers without its log of every request and failure: what failed is told once, by who asked.
fn connect(config: &Config) -> kube_client::Result<BoxService<Request<Body>, Response<AnswerBody>, BoxError>> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client: Client<_, Body> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(1)
        .build(connector);
    let service = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(AnswerBody::new))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(BoxService::new(service.map_err(BoxError::from)))
}
