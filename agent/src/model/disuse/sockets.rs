//! The sockets of the node's engines, and the connects that the times of their files show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DAY;
use crate::model::engine::{Engine, Listener};
use crate::model::last_connect::{LastConnect, Moment, NoMark};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::snapshot::Snapshot;
use crate::model::socket::ListenerId;
use crate::model::time::Timestamp;

/// The sockets that one look saw, each with the mark of its file; none if the file proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sockets(pub(super) BTreeMap<String, Option<Mark>>);

/// A mark that every connect changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nobody connected since then, when the socket was made or its file was changed.
    NoneSince(Timestamp),
    /// The last connect.
    Connected(Moment),
    /// The name no longer leads to the socket, so no new client can connect.
    Removed,
}

/// The prefix of the name of a socket that has a file.
const FILE: &str = "file ";

/// True if the kernel can report connects to this socket.
pub(super) fn has_file(name: &str) -> bool {
    name.starts_with(FILE)
}

impl Sockets {
    /// The number of sockets that are kept.
    const LIMIT: usize = 64;

    /// Returns the sockets of the node's `engines`, or the gap that may hide a use of them: a socket that keeps no mark
    /// of connects and whose connects the kernel does not report. If `marked` is false, a client may have connected
    /// through a mount that keeps no access times.
    pub fn of(snapshot: &Snapshot, engines: &[Engine], recorded: bool, marked: bool) -> Result<Self, Gap> {
        let mut sockets = BTreeMap::new();
        for listener in listeners(engines) {
            if !(recorded && matches!(listener.id, ListenerId::File(_))) {
                refuse_unmarked(listener)?;
            }
            let mark = mark_of(snapshot, listener).filter(|mark| marked || *mark == Mark::Removed);
            sockets.insert(name_of(listener), mark);
        }
        if sockets.len() > Self::LIMIT {
            let answer = format!("there are {}", sockets.len());
            return Err(gap(Reason::LimitReached, "the sockets of engines", answer));
        }
        Ok(Self(sockets))
    }

    /// True if a client may have connected within the last 24 hours to a socket whose mount updates access times once a
    /// day: after the first connect, later ones on that day leave no mark.
    pub fn may_be_used(snapshot: &Snapshot, engines: &[Engine]) -> bool {
        listeners(engines).any(|listener| {
            let last = listener.last_connect;
            matches!(last, Some(LastConnect::AtLeast { at }) if is_of_today(snapshot, at))
        })
    }
}

fn listeners(engines: &[Engine]) -> impl Iterator<Item = &Listener> {
    let of_node = engines.iter().filter(|engine| engine.scope.is_of_node());
    of_node.flat_map(|engine| &engine.listeners)
}

/// Uses the listener's identity, because its name may lead to another socket later.
fn name_of(listener: &Listener) -> String {
    match &listener.id {
        ListenerId::File(file) => format!("{FILE}{file}"),
        ListenerId::Abstract(netns, _) | ListenerId::Tcp(netns, _) => format!("{} in {}", listener.name, netns.0),
    }
}

/// A TCP port has its own finding, and only looks show its clients.
fn refuse_unmarked(listener: &Listener) -> Result<(), Gap> {
    let missing = match listener.last_connect {
        Some(last) => last.missing(),
        None => Some(NoMark::Unread),
    };
    match missing.filter(|_| !matches!(listener.id, ListenerId::Tcp(..))) {
        Some(why) => {
            let answer = format!("a use between two looks leaves no mark: {}", why.words());
            Err(gap(Reason::NoKernelSupport, &listener.name.to_string(), answer))
        }
        None => Ok(()),
    }
}

fn mark_of(snapshot: &Snapshot, listener: &Listener) -> Option<Mark> {
    let connected = |at: Timestamp| {
        let clock = snapshot.clocks.iter().find(|clock| clock.listener == listener.id);
        let mark = clock.and_then(|clock| clock.mark);
        Some(Mark::Connected(mark.unwrap_or(Moment::from_secs(at.as_unix()))))
    };
    match listener.last_connect? {
        LastConnect::NoneSince { since } => Some(Mark::NoneSince(since)),
        LastConnect::NoMark {
            because: NoMark::Removed,
        } => Some(Mark::Removed),
        LastConnect::AtLeast { at } if is_of_today(snapshot, at) => None,
        LastConnect::AtLeast { at } | LastConnect::Exact { at } => connected(at),
        LastConnect::NoMark { .. } => None,
    }
}

fn is_of_today(snapshot: &Snapshot, at: Timestamp) -> bool {
    snapshot.taken.since(at).as_secs() <= DAY
}

fn gap(reason: Reason, asked: &str, answer: String) -> Gap {
    Gap::new(reason, Hides::Client, asked, answer)
}
