//! Paths inside another root directory: the host's, or that of a process in its own mount namespace.
//!
//! An absolute link there refers to *that* root, while the kernel would resolve it in castoff's own. Therefore
//! `/var/run -> /run` is followed by hand, or by `openat2(2)` with `RESOLVE_IN_ROOT` if that exists (Linux 5.6) and is
//! allowed. Links and `..` never lead out of the root.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags, fstat, getxattr, openat, openat2,
    readlinkat, statx,
};
use rustix::io::Errno;

use super::refusal::is_missing;
use crate::model::identity::FileIdentity;
use crate::model::last_connect::{FileTimes, Moment};

/// The kernel's limit of links in one path (`MAXSYMLINKS` of `include/linux/namei.h`).
const LINK_LIMIT: usize = 40;

/// A directory that paths are resolved in.
#[derive(Debug)]
pub(crate) struct Rooted {
    root: OwnedFd,
}

/// The file that a path leads to, and its directories.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Its absolute path below the root, with every link resolved.
    pub name: PathBuf,
    /// The type of the file.
    pub kind: FileType,
    /// Its identity.
    pub identity: FileIdentity,
    /// The directories above the resolved file, the root first.
    pub ancestors: Vec<FileIdentity>,
    /// Its owner and mode.
    pub owner: Owner,
    /// The times when it was made, last accessed and changed.
    pub times: FileTimes,
}

/// The owner and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// The number of names of the file (hard links).
    pub names: u64,
    /// True if it has an access list in addition to the mode (acl(5)), or if that could not be read.
    pub has_list: bool,
}

/// The most directories that a search for a socket's other names reads.
const DIRECTORIES_SEARCHED: usize = 256;

/// The levels of directories below the first one that the search reads.
const LEVELS_SEARCHED: u32 = 3;

/// A path that leads nowhere, or cannot be read with castoff's rights.
#[derive(Debug, thiserror::Error)]
#[error("{}", at.display())]
pub(crate) struct Unresolved {
    /// The last path that was read, below the root.
    pub at: PathBuf,
    /// True if the path itself is a link whose target is missing.
    pub is_link: bool,
    /// The kernel's error.
    #[source]
    pub error: io::Error,
}

impl Unresolved {
    /// True if there is nothing with that name: a file or directory is missing on the way, and there is no link in its
    /// place.
    pub(crate) fn is_missing(&self) -> bool {
        !self.is_link && is_missing(&self.error)
    }
}

