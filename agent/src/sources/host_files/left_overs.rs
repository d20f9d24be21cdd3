//! Docker's leftovers on the disk: programs, enabled units, data, configuration.

use std::collections::BTreeSet;
use std::io;

use rustix::fs::FileType;

use super::units::engine_of_service;
use crate::model::engine::EngineKind;
use crate::model::host::{LeftOver, LeftOverKind};
use crate::model::reading::{Gap, Hides, Reading};
use crate::sources::docker::{BINARIES, CONFIGURATIONS, UNITS};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::systemd::{UNIT_DIRECTORIES, UNIT_LIMIT, is_masked, list_enabled};

/// Finds Docker's leftovers below `root`; `data` has the directories of its data. Adds to `gaps` what could not be read.
pub(super) fn find(root: &Rooted, data: &BTreeSet<String>, gaps: &mut Vec<Gap>) -> Reading<Vec<LeftOver>> {
    let mut search = LeftOverSearch {
        root,
        found: Vec::new(),
        refused: Vec::new(),
    };
    search.take_binaries();
    search.take_units();
    search.take_data(data);
    search.take_configurations();
    let refused = search.refused.first().cloned();
    for gap in search.refused {
        gap.fold_into(gaps);
    }
    match refused {
        _ if !search.found.is_empty() => Reading::Known(search.found),
        Some(gap) => Reading::Unknown(gap),
        None => Reading::Absent,
    }
}

struct LeftOverSearch<'a> {
    root: &'a Rooted,
    found: Vec<LeftOver>,
    refused: Vec<Gap>,
}

impl LeftOverSearch<'_> {
    fn take_binaries(&mut self) {
        let mut seen = BTreeSet::new(); // where /usr/sbin is /usr/bin, one file is found twice
        for path in BINARIES {
            if let Some((identity, FileType::RegularFile)) = self.look(path)
                && seen.insert(identity)
            {
                self.add(LeftOverKind::Binary, path.to_owned());
            }
        }
    }

    /// Adds units that a target wants and that start Docker. A link to a missing unit starts nothing, nor does a masked unit.
    fn take_units(&mut self) {
        let mut seen = BTreeSet::new();
        let mut refused = Vec::new();
        let enabled = list_enabled(self.root, &mut |path, error| refused.push(gap_of(path, error)));
        self.refused.extend(refused.into_iter().flatten());
        for unit in enabled {
            if self.starts_docker(&unit.name, &unit.path)
                && !is_masked(self.root, &unit.name)
                && seen.insert((unit.target, unit.name))
            {
                self.add(LeftOverKind::EnabledUnit, unit.path);
            }
        }
    }

    /// True if a unit starts Docker, by its name or by its command.
    fn starts_docker(&mut self, unit: &str, path: &str) -> bool {
        if UNITS.contains(&unit) {
            return self.is_file(path);
        }
        let content = self.root.read_file(path, UNIT_LIMIT).unwrap_or_default();
        engine_of_service(&String::from_utf8_lossy(&content)) == Some(EngineKind::Dockerd)
    }

    fn take_data(&mut self, data: &BTreeSet<String>) {
        for place in data {
            match self.has_content(place) {
                Ok(true) => self.add(LeftOverKind::Data, place.clone()),
                Ok(false) => {}
                Err(error) => self.refuse(place, &error),
            }
        }
    }

    /// True if a directory contains more than empty directories. A log shipper's mount of `/var/lib/docker/containers`
    /// creates those on nodes that never had Docker.
    fn has_content(&self, directory: &str) -> io::Result<bool> {
        let mut names = Vec::new();
        self.root.read_names(directory, |name| {
            names.push(name.to_owned());
            names.len() < 64
        })?;
        for name in names.iter().filter(|name| *name != "lost+found") {
            let path = format!("{directory}/{name}");
            let mut filled = false;
            match self.root.read_names(&path, |_| {
                filled = true;
                false
            }) {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) if filled => return Ok(true),
                Ok(()) => {}
            }
        }
        Ok(false)
    }

    fn take_configurations(&mut self) {
        for path in CONFIGURATIONS {
            if self.is_file(path) {
                self.add(LeftOverKind::Configuration, path.to_owned());
            }
        }
    }

    fn is_file(&mut self, path: &str) -> bool {
        matches!(self.look(path), Some((_, FileType::RegularFile)))
    }

    fn look(&mut self, path: &str) -> Option<(crate::model::identity::FileIdentity, FileType)> {
        match self.root.read_identity(path) {
            Ok(found) => Some(found),
            Err(error) => {
                self.refuse(path, &error);
                None
            }
        }
    }

    fn refuse(&mut self, path: &str, error: &io::Error) {
        self.refused.extend(gap_of(path, error));
    }

    fn add(&mut self, kind: LeftOverKind, path: String) {
        self.found.push(LeftOver { kind, path });
    }
}

/// Returns the gap for an error other than absence. An unreadable program or unit may hide an installed engine; data
/// and configuration are details.
fn gap_of(path: &str, error: &io::Error) -> Option<Gap> {
    let starts = BINARIES.contains(&path) || UNIT_DIRECTORIES.iter().any(|directory| path.starts_with(directory));
    let hides = if starts { Hides::Engine } else { Hides::Detail };
    (!refusal::is_missing(error)).then(|| refusal::gap(error, hides, path, Right::Root))
}
