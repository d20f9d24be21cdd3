//! The last connect to a socket, by the times of its file: evidence that needs no look at the right moment.
//!
//! connect(2) by a path updates the access time of the socket's inode and none of its other times (`unix_find_bsd` of
//! `net/unix/af_unix.c`), as far as the mount of the path keeps access times. A program that sets the access time by hand
//! (touch(1), utimensat(2)) sets the change time to the current time as well. So an access time later than the change time is a
//! connect, and one that is not later shows that there was no connect since the change. ADR 13.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::codes;
use super::socket::ListenerId;
use super::time::Timestamp;

/// A point in time since the Unix epoch, with the precision that the kernel keeps for files.
pub type Moment = Duration;

/// The moment of a wall clock; 0 for a clock before 1970.
pub fn moment_of(time: SystemTime) -> Moment {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

codes! {
    /// The way in which a mount keeps the access times of its files.
    AccessTimes {
        /// With each access (`strictatime`).
        Each = "each",
        /// With the first access after a change, and then once in 24 hours (`relatime`).
        Daily = "daily",
        /// Not at all (`noatime`, or read-only).
        Never = "never",
        /// castoff does not know how this file system keeps them.
        Unknown = "unknown",
    }
}

impl AccessTimes {
    /// Returns the setting that keeps fewer access times.
    #[must_use]
    pub fn weaker(self, other: Self) -> Self {
        self.max(other)
    }
}

/// The times of a socket's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTimes {
    /// The time when it was made; none if its file system does not keep it.
    pub made: Option<Moment>,
    /// The time of the last access: for a socket, when it was made or last connected to.
    pub accessed: Moment,
    /// The time of the last change of its owner, mode, names or times, or of its creation.
    pub changed: Moment,
}

codes! {
    /// The reason why a socket's file does not show the last connect.
    NoMark {
        /// A mount that leads to it keeps no access times.
        Mount = "mount",
        /// castoff does not know how its file system keeps access times.
        FileSystem = "file-system",
        /// A time of its file is in the future, or before the file was made: the clock was wrong, or the file's owner set the time.
        Future = "future",
        /// Its file could not be read.
        Unread = "unread",
        /// It is an abstract name, which has no file.
        Abstract = "abstract",
        /// It is a TCP port, which has no file.
        Tcp = "tcp",
        /// Its name no longer leads to it, so no new client can connect by this name.
        Removed = "removed",
    }
}

/// The last connect to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LastConnect {
    /// A client connected then, and none since.
    Exact {
        /// The time of the connect.
        at: Timestamp,
    },
    /// A client connected then, perhaps again within the 24 hours after it, and none after those.
    AtLeast {
        /// The time of the connect.
        at: Timestamp,
    },
    /// No client connected since then, when the socket was made or its file was last changed.
    NoneSince {
        /// The time of that change.
        since: Timestamp,
    },
    /// The file does not show it.
    NoMark {
        /// The reason.
        because: NoMark,
    },
}

/// The kernel writes access times by its tick, up to 10 ms behind the clock that `now` is read from.
const TICK: Duration = Duration::from_millis(20);

/// The interval at which a mount with daily access times updates one (`relatime_need_update` of `fs/inode.c`).
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl LastConnect {
    /// Judges the `times` of a file on mounts that keep access times as `keeps` says, at the time `now`. Also returns the moment
    /// of the connect, if there was one.
    pub fn judge(times: FileTimes, keeps: AccessTimes, now: Moment) -> (Self, Option<Moment>) {
        let FileTimes {
            made,
            accessed,
            changed,
        } = times;
        let no_mark = |because| (Self::NoMark { because }, None);
        // If a client connected while the clock was behind, the access time is earlier than all other times.
        let is_before_all = made.is_some_and(|made| accessed + TICK < made);
        if accessed.max(changed) > now + TICK || is_before_all {
            return no_mark(NoMark::Future);
        }
        // An access time that a connect set is valid, whatever other mounts lead to the socket. The kernel reads one
        // clock for both times, so there is no tolerance: with one, a client that connects as soon as the daemon
        // listens would be hidden for the 24 hours in which a mount with daily access times records no other.
        let connected = accessed > changed;
        let at = Timestamp::from_unix(accessed.as_secs());
        match keeps {
            AccessTimes::Never => (Self::NoMark { because: NoMark::Mount }, connected.then_some(accessed)),
            AccessTimes::Unknown => no_mark(NoMark::FileSystem),
            AccessTimes::Each if connected => (Self::Exact { at }, Some(accessed)),
            AccessTimes::Daily if connected => (Self::AtLeast { at }, Some(accessed)),
            AccessTimes::Each | AccessTimes::Daily => (
                Self::NoneSince {
                    since: Timestamp::from_unix(changed.as_secs()),
                },
                None,
            ),
        }
    }

    /// The latest time at which a client may have connected without another mark, where a connect was seen.
    pub fn latest(&self) -> Option<Timestamp> {
        match self {
            Self::Exact { at } => Some(*at),
            Self::AtLeast { at } => Some(Timestamp::from_unix(at.as_unix() + DAY.as_secs())),
            Self::NoneSince { .. } | Self::NoMark { .. } => None,
        }
    }

    /// The time in this value.
    pub const fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Exact { at } | Self::AtLeast { at } | Self::NoneSince { since: at } => Some(*at),
            Self::NoMark { .. } => None,
        }
    }

    /// The closed word for a metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exact { .. } => "exact",
            Self::AtLeast { .. } => "at-least",
            Self::NoneSince { .. } => "none-since",
            Self::NoMark { .. } => "no-mark",
        }
    }

    /// The reason why a use between two looks may leave no trace; none if every use leaves one, or no client can connect.
    pub const fn missing(&self) -> Option<NoMark> {
        match self {
            Self::NoMark {
                because: NoMark::Removed,
            }
            | Self::Exact { .. }
            | Self::AtLeast { .. }
            | Self::NoneSince { .. } => None,
            Self::NoMark { because } => Some(*because),
        }
    }
}

