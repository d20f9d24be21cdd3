//! systemd's units on the disk: where their files are, which units are enabled, and which are masked.
//!
//! Relies on systemd.unit(5). A file shows what systemd may do at its next start, or after the next `daemon-reload`.

use std::io;

use super::kernel::refusal::is_missing;
use super::kernel::rooted::Rooted;

/// Directories of units, in systemd's order of precedence, and `/lib`, where that is not `/usr/lib`.
pub(super) const UNIT_DIRECTORIES: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// The limit of one unit's file, in bytes.
pub(super) const UNIT_LIMIT: u64 = 1 << 16;

/// Characters that end a command in a shell, and those of lists in YAML.
pub(super) const ENDS: [char; 11] = [';', '|', '&', '(', ')', '{', '}', '`', '<', '>', '\n'];

/// Characters before the program in a command (systemd.service(5)).
const MARKS: [char; 6] = ['-', '@', '+', '!', ':', '|'];

/// A unit that a target wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EnabledUnit {
    /// The target's directory of links, such as `multi-user.target.wants`.
    pub(super) target: String,
    /// The unit's name.
    pub(super) name: String,
    /// The path of the link to its file.
    pub(super) path: String,
}

/// Returns the services and sockets that a target wants, masked ones too, by directory. Passes errors to `refuse`, each with
/// the path.
pub(super) fn list_enabled(root: &Rooted, refuse: &mut dyn FnMut(&str, &io::Error)) -> Vec<EnabledUnit> {
    let mut list = |directory: &str, endings: &[&str]| {
        let mut names = Vec::new();
        let listed = root.read_names(directory, |name| {
            if name
                .rsplit_once('.')
                .is_some_and(|(_, ending)| endings.contains(&ending))
            {
                names.push(name.to_owned());
            }
            true
        });
        if let Err(error) = listed {
            refuse(directory, &error);
        }
        names.sort_unstable();
        names
    };
    let mut found = Vec::new();
    for directory in UNIT_DIRECTORIES {
        for target in list(directory, &["wants", "requires", "upholds"]) {
            for name in list(&format!("{directory}/{target}"), &["service", "socket"]) {
                found.push(EnabledUnit {
                    path: format!("{directory}/{target}/{name}"),
                    target: target.clone(),
                    name,
                });
            }
        }
    }
    found
}

/// True if the unit is masked: its first file is a link to `/dev/null`, as `systemctl mask` makes it, or is empty.
pub(super) fn is_masked(root: &Rooted, unit: &str) -> bool {
    for directory in UNIT_DIRECTORIES {
        let path = format!("{directory}/{unit}");
        match root.read_link(&path) {
            Ok(target) => return target.trim_start_matches("../").trim_start_matches('/') == "dev/null",
            Err(error) if is_missing(&error) => {}
            Err(_) => return root.read_file(&path, UNIT_LIMIT).is_ok_and(|file| file.is_empty()),
        }
    }
    false
}

/// Returns the texts of a unit: its first file, and then its drop-ins, by name. Each has its path.
pub(super) fn read_unit(root: &Rooted, unit: &str) -> Vec<(String, String)> {
    let read = |path: String| {
        let content = root.read_file(&path, UNIT_LIMIT).ok()?;
        Some((path, String::from_utf8_lossy(&content).into_owned()))
    };
    let mut first = UNIT_DIRECTORIES
        .iter()
        .filter_map(|directory| read(format!("{directory}/{unit}")));
    let mut drop_ins = Vec::new();
    for directory in UNIT_DIRECTORIES {
        let directory = format!("{directory}/{unit}.d");
        // A directory that cannot be read has no drop-ins for castoff.
        let _ = root.read_names(&directory, |name| {
            let is_new = !drop_ins.iter().any(|(known, _)| known == name);
            if matches!(name.rsplit_once('.'), Some((_, "conf"))) && is_new {
                drop_ins.push((name.to_owned(), format!("{directory}/{name}")));
            }
            true
        });
    }
    drop_ins.sort_unstable();
    let drop_ins = drop_ins.into_iter().filter_map(|(_, path)| read(path));
    first.next().into_iter().chain(drop_ins).collect()
}

