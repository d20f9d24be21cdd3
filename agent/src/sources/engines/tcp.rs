//! Finds the TCP sockets of an engine that serve its API.
//!
//! A dockerd also listens for its metrics, for swarm, and, without docker-proxy, on every port that its containers
//! publish. Its API is on the configured hosts or on the ports that are registered for it.

use std::collections::BTreeMap;

use super::ListenerMemory;
use super::held::HeldSocket;
use super::settings::{DaemonSettings, port_of};
use crate::model::engine::{Api, Containerd, EngineKind, EngineSighting, Listener, Security, SecurityBasis, Transport};
use crate::model::identity::SocketInode;
use crate::model::socket::{ListeningSocket, SocketName};
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::sockets::tcp::TcpHeld;

/// Adds to `engines` the sockets of `listening` that serve an API. `held` has the engine of each socket; a socket that
/// only systemd holds belongs to an engine that does not run.
pub fn add_tcp_listeners(
    reader: &ProcessReader,
    table: &ProcessTable,
    engines: &mut Vec<EngineSighting>,
    listening: &[ListeningSocket],
    (held, systemd): (&BTreeMap<SocketInode, HeldSocket>, &TcpHeld),
    memory: &mut ListenerMemory,
) {
    for socket in listening {
        let SocketName::Tcp(address) = &socket.name else {
            continue;
        };
        let of_unit = systemd.ports.get(&address.port()).copied();
        let of_unit = of_unit.filter(|_| systemd.of_init.contains(&socket.inode));
        let engine = match (held.get(&socket.inode), of_unit) {
            (Some(held), _) => engines.get_mut(held.engine),
            (None, Some(kind)) => Some(awaited(engines, kind)),
            (None, None) => None,
        };
        let Some(engine) = engine else { continue };
        let dockerd = engine.process.as_ref().filter(|_| engine.kind == EngineKind::Dockerd);
        let dockerd = dockerd.and_then(|process| Some((table.get(process.key.pid)?, process)));
        let settings = dockerd.and_then(|(entry, process)| memory.settings.read(reader, entry, process));
        let transport = transport(engine.kind, settings.as_deref(), address.port(), of_unit.is_some());
        if let (None, None, Some((entry, _))) = (&transport, &settings, dockerd) {
            memory.settings.add_unclear_port(reader, entry, address.port());
        }
        let (Some(id), Some(transport)) = (socket.id(), transport) else {
            continue;
        };
        engine.listeners.push(Listener {
            id,
            api: Api::Docker,
            name: socket.name.clone(),
            socket: socket.inode,
            netns: socket.netns,
            activated: of_unit.is_some(),
            transport: Some(transport),
            last_connect: None,
        });
    }
}

/// Returns how the API of a relay is secured, judged by its port; none for a Unix socket or any other port.
pub fn transport_of_relay(name: &SocketName) -> Option<Transport> {
    match name {
        SocketName::Tcp(address) => transport(EngineKind::Other, None, address.port(), false),
        SocketName::Path(_) | SocketName::Abstract(_) => None,
    }
}

/// Returns the engine of this kind for which systemd listens.
fn awaited(engines: &mut Vec<EngineSighting>, kind: EngineKind) -> &mut EngineSighting {
    // A port of the host's systemd is not one of a user's engine.
    let is_of_host = |e: &EngineSighting| e.process.is_none() && e.awaited_by.is_none();
    let is_awaited = |e: &EngineSighting| e.kind == kind && is_of_host(e) && e.listeners.iter().any(|l| l.activated);
    let at = engines.iter().position(is_awaited).unwrap_or_else(|| {
        engines.push(EngineSighting {
            kind,
            process: None,
            awaited_by: None,
            containerd: Containerd::Own,
            listeners: Vec::new(),
        });
        engines.len() - 1
    });
    &mut engines[at]
}

