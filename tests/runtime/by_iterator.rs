//! Holders that the kernel's iterator over open files finds, compared with those of the walk over `/proc` under the
//! same load.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::clients::{self, Client, Connector};
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::places::Place;
use castoff_tests::report::{list, report};
use serde_json::Value;

/// A connection without a known holder makes every look run the iterator: a test that counts its runs must not have
/// one.
static UNHELD: Mutex<()> = Mutex::new(());

/// The iterator is a kernel program, like those that record connects: it is disabled together with them.
const BY_ITERATOR: [&str; 2] = ["--sample", "1s"];
const BY_WALK: [&str; 4] = ["--sample", "1s", "--connect-events", "off"];

/// Returns the pids that have this part in the connections to the socket.
fn pids(report: &Value, socket: &Path, part: &str) -> Result<BTreeSet<u64>> {
    let of_socket = |client: &&Value| client["listener"]["path"].as_str().map(Path::new) == Some(socket);
    let clients = list(report, "clients")?.iter().filter(of_socket);
    let processes = clients.flat_map(|client| client[part].as_array().into_iter().flatten());
    processes
        .map(|process| process["pid"].as_u64().context("a process without a pid"))
        .collect()
}

fn holders(clients: &[Client]) -> BTreeSet<u64> {
    clients.iter().map(|client| client.holder().into()).collect()
}

#[test]
fn the_iterator_and_the_walk_find_the_same_holders() -> Result<()> {
    let docker = Docker::start()?;
    let socket = docker.socket();
    let mut all = vec![
        clients::hold(socket, Place::host())?,
        clients::hold(socket, Place::host().network_namespace())?,
        clients::hold(socket, Place::unit("castoff-lab-backup.service")?)?,
    ];
    for connector in [Connector::Stays, Connector::Leaves] {
        all.push(clients::hand_by_fork(socket, connector, Place::host())?);
        all.push(clients::hand_by_message(socket, connector, Place::host())?);
    }
    let by_iterator = report(BY_ITERATOR)?;
    assert_eq!(
        by_iterator["holderMethod"], "iterator",
        "{}",
        by_iterator["iteratorRefused"]
    );
    assert_eq!(pids(&by_iterator, socket, "holders")?, holders(&all));
    let by_walk = report(BY_WALK)?;
    assert_eq!(by_walk["holderMethod"], "sock-diag");
    assert_eq!(pids(&by_walk, socket, "holders")?, holders(&all));
    // The processes that made a connection and passed it on. The lab has not reaped those that ended, so their pids are
    // not reused.
    let parted = all.iter().filter(|client| client.connector() != client.holder());
    let parted: BTreeSet<u64> = parted.map(|client| client.connector().into()).collect();
    ensure!(parted.len() == 4, "{parted:?}");
    assert_eq!(pids(&by_iterator, socket, "connectors")?, parted);
    Ok(())
}

/// `/proc/<pid>/fd` shows the table of a process's first thread alone.
#[test]
fn a_thread_with_descriptors_of_its_own_is_found_by_the_iterator_alone() -> Result<()> {
    let _alone = UNHELD.lock().unwrap_or_else(PoisonError::into_inner);
    let docker = Docker::start()?;
    let client = clients::hold_in_a_thread(docker.socket(), Place::host())?;
    let seen = report(BY_ITERATOR)?;
    assert_eq!(
        pids(&seen, docker.socket(), "holders")?,
        BTreeSet::from([client.holder().into()])
    );
    let by_walk = report(BY_WALK)?;
    assert_eq!(pids(&by_walk, docker.socket(), "holders")?, BTreeSet::new());
    assert_eq!(by_walk["verdict"], "in-use", "it is counted all the same");
    Ok(())
}

/// If every connection has a known holder, only every fourth look runs the iterator.
#[test]
fn an_old_process_that_receives_a_held_connection_is_found() -> Result<()> {
    let _alone = UNHELD.lock().unwrap_or_else(PoisonError::into_inner);
    let docker = Docker::start()?;
    let client = clients::share_later(docker.socket(), Duration::from_secs(3), Place::host())?;
    let seen = report(["--sample", "6s"])?;
    assert_eq!(
        pids(&seen, docker.socket(), "holders")?,
        BTreeSet::from([client.connector().into(), client.holder().into()])
    );
    Ok(())
}
