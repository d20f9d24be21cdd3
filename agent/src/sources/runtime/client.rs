//! One runtime's endpoint, and calls on it that end by themselves.
//!
//! Speaks gRPC over a Unix socket as the kubelet does (authority `localhost`, messages up to 16 MiB). The connection is
//! kept between cycles and made anew when the runtime has restarted. Every call has a deadline: a runtime that accepts
//! and never answers is as good as none. Relies on [`castoff_cri::Call`] for what may be asked at all.

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

/// The largest message that is read: what the kubelet reads (`maxMsgSize` of kubernetes/cri-client) and runtimes send
/// (`DefaultMaxRecvMsgSize` of containerd).
const MESSAGE_MAX: usize = 16 << 20;

/// How much time is left for the questions of one cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    per_call: Duration,
    end: Instant,
}

impl Allowance {
    /// From now on `in_all` for everything and `per_call` for each call.
    pub(crate) fn new(per_call: Duration, in_all: Duration) -> Self {
        Self {
            per_call,
            end: Instant::now() + in_all,
        }
    }

    /// The time that the next call may take; zero when all of it is spent.
    pub(crate) fn next(&self) -> Duration {
        self.per_call.min(self.end.saturating_duration_since(Instant::now()))
    }
}

/// An endpoint. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    allowance: Allowance,
    /// True if the connection may be one of an earlier cycle, which the runtime may have ended since.
    kept: bool,
}

impl Client {
    /// A client of the socket at `path`, which is the file `identity`. Connects when it is first asked, and again whenever
    /// the connection is lost.
    pub(crate) fn new(path: PathBuf, identity: FileIdentity, allowance: Allowance) -> Self {
        // The name is the authority that the kubelet sends too; the connector decides where the bytes go.
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

    /// The same connection with the time of another cycle.
    pub(crate) fn within(&self, allowance: Allowance) -> Self {
        Self {
            channel: self.channel.clone(),
            allowance,
            kept: true,
        }
    }

    /// Asks the first thing of a cycle: a connection that was lost since the last one says nothing about now, so the
    /// question is put again on a new one.
    pub(crate) async fn query_first<C: Call + Clone>(&self, api: CriApi, request: C) -> Result<C::Answer, CallError> {
        match self.query(api, request.clone()).await {
            Err(error) if self.kept && error.is_lost_connection() => self.query(api, request).await,
            answer => answer,
        }
    }

    /// Asks one thing in one version of the interface. Where no time is left nothing is sent.
    pub(crate) async fn query<C: Call>(&self, api: CriApi, request: C) -> Result<C::Answer, CallError> {
        let limit = self.allowance.next();
        if limit.is_zero() {
            return Err(CallError::Unasked);
        }
        match timeout(limit, self.call(api, request)).await {
            Ok(answer) => answer.map_err(CallError::from),
            Err(_) => Err(CallError::Silence(limit)),
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

/// The path of a call: all that differs between the versions of the interface.
fn path<C: Call>(api: CriApi) -> PathAndQuery {
    let [v1, v1alpha2] = PACKAGES;
    let package = match api {
        CriApi::V1 => v1,
        CriApi::V1alpha2 => v1alpha2,
    };
    PathAndQuery::try_from(format!("/{package}.RuntimeService/{}", C::METHOD))
        .expect("a package and a method are letters, digits and dots")
}

/// Connects to the very file that was looked at before: another may have taken its name since, an engine's too.
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
