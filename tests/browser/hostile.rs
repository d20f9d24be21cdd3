//! Names that a browser could execute, as real processes and as 500 remembered clients.

use anyhow::{Result, ensure};
use castoff::model::client::{ClientIdentity, ClientKey};
use castoff::model::history::ClientRecord;
use castoff_tests::lab::browser::Browser;
use castoff_tests::lab::clients;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::places::Place;
use castoff_tests::report::Agent;
use serde_json::json;

use crate::{
    DESK, PHONE, axe_reports_nothing, load, nothing_is_wider_than_the_screen, photograph, text,
    the_page_loaded_and_logged_nothing_else,
};
use castoff_tests::past;

/// The names under which programs are started.
const PROGRAMS: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'onmouseover='alert(1)' style='position:fixed;inset:0",
    "a\u{202e}txt.exe\u{1b}[2J",
];
const REMEMBERED: usize = 500;

#[test]
fn hostile_names_are_shown_and_never_executed() -> Result<()> {
    let docker = Docker::start()?;
    let held = PROGRAMS.map(|name| clients::hold_as(name, docker.socket(), Place::host()));
    let _held = held.into_iter().collect::<Result<Vec<_>>>()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    past::save(remembered(), past::hours(|hours| hours < 150), &state)?;
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
        nothing_is_wider_than_the_screen(&browser, name)?;
        photograph(&browser, name)?;
        axe_reports_nothing(&browser, name)?;
    }
    the_page_loaded_and_logged_nothing_else(&browser, &agent)
}

fn remembered() -> Vec<(ClientKey, ClientRecord)> {
    let client = |n: usize| {
        let identity = ClientIdentity::Host {
            unit: None,
            executable: format!("/usr/bin/{}-{n}", PROGRAMS[n % PROGRAMS.len()]),
            uid: None,
        };
        let (last, step) = (n as u64 % 160, n as u64 % 7 + 1);
        let seen = past::hours(|hours| hours >= last && (hours - last).is_multiple_of(step));
        past::client(identity, &format!("/run/<b>{n}</b>.sock"), seen)
    };
    (0..REMEMBERED).map(client).collect()
}
