//! `castoff-look`: the bench's own way into castoff: the look for holders alone, once or again and again, with the time and
//! the CPU that each took. Built beside castoff, from the same library, in the same profile.
//!
//! `castoff-look CYCLES [SOCKET]` prints a line for each cycle: `WALL_MICROS CPU_MICROS HOLDERS`, and at the end the pids that
//! hold a connection to the socket at that path.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use castoff::model::identity::{FileIdentity, SocketInode};
use castoff::model::snapshot::ConnectionsSeen;
use castoff::model::socket::{ListenerId, ListeningSocket};
use castoff::sources::engines::find_engines;
use castoff::sources::holders::{HolderMemory, ProcessView, find_connections};
use castoff::sources::processes::ProcessReader;
use castoff::sources::sockets::kernel::KernelTables;
use castoff::sources::sockets::listening::find_listening_sockets;
use castoff::sources::sockets::namespaces::NamespaceFinder;
use rustix::time::{ClockId, clock_gettime};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cycles = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(1);
    let socket = arguments.get(1).map(std::fs::metadata).transpose()?;
    let watched = socket.map(|file| ListenerId::File(FileIdentity::from_stat(file.dev(), file.ino())));
    let proc = PathBuf::from("/proc");
    let mut reader = ProcessReader::new(proc.clone());
    let mut tables = KernelTables::new(proc.clone(), Duration::from_secs(60));
    let mut finder = NamespaceFinder::default();
    let mut memory = HolderMemory::default();
    let mut last = BTreeSet::new();
    let mut out = io::stdout().lock();
    for _ in 0..cycles {
        let (start, cpu) = (Instant::now(), cpu());
        let seen = look(&proc, &mut reader, &mut tables, &mut finder, &mut memory);
        let (wall, cpu) = (start.elapsed(), self::cpu() - cpu);
        last = seen
            .iter()
            .flat_map(|seen| &seen.connections)
            .filter(|connection| watched.as_ref().is_none_or(|watched| connection.listener == *watched))
            .flat_map(|connection| connection.holders.iter().map(|process| process.key.pid.0))
            .collect();
        writeln!(out, "{} {} {}", wall.as_micros(), cpu.as_micros(), last.len())?;
    }
    let pids: Vec<String> = last.iter().map(u32::to_string).collect();
    writeln!(out, "{}", pids.join(" "))
}

/// What `castoff` does in each cycle to find engines, connections and holders.
fn look(
    proc: &Path,
    reader: &mut ProcessReader,
    tables: &mut KernelTables,
    finder: &mut NamespaceFinder,
    memory: &mut HolderMemory,
) -> Option<ConnectionsSeen> {
    let table = reader.read_table();
    let table = table.reading.known()?;
    let namespaces = finder.find(proc, table);
    let listening = find_listening_sockets(tables, proc, &namespaces);
    let sockets = listening.reading.known().map_or(&[][..], Vec::as_slice);
    let engines = find_engines(reader, table, sockets);
    let engines = engines.reading.known().into_iter().flatten();
    let inodes: BTreeSet<SocketInode> = engines
        .flat_map(|engine| engine.listeners.iter().map(|l| l.socket))
        .collect();
    let watched: Vec<ListeningSocket> = sockets
        .iter()
        .filter(|socket| inodes.contains(&socket.inode))
        .cloned()
        .collect();
    let view = ProcessView {
        proc,
        reader,
        table,
        namespaces: &namespaces,
        memory,
    };
    find_connections(tables, view, &watched).reading.known().cloned()
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
