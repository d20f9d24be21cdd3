//! Limits of connections, with clients that exceed them, over real TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(20);
const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: n\r\n\r\n";
/// More than the kernel buffers for a reader that does not read.
const LARGE: usize = 16 << 20;

const SHORT: Limits = Limits {
    at_once: 64,
    waiting: Duration::from_millis(600),
    reading: Duration::from_millis(300),
    answering: Duration::from_millis(500),
};

/// A server with `limits`: `/` is small, `/large` is not, and `/read` reads the request's body.
async fn serving(limits: Limits) -> SocketAddr {
    let (listener, address) = listen().await;
    let large = Bytes::from(vec![b'x'; LARGE]);
    let router = Router::new()
        .route("/", get(async || "ok"))
        .route("/large", get(async move || large.clone()));
    let server = Server { limits, tls: None };
    tokio::spawn(server.serve(listener, router, std::future::pending(), Duration::ZERO));
    address
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

/// Returns the answer to `sent`, until the server closes.
async fn whole(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = connect(address).await;
    let _ = stream.write_all(sent).await; // a server may close before all is sent
    rest(&mut stream).await
}

/// Returns the bytes that still arrive until the server closes, which it must; a reset is a close too.
async fn rest(stream: &mut TcpStream) -> String {
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    let read = async {
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            answer.extend_from_slice(&bytes[..length]);
        }
    };
    timeout(LONG, read).await.expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request on a connection that stays open.
async fn ask(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(ASK).await?;
    let mut answer = [0; 512];
    let length = timeout(LONG, stream.read(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

async fn answers(address: SocketAddr) -> bool {
    let mut stream = connect(address).await;
    ask(&mut stream)
        .await
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[tokio::test]
async fn half_a_request_is_cut_off_however_slowly_it_arrives() {
    let address = serving(SHORT).await;
    let start = Instant::now();
    let mut slow = connect(address).await;
    let trickle = async {
        // The reset of a closed connection arrives at the next write at the latest.
        while slow.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, trickle).await.expect("it is cut off");
    assert!(start.elapsed() >= SHORT.reading);
    let mut half = connect(address).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: n\r\nX-Slow: ")
        .await
        .expect("sent");
    assert_eq!(rest(&mut half).await, "");
}

#[tokio::test]
async fn an_answer_is_cut_off_however_slowly_it_is_read() {
    let address = serving(SHORT).await;
    for sips in [false, true] {
        let mut slow = connect(address).await;
        slow.write_all(b"GET /large HTTP/1.1\r\nHost: n\r\n\r\n")
            .await
            .expect("sent");
        let end = tokio::time::Instant::now() + 3 * SHORT.answering;
        let mut taken = 0;
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if sips {
                taken += slow.read(&mut [0; 1024]).await.unwrap_or(0);
            }
        }
        assert!(answers(address).await, "others are served meanwhile");
        let left = rest(&mut slow).await;
        assert!(taken + left.len() < LARGE, "all {LARGE} bytes were delivered");
    }
}

#[tokio::test]
async fn a_used_connection_stays_and_an_idle_one_is_closed() {
    let address = serving(SHORT).await;
    let mut kept = connect(address).await;
    for _ in 0..5 {
        assert!(ask(&mut kept).await.expect("an answer").starts_with("HTTP/1.1 200"));
        tokio::time::sleep(SHORT.waiting / 2).await;
    }
    let start = Instant::now();
    assert_eq!(rest(&mut kept).await, "");
    assert!(start.elapsed() < LONG / 2);
    assert_eq!(rest(&mut connect(address).await).await, "", "nor one that never asked");
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let address = serving(Limits::of_this_process()).await;
    let long = format!("GET / HTTP/1.1\r\nHost: n\r\nX: {}\r\n\r\n", "x".repeat(Limits::HEAD));
    let path = format!("GET /{} HTTP/1.1\r\nHost: n\r\n\r\n", "x".repeat(Limits::HEAD));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(Limits::HEADERS + 1));
    for head in [long, path, many] {
        let answer = whole(address, head.as_bytes()).await;
        // A server that stops reading may lose its answer with the reset.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let most = format!(
        "GET / HTTP/1.1\r\nHost: n\r\nX: {}\r\n\r\n",
        "x".repeat(Limits::HEAD - 1024)
    );
    let mut stream = connect(address).await;
    stream.write_all(most.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn garbage_after_a_request_ends_the_connection_after_its_answer() {
    let address = serving(Limits::of_this_process()).await;
    let answer = whole(
        address,
        b"GET / HTTP/1.1\r\nHost: n\r\n\r\nGET / HTTP/1.1\r\nHost: n\r\n\r\n\0\xff garbage\r\n\r\n",
    )
    .await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{answer}");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], // a TLS greeting
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = timeout(LONG, whole(address, garbage)).await.expect("it closes");
        assert!(!answer.contains("200 OK"), "{garbage:?}: {answer}");
    }
    assert!(answers(address).await);
}

#[tokio::test]
async fn a_body_is_never_read() {
    let address = serving(SHORT).await;
    for head in ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"] {
        let mut stream = connect(address).await;
        let head = format!("GET / HTTP/1.1\r\nHost: n\r\n{head}\r\n\r\n5\r\nhello\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let send = async { while stream.write_all(&[b'x'; 8192]).await.is_ok() {} };
        timeout(LONG, send).await.expect("it closes and reads no terabyte");
    }
    assert!(answers(address).await);
}

#[tokio::test]
async fn a_thousand_connections_block_no_probe() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as many as it may");
    let room = limit.current.is_none_or(|n| n > 2500);
    let limits = Limits::of_this_process();
    assert!(
        room && limits.at_once == 1024,
        "this machine gives a process too few descriptors for this test"
    );
    let address = serving(limits).await;
    let mut open = Vec::new();
    // More than the limit: idle ones give way.
    for _ in 0..1100 {
        open.push(connect(address).await);
    }
    let start = Instant::now();
    assert!(answers(address).await);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_new_connection_replaces_an_idle_one_and_no_other() {
    let limits = Limits {
        at_once: 2,
        waiting: LONG,
        reading: LONG,
        answering: LONG,
    };
    let address = serving(limits).await;
    let mut busy = connect(address).await;
    busy.write_all(b"GET /large HTTP/1.1\r\nHost: n\r\n\r\n")
        .await
        .expect("sent");
    let mut idle = connect(address).await;
    assert!(ask(&mut idle).await.is_ok());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        ask(&mut idle).await.is_ok(),
        "it stays while no other connection needs its slot"
    );
    let start = Instant::now();
    assert!(answers(address).await);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(rest(&mut idle).await, "", "it has made way");
    let mut bytes = vec![0; LARGE];
    timeout(LONG, busy.read_exact(&mut bytes))
        .await
        .expect("in time")
        .expect("whole");
}

#[tokio::test]
async fn half_requests_hold_a_slot_only_until_their_timeout() {
    let address = serving(Limits { at_once: 4, ..SHORT }).await;
    let mut halves = Vec::new();
    for _ in 0..4 {
        let mut half = connect(address).await;
        half.write_all(b"GET / HT").await.expect("sent");
        halves.push(half);
    }
    let start = Instant::now();
    assert!(answers(address).await);
    assert!(start.elapsed() < 10 * SHORT.reading, "{:?}", start.elapsed());
}

/// A text that counts its holders.
struct Counted(Arc<Vec<u8>>, Arc<AtomicUsize>);

impl Counted {
    fn new(text: &Arc<Vec<u8>>, holders: &Arc<AtomicUsize>) -> Self {
        holders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(text), Arc::clone(holders))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[tokio::test]
async fn slow_readers_hold_the_text_itself_and_no_copy_of_it() {
    const READERS: usize = 50;
    let (listener, address) = listen().await;
    let (text, holders) = (Arc::new(vec![b'x'; LARGE]), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&holders);
    let router = Router::new().route("/", get(async move || Bytes::from_owner(Counted::new(&text, &counted))));
    let server = Server {
        limits: Limits::of_this_process(),
        tls: None,
    };
    tokio::spawn(server.serve(listener, router, std::future::pending(), Duration::ZERO));
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = connect(address).await;
        reader.write_all(ASK).await.expect("sent");
        // The answer has begun. The part that does not fit into the kernel's buffer is held.
        reader.read_exact(&mut [0; 12]).await.expect("it begins");
        readers.push(reader);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(holders.load(Ordering::Relaxed), READERS);
    drop(readers);
    let gone = async {
        while holders.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone)
        .await
        .expect("a reader that has disconnected holds nothing");
}

#[tokio::test]
async fn the_kernel_buffers_little_of_an_unread_answer() {
    let address = serving(SHORT).await;
    let mut others = Vec::new();
    for _ in 0..Limits::FEW {
        others.push(connect(address).await);
    }
    let reader = TcpSocket::new_v4().expect("a socket");
    reader.set_recv_buffer_size(4 << 10).expect("a small buffer of its own");
    let mut reader = reader.connect(address).await.expect("it listens");
    reader
        .write_all(b"GET /large HTTP/1.1\r\nHost: n\r\n\r\n")
        .await
        .expect("sent");
    tokio::time::sleep(4 * SHORT.answering).await;
    // The server has given up: the remaining bytes are those that the kernel has taken.
    let kept = rest(&mut reader).await.len();
    assert!(kept < 128 << 10, "{kept} bytes");
}
