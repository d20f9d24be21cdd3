//! Accounts that the API server knows.

use std::time::Duration;

use anyhow::Result;
use castoff_tests::fake::api::FakeApi;
use serde_json::{Value, json};

use super::{LONG, Pages, REVIEWS};

#[tokio::test]
async fn pages_need_a_right_and_probes_do_not() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script()
        .reviews
        .allow("prometheus", "system:serviceaccount:m:p", &["/metrics"]);
    api.script()
        .reviews
        .allow("person", "ada", &["/", "/metrics", "/report"]);
    let pages = Pages::of_an_agent(&api).await?;
    for (path, token, status) in [
        ("/metrics", "prometheus", 200),
        ("/", "prometheus", 403),
        ("/api/v1/report", "prometheus", 403),
        ("/metrics?x=/", "prometheus", 200),
        ("/", "person", 200),
        ("/metrics", "stranger", 401),
        ("/livez", "stranger", 200),
        ("/nothing", "stranger", 404),
    ] {
        let (got, answer) = pages.get(path, token).await?;
        assert_eq!(got, status, "{path} for {token}: {answer}");
    }
    for path in ["/", "/metrics", "/api/v1/report"] {
        let (status, answer) = pages.ask(path, "").await?;
        assert_eq!(status, 401, "{path}");
        assert!(
            answer.to_lowercase().contains("\r\nwww-authenticate: bearer\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("verdict") && !answer.contains("castoff_"), "{answer}");
    }
    for path in ["/livez", "/readyz"] {
        assert!(
            [200, 503].contains(&pages.ask(path, "").await?.0),
            "{path} needs no token"
        );
    }
    Ok(())
}

#[tokio::test]
async fn identity_and_right_are_reviewed_once_a_minute() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().reviews.allow("secret", "ada", &["/metrics"]);
    let pages = Pages::remembering(&api, LONG, LONG).await?;
    for _ in 0..10 {
        assert_eq!(pages.get("/metrics", "secret").await?.0, 200);
        assert_eq!(pages.get("/", "secret").await?.0, 403);
    }
    let seen = api.script().seen.clone();
    let uris: Vec<&str> = seen.iter().map(|seen| seen.uri.as_str()).collect();
    assert_eq!(uris, [REVIEWS, REVIEWS].concat(), "one pair for each path");
    let bodies: Vec<Value> = seen
        .iter()
        .filter_map(|seen| serde_json::from_str(&seen.body).ok())
        .collect();
    assert_eq!(bodies[0]["spec"], json!({ "token": "secret" }));
    let asked = &bodies[1]["spec"];
    assert_eq!(
        asked["nonResourceAttributes"],
        json!({ "path": "/metrics", "verb": "get" })
    );
    assert_eq!((&asked["user"], &asked["uid"]), (&json!("ada"), &json!("uid-of-ada")));
    assert_eq!(asked["groups"], json!(["system:authenticated"]));
    assert_eq!(
        asked["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["prometheus-0"])
    );
    assert!(!seen[1].body.contains("secret"));
    assert!(seen.iter().all(|seen| seen.headers["authorization"] == "Bearer agent"));
    Ok(())
}

#[tokio::test]
async fn answers_are_cached_for_a_limited_time() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().reviews.allow("one", "ada", &["/metrics"]);
    let pages = Pages::remembering(&api, Duration::from_millis(300), Duration::from_millis(300)).await?;
    assert_eq!(pages.get("/metrics", "one").await?.0, 200);
    assert_eq!(pages.get("/metrics", "two").await?.0, 401);
    api.script().reviews.withdraw("one");
    api.script().reviews.allow("two", "eve", &["/metrics"]);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(pages.get("/metrics", "one").await?.0, 401);
    assert_eq!(pages.get("/metrics", "two").await?.0, 200);
    Ok(())
}
