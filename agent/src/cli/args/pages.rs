//! `castoff completions` and `castoff man`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(in crate::cli) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(in crate::cli) shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(castoff completions bash)     in this shell, now
  castoff completions bash > /usr/share/bash-completion/completions/castoff
  castoff completions zsh > /usr/share/zsh/site-functions/_castoff
  castoff completions fish > ~/.config/fish/completions/castoff.fish";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub(in crate::cli) struct Man {
    /// The command that the page is about. Default: castoff itself
    pub(in crate::cli) command: Option<String>,
}

const MAN_HELP: &str = "\
Examples:
  castoff man | man -l -
  castoff man check > castoff-check.1";
