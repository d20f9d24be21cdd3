//! A target that a node is to be ready for: a version of the kubelet or of a runtime, or Docker's removal.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::findings::releases::Version;

/// A target that a node can be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(with = "String")]
pub enum Target {
    /// A kubelet of this Kubernetes minor.
    Kubelet(Version),
    /// A release line of containerd.
    Containerd(Version),
    /// A release line of CRI-O.
    Crio(Version),
    /// A release line of Docker.
    Docker(Version),
    /// A node without Docker.
    DockerRemoved,
}

impl Target {
    /// The product, as it is typed.
    pub const fn product(self) -> &'static str {
        match self {
            Self::Kubelet(_) => "kubelet",
            Self::Containerd(_) => "containerd",
            Self::Crio(_) => "cri-o",
            Self::Docker(_) | Self::DockerRemoved => "docker",
        }
    }

    /// Things that castoff does not read, and that can be obstacles to the target.
    pub const fn not_judged(self) -> &'static [&'static str] {
        match self {
            Self::Kubelet(_) => &[
                "the version of the kubelet that runs now",
                "whether kubelet and runtime use the same cgroup driver",
                "changes of the distribution's own",
            ],
            Self::Containerd(_) => &["containerd's configuration files", "changes of the distribution's own"],
            Self::Crio(_) => &["CRI-O's configuration files", "changes of the distribution's own"],
            Self::Docker(_) => &[
                "Docker's configuration files",
                "API versions that no client has used yet",
            ],
            Self::DockerRemoved => &["scripts and timers that call docker and did not run within the window"],
        }
    }

    /// The version, as it is typed.
    pub fn version(self) -> String {
        match self {
            // Since 23.0 Docker's lines have a major number only.
            Self::Docker(Version(major, 0)) => major.to_string(),
            Self::Kubelet(version) | Self::Containerd(version) | Self::Crio(version) | Self::Docker(version) => {
                version.to_string()
            }
            Self::DockerRemoved => "removed".to_owned(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.product(), self.version())
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const PRODUCTS: &str = "expected kubelet=, containerd=, cri-o= or docker= and a version, such as kubelet=1.38";
        const VERSION: &str = "not a version; expected MAJOR.MINOR, such as kubelet=1.38";
        const DOCKER: &str = "not a version of Docker; expected a major number, such as docker=29, or docker=removed";
        let (product, version) = text.trim().split_once('=').ok_or(PRODUCTS)?;
        let parsed = version.parse::<Version>();
        // A bare `2` could be any release of 2.
        let line = parsed.as_ref().ok().filter(|_| version.contains('.')).copied();
        match product {
            "kubelet" => Ok(Self::Kubelet(line.ok_or(VERSION)?)),
            "containerd" => Ok(Self::Containerd(line.ok_or(VERSION)?)),
            "cri-o" => Ok(Self::Crio(line.ok_or(VERSION)?)),
            "docker" if version == "removed" => Ok(Self::DockerRemoved),
            "docker" => match parsed {
                Ok(Version(major, _)) if major >= 23 => Ok(Self::Docker(Version(major, 0))),
                Ok(version) => Ok(Self::Docker(version)),
                Err(_) => Err(DOCKER),
            },
            _ => Err(PRODUCTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_they_are_typed() {
        for (text, target, shown) in [
            ("kubelet=1.38", Target::Kubelet(Version(1, 38)), "kubelet=1.38"),
            ("kubelet=v1.38.2", Target::Kubelet(Version(1, 38)), "kubelet=1.38"),
            ("kubelet=0.1", Target::Kubelet(Version(0, 1)), "kubelet=0.1"),
            ("containerd=2.4", Target::Containerd(Version(2, 4)), "containerd=2.4"),
            (" cri-o=1.37 ", Target::Crio(Version(1, 37)), "cri-o=1.37"),
            ("docker=29", Target::Docker(Version(29, 0)), "docker=29"),
            ("docker=29.1.2", Target::Docker(Version(29, 0)), "docker=29"),
            ("docker=20.10", Target::Docker(Version(20, 10)), "docker=20.10"),
            ("docker=removed", Target::DockerRemoved, "docker=removed"),
        ] {
            let parsed: Target = text.parse().expect(text);
            assert_eq!((parsed, parsed.to_string().as_str()), (target, shown), "{text}");
        }
    }

    #[test]
    fn mistakes_are_refused_with_the_expected_form() {
        for (text, wants) in [
            ("", "such as kubelet=1.38"),
            ("kubelet", "such as kubelet=1.38"),
            ("foo=1", "expected kubelet=, containerd=, cri-o= or docker="),
            ("Kubelet=1.38", "expected kubelet="),
            ("kubelet=abc", "not a version"),
            ("kubelet=", "not a version"),
            ("kubelet=1", "not a version"),
            ("kubelet=1.", "not a version"),
            ("kubelet=1.+3", "not a version"),
            ("kubelet=1.38.1.2", "not a version"),
            ("kubelet=1.99999999999", "not a version"),
            ("kubelet=removed", "not a version"),
            ("containerd=latest", "not a version"),
            ("docker=gone", "or docker=removed"),
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.contains(wants), "{text}: {error}");
        }
    }
}
