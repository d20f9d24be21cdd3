//! `castoff cluster`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::any_path;
use super::check::{Colour, fail_on_values};
use crate::findings::report::Verdict;

#[derive(Debug, Args)]
#[command(after_help = CLUSTER_HELP)]
pub(in crate::cli) struct Cluster {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = FleetOutput::Table, value_name = "FORMAT")]
    pub(in crate::cli) output: FleetOutput,
    /// The mildest verdict of any node that makes the exit code 1
    #[arg(long, env = "CASTOFF_FAIL_ON", value_name = "VERDICT", default_value = Verdict::Exposed.code(),
          value_parser = PossibleValuesParser::new(fail_on_values()))]
    pub(in crate::cli) fail_on: String,
    /// Check whether each node is ready for these, according to the report of its agent: kubelet=1.38, containerd=2.4,
    /// cri-o=1.37, docker=29, docker=removed. The exit code then depends on this instead of on the verdicts
    #[arg(long = "for", value_name = "PRODUCT=VERSION", value_delimiter = ',')]
    pub(in crate::cli) ready_for: Vec<String>,
    /// Look until interrupted: all nodes once, then those that have changed
    #[arg(short, long)]
    pub(in crate::cli) watch: bool,
    /// With --watch: from the end of one look to the start of the next
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15s",
        requires = "watch",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) interval: String,
    /// When to use colour; auto: on a terminal, unless `$NO_COLOR` is set
    #[arg(long, visible_alias = "color", value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(in crate::cli) colour: Colour,
    /// A kubeconfig. Default: `$KUBECONFIG`, else ~/.kube/config, else the pod's service account
    #[arg(long, value_name = "FILE", value_parser = any_path(), help_heading = "Cluster")]
    pub(in crate::cli) kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context. Default: its current one
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub(in crate::cli) context: Option<String>,
    /// The namespace that castoff runs in
    #[arg(
        short,
        long,
        env = "CASTOFF_NAMESPACE",
        value_name = "NAME",
        default_value = "castoff",
        help_heading = "Cluster"
    )]
    pub(in crate::cli) namespace: String,
    /// Select nodes by their labels, as kubectl does. Default: all
    #[arg(short = 'l', long, value_name = "LABELS", help_heading = "Cluster")]
    pub(in crate::cli) selector: Option<String>,
    /// The label selector of castoff's agent pods
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "app.kubernetes.io/name=castoff",
        help_heading = "Cluster"
    )]
    pub(in crate::cli) agents: String,
    /// The port of the agents; `https:PORT` if they serve TLS. Default: the port in the spec of an agent's pod, else 9559
    #[arg(long, value_name = "PORT", help_heading = "Cluster")]
    pub(in crate::cli) port: Option<String>,
    /// The service account whose token castoff requests for agents that require one. Default: the annotation
    /// castoff.dev/reader of an agent's pod, else castoff-reader
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub(in crate::cli) reader: Option<String>,
    /// The number of agents to ask at the same time
    #[arg(long, value_name = "NUMBER", default_value = "50", help_heading = "Cluster",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli) concurrency: u16,
    /// The timeout of one request
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        allow_hyphen_values = true,
        help_heading = "Cluster"
    )]
    pub(in crate::cli) timeout: String,
    /// The maximum age of an agent's last look; agents look every 15s by default
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        allow_hyphen_values = true,
        help_heading = "Cluster"
    )]
    pub(in crate::cli) stale_after: String,
}

const CLUSTER_HELP: &str = "\
castoff prints a line for each node. A node that does not answer is unknown, with the reason. You need the right to list nodes,
and to list pods and get pods/proxy in castoff's namespace. If the agents control access (run --auth kubernetes), you also need
the right to create serviceaccounts/token for --reader there: castoff requests a token that is valid for ten minutes and that
only agents accept.

Exit codes:
  0   the verdict of every node is milder than --fail-on; with --for: all nodes are ready
  1   the verdict of a node is --fail-on or worse; with --for: a node is not ready
  2   castoff cannot tell: a node is unknown, or castoff could not list all nodes
  64  wrong usage, such as a kubeconfig that does not exist
  70  castoff failed, for example because it could not write its output

Examples:
  castoff cluster                           all nodes, as a table
  castoff cluster --context prod -n tools   castoff runs in namespace tools
  castoff cluster -l kubernetes.io/os=linux
                                            without nodes on which no agent can run
  castoff cluster -o html > docker.html     one page to share
  castoff cluster -o json | jq '.nodes[] | select(.verdict == \"in-use\") | .node'
  castoff cluster --for kubelet=1.38        which nodes are ready for it
  castoff cluster --watch --interval 1m     and then what changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FleetOutput {
    /// For people: a line for each node as it arrives, then a summary
    Table,
    /// With every detail, nothing shortened
    Wide,
    /// For programs; schema: agent/docs/fleet.schema.json
    Json,
    /// One self-contained page to share
    Html,
}
