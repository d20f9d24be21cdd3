//! `castoff explain`.

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::findings::report::Code;

#[derive(Debug, Args)]
pub(in crate::cli) struct Explain {
    /// The finding's code; none lists all
    #[arg(value_parser = PossibleValuesParser::new(Code::ALL.iter().map(|c| c.code())))]
    pub(in crate::cli) code: Option<String>,
}
