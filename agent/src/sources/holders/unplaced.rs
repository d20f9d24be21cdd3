//! Connections that an engine holds and that no socket table shows: their client made them in a network namespace that
//! neither a process nor a mount leads to any more, because it moved away (setns(2)) or because only one of its threads
//! is in there. The connection itself keeps the namespace alive.
//!
//! Whether a client still holds the other end cannot be seen, so this gives gaps and never connections: a node is not
//! called better than it may be. Relies on the name of the protocol that sockets carry as an extended attribute
//! (`sockfs_xattr_handlers` of `net/socket.c`); before Linux 5.15 it does not tell streams apart, and nothing is found.
//! A table is asked again only where an engine has a socket that was not explained before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::model::engine::EngineSighting;
use crate::model::identity::{Pid, SocketInode};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::kernel::diag::table::collect_dump;
use crate::sources::kernel::diag::{Ask, Row};
use crate::sources::processes::ProcessReader;
use crate::sources::sockets::namespaces::{Namespace, find_namespaces};
use crate::sources::sockets::tables::SocketTables;

/// `unix_stream_proto.name` of `net/unix/af_unix.c`, with its final zero byte.
const STREAM: &[u8] = b"UNIX-STREAM\0";

/// Looks for them, and remembers which sockets of engines are none.
#[derive(Debug, Default)]
pub struct Unplaced {
    explained: BTreeSet<SocketInode>,
}

impl Unplaced {
    /// What hides a client among the sockets of `engines`.
    pub fn find_gaps(
        &mut self,
        tables: &mut dyn SocketTables,
        reader: &mut ProcessReader,
        proc: &Path,
        engines: &[EngineSighting],
    ) -> Vec<Gap> {
        self.find_with(tables, reader, proc, engines, &is_stream)
    }

    fn find_with(
        &mut self,
        tables: &mut dyn SocketTables,
        reader: &mut ProcessReader,
        proc: &Path,
        engines: &[EngineSighting],
        is_stream: &dyn Fn(&Path) -> bool,
    ) -> Vec<Gap> {
        let held = read_held(reader, engines);
        self.explained.retain(|socket| held.contains_key(socket));
        let path = |(pid, descriptor): &(Pid, u32)| proc.join(format!("{pid}/fd/{descriptor}"));
        let mut doubtful: BTreeMap<SocketInode, (Pid, PathBuf)> = BTreeMap::new();
        for (socket, place) in &held {
            if self.explained.contains(socket) {
                continue;
            }
            let path = path(place);
            if is_stream(&path) {
                doubtful.insert(*socket, (place.0, path));
            } else {
                self.explained.insert(*socket);
            }
        }
        if doubtful.is_empty() {
            return Vec::new();
        }
        // The namespaces of now: a pod may have been made since the process table of this look was read.
        let table = reader.read_table_anew();
        let Some(table) = table.reading.known() else {
            return Vec::new();
        };
        let namespaces = find_namespaces(proc, table);
        let plan: Vec<&Namespace> = namespaces.known.iter().collect();
        let (mut shown, mut complete) = (BTreeSet::new(), true);
        let refused = tables.visit(&plan, &mut |_, table| {
            let pick = &mut |row: &Row<'_>| doubtful.contains_key(&row.inode).then_some(row.inode);
            match collect_dump(table, Ask::Both, pick) {
                Ok(sockets) => shown.extend(sockets),
                Err(_) => complete = false,
            }
        });
        self.explained.extend(&shown);
        if !complete || !refused.is_empty() || !namespaces.unnamed.is_empty() {
            return Vec::new(); // it may be in there, and who looks for clients has said that it could not look
        }
        let mut gaps = Vec::new();
        for (socket, (pid, path)) in doubtful.iter().filter(|(socket, _)| !shown.contains(socket)) {
            // Closed meanwhile: it need not have been in any table.
            if std::fs::read_link(path)
                .is_ok_and(|target| target.as_os_str() == format!("socket:[{}]", socket.0).as_str())
            {
                let asked = format_args!("socket:[{}] of the engine with pid {pid}", socket.0);
                let answer = "made in a network namespace that no process and no mount leads to; who holds its other end cannot be seen";
                Gap::new(Reason::NotFound, Hides::Client, asked, answer).fold_into(&mut gaps);
            }
        }
        gaps
    }
}

