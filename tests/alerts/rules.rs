//! The alerts as files: promtool accepts them, and each is complete.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::prometheus::Tools;

use crate::{deploy, names, parse, read, succeeds, unknown_metrics};

const RUNBOOKS: &str = "https://github.com/castoff/castoff/blob/main/deploy/runbooks/";
const SECTIONS: [&str; 4] = [
    "\n## Meaning\n",
    "\n## Impact\n",
    "\n## Diagnosis\n",
    "\n## Mitigation\n",
];

/// One rule: its alert, and its lines.
struct Rule {
    alert: String,
    text: String,
}

impl Rule {
    /// Returns the value of a key on a line of its own.
    fn value(&self, key: &str) -> Option<&str> {
        let key = format!("{key}: ");
        self.text.lines().find_map(|line| line.trim_start().strip_prefix(&key))
    }
}

fn rules_file() -> Result<String> {
    read(deploy().join("alerts/castoff.rules.yaml"))
}

fn rules() -> Result<Vec<Rule>> {
    let file = rules_file()?;
    let mut parts = file.split("- alert: ");
    parts.next().context("what stands before the first alert")?;
    let rule = |text: &str| Rule {
        alert: text.lines().next().unwrap_or_default().trim().to_owned(),
        text: text.to_owned(),
    };
    Ok(parts.map(rule).collect())
}

fn alerts() -> Result<BTreeSet<String>> {
    Ok(rules()?.into_iter().map(|rule| rule.alert).collect())
}

#[test]
fn promtool_accepts_the_rules_without_a_warning() -> Result<()> {
    let mut promtool = Tools::debian()?.promtool();
    promtool.args(["check", "rules", "--lint=all", "--lint-fatal"]);
    let said = succeeds(promtool.arg(deploy().join("alerts/castoff.rules.yaml")))?;
    // The other tests here read the file by its lines: they must find as many rules as the real parser.
    ensure!(
        said.contains(&format!("SUCCESS: {} rules found", rules()?.len())),
        "{said}"
    );
    Ok(())
}

#[test]
fn each_alert_is_tested_when_it_fires_is_silent_and_has_no_data() -> Result<()> {
    let folder = deploy().join("alerts/tests");
    let files = names(&folder, ".test.yaml")?;
    assert_eq!(files, alerts()?, "one file of tests for each alert");
    let mut promtool: Command = Tools::debian()?.promtool();
    promtool.args(["test", "rules"]);
    for alert in &files {
        let file = folder.join(format!("{alert}.test.yaml"));
        let text = read(&file)?;
        let mut of_alert = text
            .split("- alertname: ")
            .filter(|case| case.starts_with(&format!("{alert}\n")));
        ensure!(
            of_alert.clone().any(|case| case.contains("exp_labels:")),
            "{alert} is never seen to fire"
        );
        ensure!(
            of_alert.any(|case| case.contains("exp_alerts: []")),
            "{alert} is never seen to be silent"
        );
        promtool.arg(file);
    }
    succeeds(&mut promtool)?;
    Ok(())
}

/// A series ends because the condition is over, or because castoff no longer sees it. Alerts about the node must last
/// until the alerts about castoff's own gaps have had their time to fire.
#[test]
fn an_alert_about_the_node_lasts_until_gaps_are_reported() -> Result<()> {
    let rules = rules()?;
    let minutes = |text: &str| -> Result<u32> {
        let (count, unit) = text.split_at(text.len() - 1);
        Ok(count.parse::<u32>()? * if unit == "h" { 60 } else { 1 })
    };
    let about_sight = |rule: &Rule| ["CastoffBlind", "CastoffAbsent"].contains(&rule.alert.as_str());
    let mut longest = 0;
    for rule in rules.iter().filter(|rule| about_sight(rule)) {
        longest = longest.max(minutes(rule.value("for").context("an alert waits")?)?);
    }
    let file = rules_file()?;
    let (about_node, _) = file
        .split_once("name: castoff.data")
        .context("the group about castoff itself")?;
    for rule in about_node.split("- alert: ").skip(1) {
        let kept = rule
            .split("keep_firing_for: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let alert = rule.lines().next().unwrap_or_default();
        ensure!(minutes(kept.context(alert.to_owned())?)? > longest, "{alert}");
    }
    Ok(())
}

#[test]
fn each_rule_has_its_subject_severity_and_runbook() -> Result<()> {
    for rule in rules()? {
        let alert = &rule.alert;
        ensure!(alert.starts_with("Castoff"), "{alert}");
        let severity = rule.value("severity").context(alert.clone())?;
        ensure!(
            ["critical", "warning", "info"].contains(&severity),
            "{alert}: {severity}"
        );
        let summary = rule.value("summary").context(alert.clone())?;
        ensure!(
            summary.ends_with('.') && !summary.contains("{{") && summary.len() < 90,
            "{alert}: {summary}"
        );
        ensure!(rule.value("description").is_some(), "{alert} has no description");
        ensure!(rule.value("for").is_some(), "{alert} does not wait");
        assert_eq!(rule.value("runbook_url"), Some(&*format!("{RUNBOOKS}{alert}.md")));
    }
    Ok(())
}

#[test]
fn each_alert_has_a_runbook_with_commands() -> Result<()> {
    let folder = deploy().join("runbooks");
    assert_eq!(names(&folder, ".md")?, alerts()?, "one runbook for each alert");
    for alert in alerts()? {
        let text = read(folder.join(format!("{alert}.md")))?;
        ensure!(text.starts_with(&format!("# {alert}\n")), "{alert}");
        let mut rest = text.as_str();
        for section in SECTIONS {
            (_, rest) = rest
                .split_once(section)
                .with_context(|| format!("{alert}: no {section:?} in its place"))?;
            let body = rest.split("\n## ").next().unwrap_or_default().trim();
            ensure!(body.len() > 60, "{alert}: {section:?} says nothing");
            ensure!(
                !section.contains("Diagnosis") || body.contains("```"),
                "{alert}: no command"
            );
        }
        ensure!(
            unknown_metrics(&text).is_empty(),
            "{alert}: {:?}",
            unknown_metrics(&text)
        );
    }
    Ok(())
}

#[test]
fn promtool_can_read_each_expression_of_a_runbook() -> Result<()> {
    let folder = deploy().join("runbooks");
    let mut expressions = Vec::new();
    for alert in alerts()? {
        let text = read(folder.join(format!("{alert}.md")))?;
        let blocks = text
            .split("```promql\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        expressions.extend(blocks.flat_map(str::lines).map(str::to_owned));
    }
    ensure!(expressions.len() > 20, "{expressions:?}");
    parse(&expressions)
}

#[test]
fn each_metric_of_an_alert_exists() -> Result<()> {
    assert_eq!(unknown_metrics(&rules_file()?), BTreeSet::new());
    Ok(())
}

#[test]
fn no_alert_reads_a_workload_from_a_pods_name() -> Result<()> {
    let file = rules_file()?;
    assert!(
        !file.contains("\"workload\", \"$1\""),
        "castoff says the workload itself"
    );
    let (_, new_client) = file.split_once("alert: CastoffSocketClientNew").context("the alert")?;
    let (expression, _) = new_client.split_once("- alert: ").context("another alert after it")?;
    assert!(expression.contains("workload"), "{expression}");
    Ok(())
}