impl Rooted {
    /// Opens `root` and resolves paths below it.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::new(openat(CWD, root, flags, Mode::empty())?))
    }

    /// Resolves paths below a directory that is open already.
    pub(crate) const fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Returns the identity of the file that `path` leads to.
    pub(crate) fn read_identity(&self, path: &str) -> io::Result<(FileIdentity, FileType)> {
        identity_of(self.find(path)?.as_fd())
    }

    /// Returns the time of the last change or the creation of the file that `path` leads to.
    pub(crate) fn read_change(&self, path: &str) -> io::Result<Moment> {
        let stat = fstat(self.find(path)?)?;
        Ok(moment(stat.st_ctime, stat.st_ctime_nsec))
    }

    /// Returns the time at which the content of the file that `path` leads to was last written.
    pub(crate) fn read_modification(&self, path: &str) -> io::Result<Moment> {
        let stat = fstat(self.find(path)?)?;
        Ok(moment(stat.st_mtime, stat.st_mtime_nsec))
    }

    /// Returns the target of the link that `path` itself is. Directories on the way may be links too.
    pub(crate) fn read_link(&self, path: &str) -> io::Result<String> {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let directory = self.find(if directory.is_empty() { "/" } else { directory })?;
        Ok(readlinkat(&directory, name, Vec::new())?.to_string_lossy().into_owned())
    }

    /// Reads a regular file of at most `limit` bytes. The error is [`io::ErrorKind::FileTooLarge`] if it is longer.
    pub(crate) fn read_file(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.find(path)?;
        // Checked before it is opened: opening a FIFO blocks, and opening a device may have effects.
        if identity_of(file.as_fd())?.1 != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = Vec::new();
        let file = File::from(reopen(&file, OFlags::RDONLY)?);
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(content)
        }
    }

    /// Calls `each` with the names in a directory, until it returns false.
    pub(crate) fn read_names(&self, path: &str, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
        let directory = reopen(&self.find(path)?, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut list = RawDir::new(&directory, &mut buffer);
        while let Some(item) = list.next() {
            let item = item?;
            let name = item.file_name().to_string_lossy();
            if name != "." && name != ".." && !each(&name) {
                break;
            }
        }
        Ok(())
    }

    /// Returns the paths of the sockets with this inode number in the directory at `path` and in those below it, at most
    /// three levels deep, without following links. Reads at most 256 directories. Another file system below may have a
    /// socket with the same number.
    pub(crate) fn find_sockets(&self, path: &str, inode: u32) -> Vec<String> {
        let mut found = Vec::new();
        let mut ahead = VecDeque::from([(path.trim_end_matches('/').to_owned(), 0)]);
        let mut left = DIRECTORIES_SEARCHED;
        while let Some((directory, depth)) = ahead.pop_front() {
            left -= 1;
            if left == 0 {
                break;
            }
            // A directory that cannot be read shows no name.
            let _ = self.read_entries(
                if directory.is_empty() { "/" } else { &directory },
                &mut |name, kind, own| {
                    let path = format!("{directory}/{name}");
                    match kind {
                        // The kernel's list of sockets has the lower half of a number.
                        FileType::Socket if own & u64::from(u32::MAX) == u64::from(inode) => found.push(path),
                        FileType::Directory if depth < LEVELS_SEARCHED => ahead.push_back((path, depth + 1)),
                        _ => {}
                    }
                },
            );
        }
        found
    }

    fn read_entries(&self, path: &str, each: &mut dyn FnMut(&str, FileType, u64)) -> io::Result<()> {
        let directory = reopen(&self.find(path)?, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut list = RawDir::new(&directory, &mut buffer);
        while let Some(item) = list.next() {
            let item = item?;
            let name = item.file_name().to_string_lossy();
            if name != "." && name != ".." {
                each(&name, item.file_type(), item.ino());
            }
        }
        Ok(())
    }

    /// Opens the file that `path` leads to with `O_PATH`, which neither blocks nor reads.
    fn find(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(file) => Ok(file),
            // The walk below would give the same error.
            Err(error @ (Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NAMETOOLONG)) => Err(error.into()),
            // ENOSYS; EPERM from a seccomp profile that does not know the call; EAGAIN because of a concurrent rename.
            Err(_) => self.walk_to(path).map_err(|unresolved| unresolved.error)?.into_file(),
        }
    }

    /// Follows `path` link by link and returns the file at its end.
    pub(crate) fn walk(&self, path: &str) -> Result<Walked, Unresolved> {
        let walk = self.walk_to(path)?;
        let name = walk.name();
        walk.describe(name.clone()).map_err(|error| Unresolved {
            at: name,
            is_link: false,
            error,
        })
    }

    fn walk_to(&self, path: &str) -> Result<Walk<'_>, Unresolved> {
        let mut walk = Walk {
            root: self.root.as_fd(),
            stack: Vec::new(),
            leaf: None,
        };
        let mut ahead: VecDeque<Vec<u8>> = components(path.as_bytes()).map(<[u8]>::to_vec).collect();
        let (mut links, mut is_link) = (0, false);
        while let Some(name) = ahead.pop_front() {
            let target = match walk.step(&name) {
                Ok(None) => continue,
                Ok(Some(target)) if links < LINK_LIMIT => target,
                step => {
                    let at = walk.name().join(OsStr::from_bytes(&name));
                    let error = step.err().unwrap_or(Errno::LOOP.into());
                    return Err(Unresolved { at, is_link, error });
                }
            };
            links += 1;
            is_link |= ahead.is_empty();
            if target.starts_with(b"/") {
                walk.stack.clear();
            }
            for component in components(&target).rev() {
                ahead.push_front(component.to_vec());
            }
        }
        Ok(walk)
    }
}

/// The position of a walk.
struct Walk<'r> {
    root: BorrowedFd<'r>,
    /// The directories below the root that were entered, each with its name.
    stack: Vec<(Vec<u8>, OwnedFd)>,
    /// The file at the end, if it is not a directory.
    leaf: Option<(Vec<u8>, OwnedFd)>,
}

