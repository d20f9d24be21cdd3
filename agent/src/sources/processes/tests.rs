use std::fs;

use super::*;
use crate::sources::recorded::RecordedHost;

fn table(host: &RecordedHost) -> (ProcessTable, Vec<Gap>) {
    match host.reader().read_table() {
        Sighting {
            reading: crate::model::reading::Reading::Known(table),
            gaps,
        } => (table, gaps),
        other => panic!("no table: {other:?}"),
    }
}

fn only_hides(gaps: &[Gap]) -> Vec<(Reason, Hides, u32)> {
    gaps.iter().map(|g| (g.reason, g.hides, g.count)).collect()
}

#[test]
fn rows_are_by_ascending_pid_and_match_the_kernel() {
    let host = RecordedHost::new();
    host.process(300, 1, "dockerd")
        .exe("/usr/bin/dockerd (deleted)")
        .netns(7);
    host.process(2, 0, "kthreadd"); // a kernel thread has no exe
    host.process(40, 2, "a) S (b").exe("/opt/my (deleted) tool");
    fs::create_dir(host.paths().proc.join("sys")).expect("a fresh directory");
    let (table, gaps) = table(&host);
    assert_eq!(gaps, []);
    let rows: Vec<_> = table
        .entries
        .iter()
        .map(|e| {
            (
                e.key.pid.0,
                e.key.start,
                e.parent.0,
                &*e.name,
                e.executable.as_deref(),
                e.netns.map(|n| n.0),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (2, 20, 0, "kthreadd", None, Some(4_026_531_840)),
            (
                40,
                400,
                2,
                "a) S (b",
                Some("/opt/my (deleted) tool"),
                Some(4_026_531_840)
            ),
            (300, 3000, 1, "dockerd", Some("/usr/bin/dockerd"), Some(7)),
        ]
    );
    assert_eq!(table.get(Pid(40)).map(|e| e.key.start), Some(400));
    assert_eq!(table.get(Pid(41)), None);
}

#[test]
fn a_process_that_ended_is_left_out_and_a_malformed_one_is_counted() {
    let host = RecordedHost::new();
    host.process(10, 1, "sh");
    fs::create_dir(host.paths().proc.join("11")).expect("a fresh directory"); // its files are gone
    host.process(12, 1, "sh").file("stat", "12 (sh) S");
    host.process(13, 1, "sh").file("stat", vec![b'('; 1 << 20]);
    host.process(14, 1, "sh").link("ns/net", "net:[many]");
    let (table, gaps) = table(&host);
    assert_eq!(table.entries.iter().map(|e| e.key.pid.0).collect::<Vec<_>>(), [10, 14]);
    assert_eq!(
        only_hides(&gaps),
        [
            (Reason::Malformed, Hides::Engine, 2),
            (Reason::Malformed, Hides::Client, 3)
        ]
    );
}

#[test]
fn an_unreadable_executable_hides_an_engine_unless_a_kernel_thread_has_none() {
    let host = RecordedHost::new();
    // Not a link: an error that means neither absence nor the end of the process.
    host.process(10, 1, "sh").file("exe", "");
    let thread = "11 (kworker) S 2 0 0 0 -1 2129984 0 0 0 0 0 7 0 0 20 0 1 0 110 0 0\n";
    host.process(11, 2, "kworker").file("exe", "").file("stat", thread);
    let (_, gaps) = table(&host);
    assert_eq!(only_hides(&gaps), [(Reason::HostError, Hides::Engine, 1)]);
    assert_eq!(gaps[0].asked, "/proc/10/exe");
}

#[test]
fn no_procfs_is_unknown_and_never_an_empty_table() {
    let host = RecordedHost::new();
    let empty = host.reader().read_table();
    assert!(empty.reading.known().is_none());
    assert_eq!(
        empty.all_gaps().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
        [(Reason::NotFound, Hides::Client), (Reason::NotFound, Hides::Engine)]
    );
    let missing = ProcessReader::new("/nonexistent".into()).read_table();
    assert_eq!(missing.reading.gap().map(|g| g.reason), Some(Reason::NotFound));
}

#[test]
fn hidepid_hides_engines_and_clients_if_castoff_may_not_trace() {
    let mount = |options: &str| format!("22 27 0:21 / /proc rw,relatime - proc proc {options}\n");
    let gaps_of = |options: &str, capabilities: &str, init_seen: bool| {
        let host = RecordedHost::new();
        if init_seen {
            host.process(1, 0, "systemd");
        }
        let castoff = host.process(9, 1, "castoff");
        castoff
            .file("mountinfo", mount(options))
            .file("status", format!("Name:\tcastoff\nCapEff:\t{capabilities}\n"));
        std::os::unix::fs::symlink("9", host.paths().proc.join("self")).expect("a link can be made");
        table(&host).1.len()
    };
    let (none, trace, all_but_trace) = ("0000000000000000", "0000000000080000", "000001fffff7ffff");
    for (options, capabilities, init_seen, gaps) in [
        ("rw", none, false, 0),
        ("rw,hidepid=0", none, false, 0),
        ("rw,hidepid=off", none, false, 0),
        ("rw,hidepid=2", none, false, 2),
        ("rw,hidepid=invisible", none, false, 2),
        ("rw,hidepid=ptraceable", none, false, 2),
        ("rw,hidepid=invisible", trace, true, 0),
        ("rw,hidepid=invisible", all_but_trace, true, 2),
        ("rw,gid=4,hidepid=invisible", none, true, 0),
        ("rw,gid=4,hidepid=invisible", none, false, 2),
    ] {
        assert_eq!(
            gaps_of(options, capabilities, init_seen),
            gaps,
            "{options} {capabilities} {init_seen}"
        );
    }
}

#[test]
fn a_reused_pid_is_another_process() {
    let host = RecordedHost::new();
    host.process(10, 1, "sh").socket(17).arguments(&["sh"]);
    let (table, _) = table(&host);
    let mut entry = table.entries[0].clone();
    assert!(host.reader().describe(&entry).is_some());
    entry.key.start += 1;
    assert_eq!(host.reader().describe(&entry), None);
    let kind = |error: io::Error| error.kind();
    assert_eq!(
        host.reader().read_arguments(entry.key).map_err(kind),
        Err(io::ErrorKind::NotFound)
    );
    assert_eq!(
        host.reader().read_sockets(entry.key, &mut |_, _| {}).map_err(kind),
        Err(io::ErrorKind::NotFound)
    );
    entry.key.pid = Pid(11);
    assert_eq!(
        host.reader().read_sockets(entry.key, &mut |_, _| {}).map_err(kind),
        Err(io::ErrorKind::NotFound)
    );
}

#[test]
fn sockets_are_distinguished_from_other_descriptors() {
    let host = RecordedHost::new();
    host.process(10, 1, "sh")
        .socket(17)
        .socket(u32::MAX)
        .link("fd/90", "/var/socket:[18]")
        .link("fd/91", "socket:[x]")
        .link("fd/92", "pipe:[19]")
        .link("fd/93", &format!("socket:[{}]", "1".repeat(200)))
        .file("fd/94", "no link at all");
    let (table, _) = table(&host);
    let mut seen = Vec::new();
    host.reader()
        .read_sockets(table.entries[0].key, &mut |_, inode| seen.push(inode.0))
        .expect("the recorded process is readable");
    seen.sort_unstable();
    assert_eq!(seen, [17, u32::MAX]);
}

#[test]
fn arguments_are_bounded_and_decoded_lossily() {
    let host = RecordedHost::new();
    host.process(10, 1, "java")
        .file("cmdline", [b"java\0\xff\0".to_vec(), vec![b'x'; 1 << 20]].concat());
    host.process(11, 1, "kthread").file("cmdline", "");
    host.process(12, 1, "sh").arguments(&["sh", "", "-c"]);
    let (table, _) = table(&host);
    let read = |at: usize| {
        host.reader()
            .read_arguments(table.entries[at].key)
            .expect("it is readable")
    };
    let long = read(0);
    assert_eq!(&long[..2], ["java", "\u{fffd}"]);
    assert_eq!(long[2].len(), 64 * 1024 - 7);
    assert_eq!(read(1), Vec::<String>::new());
    assert_eq!(read(2), ["sh", "", "-c"]);
}

#[test]
fn a_description_has_only_what_could_be_read() {
    let host = RecordedHost::new();
    host.process(10, 1, "sh")
        .file("status", "Name:\tUid: 7\nUid:\t1000\t0\t0\t0\n");
    host.process(11, 1, "sh").file("status", "Name:\tsh\nUid:\t\n");
    let (table, _) = table(&host);
    let uid = |at: usize| host.reader().describe(&table.entries[at]).expect("it is there").uid;
    assert_eq!(uid(0), Some(1000), "the real one, of the line that begins so");
    assert_eq!(uid(1), None);
}

#[test]
fn a_refused_namespace_is_known_from_a_process_with_the_same_tree() {
    let host = RecordedHost::new();
    let tree = |process: crate::sources::recorded::RecordedProcess<'_>, of: &str| {
        fs::create_dir(process.path("net")).expect("a fresh directory");
        let shared = host.file(of, ""); // procfs has one such file per namespace; here hard links replace it
        fs::hard_link(shared, process.path("net/unix")).expect("the same file system");
    };
    tree(host.process(10, 1, "castoff").netns(7), "one");
    tree(host.process(11, 1, "readable").netns(8), "two");
    let refused = |pid| netns::Refused {
        pid: Pid(pid),
        error: io::ErrorKind::PermissionDenied.into(),
    };
    tree(host.process(20, 1, "alike"), "two");
    tree(host.process(21, 1, "apart"), "three");
    let row = |entry| ProcessRow {
        entry,
        inode: 0,
        settled: false,
        kept: false,
    };
    let mut rows: Vec<ProcessRow> = table(&host).0.entries.into_iter().map(row).collect();
    for row in &mut rows[2..] {
        row.entry.netns = None;
    }
    let mut gaps = Vec::new();
    netns::find_alike(&host.paths().proc, &mut rows, vec![refused(20), refused(21)], &mut gaps);
    let found: Vec<_> = rows.iter().map(|row| row.entry.netns.map(|n| n.0)).collect();
    assert_eq!(found, [Some(7), Some(8), Some(8), None]);
    assert_eq!(only_hides(&gaps), [(Reason::PermissionDenied, Hides::Detail, 1)]);
    assert_eq!(gaps[0].asked, "/proc/21/ns/net");
}

