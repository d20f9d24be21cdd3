//! Docker's settings beside the runtime's, in the wide table.

use crate::findings::report::Report;
use crate::model::daemon_config::{Carried, ComparedSetting};
use crate::sinks::text::visible;
use crate::sinks::views::grid::{Cell, Cut, Grid, shortened, whole, write_paragraph};
use crate::sinks::views::style::{Style, Tone};

/// Writes one line for each setting, and its advice below it.
pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    let Some(compared) = report.daemon_config.known().filter(|_| style.wide) else {
        return;
    };
    let mut grid = Grid::new(&[
        whole("SETTING"),
        shortened("DOCKER", Cut::End, 16).twice(),
        whole("STATE"),
        shortened("RUNTIME", Cut::End, 12),
        whole("WHAT TO DO"),
    ]);
    for setting in &compared.settings {
        grid.push([
            setting.setting.code().into(),
            (&setting.docker).into(),
            state(setting),
            setting.runtime.as_deref().unwrap_or("-").into(),
            (&setting.advice).into(),
        ]);
    }
    grid.write(style, out);
    for line in remarks(report) {
        write_paragraph(&visible(&line), Tone::Faint, 0, 2, style, out);
    }
}

fn state(setting: &ComparedSetting) -> Cell {
    let tone = match setting.state {
        Carried::CarriedOver => Tone::Good,
        Carried::Missing => Tone::Bad,
        Carried::NotApplicable => Tone::Plain,
        Carried::Unknown => Tone::Warning,
    };
    Cell::toned(setting.state.code(), tone)
}

/// The files that the settings come from, and what is left out.
pub(in crate::sinks::views) fn remarks(report: &Report) -> Vec<String> {
    let Some(compared) = report.daemon_config.known() else {
        return Vec::new();
    };
    let files = match compared.runtime_files.as_slice() {
        [] => "its defaults, without a file".to_owned(),
        files => files.join(", "),
    };
    let serves = if compared.serves_kubelet {
        ""
    } else {
        " (which does not serve the kubelet yet)"
    };
    let mut remarks = vec![format!(
        "Docker: {}; {}{serves}: {files}",
        compared.docker.join(", "),
        compared.runtime
    )];
    if compared.more > 0 {
        remarks.push(format!("{} more values are not listed", compared.more));
    }
    if !compared.not_compared.is_empty() {
        remarks.push(format!("Not compared: {}", compared.not_compared.join(", ")));
    }
    remarks
}
