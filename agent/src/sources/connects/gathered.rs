//! The clients that connected since the previous look. Each is described from its process if the process still runs,
//! and otherwise from the kernel's record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::record::{Origin, Record};
use crate::model::connect::{Attributions, Connects};
use crate::model::identity::{Device, FileIdentity};
use crate::model::process::Process;
use crate::model::request::{Request, Requests};
use crate::model::socket::ListenerId;
use crate::model::time::Timestamp;
use crate::model::workload::Membership;
use crate::sources::kernel::bpf::ticks;
use crate::sources::kernel::cgroups;
use crate::sources::kernel::process::ProcessDirectory;
use crate::sources::kernel::rooted::Rooted;

/// The most clients of one listener that are kept separately until the next look. The connects of all others count as
/// those of one client without a name, so a flood at one listener displaces no client of another.
const PER_LISTENER: usize = 256;

/// The directories that are searched for the program of a process that has ended: the shell's usual search path.
const PROGRAMS: [&str; 6] = [
    "/usr/bin",
    "/usr/local/bin",
    "/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/sbin",
];

/// The number of programs whose paths are remembered.
const PROGRAMS_KEPT: usize = 256;

/// The connects of one client to one listener.
#[derive(Clone, Debug)]
struct Group {
    process: Option<Process>,
    /// True if the description was read from the process itself.
    alive: bool,
    count: u64,
    first: Timestamp,
    last: Timestamp,
    requests: Requests,
}

/// The clients of each listener.
type Groups = BTreeMap<FileIdentity, BTreeMap<Option<Origin>, Group>>;

/// The connects that no look has taken in.
#[derive(Debug)]
pub(super) struct Gathered {
    proc: PathBuf,
    root: PathBuf,
    groups: Groups,
    /// The connects of the last answer, until it is confirmed.
    answered: Groups,
    /// The paths of programs of the host that a process was seen to run, by device and inode of their files.
    programs: BTreeMap<(u32, u64), String>,
    pub(super) attributed: Attributions,
}

impl Gathered {
    pub(super) const fn new(proc: PathBuf, root: PathBuf) -> Self {
        Self {
            proc,
            root,
            groups: BTreeMap::new(),
            answered: BTreeMap::new(),
            programs: BTreeMap::new(),
            attributed: Attributions {
                process: 0,
                record: 0,
                none: 0,
            },
        }
    }

    /// Adds one connect at the time `at`.
    pub(super) fn add(&mut self, record: &Record, at: Timestamp) {
        let group = self.group_of(record, at);
        group.add(1, at);
        let alive = group.process.is_some().then_some(group.alive);
        self.attributed.count(alive, 1);
    }

    /// Adds one request of the process in `record`, at the time `at`.
    pub(super) fn add_request(&mut self, record: &Record, request: Request, at: Timestamp) {
        let group = self.group_of(record, at);
        if group.count == 0 {
            group.last = group.last.max(at);
        }
        group.requests.add(request, at);
    }

    /// Returns the group of a record's client, or the group without a name where there are too many clients.
    fn group_of(&mut self, record: &Record, at: Timestamp) -> &mut Group {
        let Self {
            proc,
            root,
            groups,
            programs,
            ..
        } = self;
        let groups = groups.entry(record.listener).or_default();
        let origin = Some(record.origin.clone());
        let is_named = groups.len() < PER_LISTENER || groups.contains_key(&origin);
        let key = origin.filter(|_| is_named);
        groups.entry(key).or_insert_with_key(|key| match key {
            Some(_) => Group::of(record, proc, root, programs, at),
            None => Group::new(None, false, at),
        })
    }

    /// Adds connects for which there is no record, so that their client is not known.
    pub(super) fn add_unnamed(&mut self, listener: FileIdentity, count: u64, at: Timestamp) {
        let groups = self.groups.entry(listener).or_default();
        groups
            .entry(None)
            .or_insert_with(|| Group::new(None, false, at))
            .add(count, at);
        self.attributed.count(None, count);
    }

    /// Takes the connects to the listeners for which `name` returns an ID. The others stay.
    pub(super) fn take(&mut self, name: &dyn Fn(FileIdentity) -> Option<ListenerId>) -> Vec<Connects> {
        let mut taken = Vec::new();
        self.groups.retain(|file, groups| {
            let Some(listener) = name(*file) else { return true };
            taken.extend(groups.values().cloned().map(|group| Connects {
                listener: listener.clone(),
                process: group.process,
                count: group.count,
                first: group.first,
                last: group.last,
                requests: group.requests,
            }));
            self.answered.insert(*file, std::mem::take(groups));
            false
        });
        taken
    }

