//! Connects to the engines' sockets, as the kernel reports them. A client is seen however short its connection is.
//!
//! A kernel program (`agent/bpf`) records each connect to a watched socket in a ring buffer, which a thread reads ten
//! times a second. The ring never wakes castoff up, because the wakeups would be the main cost. Each listener is
//! watched by the device and inode of its file; another thread follows a file that is created again under the same
//! name.
//!
//! Relies on aya to load the program, and on `security_unix_stream_connect` of `net/unix/af_unix.c`, which the kernel
//! calls after it has found the listener and before the connection is established.

mod ended;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod gathered;
mod lines;
mod method;
mod operation;
mod program;
mod record;
mod running;
pub mod self_test;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::model::connect::{Attributions, ConnectEvents, ConnectsSeen, RefusedMethod, RequestEvents};
use crate::model::engine::EngineSighting;
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::sources::HostPaths;
use crate::sources::kernel::bpf::facts;
pub use method::Wanted;
use method::{plan, plan_requests};
use program::Program;
use running::{Running, keep_following, keep_reading, lock};
use self_test::Schedule;

/// The time between two attempts to attach the programs again.
const PAUSE_OF_ATTEMPTS: Duration = Duration::from_secs(3600);

/// The requested configuration of connect events.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The method to use.
    pub method: Wanted,
    /// The method by which the requests on those connections are seen; none if connects are not seen.
    pub requests: Wanted,
    /// castoff's own executable, which the self-test runs; none if there is no self-test.
    pub self_test: Option<PathBuf>,
}

/// Reports connects. The kernel program is loaded in the first look.
pub struct ConnectSource {
    asked: Asked,
    paths: HostPaths,
    started: Option<Started>,
}

struct Started {
    running: Option<Arc<Mutex<Running>>>,
    refused: Refused,
    gaps: Vec<Gap>,
    /// The time of the last attempt to attach the programs again.
    attached_again: Option<Instant>,
}

/// The methods that were not used.
#[derive(Clone, Debug, Default)]
struct Refused {
    connects: Vec<RefusedMethod>,
    requests: Vec<RefusedMethod>,
}

impl ConnectSource {
    /// Returns a source that uses the requested methods. Nothing is loaded yet.
    pub const fn new(asked: Asked, paths: HostPaths) -> Self {
        Self {
            asked,
            paths,
            started: None,
        }
    }

    /// Tests soon whether the program works: a client connected, and the program recorded nothing.
    pub fn doubt(&mut self) {
        let running = self.started.as_ref().and_then(|started| started.running.as_ref());
        if let Some(running) = running {
            lock(running).doubted = true;
        }
    }

    /// Returns the clients that connected since the answer `taken_in`, the last one that the agent took in: an answer that
    /// came too late is repeated. Watches the listeners of `engines` from now on. Blocks.
    pub fn look(&mut self, engines: &Sighting<Vec<EngineSighting>>, taken_in: u64) -> Sighting<ConnectsSeen> {
        if self.asked.method == Wanted::Off {
            return Sighting::absent();
        }
        let (asked, paths) = (&self.asked, &self.paths);
        let started = self.started.get_or_insert_with(|| Started::new(asked, paths));
        started.attach_again(asked, paths);
        let mut gaps = started.gaps.clone();
        let Some(running) = &started.running else {
            return Sighting::partial(unseen(started.refused.clone()), gaps);
        };
        let mut running = lock(running);
        running.read();
        running.confirm(taken_in);
        if engines.reading.gap().is_none() {
            running.watch(engines.reading.items(), &mut gaps);
        }
        let seen = running.take(&started.refused, &mut gaps);
        Sighting::partial(seen, gaps)
    }
}

impl Started {
    fn new(asked: &Asked, paths: &HostPaths) -> Self {
        let (program, refused) = attach(asked, paths);
        let mut gaps = Vec::new();
        let running = program.map(|program| Arc::new(Mutex::new(Running::new(program, paths))));
        if let Some(running) = &running {
            let test = asked.self_test.clone();
            let test = test.map(|program| Schedule::new(program, paths.proc.clone()));
            let threads = keep_reading(running, test).and_then(|()| keep_following(running, paths.root.clone()));
            if let Err(error) = threads {
                let asked = "the system for the threads of connect events";
                gaps.push(Gap::new(Reason::of(&error), Hides::Detail, asked, error));
            }
        }
        if let (Wanted::Tracepoint, None, Some(refused)) = (asked.method, &running, refused.connects.last()) {
            let asked = "--connect-events=tracepoint";
            gaps.push(Gap::new(Reason::NoKernelSupport, Hides::Detail, asked, &refused.answer));
        }
        if let (Wanted::Tracepoint, Some(refused)) = (asked.requests, refused.requests.last()) {
            let asked = "--requests=tracepoint";
            gaps.push(Gap::new(Reason::NoKernelSupport, Hides::Detail, asked, &refused.answer));
        }
        Self {
            running,
            refused,
            gaps,
            attached_again: None,
        }
    }

    /// Attaches the programs again if a self-test has failed: another program may have detached them. Tries once an hour.
    fn attach_again(&mut self, asked: &Asked, paths: &HostPaths) {
        let Some(running) = &self.running else { return };
        let is_early = |last: Instant| last.elapsed() < PAUSE_OF_ATTEMPTS;
        if !lock(running).has_failed() || self.attached_again.is_some_and(is_early) {
            return;
        }
        self.attached_again = Some(Instant::now());
        let (program, refused) = attach(asked, paths);
        if let Some(program) = program {
            lock(running).replace(program);
            self.refused = refused;
        }
    }
}

/// Attaches the programs by the first methods that the kernel accepts, and returns those that it refused.
fn attach(asked: &Asked, paths: &HostPaths) -> (Option<Program>, Refused) {
    let facts = facts::read(&paths.proc);
    let mut plan = plan(asked.method, &facts);
    let mut requests = plan_requests(asked.requests, &facts);
    let program = program::attach(&mut plan, &mut requests, &facts);
    let refused = Refused {
        connects: plan.refused,
        requests: requests.refused,
    };
    (program, refused)
}

/// Returns the facts where no method runs.
fn unseen(refused: Refused) -> ConnectsSeen {
    ConnectsSeen {
        events: ConnectEvents {
            method: None,
            refused: refused.connects,
            since: None,
            self_test: None,
            listeners: 0,
            recorded: 0,
            lost: 0,
            attributed: Attributions::default(),
            requests: RequestEvents {
                refused: refused.requests,
                ..RequestEvents::default()
            },
        },
        connects: Vec::new(),
        answer: 0,
    }
}
