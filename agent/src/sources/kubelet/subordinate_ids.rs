//! The IDs that the host reserves for a user `kubelet`, from which pods in user namespaces get theirs.
//!
//! Relies on kubelet@v1.33 to v1.37 `pkg/kubelet/userns` (it runs `getsubids` if the user exists), on passwd(5) and on
//! subuid(5).

use super::files::Files;
use crate::model::kubelet::SubordinateIds;
use crate::model::reading::{Gap, Hides, Reading, Reason};

/// The user whose ranges the kubelet uses.
const USER: &str = "kubelet";

const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// The directories in which systemd and distributions search for programs.
const PROGRAMS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Reads the reserved IDs. Absent if the host has no user `kubelet`.
pub(super) fn read(files: &Files) -> Reading<SubordinateIds> {
    let passwd = match read_lines(files, "/etc/passwd") {
        Ok(text) => text,
        Err(gap) => return Reading::Unknown(gap),
    };
    let Some(uid) = passwd.lines().find_map(uid_of_user) else {
        return Reading::Absent;
    };
    Reading::Known(SubordinateIds {
        getsubids: find_getsubids(files),
        overlong: find_overlong(files, uid),
    })
}

/// Returns the user's ID if `line` is the user's.
fn uid_of_user(line: &str) -> Option<&str> {
    let mut fields = line.split(':');
    (fields.next() == Some(USER)).then(|| fields.nth(1))?
}

fn find_getsubids(files: &Files) -> Reading<String> {
    for directory in PROGRAMS {
        let path = format!("{directory}/getsubids");
        match files.is_there(&path) {
            Ok(true) => return Reading::Known(path),
            Ok(false) => {}
            Err(gap) => return Reading::Unknown(detail(gap)),
        }
    }
    match files.is_there("/usr/bin") {
        Ok(true) => Reading::Absent,
        Ok(false) => Reading::Unknown(Gap::new(
            Reason::NotFound,
            Hides::Detail,
            "/usr/bin",
            "the host's root directory, as castoff was given it, has no programs",
        )),
        Err(gap) => Reading::Unknown(detail(gap)),
    }
}

/// Returns the user's ranges that include the last ID, which is reserved. A line has the user's name or number.
fn find_overlong(files: &Files, uid: &str) -> Reading<Vec<String>> {
    let mut found = Vec::new();
    for path in FILES {
        let text = match read_lines(files, path) {
            Ok(text) => text,
            Err(gap) => return Reading::Unknown(gap),
        };
        let of_user = |line: &&str| line.split(':').next().is_some_and(|name| name == USER || name == uid);
        let overlong = text.lines().filter(of_user).filter(|line| reaches_last_id(line));
        found.extend(overlong.map(|line| format!("{path}: {line}")));
    }
    Reading::Known(found)
}

fn reaches_last_id(line: &str) -> bool {
    let mut numbers = line.split(':').skip(1).map(|field| field.trim().parse::<u64>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(start)), Some(Ok(count))) => start.saturating_add(count) > u64::from(u32::MAX),
        _ => false,
    }
}

/// Reads a file as text; empty if it does not exist.
fn read_lines(files: &Files, path: &str) -> Result<String, Gap> {
    files.read(path).map(Option::unwrap_or_default).map_err(detail)
}

fn detail(gap: Gap) -> Gap {
    Gap {
        hides: Hides::Detail,
        ..gap
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::sources::HostPaths;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nkubelet:x:990:990::/:/usr/sbin/nologin\n";

    /// Reads a host with these files. A file with empty content is left out.
    fn read_host(files: &[(&str, &str)]) -> Reading<SubordinateIds> {
        let root = tempfile::tempdir().expect("a directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, content).expect("written");
        }
        let host = HostPaths {
            root: root.path().to_owned(),
            proc: PathBuf::from("/proc"),
        };
        read(&Files::open(&host))
    }

    #[test]
    fn a_range_that_reaches_the_last_id_is_found_by_name_and_by_number() {
        for (line, overlong) in [
            ("kubelet:65536:4294901758", false),
            ("kubelet:65536:4294901759", false),
            ("kubelet:65536:4294901760", true),
            ("990:65536:4294967295", true),
            ("kubelet:65536:99999999999", true),
            ("kubelet:18446744073709551615:1", true),
            ("builder:65536:4294967295", false),
            ("kubelet:65536:7208960", false),
            ("kubelet:all", false),
        ] {
            let text = format!("# ids\nother:1:1\n{line}\n");
            let read = read_host(&[("etc/passwd", PASSWD), ("etc/subgid", &text), ("usr/bin/getsubids", "")]);
            let expected = SubordinateIds {
                getsubids: Reading::Known("/usr/bin/getsubids".to_owned()),
                overlong: Reading::Known(overlong.then(|| format!("/etc/subgid: {line}")).into_iter().collect()),
            };
            assert_eq!(read, Reading::Known(expected), "{line}");
        }
    }

    #[test]
    fn getsubids_is_missing_only_if_its_directories_were_read() {
        let getsubids = |files: &[(&str, &str)]| match read_host(files) {
            Reading::Known(ids) => ids.getsubids,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            getsubids(&[("etc/passwd", PASSWD), ("usr/bin/sh", "")]),
            Reading::Absent
        );
        let without_usr = getsubids(&[("etc/passwd", PASSWD)]);
        assert!(matches!(without_usr, Reading::Unknown(_)), "{without_usr:?}");
        assert_eq!(read_host(&[("etc/passwd", "kubeletx:x:1:1::/:\n")]), Reading::Absent);
        let malformed = read_host(&[("etc/passwd/file", "")]);
        assert!(matches!(malformed, Reading::Unknown(_)), "{malformed:?}");
    }
}
