//! The parts that could not be seen: the question, the answer, the facts that this hides, and the fix.

use super::words;
use crate::findings::report::Report;
use crate::model::reading::Gap;
use crate::sinks::text::visible;
use crate::sinks::views::grid::write_paragraph;
use crate::sinks::views::style::{Style, Tone};

pub(super) fn write_gaps(report: &Report, style: Style, out: &mut String) {
    for status in report.sources.iter().filter(|s| s.gaps.is_empty() && !s.up) {
        write_paragraph(
            &format!("{}: no answer", status.source),
            Tone::Warning,
            2,
            4,
            style,
            out,
        );
    }
    for (whose, gap) in gaps(report) {
        let head = format!("{}: {}", whose.join(", "), gap.reason);
        write_paragraph(&head, Tone::Warning, 2, 4, style, out);
        write_paragraph(&visible(&gap.to_string()), Tone::Plain, 4, 6, style, out);
        let hides = format!("hides {}", words::hides(gap.hides));
        write_paragraph(&hides, Tone::Plain, 4, 6, style, out);
        write_paragraph(&format!("→ {}", gap.reason.remedy()), Tone::Plain, 4, 6, style, out);
    }
}

/// Lists every gap once, with the sources that have it; then those of readings without a source.
pub(in crate::sinks::views) fn gaps(report: &Report) -> Vec<(Vec<&'static str>, &Gap)> {
    let mut gaps: Vec<(Vec<&'static str>, &Gap)> = Vec::new();
    let of_sources = report
        .sources
        .iter()
        .flat_map(|s| s.gaps.iter().map(|g| (s.source.code(), g)));
    for (source, gap) in of_sources {
        match gaps.iter_mut().find(|(_, known)| *known == gap) {
            Some((whose, _)) => whose.push(source),
            None => gaps.push((vec![source], gap)),
        }
    }
    let runtime = report.runtime.known();
    let of_answers = [
        ("runtime", report.runtime.gap()),
        ("runtime", runtime.and_then(|r| r.conditions.gap())),
        ("runtime", runtime.and_then(|r| r.deprecations.gap())),
        ("runtime", runtime.and_then(|r| r.cgroup_driver.gap())),
        ("kubelet", report.kubelet.gap()),
        ("kubelet", report.kubelet_ceiling.gap()),
        ("cgroups", report.cgroups.gap()),
        ("pods", report.pods.gap()),
        ("containers", report.containers.gap()),
        ("engines", report.engines.gap()),
        ("clients", report.clients.gap()),
        ("relays", report.relays.gap()),
        ("exposures", report.exposures.gap()),
        ("runtime clients", report.runtime_clients.gap()),
        ("runtime exposures", report.runtime_exposures.gap()),
        ("shadow containers", report.shadow_containers.gap()),
    ];
    for (what, gap) in of_answers {
        if let Some(gap) = gap.filter(|gap| gaps.iter().all(|(_, known)| known != gap)) {
            gaps.push((vec![what], gap));
        }
    }
    gaps
}

/// Writes the refused endpoints where they matter: if no runtime answered, or every detail is requested.
pub(super) fn write_refused(report: &Report, style: Style, out: &mut String) {
    if report.runtime.known().is_some() && !style.wide {
        return;
    }
    for refused in &report.refused_endpoints {
        let line = format!(
            "{}, {}: {}",
            refused.candidate.path,
            words::origin(&refused.candidate.origin),
            refused.refusal.answer
        );
        write_paragraph(&visible(&line), Tone::Plain, 2, 4, style, out);
    }
}
