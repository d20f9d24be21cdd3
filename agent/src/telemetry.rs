//! castoff's own log, on standard error: transitions, not ticks.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log. `filter` is a level or a filter of `tracing-subscriber`'s `EnvFilter`.
pub fn start(filter: EnvFilter, format: Format) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Format::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => log.json().init(),
    }
}
