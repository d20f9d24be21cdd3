//! Tokens that are for agents only, in the header that the API server's pod proxy passes on.

use anyhow::Result;
use castoff_tests::fake::api::{FakeApi, Fault};
use serde_json::{Value, json};

use super::{LONG, Pages};

impl Pages {
    async fn show(&self, token: &str) -> Result<(u16, String)> {
        self.ask("/metrics", &format!("X-Castoff-Token: {token}\r\n")).await
    }
}

/// An API server on which ada may read: with `own`, a token for agents, and with `other`, one for the API server itself.
async fn api() -> Result<FakeApi> {
    let api = FakeApi::start().await?;
    for token in ["own", "other"] {
        api.script().reviews.allow(token, "ada", &["/metrics"]);
    }
    api.script().reviews.bind("own", "castoff");
    Ok(api)
}

#[tokio::test]
async fn a_token_for_agents_is_accepted_in_its_own_header_only() -> Result<()> {
    let api = api().await?;
    let pages = Pages::remembering(&api, LONG, LONG).await?;
    assert_eq!(pages.show("own").await?.0, 200);
    let reviewed: Value = serde_json::from_str(&api.script().seen[0].body)?;
    assert_eq!(reviewed["spec"], json!({ "token": "own", "audiences": ["castoff"] }));
    assert_eq!(
        pages.get("/metrics", "own").await?.0,
        401,
        "what was accepted there does not count here"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_for_anybody_else_is_refused_there_even_if_it_was_accepted_elsewhere() -> Result<()> {
    let api = api().await?;
    let pages = Pages::remembering(&api, LONG, LONG).await?;
    assert_eq!(pages.get("/metrics", "other").await?.0, 200);
    let (status, answer) = pages.show("other").await?;
    assert_eq!(status, 401, "{answer}");
    // An API server that does not know audiences reviews the token, and names none.
    for audiences in ["", ",\"audiences\":[]", ",\"audiences\":[\"https://kubernetes\"]"] {
        let pages = Pages::remembering(&api, LONG, LONG).await?;
        let body = format!("{{\"status\":{{\"authenticated\":true,\"user\":{{\"username\":\"ada\"}}{audiences}}}}}");
        let headers = vec![("content-type", "application/json".to_owned())];
        api.script().next.push_back(Fault::Answer {
            status: 201,
            headers,
            body,
        });
        assert_eq!(pages.show("own").await?.0, 401, "{audiences}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_with_both_headers_is_judged_by_the_one_for_agents() -> Result<()> {
    let api = api().await?;
    let pages = Pages::remembering(&api, LONG, LONG).await?;
    let both = |own: &str| format!("X-Castoff-Token: {own}\r\nAuthorization: Bearer other\r\n");
    assert_eq!(pages.ask("/metrics", &both("own")).await?.0, 200);
    assert_eq!(pages.ask("/metrics", &both("bogus")).await?.0, 401);
    let reviews = api.script().seen.len();
    for twice in ["own\r\nX-Castoff-Token: own", "", "own own", "\"own\""] {
        assert_eq!(pages.show(twice).await?.0, 401, "{twice}");
    }
    assert_eq!(
        api.script().seen.len(),
        reviews,
        "what cannot be a token is not asked about"
    );
    Ok(())
}
