//! `castoff explain`.

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};

use crate::findings::report::Code;

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(in crate::cli) struct Explain {
    /// The finding's code, or `agents` for the catalogue of known agents; without it, all codes are listed
    #[arg(value_parser = PossibleValuesParser::new(Code::ALL.iter().map(|c| c.code()).chain([AGENTS])))]
    pub(in crate::cli) code: Option<String>,
    /// With `agents`: the name of one agent, in upper or lower case
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(in crate::cli) name: Vec<String>,
}

/// The word for the catalogue of known agents, in the place of a code.
pub(in crate::cli) const AGENTS: &str = "agents";

const EXPLAIN_HELP: &str = "\
Examples:
  castoff explain                   every code with its title
  castoff explain socket-client     what it means and what to do
  castoff explain agents            the agents that castoff knows, and how to move each off Docker
  castoff explain agents portainer  one of them";
