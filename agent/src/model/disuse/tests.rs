use super::*;
use crate::model::engine::{Engine, Listener};
use crate::model::join::join;
use crate::model::last_connect::{LastConnect, ListenerClock, Moment, NoMark};
use crate::model::reading::Sighting;
use crate::model::sample;
use crate::model::snapshot::Snapshot;
use crate::model::socket::{ListenerId, SocketName};

const NOW: u64 = 1_795_521_600;
const SOCKET: &str = "file 0:25 inode 7";
const QUIET: Option<Mark> = Some(Mark::NoneSince(Timestamp::from_unix(NOW - 500_000)));
/// A port has no file.
const PORT: &str = "tcp://0.0.0.0:2375 in 1";

/// A look at `second` of the boot, with a clock that is right.
fn look(second: u64) -> DisuseLook {
    DisuseLook {
        at: Timestamp::from_unix(NOW + second),
        clock: BootClock {
            boot: "first".to_owned(),
            uptime: 1_000 + second,
        },
        used: false,
        sockets: sockets(&[(SOCKET, QUIET)]),
        recorded_since: None,
    }
}

/// The kernel began to record connects before all of these looks.
fn recorded(second: u64) -> DisuseLook {
    DisuseLook {
        recorded_since: Some(Timestamp::from_unix(NOW)),
        ..look(second)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as a look has them")]
fn sockets(of: &[(&str, Option<Mark>)]) -> Result<Sockets, Gap> {
    let owned = of.iter().map(|(name, mark)| ((*name).to_owned(), *mark));
    Ok(Sockets(owned.collect()))
}

fn with(of: &[(&str, Option<Mark>)], look: DisuseLook) -> DisuseLook {
    DisuseLook {
        sockets: sockets(of),
        ..look
    }
}

fn used(look: DisuseLook) -> DisuseLook {
    DisuseLook { used: true, ..look }
}

fn connected(second: u64) -> Mark {
    Mark::Connected(Moment::from_secs(NOW + second))
}

fn hidden(second: u64) -> DisuseLook {
    DisuseLook {
        sockets: Err(Gap::new(Reason::PermissionDenied, Hides::Client, "netns 7", "EPERM")),
        ..look(second)
    }
}

fn after(looks: impl IntoIterator<Item = DisuseLook>) -> Disuse {
    let mut disuse = Disuse::default();
    looks.into_iter().for_each(|look| disuse.take_in(look));
    disuse
}

/// The agent restarts with its state file.
fn restarted(disuse: &Disuse) -> Disuse {
    Disuse::restore(disuse.count().expect("it counts").clone())
}

fn free(disuse: &Disuse) -> DockerFree {
    disuse.reading().known().expect("it counts").clone()
}

fn seconds(disuse: &Disuse) -> u64 {
    disuse.count().expect("it counts").seconds
}

fn began(disuse: &Disuse) -> (Began, u64) {
    (free(disuse).began, seconds(disuse))
}

#[test]
fn days_are_counted_from_the_first_look_and_from_the_end_of_a_use() {
    let mut disuse = after([look(0), look(600), look(1_200)]);
    assert_eq!(free(&disuse).since.as_unix(), NOW);
    assert_eq!(began(&disuse), (Began::FirstLook, 1_200));
    disuse.take_in(used(look(1_800)));
    assert_eq!(disuse.reading(), Reading::Absent);
    // The connection may have been open until just before this look.
    disuse.take_in(look(1_815));
    assert_eq!(free(&disuse).since.as_unix(), NOW + 1_815);
    assert_eq!(began(&disuse), (Began::AfterUse, 0));
    disuse.take_in(look(1_815 + 36 * DAY));
    assert_eq!((free(&disuse).days, free(&disuse).span()), (36, 35));
    assert_eq!(free(&disuse).since.as_unix(), NOW + 1_815);
}

#[test]
fn a_span_is_reached_with_its_last_second() {
    for (days, span) in [(0, 0), (6, 0), (7, 7), (13, 7), (14, 14), (34, 14), (35, 35), (400, 35)] {
        let free = DockerFree {
            since: Timestamp::from_unix(NOW),
            days,
            by: Proof::Looks,
            began: Began::FirstLook,
        };
        assert_eq!(free.span(), span, "{days}");
    }
    let disuse = after([look(0), look(7 * DAY - 1)]);
    assert_eq!(free(&disuse).span(), 0);
}

#[test]
fn each_time_has_the_weakest_of_its_proofs() {
    assert_eq!(free(&after([recorded(0)])).by, Proof::Looks, "one look proves no time");
    assert_eq!(free(&after([recorded(0), recorded(9_000)])).by, Proof::Events);
    assert_eq!(free(&after([look(0), look(9_000)])).by, Proof::SocketClock);
    // The program was loaded again, and has no record of the time in between.
    let anew = DisuseLook {
        recorded_since: Some(Timestamp::from_unix(NOW + 5)),
        ..look(15)
    };
    assert_eq!(free(&after([recorded(0), anew])).by, Proof::SocketClock);
    let port = |second| with(&[(SOCKET, QUIET), (PORT, None)], recorded(second));
    assert_eq!(free(&after([port(0), port(15)])).by, Proof::Looks);
    let disuse = after([look(0), look(15), recorded(30), recorded(45)]);
    assert_eq!((free(&disuse).by, seconds(&disuse)), (Proof::SocketClock, 45));
}

/// Docker is restarted, or its socket is removed. The kernel recorded no connects to a socket that castoff did not know
/// yet.
#[test]
fn across_a_new_socket_looks_are_the_only_proof() {
    let fresh = Some(Mark::NoneSince(Timestamp::from_unix(NOW + 20)));
    for (look, of_removed) in [(look as fn(u64) -> _, Proof::Looks), (recorded, Proof::Events)] {
        let anew = [("file 0:25 inode 9", fresh)];
        let removed = [(SOCKET, Some(Mark::Removed))];
        for (sockets, proof) in [(&anew[..], Proof::Looks), (&[], Proof::Looks), (&removed, of_removed)] {
            let disuse = after([look(0), look(15), with(sockets, look(30))]);
            assert_eq!((free(&disuse).by, seconds(&disuse)), (proof, 30));
            let mut disuse = restarted(&after([look(0), look(15)]));
            disuse.take_in(with(sockets, look(30)));
            assert_eq!(began(&disuse), (Began::AfterGap, 0), "castoff did not run");
        }
    }
}

#[test]
fn a_gap_stops_the_count_and_is_reported() {
    let mut disuse = after([recorded(0), recorded(15)]);
    disuse.take_in(hidden(30));
    let gap = disuse.reading().gap().cloned().expect("it says why");
    assert_eq!(gap.asked, "netns 7");
    // The socket's file proves that nobody connected meanwhile. The kernel's records of that time are lost.
    disuse.take_in(recorded(5_000));
    assert_eq!((seconds(&disuse), free(&disuse).by), (5_000, Proof::SocketClock));
    // A use that was seen counts, even if other facts were hidden.
    disuse.take_in(used(hidden(5_015)));
    assert_eq!(disuse.reading(), Reading::Absent);
    disuse.take_in(look(5_030));
    assert_eq!(began(&disuse), (Began::AfterUse, 0));
    // And a use before the gap may have lasted into the gap.
    let mut disuse = after([used(look(0)), hidden(15)]);
    assert!(disuse.reading().gap().is_some());
    disuse.take_in(look(30));
    assert_eq!(began(&disuse), (Began::AfterUse, 0));
}

#[test]
fn after_a_gap_that_no_mark_closes_the_count_restarts() {
    for bare in [&[][..], &[(PORT, None)]] {
        let bare = |look| with(bare, look);
        let before = after([bare(look(0)), bare(look(15)), hidden(30)]);
        // A restart does not close the gap.
        for mut disuse in [before.clone(), restarted(&before)] {
            disuse.take_in(bare(look(45)));
            assert_eq!(began(&disuse), (Began::AfterGap, 0));
            assert_eq!(free(&disuse).since.as_unix(), NOW + 45);
        }
    }
    let mut disuse = after([look(0)]);
    disuse.stop(Gap::new(Reason::NotFound, Hides::Detail, "the clock", "none"));
    assert!(disuse.reading().gap().is_some());
    // Nor does a reboot.
    let mut disuse = restarted(&after([look(0), hidden(15)]));
    disuse.take_in(booted(300, 60));
    assert_eq!(began(&disuse), (Began::AfterGap, 0));
}

#[test]
fn a_file_whose_times_were_changed_proves_nothing() {
    let touched = Some(Mark::NoneSince(Timestamp::from_unix(NOW + 5)));
    let disuse = after([look(0), with(&[(SOCKET, touched)], look(15))]);
    assert_eq!(began(&disuse), (Began::AfterGap, 0));
    // If the kernel reports each connect, changing the file's times hides nothing.
    let disuse = after([recorded(0), with(&[(SOCKET, touched)], recorded(15))]);
    assert_eq!((free(&disuse).by, seconds(&disuse)), (Proof::Events, 15));
}

#[test]
fn time_without_the_agent_counts_where_the_socket_proves_it() {
    let before = after([look(0), look(15)]);
    let mut disuse = restarted(&before);
    disuse.take_in(look(3 * DAY));
    assert_eq!((seconds(&disuse), free(&disuse).by), (3 * DAY, Proof::SocketClock));
    let mut disuse = restarted(&before);
    disuse.take_in(with(&[(SOCKET, Some(connected(100)))], look(3 * DAY)));
    assert_eq!(began(&disuse), (Began::AfterGap, 0));
    // The kernel recorded nothing while castoff was not running, and a port keeps no times.
    for mark in [(SOCKET, None), (PORT, None)] {
        let mut disuse = restarted(&after([with(&[mark], recorded(0)), with(&[mark], recorded(15))]));
        disuse.take_in(with(&[mark], recorded(60)));
        assert_eq!(began(&disuse), (Began::AfterGap, 0));
    }
    // A connection that was open at that time may have been used ever since.
    let mut disuse = restarted(&after([used(look(0))]));
    disuse.take_in(look(3 * DAY));
    assert_eq!(began(&disuse), (Began::AfterUse, 0));
}

#[test]
fn without_an_engine_two_looks_may_be_fifteen_minutes_apart() {
    for (apart, counted) in [(APART, APART), (APART + 1, 0)] {
        let before = after([with(&[], look(0))]);
        for mut disuse in [before.clone(), restarted(&before)] {
            disuse.take_in(with(&[], look(apart)));
            assert_eq!(seconds(&disuse), counted);
        }
    }
}

/// The same node after a boot, `off` seconds after the look at 0 and `up` seconds before this one.
fn booted(off: u64, up: u64) -> DisuseLook {
    let made = Some(Mark::NoneSince(Timestamp::from_unix(NOW + off + 20)));
    DisuseLook {
        clock: BootClock {
            boot: "second".to_owned(),
            uptime: up,
        },
        ..with(&[(SOCKET, made)], look(off + up))
    }
}

#[test]
fn a_reboot_counts_where_the_new_socket_was_never_used() {
    let counted = |look: DisuseLook| {
        let mut disuse = restarted(&after([self::look(0)]));
        disuse.take_in(look);
        seconds(&disuse)
    };
    assert_eq!(counted(booted(300, 60)), 360);
    assert_eq!(counted(booted(300, 3 * DAY)), 3 * DAY + 300);
    assert_eq!(counted(booted(APART + 1, 60)), 0, "castoff may have been away for long");
    let marked = |mark, look| counted(with(&[(SOCKET, mark)], look));
    assert_eq!(marked(Some(connected(330)), booted(300, 60)), 0);
    assert_eq!(marked(None, booted(300, 60)), 0);
    // A socket that was created or changed long after the boot proves nothing about the time in between.
    let late = Some(Mark::NoneSince(Timestamp::from_unix(NOW + 300 + APART + 1)));
    assert_eq!(marked(late, booted(300, 3 * DAY)), 0);
    // A socket from before the boot does not count.
    assert_eq!(marked(QUIET, booted(300, 60)), 0);
    assert_eq!(counted(with(&[], booted(300, APART))), 300 + APART);
    assert_eq!(
        counted(with(&[], booted(300, APART + 1))),
        0,
        "an engine may have come and gone"
    );
}

#[test]
fn no_wrong_clock_lengthens_the_count() {
    let set = |look: DisuseLook, by: i64| DisuseLook {
        at: Timestamp::from_unix(look.at.as_unix().saturating_add_signed(by)),
        ..look
    };
    let jump = 14 * 86_400;
    for (first, second) in [(jump, 0), (-jump, 0), (jump, -jump), (-jump, jump)] {
        let mut disuse = after([look(0), set(look(600), first), set(look(1_200), second)]);
        let count = free(&disuse);
        assert_eq!((count.days, seconds(&disuse)), (0, 1_200));
        // The shown time follows the wall clock, so that the duration stays right.
        assert_eq!(count.since, set(look(0), second).at);
        disuse.take_in(look(1_800));
        assert_eq!(free(&disuse).since.as_unix(), NOW);
        // Across a reboot, a wrong clock can only restart the count.
        for by in [jump, -jump] {
            let mut disuse = restarted(&disuse);
            disuse.take_in(set(booted(1_900, 60), by));
            assert_eq!(began(&disuse), (Began::AfterGap, 0));
        }
    }
    // A kernel's clock that goes back is invalid.
    assert_eq!(seconds(&after([look(600), look(0)])), 0);
}

#[test]
fn a_count_that_is_read_late_is_joined_where_the_socket_proves_it() {
    let kept = restarted(&after([look(0), look(600)]));
    let late = |looks: &[DisuseLook]| {
        let mut disuse = after(looks.iter().cloned());
        disuse.absorb(kept.clone());
        disuse
    };
    let disuse = late(&[look(5_000), look(5_015)]);
    assert_eq!((seconds(&disuse), free(&disuse).since.as_unix()), (5_015, NOW));
    assert_eq!(late(&[look(5_000), used(look(5_015))]).reading(), Reading::Absent);
    let touched = |second| with(&[(SOCKET, Some(connected(700)))], look(second));
    assert_eq!(began(&late(&[touched(5_000), touched(5_015)])), (Began::AfterGap, 15));
    assert_eq!(seconds(&late(&[])), 600);
    // There was no engine at either time, and the one look in between could not see.
    let mut disuse = after([hidden(700)]);
    disuse.absorb(restarted(&after([with(&[], look(600))])));
    disuse.take_in(with(&[], look(715)));
    assert_eq!(began(&disuse), (Began::AfterGap, 0));
    let mut disuse = after([look(700), look(715)]);
    disuse.absorb(restarted(&after([used(look(600))])));
    assert_eq!(began(&disuse), (Began::AfterUse, 15));
}

/// The engine of a node whose socket's file shows this last connect.
fn engine(recorded: LastConnect) -> (Snapshot, Vec<Engine>) {
    let mut node = sample::clear_node();
    node.engines = Sighting::full(vec![sample::dockerd()]);
    let listener = sample::dockerd().listeners[0].id.clone();
    node.clocks = vec![ListenerClock {
        listener,
        last_connect: recorded,
        mark: None,
    }];
    let engines = join(&node).engines.items().to_vec();
    (node, engines)
}

fn marks((node, engines): &(Snapshot, Vec<Engine>), recorded: bool, marked: bool) -> Result<Vec<Option<Mark>>, Gap> {
    let sockets = Sockets::of(node, engines, recorded, marked)?;
    Ok(sockets.0.into_values().collect())
}

#[test]
fn a_socket_without_marks_hides_a_use_unless_the_kernel_reports_connects() {
    let noatime = engine(LastConnect::NoMark { because: NoMark::Mount });
    let gap = marks(&noatime, false, true).expect_err("it is hidden");
    assert!(
        gap.asked.contains("docker.sock") && gap.answer.contains("noatime"),
        "{gap}"
    );
    assert_eq!(marks(&noatime, true, true), Ok(vec![None]));
    let since = Timestamp::from_unix(NOW - 100);
    let quiet = engine(LastConnect::NoneSince { since });
    assert_eq!(marks(&quiet, false, true), Ok(vec![Some(Mark::NoneSince(since))]));
    // A client may have connected through a read-only mount.
    assert_eq!(marks(&quiet, false, false), Ok(vec![None]));
    let (mut node, mut engines) = quiet;
    node.clocks.clear();
    engines[0].listeners[0].last_connect = None;
    assert!(
        marks(&(node, engines), false, true).is_err(),
        "its file was not looked at"
    );
}

#[test]
fn a_daily_mark_counts_as_a_use_for_the_whole_day() {
    for (ago, is_used) in [(DAY, true), (DAY + 1, false)] {
        let at = Timestamp::from_unix(sample::NOW.as_unix() - ago);
        let daily = engine(LastConnect::AtLeast { at });
        assert_eq!(Sockets::may_be_used(&daily.0, &daily.1), is_used);
        let mark = Some(Mark::Connected(Moment::from_secs(at.as_unix())));
        assert_eq!(marks(&daily, false, true), Ok(vec![mark.filter(|_| !is_used)]));
        let exact = engine(LastConnect::Exact { at });
        assert!(!Sockets::may_be_used(&exact.0, &exact.1));
        assert_eq!(marks(&exact, false, true), Ok(vec![mark]));
    }
}

#[test]
fn more_sockets_than_are_kept_are_a_gap() {
    let (node, mut engines) = engine(LastConnect::NoneSince { since: sample::NOW });
    let one = engines[0].listeners[0].clone();
    engines[0].listeners = (0..65)
        .map(|port| Listener {
            id: ListenerId::Tcp(one.netns, ([127, 0, 0, 1], port).into()),
            name: SocketName::Tcp(([127, 0, 0, 1], port).into()),
            ..one.clone()
        })
        .collect();
    assert_eq!(
        marks(&(node.clone(), engines.clone()), false, true).map_err(|gap| gap.reason),
        Err(Reason::LimitReached)
    );
    engines[0].listeners.pop();
    assert_eq!(marks(&(node, engines), false, true).map(|marks| marks.len()), Ok(64));
}
