//! The kubeconfig of a person at a workstation, found as kubectl finds it: the file that was named, else those of `$KUBECONFIG`,
//! else the one in the home directory, else a pod's service account; and the context in it.
//!
//! If a user entry in it names a program, that program is started to get a token. Most clusters need this, and the
//! person who started castoff may start that program anyway.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::access::refuse_other_kinds;
use crate::model::reading::Gap;

/// The location of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workstation {
    files: Vec<PathBuf>,
    /// True if a missing file is no error, as long as another exists.
    may_be_missing: bool,
    in_pod: bool,
    context: Option<String>,
}

/// The reason why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Nothing names a file.
    #[error(
        "there is none: give --kubeconfig, set KUBECONFIG, or put one at ~/.kube/config; no pod's service account is here either"
    )]
    None,
    /// One of the files.
    #[error("{}: {why}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The error.
        why: String,
    },
    /// It names no current context.
    #[error("it names no current context; choose one with --context: {}", listed(.0))]
    NoContext(Vec<String>),
    /// The chosen context does not exist.
    #[error("there is no context {asked:?} in it; it has {}", listed(contexts))]
    OtherContexts {
        /// The name that was requested.
        asked: String,
        /// The names that exist.
        contexts: Vec<String>,
    },
    /// Any other inconsistency.
    #[error("{0}")]
    Other(String),
}

impl Workstation {
    /// Finds the files without reading any: `given` is `--kubeconfig`, `variable` the environment.
    pub fn find(given: Option<PathBuf>, context: Option<String>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value: &OsString| !value.is_empty());
        let may_be_missing = given.is_none();
        let files = match (given, set("KUBECONFIG")) {
            (Some(file), _) => vec![file],
            (None, Some(list)) => std::env::split_paths(&list)
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
            (None, None) => {
                let home = set("HOME").map(PathBuf::from);
                home.map(|home| home.join(".kube/config")).into_iter().collect()
            }
        };
        let in_pod = may_be_missing && set("KUBERNETES_SERVICE_HOST").is_some();
        Self {
            files,
            may_be_missing,
            in_pod,
            context,
        }
    }

    /// Reads the current credentials.
    pub(super) async fn read(&self) -> Result<Config, Unusable> {
        let other = |error: &dyn std::error::Error| Unusable::Other(Gap::chain(error));
        let mut merged: Option<Kubeconfig> = None;
        for path in &self.files {
            if self.may_be_missing && matches!(path.try_exists(), Ok(false)) {
                continue;
            }
            let refused = |why: String| Unusable::File {
                path: path.clone(),
                why,
            };
            refuse_other_kinds(path).map_err(refused)?;
            let file = Kubeconfig::read_from(path).map_err(|error| refused(Gap::chain(&error)))?;
            merged = Some(match merged {
                Some(before) => before.merge(file).map_err(|error| refused(Gap::chain(&error)))?,
                None => file,
            });
        }
        let Some(file) = merged else {
            return if self.in_pod && self.context.is_none() {
                Config::incluster().map_err(|error| other(&error))
            } else {
                Err(Unusable::None)
            };
        };
        self.choose(&file)?;
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        config.map_err(|error| other(&error))
    }

    fn choose(&self, file: &Kubeconfig) -> Result<(), Unusable> {
        let contexts: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
        let current = file.current_context.as_ref().filter(|name| !name.is_empty());
        match self.context.as_ref().or(current) {
            None => Err(Unusable::NoContext(contexts)),
            Some(asked) if !contexts.contains(asked) => Err(Unusable::OtherContexts {
                asked: asked.clone(),
                contexts,
            }),
            Some(_) => Ok(()),
        }
    }
}

impl fmt::Display for Workstation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kubeconfig")?;
        for (at, path) in self.files.iter().enumerate() {
            write!(f, "{} {}", if at == 0 { "" } else { "," }, path.display())?;
        }
        if let Some(context) = &self.context {
            write!(f, ", context {context:?}")?;
        }
        Ok(())
    }
}

fn listed(contexts: &[String]) -> String {
    if contexts.is_empty() {
        "none at all".to_owned()
    } else {
        contexts.join(", ")
    }
}
