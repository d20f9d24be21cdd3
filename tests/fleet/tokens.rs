//! Agents that require a token: castoff requests a token that only agents accept, and gives the reason if it gets none.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use castoff_tests::fake::api::{FakeApi, Fault, Seen};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{Person, Ran};

/// An API server with `nodes` agents that let only `reader` in.
async fn guarded(nodes: usize, reader: &str) -> Result<FakeApi> {
    let api = FakeApi::start().await?;
    {
        let fleet = &mut api.script().fleet;
        fleet.reader = Some(reader.to_owned());
        (0..nodes).for_each(|at| fleet.add(&format!("node-{at:02}")));
    }
    Ok(api)
}

fn requests_for_tokens(api: &FakeApi) -> Vec<Seen> {
    let seen = api.script().seen.clone();
    seen.into_iter().filter(|seen| seen.method == "POST").collect()
}

#[tokio::test]
async fn agents_that_require_a_token_get_one_that_only_agents_accept() -> Result<()> {
    let api = guarded(20, "castoff-reader").await?;
    let ran = Person::of(&api)?.run(&["-o", "json", "--concurrency", "3"]).await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let requested = requests_for_tokens(&api);
    assert_eq!(requested.len(), 1, "{requested:?}");
    let path = "/api/v1/namespaces/castoff/serviceaccounts/castoff-reader/token";
    assert_eq!(requested[0].uri, path);
    let body: Value = serde_json::from_str(&requested[0].body)?;
    let spec = json!({ "audiences": ["castoff"], "expirationSeconds": 600 });
    assert_eq!(body["spec"], spec);
    let seen = api.script().seen.clone();
    let carried = |seen: &Seen| {
        seen.headers
            .get("x-castoff-token")
            .is_some_and(|token| token == "issued-0")
    };
    let proxied: Vec<&Seen> = seen.iter().filter(|seen| seen.uri.contains("/proxy/")).collect();
    assert_eq!(proxied.iter().filter(|seen| carried(seen)).count(), 20);
    assert!(
        proxied.len() <= 23,
        "the later agents are asked once: {}",
        proxied.len()
    );
    assert!(
        seen.iter()
            .all(|seen| seen.uri.contains("/proxy/") || !seen.headers.contains_key("x-castoff-token")),
        "the token goes to agents only"
    );
    assert!(!ran.out.contains("issued-0"), "the token is printed");
    Ok(())
}

#[tokio::test]
async fn the_account_is_the_one_that_is_named() -> Result<()> {
    let api = guarded(1, "watch-reader").await?;
    let person = Person::of(&api)?;
    assert_eq!(person.run(&[]).await?.code, Some(0), "the pods name it");
    assert_eq!(person.run(&["--reader", "watch-reader"]).await?.code, Some(0));
    let ran = person.run(&["--reader", "other", "-o", "json"]).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.row("node-00")?["reason"]
            .to_string()
            .contains("no service account other"),
        "{ran:?}"
    );
    for wrong in ["../other", "a/b", ""] {
        assert_eq!(person.run(&["--reader", wrong]).await?.code, Some(64), "{wrong}");
    }
    Ok(())
}

/// The row of a node whose agent requires a token, where the request for one fails like this.
async fn failing(fault: Fault) -> Result<(Ran, FakeApi)> {
    let api = guarded(9, "castoff-reader").await?;
    api.script().on.push(("/serviceaccounts/", fault));
    let ran = Person::of(&api)?.run(&["-o", "json", "--concurrency", "2"]).await?;
    Ok((ran, api))
}

#[tokio::test]
async fn without_a_token_each_row_says_why_and_what_to_do() -> Result<()> {
    for (fault, words) in [
        (
            Fault::status(403, "cannot create resource \"serviceaccounts/token\""),
            "you need the right to create serviceaccounts/token for castoff-reader in namespace castoff",
        ),
        (Fault::status(404, "not found"), "has no service account castoff-reader"),
        (Fault::html(200), "text/html"),
    ] {
        let (ran, api) = failing(fault).await?;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        for node in ["node-00", "node-08"] {
            let row = ran.row(node)?;
            assert_eq!(
                (&row["verdict"], &row["doubt"]),
                (&json!("unknown"), &json!("unauthenticated"))
            );
            let reason = row["reason"].as_str().context("a reason")?;
            assert!(
                reason.starts_with("the agent requires a token, and ") && reason.contains(words),
                "{reason}"
            );
        }
        assert_eq!(requests_for_tokens(&api).len(), 1, "a refusal holds for all agents");
        let notes = ran.json()?["summary"]["notes"].to_string();
        assert!(notes.contains("9 agents require a token"), "{notes}");
    }
    Ok(())
}

#[tokio::test]
async fn a_delayed_request_for_a_token_is_repeated() -> Result<()> {
    for fault in [Fault::status(429, "later"), Fault::status(500, "leader changed")] {
        let (ran, _) = failing(fault).await?;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_by_the_api_server_is_not_a_request_for_a_token() -> Result<()> {
    let api = guarded(1, "castoff-reader").await?;
    for code in [401, 403] {
        api.script()
            .on
            .push(("/proxy/", Fault::status(code, "cannot get resource \"pods/proxy\"")));
        let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
        assert!(
            ran.row("node-00")?["reason"].to_string().contains("pods/proxy"),
            "{ran:?}"
        );
    }
    assert!(requests_for_tokens(&api).is_empty());
    Ok(())
}

/// Like an agent of an older version, which does not know the header.
#[tokio::test]
async fn an_agent_that_refuses_the_token_is_reported() -> Result<()> {
    let api = guarded(1, "castoff-reader").await?;
    let refused = Fault::Answer {
        status: 403,
        headers: Vec::new(),
        body: "this account may not get this path".to_owned(),
    };
    api.script()
        .on
        .extend([("/proxy/", refused.clone()), ("/proxy/", refused)]);
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    let row = ran.row("node-00")?;
    assert_eq!(row["doubt"], "unauthenticated");
    let reason = row["reason"].to_string();
    assert!(
        reason.contains("the agent refuses the token") && reason.contains("may not get this path"),
        "{reason}"
    );
    Ok(())
}

#[tokio::test]
async fn a_watch_keeps_its_token_from_look_to_look() -> Result<()> {
    let api = guarded(2, "castoff-reader").await?;
    let person = Person::of(&api)?;
    let mut command = person.command(&["--watch", "--interval", "100ms"])?;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let read = tokio::time::timeout(Duration::from_secs(30), async {
        let mut looks = 0;
        while let Some(line) = lines.next_line().await? {
            looks += usize::from(line.contains("2 nodes in"));
            if looks == 4 {
                break;
            }
        }
        Ok::<_, std::io::Error>(looks)
    });
    assert_eq!(read.await??, 4);
    assert_eq!(requests_for_tokens(&api).len(), 1);
    Ok(())
}
