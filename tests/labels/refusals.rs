//! Every failure of the API server is reported by its name and retried at increasing intervals.

use std::time::Duration;

use anyhow::Result;
use castoff::findings::report::Verdict;
use castoff::model::machine::Machine;
use castoff::model::publishing::{Outcome, Verb};
use castoff_tests::fake::api::{FakeApi, Fault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Agent, NODE, VERDICT, a_while, eventually, paces};

fn with(status: u16, header: (&'static str, &str), body: &str) -> Fault {
    Fault::Answer {
        status,
        headers: vec![(header.0, header.1.to_owned())],
        body: body.to_owned(),
    }
}

fn faults() -> Vec<(Fault, Outcome)> {
    let json = ("content-type", "application/json");
    vec![
        (Fault::status(400, "bad request"), Outcome::Rejected),
        (Fault::status(401, "Unauthorized"), Outcome::Unauthenticated),
        (
            Fault::status(403, "nodes \"worker-1\" is forbidden"),
            Outcome::Forbidden,
        ),
        (Fault::status(404, "nodes \"worker-1\" not found"), Outcome::NotFound),
        (Fault::status(409, "the object has been modified"), Outcome::Conflict),
        (Fault::status(422, "invalid"), Outcome::Rejected),
        (Fault::status(429, "too many requests"), Outcome::Throttled),
        (Fault::status(500, "etcd"), Outcome::ServerError),
        (Fault::status(503, "starting"), Outcome::ServerError),
        (Fault::html(200), Outcome::BadAnswer),
        (Fault::html(403), Outcome::Forbidden),
        (Fault::html(502), Outcome::ServerError),
        (
            with(302, ("location", "https://login.example/"), ""),
            Outcome::BadAnswer,
        ),
        (with(204, json, ""), Outcome::BadAnswer),
        (with(200, json, ""), Outcome::BadAnswer),
        (
            with(200, json, "{\"kind\":\"Node\",\"metadata\":{\"name\":\"wor"),
            Outcome::BadAnswer,
        ),
        (with(200, json, "[]"), Outcome::BadAnswer),
        (
            with(200, json, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"worker-1\"}}"),
            Outcome::BadAnswer,
        ),
        (
            with(200, json, "{\"kind\":\"Node\",\"metadata\":{\"name\":\"worker-2\"}}"),
            Outcome::BadAnswer,
        ),
        (
            with(
                200,
                json,
                "{\"kind\":\"Node\",\"metadata\":{\"name\":\"worker-1\",\"labels\":{}}}",
            ),
            Outcome::BadAnswer,
        ),
        (with(200, json, &"[".repeat(100_000)), Outcome::BadAnswer),
        (Fault::CutOff, Outcome::BadAnswer),
        (Fault::Flood, Outcome::BadAnswer),
        (Fault::Silence, Outcome::DeadlineExceeded),
    ]
}

/// True for an answer about the right Node without castoff's labels.
fn wrong_only_after_an_apply(fault: &Fault) -> bool {
    matches!(fault, Fault::Answer { body, .. } if body.contains("\"labels\""))
}

/// Each fault in a read and in a write is named, and ends as soon as the server recovers.
#[tokio::test]
async fn every_refusal_has_its_name_and_ends() -> Result<()> {
    let mut cases = JoinSet::new();
    for (fault, outcome) in faults() {
        // A few at a time: each has its deadlines, and the machine has other work.
        while cases.len() >= 6 {
            cases.join_next().await.transpose()?.transpose()?;
        }
        if !wrong_only_after_an_apply(&fault) {
            cases.spawn(meets(fault.clone(), outcome, Verb::Read));
        }
        cases.spawn(meets(fault, outcome, Verb::Write));
    }
    while let Some(case) = cases.join_next().await {
        case??;
    }
    Ok(())
}

async fn meets(fault: Fault, outcome: Outcome, verb: Verb) -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    let mut agent = Agent::of(&api)?;
    if verb == Verb::Write {
        agent.say(Verdict::InUse);
        agent.published("in-use").await?;
    }
    api.script().always = Some(fault.clone());
    agent.say(Verdict::Clear);
    agent.failing(outcome).await?;
    let state = agent.state();
    let gap = state.labels.gap().expect("what the node has is unknown");
    assert!(gap.to_string().chars().all(|c| !c.is_control()), "{gap}");
    let named = state.requests.iter().any(|r| (r.verb, r.outcome) == (verb, outcome));
    assert!(named || wrong_only_after_an_apply(&fault), "{fault:?}: {state:?}");
    api.script().always = None;
    agent
        .published("clear")
        .await
        .map_err(|e| e.context(format!("{fault:?}")))?;
    assert_eq!(api.script().nodes.keys(NODE)["castoff.dev/team"], "blue");
    Ok(())
}

#[tokio::test]
async fn retry_after_is_respected() -> Result<()> {
    let body = "{\"kind\":\"Status\",\"message\":\"slow\",\"details\":{\"retryAfterSeconds\":1}}";
    for fault in [
        with(429, ("retry-after", "1"), "Too many requests, please try again later."),
        with(429, ("content-type", "application/json"), body),
        with(503, ("retry-after", "1"), ""),
    ] {
        let api = FakeApi::start().await?;
        api.script().nodes.create(NODE);
        api.script().next.push_back(fault);
        let mut agent = Agent::of(&api)?;
        let start = Instant::now();
        agent.say(Verdict::Clear);
        agent.published("clear").await?;
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!((api.count("GET"), api.count("PATCH")), (2, 1));
    }
    Ok(())
}

