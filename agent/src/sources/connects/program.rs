//! The kernel program: loaded and attached by the first method that the kernel takes, the map of listeners that it watches,
//! and the ring that it writes to. The kernel drops all of it with castoff.

use std::io;

use aya::maps::{HashMap, MapData, MapError, RingBuf};
use aya::programs::{Program as BpfProgram, ProgramError};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::method::{Attempt, KernelFacts, Plan};
use super::record::Record;
use crate::model::connect::{ConnectMethod, RefusedMethod};
use crate::model::identity::FileIdentity;
use crate::model::reading::Gap;

static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/connects.bpf.o");

/// What the programs attach to.
const FUNCTION: &str = "security_unix_stream_connect";
const LSM_HOOK: &str = "unix_stream_connect";
const TRACEPOINT: &str = "sys_exit";

/// The first kernel that accounts maps to the control group; before, they count against the limit of locked memory.
const MAPS_IN_CGROUP: (u32, u32) = (5, 11);

/// `struct listener` of the program: device and inode.
type Key = [u32; 2];
/// `struct counts`: connects that were recorded, and those for which the ring had no room.
type Counts = [u64; 2];

/// The attached program.
pub(super) struct Program {
    pub(super) method: ConnectMethod,
    listeners: HashMap<MapData, Key, Counts>,
    records: RingBuf<MapData>,
    /// Holds the program and its attachment.
    _object: Ebpf,
}

/// Connects to one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) recorded: u64,
    pub(super) lost: u64,
}

/// Loads and attaches the first program of `plan` that the kernel takes. The others are added to those that were refused,
/// with the kernel's words.
pub(super) fn attach(plan: &mut Plan, facts: &KernelFacts) -> Option<Program> {
    if plan.attempts.is_empty() {
        return None;
    }
    if facts.version.is_some_and(|version| version < MAPS_IN_CGROUP) {
        raise_locked_memory();
    }
    for attempt in &plan.attempts {
        // Anew for each: a kernel that knows no typed programs may refuse more than the one.
        match load(attempt) {
            Ok(program) => return Some(program),
            Err(error) => plan.refused.push(RefusedMethod {
                method: attempt.method,
                answer: error.to_string(),
            }),
        }
    }
    None
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

/// Why a program cannot be used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
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
}

fn load(attempt: &Attempt) -> Result<Program, LoadError> {
    let types = Btf::from_sys_fs()?;
    let mut object = EbpfLoader::new().btf(Some(&types)).load(OBJECT)?;
    let program = object
        .program_mut(attempt.program)
        .ok_or(LoadError::Missing(attempt.program))?;
    match program {
        BpfProgram::FEntry(program) => {
            program.load(FUNCTION, &types)?;
            program.attach()?;
        }
        BpfProgram::Lsm(program) => {
            program.load(LSM_HOOK, &types)?;
            program.attach()?;
        }
        BpfProgram::KProbe(program) => {
            program.load()?;
            program.attach(FUNCTION, 0)?;
        }
        BpfProgram::BtfTracePoint(program) => {
            program.load(TRACEPOINT, &types)?;
            program.attach()?;
        }
        _ => return Err(LoadError::Missing("program of this kind")),
    }
    let mut map = |name| object.take_map(name).ok_or(LoadError::Missing(name));
    Ok(Program {
        method: attempt.method,
        listeners: map("LISTENERS")?.try_into()?,
        records: map("RECORDS")?.try_into()?,
        _object: object,
    })
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

impl Program {
    /// Calls `each` with every record that was written since the last call.
    pub(super) fn drain(&mut self, each: &mut dyn FnMut(Record)) {
        while let Some(bytes) = self.records.next() {
            // What the program wrote has its length; anything else would be a defect of castoff, which the self-test finds.
            if let Some(record) = Record::parse(&bytes) {
                each(record);
            }
        }
    }

    /// Watches one more listener.
    ///
    /// # Errors
    /// Where the map is full, or the kernel refuses for another reason.
    pub(super) fn watch(&mut self, listener: FileIdentity) -> io::Result<()> {
        self.listeners
            .insert(key(listener), Counts::default(), 0)
            .map_err(io::Error::other)
    }

    /// The connects to a listener since it is watched.
    pub(super) fn count(&self, listener: FileIdentity) -> Count {
        let [recorded, lost] = self.listeners.get(&key(listener), 0).unwrap_or_default();
        Count { recorded, lost }
    }

    /// Watches a listener no more.
    pub(super) fn forget(&mut self, listener: FileIdentity) {
        // It may be gone already.
        let _ = self.listeners.remove(&key(listener));
    }
}

const fn key(listener: FileIdentity) -> Key {
    [listener.device.to_kernel(), listener.inode]
}
