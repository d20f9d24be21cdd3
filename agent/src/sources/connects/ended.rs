//! The listeners that ended before a look could report the connects to them. A listener that was replaced continues under
//! the same name, with the same program and owner.

use super::gathered::Gathered;
use crate::model::engine::{Api, EngineKind, EngineSighting, Listener};
use crate::model::identity::FileIdentity;
use crate::model::process::Owner;
use crate::model::reading::Hides;
use crate::model::socket::SocketName;
use crate::sources::docker::engine_of_socket;

/// The most ended listeners whose connects are kept until a look can report them.
const KEPT: usize = 64;

/// A listener, and the engine that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) name: SocketName,
    /// The program and the owner of the engine; none if castoff does not see them.
    owner: Option<(EngineKind, Owner)>,
    /// True if an ordinary user runs the engine, or if the listener is the runtime's: a client that is hidden there is
    /// no client of the node's engines.
    pub(super) of_user: bool,
    /// The fact that is hidden if the engine ends and no look can report its clients.
    pub(super) ended_hides: Hides,
}

impl Served {
    pub(super) fn of(engine: &EngineSighting, listener: &Listener) -> Self {
        // A client of the runtime's own socket is not a client of Docker.
        let of_user = engine.is_of_user() || listener.api == Api::Cri;
        let is_in_pod = engine.process.as_ref().is_some_and(|process| {
            let membership = &process.membership;
            membership.pod_uid.is_some() && membership.containers.first().is_some_and(|c| c.user.is_none())
        });
        // A relay is itself a client of Docker, but its own clients need not be.
        let last = listener.name.last_component();
        let is_relay = engine.kind == EngineKind::Other && last.and_then(engine_of_socket).is_none();
        Self {
            name: listener.name.clone(),
            owner: owner_of(engine, listener).map(|owner| (engine.kind, owner)),
            of_user,
            ended_hides: if of_user || is_in_pod || is_relay {
                Hides::Identity
            } else {
                Hides::Client
            },
        }
    }

    /// True if this is `ended` again, as after a restart of the engine. A container or a user can give a socket any name in
    /// a mount namespace of its own, so the name alone proves nothing.
    pub(super) fn continues(&self, ended: &Self) -> bool {
        self.name == ended.name && self.owner.is_some() && self.owner == ended.owner
    }
}

/// Returns the owner of the engine. If it has no process yet, init or a user's systemd holds its socket.
fn owner_of(engine: &EngineSighting, listener: &Listener) -> Option<Owner> {
    match &engine.process {
        Some(process) => Some(process.owner()).filter(|owner| owner.uid.is_some()),
        None => listener.activated.then_some(Owner {
            uid: Some(engine.awaited_by.unwrap_or(0)),
            container: None,
        }),
    }
}

/// The ended listeners, oldest first.
#[derive(Debug, Default)]
pub(super) struct EndedListeners(Vec<Ended>);

#[derive(Debug)]
struct Ended {
    file: FileIdentity,
    served: Served,
    /// True if its clients were counted as hidden.
    counted: bool,
}

/// The numbers of clients that no look could report, by what this hides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) clients: u64,
    pub(super) identities: u64,
}

impl EndedListeners {
    pub(super) fn add(&mut self, file: FileIdentity, served: Served) {
        let counted = false;
        self.0.retain(|ended| ended.file != file);
        self.0.push(Ended { file, served, counted });
    }

    pub(super) fn get(&self, file: FileIdentity) -> Option<&Served> {
        self.0
            .iter()
            .find(|ended| ended.file == file)
            .map(|ended| &ended.served)
    }

    /// Keeps the listeners with connects that no look has reported, as many as there is room for. Returns how many of
    /// their clients were not counted before.
    pub(super) fn settle(&mut self, gathered: &Gathered) -> Hidden {
        let mut hidden = Hidden::default();
        self.0.retain_mut(|ended| {
            let clients = gathered.clients_of(ended.file);
            if clients > 0 && !std::mem::replace(&mut ended.counted, true) {
                match ended.served.ended_hides {
                    Hides::Client => hidden.clients += clients,
                    _ => hidden.identities += clients,
                }
            }
            clients > 0 || gathered.has_answered(ended.file)
        });
        while self.0.len() > KEPT {
            let of_others = |ended: &Ended| ended.served.ended_hides != Hides::Client;
            self.0.remove(self.0.iter().position(of_others).unwrap_or(0));
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::super::record::tests::bytes;
    use super::*;
    use crate::model::identity::ContainerId;
    use crate::model::sample::{NOW, dockerd, process};
    use crate::model::socket::ListenerId;
    use crate::model::workload::{CgroupContainer, Manager};
    use crate::sources::recorded::RecordedHost;

    fn gathered(host: &RecordedHost) -> Gathered {
        Gathered::new(host.paths().proc, host.paths().root)
    }

    /// The listener number `n`.
    fn file(n: u32) -> FileIdentity {
        FileIdentity {
            inode: n,
            ..record(n).listener
        }
    }

    /// A connect to the listener number `n`.
    fn record(n: u32) -> Record {
        let mut record = Record::parse(&bytes("curl", "cron.service/system.slice//")).expect("it is one");
        record.listener.inode = n;
        record
    }

    fn served(engine: &EngineSighting) -> Served {
        Served::of(engine, &engine.listeners[0])
    }

    fn of_user(name: u32) -> EngineSighting {
        let mut engine = dockerd();
        engine.listeners[0].name = SocketName::Path(format!("/run/user/1000/{name}.sock"));
        let process = engine.process.as_mut().expect("dockerd runs");
        process.uid = Some(1000);
        engine
    }

    #[test]
    fn ended_sockets_without_connects_displace_no_others() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        let mut ended = EndedListeners::default();
        for n in 100..300 {
            ended.add(file(n), served(&dockerd()));
            ended.settle(&gathered);
        }
        gathered.add(&record(1), NOW);
        ended.add(file(1), served(&dockerd()));
        ended.settle(&gathered);
        assert_eq!(ended.get(file(1)), Some(&served(&dockerd())));
        assert_eq!(ended.0.len(), 1);
    }

    #[test]
    fn a_flood_of_a_users_ended_sockets_displaces_none_of_the_host() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        let mut ended = EndedListeners::default();
        for (n, engine) in (0..200).map(|n| (n, if n == 7 { dockerd() } else { of_user(n) })) {
            gathered.add(&record(n), NOW);
            ended.add(file(n), served(&engine));
        }
        let hidden = ended.settle(&gathered);
        assert_eq!((hidden.clients, hidden.identities), (1, 199));
        let kept: Vec<u32> = ended.0.iter().map(|ended| ended.file.inode).collect();
        assert_eq!(
            kept,
            std::iter::once(7).chain(137..200).collect::<Vec<_>>(),
            "the newest"
        );
    }

