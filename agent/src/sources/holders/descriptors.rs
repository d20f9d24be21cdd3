//! Finds the processes that have a descriptor of a socket, by a walk over the descriptors of given processes.
//!
//! This is the most expensive part of a look, with one readlink(2) for each descriptor. Therefore it is done for
//! selected processes only, on several threads. Needs `CAP_SYS_PTRACE` for processes of other users.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::model::identity::{ProcessKey, SocketInode};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::processes::ProcessReader;

/// More threads would only wait for each other: the kernel takes locks for each link.
const THREADS: usize = 4;

/// Fewer processes than this are walked before a second thread has started.
const WORTH_A_THREAD: usize = 64;

/// The number of processors, read once because reading it opens files.
static PROCESSORS: OnceLock<usize> = OnceLock::new();

/// The holders that were found of the wanted sockets.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// By ascending pid, with each process once and one of its descriptors of the socket.
    holders: BTreeMap<SocketInode, Vec<(ProcessKey, u32)>>,
    /// The gaps for processes whose descriptors could not be read, folded.
    pub(super) refused: Vec<Gap>,
}

impl Descriptors {
    /// Returns the processes that hold `socket`, by ascending pid.
    pub(super) fn holders(&self, socket: SocketInode) -> impl ExactSizeIterator<Item = ProcessKey> {
        let holders = self.holders.get(&socket).map_or(&[][..], Vec::as_slice);
        holders.iter().map(|(process, _)| *process)
    }

    /// True if any process holds it.
    pub(super) fn is_held(&self, socket: SocketInode) -> bool {
        self.holders.get(&socket).is_some_and(|holders| !holders.is_empty())
    }

    /// Returns all holders, with a descriptor and the socket that it refers to.
    pub(super) fn links(&self) -> impl Iterator<Item = (ProcessKey, u32, SocketInode)> {
        let each = |(socket, holders): (&SocketInode, &Vec<(ProcessKey, u32)>)| {
            let socket = *socket;
            let links = holders
                .iter()
                .map(move |(process, descriptor)| (*process, *descriptor, socket));
            links.collect::<Vec<_>>()
        };
        self.holders.iter().flat_map(each)
    }

    /// Adds `process` as a holder of `socket`.
    pub(super) fn add(&mut self, socket: SocketInode, process: ProcessKey, descriptor: u32) {
        let holders = self.holders.entry(socket).or_default();
        // A process with several descriptors of one socket is one holder.
        if let Err(at) = holders.binary_search_by_key(&process, |(known, _)| *known) {
            holders.insert(at, (process, descriptor));
        }
    }

    /// Adds the holders that another walk found.
    pub(super) fn absorb(&mut self, other: Self) {
        for (socket, holders) in other.holders {
            for (process, descriptor) in holders {
                self.add(socket, process, descriptor);
            }
        }
        for gap in other.refused {
            gap.fold_into(&mut self.refused);
        }
    }
}

/// Walks the descriptors of `processes` until `deadline`, in search of the sockets in `wanted`, which is sorted.
pub(super) fn read_descriptors(
    reader: &ProcessReader,
    processes: &[ProcessKey],
    wanted: &[SocketInode],
    deadline: Option<Instant>,
) -> Descriptors {
    let next = AtomicUsize::new(0);
    let walk = || {
        let mut found = Descriptors::default();
        while let Some(process) = processes.get(next.fetch_add(1, Ordering::Relaxed)) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                not_looked_at(*process).fold_into(&mut found.refused);
            } else {
                read_process(reader, *process, wanted, &mut found);
            }
        }
        found
    };
    let processors = PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get));
    let threads = (*processors).min(THREADS).min(processes.len() / WORTH_A_THREAD);
    let mut all = Descriptors::default();
    thread::scope(|scope| {
        // This thread walks too. If no other can be started, it walks alone.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, walk).ok())
            .collect();
        all.absorb(walk());
        for other in others {
            all.absorb(other.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
    });
    all
}

fn not_looked_at(process: ProcessKey) -> Gap {
    let asked = format_args!("/proc/{}/fd", process.pid);
    Gap::new(Reason::DeadlineExceeded, Hides::Identity, asked, "no time left")
}

fn read_process(reader: &ProcessReader, process: ProcessKey, wanted: &[SocketInode], found: &mut Descriptors) {
    let read = reader.read_sockets(process, &mut |descriptor, socket| {
        if wanted.binary_search(&socket).is_ok() {
            found.add(socket, process, descriptor);
        }
    });
    if let Err(error) = read
        && !refusal::is_gone(&error)
    {
        let asked = format_args!("/proc/{}/fd", process.pid);
        refusal::gap(&error, Hides::Identity, asked, Right::TraceAndSearch).fold_into(&mut found.refused);
    }
}
