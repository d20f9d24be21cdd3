//! A control group that counts the memory of a program, kernel maps included, and may limit it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::fs::Advice;

use super::rooms;

/// The hierarchies that count memory, with the files for the current bytes, the peak and the limit, and the field of
/// `memory.stat` with the pages of files.
const HIERARCHIES: [(&str, [&str; 4]); 2] = [
    (
        "/sys/fs/cgroup/memory",
        [
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.limit_in_bytes",
            "cache ",
        ],
    ),
    (
        "/sys/fs/cgroup",
        ["memory.current", "memory.peak", "memory.max", "file "],
    ),
];

/// The bytes of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The bytes that it uses now.
    pub now: u64,
    /// Those of them that are pages of files, which the kernel takes back if memory is short.
    pub files: u64,
    /// The most bytes that it has used.
    pub peak: u64,
}

/// A control group of cgroup v1 or v2 for one program. Dropping it removes it, once it is empty.
#[derive(Debug)]
pub struct MemoryGroup {
    group: PathBuf,
    files: [&'static str; 4],
    folder: tempfile::TempDir,
}

impl MemoryGroup {
    /// Creates a group, with a limit of so many bytes if one is given.
    ///
    /// # Errors
    /// No hierarchy of this machine counts memory, or the kernel refuses.
    pub fn make(limit: Option<u64>) -> Result<Self> {
        let counts = |(root, _): &&(&str, _)| {
            let root = Path::new(root);
            let controllers = fs::read_to_string(root.join("cgroup.subtree_control"));
            root.join("memory.usage_in_bytes").exists()
                || controllers.is_ok_and(|controllers| controllers.split_whitespace().any(|c| c == "memory"))
        };
        let hierarchy = HIERARCHIES.iter().find(counts);
        let (root, files) = hierarchy.context("no hierarchy of control groups counts memory")?;
        // Process IDs are not unique: the hierarchy is the machine's own on every stage.
        let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let made = Self {
            group: Path::new(root).join(format!("castoff-tests-{unique}")),
            files: *files,
            folder: tempfile::tempdir()?,
        };
        fs::create_dir(&made.group).with_context(|| format!("make {}", made.group.display()))?;
        if let Some(bytes) = limit {
            let file = made.group.join(made.files[2]);
            fs::write(&file, bytes.to_string()).with_context(|| format!("limit the memory by {}", file.display()))?;
        }
        Ok(made)
    }

    /// Returns a command that executes a copy of the program in the group, with the environment of castoff's image. No
    /// page of the copy is in memory, so the group is charged with those that the program needs, as on a node that has
    /// just pulled the image.
    ///
    /// # Errors
    /// The program cannot be copied.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let copy = self.folder.path().join("castoff");
        rooms::copy_program(program, &copy)?;
        let file = File::open(&copy)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        let mut command = Command::new("/bin/sh");
        let join = r#"echo $$ > "$1/cgroup.procs"; shift; exec "$@""#;
        command.args(["-ec", join, "sh"]).arg(&self.group).arg(copy);
        command.env("MALLOC_TRIM_THRESHOLD_", "131072");
        Ok(command)
    }

    /// Returns the bytes that the group uses.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn usage(&self) -> Result<Usage> {
        let read = |file: &str| -> Result<u64> {
            let path = self.group.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            Ok(text.trim().parse()?)
        };
        let statistics = fs::read_to_string(self.group.join("memory.stat")).context("read memory.stat")?;
        let files = statistics.lines().find_map(|line| line.strip_prefix(self.files[3]));
        let usage = Usage {
            now: read(self.files[0])?,
            files: files.context("the pages of files in memory.stat")?.trim().parse()?,
            peak: read(self.files[1])?,
        };
        ensure!(usage.peak > 0, "the group was never used");
        Ok(usage)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("{} stays: {error}", self.group.display());
        }
    }
}
