//! The attached program with the listeners that it watches, and the threads that read its ring buffer and follow the
//! listeners' files.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::FileType;
use rustix::time::{ClockId, clock_gettime};

use super::Refused;
use super::ended::{EndedListeners, Served};
use super::gathered::Gathered;
use super::lines::Lines;
use super::program::{Count, Program};
use super::record::Record;
use super::self_test::Schedule;
use crate::model::connect::{
    ConnectEvents, ConnectMethod, Connects, ConnectsSeen, RefusedMethod, RequestEvents, SelfTest,
};
use crate::model::engine::EngineSighting;
use crate::model::identity::{FileIdentity, Pid};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::request::Request;
use crate::model::socket::{ListenerId, SocketName};
use crate::model::time::Timestamp;
use crate::sources::HostPaths;
use crate::sources::kernel::rooted::Rooted;

/// The time between two reads of the ring buffer, which has room for 1,100 connects.
const PAUSE: Duration = Duration::from_millis(100);

/// The most listeners that are watched. The program's map has a little more room, for castoff's own socket and for files
/// that were created again since the last look.
const WATCHED_MOST: usize = 1000;

/// A watched listener.
#[derive(Clone, Debug)]
struct Watched {
    served: Served,
    /// True if the last look listed it: a look reports the connects to those.
    listed: bool,
    /// The connects that were counted already.
    counted: Count,
    place: Place,
}

/// The place of a listener's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not looked up yet.
    Unknown,
    /// At its name on the host, with this stat(2) identity.
    Here(FileIdentity),
    /// Elsewhere: the name belongs to another mount namespace, or to a file that was created later.
    Elsewhere,
}

/// The watched listeners, and the connects and requests seen there.
pub(super) struct Running {
    program: Program,
    since: Timestamp,
    gathered: Gathered,
    /// The requests whose first line is not complete yet.
    lines: Lines,
    watched: BTreeMap<FileIdentity, Watched>,
    ended: EndedListeners,
    total: Count,
    losses: Losses,
    /// The number of the last answer, and the losses that it had.
    answered: (u64, Losses),
    /// True if a client connected and the program recorded nothing: the self-test shows whether the program works.
    pub(super) doubted: bool,
    /// The socket of a running self-test, and the records of it. These are never a client.
    own: Option<(FileIdentity, OwnRecords)>,
    /// The result of the last self-test.
    pub(super) self_test: Option<SelfTest>,
    /// The failure of the last self-test that concerns requests alone.
    pub(super) requests_failure: Option<String>,
}

/// The losses since the last look: at the node's engines, and at users' own.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    connects: [u64; 2],
    /// The number of listeners that were removed from the program's map.
    removed: [u64; 2],
    /// The number of clients of ended engines that no look could report.
    ended: [u64; 2],
    /// The number of requests, wherever they were sent.
    requests: u64,
}

/// The kernel's records of castoff's own socket.
#[derive(Default)]
pub(super) struct OwnRecords {
    pub(super) connects: Vec<Record>,
    /// None if no program sees requests.
    pub(super) requests: Option<Vec<Request>>,
}

impl Running {
    pub(super) fn new(program: Program, paths: &HostPaths) -> Self {
        Self {
            program,
            since: SystemTime::now().into(),
            gathered: Gathered::new(paths.proc.clone(), paths.root.clone()),
            lines: Lines::default(),
            watched: BTreeMap::new(),
            ended: EndedListeners::default(),
            total: Count::default(),
            losses: Losses::default(),
            answered: Default::default(),
            doubted: false,
            own: None,
            self_test: None,
            requests_failure: None,
        }
    }

    /// True if the last self-test has failed.
    pub(super) fn has_failed(&self) -> bool {
        let failure = self.self_test.as_ref().and_then(|test| test.failure.as_ref());
        failure.is_some() || self.requests_failure.is_some()
    }

