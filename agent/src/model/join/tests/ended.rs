//! Connects of processes that had ended before castoff read them.

use super::*;
use crate::model::connect::{Connects, ConnectsSeen};
use crate::model::request::Requests;

const PATH: &str = "/opt/ci/poll";

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
    let connects_of = |process: Process| Connects {
        listener: docker_socket(),
        process: Some(process),
        count: 1,
        first: Timestamp::from_unix(1),
        last: Timestamp::from_unix(1),
        requests: Requests::default(),
    };
    let ended = || connects_of(of_unit(5, None));
    let holders = vec![connection(1, vec![of_unit(6, Some(PATH))])];
    for (connections, connects) in [
        (holders, vec![ended()]),
        (vec![], vec![ended(), connects_of(of_unit(7, Some(PATH)))]),
    ] {
        let mut node = clear_node();
        known(&mut node.engines).push(dockerd());
        known(&mut node.connections).connections = connections;
        node.connects = Sighting::full(ConnectsSeen {
            events: events(),
            connects,
        });
        let clients = join(&node).clients;
        let names: Vec<_> = clients
            .items()
            .iter()
            .map(|client| client.key.identity.to_string())
            .collect();
        assert_eq!(names, ["a.service (/opt/ci/poll)"]);
    }
}
