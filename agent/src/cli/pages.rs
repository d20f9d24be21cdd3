//! `castoff completions` and `castoff man`, generated from the definitions of the arguments.

use anyhow::Context;
use clap::{Command, CommandFactory as _};
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};
use clap_mangen::Man;

use super::args::{Args, Shell};
use super::{OK, print};
use crate::config::{Mistakes, Reader};

pub(super) fn completions(shell: Shell) -> anyhow::Result<u8> {
    let mut command = Args::command();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(Bash, &mut command, "castoff", &mut script),
        Shell::Zsh => generate(Zsh, &mut command, "castoff", &mut script),
        Shell::Fish => generate(Fish, &mut command, "castoff", &mut script),
    }
    print(&String::from_utf8(script).context("the completions are not UTF-8")?)?;
    Ok(OK)
}

pub(super) fn man(of: Option<&str>) -> anyhow::Result<u8> {
    let mut castoff = Args::command();
    castoff.build(); // sets the full names of the subcommands
    let command = match of {
        None => castoff,
        Some(name) => find(&castoff, name)?.clone(),
    };
    let mut page = Vec::new();
    Man::new(command)
        .source(concat!("castoff ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .context("writing the page")?;
    print(&String::from_utf8(page).context("the page is not UTF-8")?)?;
    Ok(OK)
}

fn find<'c>(castoff: &'c Command, name: &str) -> Result<&'c Command, Mistakes> {
    castoff.find_subcommand(name).ok_or_else(|| {
        let names: Vec<&str> = castoff.get_subcommands().map(Command::get_name).collect();
        let mut reader = Reader::default();
        reader.mistake(
            (),
            format!(
                "{name:?} is not a command of castoff; expected one of {}",
                names.join(", ")
            ),
        );
        reader.refuse()
    })
}