impl Walk<'_> {
    /// Takes one step. Returns the target if the name is a link.
    fn step(&mut self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if self.leaf.is_some() {
            return Err(Errno::NOTDIR.into());
        }
        if name == b".." {
            self.stack.pop(); // at the root it stays there
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = self.stack.last().map_or(self.root, |(_, directory)| directory.as_fd());
        let file = openat(top, CString::new(name)?, flags, Mode::empty())?;
        match identity_of(file.as_fd())?.1 {
            FileType::Symlink => return Ok(Some(readlinkat(&file, c"", Vec::new())?.into_bytes())),
            FileType::Directory => self.stack.push((name.to_vec(), file)),
            _ => self.leaf = Some((name.to_vec(), file)),
        }
        Ok(None)
    }

    /// Returns the path of the current position.
    fn name(&self) -> PathBuf {
        let names = self.stack.iter().chain(&self.leaf);
        let names = names.map(|(name, _)| OsStr::from_bytes(name));
        Path::new("/")
            .components()
            .map(std::path::Component::as_os_str)
            .chain(names)
            .collect()
    }

    fn describe(self, name: PathBuf) -> io::Result<Walked> {
        let mut ancestors = vec![identity_of(self.root)?.0];
        for (_, directory) in &self.stack {
            ancestors.push(identity_of(directory.as_fd())?.0);
        }
        if self.leaf.is_none() {
            ancestors.pop(); // the directory itself
        }
        let file = self.into_file()?;
        let stat = fstat(&file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        Ok(Walked {
            name,
            kind,
            identity: FileIdentity::from_stat(stat.st_dev, stat.st_ino),
            ancestors,
            owner: Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
                mode: stat.st_mode,
                names: widened(stat.st_nlink),
                has_list: has_access_list(&file),
            },
            times: FileTimes {
                // Only the times of sockets are judged.
                made: (kind == FileType::Socket).then(|| time_made(&file)).flatten(),
                accessed: moment(stat.st_atime, stat.st_atime_nsec),
                changed: moment(stat.st_ctime, stat.st_ctime_nsec),
            },
        })
    }

    fn into_file(mut self) -> io::Result<OwnedFd> {
        match self.leaf.or_else(|| self.stack.pop()) {
            Some((_, file)) => Ok(file),
            None => self.root.try_clone_to_owned(),
        }
    }
}

/// Returns the time when the file was made; none if its file system does not keep it.
fn time_made(file: &OwnedFd) -> Option<Moment> {
    let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    is_known.then(|| moment(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec.into()))
}

/// Converts a number that has 64 bits on amd64 and 32 on arm64.
fn widened(number: impl Into<u64>) -> u64 {
    number.into()
}

