//! `castoff-look`: the bench's own entry into castoff, which runs the search for holders alone, once or repeatedly,
//! with the time and the CPU time of each run. Built together with castoff, from the same library, in the same profile.
//!
//! `castoff-look CYCLES [SOCKET [iterator]]` prints a line for each cycle: `WALL_MICROS CPU_MICROS HOLDERS`, and at the
//! end the pids that hold a connection to the socket at that path. With `iterator` it uses the kernel's iterator over
//! open files.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use castoff::model::identity::{FileIdentity, SocketInode};
use castoff::model::snapshot::ConnectionsSeen;
use castoff::model::socket::{Connection, ListenerId, ListeningSocket};
use castoff::sources::engines::{ListenerMemory, find_engines};
use castoff::sources::holders::{HolderIterator, HolderMemory, ProcessView, Watch, find_connections};
use castoff::sources::processes::ProcessReader;
use castoff::sources::sockets::listening::{SocketsSeen, find_sockets};
use castoff::sources::sockets::live::KernelTables;
use castoff::sources::sockets::namespaces::NamespaceFinder;
use castoff::sources::sockets::tables::SocketTables as _;
use rustix::time::{ClockId, clock_gettime};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cycles = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(1);
    let socket = arguments.get(1).map(std::fs::metadata).transpose()?;
    let watched = socket.map(|file| ListenerId::File(FileIdentity::from_stat(file.dev(), file.ino())));
    let is_asked = |connection: &&Connection| watched.as_ref().is_none_or(|watched| connection.listener == *watched);
    let by_iterator = arguments.get(2).is_some_and(|word| word == "iterator");
    let mut search = Search::new("/proc".into(), by_iterator);
    let mut last = BTreeSet::new();
    let mut out = io::stdout().lock();
    for _ in 0..cycles {
        let (start, cpu) = (Instant::now(), cpu());
        let seen = search.look();
        let (wall, cpu) = (start.elapsed(), self::cpu().saturating_sub(cpu));
        let connections = seen.iter().flat_map(|seen| &seen.connections).filter(is_asked);
        last = connections
            .flat_map(|connection| connection.holders.iter().map(|process| process.key.pid.0))
            .collect();
        writeln!(out, "{} {} {}", wall.as_micros(), cpu.as_micros(), last.len())?;
    }
    if let (true, Some(answer)) = (by_iterator, search.iterator.refusal()) {
        return Err(io::Error::other(answer.to_owned()));
    }
    let pids: Vec<String> = last.iter().map(u32::to_string).collect();
    writeln!(out, "{}", pids.join(" "))
}

/// The parts of `castoff` that find engines, connections and holders in each cycle.
struct Search {
    proc: PathBuf,
    reader: ProcessReader,
    tables: KernelTables,
    namespaces: NamespaceFinder,
    listeners: ListenerMemory,
    holders: HolderMemory,
    iterator: HolderIterator,
}

impl Search {
    fn new(proc: PathBuf, by_iterator: bool) -> Self {
        Self {
            reader: ProcessReader::new(proc.clone()),
            tables: KernelTables::new(proc.clone(), Duration::from_secs(60)),
            proc,
            namespaces: NamespaceFinder::default(),
            listeners: ListenerMemory::default(),
            holders: HolderMemory::default(),
            iterator: HolderIterator::new(by_iterator, "/proc".into()),
        }
    }

    fn look(&mut self) -> Option<ConnectionsSeen> {
        self.tables.begin();
        let table = self.reader.read_table();
        let table = table.reading.known()?;
        let namespaces = self.namespaces.find(&self.proc, table);
        let SocketsSeen {
            listening, connected, ..
        } = find_sockets(&mut self.tables, &self.proc, &namespaces, true);
        let sockets = listening.reading.known().map_or(&[][..], Vec::as_slice);
        let engines = find_engines(&self.reader, table, sockets, &mut self.listeners);
        let engines = engines.reading.known().into_iter().flatten();
        let inodes: BTreeSet<SocketInode> = engines
            .flat_map(|engine| engine.listeners.iter().map(|listener| listener.socket))
            .collect();
        let is_watched = |socket: &&ListeningSocket| inodes.contains(&socket.inode);
        let watched: Vec<ListeningSocket> = sockets.iter().filter(is_watched).cloned().collect();
        let view = ProcessView {
            proc: &self.proc,
            reader: &mut self.reader,
            table,
            namespaces: &namespaces,
            memory: &mut self.holders,
            iterator: &mut self.iterator,
        };
        let seen = find_connections(&mut self.tables, view, Watch::of(&watched), connected.as_ref());
        seen.reading.known().cloned()
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
