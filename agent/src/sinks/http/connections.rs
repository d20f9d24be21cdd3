//! Connections that nobody can hold forever: at most so many at once, and none that gets no answer for long. A client that
//! sends half a request, or a byte now and then, must not use up the descriptors by which castoff looks at the node.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// Longer than Prometheus leaves a connection alone that it keeps between two scrapes a minute apart.
pub(super) const PATIENCE: Duration = Duration::from_secs(75);

/// Prometheus, a probe and some people need a handful.
const AT_ONCE: usize = 1024;

/// How many connections may be open at once: half of the descriptors that the process may have, the rest is for looking.
pub(super) fn at_once() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(AT_ONCE, |limit| {
        AT_ONCE.min(usize::try_from(limit / 2).unwrap_or(AT_ONCE))
    })
}

/// A listener whose connections are bounded in number and patience.
pub(super) struct Bounded<L> {
    listener: L,
    room: Arc<Semaphore>,
    patience: Duration,
}

impl<L> Bounded<L> {
    pub(super) fn new(listener: L, at_once: usize, patience: Duration) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(at_once)),
            patience,
        }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // It is never closed, so there is a permit; and without one the connection would still be bounded in time.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        let connection = Connection {
            io,
            patience: self.patience,
            end: Box::pin(sleep_until(Instant::now() + self.patience)),
            _room: room,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when nothing could be written to it for too long. What it sends buys it no time.
pub(super) struct Connection<T> {
    io: T,
    patience: Duration,
    end: Pin<Box<Sleep>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl<T> Connection<T> {
    fn end_of_patience<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => self.end_of_patience(cx),
            read @ Poll::Ready(_) => read,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Pending => self.end_of_patience(cx),
            written @ Poll::Ready(_) => {
                let end = Instant::now() + self.patience;
                self.end.as_mut().reset(end);
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    async fn serve(at_once: usize, patience: Duration) -> std::net::SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/", get(async || "ok"));
        tokio::spawn(axum::serve(Bounded::new(listener, at_once, patience), router).into_future());
        address
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).await.expect("answered");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off_however_it_trickles() {
        let address = serve(8, Duration::from_millis(300)).await;
        let mut slow = TcpStream::connect(address).await.expect("connected");
        let trickle = async {
            loop {
                // The answer to a closed connection comes with the next write at the latest.
                if slow.write_all(b"G").await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, trickle).await.expect("it is cut off");
    }

    #[tokio::test]
    async fn one_that_is_answered_may_go_on() {
        let address = serve(8, Duration::from_millis(600)).await;
        let mut kept = TcpStream::connect(address).await.expect("connected");
        for _ in 0..4 {
            assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200"));
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    #[tokio::test]
    async fn the_next_waits_for_room() {
        let address = serve(1, Duration::from_millis(300)).await;
        let _idle = TcpStream::connect(address).await.expect("connected");
        let mut next = TcpStream::connect(address).await.expect("connected");
        assert!(
            timeout(LONG, ask(&mut next))
                .await
                .expect("there is room")
                .starts_with("HTTP/1.1 200")
        );
    }
}
