//! The page of a real agent in a real browser: its contents, in both themes and on a phone, with scripts forbidden, by
//! keyboard, and by the rules for assistive technology.

mod demo;
mod fleet;
mod hostile;
mod live;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::browser::{Browser, axe};
use castoff_tests::report::Agent;
use serde_json::{Value, json};

/// The screens of a desk and a phone, in pixels.
const DESK: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// Loads the page of the agent.
fn load(browser: &Browser, agent: &Agent) -> Result<()> {
    browser.load(&format!("http://{}/", agent.address()))
}

/// Returns the text of the page.
fn text(browser: &Browser) -> Result<String> {
    let text = browser.evaluate("document.body.innerText")?;
    Ok(text.as_str().context("the page has a text")?.to_owned())
}

/// Returns the directory of the pictures.
fn pictures() -> Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Takes a picture of the whole page. The next run overwrites it.
fn photograph(browser: &Browser, name: &str) -> Result<()> {
    let file = pictures()?.join(name).with_extension("png");
    browser.photograph(&file)?;
    println!("see {}", file.display());
    Ok(())
}

/// The page breaks none of axe's rules: names, contrast, headings, landmarks, tables.
fn axe_reports_nothing(browser: &Browser, when: &str) -> Result<()> {
    browser.evaluate(&axe()?)?;
    let found = browser.evaluate(
        "axe.run(document, { resultTypes: ['violations'] }).then(result => ({
            checked: result.passes.length,
            violations: result.violations.map(rule => rule.id + ': ' + rule.help + ': '
                + rule.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary).join('; ')),
        }))",
    )?;
    ensure!(
        found["checked"].as_u64() > Some(20),
        "axe checked nothing, {when}: {found}"
    );
    let violations = found["violations"].as_array().context("a list")?;
    ensure!(violations.is_empty(), "axe, {when}: {violations:#?}");
    Ok(())
}

/// No part of the page is wider than the screen.
fn nothing_is_wider_than_the_screen(browser: &Browser, when: &str) -> Result<()> {
    let wide = browser.evaluate(
        "[...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.for-voices, .skip, thead') && e.getBoundingClientRect().right > innerWidth + 0.5)
            .slice(0, 3).map(e => e.outerHTML.slice(0, 200))",
    )?;
    ensure!(wide == json!([]), "wider than the screen, {when}: {wide:#}");
    Ok(())
}

/// The page loaded nothing but itself and its style, broke no policy, logged nothing and opened no dialog.
fn the_page_loaded_and_logged_nothing_else(browser: &Browser, agent: &Agent) -> Result<()> {
    let allowed = ["", "?refresh=5", "style.css"].map(|path| format!("http://{}/{path}", agent.address()));
    for event in browser.take_events()? {
        let method = event["method"].as_str().unwrap_or_default();
        let loud = match method {
            "Network.requestWillBeSent" => {
                let url = &event["params"]["request"]["url"];
                !allowed.iter().any(|known| url == known)
            }
            "Log.entryAdded"
            | "Runtime.exceptionThrown"
            | "Runtime.consoleAPICalled"
            | "Page.javascriptDialogOpening"
            | "Network.loadingFailed" => true,
            _ => false,
        };
        ensure!(!loud, "{event:#}");
    }
    Ok(())
}

/// Returns the headers that the browser received with the page.
fn headers(browser: &Browser, agent: &Agent) -> Result<Value> {
    let page = format!("http://{}/", agent.address());
    let events = browser.take_events()?;
    let is_page =
        |event: &&Value| event["method"] == "Network.responseReceived" && event["params"]["response"]["url"] == page;
    let response = events.iter().find(is_page).context("an answer")?;
    Ok(response["params"]["response"]["headers"].clone())
}