    #[test]
    fn an_ended_listener_is_kept_until_its_clients_were_taken_in() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        let mut ended = EndedListeners::default();
        gathered.add(&record(1), NOW);
        ended.add(file(1), served(&dockerd()));
        for (arrived, is_kept) in [(false, true), (false, true), (true, false)] {
            gathered.confirm(arrived);
            gathered.take(&|file| Some(ListenerId::File(file)));
            assert_eq!(ended.settle(&gathered), Hidden::default());
            assert_eq!(ended.get(file(1)).is_some(), is_kept);
        }
    }

    #[test]
    fn clients_of_an_ended_engine_are_counted_once() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        let mut ended = EndedListeners::default();
        gathered.add(&record(1), NOW);
        ended.add(file(1), served(&dockerd()));
        let counted = [0; 3].map(|_| ended.settle(&gathered).clients);
        assert_eq!(counted, [1, 0, 0]);
        assert!(ended.get(file(1)).is_some(), "its daemon may start again");
    }

    fn in_container(id: &str, user: Option<u32>) -> EngineSighting {
        let mut process = process(800, "/usr/bin/dockerd");
        let (id, manager) = (ContainerId(id.repeat(16)), Manager::CriContainerd);
        process.membership.containers = vec![CgroupContainer { id, manager, user }];
        process.membership.pod_uid = Some("0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a".to_owned());
        EngineSighting {
            process: Some(process),
            ..dockerd()
        }
    }

    #[test]
    fn a_client_is_hidden_only_if_the_engine_is_of_the_node() {
        let named = |name: &str| {
            let mut engine = dockerd();
            engine.kind = EngineKind::Other;
            engine.listeners[0].name = SocketName::Path(name.to_owned());
            engine
        };
        for (engine, hides) in [
            (dockerd(), Hides::Client),
            (of_user(1), Hides::Identity),
            (in_container("4f2a", None), Hides::Identity),
            (in_container("4f2a", Some(1000)), Hides::Client),
            (named("/run/docker.sock"), Hides::Client),
            (named("/run/agent.sock"), Hides::Identity),
        ] {
            assert_eq!(served(&engine).ended_hides, hides, "{engine:?}");
        }
    }

    #[test]
    fn only_an_engine_of_the_same_owner_continues_an_ended_one() {
        let of = |uid| {
            let mut engine = dockerd();
            engine.process.as_mut().expect("dockerd runs").uid = uid;
            engine
        };
        let restarted = EngineSighting {
            process: Some(process(4711, "/usr/bin/dockerd")),
            ..dockerd()
        };
        let without_process = |activated| {
            let mut engine = dockerd();
            engine.process = None;
            engine.listeners[0].activated = activated;
            engine
        };
        let awaited = EngineSighting {
            awaited_by: Some(1000),
            ..without_process(true)
        };
        let other = EngineSighting {
            kind: EngineKind::Podman,
            ..dockerd()
        };
        for (ended, now, continues) in [
            (dockerd(), restarted, true),
            (dockerd(), without_process(true), true),
            (dockerd(), other, false),
            (dockerd(), awaited.clone(), false),
            (of(Some(1000)), awaited, true),
            (in_container("4f2a", None), dockerd(), false),
            (in_container("4f2a", None), in_container("4f2a", None), true),
            (in_container("4f2a", None), in_container("5b3c", None), false),
            (of(Some(1000)), dockerd(), false),
            (of(Some(1000)), of(Some(1000)), true),
            (of(None), of(None), false),
            (without_process(false), without_process(false), false),
        ] {
            assert_eq!(served(&now).continues(&served(&ended)), continues, "{ended:?} {now:?}");
        }
    }
}
