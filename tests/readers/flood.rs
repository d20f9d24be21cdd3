//! Unknown tokens, by the hundred.

use std::time::{Duration, Instant};

use anyhow::Result;
use castoff_tests::fake::api::FakeApi;
use tokio::task::JoinSet;

use super::{LONG, Pages, REVIEWS, ask};

const FLOOD: usize = 400;

#[tokio::test]
async fn a_flood_of_unknown_tokens_neither_reaches_the_api_server_nor_locks_out_a_known_reader() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().reviews.allow("one", "ada", &["/metrics"]);
    // An allowed answer expires many times during the flood, so that the reader has to be reviewed again.
    let pages = Pages::remembering(&api, Duration::from_millis(100), LONG).await?;
    assert_eq!(pages.get("/metrics", "one").await?.0, 200);
    let start = Instant::now();
    let mut strangers = JoinSet::new();
    for n in 0..FLOOD {
        let address = pages.address;
        // The bounds hold for both headers together.
        let header = ["Authorization: Bearer", "X-Castoff-Token:"][n % 2];
        strangers.spawn(async move { ask(address, "/metrics", &format!("{header} bogus-{n}\r\n")).await });
    }
    let (mut refused, mut answered) = (0, 0);
    while answered < FLOOD || start.elapsed() < Duration::from_millis(500) {
        assert_eq!(pages.get("/metrics", "one").await?.0, 200, "after {answered} strangers");
        while let Some(answer) = strangers.try_join_next() {
            let (status, answer) = answer??;
            assert!([401, 429, 503].contains(&status), "{answer}");
            if status == 429 {
                assert!(answer.to_lowercase().contains("\r\nretry-after: 5\r\n"), "{answer}");
                refused += 1;
            }
            answered += 1;
        }
    }
    let bogus = |api: &FakeApi| {
        let seen = &api.script().seen;
        let reviewed = seen
            .iter()
            .filter(|seen| seen.uri == REVIEWS[0] && seen.body.contains("bogus"));
        reviewed.count()
    };
    let asked = bogus(&api);
    let allowed = 20 + 2 * usize::try_from(start.elapsed().as_secs() + 1)?;
    assert!(
        asked <= allowed,
        "{asked} of {FLOOD} reached the API server, {allowed} may"
    );
    assert!(asked > 0 && refused > FLOOD / 2, "{asked} asked, {refused} refused");
    // A new reader is allowed as soon as the flood is over.
    api.script().reviews.allow("two", "eve", &["/metrics"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pages.get("/metrics", "two").await?.0, 200);
    Ok(())
}
