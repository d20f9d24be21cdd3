//! castoff's own log, on standard error. It reports changes only.
//!
//! The names in it were chosen by the users who started a process or bound a socket. A terminal must not interpret
//! them, and they must not begin a line that looks like castoff's own.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::sinks::text::visible;

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Parses a filter: levels, each for all modules or for one. A bare word that is no level is an error: it would be taken for the
/// name of a module, and the log would be silent.
pub fn filter(text: &str) -> Result<Targets, String> {
    let mut parts = text.split(',').map(str::trim);
    let is_word = |part: &&str| !part.contains('=') && (part.is_empty() || part.parse::<LevelFilter>().is_err());
    match parts.find(is_word) {
        Some(part) => Err(format!(
            "{part:?} is not a level (error, warn, info, debug, trace, off)"
        )),
        None => text.parse().map_err(|error| format!("{error}")),
    }
}

/// Starts the log. `filter` has levels by module; filters by field would need an engine for regular expressions.
pub fn start(filter: Targets, format: Format) {
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
    match format {
        // Without colours, which could not be distinguished from escape sequences in a name.
        Format::Text => {
            let log = log.with_ansi(false).with_writer(|| Visible(io::stderr()));
            log.finish().with(filter).init();
        }
        // JSON escapes every character that is not plain.
        Format::Json => log.json().with_writer(io::stderr).finish().with(filter).init(),
    }
}

/// Writes each event, which arrives whole and ends in a line break, as one plain line.
struct Visible<W>(W);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        self.0.write_all(format!("{}{end}", visible(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no thread panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_word_that_is_not_a_level_is_refused() {
        for right in ["info", "WARN", "off", "castoff=trace", "warn,castoff::agent=debug"] {
            assert!(filter(right).is_ok(), "{right}");
        }
        for wrong in ["LOUD", "", "info,verbose", "castoff=loud", "castoff"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_in_the_log_is_neither_an_escape_sequence_nor_a_line() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Visible(writer.clone()))
            .finish();
        tracing::subscriber::with_default(log, || {
            let name = "\u{1b}]0;x\u{7}/docker.sock\n2026-01-01 INFO all is clear \u{202e}";
            tracing::info!(listener = %name, "client {name} connected");
        });
        let bytes = kept.0.lock().expect("no thread panicked").clone();
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.ends_with('\n') && !text.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'));
        assert!(text.contains("\\u{1b}]0;x"), "{text}");
    }
}
