//! The program that a process runs, from the file that it executes; from its name and arguments only if that file may
//! not be read.
//!
//! Relies on `/proc/<pid>/exe`, and on ld.so(8) for programs that are run through the dynamic loader.

use std::borrow::Cow;
use std::io;

use crate::model::engine::EngineKind;
use crate::model::process::Process;
use crate::sources::docker::{Invocation, PROGRAMS};
use crate::sources::processes::{ProcessEntry, ProcessReader};

/// The most bytes of a process's name in the kernel: `TASK_COMM_LEN` of `include/linux/sched.h` without the final zero.
const NAME_BYTES: usize = 15;

/// Options of the loader whose value is the next argument: ld.so(8), and musl's `ldso/dynlink.c`.
const LOADER_OPTIONS_WITH_VALUE: [&str; 7] = [
    "--argv0",
    "--audit",
    "--glibc-hwcaps-mask",
    "--glibc-hwcaps-prepend",
    "--inhibit-rpath",
    "--library-path",
    "--preload",
];

/// The kinds of programs that castoff distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A program that serves a Docker API. Podman counts even as a command-line client.
    Engine(EngineKind),
    /// systemd, the system's or a user's, and its helper that listens for a program that is not started yet.
    Activator,
    /// Anything else.
    Other,
}

/// Returns the program of a process.
pub(super) fn read_program(reader: &ProcessReader, entry: &ProcessEntry) -> io::Result<Program> {
    let name = read_name(reader, entry)?;
    let Some((_, kind, invocation)) = PROGRAMS.iter().find(|(program, ..)| *program == name) else {
        return Ok(match &*name {
            "systemd" | "systemd-socket-activate" => Program::Activator,
            _ => Program::Other,
        });
    };
    let is_engine = match invocation {
        Invocation::Any => true,
        Invocation::As(names) => {
            let command = read_command(reader, entry)?;
            command.first().is_some_and(|name| names.contains(&base(name)))
        }
        Invocation::With(words) => {
            let command = read_command(reader, entry)?;
            command.get(1).is_some_and(|word| words.contains(&word.as_str()))
        }
    };
    Ok(if is_engine {
        Program::Engine(*kind)
    } else {
        Program::Other
    })
}

/// Returns the last component of the program's path; if it runs through the loader, of the path that the loader
/// executes.
pub(super) fn read_name<'e>(reader: &ProcessReader, entry: &'e ProcessEntry) -> io::Result<Cow<'e, str>> {
    let name = entry.program();
    // A name of the full length may be truncated.
    let cut = entry.executable.is_none() && name.len() == NAME_BYTES;
    if !is_loader(name) && !cut {
        return Ok(Cow::Borrowed(name));
    }
    let mut command = read_command(reader, entry)?;
    Ok(match command.first_mut().map(|first| base(first).to_owned()) {
        Some(program) if is_loader(name) || program.starts_with(name) => Cow::Owned(program),
        _ => Cow::Borrowed(name),
    })
}

/// Returns the arguments from the program's name on, without those of a loader.
pub(super) fn read_command(reader: &ProcessReader, entry: &ProcessEntry) -> io::Result<Vec<String>> {
    let arguments = reader.read_arguments(entry.key)?;
    Ok(if is_loader(entry.program()) {
        without_loader(arguments)
    } else {
        arguments
    })
}

/// Returns the value of an option, `--name value` or `--name=value`, under any of its names. If it is repeated, the last
/// one wins (the flag libraries of Go).
pub(in crate::sources) fn option<'a>(command: &'a [String], names: &[&str]) -> Option<&'a str> {
    options(command, names).last()
}