    /// Drops the connects that the last answer had if it `arrived`; otherwise the next answer has them too.
    pub(super) fn confirm(&mut self, arrived: bool) {
        let answered = std::mem::take(&mut self.answered);
        for (file, groups) in answered.into_iter().filter(|_| !arrived) {
            let newer = self.groups.insert(file, groups).unwrap_or_default();
            let groups = self.groups.entry(file).or_default();
            for (origin, group) in newer {
                if let Some(older) = groups.get_mut(&origin) {
                    older.absorb(&group);
                } else if groups.len() < PER_LISTENER {
                    groups.insert(origin, group);
                } else {
                    let unnamed = || Group::new(None, false, group.first);
                    groups.entry(None).or_insert_with(unnamed).absorb(&group);
                }
            }
        }
    }

    /// Returns the number of clients of a listener that were not taken.
    pub(super) fn clients_of(&self, listener: FileIdentity) -> u64 {
        self.groups.get(&listener).map_or(0, |groups| groups.len() as u64)
    }

    /// True if the last answer had connects to a listener, and is not confirmed yet.
    pub(super) fn has_answered(&self, listener: FileIdentity) -> bool {
        self.answered.contains_key(&listener)
    }

    /// Drops the connects to listeners that are not `kept`.
    pub(super) fn retain(&mut self, kept: &dyn Fn(FileIdentity) -> bool) {
        self.groups.retain(|file, _| kept(*file));
    }
}

impl Group {
    /// Creates the group of a record's process. It is read from the process itself while that runs, and otherwise from
    /// the record.
    fn of(
        record: &Record,
        proc: &Path,
        root: &Path,
        programs: &mut BTreeMap<(u32, u64), String>,
        at: Timestamp,
    ) -> Self {
        let alive = read_process(proc, record);
        let is_alive = alive.is_some();
        if let Some(path) = alive.as_ref().and_then(path_on_host) {
            if programs.len() >= PROGRAMS_KEPT {
                programs.pop_first();
            }
            programs.insert(record.origin.program_file, path.to_owned());
        }
        let process = alive.unwrap_or_else(|| described_by(record, proc, root, programs));
        Self::new(Some(process), is_alive, at)
    }

    fn new(process: Option<Process>, alive: bool, at: Timestamp) -> Self {
        Self {
            process,
            alive,
            count: 0,
            first: at,
            last: at,
            requests: Requests::default(),
        }
    }

