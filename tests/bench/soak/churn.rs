//! The processes, clients of the engine and containers that start and end on the node of a soak test.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::{self, Scope};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::process::started_since_boot;

use crate::loads::Exits;

/// The processes that start each second and exit at once.
const EXITS: usize = 2_000;
/// The short clients, of a unit and of an ordinary user: for how long each holds its connection, and the pause after it.
const OF_A_UNIT: [Duration; 2] = [Duration::ZERO, Duration::from_millis(20)];
const OF_A_USER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(100)];
/// The containers of a short pod that end at once. One more is a client, which connects this often.
const CONTAINERS: u64 = 8;
const CONNECTS: &str = "3";
/// The shortest time from one short pod to the next, and the threads that start them.
const PODS: Duration = Duration::from_secs(4);
const THREADS: u64 = 2;
/// The directory of the engine's socket in a container.
const MOUNTED: &str = "/host/run";

/// The numbers of pods and processes so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) containers: u64,
    /// The pods that could not be started, or did not end well.
    pub(crate) failed: u64,
    /// Processes of the whole machine.
    pub(crate) processes: u64,
}

/// The running churn. It must be stopped before its scope ends.
pub(crate) struct Churn {
    state: Arc<State>,
    _short: [Client; 2],
    _exits: Exits,
}

#[derive(Debug, Default)]
struct State {
    ending: AtomicBool,
    /// Held for writing while the engine restarts: a pod that starts meanwhile would find no socket.
    pods: RwLock<()>,
    containers: AtomicU64,
    failed: AtomicU64,
}

impl Churn {
    /// Starts it beside an engine.
    pub(crate) fn start<'s>(scope: &'s Scope<'s, '_>, runtime: &'s Containerd, socket: &Path) -> Result<Self> {
        let blink = |[hold, pause]: [Duration; 2], place| clients::blink(socket, hold, pause, place);
        let churn = Self {
            state: Arc::default(),
            _short: [
                blink(OF_A_UNIT, Place::unit("castoff-soak-short.service")?)?,
                blink(OF_A_USER, Place::host().ordinary_user())?,
            ],
            _exits: Exits::start(EXITS)?,
        };
        let folder = socket.parent().context("a socket is in a directory")?;
        for first in 0..THREADS {
            let (state, folder) = (Arc::clone(&churn.state), folder.to_owned());
            scope.spawn(move || {
                let mut number = first;
                while !state.ending.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if let Err(error) = run_pod(runtime, &folder, number, &state) {
                        eprintln!("a short pod: {error:#}");
                        state.failed.fetch_add(1, Ordering::Relaxed);
                    }
                    number += THREADS;
                    thread::sleep(PODS.saturating_sub(begun.elapsed()));
                }
            });
        }
        Ok(churn)
    }

    /// Waits until no pod is running, and lets none start while the guard exists.
    pub(crate) fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.state.pods.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the threads, after their current work.
    pub(crate) fn stop(&self) {
        self.state.ending.store(true, Ordering::Relaxed);
    }

    /// Returns the numbers so far.
    pub(crate) fn counts(&self) -> Result<Counts> {
        Ok(Counts {
            containers: self.state.containers.load(Ordering::Relaxed),
            failed: self.state.failed.load(Ordering::Relaxed),
            processes: started_since_boot()?,
        })
    }
}

/// Runs a pod of a cron job to its end: containers that end at once, and one that connects to the engine.
fn run_pod(runtime: &Containerd, folder: &Path, number: u64, state: &State) -> Result<()> {
    let _guard = state.pods.read().unwrap_or_else(PoisonError::into_inner);
    let minutes = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 60;
    let job = format!("soak-{minutes}");
    let pod = Pod::new("jobs", format!("{job}-{}", suffix(number))).label("job-name", job);
    let pod = runtime.run(pod)?;
    state.containers.fetch_add(1, Ordering::Relaxed); // the sandbox
    for at in 0..CONTAINERS {
        pod.start(Container::new(format!("step-{at}"), ["/bin/true"]))?;
        state.containers.fetch_add(1, Ordering::Relaxed);
    }
    let socket = format!("{MOUNTED}/docker.sock");
    let client = Container::client("client", ["burst", &socket, CONNECTS]);
    pod.start(client.mount(folder, MOUNTED))?.wait()?;
    state.containers.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Returns five characters like those at the end of a generated name, which are not repeated before millions of pods.
fn suffix(number: u64) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let at = |place: u32| letters[(number / 27_u64.pow(place) % 27) as usize];
    (0..5).rev().map(|place| char::from(at(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_differ() {
        assert_eq!(suffix(0), "bbbbb");
        assert_eq!(suffix(1), "bbbbc");
        assert_eq!(suffix(27), "bbbcb");
    }
}
