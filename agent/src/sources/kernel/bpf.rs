//! Kernel programs (BPF): how an object of `agent/bpf` is loaded, and what a refusal of the kernel means.
//!
//! Relies on aya, on the kernel's own types at `/sys/kernel/btf/vmlinux`, and on bpf(2).

pub(crate) mod facts;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::{panic, thread};

use aya::maps::{Map, MapError};
use aya::programs::ProgramError;
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};
use rustix::process::{Resource, getrlimit, setrlimit};

use self::facts::KernelFacts;
use crate::model::identity::FileIdentity;
use crate::model::reading::Gap;

/// The first kernel that accounts maps to the control group; before, they count against the limit of locked memory.
const MAPS_IN_CGROUP: (u32, u32) = (5, 11);

/// `struct listener` of `agent/bpf/kernel.h`: device and inode.
pub(crate) type Key = [u32; 2];

/// Nanoseconds of a clock tick as proc(5) counts them: `USER_HZ` is 100 on every architecture that castoff runs on.
const TICK: u64 = 10_000_000;

/// The start of a process in clock ticks since boot, as proc(5) has it, from the nanoseconds that the kernel has.
pub(crate) const fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / TICK
}

/// The number of 4 bytes at `at` of a record.
pub(crate) fn short(record: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?))
}

/// The number of 8 bytes at `at` of a record.
pub(crate) fn long(record: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?))
}

/// A listener's file as the programs know it.
pub(crate) const fn key(listener: FileIdentity) -> Key {
    [listener.device.to_kernel(), listener.inode]
}

/// Lets castoff lock as much memory as it may. Where that is too little the kernel refuses the maps, which is told.
fn raise_locked_memory() {
    let mut limit = getrlimit(Resource::Memlock);
    limit.current = limit.maximum;
    let unlimited = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let _ = setrlimit(Resource::Memlock, limit);
    }
}

/// A reason why a program cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the kernel's types cannot be read: {}", Gap::chain(.0))]
    Types(#[from] aya::BtfError),
    #[error("{}", Gap::chain(.0))]
    Object(#[from] EbpfError),
    #[error("{}", refusal(.0))]
    Program(#[from] ProgramError),
    #[error("{}", Gap::chain(.0))]
    Map(#[from] MapError),
    #[error("castoff's object has no {0}")]
    Missing(&'static str),
    #[error("no thread or descriptor to load it with: {0}")]
    Thread(io::Error),
}

/// Loads an object, and gives what `load` makes of it. The kernel's types take some 30 MB while they are read, on a thread of
/// their own: what a thread has allocated is given back whole when it is freed, and nothing of the object, which stays, lies
/// between. glibc may keep half of it all the same, unless `MALLOC_TRIM_THRESHOLD_` tells it not to, as the image does.
///
/// # Errors
/// Where the kernel's types cannot be read, or the kernel refuses the object, or `load` fails.
pub(crate) fn load_apart<T>(
    facts: &KernelFacts,
    object: &[u8],
    load: impl FnOnce(Ebpf, &Btf) -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    if facts.version.is_some_and(|version| version < MAPS_IN_CGROUP) {
        raise_locked_memory();
    }
    let read = || {
        let mut loader = EbpfLoader::new();
        // A new loader has read the types and keeps them to itself. Without this they would be in memory twice.
        loader.btf(None);
        (loader, Btf::from_sys_fs())
    };
    let reading = thread::Builder::new().spawn(read).map_err(LoadError::Thread)?;
    let (mut loader, types) = reading.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
    let types = types?;
    let object = loader.btf(Some(&types)).load(object)?;
    load(object, &types)
}

/// The descriptor of a map of a loaded object, which outlives it.
///
/// # Errors
/// Where there is no map of this name, or of a kind that castoff does not use.
pub(crate) fn map_of(object: &Ebpf, name: &'static str) -> Result<OwnedFd, LoadError> {
    let (Map::HashMap(data) | Map::RingBuf(data)) = object.map(name).ok_or(LoadError::Missing(name))? else {
        return Err(LoadError::Missing(name));
    };
    data.fd().as_fd().try_clone_to_owned().map_err(LoadError::Thread)
}

/// The kernel's answer without the verifier's whole log, of which the last line but its statistics says why.
fn refusal(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return Gap::chain(error);
    };
    let log = verifier_log.to_string();
    let is_reason = |line: &&str| {
        let statistics = ["processed ", "verification time", "stack depth"];
        !line.is_empty() && !statistics.iter().any(|word| line.starts_with(word))
    };
    match log.lines().map(str::trim).rev().find(is_reason) {
        Some(reason) => format!("the kernel refuses the program: {io_error}: {reason}"),
        None => format!("the kernel refuses the program: {io_error}"),
    }
}
