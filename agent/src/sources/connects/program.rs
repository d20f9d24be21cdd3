//! The kernel program, loaded and attached by the first method that the kernel accepts, with the map of the listeners
//! that it watches and the ring buffer that it writes to. The kernel removes all of it when castoff ends.

use std::io;
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, Map, MapData, RingBuf};
use aya::programs::Program as BpfProgram;
use aya::programs::fentry::FEntryLink;
use aya::programs::fexit::FExitLink;
use aya::programs::kprobe::KProbeLink;
use aya::programs::lsm::LsmLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Btf, Ebpf, include_bytes_aligned};

use super::method::{Attempt, Plan};
use super::record::{Record, Sent};
use crate::model::connect::ConnectMethod;
use crate::model::identity::FileIdentity;
use crate::sources::kernel::bpf::facts::KernelFacts;
use crate::sources::kernel::bpf::{Key, LoadError, key, load_apart, map_of};

#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/connects.aarch64.bpf.o");
#[cfg(not(target_arch = "aarch64"))]
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/connects.x86_64.bpf.o");

/// The function that the programs attach to.
const FUNCTION: &str = "security_unix_stream_connect";
const LSM_HOOK: &str = "unix_stream_connect";
const TRACEPOINT: &str = "sys_exit";
const SEND: &str = "unix_stream_sendmsg";

/// `struct counts`: the recorded connects, the connects for which the ring buffer had no room, and the same two of
/// requests.
type Counts = [u64; 4];

/// The attached program.
pub(super) struct Program {
    pub(super) method: ConnectMethod,
    listeners: HashMap<MapData, Key, Counts>,
    records: RingBuf<MapData>,
    /// The requests; none if no program sees them.
    pub(super) requests: Option<RequestsProgram>,
    /// Keeps the program attached.
    _link: AttachedBy,
}

/// The attached program that sees requests.
pub(super) struct RequestsProgram {
    pub(super) method: ConnectMethod,
    records: RingBuf<MapData>,
    /// Keep the programs attached.
    _links: Vec<AttachedBy>,
}

/// The attachment of a program. The kernel keeps the program attached while this is held.
#[expect(dead_code, reason = "held until castoff ends, and never read")]
enum AttachedBy {
    FEntry(FEntryLink),
    FExit(FExitLink),
    Lsm(LsmLink),
    KProbe(KProbeLink),
    TracePoint(BtfTracePointLink),
}

/// The parts of the kernel program that stay after it is loaded.
struct Loaded {
    link: AttachedBy,
    listeners: OwnedFd,
    records: OwnedFd,
    requests: Option<(ConnectMethod, Vec<AttachedBy>, OwnedFd)>,
}

/// The numbers of connects and requests to one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) recorded: u64,
    pub(super) lost: u64,
    pub(super) requests: u64,
    pub(super) requests_lost: u64,
}

/// Loads and attaches the first program of `plan` that the kernel accepts, together with the one that sees requests if
/// `requests` has one. Programs that the kernel refused are added to the refused ones, with the kernel's message.
pub(super) fn attach(plan: &mut Plan, requests: &mut Plan, facts: &KernelFacts) -> Option<Program> {
    // The object is loaded again for each attempt: a kernel without typed programs may refuse other programs of the
    // object too.
    plan.attach_first(|attempt| load_program(attempt, requests, facts))
}

fn load_program(attempt: Attempt, requests: &mut Plan, facts: &KernelFacts) -> Result<Program, LoadError> {
    let loaded = load_apart(facts, OBJECT, |object, types| load(attempt, requests, object, types))?;
    let ring = |ring| RingBuf::try_from(Map::RingBuf(MapData::from_fd(ring)?));
    let requests = loaded.requests.map(|(method, links, records)| {
        Ok::<_, LoadError>(RequestsProgram {
            method,
            records: ring(records)?,
            _links: links,
        })
    });
    Ok(Program {
        method: attempt.method,
        listeners: Map::HashMap(MapData::from_fd(loaded.listeners)?).try_into()?,
        records: ring(loaded.records)?,
        requests: requests.transpose()?,
        _link: loaded.link,
    })
}

