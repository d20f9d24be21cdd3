//! Connects that only the times of a socket's file show.

use super::*;

pub(in crate::model::history) fn unseen() -> ClientKey {
    ClientKey {
        identity: ClientIdentity::Unseen,
        ..open(0, &[]).key
    }
}

/// Looks begin every ten seconds; each has a time, the sockets that are open then, and the last connect by the file.
fn looks(history: &mut History, looks: &[(u64, &[u32], Option<f64>)]) {
    for (at, sockets, mark) in looks {
        let clients: Vec<OpenClient> = (!sockets.is_empty()).then(|| open(0, sockets)).into_iter().collect();
        history.record(Timestamp::from_unix(*at), &clients);
        let mark = mark.map(|mark| (unseen(), Moment::from_secs_f64(mark)));
        history.record_marks(Moment::from_secs(*at), mark.as_slice());
    }
}

/// The first and last time of the client that no look saw, and the number of looks before which it had connected.
fn seen(history: &History) -> Option<(u64, u64, u64)> {
    let seen = history.get(&unseen())?;
    Some((seen.first.as_unix(), seen.last.as_unix(), seen.connects))
}

#[test]
fn a_connect_that_no_look_saw_is_a_client() {
    let mut history = History::default();
    looks(
        &mut history,
        &[(100, &[], None), (110, &[], Some(105.5)), (120, &[], Some(105.5))],
    );
    assert_eq!(seen(&history), Some((105, 105, 1)));
    looks(&mut history, &[(130, &[], Some(129.0)), (140, &[], Some(139.0))]);
    assert_eq!(seen(&history), Some((105, 139, 3)));
    let hours: Vec<_> = history.get(&unseen()).expect("it was seen").hours.iter().collect();
    assert_eq!(hours.len(), 1, "the hour of the connects");
}

#[test]
fn a_connection_that_a_look_sees_explains_its_connect() {
    let mut history = History::default();
    looks(
        &mut history,
        &[(100, &[], None), (110, &[5], Some(105.0)), (120, &[5], Some(105.0))],
    );
    assert_eq!(seen(&history), None);
    // A connection that was open before does not explain another connect.
    looks(&mut history, &[(130, &[5], Some(125.0))]);
    assert_eq!(seen(&history), Some((125, 125, 1)));
}

#[test]
fn a_connect_during_a_look_is_judged_by_the_next() {
    let mut history = History::default();
    // The connect came after the list of connections was read, and the next look sees it.
    looks(&mut history, &[(100, &[], Some(100.2)), (110, &[5], Some(100.2))]);
    assert_eq!(seen(&history), None);
    // It came before the list was read, so this look saw it already.
    looks(
        &mut history,
        &[(120, &[5, 6], Some(120.1)), (130, &[5, 6], Some(120.1))],
    );
    assert_eq!(seen(&history), None);
    // No look ever sees this connection, and there are other connects at each look.
    looks(
        &mut history,
        &[
            (140, &[], Some(140.2)),
            (150, &[], Some(150.2)),
            (160, &[], Some(160.2)),
        ],
    );
    assert_eq!(seen(&history), Some((140, 150, 2)));
}

#[test]
fn the_first_look_attributes_the_last_connect_to_an_open_connection() {
    let mut history = History::default();
    looks(&mut history, &[(100, &[5], Some(50.0))]);
    assert_eq!(seen(&history), None);
    let mut other = History::default();
    looks(&mut other, &[(100, &[], Some(50.0))]);
    assert_eq!(seen(&other), Some((50, 50, 1)), "from before castoff came");
}

