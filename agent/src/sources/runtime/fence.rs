//! Decides which sockets castoff may open: never one that is, or could be, an engine's.
//!
//! The socket of every candidate is compared with the listeners of the same look. It is opened if its listener is known
//! and is not an engine's, and if its name is not one that engines use. If some listener or engine may have been
//! missed, only the sockets that runtimes are known to use are opened.

use std::path::Path;

use super::endpoint::{self, FoundSocket};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::runtime::RefusedEndpoint;
use crate::model::socket::ListeningFiles;
use crate::sources::docker;

/// Separates the sockets that castoff may open from the others.
pub(super) fn separate(sockets: Vec<FoundSocket>, seen: &ListeningFiles) -> (Vec<FoundSocket>, Vec<RefusedEndpoint>) {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for socket in sockets {
        match refuse(&socket, seen) {
            None => open.push(socket),
            Some((reason, answer)) => refused.push(RefusedEndpoint {
                refusal: Gap::new(reason, Hides::Runtime, &socket.candidate.path, answer),
                candidate: socket.candidate,
            }),
        }
    }
    (open, refused)
}

/// Returns the reason why a socket is not opened; none if it may be.
fn refuse(socket: &FoundSocket, seen: &ListeningFiles) -> Option<(Reason, String)> {
    let name = name_of(&socket.canonical);
    let listening = seen.find(socket.identity, name);
    if let Some(engine) = listening.and_then(|listening| listening.engine) {
        let answer = format!("not opened: {engine} listens on it and serves the Docker API, not CRI");
        return Some((Reason::ProtocolError, answer));
    }
    let names = [name, name_of(Path::new(&socket.candidate.path))];
    if let Some(engine) = names.into_iter().find_map(docker::engine_of_socket) {
        let answer = format!("not opened: it has the name of a socket of {engine}, which does not serve CRI");
        return Some((Reason::ProtocolError, answer));
    }
    match (seen.whole, listening) {
        (true, Some(_)) => None,
        (true, None) => Some((
            Reason::ConnectionRefused,
            "no process was seen listening on it".to_owned(),
        )),
        (false, _) if endpoint::is_of_a_runtime(&socket.canonical) && !socket.has_other_names => None,
        (false, _) => {
            let answer = "not opened: castoff could not see which process listens on it, and it may be an engine";
            Some((Reason::DependsOnAnother, answer.to_owned()))
        }
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
