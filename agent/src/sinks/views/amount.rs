//! The number of items in a report, and whether it is complete: a gap that may hide more items makes it a lower bound.

use crate::findings::report::Report;
use crate::model::client::Client;
use crate::model::container::ShadowContainer;
use crate::model::engine::Engine;
use crate::model::exposure::Exposure;
use crate::model::reading::{Gap, Hides, Reading};

/// A list, as far as it is known.
#[derive(Debug)]
pub(super) enum Amount<'a, T> {
    /// Nothing is known.
    Unknown(&'a Gap),
    /// These items, and no others.
    All(&'a [T]),
    /// At least these items.
    Some(&'a [T]),
}

impl<'a, T> Amount<'a, T> {
    /// The items that are known.
    pub(super) const fn items(&self) -> &'a [T] {
        match self {
            Self::Unknown(_) => &[],
            Self::All(items) | Self::Some(items) => items,
        }
    }

    fn of(reading: &'a Reading<Vec<T>>, report: &Report, hidden_by: &[Hides]) -> Self {
        let items = match reading {
            Reading::Known(items) => items.as_slice(),
            Reading::Absent => &[],
            Reading::Unknown(gap) => return Self::Unknown(gap),
        };
        let mut gaps = report.sources.iter().flat_map(|s| &s.gaps);
        if gaps.any(|gap| hidden_by.contains(&gap.hides)) {
            Self::Some(items)
        } else {
            Self::All(items)
        }
    }
}

pub(super) fn engines(report: &Report) -> Amount<'_, Engine> {
    Amount::of(&report.engines, report, &[Hides::Engine])
}

pub(super) fn clients(report: &Report) -> Amount<'_, Client> {
    Amount::of(&report.clients, report, &[Hides::Client, Hides::Engine])
}

pub(super) fn exposures(report: &Report) -> Amount<'_, Exposure> {
    Amount::of(&report.exposures, report, &[Hides::Exposure, Hides::Engine])
}

pub(super) fn runtime_clients(report: &Report) -> Amount<'_, Client> {
    Amount::of(&report.runtime_clients, report, &[])
}

pub(super) fn runtime_exposures(report: &Report) -> Amount<'_, Exposure> {
    Amount::of(&report.runtime_exposures, report, &[])
}

pub(super) fn shadow_containers(report: &Report) -> Amount<'_, ShadowContainer> {
    Amount::of(&report.shadow_containers, report, &[Hides::ShadowContainer])
}
