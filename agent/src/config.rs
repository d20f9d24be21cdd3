//! Validates the arguments and converts them to settings. Reports all mistakes together, each with the value and the
//! allowed values.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::apiserver::access::Access;
use crate::apiserver::pace::Paces;
use crate::apiserver::path::is_name;
use crate::findings::readiness::target::Target;
use crate::sinks::http::tls::Files;
use crate::sinks::publishing::events::sender::EventSettings;
use crate::sinks::publishing::labels::prefix::Prefix;
use crate::sources::HostPaths;
use crate::sources::connects::Asked;

/// All mistakes in the arguments.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => f.write_str(one),
            all => {
                write!(f, "{} mistakes in the configuration", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

/// The settings for looking at the host.
#[derive(Clone, Debug)]
pub struct Look {
    /// The location of the host.
    pub host: HostPaths,
    /// The CRI endpoint, if one was given.
    pub runtime_endpoint: Option<String>,
    /// The deadline of one call to the runtime.
    pub runtime_timeout: Duration,
    /// The node's name.
    pub node: Option<String>,
    /// The way in which the kernel should report connects.
    pub connect_events: Asked,
    /// True if the host's files are to be searched for calls of Docker.
    pub scan_host_files: bool,
}

/// The settings for serving.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The time from the start of one look to the start of the next.
    pub period: Duration,
    /// The time for which a use counts.
    pub window: Duration,
    /// The targets that each report answers for.
    pub ready_for: Vec<Target>,
    /// The address on which HTTP is served.
    pub listen: SocketAddr,
    /// The state file.
    pub state: Option<PathBuf>,
    /// The time that a stop may take.
    pub grace: Duration,
    /// The way to publish the node's labels; none: they are not published.
    pub labels: Option<Publish>,
    /// The certificate for HTTPS; none: plain HTTP.
    pub tls: Option<Files>,
    /// The access to the API server, which authorizes readers; none: no reader is checked.
    pub guard: Option<Access>,
    /// The settings for events; none: no events are made.
    pub events: Option<EventSettings>,
}

/// The way in which labels are published.
#[derive(Clone, Debug)]
pub enum Publish {
    /// Through the API server.
    Api {
        /// The Node's name.
        node: String,
        /// The prefix of the labels' keys.
        prefix: Prefix,
        /// The access to the API server.
        access: Access,
        /// The times between requests.
        paces: Paces,
    },
    /// As a file for Node Feature Discovery.
    Nfd {
        /// The prefix of the labels' keys.
        prefix: Prefix,
        /// Its directory `features.d`.
        directory: PathBuf,
    },
}

/// The window of a single look: it has no history, so no use is outside the window.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// The maximum number of targets. Each target is a metric and a label of the node.
const TARGET_LIMIT: usize = 8;

/// Collects mistakes while arguments are read.
#[derive(Debug, Default)]
pub struct Reader(Vec<String>);

impl Reader {
    /// Parses a duration between `least` and `most`. On a mistake, returns `least`.
    pub fn duration(&mut self, flag: &str, text: &str, least: Duration, most: Duration) -> Duration {
        let allowed = || {
            let mut examples = ["15s", "5m", "7d"].into_iter();
            let fit = |text: &&str| humantime::parse_duration(text).is_ok_and(|one| (least..=most).contains(&one));
            let example = examples.rfind(fit);
            let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
            let such_as = example.map_or_else(String::new, |example| format!(", such as {example}"));
            format!("expected a duration from {least} to {most}{such_as}")
        };
        match humantime::parse_duration(text) {
            Ok(duration) if (least..=most).contains(&duration) => duration,
            Ok(_) => self.mistake(least, format!("{flag} {text:?}: out of bounds; {}", allowed())),
            Err(error) => self.mistake(least, format!("{flag} {text:?}: {error}; {}", allowed())),
        }
    }

    /// Parses an address.
    pub fn address(&mut self, flag: &str, text: &str) -> SocketAddr {
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        text.parse().unwrap_or_else(|_| {
            self.mistake(
                none,
                format!("{flag} {text:?}: not an address; expected IP:PORT such as 0.0.0.0:9559 or [::]:9559"),
            )
        })
    }

    /// Checks that a directory exists.
    pub fn directory(&mut self, flag: &str, path: &Path) -> PathBuf {
        match std::fs::metadata(path) {
            _ if path.as_os_str().is_empty() => self.mistake(path.to_owned(), is_empty(flag)),
            Ok(found) if found.is_dir() => path.to_owned(),
            Ok(_) => self.mistake(path.to_owned(), format!("{flag} {}: not a directory", path.display())),
            Err(error) => self.mistake(path.to_owned(), format!("{flag} {}: {error}", path.display())),
        }
    }

    /// Checks that a text is not empty, if it is given.
    pub fn text(&mut self, flag: &str, text: Option<&str>) -> Option<String> {
        match text.map(str::trim) {
            Some("") => self.mistake(None, is_empty(flag)),
            given => given.map(str::to_owned),
        }
    }

    /// Parses the targets that a node is to be ready for, and removes duplicates.
    pub fn targets(&mut self, flag: &str, texts: &[String]) -> Vec<Target> {
        let mut targets = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(target) if targets.contains(&target) => {}
                Ok(target) => targets.push(target),
                Err(wants) => self.mistake((), format!("{flag} {text:?}: {wants}")),
            }
        }
        if targets.len() > TARGET_LIMIT {
            self.mistake(
                (),
                format!(
                    "{flag}: at most {TARGET_LIMIT} targets, and {} are given",
                    targets.len()
                ),
            );
        }
        targets
    }

    /// Parses the prefix of the labels' keys; none on a mistake.
    pub fn prefix(&mut self, flag: &str, text: &str) -> Option<Prefix> {
        match Prefix::parse(text) {
            Ok(prefix) => Some(prefix),
            Err(error) => self.mistake(None, format!("{flag} {text:?}: {error}")),
        }
    }

    /// Checks the name of a Node, which becomes part of a request's path.
    pub fn node(&mut self, flag: &str, name: Option<&str>) -> Option<String> {
        match name {
            Some(name) if is_name(name) => Some(name.to_owned()),
            Some(name) => self.mistake(
                None,
                format!("{flag} {name:?}: not the name of a Node; expected lower-case letters, digits, '-' and '.'"),
            ),
            None => self.mistake(
                None,
                format!("{flag}: the node's name is not known; labels=api and events need it"),
            ),
        }
    }

    /// Checks the path of a file that need not exist yet.
    pub fn file(&mut self, flag: &str, path: Option<&Path>) -> Option<PathBuf> {
        match path {
            Some(path) if path.as_os_str().is_empty() => self.mistake(None, is_empty(flag)),
            given => given.map(Path::to_owned),
        }
    }

    /// Records a mistake and returns `stand_in`, which is never used: [`Reader::finish`] returns an error.
    pub fn mistake<T>(&mut self, stand_in: T, mistake: String) -> T {
        // Two settings may depend on one flag.
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
        stand_in
    }

    /// Returns the mistakes; for use where there is at least one.
    pub fn refuse(self) -> Mistakes {
        Mistakes(self.0)
    }

    /// Returns an error if there was any mistake.
    pub fn finish(self) -> Result<(), Mistakes> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Mistakes(self.0))
        }
    }
}

