//! Virtual machines that boot a kernel with one program as their init: qemu without KVM, so that any machine can run
//! it.
//!
//! A guest has no disk and no network. It has two serial lines: the kernel's console, which is qemu's log, and one on
//! which its init writes results: `begin NAME`, lines, `end NAME STATUS`, and at last `done`. A guest that panics, ends
//! early or hangs is an error with the end of its console. `answer NAME COMMAND…` in a guest writes such a result.

pub mod debian;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::daemon::Daemon;
use super::kernels::Kernel;
use super::packages::{self, Programs, library_path};
use super::rooms::{self, Room};

/// A guest needs from eight seconds to two minutes, and several times as long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(480);
/// The package with the emulator; it depends on the firmware.
const QEMU: &str = "qemu-system-x86";
/// The program that writes results.
const ANSWER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/guest/answer");

/// A guest to boot.
#[derive(Debug)]
pub struct Guest<'a> {
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// Parameters of the kernel, in addition to those that every guest has.
    pub parameters: &'a str,
    /// Its memory in MiB.
    pub memory: u32,
    /// Directories whose contents it has in its root; a later one may replace files of an earlier one.
    pub trees: &'a [PathBuf],
    /// More files: the path in the guest without the leading slash, and the file here.
    pub files: &'a [(&'a str, PathBuf)],
}

/// The results of a guest, by name.
#[derive(Debug)]
pub struct Answers(BTreeMap<String, Answer>);

#[derive(Debug)]
struct Answer {
    text: String,
    status: i32,
}

/// A guest that has ended before its init has written anything.
#[derive(Debug, thiserror::Error)]
#[error("the kernel has not started init: {0:#}")]
struct NotStarted(anyhow::Error);

