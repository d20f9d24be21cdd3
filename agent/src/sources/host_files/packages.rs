//! Finds Docker's package `containerd.io`.
//!
//! Relies on dpkg's list of each package's files, and on the licence that the RPM installs: castoff does not read the
//! formats of RPM's own database.

use std::io;

use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sources::kernel::rooted::Rooted;

/// dpkg's list of the package's files. After a removal without `--purge` it lists only its configuration.
const DPKG_LIST: &str = "/var/lib/dpkg/info/containerd.io.list";

/// The program in that list.
const PROGRAM: &[u8] = b"/usr/bin/containerd";

/// The limit of the list, in bytes; this one has about 30 lines.
const LIST_MAX: u64 = 1 << 20;

/// The directory that the RPM installs.
const RPM_LICENCE: &str = "/usr/share/licenses/containerd.io";

/// The databases of dpkg and RPM. Without one of them a missing file proves nothing.
const DATABASES: [&str; 3] = ["/var/lib/dpkg/info", "/var/lib/rpm", "/usr/lib/sysimage/rpm"];

/// Returns the file that shows that the package is installed.
pub(super) fn find_containerd_io(root: &Rooted) -> Reading<String> {
    for (path, is_there) in [(DPKG_LIST, is_listed(root)), (RPM_LICENCE, exists(root, RPM_LICENCE))] {
        match is_there {
            Ok(true) => return Reading::Known(path.to_owned()),
            Ok(false) => {}
            Err(error) => return Reading::Unknown(Gap::new(Reason::of(&error), Hides::Detail, path, &error)),
        }
    }
    if DATABASES.iter().any(|path| exists(root, path).unwrap_or(false)) {
        return Reading::Absent;
    }
    let answer = "neither dpkg's nor RPM's list of packages is here";
    Reading::Unknown(Gap::new(Reason::NotFound, Hides::Detail, DATABASES.join(", "), answer))
}

fn is_listed(root: &Rooted) -> io::Result<bool> {
    match root.read_file(DPKG_LIST, LIST_MAX) {
        Ok(list) => Ok(list.split(|byte| *byte == b'\n').any(|line| line == PROGRAM)),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn exists(root: &Rooted, path: &str) -> io::Result<bool> {
    match root.read_identity(path) {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