    /// Uses these programs from now on. The next look has them watch the listeners. The last self-test counts until the next
    /// one, which is soon.
    pub(super) fn replace(&mut self, program: Program) {
        self.read();
        self.program = program;
        self.since = SystemTime::now().into();
        self.lines = Lines::default();
        self.watched.clear();
        self.doubted = true;
    }

    /// Reads the new records of the kernel program.
    pub(super) fn read(&mut self) {
        let own = Pid(process::id());
        let clocks = Clocks::read();
        let (gathered, of_test) = (&mut self.gathered, &mut self.own);
        self.program.drain(&mut |record| {
            if let Some((file, told)) = of_test
                && record.listener == *file
            {
                told.connects.push(record);
            } else if record.process.pid != own {
                gathered.add(&record, clocks.time_of(record.time));
            }
        });
        let (gathered, lines, of_test) = (&mut self.gathered, &mut self.lines, &mut self.own);
        self.program.drain_requests(&mut |sent| {
            let Some(request) = lines.add(sent.socket, sent.line) else {
                return;
            };
            if let Some((file, told)) = of_test
                && sent.sender.listener == *file
            {
                told.requests.get_or_insert_default().push(request);
            } else if sent.sender.process.pid != own {
                gathered.add_request(&sent.sender, request, clocks.time_of(sent.sender.time));
            }
        });
        self.count(clocks.wall);
    }

    /// Adds what the program has counted since the last call. A listener that somebody has removed from the program's map
    /// is watched again.
    fn count(&mut self, at: Timestamp) {
        let mut unwatched = Vec::new();
        for (file, watched) in &mut self.watched {
            let Some(now) = self.program.count(*file) else {
                self.losses.removed[usize::from(watched.served.of_user)] += 1;
                self.since = at;
                watched.counted = Count::default();
                if self.program.watch(*file).is_err() {
                    unwatched.push(*file);
                }
                continue;
            };
            let lost = now.lost.saturating_sub(watched.counted.lost);
            let requests_lost = now.requests_lost.saturating_sub(watched.counted.requests_lost);
            self.total.requests += now.requests.saturating_sub(watched.counted.requests);
            self.total.requests_lost += requests_lost;
            self.losses.requests += requests_lost;
            self.total.recorded += now.recorded.saturating_sub(watched.counted.recorded);
            self.total.lost += lost;
            self.losses.connects[usize::from(watched.served.of_user)] += lost;
            if lost > 0 {
                self.gathered.add_unnamed(*file, lost, at);
            }
            watched.counted = now;
        }
        // The next look tries again, and reports why it is refused.
        for file in unwatched {
            self.watched.remove(&file);
        }
    }

    /// Watches a socket of castoff's own.
    pub(super) fn watch_own(&mut self, file: FileIdentity) -> io::Result<()> {
        self.program.watch(file)?;
        let told = OwnRecords {
            requests: self.program.requests.as_ref().map(|_| Vec::new()),
            ..OwnRecords::default()
        };
        self.own = Some((file, told));
        Ok(())
    }

    /// Takes the records of a socket of castoff's own, and stops watching it.
    pub(super) fn take_own(&mut self, file: FileIdentity) -> OwnRecords {
        self.read();
        self.program.forget(file);
        self.own.take().map(|(_, told)| told).unwrap_or_default()
    }

    /// Returns the listeners to follow, with the paths of their files on the host. The listeners of users' own engines
    /// are left out: a user could make such a path hang, and then the others would not be followed.
    fn followed(&self) -> Vec<(FileIdentity, String)> {
        let is_followed = |watched: &Watched| !watched.served.of_user && watched.place != Place::Elsewhere;
        let watched = self.watched.iter().filter(|(_, watched)| is_followed(watched));
        watched
            .filter_map(|(file, watched)| match &watched.served.name {
                SocketName::Path(path) => Some((*file, path.clone())),
                SocketName::Abstract(_) | SocketName::Tcp(_) => None,
            })
            .collect()
    }