#[test]
fn a_cgroup_below_one_that_a_user_owns_is_the_users_claim() {
    let host = RecordedHost::new();
    let owner = host.delegated_group("/system.slice/ci.service");
    let below = "kubepods/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a";
    let group = format!("/system.slice/ci.service/{below}/{}", "4f2a".repeat(16));
    host.process(40, 1, "tool").cgroup(&group);
    let (table, _) = table(&host);
    let entry = table.get(Pid(40)).expect("it is recorded");
    let described = host.reader().describe(entry).map(|process| process.membership);
    let read = host.reader().read_membership(entry.key).ok();
    for membership in [described, read] {
        let membership = membership.expect("it is readable");
        let users: Vec<_> = membership.containers.iter().map(|c| c.user).collect();
        assert_eq!((users, membership.pod_uid), (vec![Some(owner)], None));
    }
}

/// A script that executes a client while a look is under way: the look's table has the shell.
#[test]
fn a_process_that_executes_another_program_is_described_as_that_program() {
    let host = RecordedHost::new();
    let process = host.process(40, 1, "sh").exe("/usr/bin/dash");
    let (table, _) = table(&host);
    let entry = table.get(Pid(40)).expect("it is recorded");
    process.exe("/usr/bin/docker").file("comm", "docker\n");
    let described = host.reader().describe(entry).expect("it is there");
    assert_eq!(described.executable.as_deref(), Some("/usr/bin/docker"));
    assert_eq!(described.name, "docker");
}