/// The sockets of the engines, each with one descriptor. Engines whose descriptors may not be read have gaps already.
fn read_held(reader: &ProcessReader, engines: &[EngineSighting]) -> BTreeMap<SocketInode, (Pid, u32)> {
    let mut held = BTreeMap::new();
    for process in engines.iter().filter_map(|engine| engine.process.as_ref()) {
        let _ = reader.read_sockets(process.key, &mut |descriptor, socket| {
            held.entry(socket).or_insert((process.key.pid, descriptor));
        });
    }
    held
}

fn is_stream(descriptor: &Path) -> bool {
    let mut name = [0; 32];
    rustix::fs::getxattr(descriptor, c"system.sockprotoname", &mut name[..])
        .is_ok_and(|length| name[..length] == *STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::EngineKind;
    use crate::model::snapshot::HolderMethod;
    use crate::sources::kernel::diag::encode::{Reply, SocketFacts};
    use crate::sources::kernel::diag::table::{DumpError, SocketTable};
    use crate::sources::kernel::diag::{Envelope, Message, Messages};
    use crate::sources::recorded::RecordedHost;
    use crate::sources::sockets::tables::{Look, NotEntered};

    /// One namespace, in which these sockets are; or whose table cannot be asked.
    struct Table<'a>(Option<&'a [u32]>, u32);

    impl SocketTable for Table<'_> {
        fn dump(&mut self, _: Ask, each: &mut dyn FnMut(&Row<'_>)) -> Result<(), DumpError> {
            self.1 += 1;
            let envelope = Envelope { sequence: 1, port: 1 };
            let sockets: Vec<SocketFacts<'_>> = self
                .0
                .ok_or(DumpError::Unended)?
                .iter()
                .map(|n| SocketFacts::client(*n, 9))
                .collect();
            for message in Messages::new(&Reply::dump(envelope, &sockets), envelope) {
                if let Message::Row(row) = message? {
                    each(&row);
                }
            }
            Ok(())
        }
    }

    impl SocketTables for Table<'_> {
        fn method(&self) -> HolderMethod {
            HolderMethod::Recorded
        }

        fn visit(&mut self, namespaces: &[&Namespace], look: &mut Look<'_>) -> Vec<NotEntered> {
            look(namespaces[0].netns, self);
            Vec::new()
        }
    }

    #[test]
    fn an_engines_connection_that_is_in_no_table_hides_a_client() {
        let host = RecordedHost::new();
        host.process(800, 1, "dockerd")
            .netns(7)
            .socket(77)
            .socket(78)
            .socket(79);
        let mut reader = host.reader();
        let entry = reader.read_table().reading.known().expect("it is recorded").entries[0].clone();
        let engines = [EngineSighting {
            kind: EngineKind::Dockerd,
            process: reader.describe(&entry),
            own_containerd: false,
            listeners: Vec::new(),
        }];
        let proc = host.paths().proc;
        // 79 is of another protocol.
        let is_stream = |path: &Path| std::fs::read_link(path).is_ok_and(|target| target != Path::new("socket:[79]"));
        let mut unplaced = Unplaced::default();
        let mut look = |table: &mut Table<'_>| {
            let gaps = unplaced.find_with(table, &mut reader, &proc, &engines, &is_stream);
            gaps.iter().map(|gap| (gap.hides, gap.count)).collect::<Vec<_>>()
        };
        assert_eq!(look(&mut Table(None, 0)), [], "the other source has said it");
        assert_eq!(look(&mut Table(Some(&[]), 0)), [(Hides::Client, 2)]);
        assert_eq!(look(&mut Table(Some(&[77]), 0)), [(Hides::Client, 1)]);
        assert_eq!(look(&mut Table(Some(&[77, 78]), 0)), []);
        let mut table = Table(Some(&[]), 0);
        assert_eq!(
            (look(&mut table), table.1),
            (vec![], 0),
            "what was explained is not looked for again"
        );
    }
}
