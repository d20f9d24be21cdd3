//! A procfs made of ordinary files, for tests: what a kernel would show of processes that never ran. Panics where the
//! temporary directory does not let it write.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::HostPaths;
use super::processes::ProcessReader;

/// A host root and a procfs in one temporary directory.
#[derive(Debug)]
pub struct RecordedHost {
    dir: TempDir,
}

/// One process to be. Its start time is ten times its pid, its network namespace the host's.
#[derive(Debug)]
pub struct RecordedProcess<'a> {
    host: &'a RecordedHost,
    pid: u32,
    sockets: u32,
}

impl Default for RecordedHost {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordedHost {
    /// An empty procfs and an empty root.
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        fs::create_dir(dir.path().join("proc")).expect("a fresh directory");
        // A host's root has more; without anything of it, it would be taken for another directory.
        fs::create_dir_all(dir.path().join("root/usr")).expect("a fresh directory");
        Self { dir }
    }

    /// The folder that has it all: `proc`, `root`, and whatever a test adds.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Makes `link` of the host's root lead to `target`, as the host sees both.
    pub fn link_in_root(&self, link: &str, target: &str) {
        let link = self.paths().root.join(link.trim_start_matches('/'));
        fs::create_dir_all(link.parent().expect("it is below the root")).expect("directories can be made");
        symlink(target, link).expect("a link can be made");
    }

    /// Where castoff finds it.
    pub fn paths(&self) -> HostPaths {
        HostPaths {
            proc: self.dir.path().join("proc"),
            root: self.dir.path().join("root"),
        }
    }

    /// A reader of its procfs.
    pub fn reader(&self) -> ProcessReader {
        ProcessReader::new(self.paths().proc)
    }

    /// Makes the directory of a control group (version 2) that an ordinary user owns, and tells who that is.
    #[cfg(test)]
    pub(crate) fn delegated_group(&self, path: &str) -> u32 {
        let paths = self.paths();
        let init = paths.proc.join("1");
        fs::create_dir_all(&init).expect("directories can be made");
        symlink(&paths.root, init.join("root")).expect("a fresh link");
        let group = paths.root.join("sys/fs/cgroup").join(path.trim_start_matches('/'));
        fs::create_dir_all(&group).expect("directories can be made");
        match rustix::process::getuid().as_raw() {
            0 => {
                std::os::unix::fs::chown(&group, Some(1001), None).expect("root may");
                1001
            }
            own => own,
        }
    }

    /// Writes a file under the host's root.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.paths().root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("directories can be made");
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Adds a process by its line of `stat`, with a parent and nothing else.
    pub fn process(&self, pid: u32, parent: u32, name: &str) -> RecordedProcess<'_> {
        let process = RecordedProcess {
            host: self,
            pid,
            sockets: 0,
        };
        fs::create_dir_all(process.path("ns")).expect("directories can be made");
        fs::create_dir_all(process.path("fd")).expect("directories can be made");
        let start = u64::from(pid) * 10;
        process
            .file(
                "stat",
                format!("{pid} ({name}) S {parent} 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {start} 1 1\n"),
            )
            .file("status", "Name:\tx\nUid:\t0\t0\t0\t0\n")
            .arguments(&[name])
            .netns(4_026_531_840)
    }
}

#[expect(clippy::return_self_not_must_use, reason = "each step has written its file already")]
impl RecordedProcess<'_> {
    /// The path of one of its files.
    pub fn path(&self, file: &str) -> PathBuf {
        self.host.paths().proc.join(self.pid.to_string()).join(file)
    }

    /// Writes one of its files.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).expect("a file can be written");
        self
    }

    /// Makes one of its links, instead of the one of that name.
    pub fn link(self, name: &str, target: &str) -> Self {
        let _ = fs::remove_file(self.path(name));
        symlink(target, self.path(name)).expect("a link can be made");
        self
    }

    /// The program that it executes.
    pub fn exe(self, target: &str) -> Self {
        self.link("exe", target)
    }

    /// The network namespace that it is in.
    pub fn netns(self, inode: u64) -> Self {
        self.link("ns/net", &format!("net:[{inode}]"))
    }

    /// The process's command line.
    pub fn arguments(self, arguments: &[&str]) -> Self {
        let line: String = arguments.iter().flat_map(|a| [*a, "\0"]).collect();
        self.file("cmdline", line)
    }

    /// Its control group, in the unified hierarchy.
    pub fn cgroup(self, path: &str) -> Self {
        self.file("cgroup", format!("0::{path}\n"))
    }

    /// Gives the process a descriptor of the socket `inode`.
    pub fn socket(mut self, inode: u32) -> Self {
        let descriptor = 3 + self.sockets;
        self.sockets += 1;
        self.link(&format!("fd/{descriptor}"), &format!("socket:[{inode}]"))
    }

    /// Has the process see the host's root as its own.
    pub fn in_host_root(self) -> Self {
        let root = self.host.paths().root;
        self.link("root", root.to_str().expect("temporary paths are UTF-8"))
    }
}
