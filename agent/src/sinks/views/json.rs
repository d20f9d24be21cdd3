//! The report as JSON: the published form, of `castoff check -o json` and of the agent's API. Characters that a terminal might
//! interpret are written as `\uXXXX`, which is the same JSON.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::findings::report::Report;
use crate::model::publishing::Standing;
use crate::sinks::text::is_plain;

/// A report as it is served: with the state of publishing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Report", description = "castoff's report about a node.")]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(flatten)]
    standing: &'a Standing,
}

/// Renders the report, indented, with a line feed at its end.
///
/// # Errors
/// None that a report can cause: every map in it has strings for keys.
pub fn render_json(report: &Report) -> Result<String, serde_json::Error> {
    let mut text = escaped(serde_json::to_string_pretty(report)?);
    text.push('\n');
    Ok(text)
}

/// Renders the report on one line, for programs, with the state of publishing.
pub fn render_json_line(report: &Report, standing: &Standing) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Document { report, standing }).map(escaped)
}

/// Returns the JSON Schema of the report, which is checked in as `docs/report.schema.json`.
pub fn render_schema() -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Document<'_>))?;
    text.push('\n');
    Ok(text)
}

/// serde escapes the characters that JSON requires (below U+0020). The other unprintable characters can only be in a string.
pub(super) fn escaped(json: String) -> String {
    if json.chars().all(|c| is_plain(c) || c == '\n') {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if is_plain(c) || c == '\n' {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::{golden, sample};
    use serde_json::Value;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).expect("what was written is JSON")
    }

    #[test]
    fn the_checked_in_schema_is_up_to_date() {
        golden::hold(
            "docs/report.schema.json",
            &render_schema().expect("a schema serializes"),
        );
    }

    #[test]
    fn reports_of_every_kind_match_the_schema() {
        let schema = value(&render_schema().expect("a schema serializes"));
        let validator = jsonschema::validator_for(&schema).expect("the schema is one");
        for report in [sample::report(), sample::clear(), sample::blind()] {
            let json = value(&render_json_line(&report, &sample::standing()).expect("a report serializes"));
            assert!(json["publishing"].is_object() && json["events"].is_object());
            let errors: Vec<String> = validator
                .iter_errors(&json)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
    }

    #[test]
    fn the_schema_refuses_other_documents() {
        let schema = value(&render_schema().expect("a schema serializes"));
        let validator = jsonschema::validator_for(&schema).expect("the schema is one");
        let good = value(&render_json(&sample::report()).expect("a report serializes"));
        for (at, wrong) in [
            ("/verdict", "fine"),
            ("/time", "7"),
            ("/engines/state", "maybe"),
            ("/findings/0/severity", "bad"),
            ("/clients/value/0/identity/kind", "ghost"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(at).expect("the sample has it") = if wrong == "7" {
                Value::from(7)
            } else {
                Value::from(wrong)
            };
            assert!(!validator.is_valid(&bad), "{at} = {wrong} was taken");
        }
    }

    #[test]
    fn escape_sequences_are_not_printed_and_the_content_stays() {
        let mut report = sample::report();
        report.verdict_reason = "\u{9b}31m \u{202e} \u{1b} \u{e0041} ü\n".to_owned();
        let text = render_json(&report).expect("a report serializes");
        assert!(text.chars().all(|c| c == '\n' || is_plain(c)));
        assert!(
            text.contains("\\u009b31m \\u202e \\u001b \\udb40\\udc41 ü\\n"),
            "{text}"
        );
        assert_eq!(
            value(&text),
            value(&render_json_line(&report, &Standing::default()).expect("a report serializes"))
        );
    }
}