    fn add(&mut self, count: u64, at: Timestamp) {
        if self.count == 0 {
            // Until now there were only requests, on connections that were opened earlier.
            (self.first, self.last) = (at, at);
        }
        self.count = self.count.saturating_add(count);
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    /// Adds later connects and requests.
    fn absorb(&mut self, later: &Self) {
        if later.count > 0 {
            self.add(later.count, later.first);
        }
        self.last = self.last.max(later.last);
        self.requests.absorb(&later.requests);
    }
}

impl Attributions {
    /// Counts the connects of a process that was alive (true), had ended (false) or is not known (none).
    const fn count(&mut self, alive: Option<bool>, connects: u64) {
        let counter = match alive {
            Some(true) => &mut self.process,
            Some(false) => &mut self.record,
            None => &mut self.none,
        };
        *counter = counter.saturating_add(connects);
    }
}

/// Reads the process of a record, if it still runs the same program. A process that is exiting, or has executed another
/// program, is described from its record alone.
fn read_process(proc: &Path, record: &Record) -> Option<Process> {
    let directory = ProcessDirectory::open(&proc.join(record.process.pid.to_string())).ok()?;
    let stat = directory.read_stat().ok()?;
    if stat.start != record.process.start {
        return None;
    }
    let directory = directory.of_living();
    let groups = directory.read_cgroups().ok()?;
    let is_same = |path: &String| path.rsplit('/').next() == Some(&record.origin.program);
    let executable = directory.read_executable().ok().flatten().filter(is_same)?;
    // In castoff's user namespace, like the user of a process that holds a connection.
    let uid = directory.read_status().ok().and_then(|status| status.uid());
    let may_have_connected =
        || uid == Some(record.origin.uid) && Membership::may_be_of(&groups, record.origin.groups.as_bytes());
    if connected_in_its_first_tick(record) && !may_have_connected() {
        return None;
    }
    Some(Process {
        executable: Some(executable),
        uid,
        ..record.describe(cgroups::read_membership(proc, &groups))
    })
}

/// True if a process that ended right after the connect and a later one with its ID may have the same start time.
const fn connected_in_its_first_tick(record: &Record) -> bool {
    ticks(record.time) == record.process.start
}

/// Returns the path of a process's program if the process is in no container.
fn path_on_host(process: &Process) -> Option<&str> {
    let is_of_host = process.membership.containers.is_empty();
    process.executable.as_deref().filter(|_| is_of_host)
}

/// Describes the process of a record that has ended.
fn described_by(record: &Record, proc: &Path, root: &Path, programs: &BTreeMap<(u32, u64), String>) -> Process {
    let membership = cgroups::read_recorded(proc, record.origin.groups.as_bytes(), record.origin.uid);
    let is_of_host = membership.containers.is_empty();
    // The inode of a deleted file may be reused.
    let is_same = |path: &&String| path.rsplit('/').next() == Some(&record.origin.program);
    let remembered = || programs.get(&record.origin.program_file).filter(is_same).cloned();
    let find = || remembered().or_else(|| find_program(root, &record.origin));
    Process {
        executable: is_of_host.then(find).flatten(),
        ..record.describe(membership)
    }
}

/// Returns the path of a host's program if the executed file itself is in one of the usual directories.
fn find_program(root: &Path, origin: &Origin) -> Option<String> {
    let root = Rooted::open(root).ok()?;
    let (device, inode) = origin.program_file;
    #[expect(clippy::cast_possible_truncation, reason = "truncated like in FileIdentity")]
    let executed = FileIdentity {
        device: Device::from_kernel(device),
        inode: inode as u32,
    };
    let mut paths = PROGRAMS.iter().map(|folder| format!("{folder}/{}", origin.program));
    paths.find(|path| root.read_identity(path).is_ok_and(|(file, _)| file == executed))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::bytes;
    use super::*;
    use crate::sources::recorded::RecordedHost;

    const NOW: Timestamp = Timestamp::from_unix(1_000);
    const SERVICE: &str = "cron.service/system.slice//";

    fn record(program: &str, group: &str) -> Record {
        Record::parse(&bytes(program, group)).expect("it is one")
    }

    fn gathered(host: &RecordedHost) -> Gathered {
        Gathered::new(host.paths().proc, host.paths().root)
    }

    fn take(gathered: &mut Gathered) -> Vec<Connects> {
        gathered.take(&|file| Some(ListenerId::File(file)))
    }

    /// Adds process 4711, with the start time in the records.
    fn running(host: &RecordedHost, start: u64) {
        let line = format!("4711 (curl) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {start} 1 1\n");
        let process = host.process(4711, 1, "curl").file("stat", line);
        process.exe("/opt/own/curl").cgroup("/system.slice/of-now.service");
    }

    #[test]
    fn connects_of_one_client_are_counted_and_not_listed() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        for at in [5, 3, 9] {
            gathered.add(&record("curl", SERVICE), Timestamp::from_unix(at));
        }
        gathered.add(&record("wget", SERVICE), NOW);
        let connects = take(&mut gathered);
        let figures = |c: &Connects| (c.count, c.first.as_unix(), c.last.as_unix());
        assert_eq!(
            connects.iter().map(figures).collect::<Vec<_>>(),
            [(3, 3, 9), (1, 1_000, 1_000)]
        );
        assert_eq!(gathered.attributed.record, 4);
        assert!(take(&mut gathered).is_empty());
    }

    #[test]
    fn a_running_process_is_read_and_another_with_its_pid_is_not() {
        for (start, executable, unit) in [
            (8_999, Some("/opt/own/curl"), "of-now.service"),
            (9_000, None, "cron.service"),
        ] {
            let host = RecordedHost::new();
            running(&host, start);
            let mut gathered = gathered(&host);
            gathered.add(&record("curl", SERVICE), NOW);
            let process = take(&mut gathered).remove(0).process.expect("a record names it");
            assert_eq!(process.executable.as_deref(), executable, "{start}");
            let of = process.membership.unit.expect("it is in one").to_string();
            assert_eq!(of, unit, "{start}");
        }
    }