/// Returns the security of the API on `port`; none if the port has no API. A unit of the engine listens for the API
/// alone.
fn transport(kind: EngineKind, settings: Option<&DaemonSettings>, port: u16, is_of_unit: bool) -> Option<Transport> {
    let of_port = match port {
        2375 => Some(Security::Plain),
        2376 => Some(Security::VerifiedTls),
        _ => None,
    };
    let configured = settings.and_then(DaemonSettings::security);
    let is_configured = |settings: &DaemonSettings| {
        let expected = configured.unwrap_or(Security::Plain);
        settings.hosts().any(|host| port_of(host, expected) == Some(port))
    };
    let is_api = is_of_unit || of_port.is_some() || kind == EngineKind::Podman || settings.is_some_and(is_configured);
    let by_port = Transport {
        security: of_port.unwrap_or(Security::Plain),
        basis: SecurityBasis::Port,
    };
    let by_settings = configured.map(|security| Transport {
        security,
        basis: SecurityBasis::Settings,
    });
    is_api.then(|| by_settings.unwrap_or(by_port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::reading::Reason;
    use crate::sources::recorded::RecordedHost;

    /// Finds the API of one engine, which listens on one port, and the gap of its settings.
    fn look(host: &RecordedHost, kind: EngineKind, port: u16) -> (Option<Transport>, Option<Reason>) {
        let table = host.reader().read_table();
        let table = table.reading.known().expect("one process is recorded");
        let address = format!("0.0.0.0:{port}").parse().expect("an address");
        let mut engines = vec![EngineSighting {
            kind,
            process: host.reader().describe(&table.entries[0]),
            awaited_by: None,
            containerd: Containerd::Own,
            listeners: Vec::new(),
        }];
        let socket = ListeningSocket {
            inode: SocketInode(7),
            netns: crate::model::identity::NetNs(1),
            name: SocketName::Tcp(address),
            file: None,
            pending: Vec::new(),
            unlisted: 0,
        };
        let of_engine = HeldSocket {
            engine: 0,
            pid: crate::model::identity::Pid(10),
            descriptor: 3,
            protocol: crate::sources::sockets::protocol::Protocol::Tcp,
        };
        let held = BTreeMap::from([(SocketInode(7), of_engine)]);
        let systemd = TcpHeld {
            sockets: BTreeSet::new(),
            of_node: BTreeSet::new(),
            of_init: BTreeSet::new(),
            ports: BTreeMap::new(),
            of_users: false,
        };
        let memory = &mut ListenerMemory::default();
        let held = (&held, &systemd);
        add_tcp_listeners(&host.reader(), table, &mut engines, &[socket], held, memory);
        let found = engines[0].listeners.first().and_then(|listener| listener.transport);
        (found, memory.settings.gap().map(|gap| gap.reason))
    }

    #[test]
    fn a_port_of_the_hosts_systemd_is_not_one_of_a_users_engine() {
        let mut of_user = crate::model::sample::dockerd();
        (of_user.process, of_user.awaited_by) = (None, Some(1000));
        of_user.listeners[0].activated = true;
        let mut engines = vec![of_user.clone()];
        assert_eq!(awaited(&mut engines, EngineKind::Dockerd).awaited_by, None);
        assert_eq!((engines.len(), &engines[0]), (2, &of_user));
    }

    #[test]
    fn a_port_of_a_dockerd_whose_configuration_cannot_be_read_may_be_its_api() {
        for (daemon, expected) in [("{ torn", Some(Reason::Malformed)), ("{}", None)] {
            let host = RecordedHost::new();
            let process = host.process(10, 1, "x").arguments(&["dockerd"]).in_host_root();
            process.file("status", "Uid:\t0\t0\t0\t0\n");
            let etc = host.paths().root.join("etc/docker");
            std::fs::create_dir_all(&etc).expect("a directory");
            std::fs::write(etc.join("daemon.json"), daemon).expect("a file");
            assert_eq!(look(&host, EngineKind::Dockerd, 4243), (None, expected), "{daemon}");
            let (known, _) = look(&host, EngineKind::Dockerd, 2375);
            assert!(known.is_some(), "{daemon}");
        }
    }

    #[test]
    fn apis_are_distinguished_from_other_ports_and_state_the_basis_of_their_security() {
        use EngineKind::{Dockerd, Other, Podman};
        use Security::{Plain, Tls, VerifiedTls};
        use SecurityBasis::{Port, Settings};
        type Expected = Option<(Security, SecurityBasis)>;
        #[rustfmt::skip]
        let table: [(EngineKind, u32, &[&str], u16, Expected); 13] = [
            (Dockerd, 0, &["dockerd"], 2375, Some((Plain, Settings))),
            (Dockerd, 0, &["dockerd"], 2376, Some((Plain, Settings))),
            (Dockerd, 0, &["dockerd", "--tlsverify"], 2375, Some((VerifiedTls, Settings))),
            (Dockerd, 0, &["dockerd", "-H", "tcp://0.0.0.0:9999", "--tls"], 9999, Some((Tls, Settings))),
            (Dockerd, 0, &["dockerd", "-H", "tcp://0.0.0.0:9999"], 8080, None),
            (Dockerd, 0, &["dockerd", "--metrics-addr", "0.0.0.0:9323"], 9323, None),
            // the TLS flags of an ordinary user's daemon improve no verdict
            (Dockerd, 1000, &["dockerd", "--tlsverify"], 2375, Some((Plain, Port))),
            (Dockerd, 1000, &["dockerd", "-H", "tcp://:9999"], 9999, Some((Plain, Port))),
            (Dockerd, 1000, &["dockerd"], 9999, None),
            (Podman, 0, &["podman", "system", "service", "tcp:127.0.0.1:8888"], 8888, Some((Plain, Port))),
            (Podman, 0, &["podman"], 2376, Some((VerifiedTls, Port))),
            (Other, 0, &["socat"], 2375, Some((Plain, Port))),
            (Other, 0, &["socat"], 80, None),
        ];
        for (kind, uid, arguments, port, expected) in table {
            let host = RecordedHost::new();
            let process = host.process(10, 1, "x").arguments(arguments).in_host_root();
            process.file("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
            let (found, _) = look(&host, kind, port);
            assert_eq!(found.map(|t| (t.security, t.basis)), expected, "{arguments:?} {port}");
        }
    }
}