/// Converts a time. One before 1970 counts as 1970.
fn moment(seconds: i64, nanoseconds: u64) -> Moment {
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or_default();
    Moment::new(u64::try_from(seconds).unwrap_or_default(), nanoseconds)
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// Opens a file again for reading that is open with `O_PATH`. It is the same file, even if its path leads elsewhere by
/// now.
fn reopen(file: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(openat(
        CWD,
        path,
        flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn has_access_list(file: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let size = getxattr(path, c"system.posix_acl_access", &mut [0; 0][..]);
    !matches!(size, Err(Errno::NODATA | Errno::OPNOTSUPP))
}

fn identity_of(file: BorrowedFd<'_>) -> io::Result<(FileIdentity, FileType)> {
    let stat = fstat(file)?;
    Ok((
        FileIdentity::from_stat(stat.st_dev, stat.st_ino),
        FileType::from_raw_mode(stat.st_mode),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A root with `/run/docker.sock`, links of every kind, and a sibling directory outside that no path may reach.
    fn root() -> (tempfile::TempDir, Rooted) {
        let dir = tempfile::TempDir::new().expect("a temporary directory");
        let at = |path: &str| dir.path().join("root").join(path);
        fs::create_dir_all(at("run/sub")).expect("fresh");
        fs::create_dir_all(at("var")).expect("fresh");
        fs::write(at("run/docker.sock"), "inside").expect("fresh");
        fs::create_dir_all(dir.path().join("run")).expect("fresh");
        fs::write(dir.path().join("run/outside"), "outside").expect("fresh");
        for (link, target) in [
            ("var/run", "/run"),
            ("var/relative", "../run"),
            ("var/escape", "../../../../../run"),
            ("var/socket", "/var/run/docker.sock"),
            ("var/loop", "/var/loop"),
            ("var/dangling", "/nowhere"),
        ] {
            symlink(target, at(link)).expect("fresh");
        }
        let rooted = Rooted::open(&dir.path().join("root")).expect("it was just made");
        (dir, rooted)
    }

    #[test]
    fn links_are_followed_inside_the_root_by_the_kernel_and_by_hand() {
        let (dir, rooted) = root();
        let table = [
            ("/run/docker.sock", Ok("run/docker.sock")),
            ("run/docker.sock", Ok("run/docker.sock")),
            ("//run/./sub/../docker.sock", Ok("run/docker.sock")),
            ("/var/run/docker.sock", Ok("run/docker.sock")),
            ("/var/run", Ok("run")),
            ("/var/run/", Ok("run")),
            ("/var/relative/docker.sock", Ok("run/docker.sock")),
            ("/var/escape/docker.sock", Ok("run/docker.sock")),
            ("/var/socket", Ok("run/docker.sock")),
            ("/", Ok("")),
            ("/../..", Ok("")),
            ("/../run/outside", Err(Errno::NOENT)),
            ("/var/escape/outside", Err(Errno::NOENT)),
            ("/var/dangling", Err(Errno::NOENT)),
            ("/var/loop", Err(Errno::LOOP)),
            ("/run/docker.sock/x", Err(Errno::NOTDIR)),
        ];
        for (path, expected) in table {
            let identity = expected.map(|path| {
                let file = fs::metadata(dir.path().join("root").join(path)).expect("it was made above");
                FileIdentity::from_stat(file.dev(), file.ino())
            });
            let errno = |error: io::Error| Errno::from_io_error(&error).expect("it is the kernel's or the walk's");
            assert_eq!(
                rooted.read_identity(path).map(|(id, _)| id).map_err(errno),
                identity,
                "{path} by openat2"
            );
            assert_eq!(
                rooted.walk(path).map(|w| w.identity).map_err(|e| errno(e.error)),
                identity,
                "{path} by hand"
            );
        }
    }

    #[test]
    fn ancestors_are_the_directories_of_the_resolved_file() {
        let (dir, rooted) = root();
        let identity = |path: &str| {
            let file = fs::metadata(dir.path().join("root").join(path)).expect("it was made above");
            FileIdentity::from_stat(file.dev(), file.ino())
        };
        for path in [
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/var/socket",
            "/var/escape/docker.sock",
        ] {
            let walked = rooted.walk(path).expect("it is there");
            assert_eq!(walked.ancestors, [identity(""), identity("run")], "{path}");
        }
        assert_eq!(
            rooted.walk("/run/sub").expect("it is there").ancestors,
            [identity(""), identity("run")]
        );
        assert_eq!(rooted.walk("/").expect("it is there").ancestors, []);
    }

    #[test]
    fn only_regular_files_are_read_and_up_to_the_limit() {
        let (dir, rooted) = root();
        let kind = |error: io::Error| error.kind();
        assert_eq!(rooted.read_file("/var/socket", 6).map_err(kind), Ok(b"inside".to_vec()));
        assert_eq!(
            rooted.read_file("/var/socket", 5).map_err(kind),
            Err(io::ErrorKind::FileTooLarge)
        );
        assert_eq!(
            rooted.read_file("/run", 5).map_err(kind),
            Err(io::ErrorKind::InvalidData)
        );
        let fifo = dir.path().join("root/run/fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO needs no right");
        assert_eq!(
            rooted.read_file("/run/fifo", 5).map_err(kind),
            Err(io::ErrorKind::InvalidData)
        );
    }

    #[test]
    fn a_walk_returns_the_path_of_the_file() {
        let (_dir, rooted) = root();
        for (path, name) in [
            ("/run/docker.sock", "/run/docker.sock"),
            ("/var/run/docker.sock", "/run/docker.sock"),
            ("/var/socket", "/run/docker.sock"),
            ("/../../run/./sub/../docker.sock", "/run/docker.sock"),
            ("/var/run", "/run"),
            ("/", "/"),
        ] {
            assert_eq!(rooted.walk(path).expect(path).name, Path::new(name), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_reports_if_it_is_a_link() {
        let (dir, rooted) = root();
        symlink("/nowhere", dir.path().join("root/run/crio")).expect("fresh");
        for (path, at, is_link, is_missing) in [
            ("/run/none", "/run/none", false, true),
            (
                "/run/docker.sock/under-a-file",
                "/run/docker.sock/under-a-file",
                false,
                true,
            ),
            ("/var/dangling", "/nowhere", true, false),
            ("/var/loop", "/var/loop", true, false),
            ("/run/crio/crio.sock", "/nowhere", false, true),
        ] {
            let error = rooted.walk(path).expect_err(path);
            let seen = (&*error.at, error.is_link, error.is_missing());
            assert_eq!(seen, (Path::new(at), is_link, is_missing), "{path}: {error:?}");
        }
    }
}