impl NoMark {
    /// The reason in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Mount => "a mount that leads to it keeps no access times (noatime or read-only)",
            Self::FileSystem => "castoff does not know how its file system keeps access times",
            Self::Future => "the times of its file contradict the clock",
            Self::Unread => "its file could not be read",
            Self::Abstract => "an abstract name has no file",
            Self::Tcp => "a TCP port has no file",
            Self::Removed => "its name no longer leads to it",
        }
    }
}

impl NoMark {
    /// The change that would make connects leave a mark, if there is one.
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Mount => Some("mount it with relatime or strictatime"),
            Self::Future => Some("correct the clock, and run touch(1) on the socket's file"),
            Self::FileSystem | Self::Unread | Self::Abstract | Self::Tcp | Self::Removed => None,
        }
    }
}

/// The last connect to one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerClock {
    /// The listener.
    pub listener: ListenerId,
    /// The last connect, by the socket's file.
    pub last_connect: LastConnect,
    /// The moment of the connect, if there was one.
    pub mark: Option<Moment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MADE: Duration = Duration::from_secs(1_000_000);

    fn judge(accessed: Duration, changed: Duration, keeps: AccessTimes) -> LastConnect {
        let made = Some(MADE);
        let times = FileTimes {
            made,
            accessed,
            changed,
        };
        let (reading, mark) = LastConnect::judge(times, keeps, MADE + 100 * DAY);
        if matches!(reading, LastConnect::Exact { .. } | LastConnect::AtLeast { .. }) {
            assert_eq!(mark, Some(accessed));
        }
        reading
    }

    fn at(moment: Duration) -> Timestamp {
        Timestamp::from_unix(moment.as_secs())
    }

    #[test]
    fn an_access_after_the_last_change_is_a_connect() {
        let later = MADE + 5 * SECOND;
        assert_eq!(
            judge(later, MADE, AccessTimes::Each),
            LastConnect::Exact { at: at(later) }
        );
        let daily = judge(later, MADE, AccessTimes::Daily);
        assert_eq!(daily, LastConnect::AtLeast { at: at(later) });
        assert_eq!(daily.latest(), Some(at(later + DAY)));
    }

    #[test]
    fn a_new_socket_has_no_connect() {
        let since = LastConnect::NoneSince { since: at(MADE) };
        for keeps in [AccessTimes::Each, AccessTimes::Daily] {
            assert_eq!(judge(MADE, MADE, keeps), since);
            // The daemon changed the socket's group after it had created the socket.
            assert_eq!(
                judge(MADE, MADE + SECOND, keeps),
                LastConnect::NoneSince {
                    since: at(MADE + SECOND)
                }
            );
        }
    }

    #[test]
    fn a_connect_right_after_the_change_is_a_connect() {
        let soon = MADE + SECOND / 250;
        assert_eq!(
            judge(soon, MADE, AccessTimes::Daily),
            LastConnect::AtLeast { at: at(soon) }
        );
        assert_eq!(
            judge(soon, MADE, AccessTimes::Each),
            LastConnect::Exact { at: at(soon) }
        );
    }

    #[test]
    fn a_tool_that_touches_the_file_is_not_a_client() {
        // touch(1): both times are the time of the call. Earlier connects are not known.
        let touched = MADE + 60 * SECOND;
        let since = LastConnect::NoneSince { since: at(touched) };
        assert_eq!(judge(touched, touched, AccessTimes::Each), since);
        // Since Linux 6.13 the change time can be finer than the access time, which is the kernel's tick.
        assert_eq!(judge(touched, touched + SECOND / 250, AccessTimes::Each), since);
        // A backup that sets the old access time again.
        assert_eq!(judge(MADE, touched, AccessTimes::Each), since);
    }

    #[test]
    fn missing_access_times_prove_nothing() {
        let mount = LastConnect::NoMark { because: NoMark::Mount };
        assert_eq!(judge(MADE, MADE, AccessTimes::Never), mount);
        assert_eq!(mount.missing(), Some(NoMark::Mount));
        let unknown = judge(MADE, MADE, AccessTimes::Unknown);
        assert_eq!(unknown.missing(), Some(NoMark::FileSystem));
        // A mark from before the mount was changed, or through another path: it proves a connect, but not that this was
        // the last one.
        let times = FileTimes {
            made: None,
            accessed: MADE + 5 * SECOND,
            changed: MADE,
        };
        let judged = LastConnect::judge(times, AccessTimes::Never, MADE + DAY);
        assert_eq!(judged, (mount, Some(times.accessed)));
    }

    /// While the clock is behind, an older file is in the future, and a connect is earlier than the file.
    #[test]
    fn times_of_a_wrong_clock_prove_nothing() {
        let future = LastConnect::NoMark {
            because: NoMark::Future,
        };
        for (accessed, changed) in [
            (MADE + 101 * DAY, MADE),
            (MADE + 5 * SECOND, MADE + 101 * DAY),
            (MADE / 2, MADE),
        ] {
            assert_eq!(judge(accessed, changed, AccessTimes::Each), future);
        }
    }

    #[test]
    fn the_weaker_of_two_mounts_counts() {
        assert_eq!(AccessTimes::Each.weaker(AccessTimes::Daily), AccessTimes::Daily);
        assert_eq!(AccessTimes::Never.weaker(AccessTimes::Each), AccessTimes::Never);
    }
}