impl Guest<'_> {
    /// Boots it and waits for its results. Without KVM a kernel sometimes panics while it boots, so a guest that has not
    /// started its init is booted once more.
    pub fn run(&self) -> Result<Answers> {
        match self.boot() {
            Err(error) if error.is::<NotStarted>() => {
                println!("booted again: {error:#}");
                self.boot()
            }
            ended => ended,
        }
    }

    fn boot(&self) -> Result<Answers> {
        let room = Room::make("guest")?;
        let (memory, answers) = (room.join("initramfs"), room.join("answers"));
        self.pack(&room, &memory)?;
        let mut command = emulator()?;
        command
            .args(["-cpu", "max", "-smp", "2", "-no-reboot"])
            .args(["-m", &self.memory.to_string()])
            .args(["-display", "none", "-monitor", "none", "-vga", "none", "-nic", "none"])
            .args(["-serial", "stdio", "-serial"])
            .arg(format!("file:{}", answers.display()))
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(&memory)
            .arg("-append")
            .arg(format!("console=ttyS0 panic=1 quiet {}", self.parameters));
        let qemu = Daemon::start("qemu", &room, &command, &[])?;
        let read = || {
            let bytes = fs::read(&answers).context("it has not said anything")?;
            let said = String::from_utf8_lossy(&bytes).into_owned();
            ensure!(is_whole(&said), "it has not said all");
            Ok(said)
        };
        if let Err(error) = qemu.wait_so_long(PATIENCE, || read().map(drop)) {
            let is_started = fs::metadata(&answers).is_ok_and(|answers| answers.len() > 0);
            return Err(if is_started { error } else { NotStarted(error).into() });
        }
        Answers::read(&read()?)
    }

    /// Writes its file system as an archive that the kernel unpacks.
    fn pack(&self, room: &Room, archive: &Path) -> Result<()> {
        let programs = Programs::debian()?;
        let tree = room.folder("root")?;
        for source in self.trees {
            packages::run(Command::new("cp").args(["-a", "--"]).arg(source.join(".")).arg(&tree))?;
        }
        let busybox = programs.path("busybox")?;
        let own = [("bin/busybox", busybox.clone()), ("bin/answer", PathBuf::from(ANSWER))];
        for (name, file) in own.iter().chain(self.files) {
            let inside = tree.join(name);
            let folder = inside.parent().context("a file of the guest is in a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
            fs::copy(file, &inside).with_context(|| format!("copy {}", file.display()))?;
            fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).context("make it executable")?;
        }
        let shell = tree.join("bin/sh");
        if fs::symlink_metadata(&shell).is_err() {
            symlink("busybox", shell).context("link the shell")?;
        }
        let mut pack = Command::new(&busybox);
        pack.args(["sh", "-c", r#""$0" find . | "$0" cpio -o -H newc >"$1""#]);
        packages::run(pack.arg(&busybox).arg(archive).current_dir(&tree))
    }
}

/// Returns Debian's qemu, which the first call unpacks into the cache (18 MB to download).
fn emulator() -> Result<Command> {
    let root = rooms::tool("qemu-1", |folder| packages::unpack_into(&[QEMU], folder))?;
    let mut command = Command::new(root.join("usr/bin/qemu-system-x86_64"));
    for firmware in ["usr/share/qemu", "usr/share/seabios"] {
        command.arg("-L").arg(root.join(firmware));
    }
    command.env("LD_LIBRARY_PATH", library_path(&root));
    Ok(command)
}

fn is_whole(said: &str) -> bool {
    said.lines().next_back().is_some_and(|line| line.trim_end() == "done") && said.ends_with('\n')
}

impl Answers {
    fn read(said: &str) -> Result<Self> {
        let mut answers = BTreeMap::new();
        let mut open: Option<(String, String)> = None;
        for line in said.lines().map(str::trim_end) {
            let words: Vec<&str> = line.split(' ').collect();
            match (open.take(), words.as_slice()) {
                (None, ["begin", name]) => open = Some(((*name).to_owned(), String::new())),
                (None, ["done" | ""]) => {}
                (Some((name, text)), ["end", ended, status]) if *ended == name => {
                    let status = status.parse().with_context(|| line.to_owned())?;
                    answers.insert(name, Answer { text, status });
                }
                (Some((name, text)), _) => open = Some((name, text + line + "\n")),
                (None, _) => bail!("the guest says {line:?} outside of an answer"),
            }
        }
        if let Some((name, text)) = open {
            bail!("the guest did not end its answer {name}: {text}");
        }
        Ok(Self(answers))
    }

    /// Returns the text of a result without the last newline, whatever its status is.
    pub fn text(&self, name: &str) -> Result<&str> {
        Ok(self.get(name)?.text.trim_end())
    }

    /// Returns the JSON of a result.
    pub fn json(&self, name: &str) -> Result<Value> {
        let answer = self.get(name)?;
        serde_json::from_str(&answer.text).with_context(|| format!("{name}: {}", answer.text))
    }

    /// Returns the exit code of a result.
    pub fn status(&self, name: &str) -> Result<i32> {
        Ok(self.get(name)?.status)
    }

    fn get(&self, name: &str) -> Result<&Answer> {
        self.0
            .get(name)
            .with_context(|| format!("the guest says nothing of {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_by_name_with_their_status() {
        let said = "begin one\r\n{\"a\":\r\n1}\r\nend one 2\r\nbegin two\r\nbegin x\r\nend two 0\r\ndone\r\n";
        assert!(is_whole(said));
        let answers = Answers::read(said).expect("it is whole");
        assert_eq!(answers.json("one").expect("JSON")["a"], 1);
        assert_eq!(answers.status("one").expect("a status"), 2);
        assert_eq!(answers.text("two").expect("a text"), "begin x");
        assert!(answers.text("three").is_err());
    }

    #[test]
    fn an_incomplete_answer_is_refused() {
        assert!(!is_whole("begin one\nend one 0\n"));
        assert!(!is_whole("begin one\ndone"));
        assert!(Answers::read("begin one\n1\ndone\n").is_err());
        assert!(Answers::read("Kernel panic\ndone\n").is_err());
    }
}
