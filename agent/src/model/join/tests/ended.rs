//! Connects of processes that had ended before castoff read them.

use super::*;
use crate::model::connect::{Connects, ConnectsSeen};
use crate::model::request::Requests;

const PATH: &str = "/opt/ci/poll";

fn connects_of(process: Process) -> Connects {
    Connects {
        listener: docker_socket(),
        process: Some(process),
        count: 1,
        first: Timestamp::from_unix(1),
        last: Timestamp::from_unix(1),
        requests: Requests::default(),
    }
}

/// The names of the clients of a node with these connections and connects.
fn names(connections: Vec<Connection>, connects: Vec<Connects>) -> Vec<String> {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    known(&mut node.connections).connections = connections;
    node.connects = Sighting::full(ConnectsSeen {
        events: events(),
        connects,
        answer: 1,
    });
    let clients = join(&node).clients;
    clients
        .items()
        .iter()
        .map(|client| client.key.identity.to_string())
        .collect()
}

/// The parent connects and ends, and its child holds the connection.
#[test]
fn a_connect_of_an_ended_process_belongs_to_the_same_program_that_holds_it() {
    let of_unit = |pid: u32, executable: Option<&str>| {
        let mut process = process(pid, PATH);
        process.executable = executable.map(str::to_owned);
        process.membership.unit = Some(Unit::System {
            name: "a.service".into(),
        });
        process
    };
    let ended = || connects_of(of_unit(5, None));
    let holders = vec![connection(1, vec![of_unit(6, Some(PATH))])];
    for (connections, connects) in [
        (holders, vec![ended()]),
        (vec![], vec![ended(), connects_of(of_unit(7, Some(PATH)))]),
    ] {
        assert_eq!(names(connections, connects), ["a.service (/opt/ci/poll)"]);
    }
}

/// A process connects and executes another program. Another process in its place belongs to somebody else.
#[test]
fn a_process_that_executes_another_program_is_one_client() {
    let holds = |uid| {
        let mut now = process(5, PATH);
        now.uid = Some(uid);
        vec![connection(1, vec![now])]
    };
    let mut before = process(5, "sh");
    (before.executable, before.uid) = (None, Some(0));
    assert_eq!(names(holds(0), vec![connects_of(before.clone())]).len(), 1);
    let of_others = names(holds(1000), vec![connects_of(before.clone())]);
    assert_eq!(of_others.len(), 2, "{of_others:?}");
    before.key.start += 1;
    let of_another = names(holds(0), vec![connects_of(before)]);
    assert_eq!(of_another.len(), 2, "{of_another:?}");
}