fn load(attempt: Attempt, requests: &mut Plan, mut object: Ebpf, types: &Btf) -> Result<Loaded, LoadError> {
    let link = attach_one(attempt.program, FUNCTION, &mut object, types)?;
    let requests = requests.attach_first(|attempt| {
        let links = attach_requests(attempt, &mut object, types)?;
        Ok::<_, LoadError>((attempt.method, links, map_of(&object, "REQUESTS")?))
    });
    Ok(Loaded {
        link,
        listeners: map_of(&object, "LISTENERS")?,
        records: map_of(&object, "RECORDS")?,
        requests,
    })
}

/// Attaches the program that sees requests. With fentry, also attaches the one that reads again when the send returns.
fn attach_requests(attempt: Attempt, object: &mut Ebpf, types: &Btf) -> Result<Vec<AttachedBy>, LoadError> {
    let mut links = vec![attach_one(attempt.program, SEND, object, types)?];
    if attempt.method == ConnectMethod::Fentry {
        links.push(attach_one("send_fexit", SEND, object, types)?);
    }
    Ok(links)
}

/// Attaches one program; to `function`, if its kind attaches to a function.
fn attach_one(
    name: &'static str,
    function: &'static str,
    object: &mut Ebpf,
    types: &Btf,
) -> Result<AttachedBy, LoadError> {
    let program = object.program_mut(name).ok_or(LoadError::Missing(name))?;
    Ok(match program {
        BpfProgram::FEntry(program) => {
            program.load(function, types)?;
            let link = program.attach()?;
            AttachedBy::FEntry(program.take_link(link)?)
        }
        BpfProgram::FExit(program) => {
            program.load(function, types)?;
            let link = program.attach()?;
            AttachedBy::FExit(program.take_link(link)?)
        }
        BpfProgram::Lsm(program) => {
            program.load(LSM_HOOK, types)?;
            let link = program.attach()?;
            AttachedBy::Lsm(program.take_link(link)?)
        }
        BpfProgram::KProbe(program) => {
            program.load()?;
            let link = program.attach(function, 0)?;
            AttachedBy::KProbe(program.take_link(link)?)
        }
        BpfProgram::BtfTracePoint(program) => {
            program.load(TRACEPOINT, types)?;
            let link = program.attach()?;
            AttachedBy::TracePoint(program.take_link(link)?)
        }
        _ => return Err(LoadError::Missing("program of this kind")),
    })
}

impl Program {
    /// Calls `each` with every record that was written since the last call.
    pub(super) fn drain(&mut self, each: &mut dyn FnMut(Record)) {
        while let Some(bytes) = self.records.next() {
            // The program writes records of this length. Any other would be a defect of castoff, which the self-test
            // finds.
            if let Some(record) = Record::parse(&bytes) {
                each(record);
            }
        }
    }

    /// Calls `each` with every request that was written since the last call.
    pub(super) fn drain_requests(&mut self, each: &mut dyn FnMut(Sent<'_>)) {
        let Some(requests) = &mut self.requests else { return };
        while let Some(bytes) = requests.records.next() {
            if let Some(sent) = Sent::parse(&bytes) {
                each(sent);
            }
        }
    }

    /// Adds a listener to the watched ones.
    ///
    /// # Errors
    /// If the map is full, or the kernel refuses for another reason.
    pub(super) fn watch(&mut self, listener: FileIdentity) -> io::Result<()> {
        self.listeners
            .insert(key(listener), Counts::default(), 0)
            .map_err(io::Error::other)
    }

    /// Returns the connects to a listener since it was added. Returns none if somebody has removed it from the map.
    pub(super) fn count(&self, listener: FileIdentity) -> Option<Count> {
        let [recorded, lost, requests, requests_lost] = self.listeners.get(&key(listener), 0).ok()?;
        Some(Count {
            recorded,
            lost,
            requests,
            requests_lost,
        })
    }

    /// Stops watching a listener.
    pub(super) fn forget(&mut self, listener: FileIdentity) {
        // It may be gone already.
        let _ = self.listeners.remove(&key(listener));
    }
}
