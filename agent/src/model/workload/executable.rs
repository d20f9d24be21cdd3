//! The lasting path of an executable: the path that its next run has too, without the parts that a program generated for one run
//! or one release.
//!
//! Relies on the form of such paths: `/nix/store/<hash>-<name>-<version>`, `/snap/<name>/<revision>`, an `AppImage`'s
//! `/tmp/.mount_<name><random>`, uv's `archive-v0/<id>`, the random names of mkdtemp(3), Python's `tempfile`,
//! `PyInstaller`, Cargo and `go run`, and the directories of build systems as [`of_build_system`] lists them. Names that
//! a person chose are kept: `node@18` and `redis-6379` are as likely a person's as a counter's.

use super::generated::{self, is_decimal};

/// The mark of a generated part, as in a container's name.
const MADE_UP: &str = "*";

/// Directories in which every user may make temporary ones.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Returns the path without the parts that change with each run; none if there is no such part.
pub(in crate::model) fn lasting(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None; // the kernel's name of a process
    }
    let mut folded = String::with_capacity(path.len());
    // `before` is the path up to a component as it is, `folded` without its generated parts.
    for (at, component) in components(path) {
        let before = &path[..at];
        let after = &path[at + 1 + component.len()..];
        folded.push('/');
        match of_build_system(before, component, after).or_else(|| of_component(before, component)) {
            Some(kept) => folded.push_str(&kept),
            None => folded.push_str(component),
        }
    }
    (folded != path).then_some(folded)
}

/// True if `name` is the name of the file at `path`, which [`lasting`] returned.
pub(in crate::model) fn is_file_name(path: &str, name: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else {
        return false;
    };
    let is_folded = || file.contains(MADE_UP) && generated::settle(format!("{folder}/{name}"), lasting) == path;
    !name.contains('/') && (file == name || is_folded())
}

/// Returns the components, each with the position of the slash before it.
fn components(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    path.split('/').skip(1).map(move |component| {
        let slash = at;
        at += 1 + component.len();
        (slash, component)
    })
}

fn of_component(before: &str, component: &str) -> Option<String> {
    let parent = before.rsplit('/').next().unwrap_or_default();
    if ["/nix/store", "/gnu/store"].contains(&before) {
        return of_store(component);
    }
    let is_revision = |part: &str| is_decimal(part) || part.strip_prefix('x').is_some_and(is_decimal);
    let is_of_snap = before
        .rsplit_once('/')
        .is_some_and(|(above, _)| above.ends_with("/snap"));
    let is_of_proc = before == "/proc" || (before.starts_with("/proc/") && parent == "fd") || before == "/dev/fd";
    let is_pid = is_decimal(component) || component == "self";
    let is_of_uv = parent.starts_with("archive-v") && before.contains("/uv/");
    if (is_of_snap && is_revision(component)) || (is_of_proc && is_pid) || is_of_uv {
        return Some(MADE_UP.to_owned());
    }
    let made_up = generated::fold(component, MADE_UP);
    let is_temporary = TEMPORARY.contains(&before) || component.starts_with(".tmp");
    made_up.or_else(|| is_temporary.then(|| of_temporary(component))?)
}

/// Words before the number of a run, in the name of a directory, and the minimum of its digits: a short number may be a
/// person's.
const RUNS: [&str; 2] = ["build", "job"];
const RUN_DIGITS: usize = 3;

/// Returns a directory of a build system without its counter or its release.
fn of_build_system(before: &str, component: &str, after: &str) -> Option<String> {
    if after.is_empty() {
        return None; // the file itself
    }
    let parent = before.rsplit('/').next().unwrap_or_default();
    // pytest: `pytest-of-<user>/pytest-<n>`, with a new number for each session (`_pytest/tmpdir.py`).
    if parent.starts_with("pytest-of-") && component.strip_prefix("pytest-").is_some_and(is_decimal) {
        return Some(format!("pytest-{MADE_UP}"));
    }
    // Jenkins: `workspace/<job>@<n>` is a free one of several (`WorkspaceList`), and the first has no number. `@tmp` may
    // follow. Elsewhere `@` is before a version, as in Homebrew's `node@18`.
    if before.split('/').any(|above| above == "workspace")
        && let Some((job, rest)) = component.split_once('@')
        && !job.is_empty()
    {
        let slot = rest.split('@').next().unwrap_or_default();
        return is_decimal(slot).then(|| format!("{job}{}", &rest[slot.len()..]));
    }
    // GitHub's runner updates itself into `bin.<version>` and `externals.<version>` (`SelfUpdater.cs`).
    if let Some((kind, version)) = component.split_once('.')
        && version.split('.').count() == 3
        && version.split('.').all(is_decimal)
        && (kind == "externals" || (kind == "bin" && after.starts_with("/Runner.")))
    {
        return Some(format!("{kind}.{MADE_UP}"));
    }
    let (word, number) = component.split_once(['-', '_'])?;
    let is_run = RUNS.contains(&word) && number.len() >= RUN_DIGITS && is_decimal(number);
    is_run.then(|| format!("{}{MADE_UP}", &component[..=word.len()]))
}

