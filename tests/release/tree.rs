//! Copies of this tree in other directories.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::packages::{output, run};
use tempfile::TempDir;

/// The version of this tree.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The time of the copies' commits, in seconds since 1970: 2023-11-14.
pub(crate) const TIME: &str = "1700000000";
pub(crate) const CHANGELOG: &str = "agent/CHANGELOG.md";

/// Returns this tree's own directory.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the paths of this tree's files, relative to its root: those that git keeps, or would.
fn files() -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root());
    let listed = output(git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let named = listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // A file that is removed and not committed is still listed.
    Ok(named.filter(|path| root().join(path).exists()).collect())
}

/// Makes a directory a copy of this tree. A file that is the same already keeps its time, so that cargo builds nothing
/// again.
pub(crate) fn copy_into(folder: &Path) -> Result<()> {
    let files = files()?;
    for path in &files {
        let (from, to) = (root().join(path), folder.join(path));
        let same = match fs::read(&to) {
            Ok(there) => there == fs::read(&from)?,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error).context(to.display().to_string()),
        };
        if !same {
            fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        }
    }
    remove_others(folder, folder, &files)
}

fn remove_others(root: &Path, folder: &Path, files: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, files)?;
        } else if !files.contains(&path.strip_prefix(root)?.to_owned()) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A copy of this tree, with all its files in one commit.
pub(crate) struct Tree {
    folder: TempDir,
}

impl Tree {
    pub(crate) fn copied() -> Result<Self> {
        let tree = Self {
            folder: tempfile::tempdir()?,
        };
        copy_into(tree.path())?;
        run(tree.git().args(["init", "--quiet"]))?;
        tree.commit()?;
        Ok(tree)
    }

    /// Returns a copy whose changelog has a section of this tree's version, as at a release.
    pub(crate) fn of_a_release() -> Result<Self> {
        let tree = Self::copied()?;
        if !tree.read(CHANGELOG)?.contains(&format!("\n## {VERSION} (")) {
            run(&mut tree.script("bump", &[VERSION]))?;
            tree.commit()?;
        }
        Ok(tree)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path().join(path)).with_context(|| path.to_owned())
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.path().join(path), text).with_context(|| path.to_owned())
    }

    /// Returns git in it, with a name and a time of its own.
    pub(crate) fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.path());
        git.args(["-c", "user.name=castoff", "-c", "user.email=castoff@example.org"]);
        git.args(["-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"]);
        for variable in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
            git.env(variable, format!("{TIME} +0000"));
        }
        git
    }

    pub(crate) fn commit(&self) -> Result<()> {
        run(self.git().args(["add", "--all"]))?;
        run(self.git().args(["commit", "--quiet", "--message", "A change"]))
    }

    /// Returns one of its scripts `deploy/release/…`, as a command.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut script = Command::new(self.path().join("deploy/release").join(name));
        script.args(arguments).current_dir(self.path());
        script.env_remove("CASTOFF_REVISION").env("SOURCE_DATE_EPOCH", TIME);
        script
    }

    /// Runs a script that refuses, and returns its exit code and its message. It must have changed nothing.
    pub(crate) fn refusal(&self, script: &mut Command) -> Result<(Option<i32>, String)> {
        let state = || output(self.git().args(["diff", "HEAD"]));
        let before = state()?;
        let Output { status, stdout, stderr } = script.output()?;
        ensure!(
            !status.success() && stdout.is_empty(),
            "{script:?} is not refused: {status}, {}",
            String::from_utf8_lossy(&stdout)
        );
        ensure!(before == state()?, "{script:?} has changed the tree");
        Ok((status.code(), String::from_utf8(stderr)?))
    }
}