    /// Two processes with one ID that started in the same tick of proc(5), of which the first connected immediately.
    #[test]
    fn a_process_of_the_same_tick_is_the_one_that_connected_only_in_its_cgroup() {
        for (group, controllers, is_read) in [
            ("/system.slice/cron.service", "", true),
            ("/../cron.service", "", true),
            ("/..", "", true),
            ("/system.slice/of-now.service", "", false),
            ("/../of-now.service", "", false),
            ("/", "", false),
            ("/system.slice/of-now.service", "name=systemd", true),
        ] {
            let host = RecordedHost::new();
            running(&host, 8_999);
            let file = host.paths().proc.join("4711/cgroup");
            std::fs::write(file, format!("0:{controllers}:{group}\n")).expect("it can be written");
            let mut record = record("curl", SERVICE);
            record.origin.uid = 0;
            record.time = 89_999_999_999;
            let mut gathered = gathered(&host);
            gathered.add(&record, NOW);
            let expected = [u64::from(is_read), u64::from(!is_read), 0];
            assert_eq!(
                gathered.attributed.by_source().map(|(_, n)| n),
                expected,
                "{controllers}:{group}"
            );
            record.origin.uid = 33;
            gathered.add(&record, NOW);
            assert_eq!(gathered.attributed.process, expected[0], "another user");
        }
    }

    #[test]
    fn an_ended_client_in_a_users_own_cgroup_accuses_no_container() {
        let host = RecordedHost::new();
        let owner = host.delegated_group("/system.slice/ci.service");
        let group = format!("docker-{}.scope/ci.service/system.slice//", "4f2a".repeat(16));
        let mut gathered = gathered(&host);
        gathered.add(&record("curl", &group), NOW);
        let process = take(&mut gathered).remove(0).process.expect("a record names it");
        let users: Vec<_> = process.membership.containers.iter().map(|c| c.user).collect();
        assert_eq!(users, [Some(owner)]);
    }

    #[test]
    fn an_ended_client_in_a_removed_cgroup_accuses_no_container() {
        let id = "4f2a".repeat(16);
        let pod = format!("cri-containerd-{id}.scope/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a/kubepods//");
        for (uid, group, claimed_by) in [
            (33, format!("docker-{id}.scope/ci.service/system.slice//"), Some(33)),
            (33, pod.replace("//", "/ci.service/system.slice//"), Some(33)),
            (0, format!("docker-{id}.scope/ci.service/system.slice//"), None),
            // a container that has ended, and one in a part of the hierarchy that castoff does not see
            (33, format!("docker-{id}.scope/system.slice//"), None),
            (33, pod.clone(), None),
            (33, format!("{id}/docker//"), None),
        ] {
            let host = RecordedHost::new();
            let init = host.paths().proc.join("1");
            std::fs::create_dir_all(&init).expect("fresh");
            std::os::unix::fs::symlink(host.paths().root, init.join("root")).expect("fresh");
            for outer in ["system.slice", "kubepods"] {
                host.file(&format!("/sys/fs/cgroup/{outer}/cgroup.procs"), "");
            }
            let mut record = record("curl", &group);
            record.origin.uid = uid;
            let mut gathered = gathered(&host);
            gathered.add(&record, NOW);
            let process = take(&mut gathered).remove(0).process.expect("a record names it");
            let users: Vec<_> = process.membership.containers.iter().map(|c| c.user).collect();
            assert_eq!(users, [claimed_by], "{uid} {group}");
        }
    }

    #[test]
    fn a_program_executed_after_the_connect_is_not_named() {
        let host = RecordedHost::new();
        running(&host, 8_999);
        let mut gathered = gathered(&host);
        gathered.add(&record("docker", SERVICE), NOW);
        let process = take(&mut gathered).remove(0).process.expect("a record names it");
        assert_eq!((process.executable.as_deref(), process.program()), (None, "docker"));
    }

    #[test]
    fn the_program_of_an_ended_process_is_found_by_its_file() {
        use std::os::unix::fs::MetadataExt;
        let host = RecordedHost::new();
        let file = std::fs::metadata(host.file("/usr/bin/docker", "")).expect("a file");
        let mut record = record("docker", SERVICE);
        let mut gathered = gathered(&host);
        gathered.add(&record, NOW);
        record.origin.program_file = (Device::from_stat(file.dev()).to_kernel(), file.ino());
        gathered.add(&record, NOW);
        let found: Vec<_> = take(&mut gathered)
            .into_iter()
            .filter_map(|c| c.process?.executable)
            .collect();
        assert_eq!(
            found,
            ["/usr/bin/docker"],
            "another file of that name is another program"
        );
    }