/// Returns `<hash>-<name>-<version>` as `*-<name>-*`. The version begins at the first digit after a dash, as in Nix.
fn of_store(component: &str) -> Option<String> {
    let (_, name) = component.split_once('-')?;
    let begins = |(at, _): &(usize, &str)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    Some(match name.match_indices('-').find(begins) {
        Some((at, _)) => format!("{MADE_UP}-{}-{MADE_UP}", &name[..at]),
        None => format!("{MADE_UP}-{name}"),
    })
}

/// Returns the part before the random one in the name of a temporary directory.
fn of_temporary(component: &str) -> Option<String> {
    let kept = by_maker(component).or_else(|| {
        let at = component.rfind(['-', '_', '.'])? + 1;
        is_random(&component[at..]).then(|| &component[..at])
    })?;
    Some(format!("{kept}{MADE_UP}"))
}

/// The prefixes of Cargo, rustc and rustdoc, which write six random characters right after them (crate `tempfile`).
const RUST: [&str; 3] = ["cargo-install", "rustdoctest", "rustc"];

/// Matches the prefixes of programs that write the random part right after them, and its length.
fn by_maker(component: &str) -> Option<&str> {
    let random = |maker: &&str| {
        component
            .strip_prefix(*maker)
            .is_some_and(|rest| rest.len() == 6 && is_random(rest))
    };
    if let Some(maker) = RUST.iter().find(|maker| random(maker)) {
        return Some(maker);
    }
    // The runtime of an AppImage puts up to six letters of its name before the six random ones.
    let length = match component {
        _ if component.starts_with(".mount_") => 6,
        _ if component.starts_with("tmp.") => 10,
        _ if component.starts_with(".tmp") || component.starts_with("_MEI") => 6,
        _ if component.starts_with("tmp") || component.starts_with("pip-") => 8,
        _ => return None,
    };
    let at = component.len().checked_sub(length)?;
    let (kept, random) = component.split_at_checked(at)?;
    let fits = random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_whole = kept.ends_with(['-', '_', '.']) || ["tmp", ".tmp", "_MEI"].contains(&kept);
    (fits && (is_whole || kept.starts_with(".mount_"))).then_some(kept)
}

