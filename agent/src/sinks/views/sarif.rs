//! The report as SARIF 2.1.0, for code scanning: a rule for each code of the catalogue, a result for each finding. An `unknown`
//! verdict is an error of its own, so that an empty list is not taken for a clean node.
//!
//! Relies on OASIS SARIF 2.1.0 and on its viewers: text may contain links, `[text](target)`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json::escaped;
use crate::apiserver::path::encoded;
use crate::findings::catalogue::entry;
use crate::findings::readiness::answer::{Effect, Obstacle, Readiness};
use crate::findings::report::{Code, Finding, Report, Severity, Verdict};
use crate::sinks::text::visible;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Renders the report as one SARIF log, indented, with a line feed at its end.
///
/// # Errors
/// None that a report can cause: every map in it has strings for keys.
pub fn render_sarif(report: &Report) -> Result<String, serde_json::Error> {
    let node = node(report);
    let mut text = escaped(serde_json::to_string_pretty(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "castoff",
                "version": report.castoff_version,
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": Code::ALL.iter().map(|&code| rule(code)).collect::<Vec<_>>(),
            } },
            "automationDetails": { "id": format!("castoff/{node}/") },
            "invocations": [{
                "executionSuccessful": report.verdict != Verdict::Unknown,
                "startTimeUtc": report.time,
            }],
            "columnKind": "utf16CodeUnits",
            "properties": {
                "node": report.node,
                "verdict": report.verdict,
                "verdictReason": report.verdict_reason,
            },
            "results": results(report, &node),
        }],
    }))?);
    text.push('\n');
    Ok(text)
}

fn node(report: &Report) -> String {
    plain(report.node.as_deref().unwrap_or("unknown"))
}

fn rule(code: Code) -> Value {
    let entry = entry(code);
    let steps: Vec<String> = entry.steps().collect();
    let steps = steps.join("\n- ");
    let mut rule = json!({
        "id": code,
        "shortDescription": { "text": entry.title },
        "fullDescription": { "text": entry.meaning },
        "help": { "text": format!("{}\n\n- {steps}", entry.why) },
    });
    if let Some(&link) = entry.links.first() {
        rule["helpUri"] = link.into();
    }
    rule
}

fn results(report: &Report, node: &str) -> Vec<Value> {
    let mut met: BTreeMap<(Code, &str), u32> = BTreeMap::new();
    let verdict = (report.verdict == Verdict::Unknown).then(|| {
        let message = format!("cannot tell: {}", report.verdict_reason);
        result(Code::BlindSpot, "error", node, "verdict", &message, 1)
    });
    let findings = report.findings.iter().map(|finding| {
        let Finding {
            code,
            severity,
            subject,
            message,
            advice,
        } = finding;
        let count = met.entry((*code, subject)).or_default();
        *count += 1;
        let message = format!("{subject}: {}. {advice}", message.trim_end_matches('.'));
        result(*code, level(*severity), node, subject, &message, *count)
    });
    let mut results: Vec<Value> = verdict.into_iter().chain(findings).collect();
    results.extend(report.readiness.iter().flat_map(|ready| obstacles(ready, node)));
    results
}

