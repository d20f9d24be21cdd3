//! The arguments as typed, a file for each command. [`crate::config`] validates them.

mod check;
mod cluster;
mod connects;
mod explain;
mod host;
mod http;
mod labels;
mod pages;
mod run;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

pub(super) use check::{Check, Colour, Output};
pub(super) use cluster::{Cluster, FleetOutput};
pub(super) use connects::ConnectArgs;
pub(super) use explain::{AGENTS, Explain};
pub(super) use host::HostArgs;
pub(super) use http::{Auth, HttpArgs};
pub(super) use labels::{LabelArgs, Labels, Way};
pub(super) use pages::{Completions, Man, Shell};
pub(super) use run::{LogFormat, Run};

/// Finds the programs and settings on a Kubernetes node that still depend on Docker.
#[derive(Debug, Parser)]
#[command(name = "castoff", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at this node once and print what was found
    Check(Check),
    /// Look repeatedly; serve metrics and the report over HTTP
    Run(Run),
    /// Ask every node's agent, from a workstation with a kubeconfig, and print one line for each node
    Cluster(Cluster),
    /// Look once and print the labels that this node would get; or remove them
    Labels(Labels),
    /// Say what a finding means, why it matters and what to do instead
    Explain(Explain),
    /// Print the completions of a shell
    #[command(visible_alias = "completion")]
    Completions(Completions),
    /// Print a manual page
    Man(Man),
}

/// Accepts an empty path too: it is reported together with all other mistakes.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
