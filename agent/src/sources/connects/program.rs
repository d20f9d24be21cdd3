//! The kernel program: loaded and attached by the first method that the kernel takes, the map of listeners that it watches,
//! and the ring that it writes to. The kernel drops all of it with castoff.

use std::io;
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, Map, MapData, RingBuf};
use aya::programs::Program as BpfProgram;
use aya::programs::fentry::FEntryLink;
use aya::programs::kprobe::KProbeLink;
use aya::programs::lsm::LsmLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Btf, Ebpf, include_bytes_aligned};

use super::method::{Attempt, Plan};
use super::record::Record;
use crate::model::connect::{ConnectMethod, RefusedMethod};
use crate::model::identity::FileIdentity;
use crate::sources::kernel::bpf::facts::KernelFacts;
use crate::sources::kernel::bpf::{Key, LoadError, key, load_apart, map_of};

static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/connects.bpf.o");

/// What the programs attach to.
const FUNCTION: &str = "security_unix_stream_connect";
const LSM_HOOK: &str = "unix_stream_connect";
const TRACEPOINT: &str = "sys_exit";

/// `struct counts`: connects that were recorded, and those for which the ring had no room.
type Counts = [u64; 2];

/// The attached program.
pub(super) struct Program {
    pub(super) method: ConnectMethod,
    listeners: HashMap<MapData, Key, Counts>,
    records: RingBuf<MapData>,
    /// Keeps the program attached.
    _link: AttachedBy,
}

/// The attachment of a program. The kernel keeps the program for as long as it is held.
#[expect(dead_code, reason = "held until castoff ends, and never read")]
enum AttachedBy {
    FEntry(FEntryLink),
    Lsm(LsmLink),
    KProbe(KProbeLink),
    TracePoint(BtfTracePointLink),
}

/// The parts of the kernel program that stay when it is loaded.
struct Loaded {
    link: AttachedBy,
    listeners: OwnedFd,
    records: OwnedFd,
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
    for attempt in &plan.attempts {
        // Anew for each: a kernel that knows no typed programs may refuse more than the one.
        match load_program(attempt, facts) {
            Ok(program) => return Some(program),
            Err(error) => plan.refused.push(RefusedMethod {
                method: attempt.method,
                answer: error.to_string(),
            }),
        }
    }
    None
}

fn load_program(attempt: &Attempt, facts: &KernelFacts) -> Result<Program, LoadError> {
    let loaded = load_apart(facts, OBJECT, |object, types| load(attempt, object, types))?;
    Ok(Program {
        method: attempt.method,
        listeners: Map::HashMap(MapData::from_fd(loaded.listeners)?).try_into()?,
        records: Map::RingBuf(MapData::from_fd(loaded.records)?).try_into()?,
        _link: loaded.link,
    })
}

fn load(attempt: &Attempt, mut object: Ebpf, types: &Btf) -> Result<Loaded, LoadError> {
    let program = object
        .program_mut(attempt.program)
        .ok_or(LoadError::Missing(attempt.program))?;
    let link = match program {
        BpfProgram::FEntry(program) => {
            program.load(FUNCTION, types)?;
            let link = program.attach()?;
            AttachedBy::FEntry(program.take_link(link)?)
        }
        BpfProgram::Lsm(program) => {
            program.load(LSM_HOOK, types)?;
            let link = program.attach()?;
            AttachedBy::Lsm(program.take_link(link)?)
        }
        BpfProgram::KProbe(program) => {
            program.load()?;
            let link = program.attach(FUNCTION, 0)?;
            AttachedBy::KProbe(program.take_link(link)?)
        }
        BpfProgram::BtfTracePoint(program) => {
            program.load(TRACEPOINT, types)?;
            let link = program.attach()?;
            AttachedBy::TracePoint(program.take_link(link)?)
        }
        _ => return Err(LoadError::Missing("program of this kind")),
    };
    Ok(Loaded {
        link,
        listeners: map_of(&object, "LISTENERS")?,
        records: map_of(&object, "RECORDS")?,
    })
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
