//! `castoff explain`: the catalogue, for people.

use std::fmt::Write;

use super::args::Explain;
use super::{OK, print};
use crate::findings::catalogue::entry;
use crate::findings::report::Code;

/// The number of columns of running text.
const WIDTH: usize = 88;

pub(super) fn explain(args: &Explain) -> anyhow::Result<u8> {
    let wanted = |code: &&Code| args.code.as_deref() == Some(code.code());
    print(&Code::ALL.iter().find(wanted).map_or_else(list, |code| page(*code)))?;
    Ok(OK)
}

fn list() -> String {
    let mut text = String::new();
    for &code in Code::ALL {
        let _ = writeln!(text, "{code:22} {}", entry(code).title); // writing to a string cannot fail
    }
    text.push_str("\n`castoff explain CODE` says what one means and what to do.\n");
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
