//! Replaces the parts of a result that differ between runs: times, durations, the directory, the inodes of its files. And
//! castoff's own version, which differs between releases.

use std::path::Path;

use serde_json::Value;

/// The replacement of the time of the look.
const TIME: &str = "2026-11-24T12:00:00Z";

pub(crate) fn json(mut report: Value, folder: &Path) -> Value {
    settle(&mut report, &folder.display().to_string());
    report
}

fn settle(value: &mut Value, folder: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    "time" | "firstSeen" | "lastSeen" | "since" => *field = TIME.into(),
                    // A timeline's first hour. The `from` of an endpoint is a word.
                    "from" if field.as_str().is_some_and(|t| t.ends_with(":00:00Z")) => *field = TIME.into(),
                    "castoffVersion" if *field == env!("CARGO_PKG_VERSION") => *field = crate::BUILD.version.into(),
                    "durationMicros" => *field = 0.into(),
                    "inode" => *field = 1.into(),
                    "major" | "minor" if field.is_u64() && fields_of_device(name) => *field = 0.into(),
                    _ => settle(field, folder),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, folder)),
        Value::String(text) => *text = text.replace(folder, ""),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True for a field of a device. The minor of a device and the minor of a kubelet's ceiling have the same name, but the
/// ceiling's never changes.
fn fields_of_device(name: &str) -> bool {
    name == "major"
}

/// Replaces the values that differ between runs, and those of the process itself.
pub(crate) fn metrics(text: &str) -> String {
    let moving = |line: &str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name.contains("duration_seconds") || name.ends_with("timestamp_seconds")
    };
    let mut settled = String::new();
    for line in text.lines().filter(|line| !line.contains("process_")) {
        match line.rsplit_once(' ') {
            Some((sample, _)) if !line.starts_with('#') && moving(line) => {
                settled.push_str(sample);
                settled.push_str(" 0");
            }
            _ => settled.push_str(line),
        }
        settled.push('\n');
    }
    settled
}

/// Replaces the time of the look and the directory in the table.
pub(crate) fn table(text: &str, folder: &Path) -> String {
    text.replace(&folder.display().to_string(), "")
        .lines()
        .map(|line| {
            if line.contains("20") && line.contains('T') && line.contains('Z') {
                settle_times(line)
            } else {
                line.to_owned()
            }
        })
        .fold(String::new(), |text, line| text + &line + "\n")
}

fn settle_times(line: &str) -> String {
    let time =
        |word: &str| word.len() >= TIME.len() && word.as_bytes().get(10) == Some(&b'T') && word.starts_with("20");
    let words = line.split(' ').map(|word| if time(word) { TIME } else { word });
    words.collect::<Vec<_>>().join(" ")
}
