//! The server's ends of connections, with their clients. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::identity::SocketInode;
use crate::model::relay::ClientEnd;
use crate::model::socket::{ListenerId, ListeningSocket};
use crate::sources::sockets::connected::Connected;
use crate::sources::sockets::listening::listening_socket;
use crate::sources::sockets::tcp::{TcpClient, TcpSeen};

/// The server's ends of connections.
#[derive(Debug, Default)]
pub struct Ends(BTreeMap<SocketInode, (ListenerId, Option<ClientEnd>)>);

impl Ends {
    /// Creates it with the ends among the sockets `held`.
    pub fn new(held: &BTreeSet<SocketInode>, connected: Option<&Connected>, tcp: &TcpSeen) -> Self {
        let mut ends = BTreeMap::new();
        for socket in connected.iter().flat_map(|connected| &connected.sockets) {
            let row = socket.row();
            if !held.contains(&row.inode) {
                continue;
            }
            // An accepted socket has the name and the file of its listener.
            let id = listening_socket(socket.netns, &row).and_then(|listener| listener.id());
            if let Some(id) = id {
                ends.insert(row.inode, (id, row.peer.map(ClientEnd::Socket)));
            }
        }
        for connection in tcp.connections.iter().filter(|one| held.contains(&one.server)) {
            let listener = tcp
                .listening
                .iter()
                .find(|listener| listener.inode == connection.listener);
            let client = match connection.client {
                TcpClient::Here(socket, _) => Some(ClientEnd::Socket(socket)),
                TcpClient::Remote(address) => Some(ClientEnd::Remote(address)),
                TcpClient::Unseen => None,
            };
            if let Some(id) = listener.and_then(ListeningSocket::id) {
                ends.insert(connection.server, (id, client));
            }
        }
        Self(ends)
    }

    /// Returns the number of connections to each listener among the sockets `held`.
    pub fn of(&self, held: &BTreeSet<SocketInode>) -> BTreeMap<ListenerId, usize> {
        let mut count = BTreeMap::new();
        for (id, _) in held.iter().filter_map(|socket| self.0.get(socket)) {
            *count.entry(id.clone()).or_default() += 1;
        }
        count
    }

    /// Returns the connection that a process with the sockets `held` passes on: it has one connection from a client and
    /// one of those that are `outgoing`, and holds no listener. A pre-forked worker of a web server holds the listener.
    pub fn passed_on(
        &self,
        held: &BTreeSet<SocketInode>,
        outgoing: &BTreeSet<SocketInode>,
        listening: &[ListeningSocket],
    ) -> Option<(ListenerId, ClientEnd)> {
        // A listener that is closed has the inode of one of its connections.
        let listens = |socket: &ListeningSocket| held.contains(&socket.inode) && !self.0.contains_key(&socket.inode);
        let mut accepted = held.iter().filter_map(|socket| self.0.get(socket));
        let (id, client) = accepted.next()?;
        let is_pair = accepted.next().is_none() && held.intersection(outgoing).count() == 1;
        (is_pair && !listening.iter().any(listens)).then_some((id.clone(), (*client)?))
    }
}
