//! Known programs that use Docker: monitoring agents, CI runners, proxies and the like.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::codes;

codes! {
    /// The purpose of a known agent.
    AgentKind {
        /// Collects metrics and traces.
        Telemetry = "telemetry",
        /// Ships or shows logs.
        Logs = "logs",
        /// Watches or scans for threats.
        Security = "security",
        /// Builds images.
        Build = "build",
        /// Runs jobs of a CI system.
        Ci = "ci",
        /// Manages containers for people.
        Management = "management",
        /// Routes traffic to containers, or guards a socket.
        Proxy = "proxy",
        /// Updates the images of containers, or reports new ones.
        Updater = "updater",
        /// Starts containers for tests.
        Test = "test",
        /// Runs code or tools that a language model chooses.
        Ai = "ai",
        /// Copies the data of containers.
        Backup = "backup",
    }
}

codes! {
    /// The name by which an agent is known.
    AgentBasis {
        /// The image of the container.
        Image = "image",
        /// The executable of the process.
        Executable = "executable",
    }
}

/// A known agent that a program has the name of. The user who starts a program chooses its image and its executable, so
/// this is only a claim: it adds advice and changes no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownAgent {
    /// The name of the agent.
    pub name: &'static str,
    /// Its purpose.
    pub kind: AgentKind,
    /// The name that matches.
    pub by: AgentBasis,
}

impl fmt::Display for KnownAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.by {
            AgentBasis::Image => "image name",
            AgentBasis::Executable => "program name",
        };
        write!(f, "its {name} matches {}", self.name)
    }
}
