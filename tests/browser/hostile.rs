//! Names that were chosen to be obeyed by a browser: as real processes, and as 500 clients that are remembered.

use std::time::{Instant, SystemTime};

use anyhow::{Result, ensure};
use castoff::model::client::{ClientIdentity, ClientKey};
use castoff::model::engine::{Api, EngineKind, Scope};
use castoff::model::history::{History, Seen};
use castoff::model::socket::SocketName;
use castoff::model::time::Timestamp;
use castoff::sinks::state::Keeper;
use castoff_tests::lab::browser::Browser;
use castoff_tests::lab::clients;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::places::Place;
use castoff_tests::report::Agent;
use serde_json::json;

use crate::{DESK, PHONE, axe_has_nothing_to_say, it_was_quiet, load, nothing_sticks_out, photograph, text};

/// Programs are started under these names.
const PROGRAMS: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'onmouseover='alert(1)' style='position:fixed;inset:0",
    "a\u{202e}txt.exe\u{1b}[2J",
];
const REMEMBERED: usize = 500;

#[test]
fn hostile_names_are_shown_and_never_obeyed() -> Result<()> {
    let docker = Docker::start()?;
    let held = PROGRAMS.map(|name| clients::hold_as(name, docker.socket(), Place::host()));
    let _held = held.into_iter().collect::<Result<Vec<_>>>()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    Keeper::load(&state, Keeper::REST, Instant::now())
        .keeper
        .save(&remembered(), Instant::now())?;
    let state = state.display().to_string();
    let agent = Agent::start([
        "--period",
        "1s",
        "--node-name",
        "</title><script>alert(1)</script>",
        "--state",
        &state,
    ])?;

    let browser = Browser::start()?;
    for (dark, (width, height), name) in [(false, DESK, "hostile-wide-light"), (true, PHONE, "hostile-phone-dark")] {
        browser.show(dark, width, height)?;
        load(&browser, &agent)?;
        let told = text(&browser)?;
        for shown in [
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "'onmouseover='alert(1)'",
            "a\\u{202e}txt.exe\\u{1b}[2J",
        ] {
            ensure!(told.contains(shown), "{shown:?} is not in the page");
        }
        let rows = browser.evaluate("document.querySelectorAll('.clients tbody tr').length")?;
        ensure!(
            rows.as_u64() >= Some((REMEMBERED + PROGRAMS.len()) as u64),
            "{rows} rows"
        );
        ensure!(!told.contains("more are not shown here"));
        let made = "document.querySelectorAll('script, img, iframe, style, [style], [onerror], [onmouseover]').length";
        ensure!(browser.evaluate(made)? == json!(0));
        ensure!(
            browser.evaluate("document.querySelectorAll('title').length > 0 && document.title")?
                == "in-use: </title><script>alert(1)</script> · castoff"
        );
        nothing_sticks_out(&browser, name)?;
        photograph(&browser, name)?;
        axe_has_nothing_to_say(&browser, name)?;
    }
    it_was_quiet(&browser, &agent)
}

fn remembered() -> History {
    let now = Timestamp::from(SystemTime::now());
    let ago = |hours: u64| Timestamp::from_unix(now.as_unix() - hours * 3_600);
    let client = |n: usize| {
        let key = ClientKey {
            identity: ClientIdentity::Host {
                unit: None,
                executable: format!("/usr/bin/{}-{n}", PROGRAMS[n % PROGRAMS.len()]),
                uid: None,
            },
            engine: EngineKind::Dockerd,
            scope: Scope::Host,
            api: Api::Docker,
            listener: SocketName::Path(format!("/run/<b>{n}</b>.sock")),
        };
        let last = n as u64 % 160;
        let hours = (last..168).step_by(n % 7 + 1).map(ago);
        let seen = Seen {
            first: ago(200),
            last: ago(last),
            connects: n as u64,
            hours: hours.collect(),
        };
        (key, seen)
    };
    History::restore((0..REMEMBERED).map(client), (0..150).map(ago).collect())
}