    #[test]
    fn a_program_that_ended_has_the_path_of_an_earlier_run() {
        let host = RecordedHost::new();
        running(&host, 8_999);
        let mut gathered = gathered(&host);
        gathered.add(&record("curl", SERVICE), NOW);
        assert_eq!(take(&mut gathered).len(), 1);
        let mut later = record("curl", SERVICE);
        later.process.start += 5;
        for (file, path) in [(77, Some("/opt/own/curl")), (78, None)] {
            later.origin.program_file.1 = file;
            gathered.add(&later, NOW);
            let process = take(&mut gathered).remove(0).process.expect("a record names it");
            assert_eq!(process.executable.as_deref(), path, "inode {file}");
        }
        let mut other = record("wget", SERVICE);
        other.process.start += 5;
        gathered.add(&other, NOW);
        let process = take(&mut gathered).remove(0).process.expect("a record names it");
        assert_eq!(process.executable, None, "another program got the inode");
    }

    /// A process that has exited and is not reaped yet still has its start time and its cgroups, but no executable.
    #[test]
    fn an_exiting_process_is_described_like_an_ended_one() {
        use std::os::unix::fs::MetadataExt;
        let host = RecordedHost::new();
        let file = std::fs::metadata(host.file("/usr/bin/docker", "")).expect("a file");
        let line = "4711 (docker) Z 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8999 1 1\n";
        let exiting = host.process(4711, 1, "docker").file("stat", line);
        exiting.cgroup("/system.slice/cron.service");
        let mut record = record("docker", SERVICE);
        record.origin.program_file = (Device::from_stat(file.dev()).to_kernel(), file.ino());
        let mut gathered = gathered(&host);
        gathered.add(&record, NOW);
        let process = take(&mut gathered).remove(0).process.expect("a record names it");
        assert_eq!(process.executable.as_deref(), Some("/usr/bin/docker"));
        assert_eq!(gathered.attributed.record, 1);
    }

    #[test]
    fn a_flood_of_clients_is_one_client_without_a_name() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        let more = 50;
        for n in 0..PER_LISTENER + more {
            gathered.add(&record(&format!("p{n}"), SERVICE), NOW);
        }
        let mut other = record("curl", SERVICE);
        other.listener.inode += 1;
        gathered.add(&other, NOW);
        let connects = take(&mut gathered);
        assert_eq!(connects.len(), PER_LISTENER + 2);
        let unnamed: Vec<u64> = connects
            .iter()
            .filter(|c| c.process.is_none())
            .map(|c| c.count)
            .collect();
        assert_eq!(unnamed, [more as u64]);
        let figures = gathered.attributed.by_source().map(|(_, n)| n);
        assert_eq!(figures, [0, PER_LISTENER as u64 + 1, more as u64]);
    }

    #[test]
    fn an_answer_that_did_not_arrive_is_repeated() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        let mut answers = Vec::new();
        for (at, arrived) in [(1, true), (2, false), (3, false), (4, true)] {
            gathered.add(&record("curl", SERVICE), Timestamp::from_unix(at));
            gathered.confirm(arrived);
            let one = take(&mut gathered).remove(0);
            answers.push((one.count, one.first.as_unix(), one.last.as_unix()));
        }
        assert_eq!(answers, [(1, 1, 1), (2, 1, 2), (3, 1, 3), (1, 4, 4)]);
        gathered.confirm(false);
        assert_eq!(take(&mut gathered).len(), 1, "without a new connect, too");
        gathered.confirm(true);
        assert!(take(&mut gathered).is_empty());
        assert_eq!(gathered.attributed.record, 4, "each is counted once");
    }

    #[test]
    fn repeated_answers_are_bounded() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        for round in 0..3 {
            for n in 0..PER_LISTENER {
                gathered.add(&record(&format!("p{n} of {round}"), SERVICE), NOW);
            }
            gathered.confirm(false);
            take(&mut gathered);
        }
        gathered.confirm(false);
        let connects = take(&mut gathered);
        assert_eq!(connects.len(), PER_LISTENER + 1);
        let all: u64 = connects.iter().map(|c| c.count).sum();
        assert_eq!(all, 3 * PER_LISTENER as u64);
    }

    #[test]
    fn connects_of_an_unknown_listener_are_kept() {
        let host = RecordedHost::new();
        let mut gathered = gathered(&host);
        gathered.add(&record("curl", SERVICE), NOW);
        assert!(gathered.take(&|_| None).is_empty());
        assert_eq!(take(&mut gathered).len(), 1);
    }
}
