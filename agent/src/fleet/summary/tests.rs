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

#[test]
fn each_day_counts_every_node_once() {
    let mut tally = Tally::default();
    let mut yesterday = row("used", Verdict::InUse, &["a"]);
    yesterday.week[1] = DayUse::Used;
    tally.add(&yesterday);
    let mut clear = row("clear", Verdict::Clear, &[]);
    clear.week = [DayUse::Unused; DAYS];
    tally.add(&clear);
    tally.add(&row("silent", Verdict::Unknown, &[]));
    let summary = tally.summary(Some(&Ending::default()), &place(), 1, 1);
    let days: Vec<_> = summary
        .days
        .iter()
        .map(|day| (day.days_ago, day.used, day.unused, day.unknown))
        .collect();
    assert_eq!((days.len(), days[0].0), (DAYS, 6), "the oldest first");
    assert_eq!(days[5..], [(1, 1, 1, 1), (0, 0, 1, 2)]);
}

#[test]
fn nodes_are_counted_by_the_newest_kubelet_that_their_runtime_serves() {
    let mut tally = Tally::default();
    for (at, ceiling) in [Some(Some(37)), Some(None), Some(Some(23)), None, Some(Some(37))]
        .into_iter()
        .enumerate()
    {
        let mut node = row(&format!("n{at}"), Verdict::Clear, &[]);
        node.kubelet_ceiling = ceiling.map_or(Reported::Unknown, Reported::Known);
        tally.add(&node);
    }
    let summary = tally.summary(Some(&Ending::default()), &place(), 1, 1);
    let counts: Vec<_> = summary.kubelet_ceilings.iter().map(|c| (c.what, c.nodes)).collect();
    assert_eq!(counts, [(Some(23), 1), (Some(37), 2), (None, 1)]);
}
