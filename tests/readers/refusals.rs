//! An API server that does not answer, and invalid readers: without an answer every reader is refused.

use std::time::{Duration, Instant};

use anyhow::Result;
use castoff_tests::fake::api::{FakeApi, Fault};
use tokio::task::JoinSet;

use super::{LONG, Pages, ask};

#[tokio::test]
async fn without_the_api_servers_answer_every_reader_is_refused() -> Result<()> {
    let mut api = FakeApi::start().await?;
    api.script().reviews.allow("one", "ada", &["/metrics"]);
    let pages = Pages::remembering(&api, Duration::ZERO, Duration::ZERO).await?;
    assert_eq!(pages.get("/metrics", "one").await?.0, 200);
    let json = |body: &str| Fault::Answer {
        status: 201,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.to_owned(),
    };
    for fault in [
        Fault::status(500, "etcd is away"),
        Fault::status(403, "tokenreviews is forbidden"),
        Fault::status(401, "Unauthorized"),
        Fault::status(429, "later"),
        Fault::html(200),
        Fault::CutOff,
        Fault::Flood,
        json("{}"),
        json("{\"status\":7}"),
        json("[true]"),
        json("{\"status\":{\"authenticated\":\"yes\",\"allowed\":\"yes\"}}"),
    ] {
        api.script().always = Some(fault.clone());
        let (status, answer) = pages.get("/metrics", "one").await?;
        assert_eq!(status, 503, "{fault:?}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nretry-after: 5\r\n"), "{answer}");
        assert_eq!(pages.get("/livez", "one").await?.0, 200);
    }
    // A user without a name does not count, and `allowed` together with `denied` is a refusal.
    for status in [
        "{\"authenticated\":true}",
        "{\"authenticated\":true,\"allowed\":true,\"user\":{\"username\":\"\"}}",
        "{\"authenticated\":true,\"allowed\":true,\"denied\":true,\"user\":{\"username\":\"ada\"}}",
        "{}",
    ] {
        api.script().always = Some(json(&format!("{{\"status\":{status}}}")));
        assert!([401, 403].contains(&pages.get("/metrics", "one").await?.0), "{status}");
    }
    api.script().always = None;
    assert_eq!(pages.get("/metrics", "one").await?.0, 200);
    api.stop();
    assert_eq!(pages.get("/metrics", "one").await?.0, 503);
    api.come_back().await?;
    assert_eq!(pages.get("/metrics", "one").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_silent_api_server_delays_a_reader_by_a_few_seconds_at_most() -> Result<()> {
    let api = FakeApi::start().await?;
    let pages = Pages::remembering(&api, LONG, LONG).await?;
    api.script().always = Some(Fault::Silence);
    let start = Instant::now();
    let mut readers = JoinSet::new();
    for n in 0..12 {
        let address = pages.address;
        readers.spawn(async move { ask(address, "/metrics", &format!("Authorization: Bearer token-{n}\r\n")).await });
    }
    while let Some(answer) = readers.join_next().await {
        assert_eq!(answer??.0, 503);
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(api.script().seen.len() <= 4, "no more than so many questions at once");
    Ok(())
}

#[tokio::test]
async fn an_impossible_token_is_refused_without_a_review() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().reviews.allow("one", "ada", &["/metrics"]);
    let pages = Pages::remembering(&api, LONG, LONG).await?;
    let long = format!("Authorization: Bearer {}\r\n", "x".repeat(9 << 10));
    for headers in [
        "Authorization: Basic b25lOm9uZQ==\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: one\r\n",
        "Authorization: Bearer one two\r\n",
        "Authorization: Bearer \"one\"\r\n",
        "Authorization: Bearer on\u{e9}\r\n",
        "Authorization: Bearer one\r\nAuthorization: Bearer one\r\n",
        "X-Forwarded-User: ada\r\nX-Remote-User: ada\r\n",
        "Cookie: token=one\r\n",
        &long,
    ] {
        let (status, answer) = pages.ask("/metrics", headers).await?;
        assert_eq!(status, 401, "{headers:.80}: {answer}");
    }
    assert_eq!(pages.ask("/metrics?token=one&access_token=one", "").await?.0, 401);
    assert!(api.script().seen.is_empty());
    assert_eq!(pages.ask("/metrics", "authorization: bearer one\r\n").await?.0, 200);
    Ok(())
}
