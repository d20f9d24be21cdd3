//! Hosts whose files call Docker, and files that cannot be read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode, mknodat};

use super::*;
use crate::sources::recorded::RecordedHost;

fn scan(host: &RecordedHost) -> (Vec<DockerCaller>, Vec<Gap>) {
    let root = Rooted::open(&host.paths().root).expect("a directory");
    let mut gaps = Vec::new();
    let found = find(&root, &mut gaps)
        .known()
        .cloned()
        .expect("a scan always has an answer");
    (found, gaps)
}

/// Returns the kind, the path, the line, and the file that names each.
fn calls(host: &RecordedHost) -> Vec<(&'static str, String, u32, Option<String>)> {
    let (found, gaps) = scan(host);
    assert_eq!(gaps, []);
    let row = |call: DockerCaller| (call.kind.code(), call.path, call.line, call.named_by);
    found.into_iter().map(row).collect()
}

#[test]
fn commands_of_units_cron_and_cloud_init_are_found_with_their_lines() {
    let host = RecordedHost::new();
    host.file(
        "etc/systemd/system/web.service",
        "[Unit]\nDescription=runs docker run\nAfter=docker.service\n[Service]\nExecStartPre=-/usr/bin/docker rm -f web\n\
         ExecStart=/usr/bin/docker run \\\n  --name web nginx\nExecStop=/bin/true\n",
    );
    host.file(
        "usr/lib/systemd/system/a.service.d/10.conf",
        "[Service]\nExecStartPost=/bin/sh -c 'docker ps'\n",
    );
    host.file("etc/systemd/system/web.socket", "ExecStartPre=docker ps\n");
    host.file(
        "etc/crontab",
        "SHELL=/bin/sh\n# docker ps\n0 * * * * root docker system prune -f\n",
    );
    host.file("etc/cron.d/backup job", "0 1 * * * root /usr/local/bin/backup --all\n");
    host.file(
        "var/spool/cron/crontabs/root",
        "@daily docker-compose -f /srv/c.yml pull\n",
    );
    host.file("etc/cron.weekly/prune", "#!/bin/sh\ndocker image prune -af\n");
    host.file(
        "etc/cloud/cloud.cfg.d/90.cfg",
        "packages:\n  - docker\nruncmd:\n  - [docker, run, -d, x]\n",
    );
    // One level: the script that a command names, and not the script that this one names.
    host.file(
        "usr/local/bin/backup",
        "#!/bin/bash\nset -e\n/usr/local/bin/deeper\ndocker exec db dump -p hunter2\n",
    );
    host.file("usr/local/bin/deeper", "#!/bin/bash\ndocker ps\n");
    let row = |kind, path: &str, line, by: Option<&str>| (kind, path.to_owned(), line, by.map(str::to_owned));
    assert_eq!(
        calls(&host),
        [
            row("unit", "/etc/systemd/system/web.service", 5, None),
            row("unit", "/etc/systemd/system/web.service", 6, None),
            row("unit", "/usr/lib/systemd/system/a.service.d/10.conf", 2, None),
            row("cron", "/etc/crontab", 3, None),
            row("cron", "/var/spool/cron/crontabs/root", 1, None),
            row("cron", "/etc/cron.weekly/prune", 2, None),
            row("cloud-init", "/etc/cloud/cloud.cfg.d/90.cfg", 4, None),
            row("script", "/usr/local/bin/backup", 4, Some("/etc/cron.d/backup job")),
        ]
    );
    assert!(!format!("{:?}", scan(&host)).contains("hunter2"));
}

#[test]
fn a_file_with_several_names_counts_once_and_programs_are_not_read() {
    let host = RecordedHost::new();
    host.file(
        "usr/lib/systemd/system/a.service",
        "ExecStart=/usr/bin/program docker ps\n",
    );
    host.file("usr/bin/program", "\x7fELF docker run x\n");
    host.link_in_root(
        "etc/systemd/system/multi-user.target.wants/a.service",
        "/usr/lib/systemd/system/a.service",
    );
    host.link_in_root("etc/systemd/system/b.service", "/usr/lib/systemd/system/a.service");
    host.link_in_root("etc/systemd/system/masked.service", "/dev/null");
    assert_eq!(calls(&host).len(), 1);
}

#[test]
fn a_host_without_these_files_has_no_calls() {
    assert_eq!(calls(&RecordedHost::new()), []);
}

/// Makes a file at a path.
type Make = fn(&Path);

#[test]
fn a_file_that_cannot_be_read_is_a_gap_and_hides_no_other() {
    let bad: [(&str, Make, Reason); 3] = [
        (
            "huge",
            |path| fs::write(path, vec![b'\n'; 300 * 1024]).expect("it may"),
            Reason::TooLarge,
        ),
        (
            "FIFO",
            |path| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("it may"),
            Reason::Malformed,
        ),
        (
            "a loop\n",
            |path| symlink(path.file_name().expect("it has one"), path).expect("it may"),
            Reason::HostError,
        ),
    ];
    for (name, make, reason) in bad {
        let host = RecordedHost::new();
        let good = host.file("etc/cron.d/good", "* * * * * root docker ps\n");
        make(&good.with_file_name(name));
        let (found, gaps) = scan(&host);
        assert_eq!(found.len(), 1, "{name:?}");
        let told: Vec<_> = gaps.iter().map(|gap| (gap.reason, gap.asked.clone())).collect();
        assert_eq!(told, [(reason, format!("/etc/cron.d/{name}"))]);
    }
}

#[test]
fn other_bytes_beside_a_call_do_not_hide_it() {
    let host = RecordedHost::new();
    host.file("etc/cron.d/a b\nc", b"\xff\xfe\n* * * * * root docker ps \xff\n");
    assert_eq!(calls(&host), [("cron", "/etc/cron.d/a b\nc".to_owned(), 2, None)]);
}

#[test]
fn a_name_that_is_not_utf_8_is_a_gap() {
    let host = RecordedHost::new();
    let good = host.file("etc/cron.d/good", "* * * * * root docker ps\n");
    fs::write(good.with_file_name(OsStr::from_bytes(b"\xff")), "docker ps\n").expect("it may");
    let (found, gaps) = scan(&host);
    assert_eq!(found.len(), 1);
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.answer.contains("UTF-8")),
        "{gaps:?}"
    );
}

#[test]
fn calls_beyond_the_limit_are_counted() {
    let host = RecordedHost::new();
    host.file("etc/crontab", "* * * * * root docker ps\n".repeat(100));
    let (found, gaps) = scan(&host);
    assert_eq!(found.len(), 64);
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.answer.contains("36 more")),
        "{gaps:?}"
    );
}
