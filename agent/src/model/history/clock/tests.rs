use super::*;
use crate::model::history::tests::marks::unseen;
use crate::model::history::tests::open;
use crate::model::last_connect::Moment;

const DAY: u64 = 86_400;
/// A correct time, a few minutes after a full hour.
const NOW: u64 = 20_000 * DAY + 7_431;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn clocks(wall: u64, boot: &str, uptime: u64) -> Clocks {
    Clocks {
        wall: at(wall),
        boot: BootClock {
            boot: boot.to_owned(),
            uptime,
        },
    }
}

/// A history with a client that was seen three days ago, and two hours ago.
fn used() -> History {
    let mut history = History::default();
    history.follow_clock(&clocks(NOW - 3 * DAY, "a", 100));
    for seconds in [NOW - 3 * DAY, NOW - 2 * 3_600] {
        history.record(at(seconds), &[open(0, &[1])]);
        history.mark_whole(at(seconds));
    }
    history.record(at(NOW), &[]);
    history.mark_whole(at(NOW));
    history.follow_clock(&clocks(NOW, "a", 3 * DAY + 100));
    history
}

fn times(history: &History) -> (u64, u64, Vec<u64>) {
    let seen = history.get(&open(0, &[]).key).expect("it is known");
    let hours = seen.hours.iter().map(|hour| hour.as_unix() / 3_600);
    (seen.first.as_unix(), seen.last.as_unix(), hours.collect())
}

#[test]
fn the_last_readonly_mount_moves_with_the_clock() {
    let mut history = used();
    history.mark_readonly_mounted(at(NOW));
    history.follow_clock(&clocks(NOW + DAY + 10, "a", 3 * DAY + 110));
    assert_eq!(history.readonly_mounted(), Some(at(NOW + DAY)));
}

#[test]
fn a_clock_that_is_wrong_for_a_while_changes_nothing_in_the_end() {
    for wrong in [-40 * 365, -30, -3, 3, 30, 4_000] {
        let mut history = used();
        let seconds = wrong * 86_400 + 1_234;
        let set = NOW.saturating_add_signed(seconds) + 10;
        assert_eq!(history.follow_clock(&clocks(set, "a", 3 * DAY + 110)), seconds);
        let (first, last, _) = times(&history);
        assert_eq!(
            (set - last, set - first),
            (2 * 3_600 + 10, 3 * DAY + 10),
            "{wrong} days"
        );
        assert_eq!(history.clamp(at(set)), 0);
        // The current state file, read by the next castoff.
        let mut history = history.clone().with_clocks(history.clocks().cloned());
        assert_eq!(history.follow_clock(&clocks(NOW + 20, "a", 3 * DAY + 120)), -seconds);
        assert_eq!(times(&history), times(&used()), "{wrong} days");
        assert_eq!(history.looked(), used().looked());
    }
}

#[test]
fn a_use_while_the_clock_is_wrong_has_the_right_time_in_the_end() {
    for wrong in [-30 * 86_400, 400 * 86_400] {
        let mut history = used();
        let set = |seconds: u64| (NOW + seconds).saturating_add_signed(wrong);
        history.follow_clock(&clocks(set(10), "a", 3 * DAY + 110));
        history.record(at(set(10)), &[open(1, &[2])]);
        history.follow_clock(&clocks(NOW + 20, "a", 3 * DAY + 120));
        let seen = history.get(&open(1, &[]).key).expect("it was recorded");
        assert_eq!((seen.first, seen.last), (at(NOW + 10), at(NOW + 10)));
    }
}

#[test]
fn a_clock_that_is_set_a_little_is_not_followed() {
    let mut history = used();
    assert_eq!(history.follow_clock(&clocks(NOW - 290, "a", 3 * DAY + 110)), 0);
    assert_eq!(times(&history), times(&used()));
}

/// A board without a battery starts at an earlier time, until it has the time from the network.
#[test]
fn a_machine_that_starts_with_its_clock_behind_loses_no_use() {
    let mut history = used();
    let start = NOW - 30 * DAY + 60;
    history.follow_clock(&clocks(start, "b", 40));
    let (_, last, _) = times(&history);
    assert_eq!(start - last, 2 * 3_600 + 40, "as if the machine had not been off");
    // It was off for an hour.
    history.follow_clock(&clocks(NOW + 3_600 + 100, "b", 100));
    let (first, last, _) = times(&history);
    assert_eq!((first, last), (NOW - 3 * DAY + 3_600, NOW - 2 * 3_600 + 3_600));
}

