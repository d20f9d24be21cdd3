//! Numbers as they are printed: medians, ratios, and each figure with its limit.

use std::fmt::Write;
use std::time::Duration;

use castoff_tests::lab::memory::Usage;
use castoff_tests::lab::process::Resources;

use crate::tools::Run;

/// Returns the median of several runs, for time and CPU separately.
pub(crate) fn median(runs: &[Run]) -> Run {
    Run {
        wall: middle(runs.iter().map(|run| run.wall)),
        cpu: middle(runs.iter().map(|run| run.cpu)),
        peak: runs.iter().map(|run| run.peak).max().unwrap_or(0),
    }
}

/// Returns the median.
pub(crate) fn middle<T: PartialOrd + Default + Copy>(values: impl IntoIterator<Item = T>) -> T {
    let mut all: Vec<T> = values.into_iter().collect();
    all.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Returns the mean of several runs, for work that is spread over them.
pub(crate) fn mean(runs: &[Run]) -> Run {
    let count = u32::try_from(runs.len()).unwrap_or(u32::MAX).max(1);
    Run {
        wall: runs.iter().map(|run| run.wall).sum::<Duration>() / count,
        cpu: runs.iter().map(|run| run.cpu).sum::<Duration>() / count,
        peak: 0,
    }
}

/// Returns milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Returns the ratio of `slow` to `quick`.
pub(crate) fn times(slow: Duration, quick: Duration) -> f64 {
    slow.as_secs_f64() / quick.as_secs_f64().max(1e-9)
}

/// Returns MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a machine has fewer than 2⁵² bytes")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

/// The heading of [`of_group`].
pub(crate) const GROUP_HEADING: &str = "MiB of the group now (of files) / most";

/// Returns the memory of a control group.
pub(crate) fn of_group(usage: Usage) -> String {
    let [now, files, peak] = [usage.now, usage.files, usage.peak].map(mebibytes);
    format!("{now:.1} ({files:.1}) / {peak:.1}")
}

/// The heading of [`of_process`].
pub(crate) const RSS_HEADING: &str = "MiB of RSS now / most";

/// Returns the resident memory of a process.
pub(crate) fn of_process(resources: Resources) -> String {
    let [now, peak] = [resources.memory, resources.peak].map(|kibibytes| mebibytes(kibibytes as u64 * 1024));
    format!("{now:.1} / {peak:.1}")
}

/// Returns the figures of the memory of a control group.
pub(crate) fn memory_figures(what: &str, usage: Usage) -> [Figure; 2] {
    let (now, peak) = (mebibytes(usage.now), mebibytes(usage.peak));
    [
        Figure::at_most(format!("{what}, memory of the group"), now, 15.0, "MiB"),
        Figure::at_most(
            format!("{what}, peak beside the memory afterwards"),
            peak / now,
            1.3,
            "×",
        ),
    ]
}

/// A figure with a limit that castoff sets itself.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    /// True if the limit is a minimum.
    pub(crate) at_least: bool,
}

impl Figure {
    pub(crate) fn at_least(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            limit,
            unit,
            at_least: true,
        }
    }

    pub(crate) fn at_most(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Self {
            at_least: false,
            ..Self::at_least(what, value, limit, unit)
        }
    }

    fn verdict(&self) -> String {
        let reached = if self.at_least {
            self.value >= self.limit
        } else {
            self.value <= self.limit
        };
        if reached {
            "reached".to_owned()
        } else {
            format!("missed by {:.0} %", ((self.value / self.limit) - 1.0).abs() * 100.0)
        }
    }

    pub(crate) fn row(&self) -> Vec<String> {
        let sign = if self.at_least { "≥" } else { "≤" };
        vec![
            self.what.clone(),
            format!("{:.1} {}", self.value, self.unit),
            format!("{sign} {} {}", self.limit, self.unit),
            self.verdict(),
        ]
    }
}

/// Returns rows under a heading, with each column as wide as its widest cell; the first is left-aligned, the others
/// right-aligned.
pub(crate) fn table(title: &str, heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = format!("\n{title}\n");
    for row in all() {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let _ = if at == 0 {
                write!(text, "  {cell}{pad}")
            } else {
                write!(text, "  {pad}{cell}")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
