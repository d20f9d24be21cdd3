//! Files of the host that call Docker: units, cron, cloud-init, and the scripts that those name. They are read only on
//! request, because most of them have nothing to do with Docker.
//!
//! A call is a word with the name of a client and a subcommand or an option after it (`command`). Only the path and the
//! number of the line are kept: the line may have a password. Relies on systemd.service(5), crontab(5), and the
//! directories in cloud-init's documentation.

mod command;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;

use rustix::fs::FileType;

use crate::model::host::{CallerKind, DockerCaller};
use crate::model::identity::FileIdentity;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::systemd::{UNIT_DIRECTORIES, joined};

/// The limit of one file, in bytes. Programs that are no scripts are longer, and are not read.
const FILE_LIMIT: u64 = 256 * 1024;

/// The most files of one scan: a host has a few hundred units.
const FILES_LIMIT: usize = 4096;

/// The most calls that are kept.
const CALLS_LIMIT: usize = 64;

/// Tables of cron: a command in each line.
const CRON_TABLES: [&str; 3] = ["/etc/cron.d", "/var/spool/cron", "/var/spool/cron/crontabs"];

/// Directories of scripts, with their kind.
const SCRIPTS: [(CallerKind, &str); 9] = [
    (CallerKind::Cron, "/etc/cron.hourly"),
    (CallerKind::Cron, "/etc/cron.daily"),
    (CallerKind::Cron, "/etc/cron.weekly"),
    (CallerKind::Cron, "/etc/cron.monthly"),
    (CallerKind::CloudInit, "/etc/cloud/cloud.cfg.d"),
    (CallerKind::CloudInit, "/var/lib/cloud/scripts/per-boot"),
    (CallerKind::CloudInit, "/var/lib/cloud/scripts/per-instance"),
    (CallerKind::CloudInit, "/var/lib/cloud/scripts/per-once"),
    (CallerKind::CloudInit, "/var/lib/cloud/instance/scripts"),
];

/// Further files, with their kind.
const FILES: [(CallerKind, &str); 3] = [
    (CallerKind::Cron, "/etc/crontab"),
    (CallerKind::CloudInit, "/etc/cloud/cloud.cfg"),
    (CallerKind::CloudInit, "/var/lib/cloud/instance/user-data.txt"),
];

/// Finds the calls. Adds to `gaps` the files that could not be read.
pub(super) fn find(root: &Rooted, gaps: &mut Vec<Gap>) -> Reading<Vec<DockerCaller>> {
    let mut scan = Scan {
        root,
        seen: BTreeSet::new(),
        named: Vec::new(),
        found: Vec::new(),
        gaps: Vec::new(),
        more: 0,
    };
    scan.take_units();
    for (kind, path) in FILES {
        scan.take_file(kind, path, &Lines::All);
    }
    for directory in CRON_TABLES {
        scan.take_directory(CallerKind::Cron, directory, &Lines::All);
    }
    for (kind, directory) in SCRIPTS {
        scan.take_directory(kind, directory, &Lines::All);
    }
    scan.take_named();
    if scan.more > 0 {
        let answer = format!("castoff keeps {CALLS_LIMIT} calls, and there are {} more", scan.more);
        scan.gaps.push(Gap::new(
            Reason::LimitReached,
            Hides::Detail,
            "the files that call Docker",
            answer,
        ));
    }
    for gap in scan.gaps {
        gap.fold_into(gaps);
    }
    Reading::Known(scan.found)
}

/// The lines of a file that are commands.
enum Lines {
    /// Those that set a command of a unit.
    OfUnit,
    /// All.
    All,
}

impl Lines {
    /// Returns the command in a line, if there is one.
    fn command<'l>(&self, line: &'l str) -> Option<&'l str> {
        match self {
            Self::All => Some(line),
            Self::OfUnit => {
                let (key, value) = line.split_once('=')?;
                let is_command = ["ExecStart", "ExecStop", "ExecReload", "ExecCondition"]
                    .iter()
                    .any(|known| key.trim().starts_with(known));
                // The marks before the program (systemd.service(5)).
                is_command.then(|| value.trim().trim_start_matches(['-', '@', '+', '!', ':', '|']))
            }
        }
    }
}

