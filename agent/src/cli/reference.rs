//! The references under `agent/docs`, made from the definitions behind `--help` and `castoff explain`, so that they cannot
//! differ.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::args::Args;
use crate::findings::catalogue::entry;
use crate::findings::report::{Code, Verdict};
use crate::sinks::golden;

fn command() -> Command {
    let mut castoff = Args::command();
    castoff.build();
    castoff
}

fn commands(castoff: &Command) -> impl Iterator<Item = &Command> {
    castoff.get_subcommands().filter(|command| command.get_name() != "help")
}

#[test]
fn the_reference_of_the_command_line_is_up_to_date() {
    let castoff = command();
    let mut text = String::from(
        "# The command line\n\nWritten from `src/cli/args`; change that, then run the tests with `CASTOFF_BLESS=1`.\n\n\
         An argument wins over its environment variable, which wins over the default. Durations are written as `15s`, `5m`, \
         `7d`.\n\nExit codes: 0 nothing at or above `--fail-on`, 1 something is, 2 cannot tell, 64 wrong use, 70 castoff \
         itself failed.\n",
    );
    for command in commands(&castoff) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## castoff {}\n\n{}.\n",
            command.get_name(),
            command.get_about().expect("it has one")
        );
        let positional: Vec<&Arg> = command.get_positionals().collect();
        arguments(&positional, "Argument", &mut text);
        let options = command
            .get_arguments()
            .filter(|a| !a.is_positional() && a.get_id() != "help");
        let options: Vec<&Arg> = options.collect();
        let mut headings: Vec<Option<&str>> = Vec::new();
        for option in &options {
            if !headings.contains(&option.get_help_heading()) {
                headings.push(option.get_help_heading());
            }
        }
        for heading in headings {
            let under: Vec<&Arg> = options
                .iter()
                .filter(|o| o.get_help_heading() == heading)
                .copied()
                .collect();
            arguments(&under, heading.unwrap_or("Option"), &mut text);
        }
        let after = command.get_after_help().expect("it has examples");
        let _ = write!(text, "\n```text\n{after}\n```\n");
    }
    golden::hold("docs/cli.md", &text);
}

fn arguments(arguments: &[&Arg], title: &str, text: &mut String) {
    if arguments.is_empty() {
        return;
    }
    let _ = write!(text, "\n| {title} | Default | Environment | |\n|---|---|---|---|\n");
    for argument in arguments {
        let defaults: Vec<String> = argument
            .get_default_values()
            .iter()
            .map(|v| v.display().to_string())
            .collect();
        let default = if takes_value(argument) && !defaults.is_empty() {
            format!("`{}`", defaults.join(" "))
        } else {
            String::new()
        };
        let variable = argument
            .get_env()
            .map_or(String::new(), |name| format!("`{}`", name.display()));
        let mut help = argument.get_help().expect("it says what it is").to_string();
        let values = argument.get_possible_values();
        if takes_value(argument) && !values.is_empty() {
            let values = values.iter().map(|value| match value.get_help() {
                Some(help) => format!("`{}` ({help})", value.get_name()),
                None => format!("`{}`", value.get_name()),
            });
            let _ = write!(help, ": {}", values.collect::<Vec<_>>().join(", "));
        }
        let _ = writeln!(
            text,
            "| `{}` | {default} | {variable} | {} |",
            name(argument),
            help.replace('|', "\\|")
        );
    }
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

fn name(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .map_or(String::new(), |names| names.join(" "));
    let Some(long) = argument.get_long() else { return value };
    let short = argument
        .get_short()
        .map_or(String::new(), |short| format!("-{short}, "));
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    let aliases: Vec<String> = aliases.iter().map(|alias| format!(", --{alias}")).collect();
    let aliases = aliases.concat();
    let value = if takes_value(argument) {
        format!(" {value}")
    } else {
        String::new()
    };
    format!("{short}--{long}{aliases}{value}")
}

#[test]
fn every_command_has_valid_examples() {
    let castoff = command();
    for command in commands(&castoff) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help
            .split_once("Examples:\n")
            .unwrap_or_else(|| panic!("{}: no examples", command.get_name()));
        let mut right = 0;
        let lines = examples
            .lines()
            .map(|line| line.trim_start().trim_start_matches("source <("));
        for line in lines.filter_map(|line| line.strip_prefix("castoff ")) {
            // Returns only the command, without its explanation and without a pipe or redirection.
            let typed = line.split("  ").next().unwrap_or_default();
            let typed = typed.split([')', '|', '>']).next().unwrap_or_default();
            let words = std::iter::once("castoff").chain(typed.split_whitespace());
            let parsed = Command::try_get_matches_from(castoff.clone(), words);
            right += usize::from(parsed.is_ok());
            assert!(parsed.is_ok(), "castoff {typed}: {}", parsed.expect_err("it is not"));
        }
        assert!(right > 0, "{}: no example", command.get_name());
    }
}

#[test]
fn the_reference_of_findings_is_up_to_date() {
    let mut text = String::from(
        "# Findings\n\nWritten from `src/findings/catalogue.rs`, as `castoff explain` is; change that file, then run the tests with `CASTOFF_BLESS=1`. The codes are stable: a code never changes its \
         meaning.\n\n| Code | |\n|---|---|\n",
    );
    for &code in Code::ALL {
        let _ = writeln!(text, "| [`{code}`](#{code}) | {} |", entry(code).title);
    }
    for &code in Code::ALL {
        let entry = entry(code);
        let _ = write!(
            text,
            "\n## {code}\n\n**{}.** {}\n\n{}\n\n",
            capital(entry.title),
            entry.meaning,
            entry.why
        );
        for step in entry.steps() {
            let _ = writeln!(text, "- {step}");
        }
        if !entry.links.is_empty() {
            let links: Vec<String> = entry.links.iter().map(|link| format!("<{link}>")).collect();
            let _ = write!(text, "\nMore: {}\n", links.join(", "));
        }
    }
    golden::hold("docs/findings.md", &text);
}

fn capital(title: &str) -> String {
    let mut letters = title.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[test]
fn fail_on_accepts_every_verdict_except_unknown() {
    let castoff = command();
    let check = castoff.find_subcommand("check").expect("it is one");
    let bar = check
        .get_opts()
        .find(|o| o.get_long() == Some("fail-on"))
        .expect("it has one");
    let values: Vec<String> = bar
        .get_possible_values()
        .iter()
        .map(|v| v.get_name().to_owned())
        .collect();
    let verdicts = Verdict::ALL
        .iter()
        .filter(|v| **v != Verdict::Unknown)
        .map(|v| v.code());
    assert!(values.iter().map(String::as_str).eq(verdicts));
}
