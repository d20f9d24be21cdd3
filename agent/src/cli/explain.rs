//! `castoff explain`: the catalogue, for people.

use std::fmt::Write;

use super::args::{AGENTS, Explain};
use super::{OK, print};
use crate::config::{Mistakes, Reader};
use crate::findings::agents::{Agent, catalogue};
use crate::findings::catalogue::entry;
use crate::findings::report::Code;

/// The number of columns of running text.
const WIDTH: usize = 88;
/// The number of equal first letters that make two words similar.
const STEM: usize = 3;

pub(super) fn explain(args: &Explain) -> anyhow::Result<u8> {
    let wanted = |code: &&Code| args.code.as_deref() == Some(code.code());
    let name = args.name.join(" ");
    print(&match Code::ALL.iter().find(wanted) {
        Some(code) if name.is_empty() => page(*code),
        Some(code) => return Err(refuse(format!("{code} takes no name; `castoff explain {AGENTS} NAME` does")).into()),
        None if !name.is_empty() => agent(find(&name)?),
        None if args.code.as_deref() == Some(AGENTS) => agents(),
        None => list(),
    })?;
    Ok(OK)
}

fn refuse(mistake: String) -> Mistakes {
    let mut reader = Reader::default();
    reader.mistake((), mistake);
    reader.refuse()
}

/// Returns the agent with this name.
fn find(name: &str) -> Result<&'static Agent, Mistakes> {
    let mut agents = catalogue().agents.iter();
    agents
        .find(|agent| agent.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let near = names_near(name);
            refuse(if near.is_empty() {
                format!("{name:?} is not an agent that castoff knows; `castoff explain {AGENTS}` lists all")
            } else {
                format!(
                    "{name:?} is not an agent that castoff knows; a similar name: {}",
                    near.join(", ")
                )
            })
        })
}

/// Returns the names that contain this one, or share the first letters of a word with it.
fn names_near(wanted: &str) -> Vec<&'static str> {
    let wanted = wanted.to_lowercase();
    let stems = |text: &str| -> Vec<String> {
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        let words = words.filter(|word| word.chars().count() >= STEM);
        words.map(|word| word.chars().take(STEM).collect()).collect()
    };
    let of_wanted = stems(&wanted);
    let is_near = |name: &str| {
        let name = name.to_lowercase();
        name.contains(&wanted) || stems(&name).iter().any(|stem| of_wanted.contains(stem))
    };
    let names = catalogue().agents.iter().map(|agent| agent.name);
    names.filter(|name| is_near(name)).collect()
}

/// The catalogue of known agents.
fn agents() -> String {
    let catalogue = catalogue();
    let head = format!(
        "The agents that castoff knows by the names of their images and executables, as of {}. The user who starts a \
         program chooses these names, so a match only adds advice: it changes no severity and no verdict.",
        catalogue.as_of
    );
    let mut text = wrap(&head, "", "");
    text.push('\n');
    for each in &catalogue.agents {
        text.push('\n');
        text.push_str(&agent(each));
    }
    text
}

/// One agent's entry.
fn agent(agent: &Agent) -> String {
    let mut text = format!("{} ({})\n", agent.name, agent.kind);
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
    fn an_agent_is_found_by_its_name_and_similar_names_are_offered() {
        for each in &catalogue().agents {
            assert_eq!(find(&each.name.to_uppercase()).expect("it is known").name, each.name);
        }
        let said = |name: &str| find(name).expect_err("it is not known").to_string();
        assert_eq!(
            said("datadgo"),
            "\"datadgo\" is not an agent that castoff knows; a similar name: Datadog Agent"
        );
        assert!(said("beat").ends_with(": Metricbeat, Filebeat"), "{}", said("beat"));
        assert!(said("xyzzy").ends_with("`castoff explain agents` lists all"));
        assert!(!said("a\n\u{1b}[2J").contains(char::is_control));
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
