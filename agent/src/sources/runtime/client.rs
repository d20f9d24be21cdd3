//! A client of one runtime's endpoint, whose calls have a deadline.
//!
//! Uses gRPC over a Unix socket like the kubelet (authority `localhost`, messages up to 16 MiB). The connection is kept
//! between cycles, and opened again after the runtime has restarted. Every call has a deadline: a runtime that accepts
//! and never answers does not block a cycle. Relies on [`castoff_cri::Call`] to limit the possible calls.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use castoff_cri::{Call, PACKAGES};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags, fstat, open};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::service_fn;

use super::refusal::CallError;
use crate::model::identity::FileIdentity;
use crate::model::runtime::CriApi;

/// The limit of a message, in bytes: that of the kubelet (`maxMsgSize` of kubernetes/cri-client) and of runtimes
/// (`DefaultMaxRecvMsgSize` of containerd).
const MESSAGE_MAX: usize = 16 << 20;

/// The remaining time for the calls of one cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    per_call: Duration,
    end: Instant,
}

impl Allowance {
    /// Starts now, with `in_all` for all calls and `per_call` for each.
    pub(crate) fn new(per_call: Duration, in_all: Duration) -> Self {
        Self {
            per_call,
            end: Instant::now() + in_all,
        }
    }

    /// Returns the time for the next call; zero if none is left.
    pub(crate) fn next(&self) -> Duration {
        self.per_call.min(self.end.saturating_duration_since(Instant::now()))
    }
}

/// A client. Cloning is cheap, and clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    allowance: Allowance,
    /// True if the connection may be from an earlier cycle, and the runtime may have closed it since.
    kept: bool,
}

impl Client {
    /// Creates a client of the socket at `path`, whose file is `identity`. Connects on the first call, and again
    /// whenever the connection is lost.
    pub(crate) fn new(path: PathBuf, identity: FileIdentity, allowance: Allowance) -> Self {
        // The authority is the one that the kubelet sends; the connector determines the socket.
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let path = path.clone();
            async move { connect(&path, identity).await.map(TokioIo::new) }
        }));
        Self {
            channel,
            allowance,
            kept: false,
        }
    }

    /// Returns the same connection with the time of another cycle.
    pub(crate) fn within(&self, allowance: Allowance) -> Self {
        Self {
            channel: self.channel.clone(),
            allowance,
            kept: true,
        }
    }

    /// Makes the first call of a cycle. A connection that was lost since the last cycle says nothing about the present,
    /// so the call is repeated on a new one.
    pub(crate) async fn query_first<C: Call + Clone>(&self, api: CriApi, request: C) -> Result<C::Answer, CallError> {
        match self.query(api, request.clone()).await {
            Err(error) if self.kept && error.is_lost_connection() => self.query(api, request).await,
            answer => answer,
        }
    }

    /// Makes one call in one version of the interface. Sends nothing if no time is left.
    pub(crate) async fn query<C: Call>(&self, api: CriApi, request: C) -> Result<C::Answer, CallError> {
        let limit = self.allowance.next();
        if limit.is_zero() {
            return Err(CallError::NotSent);
        }
        match timeout(limit, self.call(api, request)).await {
            Ok(answer) => answer.map_err(CallError::from),
            Err(_) => Err(CallError::Timeout(limit)),
        }
    }

    async fn call<C: Call>(&self, api: CriApi, request: C) -> Result<C::Answer, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX);
        grpc.ready().await.map_err(|e| Status::from_error(Box::new(e)))?;
        let answer = grpc
            .unary(Request::new(request), path::<C>(api), castoff_cri::codec::<C>())
            .await?;
        Ok(answer.into_inner())
    }
}

/// Returns the path of a call, which is the only difference between the versions of the interface.
fn path<C: Call>(api: CriApi) -> PathAndQuery {
    let [v1, v1alpha2] = PACKAGES;
    let package = match api {
        CriApi::V1 => v1,
        CriApi::V1alpha2 => v1alpha2,
    };
    PathAndQuery::try_from(format!("/{package}.RuntimeService/{}", C::METHOD))
        .expect("a package and a method are letters, digits and dots")
}

/// Connects to the file that was found before: its path may lead to another socket by now, even an engine's.
async fn connect(path: &Path, identity: FileIdentity) -> io::Result<UnixStream> {
    let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let found = fstat(&file)?;
    if FileIdentity::from_stat(found.st_dev, found.st_ino) != identity {
        return Err(io::Error::other(
            "another socket has taken its place since castoff looked",
        ));
    }
    UnixStream::connect(format!("/proc/self/fd/{}", file.as_raw_fd())).await
}
