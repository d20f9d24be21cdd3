//! What was typed. What it means is [`crate::config`]'s.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::findings::report::{Code, Verdict};

/// Finds what on a Kubernetes node still depends on Docker, and who it is.
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
    /// Look again and again; serve metrics and the report over HTTP
    Run(Run),
    /// Look once and print the labels that this node would get; or remove them
    Labels(Labels),
    /// Say what a finding means, why it matters and what to do instead
    Explain(Explain),
}

/// Where the host is, for every command that looks at it.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Host")]
pub(super) struct HostArgs {
    /// The CRI endpoint: a path on the host, with or without `unix://`. Default: what the kubelet uses, else the well-known ones
    #[arg(long, env = "CASTOFF_RUNTIME_ENDPOINT", value_name = "ENDPOINT")]
    pub(super) runtime_endpoint: Option<String>,
    /// How long one call to the runtime may take
    #[arg(
        long,
        env = "CASTOFF_RUNTIME_TIMEOUT",
        value_name = "DURATION",
        default_value = "2s",
        allow_hyphen_values = true
    )]
    pub(super) runtime_timeout: String,
    /// A procfs of the host's PID namespace
    #[arg(long, env = "CASTOFF_PROC", value_name = "DIR", default_value = "/proc", value_parser = any_path())]
    pub(super) proc: PathBuf,
    /// The host's root directory. Default: /proc/1/root where it may be read, else /
    #[arg(long, env = "CASTOFF_HOST_ROOT", value_name = "DIR", value_parser = any_path())]
    pub(super) host_root: Option<PathBuf>,
    /// The node's name. Default: `$NODE_NAME`, else the host's name
    #[arg(long, env = "CASTOFF_NODE_NAME", value_name = "NAME")]
    pub(super) node_name: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = CHECK_HELP)]
pub(super) struct Check {
    /// How to print: a table for people, a wider one, or JSON (schema: agent/docs/report.schema.json)
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    pub(super) output: Output,
    /// The mildest verdict that makes the exit code 1
    #[arg(long, env = "CASTOFF_FAIL_ON", value_name = "VERDICT", default_value = Verdict::Exposed.code(),
          value_parser = PossibleValuesParser::new(fail_on_values()))]
    pub(super) fail_on: String,
    /// Look again and again for this long, so that clients that come and go are seen too
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) sample: Option<String>,
    /// When to colour
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(super) colour: Colour,
    #[command(flatten)]
    pub(super) host: HostArgs,
}

const CHECK_HELP: &str = "\
Exit codes: 0 nothing at or above --fail-on, 1 something is, 2 cannot tell, 64 wrong use.

Examples:
  castoff check                     one look, as a table
  castoff check --sample 10s        catch clients that come and go
  castoff check -o json | jq .verdict
  castoff check --fail-on in-use    exit 1 only where something uses Docker";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Wide,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Run {
    /// How long from one look to the next
    #[arg(
        long,
        env = "CASTOFF_PERIOD",
        value_name = "DURATION",
        default_value = "15s",
        allow_hyphen_values = true
    )]
    pub(super) period: String,
    /// How long a use counts: a client last seen before that no longer makes the node in-use
    #[arg(
        long,
        env = "CASTOFF_WINDOW",
        value_name = "DURATION",
        default_value = "7d",
        allow_hyphen_values = true
    )]
    pub(super) window: String,
    /// The address to serve HTTP on
    #[arg(
        long,
        env = "CASTOFF_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9559"
    )]
    pub(super) listen: String,
    /// Where first and last seen of each client are kept over restarts; none: they are not
    #[arg(long, env = "CASTOFF_STATE", value_name = "FILE", value_parser = any_path())]
    pub(super) state: Option<PathBuf>,
    /// How long a stop may take before it is forced
    #[arg(
        long,
        env = "CASTOFF_GRACE",
        value_name = "DURATION",
        default_value = "10s",
        allow_hyphen_values = true
    )]
    pub(super) grace: String,
    /// What to log: error, warn, info, debug, trace, or a filter by module
    #[arg(long, env = "CASTOFF_LOG", value_name = "FILTER", default_value = "info")]
    pub(super) log: String,
    /// How to log
    #[arg(long, env = "CASTOFF_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
    /// How the verdict becomes labels of this node
    #[arg(long = "labels", env = "CASTOFF_LABELS", value_enum, default_value_t = Way::Off, value_name = "WAY",
          help_heading = "Labels")]
    pub(super) way: Way,
    #[command(flatten)]
    pub(super) labels: LabelArgs,
    #[command(flatten)]
    pub(super) host: HostArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// None are published
    Off,
    /// By server-side apply on the own Node, as the pod's service account; needs get and patch of nodes
    Api,
    /// As a file that Node Feature Discovery reads; needs no right in the cluster
    Nfd,
}

/// Whose labels, and how they get there.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Labels")]
pub(super) struct LabelArgs {
    /// What the labels' keys begin with
    #[arg(
        long,
        env = "CASTOFF_LABEL_PREFIX",
        value_name = "DOMAIN",
        default_value = "castoff.dev/"
    )]
    pub(super) label_prefix: String,
    /// With --labels=api: a kubeconfig instead of the pod's service account
    #[arg(long, env = "CASTOFF_KUBECONFIG", value_name = "FILE", value_parser = any_path())]
    pub(super) kubeconfig: Option<PathBuf>,
    /// With --labels=nfd: Node Feature Discovery's directory of feature files
    #[arg(
        long,
        env = "CASTOFF_NFD_DIRECTORY",
        value_name = "DIR",
        default_value = "/etc/kubernetes/node-feature-discovery/features.d",
        value_parser = any_path()
    )]
    pub(super) nfd_directory: PathBuf,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = LABELS_HELP)]
pub(super) struct Labels {
    /// Remove castoff's labels and annotation
    #[arg(long)]
    pub(super) remove: bool,
    /// Remove them from every Node of the cluster
    #[arg(long, requires = "remove")]
    pub(super) all_nodes: bool,
    /// Which way they were published
    #[arg(long = "labels", env = "CASTOFF_LABELS", value_enum, default_value_t = Way::Api, value_name = "WAY",
          help_heading = "Labels")]
    pub(super) way: Way,
    #[command(flatten)]
    pub(super) publish: LabelArgs,
    #[command(flatten)]
    pub(super) host: HostArgs,
}

const LABELS_HELP: &str = "\
Examples:
  castoff labels                                 what this node would get
  castoff labels --remove                        from this pod's own Node
  castoff labels --remove --all-nodes --kubeconfig ~/.kube/config
                                                 from every Node, before castoff is uninstalled
  castoff labels --remove --labels nfd           the file for Node Feature Discovery";

#[derive(Debug, ClapArgs)]
pub(super) struct Explain {
    /// The finding's code; none lists all
    #[arg(value_parser = PossibleValuesParser::new(Code::ALL.iter().map(|c| c.code())))]
    pub(super) code: Option<String>,
}

/// Takes an empty path too: what is wrong with a value is told with everything else that is.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `unknown` is no bar: it has an exit code of its own.
fn fail_on_values() -> impl Iterator<Item = &'static str> {
    Verdict::ALL
        .iter()
        .filter(|v| **v != Verdict::Unknown)
        .map(|v| v.code())
}
