//! The credentials for the API server: the pod's service account, a kubeconfig that was named, or a person's.
//!
//! For labels a kubeconfig is never guessed from `$KUBECONFIG` or a home directory: labels on a node of the wrong cluster would
//! be worse than none.

use std::fmt;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::refusal::Refusal;
use super::workstation::Workstation;

/// The maximum size of a kubeconfig in bytes. A kubeconfig with embedded certificates of a hundred clusters has a tenth
/// of it.
const KUBECONFIG_LIMIT: u64 = 1 << 20;

/// The source of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The service account that the kubelet mounts into a pod.
    ServiceAccount,
    /// A file.
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// True if a program that it names may be started for a token. The agent starts none: it could hang, and an agent with
        /// root's rights should start no program that a file names.
        programs: bool,
    },
    /// The kubeconfig that a person's kubectl would use.
    Workstation(Workstation),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount => f.write_str("the pod's service account"),
            Self::Kubeconfig { path, .. } => write!(f, "kubeconfig {}", path.display()),
            Self::Workstation(person) => person.fmt(f),
        }
    }
}

impl Access {
    /// True if reading it may start a program.
    pub const fn starts_programs(&self) -> bool {
        match self {
            Self::ServiceAccount => false,
            Self::Kubeconfig { programs, .. } => *programs,
            Self::Workstation(_) => true,
        }
    }

    /// Reads the current credentials. Blocks on files.
    ///
    /// # Errors
    /// [`Outcome::Unconfigured`](crate::model::publishing::Outcome::Unconfigured), with the missing or invalid part.
    pub async fn read(&self) -> Result<Config, Refusal> {
        let refused = |why: &dyn fmt::Display| Refusal::unconfigured(self.to_string(), why);
        let mut config = match self {
            Self::Workstation(person) => person.read().await.map_err(|error| refused(&error))?,
            Self::ServiceAccount => {
                Config::incluster().map_err(|error| refused(&format!("{error}; outside a pod give --kubeconfig")))?
            }
            Self::Kubeconfig { path, programs } => {
                refuse_other_kinds(path).map_err(|why| refused(&why))?;
                let file = Kubeconfig::read_from(path).map_err(|error| refused(&error))?;
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(file, &options).await;
                let config = config.map_err(|error| refused(&error))?;
                let starts_one = config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
                if starts_one && !programs {
                    return Err(refused(&"it names a program for a token, and the agent starts none"));
                }
                config
            }
        };
        // The client's own retries would not be counted; `pace` decides when to retry.
        config.default_retry = false;
        Ok(config)
    }
}

/// Accepts regular files only: a FIFO would wait for its writer forever, and a device may never end.
pub(super) fn refuse_other_kinds(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err("it is not a file".to_owned()),
        Ok(found) if found.len() > KUBECONFIG_LIMIT => Err("it is larger than 1 MiB".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