/// Returns the lines of a text, with those that continue after a backslash joined, each with the number of its first
/// line. Comments are left out.
pub(super) fn joined(text: &str) -> impl Iterator<Item = (u32, String)> {
    let mut lines = (1_u32..).zip(text.lines());
    std::iter::from_fn(move || {
        let (number, first) = lines.next()?;
        let mut whole = first.to_owned();
        while let Some(start) = whole.strip_suffix('\\') {
            whole = format!("{start} ");
            match lines.next() {
                Some((_, next)) => whole.push_str(next),
                None => break,
            }
        }
        Some((number, whole))
    })
    .filter(|(_, line)| !line.trim_start().starts_with('#'))
}

/// Returns the words of a command, without quotes and brackets.
pub(super) fn words(command: &str) -> impl Iterator<Item = &str> {
    command
        .split(|c: char| c.is_whitespace() || ['"', '\'', '[', ']', ','].contains(&c) || ENDS.contains(&c))
        .filter(|word| !word.is_empty())
}

/// Returns the words of each command that starts a service with this text.
pub(super) fn start_commands(text: &str) -> impl Iterator<Item = Vec<String>> {
    joined(text).filter_map(|(_, line)| {
        let (key, value) = line.split_once('=')?;
        let command = value.trim().trim_start_matches(MARKS);
        (key.trim() == "ExecStart").then(|| words(command).map(str::to_owned).collect())
    })
}

/// Returns the values that a service with this text gives its environment: `A="x y"` of `Environment=` as `x y`.
pub(super) fn environment(text: &str) -> impl Iterator<Item = String> {
    joined(text).filter_map(|(_, line)| {
        let (key, value) = line.split_once('=')?;
        let (_name, value) = value.trim().trim_matches(['"', '\'']).split_once('=')?;
        (key.trim() == "Environment").then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::recorded::RecordedHost;

    #[test]
    fn lines_that_continue_are_one_and_comments_are_none() {
        let text = "#!/bin/sh\n# docker ps\ntrue \\\n  && docker \\\n  run x\nend \\";
        let lines: Vec<_> = joined(text).collect();
        assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(words(&lines[0].1).collect::<Vec<_>>(), ["true", "docker", "run", "x"]);
    }

    #[test]
    fn the_first_file_and_all_drop_ins_of_a_unit_are_read() {
        let host = RecordedHost::new();
        host.file("/usr/lib/systemd/system/x.service", "[Service]\nExecStart=/vendor\n");
        host.file(
            "/etc/systemd/system/x.service",
            "[Service]\nExecStart=-/own 'a b' \\\n  c\n",
        );
        host.file(
            "/usr/lib/systemd/system/x.service.d/20.conf",
            "Environment=\"A=--x y\"\n",
        );
        host.file("/etc/systemd/system/x.service.d/10.conf", "Environment=B=1\n");
        host.file("/etc/systemd/system/x.service.d/README", "Environment=C=1\n");
        let root = Rooted::open(&host.paths().root).expect("a directory");
        let texts = read_unit(&root, "x.service");
        let paths: Vec<&str> = texts.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/etc/systemd/system/x.service",
                "/etc/systemd/system/x.service.d/10.conf",
                "/usr/lib/systemd/system/x.service.d/20.conf"
            ]
        );
        let commands: Vec<Vec<String>> = texts.iter().flat_map(|(_, text)| start_commands(text)).collect();
        assert_eq!(commands, [["/own", "a", "b", "c"]]);
        let values: Vec<String> = texts.iter().flat_map(|(_, text)| environment(text)).collect();
        assert_eq!(values, ["1", "--x y"]);
    }
}