/// Returns the values of an option that may be repeated.
pub(in crate::sources) fn options<'a>(command: &'a [String], names: &[&str]) -> impl Iterator<Item = &'a str> {
    command.iter().enumerate().skip(1).filter_map(|(at, argument)| {
        if names.contains(&argument.as_str()) {
            return command.get(at + 1).map(String::as_str);
        }
        let (name, value) = argument.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

/// True if Go reads this value of a flag as true (`strconv.ParseBool`).
pub(in crate::sources) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// The one-letter options of dockerd without a value. They may come before one with a value in one argument: `-DH fd://`.
const SWITCHES: [char; 4] = ['D', 'd', 'h', 'v'];

/// Returns the values of dockerd's option with this letter, which may be repeated: `-H x`, `-H=x`, `-Hx`, `-DH x` (pflag).
pub(in crate::sources) fn short_options(command: &[String], letter: char) -> impl Iterator<Item = &str> {
    command.iter().enumerate().skip(1).filter_map(move |(at, argument)| {
        let letters = argument.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
        let rest = letters.trim_start_matches(SWITCHES).strip_prefix(letter)?;
        match rest.strip_prefix('=').unwrap_or(rest) {
            "" => command.get(at + 1).map(String::as_str),
            value => Some(value),
        }
    })
}

/// True if a podman with these arguments serves the API (podman-system-service(1)).
pub(super) fn is_podman_service(command: &[String]) -> bool {
    command.windows(2).any(|words| words == ["system", "service"])
}

/// Returns the last component of a path.
pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the arguments of a process from its program's name on, without those of a loader.
pub(super) fn without_loader_of(process: &Process, arguments: Vec<String>) -> Vec<String> {
    let name = process.executable.as_deref().map_or(&*process.name, base);
    if is_loader(name) {
        without_loader(arguments)
    } else {
        arguments
    }
}

fn is_loader(name: &str) -> bool {
    ["ld-linux", "ld-musl", "ld64.so", "ld.so", "ld-2."]
        .iter()
        .any(|loader| name.starts_with(loader))
}

fn without_loader(arguments: Vec<String>) -> Vec<String> {
    let mut rest = arguments.into_iter().skip(1).peekable();
    while let Some(argument) = rest.peek() {
        if !argument.starts_with("--") {
            break;
        }
        let takes_next = LOADER_OPTIONS_WITH_VALUE.contains(&argument.as_str());
        let ends = argument == "--";
        rest.next();
        if ends {
            break;
        }
        if takes_next {
            rest.next();
        }
    }
    rest.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::recorded::RecordedHost;

    #[test]
    fn a_program_is_known_by_executable_loader_or_name() {
        use Program::{Activator, Other};
        const DOCKERD: Program = Program::Engine(EngineKind::Dockerd);
        const PODMAN: Program = Program::Engine(EngineKind::Podman);
        let loader = "/opt/bullseye/lib64/ld-linux-x86-64.so.2";
        #[rustfmt::skip]
        let table: [(Option<&str>, &str, &[&str], Program); 22] = [
            (Some("/usr/bin/dockerd"), "dockerd", &["/usr/bin/dockerd", "-H", "fd://"], DOCKERD),
            (Some("/usr/bin/dockerd (deleted)"), "dockerd", &["dockerd"], DOCKERD),
            (Some("/usr/bin/dockerd-current"), "dockerd-current", &["x"], DOCKERD),
            (Some("/usr/bin/dockerd"), "innocent", &["innocent"], DOCKERD),
            (Some("/usr/bin/dockerd-rootless.sh"), "sh", &["sh"], Other),
            (Some("/usr/bin/docker"), "docker", &["docker", "ps"], Other),
            (Some("/usr/bin/docker"), "docker", &["docker", "daemon", "-H", "x"], DOCKERD),
            (Some("/usr/bin/balena-engine"), "balena-engine-d", &["/usr/bin/balena-engine-daemon"], DOCKERD),
            (Some("/usr/bin/balena-engine"), "balena-engine", &["balena-engine", "ps"], Other),
            (Some("/usr/bin/podman"), "podman", &["podman", "system", "service"], PODMAN),
            (Some("/usr/lib/systemd/systemd"), "systemd", &["/sbin/init"], Activator),
            // through the loader: the values of its options are not programs
            (Some(loader), "ld-linux-x86-64", &[loader, "--library-path", "/opt/dockerd", "/opt/usr/sbin/dockerd", "--debug"], DOCKERD),
            (Some(loader), "ld-linux-x86-64", &[loader, "--inhibit-cache", "--argv0", "podman", "/opt/dockerd"], DOCKERD),
            (Some("/lib/ld-musl-x86_64.so.1"), "ld-musl-x86_64.", &["/lib/ld-musl-x86_64.so.1", "--library-path=/l", "--", "/bin/podman"], PODMAN),
            (Some("/lib/ld-2.31.so"), "ld-2.31.so", &["ld-2.31.so", "/usr/bin/dockerd"], DOCKERD),
            (Some(loader), "ld-linux-x86-64", &[loader, "--library-path"], Other),
            (Some(loader), "ld-linux-x86-64", &[], Other),
            // if the executable may not be read: the kernel's name and the arguments, which any user may read
            (None, "dockerd", &["/usr/bin/dockerd"], DOCKERD),
            (None, "balena-engine-d", &["/usr/bin/balena-engine-daemon"], DOCKERD),
            (None, "ld-linux-x86-64", &[loader, "/usr/bin/dockerd"], DOCKERD),
            (None, "a-name-of-15-by", &["/usr/bin/dockerd"], Other),
            (None, "kworker/u8:2-ev", &[], Other),
        ];
        for (at, (executable, name, arguments, expected)) in (10..).zip(table) {
            let host = RecordedHost::new();
            let process = host.process(at, 1, name).arguments(arguments);
            if let Some(executable) = executable {
                process.exe(executable);
            }
            let reader = host.reader();
            let table = ProcessReader::new(host.paths().proc).read_table();
            let entry = &table.reading.known().expect("one process is recorded").entries[0];
            let program = read_program(&reader, entry).expect("it is readable");
            assert_eq!(program, expected, "{executable:?} {name} {arguments:?}");
        }
    }

    #[test]
    fn options_are_read_in_both_notations() {
        let command = ["podman", "--data-root", "/x", "-n", "web", "--data-root=/a b", "--last"].map(String::from);
        assert_eq!(option(&command, &["-n", "--name"]), Some("web"));
        assert_eq!(option(&command, &["--data-root"]), Some("/a b"));
        assert_eq!(option(&command, &["--last"]), None);
        assert_eq!(option(&command, &["podman"]), None);
    }

    #[test]
    fn options_of_one_letter_are_read_in_every_notation() {
        for (arguments, expected) in [
            (&["-H", "a", "-H=b", "-Hc", "-DH", "d", "-DHe", "-DH=f"][..], "abcdef"),
            (&["-D", "-l", "H", "--H", "x", "-gH", "-D=trueH"], ""),
            (&["-H"], ""),
        ] {
            let command: Vec<String> = ["dockerd"].iter().chain(arguments).map(ToString::to_string).collect();
            let values: String = short_options(&command, 'H').collect();
            assert_eq!(values, expected, "{arguments:?}");
        }
    }
}
