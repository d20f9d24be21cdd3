//! The summary of the fleet, in a few lines under the rows: counts, reasons for unknowns, remaining users, the worst Nodes.

use std::fmt::Write as _;

use super::rows::RowTable;
use super::words::{self, thousands};
use crate::fleet::row::NodeRow;
use crate::fleet::summary::{Count, Summary};
use crate::sinks::text::visible;
use crate::sinks::views::grid::{Cell, Cut, Grid, shortened, whole, write_paragraph};
use crate::sinks::views::style::{Style, Tone};
use crate::sinks::views::table::words::verdict_tone;

/// The number of users that are listed.
const USERS: usize = 15;
/// The number of Nodes that are listed again, because the full list has scrolled away.
const NODES: usize = 10;
/// The length of a list that fits on a screen.
const SEEN_WHOLE: u64 = 20;
/// The width of a bar in columns.
const BAR: u64 = 24;

/// Renders the lines for `summary`; `worst` are the worst Nodes, worst first.
pub fn render_digest(summary: &Summary, worst: &[&NodeRow], style: Style) -> String {
    let mut out = String::new();
    write_heading(&head(summary), style, &mut out);
    write_verdicts(summary, style, &mut out);
    write_readiness(summary, style, &mut out);
    if let Some(free) = words::docker_free(summary) {
        write_paragraph(&free, Tone::Plain, 0, 2, style, &mut out);
    }
    if !summary.doubts.is_empty() {
        write_heading("UNKNOWN OR UNCERTAIN, WITH THE REASON", style, &mut out);
        write_counts(
            "REASON",
            &summary.doubts,
            |doubt| words::doubt(*doubt).to_owned(),
            style,
            &mut out,
        );
    }
    write_users(summary, style, &mut out);
    if summary.versions.len() > 1 {
        write_heading("VERSIONS OF CASTOFF", style, &mut out);
        write_counts("VERSION", &summary.versions, Clone::clone, style, &mut out);
    }
    if summary.nodes > SEEN_WHOLE {
        write_heading("WORST NODES", style, &mut out);
        let worst: Vec<NodeRow> = worst.iter().take(NODES).map(|row| (*row).clone()).collect();
        out.push_str(&RowTable::new(style, !summary.readiness.is_empty()).part(&worst));
    }
    if !summary.notes.is_empty() {
        write_heading("NOTE", style, &mut out);
        for note in &summary.notes {
            write_paragraph(&visible(note), Tone::Warning, 2, 4, style, &mut out);
        }
    }
    out
}

/// Renders one line for one of many looks.
pub fn render_line(summary: &Summary) -> String {
    let mut line = head(summary);
    for count in summary.verdicts.iter().filter(|count| count.nodes > 0) {
        // Writing to a String cannot fail.
        let _ = write!(line, ", {} {}", thousands(count.nodes), count.what);
    }
    line
}

fn head(summary: &Summary) -> String {
    let seconds = summary.duration_millis / 1000;
    let tenths = summary.duration_millis % 1000 / 100;
    let all = if summary.complete { "" } else { " (not all of them)" };
    let plural = if summary.nodes == 1 { "" } else { "s" };
    format!("{} node{plural}{all} in {seconds}.{tenths} s", thousands(summary.nodes))
}

fn write_heading(text: &str, style: Style, out: &mut String) {
    out.push('\n');
    write_paragraph(text, Tone::Strong, 0, 2, style, out);
}

fn write_verdicts(summary: &Summary, style: Style, out: &mut String) {
    let mut grid = Grid::new(&[whole("VERDICT"), whole("NODES"), whole("")]);
    for count in &summary.verdicts {
        let tone = verdict_tone(count.what);
        grid.push([
            Cell::toned(count.what.code(), tone),
            thousands(count.nodes).into(),
            Cell::toned(bar(count.nodes, summary.nodes), tone),
        ]);
    }
    grid.write(style, out);
}

fn write_readiness(summary: &Summary, style: Style, out: &mut String) {
    if summary.readiness.is_empty() {
        return;
    }
    write_heading("READY FOR", style, out);
    let mut columns = ["TARGET", "READY", "NOT READY", "CANNOT TELL", ""].map(whole);
    columns[4] = shortened("OBSTACLES, WITH THE NUMBER OF NODES", Cut::End, 20);
    let mut grid = Grid::new(&columns);
    for count in &summary.readiness {
        let obstacles = count.obstacles.iter();
        let obstacles: Vec<String> = obstacles
            .map(|of| format!("{} {}", of.what, thousands(of.nodes)))
            .collect();
        let number = |nodes, tone| Cell::toned(thousands(nodes), if nodes == 0 { Tone::Faint } else { tone });
        grid.push([
            Cell::new(&count.target),
            number(count.ready, Tone::Good),
            number(count.not_ready, Tone::Bad),
            number(count.cannot_tell, Tone::Warning),
            Cell::new(obstacles.join(", ")),
        ]);
    }
    grid.write(style, out);
}

/// Draws a bar that is visible for every value above zero.
fn bar(part: u64, of: u64) -> String {
    let columns = if part == 0 { 0 } else { (part * BAR / of.max(1)).max(1) };
    (0..columns).map(|_| '█').collect()
}

fn write_counts<T>(
    heading: &'static str,
    counts: &[Count<T>],
    word: impl Fn(&T) -> String,
    style: Style,
    out: &mut String,
) {
    let mut grid = Grid::new(&[shortened(heading, Cut::End, 12), whole("NODES")]);
    for count in counts.iter().take(USERS) {
        grid.push([word(&count.what).into(), thousands(count.nodes).into()]);
    }
    grid.write(style, out);
}

fn write_users(summary: &Summary, style: Style, out: &mut String) {
    if summary.users.is_empty() {
        return;
    }
    write_heading("WHO IS LEFT", style, out);
    let mut grid = Grid::new(&[shortened("WHO", Cut::End, 16), whole("NODES"), whole("CONNECTIONS")]);
    for user in summary.users.iter().take(USERS) {
        grid.push([
            user.user.to_string().into(),
            thousands(user.nodes).into(),
            thousands(user.connections).into(),
        ]);
    }
    grid.write(style, out);
    let more = summary.more_users + summary.users.len().saturating_sub(USERS) as u64;
    if more > 0 {
        write_paragraph(&format!("and {} more", thousands(more)), Tone::Faint, 2, 4, style, out);
    }
}
