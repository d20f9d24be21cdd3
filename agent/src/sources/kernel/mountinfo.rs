//! The lines of `/proc/<pid>/mountinfo`: the mounts that one process sees.
//!
//! Relies on `proc_pid_mountinfo(5)`. The parser returns none for a line that does not fit the format, and its callers
//! skip such lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{PROC_SUPER_MAGIC, fstatfs};

use crate::model::identity::Device;

/// The most bytes that are read of one `mountinfo`: a node with 110 pods has about 300 KiB.
const LIMIT: u64 = 16 << 20;

/// One mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountLine<'a> {
    /// The mount's ID, the same in every mount namespace that shows it.
    pub id: u32,
    /// The ID of the mount that it is mounted on.
    pub parent: u32,
    /// The device of the mounted file system, `st_dev` of the files in it.
    pub device: Device,
    /// The mounted directory, by its path on that file system, with the kernel's octal escapes; `net:[4026532567]` for
    /// a namespace. Ends in `//deleted` if it was removed later.
    pub root: &'a [u8],
    /// The mount point relative to the process's root, with the kernel's octal escapes.
    pub point: &'a [u8],
    /// The mount's own options, comma-separated: `ro`, `nosuid`, `idmapped`.
    pub flags: &'a [u8],
    /// The file system's type: `proc`, `cgroup2`, `tmpfs`.
    pub fs_type: &'a [u8],
    /// The super block's options, comma-separated.
    pub options: &'a [u8],
}

impl<'a> MountLine<'a> {
    /// Parses `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`. There may be any number
    /// of optional fields before the dash. Returns none if a field is missing.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
        let id = parse_number(fields.next()?)?;
        let parent = parse_number(fields.next()?)?;
        let device = parse_device(fields.next()?)?;
        let root = fields.next()?;
        let point = fields.next()?;
        let flags = fields.next()?;
        fields.by_ref().find(|f| *f == b"-")?;
        let fs_type = fields.next()?;
        let options = fields.nth(1)?;
        Some(Self {
            id,
            parent,
            device,
            root,
            point,
            flags,
            fs_type,
            options,
        })
    }

    /// Returns the value of the super block's option `name`; empty for an option without a value.
    pub(crate) fn option(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.options.split(|b| *b == b',').find_map(|option| {
            let rest = option.strip_prefix(name)?;
            if rest.is_empty() {
                Some(rest)
            } else {
                rest.strip_prefix(b"=")
            }
        })
    }
}

fn parse_number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn parse_device(field: &[u8]) -> Option<Device> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// Detects that a `mountinfo` has to be read again, because reading it takes a millisecond with 110 pods. Relies on
/// poll(2) of the open file, which reports changes since Linux 2.6.15 (proc(5)). A file that is not in a procfs is
/// always read again.
#[derive(Debug, Default)]
pub(crate) struct MountWatch {
    file: Option<File>,
}

impl MountWatch {
    /// True if the mounts in `path` may have changed since the last call. Also true if this cannot be determined.
    pub(crate) fn has_changed(&mut self, path: &Path) -> bool {
        let changed = self.file.as_ref().is_none_or(|file| {
            let mut asked = [PollFd::new(file, PollFlags::PRI)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut asked, Some(&at_once)).map_or(true, |events| events > 0)
        });
        if changed {
            // Opened before it is read, so that a change during the reading counts.
            let is_procfs = |file: &File| fstatfs(file).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC);
            self.file = File::open(path).ok().filter(is_procfs);
        }
        changed
    }
}

/// Reads the mounts in `path` in the kernel's order, so that a later mount covers an earlier one, until `each` returns
/// false.
pub(crate) fn read_mounts(path: &Path, each: impl FnMut(MountLine<'_>) -> bool) -> io::Result<()> {
    read_mounts_from(File::open(path)?, each)
}

/// Does the same as [`read_mounts`] with an open file.
pub(crate) fn read_mounts_from(file: impl Read, mut each: impl FnMut(MountLine<'_>) -> bool) -> io::Result<()> {
    let mut reader = BufReader::new(file.take(LIMIT));
    let mut line = Vec::with_capacity(512);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Some(mount) = MountLine::parse(line.trim_ascii_end())
            && !each(mount)
        {
            return Ok(());
        }
    }
}

/// Decodes the escapes of blank, tab, newline and backslash: `\` and three octal digits (`mangle` of
/// `fs/proc_namespace.c`).
pub(crate) fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after
            .first_chunk::<3>()
            .filter(|_| first == b'\\')
            .and_then(|digits| octal(*digits));
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(&digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_optional_fields_is_read() {
        for line in [
            "22 27 0:21 / /proc rw,relatime - proc proc rw,gid=4,hidepid=invisible",
            "22 27 0:21 / /proc rw,relatime shared:5 master:1 - proc proc rw,gid=4,hidepid=invisible",
        ] {
            let mount = MountLine::parse(line.as_bytes()).expect("it is the manual's form");
            assert_eq!((mount.id, mount.parent, mount.flags), (22, 27, &b"rw,relatime"[..]));
            assert_eq!((mount.root, mount.point), (&b"/"[..], &b"/proc"[..]));
            assert_eq!(mount.fs_type, b"proc");
            assert_eq!(mount.device, Device { major: 0, minor: 21 });
            assert_eq!(mount.option(b"hidepid"), Some(&b"invisible"[..]));
            assert_eq!(mount.option(b"hide"), None);
            assert_eq!(mount.option(b"rw"), Some(&b""[..]));
        }
    }

    #[test]
    fn a_truncated_line_is_not_a_mount() {
        let line = b"22 27 0:21 / /proc rw,relatime - proc proc rw";
        for end in 0..line.len() - 2 {
            assert_eq!(MountLine::parse(&line[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn a_backslash_without_an_octal_number_is_kept() {
        for (escaped, plain) in [
            (&b"a\\040b"[..], &b"a b"[..]),
            (b"a\\04", b"a\\04"),
            (b"a\\999", b"a\\999"),
            (b"a\\777", b"a\\777"),
            (b"\\134\\012", b"\\\n"),
        ] {
            assert_eq!(unescaped(escaped), plain);
        }
    }
}
