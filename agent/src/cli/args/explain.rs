//! `castoff explain`.

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::findings::report::Code;

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(in crate::cli) struct Explain {
    /// The finding's code; without it, all are listed
    #[arg(value_parser = PossibleValuesParser::new(Code::ALL.iter().map(|c| c.code())))]
    pub(in crate::cli) code: Option<String>,
}

const EXPLAIN_HELP: &str = "\
Examples:
  castoff explain                   every code with its title
  castoff explain socket-client     what it means and what to do";