/// Makes a result for each obstacle, about the target that it blocks.
fn obstacles(ready: &Readiness, node: &str) -> Vec<Value> {
    let subject = ready.target.to_string();
    let mut met: BTreeMap<Code, u32> = BTreeMap::new();
    let results = ready.obstacles.iter().map(|obstacle| {
        let Obstacle {
            effect,
            code,
            message,
            advice,
            rule_source,
        } = obstacle;
        let level = match effect {
            Effect::Blocks => "error",
            Effect::MayBlock => "warning",
            Effect::Note => "note",
        };
        let count = met.entry(*code).or_default();
        *count += 1;
        let message = format!("{subject}: {message} ({rule_source}). {advice}");
        result(*code, level, node, &subject, &message, *count)
    });
    results.collect()
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// `count` distinguishes findings with the same code and the same subject.
fn result(code: Code, level: &str, node: &str, subject: &str, message: &str, count: u32) -> Value {
    let subject = plain(subject);
    json!({
        "ruleId": code,
        "ruleIndex": Code::ALL.iter().position(|c| *c == code),
        "level": level,
        "message": { "text": plain(message) },
        "locations": [{
            // For viewers that support only files.
            "physicalLocation": {
                "artifactLocation": { "uri": format!("nodes/{}", encoded(node)) },
                "region": { "startLine": 1 },
            },
            "logicalLocations": [{
                "name": subject,
                "fullyQualifiedName": format!("{node}/{subject}"),
                "kind": "resource",
            }],
        }],
        "partialFingerprints": { "castoff/v1": format!("{node}/{code}/{subject}/{count}") },
    })
}

/// Escapes a name that others chose, so that no terminal interprets it and no viewer takes it for a link.
fn plain(text: &str) -> String {
    visible(text).replace("](", "]\\(")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::{Gap, Hides, Reason};
    use crate::sinks::{golden, sample};

    fn log_of(report: &Report) -> Value {
        let text = render_sarif(report).expect("a report serializes");
        serde_json::from_str(&text).expect("what was written is JSON")
    }

    /// The published schema; the file beside it names its source.
    fn schema() -> jsonschema::Validator {
        let schema = include_str!("../../../tests/schemas/sarif-2.1.0-rtm.5.json");
        // Its one pattern for languages has a surplus bracket, which the standard's errata removed.
        let schema = schema.replace(
            "^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$",
            "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$",
        );
        let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
        jsonschema::validator_for(&schema).expect("the schema is one")
    }

    fn hostile() -> Report {
        let mut report = sample::report();
        report.node = Some("a/b \u{1b}[31m%\u{202e}".to_owned());
        report.findings[0].subject = "pod ci/x ([here](https://evil.test)) \u{9b}\n".to_owned();
        report
    }

    #[test]
    fn a_log_matches_the_golden_file() {
        let text = render_sarif(&sample::report()).expect("a report serializes");
        golden::hold("src/sinks/views/golden/report.sarif.json", &text);
    }

    #[test]
    fn logs_of_every_kind_match_the_published_schema() {
        let schema = schema();
        for report in [
            sample::report(),
            sample::clear(),
            sample::blind(),
            sample::asked(),
            hostile(),
        ] {
            let log = log_of(&report);
            let errors: Vec<String> = schema
                .iter_errors(&log)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        for (at, wrong) in [("/version", "2.0.0"), ("/runs/0/results/0/level", "bad")] {
            let mut log = log_of(&sample::report());
            *log.pointer_mut(at).expect("it is there") = wrong.into();
            assert!(!schema.is_valid(&log), "{at} = {wrong} was taken");
        }
    }

    #[test]
    fn an_unknown_verdict_is_an_error() {
        let log = log_of(&sample::blind());
        assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
        let first = &log["runs"][0]["results"][0];
        assert_eq!(
            (&first["level"], &first["ruleId"]),
            (&"error".into(), &"blind-spot".into())
        );
        let clear = log_of(&sample::clear());
        assert_eq!(clear["runs"][0]["results"], json!([]));
    }

    #[test]
    fn each_obstacle_is_a_result_about_its_target() {
        let log = log_of(&sample::asked());
        let results = log["runs"][0]["results"].as_array().expect("a list");
        let levels: Vec<(&str, &str)> = results
            .iter()
            .filter_map(|result| {
                let target = result["locations"][0]["logicalLocations"][0]["name"].as_str()?;
                Some((target, result["level"].as_str()?))
            })
            .collect();
        assert!(levels.contains(&("kubelet=1.38", "error")), "{levels:?}");
        assert!(levels.contains(&("containerd=1.7", "warning")), "{levels:?}");
        assert!(
            !levels.iter().any(|(target, _)| *target == "docker=removed"),
            "{levels:?}"
        );
    }

    #[test]
    fn a_fingerprint_is_stable_and_unique() {
        let prints = |report: &Report| -> Vec<Value> {
            let log = log_of(report);
            let results = log["runs"][0]["results"].as_array().expect("a list").clone();
            results
                .into_iter()
                .map(|result| result["partialFingerprints"]["castoff/v1"].clone())
                .collect()
        };
        let mut report = sample::report();
        let before = prints(&report);
        report.time = sample::ago(0).max(sample::ago(1));
        report.findings[0].message = "It holds 4 connections.".to_owned();
        assert_eq!(prints(&report), before);
        report.findings.push(report.findings[0].clone());
        let mut after = prints(&report);
        after.sort_by_key(Value::to_string);
        after.dedup();
        assert_eq!(after.len(), before.len() + 1);
    }

    #[test]
    fn a_name_becomes_neither_a_link_nor_an_escape_sequence() {
        let text = render_sarif(&hostile()).expect("a report serializes");
        assert!(!text.contains("](https") && text.contains("nodes/a%2Fb"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn every_gap_of_a_source_is_in_a_finding_or_the_verdict() {
        let mut report = sample::clear();
        report.verdict = Verdict::Unknown;
        let gap = Gap::new(Reason::PermissionDenied, Hides::Engine, "/proc/1/fd", "denied");
        report.verdict_reason = format!("engines could not see everything: {gap}");
        assert!(
            log_of(&report)["runs"][0]["results"][0]["message"]["text"]
                .to_string()
                .contains("/proc/1/fd")
        );
    }
}
