//! Sockets that are no gRPC server, and connections that break off.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// The behaviour of a broken server on a connection.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Never accepts.
    Deaf,
    /// Accepts, reads, and never answers.
    Mute,
    /// Sends these bytes at once and keeps the connection open.
    Says(Vec<u8>),
    /// Sends these bytes at once and closes.
    SaysAndCloses(Vec<u8>),
}

/// A server on a Unix socket that speaks no CRI. Stops when it is dropped.
#[derive(Debug)]
pub struct Broken {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Kept open, and never accepted from.
    _deaf: Option<UnixListener>,
}

impl Broken {
    /// Serves at `path`.
    pub fn start(path: impl Into<PathBuf>, manner: Manner) -> io::Result<Self> {
        let path = path.into();
        let listener = UnixListener::bind(&path)?;
        let stop = Arc::new(AtomicBool::new(false));
        if matches!(manner, Manner::Deaf) {
            return Ok(Self {
                path,
                stop,
                thread: None,
                _deaf: Some(listener),
            });
        }
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
                kept.extend(stream.ok().and_then(|stream| treat(stream, &manner)));
            }
        });
        Ok(Self {
            path,
            stop,
            thread: Some(thread),
            _deaf: None,
        })
    }

    /// Returns its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // One more connection, so that the thread sees that it must stop.
            drop(UnixStream::connect(&self.path));
            drop(thread.join());
        }
    }
}

/// Returns the connection if it is to be kept open.
fn treat(mut stream: UnixStream, manner: &Manner) -> Option<UnixStream> {
    match manner {
        Manner::Deaf | Manner::Mute => Some(stream),
        // It does not matter if the client is gone already.
        Manner::Says(bytes) => stream.write_all(bytes).is_ok().then_some(stream),
        Manner::SaysAndCloses(bytes) => {
            // Reads first: closing with unread bytes would discard the sent ones.
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(bytes));
            None
        }
    }
}

/// A connection that ends after this number of bytes to the client.
#[derive(Debug)]
pub(super) struct Cut {
    stream: tokio::net::UnixStream,
    left: Option<usize>,
}

impl Cut {
    pub(super) const fn new(stream: tokio::net::UnixStream, left: Option<usize>) -> Self {
        Self { stream, left }
    }
}

impl Connected for Cut {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let limit = self.left.unwrap_or(buf.len()).min(buf.len());
        if limit == 0 && !buf.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..limit]);
        if let (Poll::Ready(Ok(written)), Some(left)) = (&written, &mut self.left) {
            *left -= written;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
