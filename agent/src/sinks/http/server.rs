//! Serves a router on one listener until it is told to stop, then lets what is under way end, within a grace.

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

use super::connections::{Limits, Room, Seat, Timed};
use super::tls::Acceptor;

/// The way in which serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request under way was answered.
    All,
    /// The grace was over first.
    CutOff,
}

/// The server and its settings.
#[derive(Clone)]
pub struct Server {
    /// The limits of a connection.
    pub limits: Limits,
    /// The other side of the handshake, where there is one.
    pub tls: Option<Acceptor>,
}

impl Server {
    /// Serves until `shutdown` resolves; then accepts nothing more and waits at most `grace` for requests under way.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
    ) -> Drained {
        let room = Room::new(self.limits.at_once);
        let under_way = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, seat) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                next = async { (accept(&listener).await, room.seat().await) } => next,
            };
            let talk = self.clone().converse(stream, router.clone(), under_way.watcher(), seat);
            tokio::spawn(talk); // a panic in one is no other's
        }
        drop(listener);
        match timeout(grace, under_way.shutdown()).await {
            Ok(()) => Drained::All,
            Err(_) => Drained::CutOff,
        }
    }

    async fn converse(self, stream: TcpStream, router: Router, watcher: Watcher, seat: Seat) {
        bound_buffers(&stream, &seat);
        let _ = stream.set_nodelay(true); // an answer is one write; where this cannot be set, it comes a little later
        let Some(tls) = &self.tls else {
            return self.answer(stream, router, watcher, seat).await;
        };
        let handshake = timeout(self.limits.reading, tls.accept(stream));
        match handshake.await.map_err(io::Error::from).flatten() {
            Ok(stream) => self.answer(stream, router, watcher, seat).await,
            // Whoever speaks no TLS, or trusts another authority, learns it on its own side.
            Err(error) => tracing::debug!(%error, "no TLS handshake"),
        }
    }

    async fn answer<T>(&self, stream: T, router: Router, watcher: Watcher, seat: Seat)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Timed::new(stream, self.limits);
        let idle = stream.idle();
        let mut http = http1::Builder::new();
        http.header_read_timeout(None) // `Timed` has it, and the other times
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
                () = seat.wanted() => if idle.load(Ordering::Relaxed) { return },
            }
        }
    }
}

/// Bounds what the kernel keeps of an answer ahead of its reader: it counts as the container's memory, and would grow to
/// megabytes for each connection.
fn bound_buffers(stream: &TcpStream, seat: &Seat) {
    let bounded = set_socket_send_buffer_size(stream, seat.ahead())
        .and_then(|()| set_socket_recv_buffer_size(stream, Limits::HEAD));
    if let Err(error) = bounded {
        tracing::debug!(%error, "the kernel's buffers stay as they are");
    }
}

/// The next connection. What goes wrong with one that is gone already is nobody's concern; a process without descriptors
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
