//! The answers of readiness, with the obstacles.

use super::words;
use crate::findings::readiness::answer::{Effect, Obstacle, Readiness};
use crate::findings::report::Report;
use crate::sinks::text::visible;
use crate::sinks::views::grid::write_paragraph;
use crate::sinks::views::style::{Style, Tone};

pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    for ready in &report.readiness {
        let Readiness { target, answer, .. } = ready;
        let line = format!("{} {}: {}", target.product(), target.version(), words::answer(*answer));
        write_paragraph(&line, words::answer_tone(*answer), 2, 4, style, out);
        for obstacle in &ready.obstacles {
            write_obstacle(obstacle, style, out);
        }
        let not_judged = format!("Not judged: {}.", ready.not_judged.join("; "));
        write_paragraph(&not_judged, Tone::Faint, 4, 6, style, out);
    }
}

fn write_obstacle(obstacle: &Obstacle, style: Style, out: &mut String) {
    let Obstacle {
        effect,
        code,
        message,
        advice,
        rule_source,
    } = obstacle;
    write_paragraph(
        &format!("{}  {code}", words::effect(*effect)),
        Tone::Strong,
        4,
        6,
        style,
        out,
    );
    write_paragraph(&visible(message), Tone::Plain, 6, 6, style, out);
    let source = format!("{} {}: {}", rule_source.certainty, rule_source.date, rule_source.source);
    write_paragraph(&source, Tone::Faint, 6, 6, style, out);
    if *effect != Effect::Note {
        write_paragraph(&format!("→ {}", visible(advice)), Tone::Plain, 6, 8, style, out);
    }
}
