//! `castoff check`.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::HostArgs;
use crate::findings::report::Verdict;

#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(in crate::cli) struct Check {
    /// How to print: a table for people, a wider one, or JSON (schema: agent/docs/report.schema.json)
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    pub(in crate::cli) output: Output,
    /// The mildest verdict that makes the exit code 1
    #[arg(long, env = "CASTOFF_FAIL_ON", value_name = "VERDICT", default_value = Verdict::Exposed.code(),
          value_parser = PossibleValuesParser::new(fail_on_values()))]
    pub(in crate::cli) fail_on: String,
    /// Look again and again for this long, so that clients that come and go are seen too
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(in crate::cli) sample: Option<String>,
    /// When to colour
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(in crate::cli) colour: Colour,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

const CHECK_HELP: &str = "\
Exit codes: 0 nothing at or above --fail-on, 1 something is, 2 cannot tell, 64 wrong use.

Examples:
  castoff check                     one look, as a table
  castoff check --sample 10s        catch clients that come and go
  castoff check -o json | jq .verdict
  castoff check --fail-on in-use    exit 1 only where something uses Docker";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Output {
    Table,
    Wide,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Colour {
    Auto,
    Always,
    Never,
}

/// `unknown` is no bar: it has an exit code of its own.
fn fail_on_values() -> impl Iterator<Item = &'static str> {
    Verdict::ALL
        .iter()
        .filter(|v| **v != Verdict::Unknown)
        .map(|v| v.code())
}
