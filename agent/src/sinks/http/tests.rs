//! Requests to the router, and the server's shutdown over real TCP.

mod limits;
mod tls;

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::*;
use crate::sinks::sample;
use crate::sinks::views::metrics::Build;

fn published(report: Option<Report>) -> (watch::Sender<Option<Arc<Report>>>, Published) {
    let (sender, reports) = watch::channel(report.map(Arc::new));
    let published = Published {
        reports,
        labels: None,
        events: None,
        cycles: Arc::default(),
        liveness: Arc::new(Liveness::new(Duration::from_secs(60), Instant::now())),
        metrics: Arc::new(Metrics::new(Build::current())),
    };
    (sender, published)
}

async fn ask(published: &Published, method: Method, path: &str) -> (StatusCode, Response<()>, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .expect("a request");
    let response = router(published.clone(), None)
        .oneshot(request)
        .await
        .expect("a router never fails");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let body = String::from_utf8(body.to_vec()).expect("text");
    (parts.status, Response::from_parts(parts, ()), body)
}

#[tokio::test]
async fn before_the_first_report_it_is_alive_and_not_ready() {
    let (sender, published) = published(None);
    for (path, status) in [
        ("/", 200),
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 503),
        ("/api/v1/report", 503),
        ("/nothing", 404),
        ("/metrics/", 404),
        ("/../etc/passwd", 404),
    ] {
        assert_eq!(ask(&published, Method::GET, path).await.0, status, "{path}");
    }
    assert_eq!(ask(&published, Method::GET, "/readyz").await.2, NO_REPORT);
    sender.send_replace(Some(Arc::new(sample::report())));
    for path in ["/readyz", "/api/v1/report"] {
        assert_eq!(ask(&published, Method::GET, path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn each_page_has_its_media_type_and_a_strict_policy() {
    let (_sender, published) = published(Some(sample::report()));
    for (path, content_type, holds) in [
        ("/", "text/html; charset=utf-8", "</span>in-use</p>"),
        (
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "castoff_node_verdict{verdict=\"in-use\"} 1\n",
        ),
        ("/livez", "text/plain; charset=utf-8", "ok\n"),
        ("/api/v1/report", "application/json", "\"verdict\":\"in-use\""),
        ("/nothing", "text/plain; charset=utf-8", "no such page\n"),
    ] {
        let (_, head, body) = ask(&published, Method::GET, path).await;
        assert_eq!(head.headers()[header::CONTENT_TYPE], content_type, "{path}");
        assert_eq!(head.headers()[header::CONTENT_SECURITY_POLICY], POLICY, "{path}");
        assert_eq!(head.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert!(body.contains(holds), "{path}: {body}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let (_sender, published) = published(Some(sample::report()));
    for path in ["/", "/metrics", "/livez", "/readyz", "/api/v1/report"] {
        let (status, head, body) = ask(&published, Method::HEAD, path).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""), "{path}");
        assert!(head.headers().contains_key(header::CONTENT_TYPE));
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let (status, head, _) = ask(&published, method, path).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(head.headers()[header::ALLOW], "GET,HEAD");
        }
    }
}

#[tokio::test]
async fn a_cycle_without_progress_is_not_alive_and_reports_its_age() {
    let (_sender, mut published) = published(Some(sample::report()));
    published.liveness = Arc::new(Liveness::new(Duration::ZERO, Instant::now()));
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (status, _, body) = ask(&published, Method::GET, "/livez").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "no look at the processes has ended for 0 s; the bound is 0 s\n");
}

#[tokio::test]
async fn counters_survive_a_cycle_that_panicked() {
    let (_sender, published) = published(None);
    let cycles = Arc::clone(&published.cycles);
    let poison = std::thread::spawn(move || {
        let mut cycles = cycles.lock().expect("no other test has it");
        cycles.record_cycle(&sample::clear(), Duration::from_millis(1), 0);
        panic!("on purpose, with the lock held");
    });
    assert!(poison.join().is_err());
    let (status, _, body) = ask(&published, Method::GET, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("castoff_cycles_total 1\n"));
}

fn server() -> Server {
    Server {
        limits: Limits::of_this_process(),
        tls: None,
    }
}

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

#[tokio::test]
async fn it_answers_over_tcp_and_ends_at_shutdown() {
    let (_sender, published) = published(Some(sample::report()));
    let (listener, address) = listen().await;
    let (stop, stopped) = oneshot_pair();
    let server = tokio::spawn(server().serve(listener, router(published, None), stopped, Duration::from_secs(5)));
    let mut client = TcpStream::connect(address).await.expect("it listens");
    client
        .write_all(b"GET /livez HTTP/1.1\r\nHost: n\r\n\r\n")
        .await
        .expect("it reads");
    let mut head = [0; 15];
    client.read_exact(&mut head).await.expect("it answers");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // The connection is kept alive and idle: it must not delay the shutdown.
    stop.send(()).expect("it runs");
    let ended = server.await.expect("it does not panic");
    assert_eq!(ended, Drained::All);
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn an_unfinished_request_delays_shutdown_no_longer_than_the_grace_period() {
    let (_sender, published) = published(Some(sample::report()));
    let (listener, address) = listen().await;
    let (stop, stopped) = oneshot_pair();
    let server = tokio::spawn(server().serve(listener, router(published, None), stopped, Duration::from_millis(50)));
    let mut client = TcpStream::connect(address).await.expect("it listens");
    client
        .write_all(b"GET /livez HTTP/1.1\r\nHost: n\r\nX-Slow: ")
        .await
        .expect("it reads");
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.send(()).expect("it runs");
    let ended = tokio::time::timeout(Duration::from_secs(5), server).await;
    let ended = ended.expect("within the grace").expect("it does not panic");
    assert_eq!(ended, Drained::CutOff);
}

fn oneshot_pair() -> (tokio::sync::oneshot::Sender<()>, impl Future<Output = ()>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    (sender, async move {
        let _ = receiver.await;
    })
}