/// Procfs has no files of a process whose first thread has ended, but has those of the remaining threads.
#[test]
fn a_process_is_read_from_a_remaining_thread_after_the_first_one_ended() {
    let host = RecordedHost::new();
    let process = host.process(40, 1, "client").cgroup("/");
    fs::remove_file(process.path("ns/net")).expect("it was made");
    for folder in ["task/40", "task/41/fd", "task/41/ns"] {
        fs::create_dir_all(process.path(folder)).expect("a fresh directory");
    }
    process
        .link("task/41/exe", "/usr/bin/client")
        .link("task/41/ns/net", "net:[7]")
        .link("task/41/fd/3", "socket:[17]")
        .file("task/41/cgroup", "0::/system.slice/ci.service\n")
        .file("task/41/comm", "worker\n");
    let (table, gaps) = table(&host);
    assert_eq!(gaps, []);
    let entry = table.get(Pid(40)).expect("it is recorded");
    assert_eq!(
        (entry.executable.as_deref(), entry.netns),
        (Some("/usr/bin/client"), Some(NetNs(7)))
    );
    let mut seen = Vec::new();
    let read = host
        .reader()
        .read_sockets(entry.key, &mut |_, inode| seen.push(inode.0));
    assert_eq!((read.is_ok(), seen), (true, vec![17]));
    let described = host.reader().describe(entry).expect("it is there");
    assert_eq!(described.key.pid, Pid(40));
    let unit = described.membership.unit.map(|unit| unit.to_string());
    assert_eq!(unit.as_deref(), Some("ci.service"));
}
