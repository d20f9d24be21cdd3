//! Serves a router on one listener until shutdown, then completes pending requests within a grace period.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::connections::{Limits, Slot, Slots, Timed};
use super::tls::Acceptor;

/// The way in which serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every pending request was answered.
    All,
    /// The grace period ended first.
    CutOff,
}

/// The server and its settings.
#[derive(Clone)]
pub struct Server {
    /// The limits of a connection.
    pub limits: Limits,
    /// The TLS acceptor; none for plain HTTP.
    pub tls: Option<Acceptor>,
}

impl Server {
    /// Serves until `shutdown` resolves; then accepts nothing more and waits at most `grace` for pending requests.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
    ) -> Drained {
        let slots = Slots::new(self.limits.at_once);
        let under_way = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, slot) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                next = async { (accept(&listener).await, slots.slot().await) } => next,
            };
            let talk = self.clone().converse(stream, router.clone(), under_way.watcher(), slot);
            tokio::spawn(talk); // a panic in one must not affect another
        }
        drop(listener);
        match timeout(grace, under_way.shutdown()).await {
            Ok(()) => Drained::All,
            Err(_) => Drained::CutOff,
        }
    }

    async fn converse(self, stream: TcpStream, router: Router, watcher: Watcher, slot: Slot) {
        bound_buffers(&stream, &slot);
        let _ = stream.set_nodelay(true); // an answer is one write; without this option it arrives a little later
        let Some(tls) = &self.tls else {
            return self.answer(stream, router, watcher, slot).await;
        };
        let handshake = timeout(self.limits.reading, tls.accept(stream));
        match handshake.await.map_err(io::Error::from).flatten() {
            Ok(stream) => self.answer(stream, router, watcher, slot).await,
            // A client that does not use TLS, or trusts another authority, sees the error on its own side.
            Err(error) => tracing::debug!(%error, "no TLS handshake"),
        }
    }

    async fn answer<T>(&self, stream: T, router: Router, watcher: Watcher, slot: Slot)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Timed::new(stream, self.limits);
        let idle = stream.idle();
        let mut http = http1::Builder::new();
        http.header_read_timeout(None) // `Timed` has this timeout and the others
            .max_buf_size(Limits::HEAD)
            .max_headers(Limits::HEADERS);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut connection = pin!(watcher.watch(connection));
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection");
                    }
                    return;
                }
                () = slot.wanted() => if idle.load(Ordering::Relaxed) { return },
            }
        }
    }
}

/// Bounds the kernel's buffer of an answer: it counts as the container's memory, and would grow to megabytes for each connection.
fn bound_buffers(stream: &TcpStream, slot: &Slot) {
    let bounded = set_socket_send_buffer_size(stream, slot.ahead())
        .and_then(|()| set_socket_recv_buffer_size(stream, Limits::HEAD));
    if let Err(error) = bounded {
        tracing::debug!(%error, "the kernel's buffers stay as they are");
    }
}

/// Accepts the next connection. Errors of a connection that is already closed are ignored; a process without free descriptors
/// waits until there are some.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "no connection can be accepted");
                }
                failing = true;
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
