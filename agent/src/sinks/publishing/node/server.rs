//! One connection to the API server, for one exchange: each request has a deadline and limits, and is counted.

use std::time::Duration;

use http::{Method, Request, header};
use kube::client::Body;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::object::{Document, Node, Page};
use crate::apiserver::access::Access;
use crate::apiserver::connection::{ANSWER_LIMIT, Connection};
use crate::apiserver::path::encoded;
use crate::apiserver::refusal::Refusal;
use crate::model::publishing::{Outcome, Publishing, Verb};

/// The field manager that castoff's fields belong to.
pub const MANAGER: &str = "castoff";

/// Only the metadata: a Node's status contains the names of all its images.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.5";
const LIST_METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.5";

/// The kind of patch for a Node.
#[derive(Clone, Copy, Debug)]
pub enum Patch {
    /// Server-side apply.
    Apply,
    /// RFC 7386.
    Merge,
}

/// The part of a Node that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its metadata.
    Metadata,
}

/// A connection.
pub struct Server {
    connection: Connection,
    standing: watch::Sender<Publishing>,
}

impl Server {
    /// Prepares a connection with the current credentials. Nothing is sent yet, so nothing is counted.
    pub async fn reach(
        access: &Access,
        standing: &watch::Sender<Publishing>,
        deadline: Duration,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            connection: Connection::prepare(access, deadline, 1).await?,
            standing: standing.clone(),
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

    /// Reads the metadata of one page of Nodes. `next` is the token from the page before.
    pub async fn list(&mut self, size: u32, next: &str) -> Result<Page, Refusal> {
        let uri = format!("/api/v1/nodes?limit={size}&continue={}", encoded(next));
        let request = Request::get(uri).header(header::ACCEPT, LIST_METADATA_ONLY);
        self.ask(Verb::Read, "list nodes".to_owned(), request.body(Body::empty()), Ok)
            .await
    }

    /// Changes the Node `name`; returns its metadata after the change.
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

    /// Sends and counts a request, and decodes the answer with `of`.
    async fn ask<A: DeserializeOwned, T>(
        &mut self,
        verb: Verb,
        asked: String,
        request: Result<Request<Body>, http::Error>,
        of: impl FnOnce(A) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let answer = self.connection.ask(&asked, request, ANSWER_LIMIT).await;
        let answer = answer.and_then(|answer| answer.decode());
        let answer = answer.and_then(of);
        let outcome = answer
            .as_ref()
            .map_or_else(|refusal| refusal.outcome, |_| Outcome::Succeeded);
        self.standing.send_modify(|standing| standing.count(verb, outcome));
        answer
    }
}
