//! An API server that refuses, breaks off, lets a list expire, sends Retry-After, or is another server.

use std::time::Duration;

use anyhow::Result;
use castoff_tests::fake::api::{FakeApi, Fault, Reply, report_clear};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Person, kubeconfig};

async fn of_nodes(count: usize, page: usize) -> Result<FakeApi> {
    let api = FakeApi::start().await?;
    let mut script = api.script();
    for at in 0..count {
        script.fleet.add(&format!("node-{at:04}"));
    }
    script.fleet.page = page;
    drop(script);
    Ok(api)
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_reported_with_advice() -> Result<()> {
    let cases = [
        (Fault::status(401, "Unauthorized"), "sign in again"),
        (
            Fault::status(403, "nodes is forbidden: User \"u\" cannot list resource"),
            "needs the right to list nodes",
        ),
        (
            Fault::status(404, "the server could not find the requested resource"),
            "HTTP 404",
        ),
        (Fault::status(410, "too old"), "HTTP 410"),
        (Fault::status(500, "etcdserver: leader changed"), "leader changed"),
        (Fault::html(200), "text/html"),
        (Fault::CutOff, "castoff: list"),
        (Fault::Silence, "no answer within 1s"),
    ];
    for list in ["/api/v1/nodes", "/api/v1/namespaces/castoff/pods?"] {
        for (fault, words) in cases.clone() {
            let api = of_nodes(2, usize::MAX).await?;
            api.script().on.push((list, fault));
            let ran = Person::of(&api)?.run(&["--timeout", "1s"]).await?;
            assert_eq!(ran.code, Some(2), "{list} {words}: {ran:?}");
            assert_eq!(ran.out, "", "{list} {words}");
            assert!(
                ran.err.contains(words) && !ran.err.contains('\u{1b}'),
                "{list} {words}: {}",
                ran.err
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_tables_is_refused() -> Result<()> {
    let api = of_nodes(1, usize::MAX).await?;
    let body = json!({ "kind": "NodeList", "metadata": {}, "items": [] }).to_string();
    let headers = vec![("content-type", "application/json".to_owned())];
    api.script().on.push((
        "/api/v1/nodes",
        Fault::Answer {
            status: 200,
            headers,
            body,
        },
    ));
    let ran = Person::of(&api)?.run(&[]).await?;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("NodeList"), "{}", ran.err);
    Ok(())
}

#[tokio::test]
async fn an_expired_list_continues_with_the_servers_token() -> Result<()> {
    let api = of_nodes(20, 4).await?;
    let offers =
        json!({ "kind": "Status", "code": 410, "reason": "Expired", "metadata": { "continue": "8" } }).to_string();
    let headers = vec![("content-type", "application/json".to_owned())];
    let expired = Fault::Answer {
        status: 410,
        headers,
        body: offers,
    };
    api.script().on.push((
        "/api/v1/nodes?limit=250&includeObject=Metadata&continue=8",
        expired.clone(),
    ));
    // Without a continue token everything is read again, and no node appears twice.
    api.script().on.push((
        "includeObject=None&labelSelector=app.kubernetes.io%2Fname%3Dcastoff&continue=8",
        Fault::status(410, "too old"),
    ));
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    assert!(api.script().on.is_empty(), "both have expired");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let summary = &ran.json()?["summary"];
    assert_eq!(
        (&summary["nodes"], &summary["complete"], &summary["doubledNodes"]),
        (&json!(20), &json!(true), &json!(0))
    );
    Ok(())
}

#[tokio::test]
async fn an_interrupted_list_is_incomplete() -> Result<()> {
    let api = of_nodes(8, 4).await?;
    api.script()
        .on
        .push(("includeObject=Metadata&continue=", Fault::status(403, "no more")));
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let summary = &ran.json()?["summary"];
    assert_eq!(
        (&summary["nodes"], &summary["complete"], &summary["strayPods"]),
        (&json!(4), &json!(false), &json!(0))
    );
    assert!(
        summary["notes"].to_string().contains("nodes may be missing"),
        "{summary}"
    );
    Ok(())
}

#[tokio::test]
async fn retry_after_is_respected_by_the_fleet() -> Result<()> {
    let api = of_nodes(3, usize::MAX).await?;
    let throttled = || {
        let headers = vec![
            ("retry-after", "1".to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        Fault::Answer {
            status: 429,
            headers,
            body: "{}".to_owned(),
        }
    };
    api.script().on.extend([
        ("/api/v1/nodes", throttled()),
        ("castoff-node-0001:", throttled()),
        ("castoff-node-0002:", Fault::status(500, "once")),
    ]);
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()?["summary"]["nodes"], 3);
    Ok(())
}

#[tokio::test]
async fn the_limit_of_concurrent_requests_is_respected() -> Result<()> {
    let api = of_nodes(12, usize::MAX).await?;
    for at in 0..12 {
        let node = format!("node-{at:04}");
        let reply = Reply::Fault(Fault::Slow(Duration::from_millis(200), report_clear(&node).to_string()));
        api.script().fleet.answer(&node, reply);
    }
    let person = Person::of(&api)?;
    for (at_once, least) in [("3", 800), ("12", 200)] {
        let start = std::time::Instant::now();
        let ran = person.run(&["-o", "json", "--concurrency", at_once]).await?;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            start.elapsed() >= Duration::from_millis(least),
            "{at_once}: {:?}",
            start.elapsed()
        );
        let took = ran.json()?["summary"]["durationMillis"].as_u64();
        assert!(took >= Some(least), "{took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_come_before_the_slowest_agent_has_answered() -> Result<()> {
    let api = of_nodes(300, 50).await?;
    api.script().fleet.answer("node-0007", Reply::Fault(Fault::Silence));
    let person = Person::of(&api)?;
    let mut command = person.command(&["--timeout", "20s"])?;
    let mut child = command.stdout(std::process::Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().expect("a pipe");
    let mut seen = Vec::new();
    let mut part = [0; 8_192];
    // All but the silent one, long before its deadline; generous for a busy machine.
    let read = tokio::time::timeout(Duration::from_secs(15), async {
        while !String::from_utf8_lossy(&seen).contains("node-0299") {
            let read = out.read(&mut part).await?;
            seen.extend_from_slice(&part[..read]);
        }
        Ok::<_, std::io::Error>(())
    });
    read.await??;
    // A user who interrupts it gets the known rows and a note that they are incomplete.
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().expect("it runs"))?).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    out.read_to_end(&mut seen).await?;
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.contains("299 nodes (not all of them)"), "{text}");
    assert!(text.contains("Stopped before the end"), "{text}");
    assert_eq!(child.wait().await?.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn a_missing_server_is_reported_at_once() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // Half a TLS handshake: whatever it receives, it closes after a few bytes that are not TLS.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 512]).await;
            let _ = stream.write_all(&[0x16, 0x03, 0x03, 0x00]).await;
        }
    });
    for (server, words) in [
        (format!("https://{address}"), "list"),
        ("http://127.0.0.1:1".to_owned(), "Connection refused"),
        ("https://no-such-host.invalid".to_owned(), "list"),
    ] {
        let ran = Person::with(&kubeconfig(&server))?.run(&["--timeout", "5s"]).await?;
        assert_eq!(ran.code, Some(2), "{server}: {ran:?}");
        assert!(
            ran.err.contains(words) && ran.err.contains("kubeconfig's cluster"),
            "{server}: {}",
            ran.err
        );
        assert_eq!(ran.out, "");
    }
    Ok(())
}