struct Scan<'a> {
    root: &'a Rooted,
    seen: BTreeSet<FileIdentity>,
    /// The scripts that commands name, each with the file that names it.
    named: Vec<(String, String)>,
    found: Vec<DockerCaller>,
    gaps: Vec<Gap>,
    more: usize,
}

impl Scan<'_> {
    fn take_units(&mut self) {
        for directory in UNIT_DIRECTORIES {
            for name in self.list(directory) {
                let path = format!("{directory}/{name}");
                if name.rsplit('.').next() == Some("service") {
                    self.take_file(CallerKind::Unit, &path, &Lines::OfUnit);
                } else if name.strip_suffix(".service.d").is_some() {
                    self.take_directory(CallerKind::Unit, &path, &Lines::OfUnit);
                }
            }
        }
    }

    fn take_directory(&mut self, kind: CallerKind, directory: &str, lines: &Lines) {
        for name in self.list(directory) {
            self.take_file(kind, &format!("{directory}/{name}"), lines);
        }
    }

    /// Reads the scripts that the commands name, one level deep.
    fn take_named(&mut self) {
        for (path, by) in std::mem::take(&mut self.named) {
            let Ok((identity, FileType::RegularFile)) = self.root.read_identity(&path) else {
                continue; // an argument that is no file
            };
            if self.seen.contains(&identity) {
                continue;
            }
            let Ok(content) = self.root.read_file(&path, FILE_LIMIT) else {
                continue; // a program, or an argument that cannot be read
            };
            if content.starts_with(b"#!") && self.seen.insert(identity) {
                let script = String::from_utf8_lossy(&content);
                self.take_lines(CallerKind::Script, &path, Some(&by), &script, &Lines::All);
            }
        }
        self.named.clear();
    }

    fn take_file(&mut self, kind: CallerKind, path: &str, lines: &Lines) {
        let identity = match self.root.read_identity(path) {
            // A masked unit is a link to a device.
            Ok((_, FileType::Directory | FileType::CharacterDevice)) => return,
            Ok((identity, _)) => identity,
            Err(error) => return self.refuse(path, &error),
        };
        if !self.seen.insert(identity) {
            return; // a unit has several names
        }
        if self.seen.len() > FILES_LIMIT {
            let answer = format!("castoff reads at most {FILES_LIMIT} files");
            return Gap::new(Reason::LimitReached, Hides::Detail, path, answer).fold_into(&mut self.gaps);
        }
        match self.root.read_file(path, FILE_LIMIT) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                self.take_lines(kind, path, None, &text, lines);
            }
            Err(error) => self.refuse(path, &error),
        }
    }

    fn take_lines(&mut self, kind: CallerKind, path: &str, named_by: Option<&str>, text: &str, lines: &Lines) {
        for (number, line) in joined(text) {
            let Some(line) = lines.command(&line) else {
                continue;
            };
            if named_by.is_none() {
                let scripts = command::paths(line).map(|script| (script.to_owned(), path.to_owned()));
                self.named
                    .extend(scripts.take(FILES_LIMIT.saturating_sub(self.named.len())));
            }
            let Some(program) = command::client(line) else {
                continue;
            };
            if self.found.len() == CALLS_LIMIT {
                self.more += 1;
                continue;
            }
            self.found.push(DockerCaller {
                kind,
                path: path.to_owned(),
                line: number,
                program: program.to_owned(),
                named_by: named_by.map(str::to_owned),
            });
        }
    }

    fn list(&mut self, directory: &str) -> Vec<String> {
        let mut names = Vec::new();
        let listed = self.root.read_names(directory, |name| {
            names.push(name.to_owned());
            names.len() < FILES_LIMIT
        });
        if let Err(error) = listed {
            self.refuse(directory, &error);
        }
        names.sort_unstable();
        names
    }

    /// Adds a gap for an error other than absence. A listed name whose file is missing is not UTF-8, or is a link that
    /// leads nowhere, which no program can call.
    fn refuse(&mut self, path: &str, error: &io::Error) {
        if path.contains('\u{fffd}') {
            let answer = "its name is not valid UTF-8: castoff cannot open it";
            Gap::new(Reason::NotFound, Hides::Detail, path, answer).fold_into(&mut self.gaps);
        } else if !refusal::is_missing(error) {
            refusal::gap(error, Hides::Detail, path, Right::Root).fold_into(&mut self.gaps);
        }
    }
}
