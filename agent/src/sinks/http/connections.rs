//! Connections that nobody can hold forever: at most so many at once, and each step of a request has its time. A client
//! that sends half a request, or takes its answer a byte at a time, must not use up the descriptors by which castoff looks
//! at the node, nor keep the kubelet's probes out.

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
    /// Connections at once.
    pub at_once: usize,
    /// Between two requests, and before the first.
    pub waiting: Duration,
    /// From the first byte of a request to the first of its answer, and for a TLS handshake.
    pub reading: Duration,
    /// From the first byte of an answer until the kernel has its last.
    pub answering: Duration,
}

impl Limits {
    /// Bytes of a request's head. A service account's token has about 1 KiB.
    pub(super) const HEAD: usize = 16 << 10;
    /// Connections at once that have a roomy buffer in the kernel.
    pub(super) const FEW: usize = 32;
    /// Bytes of an answer that the kernel takes before its reader does, for those few and for the rest. It doubles them for
    /// its own needs.
    const AHEAD: (usize, usize) = (256 << 10, 16 << 10);
    /// Headers of a request.
    pub(super) const HEADERS: usize = 64;

    /// Prometheus, a probe and some people need a handful.
    const AT_ONCE: usize = 1024;

    /// For a process that may have as many descriptors as this one: half of them, the rest is for looking.
    pub fn of_this_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        Self {
            at_once: limit.map_or(Self::AT_ONCE, |limit| {
                Self::AT_ONCE.min(usize::try_from(limit / 2).unwrap_or(Self::AT_ONCE))
            }),
            // Longer than Prometheus leaves a connection alone that it keeps between two scrapes a minute apart.
            waiting: Duration::from_secs(75),
            reading: Duration::from_secs(10),
            answering: Duration::from_secs(30),
        }
    }
}

/// Room for so many connections. When it is full, those that do nothing make way.
#[derive(Debug)]
pub(super) struct Room {
    at_once: usize,
    seats: Arc<Semaphore>,
    full: Arc<Notify>,
}

impl Room {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once,
            seats: Arc::new(Semaphore::new(at_once)),
            full: Arc::default(),
        }
    }

    /// Waits for a seat.
    pub(super) async fn seat(&self) -> Seat {
        const AGAIN: Duration = Duration::from_millis(50);
        loop {
            let seat = Arc::clone(&self.seats).acquire_owned();
            // The semaphore is never closed; and a connection without a permit would still be bounded in time.
            if let Ok(permit) = timeout(AGAIN, seat).await {
                return Seat {
                    is_among_few: self.at_once - self.seats.available_permits() <= Limits::FEW,
                    full: Arc::clone(&self.full),
                    _permit: permit.ok(),
                };
            }
            self.full.notify_waiters();
        }
    }
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    is_among_few: bool,
    full: Arc<Notify>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Seat {
    /// Bytes that the kernel may take ahead of this reader.
    pub(super) const fn ahead(&self) -> usize {
        let (few, rest) = Limits::AHEAD;
        if self.is_among_few { few } else { rest }
    }

    /// Waits until somebody else needs it.
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

/// A stream whose steps have their time. What a client sends or takes buys it none.
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

    /// True while nothing is under way on it.
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
            self.in_time(cx)?; // so that the new end wakes this task too
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

    // Else hyper copies each answer into a buffer of the connection.
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
