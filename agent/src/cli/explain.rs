//! `castoff explain`: the catalogue, for people.

use std::fmt::Write;

use super::args::{AGENTS, Explain};
use super::{OK, print};
use crate::findings::agents::catalogue;
use crate::findings::catalogue::entry;
use crate::findings::report::Code;

/// The number of columns of running text.
const WIDTH: usize = 88;

pub(super) fn explain(args: &Explain) -> anyhow::Result<u8> {
    let wanted = |code: &&Code| args.code.as_deref() == Some(code.code());
    print(&match Code::ALL.iter().find(wanted) {
        Some(code) => page(*code),
        None if args.code.as_deref() == Some(AGENTS) => agents(),
        None => list(),
    })?;
    Ok(OK)
}

/// The catalogue of known agents.
fn agents() -> String {
    let catalogue = catalogue();
    let head = format!(
        "The agents that castoff knows by the names of their images and executables, as of {}. Whoever starts a program \
         chooses these names: they add advice, and change no severity and no verdict.",
        catalogue.as_of
    );
    let mut text = wrap(&head, "", "");
    text.push('\n');
    for agent in &catalogue.agents {
        let _ = writeln!(text, "\n{} ({})", agent.name, agent.kind);
        for (names, what) in [(&agent.images, "Images"), (&agent.executables, "Executables")] {
            if !names.is_empty() {
                let names = names.join(", ");
                let _ = writeln!(text, "{}", wrap(&format!("{what}: {names}"), "  ", "    "));
            }
        }
        let _ = writeln!(text, "{}", wrap(agent.advice, "  - ", "    "));
        for (operation, advice) in &agent.by_operation {
            let _ = writeln!(text, "{}", wrap(&format!("{operation}: {advice}"), "  - ", "    "));
        }
        if let Some(advice) = agent.runtime_advice {
            let _ = writeln!(
                text,
                "{}",
                wrap(&format!("The runtime's socket: {advice}"), "  - ", "    ")
            );
        }
        let _ = writeln!(text, "  {} ({})", agent.source, agent.checked.unwrap_or("not checked"));
    }
    text
}

fn list() -> String {
    let mut text = String::new();
    for &code in Code::ALL {
        let _ = writeln!(text, "{code:22} {}", entry(code).title); // writing to a string cannot fail
    }
    text.push_str("\n`castoff explain CODE` says what one means and what to do.\n");
    text.push_str("`castoff explain agents` lists the agents that castoff knows.\n");
    text
}

fn page(code: Code) -> String {
    let entry = entry(code);
    let mut text = format!("{code}: {}\n", entry.title);
    for (heading, body) in [("What it means", entry.meaning), ("Why it matters", entry.why)] {
        let _ = writeln!(text, "\n{heading}\n{}", wrap(body, "  ", "  "));
    }
    text.push_str("\nWhat to do\n");
    for step in entry.steps() {
        let _ = writeln!(text, "{}", wrap(&step, "  - ", "    "));
    }
    if !entry.links.is_empty() {
        text.push_str("\nMore\n");
        for link in entry.links {
            let _ = writeln!(text, "  {link}");
        }
    }
    text
}

fn wrap(body: &str, first: &str, rest: &str) -> String {
    let mut text = String::from(first);
    let mut column = first.len();
    for (i, word) in body.split_whitespace().enumerate() {
        if i > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            text.push_str(rest);
            column = rest.len();
        } else if i > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_keeps_its_width_except_for_links() {
        for &code in Code::ALL {
            let page = page(code);
            let wide = page.lines().filter(|l| l.len() > WIDTH && !l.contains("://"));
            assert_eq!(wide.count(), 0, "{page}");
            assert!(page.contains("What to do\n  - "), "{page}");
        }
    }

    #[test]
    fn the_agents_are_listed_with_their_names_advice_and_sources() {
        let text = agents();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text_of_words = words.join(" ");
        for agent in &catalogue().agents {
            let head = format!("{} ({})", agent.name, agent.kind);
            assert_eq!(text.lines().filter(|line| *line == head).count(), 1, "{head}");
            let said = [agent.advice, agent.source]
                .into_iter()
                .chain(agent.by_operation.values().copied());
            for said in said.chain(agent.runtime_advice) {
                assert!(text_of_words.contains(said), "{said}");
            }
            for name in agent.images.iter().chain(&agent.executables) {
                assert!(text.contains(name), "{name}");
            }
        }
        let wide = text.lines().filter(|l| l.len() > WIDTH && !l.contains("://"));
        assert_eq!(wide.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn the_list_has_every_code_once() {
        let list = list();
        for &code in Code::ALL {
            assert_eq!(
                list.lines().filter(|l| l.starts_with(&format!("{code} "))).count(),
                1,
                "{code}"
            );
        }
    }
}
