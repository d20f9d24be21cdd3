//! The output for users: the table, the page, the changes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use castoff_tests::fake::api::{FakeApi, Reply, report_clear, report_in_use, report_used_by};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::Person;

#[tokio::test]
async fn a_small_fleet_is_printed_worst_first_with_the_remaining_clients() -> Result<()> {
    let api = FakeApi::start().await?;
    for node in ["a-clear", "b-used", "c-bare"] {
        api.script().fleet.add(node);
    }
    api.script().fleet.pods.remove("castoff-c-bare");
    api.script()
        .fleet
        .answer("b-used", Reply::Report(report_in_use("b-used")));
    let ran = Person::of(&api)?.run(&[]).await?;
    let at = |words: &str| ran.out.find(words).unwrap_or_else(|| panic!("{words} in {}", ran.out));
    assert!(
        at("NODE") < at("b-used") && at("b-used") < at("c-bare") && at("c-bare") < at("a-clear"),
        "{}",
        ran.out
    );
    assert!(at("a-clear") < at("3 nodes in"), "{}", ran.out);
    at("WHO IS LEFT");
    at("ci/StatefulSet builder");
    at("no castoff pod is on it");
    assert!(ran.out.lines().all(|line| !line.ends_with(' ')));
    Ok(())
}

#[tokio::test]
async fn a_page_is_one_bounded_file_that_fetches_and_runs_nothing() -> Result<()> {
    let api = FakeApi::start().await?;
    {
        let fleet = &mut api.script().fleet;
        for at in 0..400 {
            fleet.add(&format!("node-{at:04}"));
        }
        fleet.report = |node| match node.len() {
            9 if node.ends_with('7') => report_clear(node).to_string(),
            _ => report_used_by(node, "ci", &format!("builder-{node}")).to_string(),
        };
    }
    let ran = Person::of(&api)?.run(&["-o", "html"]).await?;
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let page = &ran.out;
    for part in [
        "<!doctype html>",
        "360 nodes depend on Docker",
        "and 160 more such nodes",
        "and 260 more that are not listed",
        "ci/pod builder-node-",
        "</html>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for part in [
        "<script", "http://", "https://", "src=", "href=", "url(", "style=\"", "@import",
    ] {
        let without_cluster = page.replace(&api.address().to_string(), "");
        assert!(!without_cluster.contains(part), "{part}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert!(page.len() < 200_000, "{}", page.len());
    Ok(())
}

#[tokio::test]
async fn a_watch_prints_each_change_once() -> Result<()> {
    let api = FakeApi::start().await?;
    for node in ["one", "two"] {
        api.script().fleet.add(node);
    }
    let person = Person::of(&api)?;
    let mut command = person.command(&["--watch", "--interval", "200ms"])?;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut seen: Vec<String> = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(line) = lines.next_line().await? {
            let looks = seen.iter().filter(|line| line.contains("2 nodes in")).count();
            if looks == 3 {
                api.script().fleet.answer("two", Reply::Report(report_in_use("two")));
            }
            seen.push(line);
            if seen.iter().any(|line| line.contains("1 in-use")) {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    });
    read.await??;
    let times = |words: &str| seen.iter().filter(|line| line.contains(words)).count();
    assert_eq!((times("  one "), times("  two ")), (1, 2), "{seen:#?}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().expect("it runs"))?).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    assert_eq!(child.wait().await?.code(), Some(1), "the last look counts");
    Ok(())
}

#[tokio::test]
async fn a_closed_pipe_ends_it_silently() -> Result<()> {
    let api = FakeApi::start().await?;
    for at in 0..600 {
        api.script().fleet.add(&format!("node-{at:04}"));
    }
    let person = Person::of(&api)?;
    let mut command = person.command(&["-o", "json", "--concurrency", "1"])?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines.next_line().await?;
    drop(lines);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await??;
    assert_eq!(output.status.code(), Some(0), "all that was seen is clear");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(
        api.script().requests < 600,
        "it has stopped asking: {}",
        api.script().requests
    );
    Ok(())
}
