//! An earlier history that is read after the first look.

use super::*;

fn history_of(at: u64, clients: &[OpenClient]) -> History {
    let mut history = History::default();
    history.record(Timestamp::from_unix(at), clients);
    history
}

fn late(mut now: History, before: History) -> History {
    now.absorb(before);
    now
}

#[test]
fn a_client_of_both_histories_keeps_all_that_is_known() {
    let mut before = history_of(10, &[open(0, &[1]), open(1, &[2])]);
    for seen in before.clients.values_mut() {
        seen.as_runtime = true;
    }
    before.mark_whole(Timestamp::from_unix(10));
    let mut now = history_of(7_300, &[open(0, &[1])]);
    now.mark_whole(Timestamp::from_unix(7_300));
    let both = late(now, before);
    let seen = |name| both.get(&open(name, &[]).key).cloned().expect("it is known");
    assert_eq!((seen(0).first.as_unix(), seen(0).last.as_unix()), (10, 7_300));
    assert_eq!((seen(0).connects, seen(0).hours.iter().count()), (2, 2));
    assert!(seen(0).as_runtime && seen(1).as_runtime);
    assert_eq!((seen(1).first.as_unix(), seen(1).last.as_unix()), (10, 10));
    assert_eq!(both.looked().iter().count(), 2);
}

#[test]
fn an_open_pod_takes_over_from_an_earlier_one_at_once() {
    let now = history_of(20, &[in_pod("b", true)]);
    let both = late(now, history_of(10, &[in_pod("a", true)]));
    assert_eq!(kept(&both), [("pod ci/b (build)".to_owned(), 10)]);
}

#[test]
fn a_connect_that_was_judged_before_is_not_counted_again() {
    let listener = ClientKey {
        identity: ClientIdentity::Unseen,
        ..open(0, &[]).key
    };
    let judged = |marks: &[u64]| {
        let mut history = History::default();
        for mark in marks {
            history.record(Timestamp::from_unix(mark + 1), &[]);
            history.record_marks(
                Moment::from_secs(mark + 1),
                &[(listener.clone(), Moment::from_secs(*mark))],
            );
        }
        history
    };
    let connects = |history: &History| history.get(&listener).map(|seen| seen.connects);
    // An earlier look saw the client that made this connect.
    let mut explained = history_of(101, &[open(0, &[1])]);
    explained.record_marks(Moment::from_secs(101), &[(listener.clone(), Moment::from_secs(100))]);
    assert_eq!(connects(&late(judged(&[100]), explained)), None);
    assert_eq!(connects(&late(judged(&[100]), judged(&[100]))), Some(1));
    assert_eq!(connects(&late(judged(&[100, 200]), judged(&[100]))), Some(2));
    let both = late(judged(&[200]), judged(&[100]));
    assert_eq!(connects(&both), Some(2));
    assert_eq!(both.marks().map(|(_, mark)| mark.as_secs()).collect::<Vec<_>>(), [200]);
}

#[test]
fn a_mount_of_both_histories_keeps_its_first_time() {
    let at = Timestamp::from_unix;
    let of = |time, run| {
        let mut history = History::default();
        history.record_exposures(at(time), &mount(run));
        history
    };
    for run in [1, 2] {
        let both = late(of(9, 2), of(5, run));
        let times: Vec<_> = both.exposures().map(|(_, seen)| (seen.first, seen.last)).collect();
        assert_eq!(times, [(at(5), at(9))], "the same run, or the next");
    }
}
