//! Known agents, from castoff's catalogue `agent/data/agents.json`. Its README documents each field; a newer castoff has a newer
//! catalogue.
//!
//! The user who starts a program chooses its image and its executable, so a match adds advice and changes nothing else
//! (ADR 22).

pub(super) mod claims;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::releases::Day;
use crate::model::known_agent::{AgentBasis, AgentKind, KnownAgent};
use crate::model::request::Operation;
use crate::model::workload::container_name::without_tag;

/// The catalogue as it is in the source tree.
const TEXT: &str = include_str!("../../data/agents.json");

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| read(TEXT).expect("a test reads the catalogue"));

/// The catalogue.
pub fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}

/// The agents that castoff knows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Catalogue {
    /// The day on which it was last changed.
    pub as_of: &'static str,
    /// The agents.
    pub agents: Vec<Agent>,
}

/// A program that is known to use Docker.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// Its name.
    pub name: &'static str,
    /// Its purpose.
    pub kind: AgentKind,
    /// The last segments of the paths of its images.
    #[serde(default)]
    pub images: Vec<&'static str>,
    /// The last segments of the paths of its executables.
    #[serde(default)]
    pub executables: Vec<&'static str>,
    /// The setting or the version with which it no longer needs Docker's socket.
    pub advice: &'static str,
    /// The advice that replaces the general one for requests of a class.
    #[serde(default)]
    pub by_operation: BTreeMap<Operation, &'static str>,
    /// The advice where it uses the runtime's own socket.
    pub runtime_advice: Option<&'static str>,
    /// The address of the documentation.
    pub source: &'static str,
    /// The day on which the advice was compared with that documentation; none if it was not.
    pub checked: Option<&'static str>,
}

impl Agent {
    /// The agent as it is published.
    fn known(&self, by: AgentBasis) -> KnownAgent {
        KnownAgent {
            name: self.name,
            kind: self.kind,
            by,
        }
    }

    fn patterns(&self) -> impl Iterator<Item = &'static str> {
        self.images.iter().chain(&self.executables).copied()
    }

    /// Returns the defect of an entry.
    fn defect(&self) -> Option<String> {
        let texts = [self.name, self.advice].into_iter().chain(self.runtime_advice);
        let mut texts = texts.chain(self.by_operation.values().copied());
        let is_pattern = |pattern: &str| {
            let is_segment = |segment: &str| !segment.is_empty() && !segment.contains([':', '@', '*', ' ']);
            pattern.split('/').all(is_segment)
        };
        if texts.any(|text| text.trim().is_empty()) {
            Some("an empty text".to_owned())
        } else if self.patterns().next().is_none() {
            Some("neither an image nor an executable".to_owned())
        } else if let Some(pattern) = self.patterns().find(|pattern| !is_pattern(pattern)) {
            Some(format!("{pattern:?} is not a pattern"))
        } else if !self.source.starts_with("https://") {
            Some(format!("{:?} is not a source", self.source))
        } else {
            self.checked.and_then(|day| Day::try_from(day).err())
        }
    }
}

/// Reads a catalogue, and refuses one with a defect.
fn read(text: &'static str) -> Result<Catalogue, String> {
    let catalogue: Catalogue = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Day::try_from(catalogue.as_of)?;
    for agent in &catalogue.agents {
        if let Some(defect) = agent.defect() {
            return Err(format!("{}: {defect}", agent.name));
        }
    }
    let agents = catalogue.agents.iter();
    let all = |names: fn(&Agent) -> &[&'static str]| agents.clone().flat_map(names).copied().collect();
    let all: [Vec<&str>; 3] = [
        all(|agent| std::slice::from_ref(&agent.name)),
        all(|agent| &agent.images),
        all(|agent| &agent.executables),
    ];
    match all.iter().find_map(|names| repeated(names)) {
        Some(name) => Err(format!("{name:?} is there twice")),
        None => Ok(catalogue),
    }
}

/// Returns a name that is the end of another one, so that both would match.
fn repeated<'a>(names: &[&'a str]) -> Option<&'a str> {
    let others = |at: usize| names.iter().enumerate().filter(move |(other, _)| *other != at);
    let mut each = names.iter().enumerate();
    let found = each.find(|(at, name)| others(*at).any(|(_, other)| ends_in(other, name)));
    found.map(|(_, name)| *name)
}

/// Returns the entry of an agent that was found.
pub(super) fn entry(known: KnownAgent) -> Option<&'static Agent> {
    catalogue().agents.iter().find(|agent| agent.name == known.name)
}

/// Returns the agent that has an image of this name.
fn of_image(reference: &str) -> Option<KnownAgent> {
    let path = path_of(without_tag(reference)?);
    let agent = find(|agent| &agent.images, |pattern| is_image(path, pattern));
    agent.map(|agent| agent.known(AgentBasis::Image))
}

/// Returns the agent that has an executable of this name.
fn of_executable(path: &str) -> Option<KnownAgent> {
    let agent = find(|agent| &agent.executables, |pattern| ends_in(path, pattern));
    agent.map(|agent| agent.known(AgentBasis::Executable))
}

/// Returns the agent whose name matches; there is at most one.
fn find(
    names: impl Fn(&'static Agent) -> &'static [&'static str],
    fits: impl Fn(&str) -> bool,
) -> Option<&'static Agent> {
    let mut agents = catalogue().agents.iter();
    agents.find(|agent| names(agent).iter().any(|name| fits(name)))
}

/// Returns an image's name without its registry. The first segment is a registry's address if it could be a host's.
fn path_of(name: &str) -> &str {
    match name.split_once('/') {
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => path,
        _ => name,
    }
}

/// True if `path` is an image with the name `pattern`, perhaps in a project of a mirror. A pattern of one segment is
/// one of Docker's official images, which are in the project `library`. In any other project the name does not match.
fn is_image(path: &str, pattern: &str) -> bool {
    if pattern.contains('/') {
        return ends_in(path, pattern);
    }
    path == pattern
        || path
            .strip_suffix(pattern)
            .is_some_and(|project| ends_in(project, "library/"))
}

/// True if the last segments of `path` are `pattern`.
fn ends_in(path: &str, pattern: &str) -> bool {
    let before = path.strip_suffix(pattern);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests;