/// Times before 1970 cannot be recorded, so they become later than they were.
#[test]
fn a_machine_that_starts_in_1970_loses_no_use() {
    let mut history = used();
    history.follow_clock(&clocks(60, "b", 60));
    assert_eq!(times(&history).1, 0);
    history.follow_clock(&clocks(NOW + 3_600, "b", 120));
    let (_, last, _) = times(&history);
    assert!((NOW - 2 * 3_600..=NOW + 3_600).contains(&last), "{last}");
}

#[test]
fn a_machine_that_starts_with_its_clock_ahead_loses_no_use() {
    let mut history = used();
    history.follow_clock(&clocks(NOW + 400 * DAY, "b", 40));
    history.record(at(NOW + 400 * DAY), &[open(0, &[3])]);
    history.follow_clock(&clocks(NOW + 3_600, "b", 100));
    let (first, last, _) = times(&history);
    assert_eq!((first, last), (NOW - 3 * DAY, NOW + 3_600 - 60));
    // The machine was off for an hour at most, so the records of the earlier boot move by at most an hour.
    history.follow_clock(&clocks(NOW + 3_610 - 10 * DAY, "b", 110));
    history.follow_clock(&clocks(NOW + 3_620, "b", 120));
    let (first, last, _) = times(&history);
    assert!((NOW - 3 * DAY..=NOW - 3 * DAY + 3_600).contains(&first));
    assert_eq!(last, NOW + 3_600 - 60);
}

#[test]
fn a_reboot_moves_no_time() {
    let mut history = used();
    assert_eq!(history.follow_clock(&clocks(NOW + 30 * DAY, "b", 40)), 0);
    assert_eq!(times(&history), times(&used()));
}

#[test]
fn a_history_that_is_read_late_is_moved_to_the_current_clock() {
    let wrong = NOW - 30 * DAY;
    let mut now = History::default();
    now.follow_clock(&clocks(wrong + 10, "a", 3 * DAY + 110));
    now.record(at(wrong + 10), &[]);
    now.absorb(used());
    let (_, last, _) = times(&now);
    assert_eq!(last, wrong - 2 * 3_600);
    now.follow_clock(&clocks(NOW + 20, "a", 3 * DAY + 120));
    assert_eq!(times(&now), times(&used()));
}

/// The first time of a record stays the first whatever is corrected: a state file with another order is refused.
#[test]
fn no_correction_reverses_first_and_last() {
    let mut history = used();
    history.follow_clock(&clocks(NOW + DAY, "b", 40));
    history.record(at(NOW + DAY), &[open(0, &[3])]);
    for (seconds, uptime) in [
        (NOW - 5 * DAY, 50),
        (NOW + 9 * DAY, 60),
        (NOW - 700 * DAY, 70),
        (NOW, 80),
    ] {
        history.follow_clock(&clocks(seconds, "b", uptime));
        let (first, last, _) = times(&history);
        assert!(first <= last && last <= seconds, "{first} {last} at {seconds}");
    }
}

/// Nothing sets the times of a socket's file with the clock.
#[test]
fn a_connect_after_the_clock_was_set_back_counts_once() {
    let mut history = used();
    let mark = |seconds: u64| [(unseen(), Moment::from_secs(seconds))];
    let look = |history: &mut History, wall: u64, uptime: u64, mark: &[_]| {
        history.follow_clock(&clocks(wall, "a", uptime));
        history.record(at(wall), &[]);
        history.record_marks(Moment::from_secs(wall), mark);
        history.get(&unseen()).map(|seen| seen.connects)
    };
    let (back, day) = (NOW - 30 * DAY, 3 * DAY);
    assert_eq!(look(&mut history, NOW + 10, day + 110, &mark(NOW + 5)), Some(1));
    assert_eq!(
        look(&mut history, back + 20, day + 120, &[]),
        Some(1),
        "its mark is in the future"
    );
    assert_eq!(look(&mut history, back + 30, day + 130, &mark(back + 25)), Some(2));
    assert_eq!(look(&mut history, back + 40, day + 140, &mark(back + 25)), Some(2));
    assert_eq!(look(&mut history, NOW + 50, day + 150, &mark(back + 25)), Some(2));
    let last = history.get(&unseen()).expect("it is known").last;
    assert_eq!(last, at(NOW + 25));
    assert_eq!(look(&mut history, NOW + 60, day + 160, &mark(NOW + 55)), Some(3));
}
