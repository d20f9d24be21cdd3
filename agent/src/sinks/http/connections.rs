//! The limits of connections: their number, and a timeout for each step of a request. A client that sends half a
//! request, or reads its answer byte by byte, must not use up the descriptors that castoff needs to look at the node,
//! and must not block the kubelet's probes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of connections.
    pub at_once: usize,
    /// The timeout between two requests, and before the first.
    pub waiting: Duration,
    /// The timeout from the first byte of a request to the first of its answer, and for a TLS handshake.
    pub reading: Duration,
    /// The timeout from the first byte of an answer until the kernel has its last.
    pub answering: Duration,
}

impl Limits {
    /// The maximum size of a request's head in bytes. A service account's token has about 1 KiB.
    pub(super) const HEAD: usize = 16 << 10;
    /// The number of connections that have a large buffer in the kernel.
    pub(super) const FEW: usize = 32;
    /// The bytes of an answer that the kernel buffers ahead of its reader, for those few and for the others. The kernel doubles
    /// them for its own needs.
    const AHEAD: (usize, usize) = (256 << 10, 16 << 10);
    /// The maximum number of a request's headers.
    pub(super) const HEADERS: usize = 64;

    /// More than enough: Prometheus, a probe and some people need a handful.
    const AT_ONCE: usize = 1024;

    /// Returns the limits for this process: half of its descriptors, because the looks need the others.
    pub fn of_this_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        Self {
            at_once: limit.map_or(Self::AT_ONCE, |limit| {
                Self::AT_ONCE.min(usize::try_from(limit / 2).unwrap_or(Self::AT_ONCE))
            }),
            // Longer than Prometheus leaves a connection idle between two scrapes a minute apart.
            waiting: Duration::from_secs(75),
            reading: Duration::from_secs(10),
            answering: Duration::from_secs(30),
        }
    }
}

/// A limited number of slots for connections. When all are taken, idle connections give way.
#[derive(Debug)]
pub(super) struct Slots {
    at_once: usize,
    semaphore: Arc<Semaphore>,
    full: Arc<Notify>,
}

impl Slots {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once,
            semaphore: Arc::new(Semaphore::new(at_once)),
            full: Arc::default(),
        }
    }

    /// Waits for a slot.
    pub(super) async fn slot(&self) -> Slot {
        const AGAIN: Duration = Duration::from_millis(50);
        loop {
            let slot = Arc::clone(&self.semaphore).acquire_owned();
            // The semaphore is never closed. Even a connection without a permit would have its timeouts.
            if let Ok(permit) = timeout(AGAIN, slot).await {
                return Slot {
                    is_among_few: self.at_once - self.semaphore.available_permits() <= Limits::FEW,
                    full: Arc::clone(&self.full),
                    _permit: permit.ok(),
                };
            }
            self.full.notify_waiters();
        }
    }
}

/// The slot of one connection.
#[derive(Debug)]
pub(super) struct Slot {
    is_among_few: bool,
    full: Arc<Notify>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// The number of bytes that the kernel may buffer ahead of this reader.
    pub(super) const fn ahead(&self) -> usize {
        let (few, rest) = Limits::AHEAD;
        if self.is_among_few { few } else { rest }
    }

    /// Waits until another connection needs the slot.
    pub(super) async fn wanted(&self) {
        self.full.notified().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waiting,
    Reading,
    Answering,
}

/// A stream with a timeout for each step, which data from or to the client does not extend.
#[derive(Debug)]
pub(super) struct Timed<T> {
    io: T,
    limits: Limits,
    step: Step,
    end: Pin<Box<Sleep>>,
    idle: Arc<AtomicBool>,
}

impl<T> Timed<T> {
    pub(super) fn new(io: T, limits: Limits) -> Self {
        Self {
            io,
            limits,
            step: Step::Waiting,
            end: Box::pin(sleep(limits.waiting)),
            idle: Arc::new(AtomicBool::new(true)),
        }
    }

    /// True while no request is in progress on it.
    pub(super) fn idle(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.idle)
    }

    fn enter(&mut self, step: Step) {
        if step == self.step {
            return;
        }
        self.step = step;
        self.idle.store(step == Step::Waiting, Ordering::Relaxed);
        let time = match step {
            Step::Waiting => self.limits.waiting,
            Step::Reading => self.limits.reading,
            Step::Answering => self.limits.answering,
        };
        self.end.as_mut().reset(Instant::now() + time);
    }

    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before && self.step == Step::Waiting {
            self.enter(Step::Reading);
            self.in_time(cx)?; // so that the new deadline wakes this task too
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.enter(Step::Answering);
        self.in_time(cx)?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.enter(Step::Answering);
        self.in_time(cx)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    // Otherwise hyper copies each answer into a buffer of the connection.
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        // hyper flushes when it has nothing left to write.
        if matches!(flushed, Poll::Ready(Ok(()))) && self.step == Step::Answering {
            self.enter(Step::Waiting);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
