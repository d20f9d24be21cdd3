//! The TCP ports on which systemd listens for an engine, from the files of its socket units (systemd.socket(5)).
//!
//! A file only shows that systemd may listen there; the kernel reports the actual listeners. So a port counts if any
//! file of the unit names it, and masked units and resets need not be considered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::model::engine::EngineKind;
use crate::model::last_connect::Moment;
use crate::model::reading::{Gap, Hides, Sighting};
use crate::sources::docker::{engine_of_command, engine_of_unit};
use crate::sources::kernel::refusal::{self, Right, is_missing};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::systemd::{UNIT_DIRECTORIES, UNIT_LIMIT, joined, start_commands};

/// The ports of each engine.
pub type EnginePorts = BTreeMap<u16, EngineKind>;

/// The files that were read, kept until one of the files or directories changes.
#[derive(Debug, Default)]
pub struct UnitMemory {
    /// The paths that were read, with the time of their last change; none if there was no file.
    read: Vec<(String, Option<Moment>)>,
    ports: EnginePorts,
}

impl UnitMemory {
    /// Returns the ports on which systemd may listen for an engine.
    pub(super) fn read_ports(&mut self, root: &Rooted) -> Sighting<EnginePorts> {
        let is_same = |(path, change): &(String, Option<Moment>)| root.read_change(path).ok() == *change;
        if !self.read.is_empty() && self.read.iter().all(is_same) {
            return Sighting::partial(self.ports.clone(), Vec::new());
        }
        let mut search = UnitSearch {
            root,
            read: Vec::new(),
            units: BTreeMap::new(),
            gaps: Vec::new(),
        };
        let mut known = BTreeSet::new(); // where /lib is /usr/lib, one directory is found twice
        for directory in UNIT_DIRECTORIES {
            if root
                .read_identity(directory)
                .map_or(true, |(found, _)| known.insert(found))
            {
                search.take_directory(directory);
            }
        }
        search.find_kinds();
        self.ports = search.units.values().flat_map(SocketUnit::ports_of).collect();
        // If something could not be read, everything is read again.
        self.read = if search.gaps.is_empty() {
            search.read
        } else {
            Vec::new()
        };
        Sighting::partial(self.ports.clone(), search.gaps)
    }
}

/// The contents of one socket unit's files.
#[derive(Default)]
struct SocketUnit {
    ports: Vec<u16>,
    /// The services that it activates.
    services: Vec<String>,
    /// The engine that it listens for.
    kind: Option<EngineKind>,
}

impl SocketUnit {
    fn read(&mut self, content: &str) {
        for (_, line) in joined(content) {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            match key.trim() {
                "ListenStream" => self.ports.extend(port_of(value.trim())),
                "Service" => self.services.push(value.trim().to_owned()),
                _ => {}
            }
        }
    }

    /// Returns the ports, if it listens for an engine.
    fn ports_of(&self) -> impl Iterator<Item = (u16, EngineKind)> {
        let kind = self.kind.into_iter();
        kind.flat_map(|kind| self.ports.iter().map(move |port| (*port, kind)))
    }
}

/// Returns the engine that a service with this text starts.
pub(super) fn engine_of_service(text: &str) -> Option<EngineKind> {
    start_commands(text).find_map(|command| {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        engine_of_command(&words)
    })
}

/// Reads a unit's text.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn fuzz(text: &str) {
    let mut unit = SocketUnit::default();
    unit.read(text);
    unit.kind = engine_of_service(text);
    let _ = unit.ports_of().count();
}

/// Returns the port of an address in systemd's notation: `2375`, `127.0.0.1:2375`, `[::]:2375`. None for a path, an
/// abstract name and a vsock.
fn port_of(address: &str) -> Option<u16> {
    if address.starts_with(['/', '@', '%']) || address.starts_with("vsock:") {
        return None;
    }
    address.rsplit(':').next()?.parse().ok()
}

struct UnitSearch<'a> {
    root: &'a Rooted,
    read: Vec<(String, Option<Moment>)>,
    units: BTreeMap<String, SocketUnit>,
    gaps: Vec<Gap>,
}

