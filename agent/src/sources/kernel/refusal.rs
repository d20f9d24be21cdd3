//! The meaning of an error of the host: a gap with the right that castoff lacks, or a file or process that is gone.

use std::fmt::{self, Display};
use std::io;

use rustix::io::Errno;

use crate::model::reading::{Gap, Hides, Reason};

/// The right that castoff lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// To inspect processes of other users.
    Trace,
    /// To inspect processes of other users, and their directories.
    TraceAndSearch,
    /// Root's: the rights of the file's owner, or `CAP_DAC_READ_SEARCH`.
    Root,
}

impl Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "CAP_SYS_PTRACE",
            Self::TraceAndSearch => "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            Self::Root => "root",
        })
    }
}

/// Returns the gap for `error` on reading `asked`, which needs `right`.
pub(crate) fn gap(error: &io::Error, hides: Hides, asked: impl Display, right: Right) -> Gap {
    Gap::new(Reason::of(error), hides, asked, explain(error, right))
}

/// Returns the error as text, with `right` if the error is a refusal.
pub(crate) fn explain(error: &io::Error, right: Right) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}; needs {right}"),
        _ => error.to_string(),
    }
}

/// True if a process or one of its files is gone. procfs reports ESRCH if the process's directory is still open.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || is(error, Errno::SRCH)
}

/// True if there is no file with that path: the file itself is missing, or a directory above it.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    is_gone(error) || error.kind() == io::ErrorKind::NotADirectory
}

/// True if a path leads nowhere, because its links form a loop or its names do not exist.
pub(crate) fn leads_nowhere(error: &io::Error) -> bool {
    is_missing(error) || is(error, Errno::LOOP) || is(error, Errno::NAMETOOLONG)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_names_the_missing_right() {
        let of = |errno: Errno| gap(&errno.into(), Hides::Detail, "x", Right::Trace);
        assert!(of(Errno::ACCESS).answer.ends_with("; needs CAP_SYS_PTRACE"));
        assert_eq!(of(Errno::PERM).reason, Reason::PermissionDenied);
        assert!(!of(Errno::IO).answer.contains("CAP"));
    }

    #[test]
    fn a_refusal_is_not_absence() {
        for (errno, gone, missing, nowhere) in [
            (Errno::NOENT, true, true, true),
            (Errno::SRCH, true, true, true),
            (Errno::NOTDIR, false, true, true),
            (Errno::LOOP, false, false, true),
            (Errno::NAMETOOLONG, false, false, true),
            (Errno::ACCESS, false, false, false),
            (Errno::IO, false, false, false),
        ] {
            let error = io::Error::from(errno);
            let judged = (is_gone(&error), is_missing(&error), leads_nowhere(&error));
            assert_eq!(judged, (gone, missing, nowhere), "{errno:?}");
        }
    }
}
