//! A procfs made of ordinary files, for tests: it shows processes that never ran. Panics if the temporary directory
//! cannot be written to.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use super::HostPaths;
use super::processes::ProcessReader;

/// A host root and a procfs in one temporary directory.
#[derive(Debug)]
pub struct RecordedHost {
    dir: TempDir,
}

/// A process to add. Its start time is ten times its pid, and its network namespace is the host's.
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
    /// Creates an empty procfs and an empty root.
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        fs::create_dir(dir.path().join("proc")).expect("a fresh directory");
        // A host's root is never empty: castoff would take an empty one for another directory.
        fs::create_dir_all(dir.path().join("root/usr")).expect("a fresh directory");
        Self { dir }
    }

    /// Returns the directory that has everything: `proc`, `root`, and the files that a test adds.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Creates `link` in the host's root, which leads to `target` as the host sees both.
    pub fn link_in_root(&self, link: &str, target: &str) {
        let link = self.paths().root.join(link.trim_start_matches('/'));
        fs::create_dir_all(link.parent().expect("it is below the root")).expect("directories can be made");
        symlink(target, link).expect("a link can be made");
    }

    /// Returns the paths for castoff.
    pub fn paths(&self) -> HostPaths {
        HostPaths {
            proc: self.dir.path().join("proc"),
            root: self.dir.path().join("root"),
        }
    }

    /// Returns a reader of its procfs.
    pub fn reader(&self) -> ProcessReader {
        ProcessReader::new(self.paths().proc)
    }

    /// Creates the directory of a control group (version 2) that an ordinary user owns, and returns the user ID.
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

    /// Writes a file under the host's root, which is older than every process.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.paths().root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("directories can be made");
        fs::write(&path, content).expect("a file can be written");
        let written = File::options().write(true).open(&path).expect("it is there");
        written.set_modified(UNIX_EPOCH).expect("it is ours");
        path
    }

    /// Adds a process with its `stat` line and a parent, and nothing else.
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
    /// Returns the path of one of its files.
    pub fn path(&self, file: &str) -> PathBuf {
        self.host.paths().proc.join(self.pid.to_string()).join(file)
    }

    /// Writes one of its files.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).expect("a file can be written");
        self
    }

    /// Creates one of its links, or replaces it.
    pub fn link(self, name: &str, target: &str) -> Self {
        let _ = fs::remove_file(self.path(name));
        symlink(target, self.path(name)).expect("a link can be made");
        self
    }

    /// Sets its executable.
    pub fn exe(self, target: &str) -> Self {
        self.link("exe", target)
    }

    /// Sets its network namespace.
    pub fn netns(self, inode: u64) -> Self {
        self.link("ns/net", &format!("net:[{inode}]"))
    }

    /// Sets its mount namespace.
    pub fn mount_namespace(self, inode: u64) -> Self {
        self.link("ns/mnt", &format!("mnt:[{inode}]"))
    }

    /// Sets its command line.
    pub fn arguments(self, arguments: &[&str]) -> Self {
        let line: String = arguments.iter().flat_map(|a| [*a, "\0"]).collect();
        self.file("cmdline", line)
    }

    /// Sets its cgroup, in the unified hierarchy.
    pub fn cgroup(self, path: &str) -> Self {
        self.file("cgroup", format!("0::{path}\n"))
    }

    /// Gives the process a descriptor of the socket `inode`.
    pub fn socket(mut self, inode: u32) -> Self {
        let descriptor = 3 + self.sockets;
        self.sockets += 1;
        self.link(&format!("fd/{descriptor}"), &format!("socket:[{inode}]"))
    }

    /// Makes the host's root the root of the process.
    pub fn in_host_root(self) -> Self {
        let root = self.host.paths().root;
        self.link("root", root.to_str().expect("temporary paths are UTF-8"))
    }
}
