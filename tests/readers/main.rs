//! The readers of the agent's pages: the real server over TCP, and a fake API server for the reviews.

mod audience;
mod flood;
mod refusals;
mod usual;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use castoff::agent::service::{Service, serve};
use castoff::apiserver::access::Access;
use castoff::config::{Look, Serve};
use castoff::sinks::http::{Guard, Limits, Liveness, Published, Server, router};
use castoff::sinks::views::metrics::{Build, Metrics};
use castoff::sources::HostPaths;
use castoff::sources::connects::Asked;
use castoff_tests::fake::api::FakeApi;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

const REVIEWS: [&str; 2] = [
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
];

/// Pages that need a review.
struct Pages {
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Pages {
    /// Starts the pages of an agent without a report, which caches answers for these times.
    async fn remembering(api: &FakeApi, yes: Duration, no: Duration) -> Result<Self> {
        let (access, folder) = access(api)?;
        let guard = Guard::new(access).holding(yes, no);
        let (_reports, latest) = watch::channel(None);
        let published = Published {
            reports: latest,
            labels: None,
            events: None,
            cycles: Arc::default(),
            liveness: Arc::new(Liveness::new(Duration::from_secs(600), Instant::now())),
            metrics: Arc::new(Metrics::new(Build::current())),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stopping = CancellationToken::new();
        let stop = stopping.clone().cancelled_owned();
        let server = Server {
            limits: Limits::of_this_process(),
            tls: None,
        };
        let router = router(published, Some(Arc::new(guard)));
        tokio::spawn(server.serve(listener, router, stop, Duration::ZERO));
        Ok(Self {
            address,
            _folder: folder,
            _stop: stopping.drop_guard(),
        })
    }

    /// Starts the pages of a complete agent, on a host of which nothing can be seen.
    async fn of_an_agent(api: &FakeApi) -> Result<Self> {
        let (access, folder) = access(api)?;
        let path = folder.path().to_owned();
        let look = Look {
            host: HostPaths {
                proc: path.clone(),
                root: path,
            },
            runtime_endpoint: None,
            runtime_timeout: Duration::from_millis(100),
            node: None,
            connect_events: Asked::default(),
            scan_host_files: false,
        };
        let settings = Serve {
            ready_for: Vec::new(),
            period: Duration::from_secs(60),
            window: Duration::from_secs(60),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: None,
            grace: Duration::from_secs(1),
            labels: None,
            events: None,
            tls: None,
            guard: Some(access),
        };
        let service = Service::start(look, settings).await?;
        let address = service.address()?;
        let stopping = CancellationToken::new();
        tokio::spawn(serve(service, stopping.clone()));
        Ok(Self {
            address,
            _folder: folder,
            _stop: stopping.drop_guard(),
        })
    }

    async fn get(&self, path: &str, token: &str) -> Result<(u16, String)> {
        self.ask(path, &format!("Authorization: Bearer {token}\r\n")).await
    }

    async fn ask(&self, path: &str, headers: &str) -> Result<(u16, String)> {
        ask(self.address, path, headers).await
    }
}

/// Returns the status, and the whole answer with head and body.
async fn ask(address: SocketAddr, path: &str, headers: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| answer.clone())?, answer))
}

fn access(api: &FakeApi) -> Result<(Access, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let server = format!("http://{}", api.address());
    std::fs::write(
        &path,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {{token: agent}}}}]\n"
        ),
    )?;
    Ok((Access::Kubeconfig { path, programs: false }, folder))
}

const LONG: Duration = Duration::from_secs(60);