/// True for six, eight or ten letters and digits, as mkdtemp(3) and similar functions make them, that are no word with a number.
fn is_random(part: &str) -> bool {
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_word = word.bytes().all(|b| b.is_ascii_lowercase());
    [6, 8, 10].contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()) && !is_word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_change_with_each_run_or_release_go() {
        let table = [
            ("/tmp/.mount_abc123/usr/bin/agent", "/tmp/.mount_*/usr/bin/agent"),
            (
                "/tmp/.mount_LensDe9xYz1a/usr/bin/lens",
                "/tmp/.mount_LensDe*/usr/bin/lens",
            ),
            ("/proc/self/fd/7", "/proc/*/fd/*"),
            ("/proc/4711/fd/7", "/proc/*/fd/*"),
            ("/dev/fd/9", "/dev/fd/*"),
            (
                "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-docker-compose-2.29.1/bin/docker-compose",
                "/nix/store/*-docker-compose-*/bin/docker-compose",
            ),
            (
                "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-etc/bin/x",
                "/nix/store/*-etc/bin/x",
            ),
            ("/snap/docker/2915/bin/docker", "/snap/docker/*/bin/docker"),
            (
                "/var/lib/snapd/snap/docker/x2/bin/docker",
                "/var/lib/snapd/snap/docker/*/bin/docker",
            ),
            (
                "/tmp/pip-build-env-k3j4_x2a/overlay/bin/build",
                "/tmp/pip-build-env-*/overlay/bin/build",
            ),
            ("/tmp/tmpq7_w2e8r/bin/python3", "/tmp/tmp*/bin/python3"),
            ("/var/tmp/tmp.Ab3dEf6hIj/run", "/var/tmp/tmp.*/run"),
            ("/tmp/_MEIa1B2c3/agent", "/tmp/_MEI*/agent"),
            ("/tmp/go-build2814710285/b001/exe/main", "/tmp/go-build*/b001/exe/main"),
            ("/tmp/runner-aB3xYz/agent", "/tmp/runner-*/agent"),
            ("/tmp/pytest-of-ci/pytest-42/x", "/tmp/pytest-of-ci/pytest-*/x"),
            ("/tmp/cargo-installAbCdE1/x", "/tmp/cargo-install*/x"),
            ("/tmp/rustdoctestaB3xYz/rust_out", "/tmp/rustdoctest*/rust_out"),
            ("/opt/r/bin.2.311.0/Runner.Worker", "/opt/r/bin.*/Runner.Worker"),
            (
                "/opt/r/externals.2.311.0/node20/bin/node",
                "/opt/r/externals.*/node20/bin/node",
            ),
            ("/home/jenkins/workspace/shop@2/x", "/home/jenkins/workspace/shop/x"),
            (
                "/home/jenkins/workspace/team/shop@12/bin/x",
                "/home/jenkins/workspace/team/shop/bin/x",
            ),
            (
                "/home/jenkins/workspace/shop@2@tmp/durable-4f0e9d3b/x",
                "/home/jenkins/workspace/shop@tmp/durable-*/x",
            ),
            ("/run/w/build-4711/x", "/run/w/build-*/x"),
            ("/srv/job_815/bin/x", "/srv/job_*/bin/x"),
            ("/srv/app/releases/20261130-203015/bin/x", "/srv/app/releases/*/bin/x"),
            (
                "/root/.cache/uv/archive-v0/x7Kd_aB-93kLmNoPqRsTu/bin/python",
                "/root/.cache/uv/archive-v0/*/bin/python",
            ),
            (
                "/root/.cache/uv/builds-v0/.tmpAbCdEf/bin/python",
                "/root/.cache/uv/builds-v0/.tmp*/bin/python",
            ),
            (
                "/root/.vscode-server/bin/0c2ab1c57a3e4f0e9d3b1f2e3d4c5b6a0c2ab1c5/node",
                "/root/.vscode-server/bin/*/node",
            ),
        ];
        for (path, expected) in table {
            assert_eq!(lasting(path).as_deref(), Some(expected), "{path}");
            assert_eq!(lasting(expected), None, "{expected} lasts");
        }
    }

    #[test]
    fn a_name_that_a_person_chose_stays() {
        for path in [
            "/usr/bin/docker",
            "/usr/lib/postgresql/15/bin/postgres",
            "/opt/agent/bin.2.319.1/agent",
            "/opt/agent/bin.2/Runner.Listener",
            "/home/linuxbrew/.linuxbrew/opt/node@18/bin/node",
            "/opt/jw/job@2/x",
            "/home/jenkins/workspace/shop@script/x",
            "/home/jenkins/workspace/x@2",
            "/srv/build-42/x",
            "/srv/build-4711",
            "/srv/redis-6379/x",
            "/srv/my-build-4711/x",
            "/opt/pytest-42/x",
            "/tmp/rustcbinary/x",
            "/srv/cargo-installAbCdE1/x",
            "/opt/backup-orders/run",
            "/home/2915/bin/docker",
            "/tmp/agent/bin/x",
            "/tmp/release2/bin/x",
            "/tmp/my-stage2/bin/x",
            "/tmp/tmp/x",
            "/srv/runner-aB3xYz/agent",
            "/snap/docker/current/bin/docker",
            "/snap/bin/docker",
            "/proc/sys/x",
            "/deadbeef",
            "python3",
            "12345678",
            "/",
            "",
        ] {
            assert_eq!(lasting(path), None, "{path}");
        }
    }
}
