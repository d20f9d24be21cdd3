//! The fleet as JSON: one document, written as the rows come, each on a line of its own.

use schemars::JsonSchema;
use serde::Serialize;

use crate::fleet::row::NodeRow;
use crate::fleet::summary::Summary;
use crate::model::time::Timestamp;
use crate::sinks::views::json::escaped;

/// The form of the document, for its schema: it is never in memory as a whole.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FleetReport")]
struct Document {
    /// `castoff.dev/v1`.
    api_version: &'static str,
    /// `FleetReport`.
    kind: &'static str,
    /// The version of the castoff that wrote it.
    castoff_version: &'static str,
    /// The time at which the look began.
    time: Timestamp,
    /// Every Node, in the order in which they became known.
    nodes: Vec<NodeRow>,
    /// The summary of all of them.
    summary: Summary,
}

/// A document in parts.
#[derive(Debug, Default)]
pub struct JsonDocument {
    rows: u64,
}

impl JsonDocument {
    /// Returns the text before the rows.
    pub fn head(time: Timestamp) -> String {
        format!(
            "{{\"apiVersion\":\"{}\",\"kind\":\"FleetReport\",\"castoffVersion\":\"{}\",\"time\":\"{time}\",\"nodes\":[",
            crate::findings::report::API_VERSION,
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// Returns the next rows.
    ///
    /// # Errors
    /// None that a row can cause: every map in it has strings for keys.
    pub fn part(&mut self, rows: &[NodeRow]) -> Result<String, serde_json::Error> {
        let mut text = String::new();
        for row in rows {
            text.push_str(if self.rows == 0 { "\n" } else { ",\n" });
            text.push_str(&escaped(serde_json::to_string(row)?));
            self.rows += 1;
        }
        Ok(text)
    }

    /// Returns the text after them.
    ///
    /// # Errors
    /// As for [`JsonDocument::part`].
    pub fn tail(summary: &Summary) -> Result<String, serde_json::Error> {
        Ok(format!(
            "\n],\"summary\":{}}}\n",
            escaped(serde_json::to_string(summary)?)
        ))
    }
}

/// Returns the JSON Schema of the document, which is checked in as `docs/fleet.schema.json`.
pub fn render_schema() -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Document))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::golden;

    #[test]
    fn the_checked_in_schema_is_up_to_date() {
        golden::hold("docs/fleet.schema.json", &render_schema().expect("a schema serializes"));
    }
}