/// Returns the number of the agent's attempts that reached no server.
fn unreachable(agent: &Agent) -> u64 {
    let state = agent.state();
    let away = state.requests.iter().filter(|r| r.outcome == Outcome::Unreachable);
    away.map(|r| r.count).sum()
}

#[tokio::test]
async fn an_unreachable_server_is_retried_rarely_and_without_a_burst() -> Result<()> {
    let mut api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Idle);
    agent.published("idle").await?;
    api.stop();
    agent.say(Verdict::Exposed);
    agent.failing(Outcome::Unreachable).await?;
    for n in 0..40 {
        agent.say(if n % 2 == 0 { Verdict::InUse } else { Verdict::Exposed });
        sleep(Duration::from_millis(50)).await;
    }
    let tried = unreachable(&agent);
    assert!(
        (3..=20).contains(&tried),
        "{tried} attempts in two seconds of a wait up to 400 ms"
    );
    agent.say(Verdict::InUse);
    // An attempt that started before this verdict may still have the previous one.
    let said = unreachable(&agent);
    while unreachable(&agent) < said + 2 {
        sleep(Duration::from_millis(50)).await;
    }
    let before = api.script().seen.len();
    api.come_back().await?;
    agent.published("in-use").await?;
    a_while().await;
    assert_eq!(
        api.script().seen.len() - before,
        1,
        "one apply says all that was missed"
    );
    Ok(())
}

#[tokio::test]
async fn an_unanswered_write_is_not_taken_as_failed() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Idle);
    agent.published("idle").await?;
    api.script().next.push_back(Fault::Mute);
    agent.say(Verdict::Exposed);
    agent.failing(Outcome::DeadlineExceeded).await?;
    assert_eq!(api.script().nodes.keys(NODE)[VERDICT], "exposed");
    agent.say(Verdict::Idle); // the verdict that castoff last saw on the Node
    agent.published("idle").await?;
    assert_eq!(api.script().nodes.keys(NODE)[VERDICT], "idle");
    Ok(())
}

#[tokio::test]
async fn an_incomplete_handshake_is_not_a_connection() -> Result<()> {
    // The start of a ServerHello whose length promises more bytes.
    const HALF: [u8; 9] = [0x16, 3, 3, 0, 122, 2, 0, 0, 118];
    for (after, outcome) in [
        (None, Outcome::DeadlineExceeded),
        (Some("close"), Outcome::TlsFailed),
        (Some("HTTP/1.1 400 Bad Request\r\n\r\n"), Outcome::TlsFailed),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 4096]; // closing a socket with unread bytes would reset the connection
                let _ = stream.read(&mut hello).await;
                match after {
                    Some("close") => {
                        let _ = stream.write_all(&HALF).await;
                    }
                    Some(other) => {
                        let _ = stream.write_all(other.as_bytes()).await;
                    }
                    None => {
                        let _ = stream.write_all(&HALF).await;
                        held.push(stream);
                    }
                }
            }
        });
        let mut agent = Agent::with(&format!("https://{address}"), paces(), Machine::default())?;
        agent.say(Verdict::Clear);
        agent.failing(outcome).await?;
        server.abort();
    }
    Ok(())
}

#[tokio::test]
async fn a_recreated_node_is_labelled_again_and_none_is_ever_created() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    api.script().nodes.may_create = true;
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Idle);
    agent.published("idle").await?;
    api.script().nodes.create(NODE); // another object with the same name
    agent.say(Verdict::Exposed);
    agent.published("exposed").await?;
    let outcomes: Vec<Outcome> = agent.state().requests.iter().map(|r| r.outcome).collect();
    assert!(outcomes.contains(&Outcome::Conflict), "{outcomes:?}");
    api.script().nodes.delete(NODE);
    agent.say(Verdict::InUse);
    agent.failing(Outcome::NotFound).await?;
    a_while().await;
    assert!(api.script().nodes.keys_of(NODE).is_none(), "no Node was made");
    api.script().nodes.create(NODE);
    agent.published("in-use").await?;
    Ok(())
}

#[tokio::test]
async fn the_node_of_another_machine_is_left_alone() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    api.script().nodes.node(NODE)["status"]["nodeInfo"] = serde_json::json!({ "bootID": "theirs", "machineID": "9" });
    let machine = Machine {
        boot_id: Some("ours".to_owned()),
        machine_id: Some("7".to_owned()),
    };
    let mut agent = Agent::with(&format!("http://{}", api.address()), paces(), machine)?;
    agent.say(Verdict::Clear);
    agent.failing(Outcome::WrongNode).await?;
    a_while().await;
    assert_eq!(api.count("PATCH"), 0);
    api.script().nodes.node(NODE)["status"]["nodeInfo"]["bootID"] = "ours".into();
    agent.published("clear").await?;
    eventually(|| api.script().nodes.keys(NODE).contains_key(VERDICT).then_some(())).await
}