fn is_empty(flag: &str) -> String {
    format!("{flag}: is empty; leave it out or give it a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mut reader = Reader::default();
        reader.duration("--period", "soon", SECOND, 60 * SECOND);
        reader.duration("--window", "0s", SECOND, 60 * SECOND);
        reader.address("--listen", "localhost");
        reader.directory("--proc", Path::new("/nowhere"));
        reader.text("--node-name", Some(" "));
        reader.prefix("--label-prefix", "kubernetes.io/");
        reader.node("--node-name", Some("../secrets"));
        let text = reader.finish().expect_err("seven mistakes").to_string();
        for part in [
            "7 mistakes",
            "--label-prefix \"kubernetes.io/\"",
            "--node-name \"../secrets\"",
            "--period \"soon\"",
            "1s to 1m, such as 15s",
            "--window \"0s\"",
            "--listen",
            "--proc /nowhere",
            "--node-name",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn targets_are_bounded_and_without_duplicates() {
        let targets = |count: usize| (0..count).map(|minor| format!("kubelet=1.{minor}")).collect::<Vec<_>>();
        let mut reader = Reader::default();
        let twice = [targets(8), targets(8)].concat();
        assert_eq!(reader.targets("--for", &twice).len(), 8);
        reader.finish().expect("no mistakes");
        let mut reader = Reader::default();
        reader.targets("--for", &targets(9));
        let text = reader.finish().expect_err("one too many").to_string();
        assert!(text.contains("at most 8 targets, and 9 are given"), "{text}");
    }

    #[test]
    fn valid_values_are_accepted() {
        let mut reader = Reader::default();
        assert_eq!(reader.duration("--period", "15s", SECOND, 60 * SECOND), 15 * SECOND);
        assert_eq!(reader.address("--listen", "[::]:9559").port(), 9559);
        assert_eq!(reader.text("--node-name", Some("n1")).as_deref(), Some("n1"));
        reader.finish().expect("no mistakes");
    }
}
