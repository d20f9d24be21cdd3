//! Reads, writes and sets aside one file.
//!
//! Relies on rename(2), which replaces a file in one step, and on fsync(2) of the new file before it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use atomic_write_file::unix::OpenOptionsExt as _;
use rustix::fs::OFlags;

use super::StateError;
use super::document::{self, DocumentError, SIZE_LIMIT};
use crate::model::history::History;

/// The number of bad files that are kept beside the good one. If there are more, something else is wrong, and a person should
/// check.
const ASIDE_LIMIT: u32 = 9;

/// The state file.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// Returns the file at `path`. A link that leads to a file is followed once, now: a write replaces its target, not the link.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        }
    }

    /// Reads the history in it; none if there is no file.
    pub(super) fn read(&self) -> Result<Option<History>, StateError> {
        let read_error = |source| StateError::Read {
            path: self.path.clone(),
            source,
        };
        // Checked before it is opened: opening a device may have effects, and a socket cannot be opened at all.
        self.refuse_other_kinds()?;
        let file = match open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(read_error(e)),
        };
        if !file.metadata().map_err(read_error)?.is_file() {
            return Err(StateError::NotAFile {
                path: self.path.clone(),
            });
        }
        let mut bytes = Vec::new();
        let read = file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(read_error)?;
        let decoded = match u64::try_from(read) {
            Ok(read) if read <= SIZE_LIMIT => document::decode(&bytes),
            _ => Err(DocumentError::TooLarge),
        };
        decoded.map(Some).map_err(|source| StateError::Corrupt {
            path: self.path.clone(),
            source,
        })
    }

    /// Replaces the file, or does not change it.
    pub(super) fn write(&self, history: &History) -> Result<(), StateError> {
        let bytes = document::encode(history).map_err(|source| StateError::Encode {
            path: self.path.clone(),
            source,
        })?;
        self.refuse_other_kinds()?;
        self.replace(&bytes).map_err(|source| StateError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// A rename would also move or replace a FIFO, a socket or a device, which does not belong to castoff.
    fn refuse_other_kinds(&self) -> Result<(), StateError> {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| !m.is_file() && !m.is_symlink()) {
            return Err(StateError::NotAFile {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// Tests if the file could be replaced, without replacing it.
    pub(super) fn try_out(&self) -> Result<(), StateError> {
        let tried = self.open_fresh().and_then(AtomicWriteFile::discard);
        tried.map_err(|source| StateError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Removes the temporary files that kills during a write left beside the file, so that they cannot add up. One that
    /// cannot be removed does no harm.
    pub(super) fn sweep(&self) {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let prefix = format!(".{}.", name.to_string_lossy());
        let is_left = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let random = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            random.is_some_and(|random| random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                && entry.file_type().is_ok_and(|kind| kind.is_file())
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for left in entries.filter(is_left) {
            if let Err(error) = fs::remove_file(left.path()) {
                tracing::debug!(path = %left.path().display(), %error, "a temporary file stays");
            }
        }
    }

    fn open_fresh(&self) -> io::Result<AtomicWriteFile> {
        let mut options = AtomicWriteFile::options();
        // Names of pods and programs are private, even if another program created the file.
        options.mode(0o600).preserve_mode(false).preserve_owner(false);
        options.open(&self.path)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open_fresh()?;
        file.write_all(bytes)?;
        // `commit` does this too, but leaves its temporary file behind if it fails, as on a full disk.
        file.sync_all()?;
        file.commit()
    }

    /// Renames the file to a free name: `<file>.corrupt`, `<file>.corrupt.2`, …
    pub(super) fn set_aside(&self) -> Result<(), StateError> {
        self.refuse_other_kinds()?;
        let set_aside = || -> io::Result<()> {
            match fs::rename(&self.path, self.free_name()?) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                renamed => renamed,
            }
        };
        set_aside().map_err(|source| StateError::SetAside {
            path: self.path.clone(),
            source,
        })
    }

    fn free_name(&self) -> io::Result<PathBuf> {
        for n in 1..=ASIDE_LIMIT {
            let mut name = self.path.clone().into_os_string();
            name.push(".corrupt");
            if n > 1 {
                name.push(format!(".{n}"));
            }
            match fs::symlink_metadata(&name) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(name.into()),
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{ASIDE_LIMIT} bad files are kept already"),
        ))
    }
}

/// Opens without waiting: a FIFO would wait for its writer forever.
fn open(path: &Path) -> io::Result<File> {
    // The kernel's flags are an int there and unsigned here; `O_NONBLOCK` is a low bit.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
