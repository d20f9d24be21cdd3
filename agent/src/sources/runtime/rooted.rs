//! Where a path of the host leads, seen through the directory where the host's root is mounted.
//!
//! Every link is followed inside that root: an absolute link of the host must not lead into castoff's own file system,
//! and `..` never climbs over the root. The kernel does the same for `openat2(2)` with `RESOLVE_IN_ROOT`, but only from
//! Linux 5.6 on, and the nodes that still run Docker are older.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Links that one path may lead through: the kernel's own limit (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS_MAX: u32 = 40;

/// A path that leads nowhere, or not within castoff's rights.
#[derive(Debug, thiserror::Error)]
#[error("{}", at.display())]
pub(crate) struct Unresolved {
    /// The last path that was looked at, on the host.
    pub at: PathBuf,
    /// Whether the path itself is a link, whose target is what is missing.
    pub is_link: bool,
    /// What the kernel said.
    #[source]
    pub error: io::Error,
}

impl Unresolved {
    /// Whether nothing is there by that name: no such file or directory on the way, and no link in its place.
    pub(crate) fn is_missing(&self) -> bool {
        !self.is_link
            && matches!(
                self.error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
    }
}

/// The canonical form of the host's `path`: absolute, without links, relative to `root`. A relative `path` is taken
/// from the root.
pub(crate) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, Unresolved> {
    let mut pending = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let mut is_link = false;
    while let Some(part) = pending.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let target = match read_link(&on_disk(root, &next)) {
            Ok(None) => {
                at = next;
                continue;
            }
            Ok(Some(target)) if links < LINKS_MAX => target,
            Ok(Some(_)) => {
                let error = io::Error::other("too many levels of symbolic links");
                return Err(Unresolved {
                    at: next,
                    is_link,
                    error,
                });
            }
            Err(error) => {
                return Err(Unresolved {
                    at: next,
                    is_link,
                    error,
                });
            }
        };
        links += 1;
        is_link |= pending.is_empty();
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            pending.push_front(part);
        }
    }
    Ok(at)
}

/// The host's canonical `path` as castoff opens it.
pub(crate) fn on_disk(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The whole of a regular file of the host, at most `limit` bytes. Anything else than a regular file is refused before
/// it is opened: a FIFO would never answer.
pub(crate) fn read_file(root: &Path, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let path = resolve(root, path).map_err(|e| e.error)?;
    let path = on_disk(root, &path);
    if !fs::metadata(&path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(&path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// The target where `path` is a link; none where it is anything else that exists.
fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    if fs::symlink_metadata(path)?.is_symlink() {
        fs::read_link(path).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        let at = |p: &str| root.path().join(p);
        fs::create_dir_all(at("run/containerd")).expect("a directory");
        fs::create_dir_all(at("var")).expect("a directory");
        fs::write(at("run/containerd/real"), "x").expect("a file");
        symlink("/run", at("var/run")).expect("a link");
        symlink("../../../../../run/containerd/real", at("run/climber")).expect("a link");
        symlink("/run/containerd/gone", at("run/dangling")).expect("a link");
        symlink("/run/round", at("run/round")).expect("a link");
        symlink("/nowhere", at("run/crio")).expect("a link");
        root
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let root = host();
        for (path, canonical) in [
            ("/run/containerd/real", "/run/containerd/real"),
            ("/var/run/containerd/real", "/run/containerd/real"),
            ("/run/climber", "/run/containerd/real"),
            ("/../../run/./containerd/../climber", "/run/containerd/real"),
            ("/", "/"),
        ] {
            let found = resolve(root.path(), Path::new(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(found, Path::new(canonical), "{path}");
        }
    }

    #[test]
    fn what_leads_nowhere_says_whether_it_is_a_link() {
        let root = host();
        for (path, is_link, is_missing) in [
            ("/run/none", false, true),
            ("/run/containerd/real/under-a-file", false, true),
            ("/run/dangling", true, false),
            ("/run/round", true, false),
            ("/run/crio/crio.sock", false, true),
        ] {
            let error = resolve(root.path(), Path::new(path)).expect_err(path);
            assert_eq!(
                (error.is_link, error.is_missing()),
                (is_link, is_missing),
                "{path}: {error:?}"
            );
        }
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let root = host();
        let read = |path: &str| read_file(root.path(), Path::new(path), 1);
        assert_eq!(read("/var/run/containerd/real").expect("one byte"), b"x");
        assert_eq!(
            read("/run").expect_err("a directory").kind(),
            io::ErrorKind::InvalidData
        );
        fs::write(root.path().join("run/containerd/real"), "xy").expect("a file");
        let error = read("/run/climber").expect_err("two bytes");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
