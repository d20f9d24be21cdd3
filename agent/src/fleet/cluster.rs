//! Requests to the API server: Nodes and agents' pods page by page, the agents' port, and one report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, header};
use kube::client::Body;

use super::agent_port::{AgentPort, Pod};
use super::join::{AgentPod, Node, Unsupported};
use super::table::{Page, Table};
use super::token::Tokens;
use crate::apiserver::access::Access;
use crate::apiserver::answer::Answer;
use crate::apiserver::audience::TOKEN_HEADER;
use crate::apiserver::connection::{ANSWER_LIMIT, Connection};
use crate::apiserver::path::{encoded, is_name};
use crate::apiserver::refusal::Refusal;
use crate::model::publishing::Outcome;

/// The number of Nodes in a page, with their labels: about a MiB.
const NODES: u32 = 250;
/// The number of pods in a page, without any of their metadata: about 100 KiB.
const PODS: u32 = 500;
/// The maximum size of a page in bytes.
const PAGE_LIMIT: usize = 16 << 20;
/// The API server's printed form of a list.
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

/// The agents and the Nodes that are requested.
#[derive(Clone, Debug)]
pub struct Where {
    /// The namespace that castoff runs in.
    pub namespace: String,
    /// The label of its pods, as a selector.
    pub agents: String,
    /// The Nodes to look at, as a selector; none: all.
    pub nodes: Option<String>,
}

/// A cluster through its API server. Clones share the connections and the count of requests.
#[derive(Clone)]
pub struct Cluster {
    connection: Connection,
    place: Where,
    tokens: Tokens,
    requests: Arc<AtomicU64>,
}