    /// Takes the current stat(2) identity of a followed listener's name. A file that was created again under that name
    /// is watched too: this is an engine that restarts between two looks.
    fn follow(&mut self, file: FileIdentity, now: FileIdentity) {
        let Some(watched) = self.watched.get_mut(&file) else {
            return;
        };
        let before = match watched.place {
            Place::Unknown if now.inode == file.inode => {
                watched.place = Place::Here(now);
                return;
            }
            Place::Here(before) if before != now => before,
            Place::Here(_) => return,
            Place::Unknown | Place::Elsewhere => {
                watched.place = Place::Elsewhere;
                return;
            }
        };
        watched.place = Place::Elsewhere;
        let fresh = Watched {
            place: Place::Here(now),
            listed: false,
            counted: Count::default(),
            ..watched.clone()
        };
        // On Btrfs and overlayfs stat(2) reports another device than the kernel uses.
        let device = if now.device == before.device {
            file.device
        } else {
            now.device
        };
        let made = FileIdentity { device, ..now };
        // If the map is full, the next look reports it.
        if !self.watched.contains_key(&made) && self.program.watch(made).is_ok() {
            self.watched.insert(made, fresh);
        }
    }

    /// Watches the listeners of `engines`, and stops watching those that are gone.
    pub(super) fn watch(&mut self, engines: &[EngineSighting], gaps: &mut Vec<Gap>) {
        let (now, left_out) = choose(engines);
        for served in left_out {
            not_watched(&served, "more listeners than the kernel program can watch").fold_into(gaps);
        }
        let is_ahead = |watched: &Watched| {
            matches!(watched.place, Place::Here(_)) && now.values().any(|served| served.continues(&watched.served))
        };
        let ended = self
            .watched
            .iter()
            .filter(|(file, w)| !now.contains_key(file) && !is_ahead(w));
        let ended: Vec<FileIdentity> = ended.map(|(file, _)| *file).collect();
        for file in ended {
            self.program.forget(file);
            if let Some(watched) = self.watched.remove(&file) {
                self.ended.add(file, watched.served);
            }
        }
        for (file, watched) in &mut self.watched {
            watched.listed = now.contains_key(file);
        }
        for (file, served) in now {
            match self.watched.get_mut(&file) {
                Some(watched) => watched.served = served,
                None => self.watch_one(file, served, gaps),
            }
        }
    }

    fn watch_one(&mut self, file: FileIdentity, served: Served, gaps: &mut Vec<Gap>) {
        if let Err(error) = self.program.watch(file) {
            not_watched(&served, error).fold_into(gaps);
            return;
        }
        let watched = Watched {
            served,
            listed: true,
            counted: Count::default(),
            place: Place::Unknown,
        };
        self.watched.insert(file, watched);
    }

    /// Takes what was seen since the previous look.
    pub(super) fn take(&mut self, refused: &Refused, gaps: &mut Vec<Gap>) -> ConnectsSeen {
        let connects = self.take_connects();
        self.lines.age();
        let losses = std::mem::take(&mut self.losses);
        losses.add_gaps(gaps);
        self.answered = (self.answered.0 + 1, losses);
        let mut refused_connects = refused.connects.clone();
        let failure = self.self_test.as_ref().and_then(|test| test.failure.as_ref());
        if let Some(failure) = failure {
            let method = self.program.method;
            let asked = format_args!("the self-test of {method}");
            Gap::new(Reason::ProtocolError, Hides::Identity, asked, failure).fold_into(gaps);
            refused_connects.push(failed_test(method, failure));
        }
        ConnectsSeen {
            events: ConnectEvents {
                method: failure.is_none().then_some(self.program.method),
                refused: refused_connects,
                self_test: self.self_test.clone(),
                since: Some(self.since),
                listeners: u32::try_from(self.watched.len()).unwrap_or(u32::MAX),
                recorded: self.total.recorded,
                lost: self.total.lost,
                attributed: self.gathered.attributed,
                requests: self.request_events(&refused.requests, gaps),
            },
            connects,
            answer: self.answered.0,
        }
    }

