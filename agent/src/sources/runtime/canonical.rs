//! What a path of the host is called once every link is followed: the name that is reported, compared and connected to.
//! What a path *is* says [`crate::sources::kernel::rooted`]; its rules hold here too: links lead inside the host's root, and
//! `..` never above it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links that one path may lead through: the kernel's own limit (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS_MAX: u32 = 40;

/// A path that leads nowhere, or not within castoff's rights.
#[derive(Debug, thiserror::Error)]
#[error("{}", at.display())]
pub(super) struct Unresolved {
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
    pub(super) fn is_missing(&self) -> bool {
        !self.is_link
            && matches!(
                self.error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
    }
}

/// The canonical form of the host's `path`: absolute, without links, relative to `root`. A relative `path` is taken
/// from the root.
pub(super) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, Unresolved> {
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
pub(super) fn on_disk(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
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
}