impl Cluster {
    /// Prepares requests with the current credentials. Nothing is sent yet.
    pub async fn reach(
        access: &Access,
        place: Where,
        tokens: Tokens,
        deadline: Duration,
        at_once: usize,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            connection: Connection::prepare(access, deadline, at_once).await?,
            place,
            tokens,
            requests: Arc::default(),
        })
    }

    /// The number of requests that were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The API server's name and port.
    pub fn server(&self) -> &str {
        self.connection.server()
    }

    /// The agents and the Nodes that are requested.
    pub const fn place(&self) -> &Where {
        &self.place
    }

    /// Fetches one page of Nodes.
    pub(super) async fn list_nodes(&mut self, next: &str) -> Result<Page<Node>, Refusal> {
        let asked = "list nodes";
        let mut path = format!("/api/v1/nodes?limit={NODES}&includeObject=Metadata");
        if let Some(selector) = &self.place.nodes {
            path = format!("{path}&labelSelector={}", encoded(selector));
        }
        let table = self.list(asked, &path, next).await?;
        table.page(asked, ["Name", "Status"], |[name, status], metadata| Node {
            unsupported: metadata.labels.as_ref().and_then(unsupported),
            name,
            status,
        })
    }

    /// Fetches one page of agents' pods.
    pub(super) async fn list_pods(&mut self, next: &str) -> Result<Page<AgentPod>, Refusal> {
        let Where { namespace, agents, .. } = &self.place;
        let asked = format!("list pods in namespace {namespace}");
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods?limit={PODS}&includeObject=None&labelSelector={}",
            encoded(agents)
        );
        let table = self.list(&asked, &path, next).await?;
        table.page(
            &asked,
            ["Name", "Ready", "Status", "Node"],
            |[name, ready, status, node], _| AgentPod {
                ready: status == "Running" && all_ready(&ready),
                name,
                node,
                status,
            },
        )
    }

    /// Finds a namespace in which castoff runs, if the account may list pods there.
    pub(super) async fn find_elsewhere(&mut self) -> Option<String> {
        let asked = "find castoff";
        let path = format!(
            "/api/v1/pods?limit=1&includeObject=Metadata&labelSelector={}",
            encoded(&self.place.agents)
        );
        let table = self.list(asked, &path, "").await.ok()?;
        let page = table.page(asked, ["Name"], |[_], metadata| metadata.namespace).ok()?;
        page.items.into_iter().next().flatten()
    }

    /// Finds the port of the agents in the spec of this one's pod.
    pub(super) async fn find_agent_port(&mut self, pod: &AgentPod) -> Option<AgentPort> {
        AgentPort::of(&self.read_pod(pod).await?)
    }

    /// Finds an annotation of this pod.
    pub(super) async fn find_annotation(&mut self, pod: &AgentPod, name: &str) -> Option<String> {
        self.read_pod(pod).await?.annotation(name)
    }

    async fn read_pod(&mut self, pod: &AgentPod) -> Option<Pod> {
        if !is_name(&pod.name) {
            return None;
        }
        let path = format!("/api/v1/namespaces/{}/pods/{}", self.place.namespace, pod.name);
        let asked = format!("read pod {}", pod.name);
        let answer = self.get(&asked, &path, "application/json", ANSWER_LIMIT).await;
        answer.ok()?.decode().ok()
    }

    /// Fetches the report of the agent in this pod, with a token if the agents require one.
    pub(super) async fn fetch_report(&mut self, pod: &AgentPod, agent_port: &AgentPort) -> Result<Answer, Refusal> {
        let tokens = self.tokens.clone();
        if !tokens.are_held().await {
            match self.ask_agent(pod, agent_port, None).await {
                Err(refusal) if refusal.is_of_agent() => {}
                answer => return answer,
            }
        }
        let token = tokens.get(self, pod).await?;
        let answer = self.ask_agent(pod, agent_port, Some(token)).await;
        answer.map_err(|refusal| {
            if !refusal.is_of_agent() {
                return refusal;
            }
            let why = format!(
                "the agent refuses the token of the account that may read agents: {}",
                refusal.answer
            );
            Refusal::new(Outcome::Unauthenticated, refusal.asked, why)
        })
    }

    async fn ask_agent(
        &mut self,
        pod: &AgentPod,
        agent_port: &AgentPort,
        token: Option<HeaderValue>,
    ) -> Result<Answer, Refusal> {
        let asked = format!("ask pod {} for its report", pod.name);
        if !is_name(&pod.name) {
            return Err(Refusal::new(Outcome::BadAnswer, asked, "a pod cannot have this name"));
        }
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}{}:{}/proxy/api/v1/report",
            self.place.namespace,
            if agent_port.tls { "https:" } else { "" },
            pod.name,
            agent_port.port
        );
        let mut request = Request::get(path).header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(TOKEN_HEADER, token);
        }
        self.send(&asked, request.body(Body::empty()), ANSWER_LIMIT).await
    }

    async fn list(&mut self, asked: &str, path: &str, next: &str) -> Result<Table, Refusal> {
        let path = if next.is_empty() {
            path.to_owned()
        } else {
            format!("{path}&continue={}", encoded(next))
        };
        let answer = self.get(asked, &path, TABLE, PAGE_LIMIT).await?;
        Table::read(asked, &answer)
    }

    async fn get(&mut self, asked: &str, path: &str, accept: &str, limit: usize) -> Result<Answer, Refusal> {
        let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty());
        self.send(asked, request, limit).await
    }

    pub(super) async fn send(
        &mut self,
        asked: &str,
        request: Result<Request<Body>, http::Error>,
        limit: usize,
    ) -> Result<Answer, Refusal> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.connection.ask(asked, request, limit).await
    }
}

/// True for `1/1`, but not for `0/0`.
fn all_ready(printed: &str) -> bool {
    printed
        .split_once('/')
        .is_some_and(|(ready, of)| ready == of && ready != "0")
}

/// Labels of Nodes without a machine of their own.
const VIRTUAL: &[(&str, &str)] = &[
    ("type", "virtual-kubelet"), // virtual-kubelet and the providers made with it
    ("eks.amazonaws.com/compute-type", "fargate"), // AWS Fargate
    ("liqo.io/type", "virtual-node"), // Liqo
];

fn unsupported(labels: &BTreeMap<String, String>) -> Option<Unsupported> {
    let is = |(key, value): &&(&str, &str)| labels.get(*key).is_some_and(|given| given == value);
    if let Some((key, value)) = VIRTUAL.iter().find(is) {
        return Some(Unsupported::Virtual(format!("{key}={value}")));
    }
    let system = labels
        .get("kubernetes.io/os")
        .or_else(|| labels.get("beta.kubernetes.io/os"))?;
    (system != "linux").then(|| Unsupported::System(system.chars().take(32).collect()))
}
