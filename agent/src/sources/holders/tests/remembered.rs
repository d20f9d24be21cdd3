//! Several looks in succession: every remembered holder is checked again, and every new holder is found in time.

use std::fs;

use super::*;
use crate::sources::recorded::RecordedHost;

/// The number of looks within which every holder is found.
const WITHIN: usize = 20;

struct Looks<'h> {
    host: &'h RecordedHost,
    tables: Node,
    reader: ProcessReader,
    memory: HolderMemory,
}

impl<'h> Looks<'h> {
    /// Starts at a host with one connection, which has socket 41 at the client's end.
    fn at(host: &'h RecordedHost) -> Self {
        fs::write(host.paths().proc.join("uptime"), "5000.00 9000.00\n").expect("a file");
        Self {
            host,
            tables: Node::new().round(&[(HOST, &[SocketFacts::accepted(40, NAME, FILE, 41)])]),
            reader: host.reader(),
            memory: HolderMemory::default(),
        }
    }

    /// Returns the pids that hold the connection, with the names of their programs.
    fn look(&mut self) -> Vec<(u32, String)> {
        let proc = self.host.paths().proc;
        let table = self.reader.read_table();
        let table = table.reading.known().expect("processes were recorded");
        let namespaces = find_namespaces(&proc, table);
        let view = ProcessView {
            proc: &proc,
            reader: &mut self.reader,
            table,
            namespaces: &namespaces,
            memory: &mut self.memory,
            iterator: &mut HolderIterator::off(),
        };
        let tables = &mut Rounds(self.tables.rounds.clone(), None);
        let seen = find_connections(tables, view, Watch::of(&[docker(&[])]), None);
        let connections = &seen.reading.known().expect("something was looked into").connections;
        let named = |holder: &Process| (holder.key.pid.0, holder.program().to_owned());
        connections.iter().flat_map(|c| c.holders.iter().map(named)).collect()
    }

    fn pids(&mut self) -> Vec<u32> {
        self.look().into_iter().map(|(pid, _)| pid).collect()
    }
}

/// Returns a host with processes 20 and 21, of which 20 holds the connection.
fn host() -> RecordedHost {
    let host = RecordedHost::new();
    host.process(1, 0, "init").exe("/sbin/init").netns(HOST.0);
    host.process(20, 1, "client")
        .exe("/bin/client")
        .netns(HOST.0)
        .socket(41);
    host.process(21, 1, "other").exe("/bin/other").netns(HOST.0).socket(7);
    host
}

#[test]
fn a_new_process_that_inherited_it_is_found_in_the_next_look() {
    let host = host();
    let mut looks = Looks::at(&host);
    assert_eq!(looks.pids(), [20]);
    for child in 30..30 + 20 {
        host.process(child, 20, "child")
            .exe("/bin/client")
            .netns(HOST.0)
            .socket(41);
        assert_eq!(looks.pids().last(), Some(&child));
    }
}

#[test]
fn an_old_process_that_received_it_is_found_within_the_stated_number_of_looks() {
    for receiver in [1, 21] {
        let host = host();
        let mut looks = Looks::at(&host);
        assert_eq!([looks.pids(), looks.pids()], [[20], [20]]);
        let link = host.paths().proc.join(format!("{receiver}/fd/900"));
        std::os::unix::fs::symlink("socket:[41]", link).expect("a link can be made");
        let found = (0..WITHIN).map(|_| looks.pids()).find(|pids| pids.contains(&receiver));
        assert_eq!(found.map(|pids| pids.len()), Some(2), "process {receiver}");
        // It stays found, together with the one that was known.
        assert!((0..2 * WITHIN).all(|_| looks.pids().len() == 2));
    }
}

/// A change to the host, whose connection is held through this descriptor.
type Change = fn(&RecordedHost, &Path);

#[test]
fn a_process_that_no_longer_holds_it_is_not_named() {
    let descriptor = |host: &RecordedHost| host.paths().proc.join("20/fd/3");
    let changes: [(&str, Change, &[u32]); 4] = [
        ("closed", |_, fd| fs::remove_file(fd).expect("it is there"), &[]),
        (
            "another socket by now",
            |host, _| {
                host.process(20, 1, "client")
                    .exe("/bin/client")
                    .netns(HOST.0)
                    .socket(42);
            },
            &[],
        ),
        (
            "by another descriptor",
            |_, fd| fs::rename(fd, fd.with_file_name("9")).expect("it is there"),
            &[20],
        ),
        (
            "ended",
            |host, _| fs::remove_dir_all(host.paths().proc.join("20")).expect("it is there"),
            &[],
        ),
    ];
    for (what, change, left) in changes {
        let host = host();
        let mut looks = Looks::at(&host);
        assert_eq!(looks.pids(), [20]);
        change(&host, &descriptor(&host));
        assert_eq!(looks.pids(), left, "{what}");
    }
}

#[test]
fn a_reused_pid_is_not_named_after_the_first_process() {
    let host = host();
    let mut looks = Looks::at(&host);
    assert_eq!(looks.look(), [(20, "client".to_owned())]);
    let directory = host.paths().proc.join("20");
    // The file is kept, so that its inode is not reused: the kernel would not reuse it either.
    fs::rename(&directory, host.folder().join("ended")).expect("it is there");
    let stat = "20 (heir) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7777 1 1\n";
    host.process(20, 1, "heir")
        .file("stat", stat)
        .exe("/bin/heir")
        .netns(HOST.0)
        .socket(41);
    assert_eq!(looks.look(), [(20, "heir".to_owned())]);
}

#[test]
fn a_holder_that_executes_another_program_is_named_after_that_at_once() {
    let host = host();
    let mut looks = Looks::at(&host);
    assert_eq!([looks.pids(), looks.pids()], [[20], [20]]);
    let executable = host.paths().proc.join("20/exe");
    fs::remove_file(&executable).expect("it is there");
    std::os::unix::fs::symlink("/bin/docker", &executable).expect("a link can be made");
    assert_eq!(looks.look(), [(20, "docker".to_owned())]);
}
