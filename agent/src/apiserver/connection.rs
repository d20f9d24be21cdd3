//! A connection: each request with its deadline, and the answer within its bound.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as AnswerBody;
use http::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ConfigExt as _};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service as _, ServiceBuilder, ServiceExt as _};

use super::access::Access;
use super::answer::Answer;
use super::refusal::Refusal;
use crate::model::publishing::Outcome;
use crate::model::reading::Gap;

/// The maximum size of an answer in bytes. etcd accepts no object over 1.5 MiB; a page of metadata is bounded by its size.
pub const ANSWER_LIMIT: usize = 4 << 20;

/// Permits one read of an agent's credentials at a time: files that hang cost one thread, however many callers wait.
static READING: Semaphore = Semaphore::const_new(1);

/// The credentials at the time of creation, and the open connections to the server. Clones share the connections.
#[derive(Clone)]
pub struct Connection {
    service: BoxCloneSyncService<Request<Body>, Response<AnswerBody>, BoxError>,
    deadline: Duration,
    server: Arc<str>,
}

impl Connection {
    /// Prepares a connection with the current credentials; `idle` is the number of connections that stay open. Nothing is sent
    /// yet.
    ///
    /// # Errors
    /// [`Outcome::Unconfigured`], with the missing or invalid part; [`Outcome::DeadlineExceeded`] where files cannot be read in
    /// time.
    pub async fn prepare(access: &Access, deadline: Duration, idle: usize) -> Result<Self, Refusal> {
        if access.starts_programs() {
            // A program that the kubeconfig names may ask a person for a password.
            return Self::read(access.clone(), deadline, idle, None).await;
        }
        let read = async {
            let turn = READING.acquire().await.ok();
            Self::read(access.clone(), deadline, idle, turn).await
        };
        let late = |_| {
            let within = humantime::format_duration(deadline);
            let what = format!("its files were not read within {within}");
            Err(Refusal::new(Outcome::DeadlineExceeded, access.to_string(), what))
        };
        timeout(deadline, read).await.unwrap_or_else(late)
    }

    /// Reads the files off the async runtime.
    async fn read(
        access: Access,
        deadline: Duration,
        idle: usize,
        turn: Option<SemaphorePermit<'static>>,
    ) -> Result<Self, Refusal> {
        let asked = access.to_string();
        let runtime = Handle::current();
        let reading = spawn_blocking(move || {
            let _turn = turn;
            runtime.block_on(Self::open(&access, deadline, idle))
        });
        reading
            .await
            .unwrap_or_else(|panic| Err(Refusal::unconfigured(asked, panic)))
    }

    async fn open(access: &Access, deadline: Duration, idle: usize) -> Result<Self, Refusal> {
        let config = access.read().await?;
        let service = connect(&config, idle)
            .map_err(|error| Refusal::new(Outcome::Unconfigured, access.to_string(), Gap::chain(&error)))?;
        let server = config
            .cluster_url
            .authority()
            .map_or("", |authority| authority.as_str());
        Ok(Self {
            service,
            deadline,
            server: server.into(),
        })
    }

    /// The server's name and port.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends `request` and reads the answer to its end, within the deadline.
    ///
    /// # Errors
    /// Any answer other than an object with status 200 or 201, with the request in `asked`.
    pub async fn ask(
        &mut self,
        asked: &str,
        request: Result<Request<Body>, http::Error>,
        limit: usize,
    ) -> Result<Answer, Refusal> {
        let request = request.map_err(|error| Refusal::new(Outcome::Unconfigured, asked, error))?;
        match timeout(self.deadline, self.exchange(asked, request, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::new(
                Outcome::DeadlineExceeded,
                asked,
                format!("no answer within {}", humantime::format_duration(self.deadline)),
            )),
        }
    }

    async fn exchange(&mut self, asked: &str, request: Request<Body>, limit: usize) -> Result<Answer, Refusal> {
        let failed = |error: BoxError| Refusal::of_transport(asked, error.as_ref());
        let service = self.service.ready().await.map_err(failed)?;
        let response = service.call(request).await.map_err(failed)?;
        Answer::read(asked, response, limit).await
    }
}

/// The client's layers without its log of every request and failure: the caller reports a failure once.
fn connect(
    config: &Config,
    idle: usize,
) -> kube::Result<BoxCloneSyncService<Request<Body>, Response<AnswerBody>, BoxError>> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client: Client<_, Body> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(idle)
        .build(connector);
    let service = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(AnswerBody::new))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(BoxCloneSyncService::new(service.map_err(BoxError::from)))
}
