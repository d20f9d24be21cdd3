//! Counts include everything; lists of names are bounded.

use super::*;
use crate::fleet::row::{Reported, Use, UserKind};

fn place() -> Where {
    Where {
        namespace: "castoff".to_owned(),
        agents: "app.kubernetes.io/name=castoff".to_owned(),
        nodes: None,
    }
}

fn row(node: &str, verdict: Verdict, users: &[&str]) -> NodeRow {
    let users: Vec<Use> = users
        .iter()
        .map(|name| Use {
            user: User {
                kind: UserKind::Workload,
                namespace: Some("ci".to_owned()),
                name: (*name).to_owned(),
            },
            connections: 1,
            last_seen: None,
        })
        .collect();
    NodeRow {
        verdict,
        doubt: None,
        clients: Reported::Known(Clients {
            now: users.len() as u64,
            before: 0,
            users,
            more_users: 0,
        }),
        ..NodeRow::unknown(node, Doubt::NoAgent, "")
    }
}

#[test]
fn memory_does_not_grow_with_the_fleet_and_the_counts_do() {
    let mut tally = Tally::default();
    for at in 0..30_000 {
        tally.add(&row(
            &format!("n{at}"),
            Verdict::InUse,
            &[&format!("own-{at}"), "shared"],
        ));
    }
    assert_eq!((tally.users.len(), tally.worst.len()), (USERS, NODES_SHOWN));
    let summary = tally.summary(Some(&Ending::default()), &place(), 1, 1);
    assert_eq!(summary.nodes, 30_000);
    assert_eq!(
        (summary.users[0].user.name.as_str(), summary.users[0].nodes),
        ("shared", 30_000)
    );
    assert_eq!(summary.users.len(), USERS_SHOWN);
    assert_eq!(summary.more_users, 30_001 - USERS_SHOWN as u64);
    assert_eq!(
        summary.namespaces,
        [Count {
            what: Some("ci".to_owned()),
            nodes: 60_000
        }]
    );
}

#[test]
fn the_worst_nodes_are_kept_in_any_order() {
    let mut tally = Tally::default();
    for at in 0..1000 {
        tally.add(&row(&format!("clear-{at}"), Verdict::Clear, &[]));
    }
    tally.add(&row("used-little", Verdict::InUse, &["a"]));
    tally.add(&row("used-much", Verdict::InUse, &["a", "b"]));
    tally.add(&row("docker", Verdict::Runtime, &[]));
    tally.add(&row("blind", Verdict::Unknown, &[]));
    tally.add(&row("idle", Verdict::Idle, &[]));
    let worst: Vec<_> = tally.worst().take(6).map(|row| row.node.as_str()).collect();
    assert_eq!(
        worst,
        ["docker", "used-much", "used-little", "blind", "idle", "clear-0"]
    );
}

#[test]
fn an_incomplete_fleet_is_never_called_complete() {
    let mut tally = Tally::default();
    tally.add(&row("one", Verdict::Clear, &[]));
    assert!(!tally.summary(None, &place(), 0, 0).complete);
    let broken = Ending {
        pods: 1,
        broken: vec!["list nodes: HTTP 500".to_owned()],
        ..Ending::default()
    };
    let summary = tally.summary(Some(&broken), &place(), 0, 0);
    assert!(
        !summary.complete && summary.notes[0].contains("HTTP 500"),
        "{:?}",
        summary.notes
    );
    let whole = Ending {
        pods: 1,
        ..Ending::default()
    };
    let summary = tally.summary(Some(&whole), &place(), 0, 0);
    assert!(summary.complete && summary.notes.is_empty());
}