    /// Drops what the last answer had if it is the answer `taken_in`; otherwise the next answer has it too.
    pub(super) fn confirm(&mut self, taken_in: u64) {
        let (answer, losses) = self.answered;
        let arrived = answer == taken_in;
        self.gathered.confirm(arrived);
        if !arrived {
            self.losses.add(&losses);
        }
        self.answered = (answer, Losses::default());
    }

    fn request_events(&self, refused: &[RefusedMethod], gaps: &mut Vec<Gap>) -> RequestEvents {
        let mut refused = refused.to_vec();
        let mut method = self.program.requests.as_ref().map(|program| program.method);
        if let Some(failure) = &self.requests_failure
            && let Some(method) = method.take()
        {
            let asked = format_args!("the self-test of requests by {method}");
            Gap::new(Reason::ProtocolError, Hides::Detail, asked, failure).fold_into(gaps);
            refused.push(failed_test(method, failure));
        }
        RequestEvents {
            method,
            refused,
            recorded: self.total.requests,
            lost: self.total.requests_lost,
        }
    }

    fn take_connects(&mut self) -> Vec<Connects> {
        let (watched, ended) = (&self.watched, &self.ended);
        // No look has an engine for a file that was created since it listed the sockets.
        let listed = || watched.iter().filter(|(_, watched)| watched.listed);
        let heir = |before: &Served| {
            listed()
                .filter(|(_, watched)| watched.served.continues(before))
                .max_by_key(|(_, watched)| matches!(watched.place, Place::Here(_)))
                .map(|(file, _)| *file)
        };
        let connects = self.gathered.take(&|file| {
            let now = match watched.get(&file) {
                Some(watched) => watched.listed.then_some(file),
                None => heir(ended.get(file)?),
            };
            now.map(ListenerId::File)
        });
        let hidden = self.ended.settle(&self.gathered);
        self.losses.ended[0] += hidden.clients;
        self.losses.ended[1] += hidden.identities;
        let (watched, ended) = (&self.watched, &self.ended);
        self.gathered
            .retain(&|file| watched.contains_key(&file) || ended.get(file).is_some());
        connects
    }
}

/// Returns the listeners of `engines` to watch, and those for which the program's map has no room: users' before the
/// node's.
fn choose(engines: &[EngineSighting]) -> (BTreeMap<FileIdentity, Served>, Vec<Served>) {
    let (of_users, of_node): (Vec<_>, Vec<_>) = engines.iter().partition(|engine| engine.is_of_user());
    let (mut now, mut left_out) = (BTreeMap::new(), Vec::new());
    for engine in of_node.into_iter().chain(of_users) {
        for listener in &engine.listeners {
            let ListenerId::File(file) = listener.id else { continue };
            if now.len() < WATCHED_MOST || now.contains_key(&file) {
                now.entry(file).or_insert_with(|| Served::of(engine, listener));
            } else {
                left_out.push(Served::of(engine, listener));
            }
        }
    }
    (now, left_out)
}

fn not_watched(served: &Served, answer: impl std::fmt::Display) -> Gap {
    let hides = if served.of_user { Hides::Identity } else { Hides::Client };
    let asked = format_args!("the kernel for connects to {}", served.name);
    Gap::new(Reason::LimitReached, hides, asked, answer)
}

impl Losses {
    fn add(&mut self, other: &Self) {
        let both = |these: &mut [u64; 2], others: [u64; 2]| these.iter_mut().zip(others).for_each(|(n, m)| *n += m);
        both(&mut self.connects, other.connects);
        both(&mut self.removed, other.removed);
        both(&mut self.ended, other.ended);
        self.requests += other.requests;
    }

