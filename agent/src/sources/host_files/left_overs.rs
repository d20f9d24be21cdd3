//! Docker's leftovers on the disk: programs, enabled units, data, configuration.

use std::collections::BTreeSet;
use std::io;

use rustix::fs::FileType;

use super::units::{UNIT_DIRECTORIES, engine_of_service};
use crate::model::engine::EngineKind;
use crate::model::host::{LeftOver, LeftOverKind};
use crate::model::reading::{Gap, Hides, Reading};
use crate::sources::docker::{BINARIES, CONFIGURATIONS, UNITS};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;

/// The limit of a unit's file, in bytes.
const UNIT_LIMIT: u64 = 1 << 16;

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
        for directory in UNIT_DIRECTORIES {
            let is_of_target =
                |name: &str| matches!(name.rsplit_once('.'), Some((_, "wants" | "requires" | "upholds")));
            for target in self.list(directory, &is_of_target) {
                let is_unit = |name: &str| matches!(name.rsplit_once('.'), Some((_, "service" | "socket")));
                for unit in self.list(&format!("{directory}/{target}"), &is_unit) {
                    let path = format!("{directory}/{target}/{unit}");
                    if self.starts_docker(&unit, &path) && !self.is_masked(&unit) && seen.insert((target.clone(), unit))
                    {
                        self.add(LeftOverKind::EnabledUnit, path);
                    }
                }
            }
        }
    }

    /// Returns the names in a directory that `fits` accepts, sorted.
    fn list(&mut self, directory: &str, fits: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        let listed = self.root.read_names(directory, |name| {
            if fits(name) {
                names.push(name.to_owned());
            }
            true
        });
        if let Err(error) = listed {
            self.refuse(directory, &error);
        }
        names.sort_unstable();
        names
    }

    /// True if a unit starts Docker, by its name or by its command.
    fn starts_docker(&mut self, unit: &str, path: &str) -> bool {
        if UNITS.contains(&unit) {
            return self.is_file(path);
        }
        let content = self.root.read_file(path, UNIT_LIMIT).unwrap_or_default();
        engine_of_service(&String::from_utf8_lossy(&content)) == Some(EngineKind::Dockerd)
    }

    /// True if the unit is masked: its first file is a link to `/dev/null`, as `systemctl mask` makes it, or is empty.
    fn is_masked(&self, unit: &str) -> bool {
        for directory in UNIT_DIRECTORIES {
            let path = format!("{directory}/{unit}");
            match self.root.read_link(&path) {
                Ok(target) => return target.trim_start_matches("../").trim_start_matches('/') == "dev/null",
                Err(error) if refusal::is_missing(&error) => {}
                Err(_) => return self.root.read_file(&path, UNIT_LIMIT).is_ok_and(|file| file.is_empty()),
            }
        }
        false
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

    /// Adds a gap for an error other than absence. An unreadable program or unit may hide an installed engine; data and
    /// configuration are details.
    fn refuse(&mut self, path: &str, error: &io::Error) {
        if !refusal::is_missing(error) {
            let starts =
                BINARIES.contains(&path) || UNIT_DIRECTORIES.iter().any(|directory| path.starts_with(directory));
            let hides = if starts { Hides::Engine } else { Hides::Detail };
            self.refused.push(refusal::gap(error, hides, path, Right::Root));
        }
    }

    fn add(&mut self, kind: LeftOverKind, path: String) {
        self.found.push(LeftOver { kind, path });
    }
}