#[test]
fn a_restart_repeats_and_loses_no_connect() {
    let mut history = History::default();
    looks(&mut history, &[(100, &[5], Some(95.0)), (110, &[], Some(95.0))]);
    let restart = |history: &History| {
        let clients: Vec<_> = history
            .clients()
            .map(|(key, seen)| (key.clone(), seen.clone()))
            .collect();
        let marks: Vec<_> = history.marks().map(|(key, mark)| (key.clone(), mark)).collect();
        History::restore(clients, [], *history.looked(), marks)
    };
    let mut history = restart(&history);
    looks(&mut history, &[(200, &[], Some(95.0))]);
    assert_eq!(seen(&history), None);
    let mut history = restart(&history);
    looks(&mut history, &[(300, &[], Some(250.0))]);
    assert_eq!(seen(&history), Some((250, 250, 1)), "while castoff was away");
}

#[test]
fn the_first_mark_of_a_listener_may_be_a_known_clients() {
    let known = |first, last| {
        let mut history = History::default();
        history.record(Timestamp::from_unix(first), &[open(0, &[5])]);
        history.record(Timestamp::from_unix(last), &[open(0, &[5])]);
        history.record(Timestamp::from_unix(last + 10), &[]);
        history
    };
    let mut around = known(1_000, 2_000);
    looks(&mut around, &[(3_000, &[], Some(995.0))]);
    assert_eq!(seen(&around), None);
    let mut before = known(1_000, 2_000);
    looks(&mut before, &[(3_000, &[], Some(2_500.0))]);
    assert_eq!(seen(&before), Some((2_500, 2_500, 1)));
}

#[test]
fn the_listeners_that_are_remembered_are_bounded() {
    let mut history = History::default();
    let marks = (0..10_000_u64).map(|n| {
        let listener = SocketName::Path(format!("/run/{n}.sock"));
        (ClientKey { listener, ..unseen() }, Moment::from_secs(n))
    });
    let marks: Vec<_> = marks.collect();
    history.record_marks(Moment::from_secs(20_000), &marks);
    assert_eq!(history.marks().count(), History::MARKS);
    assert!(history.marks().all(|(_, mark)| mark >= Moment::from_secs(9_744)));
}

#[test]
fn a_connect_that_the_kernel_reported_explains_its_mark_and_no_later_one() {
    let mut history = History::default();
    for (at, last, mark, expected) in [
        (100, 99, 99.1, None),
        // The record is read before the file: the next look has the record.
        (110, 105, 110.5, None),
        (120, 110, 110.5, None),
        (130, 121, 127.0, Some((127, 127, 1))),
    ] {
        history.record(Timestamp::from_unix(at), &[reported(1, last, last)]);
        let mark = (unseen(), Moment::from_secs_f64(mark));
        history.record_marks(Moment::from_secs(at), &[mark]);
        assert_eq!(seen(&history), expected, "at {at}");
    }
}

#[test]
fn two_looks_in_one_second_count_a_connect_once() {
    let mut history = History::default();
    for _ in 0..2 {
        history.clamp(Timestamp::from_unix(105));
        history.record(Timestamp::from_unix(105), &[]);
        history.record_marks(
            Moment::from_secs_f64(105.9),
            &[(unseen(), Moment::from_secs_f64(105.5))],
        );
    }
    assert_eq!(seen(&history), Some((105, 105, 1)));
}

#[test]
fn a_new_connection_without_a_reported_connect_is_unreported() {
    let mut history = History::default();
    let mut client = open(0, &[5]);
    let mut record = |client: &OpenClient| {
        history.record(Timestamp::from_unix(10), std::slice::from_ref(client));
        history.has_unreported()
    };
    assert!(record(&client));
    assert!(!record(&client), "the same connection");
    client.sockets.insert(SocketInode(6));
    client.connects = reported(1, 10, 10).connects;
    assert!(!record(&client));
    client.sockets.insert(SocketInode(7));
    client.connects = None;
    client.key.listener = SocketName::Tcp("127.0.0.1:2375".parse().expect("an address"));
    assert!(!record(&client), "a port has no file");
    client.key.listener = SocketName::Path("/run/crio/crio.sock".into());
    client.key.api = Api::Cri;
    assert!(!record(&client));
}
