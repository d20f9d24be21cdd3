//! `castoff labels`, and the labels of `castoff run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{HostArgs, any_path};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Way {
    /// Publish no labels
    Off,
    /// Server-side apply to the node's own Node object, as the pod's service account; needs get and patch of nodes
    Api,
    /// A file that Node Feature Discovery reads; needs no right in the cluster
    Nfd,
}

/// The labels' prefix, and the way to publish them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels")]
pub(in crate::cli) struct LabelArgs {
    /// The prefix of the labels' keys
    #[arg(
        long,
        env = "CASTOFF_LABEL_PREFIX",
        value_name = "DOMAIN",
        default_value = "castoff.dev/"
    )]
    pub(in crate::cli) label_prefix: String,
    /// With --labels=api, --events or --auth=kubernetes: a kubeconfig instead of the pod's service account
    #[arg(long, env = "CASTOFF_KUBECONFIG", value_name = "FILE", value_parser = any_path())]
    pub(in crate::cli) kubeconfig: Option<PathBuf>,
    /// With --labels=nfd: Node Feature Discovery's directory of feature files
    #[arg(
        long,
        env = "CASTOFF_NFD_DIRECTORY",
        value_name = "DIR",
        default_value = "/etc/kubernetes/node-feature-discovery/features.d",
        value_parser = any_path()
    )]
    pub(in crate::cli) nfd_directory: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = LABELS_HELP)]
pub(in crate::cli) struct Labels {
    /// Remove castoff's labels and annotation
    #[arg(long)]
    pub(in crate::cli) remove: bool,
    /// Remove them from every Node of the cluster
    #[arg(long, requires = "remove")]
    pub(in crate::cli) all_nodes: bool,
    /// The way in which they were published
    #[arg(long = "labels", env = "CASTOFF_LABELS", value_enum, default_value_t = Way::Api, value_name = "WAY",
          help_heading = "Labels")]
    pub(in crate::cli) way: Way,
    #[command(flatten)]
    pub(in crate::cli) publish: LabelArgs,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

const LABELS_HELP: &str = "\
Examples:
  castoff labels                                 what this node would get
  castoff labels --remove                        from this pod's own Node
  castoff labels --remove --all-nodes --kubeconfig ~/.kube/config
                                                 from every Node, before castoff is uninstalled
  castoff labels --remove --labels nfd           the file for Node Feature Discovery";
