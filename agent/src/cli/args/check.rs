//! `castoff check`.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::{ConnectArgs, HostArgs};
use crate::findings::report::Verdict;

#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(in crate::cli) struct Check {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    pub(in crate::cli) output: Output,
    /// The mildest verdict that makes the exit code 1
    #[arg(long, env = "CASTOFF_FAIL_ON", value_name = "VERDICT", default_value = Verdict::Exposed.code(),
          value_parser = PossibleValuesParser::new(fail_on_values()))]
    pub(in crate::cli) fail_on: String,
    /// Check whether the node is ready for these, and list what blocks each: kubelet=1.38, containerd=2.4, cri-o=1.37, docker=29,
    /// docker=removed. The exit code then depends on this instead of on the verdict
    #[arg(long = "for", value_name = "PRODUCT=VERSION", value_delimiter = ',')]
    pub(in crate::cli) ready_for: Vec<String>,
    /// Look repeatedly for this long, to see clients that come and go
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(in crate::cli) sample: Option<String>,
    /// Look until interrupted: a terminal shows the latest look, anything else gets one after the other
    #[arg(short, long, conflicts_with = "sample")]
    pub(in crate::cli) watch: bool,
    /// With --watch: from the end of one look to the start of the next
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2s",
        requires = "watch",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) interval: String,
    /// When to use colour; auto: on a terminal, unless `$NO_COLOR` is set
    #[arg(long, visible_alias = "color", value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(in crate::cli) colour: Colour,
    #[command(flatten)]
    pub(in crate::cli) connects: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

const CHECK_HELP: &str = "\
Exit codes:
  0   the verdict is milder than --fail-on; with --for: the node is ready for all targets
  1   the verdict is --fail-on or worse; with --for: the node is not ready for at least one target
  2   castoff cannot tell
  64  wrong usage
  70  castoff failed, for example because it could not write its output

A reader that leaves early (castoff check | head) does not change the exit code. With --watch, the last look counts.

Examples:
  castoff check                     one look, as a table
  castoff check --sample 10s        catch clients that come and go
  castoff check --watch             keep looking; Ctrl-C ends it
  castoff check -o json | jq .verdict
  castoff check -o junit --fail-on in-use > castoff.xml
                                    for CI: fails only if something uses Docker
  castoff check --for kubelet=1.38,docker=removed
                                    what blocks an upgrade
  castoff check -o sarif > castoff.sarif
                                    for code scanning";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Output {
    /// For people, as wide as the terminal
    Table,
    /// With every detail, nothing shortened
    Wide,
    /// For programs; schema: agent/docs/report.schema.json
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for CI: fails exactly if the exit code is not 0
    Junit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Colour {
    Auto,
    Always,
    Never,
}

/// The values of `--fail-on`: all but `unknown`, which has an exit code of its own.
pub(super) fn fail_on_values() -> impl Iterator<Item = &'static str> {
    Verdict::ALL
        .iter()
        .filter(|v| **v != Verdict::Unknown)
        .map(|v| v.code())
}