    fn add_gaps(self, gaps: &mut Vec<Gap>) {
        let asked = "the kernel for connects";
        let mut add = |reason, counts: [u64; 2], answer: &dyn Fn(u64) -> String| {
            for (count, hides) in counts.into_iter().zip([Hides::Client, Hides::Identity]) {
                if count > 0 {
                    Gap::new(reason, hides, asked, answer(count)).fold_into(gaps);
                }
            }
        };
        add(Reason::LimitReached, self.connects, &|lost| {
            format!("the ring was full; {lost} connects could not be named")
        });
        add(Reason::HostError, self.removed, &|removed| {
            format!("another program removed {removed} sockets from castoff's map")
        });
        add(Reason::HostError, self.ended, &|clients| {
            format!("{clients} clients connected to engines that ended before the look")
        });
        if self.requests > 0 {
            let answer = format!("the ring was full; {} requests are not known", self.requests);
            Gap::new(Reason::LimitReached, Hides::Detail, "the kernel for requests", answer).fold_into(gaps);
        }
    }
}

/// Returns the refusal of a method that runs and did not report castoff's own connect.
fn failed_test(method: ConnectMethod, failure: &str) -> RefusedMethod {
    RefusedMethod {
        method,
        answer: format!("the self-test failed: {failure}"),
    }
}

/// Two clocks, read at the same moment. Records count nanoseconds since boot.
struct Clocks {
    wall: Timestamp,
    now: SystemTime,
    boot: Duration,
}

impl Clocks {
    fn read() -> Self {
        let now = SystemTime::now();
        let boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        Self {
            wall: now.into(),
            now,
            boot,
        }
    }

    fn time_of(&self, nanoseconds: u64) -> Timestamp {
        let ago = self.boot.saturating_sub(Duration::from_nanos(nanoseconds));
        self.now.checked_sub(ago).map_or(self.wall, Timestamp::from)
    }
}

/// Locks `running`, even if a thread panicked while it held the lock.
pub(super) fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the ring buffer until the last owner of `running` is gone, and runs the self-test when it is due.
pub(super) fn keep_reading(running: &Arc<Mutex<Running>>, mut test: Option<Schedule>) -> io::Result<()> {
    repeat("connects", running, move |running| {
        lock(running).read();
        if let Some(test) = &mut test {
            test.test(running);
        }
    })
}

/// Follows the listeners' files below `root` until the last owner of `running` is gone. A path that hangs blocks this
/// thread alone: no lock is held during stat(2).
pub(super) fn keep_following(running: &Arc<Mutex<Running>>, root: PathBuf) -> io::Result<()> {
    repeat("connects-files", running, move |running| {
        let Ok(root) = Rooted::open(&root) else { return };
        let followed = lock(running).followed();
        for (file, path) in followed {
            if let Ok((now, FileType::Socket)) = root.read_identity(&path) {
                lock(running).follow(file, now);
            }
        }
    })
}

/// Does `work` every [`PAUSE`], on a thread of the given name.
fn repeat(
    name: &str,
    running: &Arc<Mutex<Running>>,
    mut work: impl FnMut(&Mutex<Running>) + Send + 'static,
) -> io::Result<()> {
    let running = Arc::downgrade(running);
    let work = move || {
        while let Some(running) = running.upgrade() {
            work(&running);
            drop(running);
            thread::sleep(PAUSE);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::Listener;
    use crate::model::sample::dockerd;

    #[test]
    fn listeners_of_users_leave_room_for_those_of_the_node() {
        let of = |uid: u32, inodes: std::ops::Range<u32>| {
            let mut engine = dockerd();
            engine.process.as_mut().expect("it runs").uid = Some(uid);
            let listener = engine.listeners[0].clone();
            let listeners = inodes.map(|inode| Listener {
                id: ListenerId::File(FileIdentity::from_stat(0x19, inode.into())),
                ..listener.clone()
            });
            engine.listeners = listeners.collect();
            engine
        };
        let most = u32::try_from(WATCHED_MOST).expect("it is small");
        let engines = [of(1000, 1..most + 2), of(0, 5000..5002)];
        let (now, left_out) = choose(&engines);
        let of_node = now.values().filter(|served| !served.of_user).count();
        assert_eq!((now.len(), of_node), (WATCHED_MOST, 2));
        assert_eq!(left_out.iter().filter(|served| served.of_user).count(), 3);
    }
}