impl UnitSearch<'_> {
    /// Reads each `NAME.socket`, and each file of `NAME.socket.d`.
    fn take_directory(&mut self, directory: &str) {
        for name in self.list(directory, &[".socket", ".socket.d"]) {
            let path = format!("{directory}/{name}");
            match name.strip_suffix(".d") {
                None => self.take_file(&name, &path),
                Some(unit) => {
                    for file in self.list(&path, &[".conf"]) {
                        self.take_file(unit, &format!("{path}/{file}"));
                    }
                }
            }
        }
    }

    /// Finds the engine of each unit that listens on a port: by its own name, by that of the service that it activates, or
    /// by the command of that service.
    fn find_kinds(&mut self) {
        let units: Vec<String> = self.units.keys().cloned().collect();
        for name in units {
            let unit = &self.units[&name];
            if unit.ports.is_empty() {
                continue;
            }
            let mut services = unit.services.clone();
            services.extend(name.strip_suffix(".socket").map(|stem| format!("{stem}.service")));
            let by_name = services.iter().find_map(|service| engine_of_unit(service));
            let kind = engine_of_unit(&name).or(by_name);
            let kind = kind.or_else(|| services.iter().find_map(|service| self.engine_of(service)));
            self.units.entry(name).or_default().kind = kind;
        }
    }

    /// Returns the engine that a service starts by its command, from its first file.
    fn engine_of(&mut self, service: &str) -> Option<EngineKind> {
        let mut paths = UNIT_DIRECTORIES
            .iter()
            .map(|directory| format!("{directory}/{service}"));
        let path = paths.find(|path| self.root.read_change(path).is_ok())?;
        self.note(&path);
        let content = self.root.read_file(&path, UNIT_LIMIT);
        let kind = content
            .as_ref()
            .ok()
            .and_then(|content| engine_of_service(&String::from_utf8_lossy(content)));
        self.keep_error(&path, content.map(drop));
        kind
    }

    fn list(&mut self, directory: &str, endings: &[&str]) -> Vec<String> {
        self.note(directory);
        let mut names = Vec::new();
        let listed = self.root.read_names(directory, |name| {
            if endings.iter().any(|ending| name.ends_with(ending)) {
                names.push(name.to_owned());
            }
            true
        });
        self.keep_error(directory, listed);
        names
    }

    fn take_file(&mut self, unit: &str, path: &str) {
        self.note(path);
        let unit = self.units.entry(unit.to_owned()).or_default();
        let content = self.root.read_file(path, UNIT_LIMIT);
        let content = content.map(|content| unit.read(&String::from_utf8_lossy(&content)));
        self.keep_error(path, content);
    }

    fn note(&mut self, path: &str) {
        self.read.push((path.to_owned(), self.root.read_change(path).ok()));
    }

    /// Adds a gap for an error that hides a port. A masked unit is a link to a device.
    fn keep_error(&mut self, path: &str, read: io::Result<()>) {
        if let Err(error) = read
            && !is_missing(&error)
            && error.kind() != io::ErrorKind::InvalidData
        {
            refusal::gap(&error, Hides::Engine, path, Right::Root).fold_into(&mut self.gaps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::recorded::RecordedHost;

    fn ports(host: &RecordedHost, memory: &mut UnitMemory) -> Vec<(u16, EngineKind)> {
        let root = Rooted::open(&host.paths().root).expect("a directory");
        let seen = memory.read_ports(&root);
        assert_eq!(seen.gaps, []);
        let ports = seen.reading.known().expect("all was read");
        ports.iter().map(|(port, kind)| (*port, *kind)).collect()
    }

    #[test]
    fn only_the_ports_of_an_engines_units_are_read() {
        use EngineKind::{Dockerd, Podman};
        type Row<'t> = (&'t str, &'t str, &'t [(u16, EngineKind)]);
        #[rustfmt::skip]
        let table: [Row<'_>; 12] = [
            ("usr/lib/systemd/system/docker.socket", "ListenStream=2375", &[(2375, Dockerd)]),
            ("lib/systemd/system/docker.socket", "ListenStream = 127.0.0.1:4243", &[(4243, Dockerd)]),
            ("etc/systemd/system/docker.socket.d/tcp.conf", "ListenStream=[::]:2376", &[(2376, Dockerd)]),
            ("etc/systemd/system/podman.socket.d/tcp.conf", "ListenStream=0.0.0.0:8080", &[(8080, Podman)]),
            ("etc/systemd/system/docker-tcp.socket", "ListenStream=2375\nService=docker.service", &[(2375, Dockerd)]),
            ("run/systemd/system/api.socket", "ListenStream=99\nService=podman.service", &[(99, Podman)]),
            ("run/systemd/transient/docker.socket", "ListenStream=\\\n 4243", &[(4243, Dockerd)]),
            ("etc/systemd/system/docker.socket", "ListenStream=/run/docker.sock\nListenStream=\n#ListenStream=1", &[]),
            ("etc/systemd/system/docker.socket", "ListenStream=vsock::2375\nListenDatagram=2375", &[]),
            ("usr/lib/systemd/system/ssh.socket", "ListenStream=22\nService=sshd.service", &[]),
            ("usr/lib/systemd/system/docker.service", "ListenStream=2375", &[]),
            ("etc/systemd/system/docker.socket.d/tcp.conf.old", "ListenStream=2375", &[]),
        ];
        for (path, content, expected) in table {
            let host = RecordedHost::new();
            host.file(path, format!("[Socket]\n{content}\n"));
            assert_eq!(ports(&host, &mut UnitMemory::default()), expected, "{path} {content}");
        }
    }

    #[test]
    fn a_unit_of_another_name_is_known_by_the_command_of_its_service() {
        use EngineKind::{Dockerd, Podman};
        for (command, expected) in [
            ("/opt/docker/bin/dockerd -H fd://", Some(Dockerd)),
            ("-/bin/sh -c \"exec /opt/dockerd\"", Some(Dockerd)),
            ("/usr/bin/podman system service --time=0", Some(Podman)),
            ("/usr/bin/podman run x", None),
            ("/usr/bin/docker daemon", Some(Dockerd)),
            ("/usr/bin/docker run dockerd-in-name", None),
            ("/usr/sbin/sshd", None),
        ] {
            let host = RecordedHost::new();
            host.file("etc/systemd/system/api.socket", "[Socket]\nListenStream=4243\n");
            host.file(
                "usr/lib/systemd/system/api.service",
                format!("[Service]\nExecStart={command}\n"),
            );
            let expected: Vec<_> = expected.map(|kind| (4243, kind)).into_iter().collect();
            assert_eq!(ports(&host, &mut UnitMemory::default()), expected, "{command}");
        }
    }

    #[test]
    fn changed_files_are_read_again() {
        let host = RecordedHost::new();
        let unit = "etc/systemd/system/docker.socket";
        host.file(unit, "[Socket]\nListenStream=2375\n");
        let mut memory = UnitMemory::default();
        // Longer than the tick of the kernel's file times.
        let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(ports(&host, &mut memory), [(2375, EngineKind::Dockerd)]);
        assert_eq!(ports(&host, &mut memory), [(2375, EngineKind::Dockerd)]);
        pause();
        host.file(
            "etc/systemd/system/docker.socket.d/more.conf",
            "[Socket]\nListenStream=2377\n",
        );
        let more = [(2375, EngineKind::Dockerd), (2377, EngineKind::Dockerd)];
        assert_eq!(ports(&host, &mut memory), more);
        pause();
        // An editor that writes in place leaves the directory unchanged.
        host.file(
            "etc/systemd/system/docker.socket.d/more.conf",
            "[Socket]\nListenStream=2378\n",
        );
        let moved = [(2375, EngineKind::Dockerd), (2378, EngineKind::Dockerd)];
        assert_eq!(ports(&host, &mut memory), moved);
        pause();
        std::fs::remove_file(host.paths().root.join(unit)).expect("it is there");
        assert_eq!(ports(&host, &mut memory), [(2378, EngineKind::Dockerd)]);
    }
}
