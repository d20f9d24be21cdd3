//! Kernel programs (BPF): loads an object of `agent/bpf`, and explains a refusal of the kernel.
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

/// The first kernel that charges maps to the control group. Older ones charge them to the limit of locked memory.
const MAPS_IN_CGROUP: (u32, u32) = (5, 11);

/// `struct listener` of `agent/bpf/kernel.h`: device and inode.
pub(crate) type Key = [u32; 2];

/// The nanoseconds of a clock tick in proc(5): `USER_HZ` is 100 on every architecture that castoff runs on.
const TICK: u64 = 10_000_000;

/// Converts the start of a process from the kernel's nanoseconds to clock ticks since boot, as in proc(5).
pub(crate) const fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / TICK
}

/// Returns the 4-byte number at `at` of a record.
pub(crate) fn short(record: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?))
}

/// Returns the 8-byte number at `at` of a record.
pub(crate) fn long(record: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?))
}

/// Returns a listener's file in the form that the programs use.
pub(crate) const fn key(listener: FileIdentity) -> Key {
    [listener.device.to_kernel(), listener.inode]
}

/// Raises castoff's limit of locked memory as far as possible. If this is not enough, the kernel refuses the maps,
/// which is reported.
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

/// The reason why a program cannot be used.
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

/// Loads an object and passes it to `load`. The kernel's types take some 30 MB while they are read. This happens on a
/// separate thread: when it is freed, all of that thread's memory is returned, because the object, which is kept, is
/// not in it. glibc may still keep half of it, unless `MALLOC_TRIM_THRESHOLD_` is set, as in the image.
///
/// # Errors
/// If the kernel's types cannot be read, the kernel refuses the object, or `load` fails.
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
        // A new loader has read the types and keeps them. Without this call they would be in memory twice.
        loader.btf(None);
        (loader, Btf::from_sys_fs())
    };
    let reading = thread::Builder::new().spawn(read).map_err(LoadError::Thread)?;
    let (mut loader, types) = reading.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
    let types = types?;
    let object = loader.btf(Some(&types)).load(object)?;
    load(object, &types)
}

/// Returns the descriptor of a map of a loaded object. The descriptor outlives the object.
///
/// # Errors
/// If there is no map with this name, or its kind is not one that castoff uses.
pub(crate) fn map_of(object: &Ebpf, name: &'static str) -> Result<OwnedFd, LoadError> {
    let (Map::HashMap(data) | Map::RingBuf(data)) = object.map(name).ok_or(LoadError::Missing(name))? else {
        return Err(LoadError::Missing(name));
    };
    data.fd().as_fd().try_clone_to_owned().map_err(LoadError::Thread)
}

/// Returns the kernel's answer without the verifier's whole log. Its last line before the statistics gives the reason.
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
