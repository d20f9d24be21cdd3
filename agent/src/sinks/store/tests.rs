//! The file on a real disk. Full and read-only file systems are in the tier `faults`.

mod versions;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::document::{decode, encode};
use super::*;
use crate::model::client::{ClientIdentity, OpenClient, Origin};
use crate::model::disuse::{Began, BootClock, Count, LookOutcome, Proof, Seen, Sockets};
use crate::model::exposure::{ExposureKey, Mounted, UnnamedContainer};
use crate::model::history::{ClientRecord, Clocks, ExposureRecord, History};
use crate::model::identity::ContainerId;
use crate::model::last_connect::Moment;
use crate::model::time::Timestamp;
use crate::sinks::sample;

fn history() -> History {
    let exposures = sample::report().exposures;
    let exposures = exposures.known().expect("the sample has exposures").iter().enumerate();
    let exposures = exposures.map(|(at, e)| {
        let key = ExposureKey {
            client: e.key(),
            container_path: e.container_path.clone(),
            unnamed: (at == 0).then(|| UnnamedContainer {
                containers: vec![ContainerId("4f2a".repeat(16))],
                pod_uid: Some("0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a".to_owned()),
                in_sandbox: Some((ContainerId("5b3c".repeat(16)), "build".to_owned())),
            }),
        };
        let mount = Mounted {
            via: e.via,
            host_path: e.host_path.clone(),
            readonly: e.readonly,
            access: e.access,
        };
        let (first, last) = (e.first_seen, e.last_seen);
        (key, ExposureRecord { first, last, mount })
    });
    let clients = sample::report().clients;
    let clients = clients.known().expect("the sample has clients").iter().enumerate();
    let clients = clients.map(|(at, c)| {
        let seen = ClientRecord {
            first: c.first_seen,
            last: c.last_seen,
            connects: c.connects,
            requests: c.requests.clone(),
            by_event: c.origin == Origin::Event,
            hours: [c.first_seen, c.last_seen].into_iter().collect(),
            as_runtime: at == 0,
        };
        (c.key.clone(), seen)
    });
    let looked = (0..60).map(|hours| sample::ago(hours * 3_600)).collect();
    let clients: Vec<_> = clients.collect();
    let marks = clients.iter().map(|(key, seen)| {
        let moment = Moment::new(seen.last.as_unix(), 999_999_999);
        (key.clone(), moment)
    });
    let marks: Vec<_> = marks.collect();
    let clocks = Clocks {
        wall: sample::ago(0),
        boot: clock(1_200_000),
    };
    let mut history = History::restore(clients, exposures, looked, marks)
        .with_disuse(Some(count(16 * 86_400)))
        .with_clocks(Some(clocks));
    history.mark_readonly_mounted(sample::ago(0));
    history
}

/// A count of this many seconds, which continues.
fn count(seconds: u64) -> Count {
    Count {
        seconds,
        since: sample::ago(seconds),
        by: Proof::SocketClock,
        began: Began::AfterUse,
        outcome: LookOutcome::Whole,
        last: Seen {
            at: sample::ago(0),
            clock: clock(1_200_000 + seconds),
            sockets: Sockets::default(),
        },
    }
}

fn clock(uptime: u64) -> BootClock {
    BootClock {
        boot: "4f1c6d".to_owned(),
        uptime,
    }
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("state.json");
    (dir, path)
}

fn load(path: &Path) -> Loaded {
    StateKeeper::load(path, StateKeeper::REST)
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("it is there")
        .map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_written_history_is_read_by_the_next_start() {
    let (dir, path) = place();
    let mut first = load(&path);
    assert!(first.trouble.is_empty(), "a missing file is a fresh start");
    assert_eq!(first.history, History::default());
    assert_eq!(
        first.keeper.save(&history(), Instant::now()).expect("it writes"),
        Saved::Written
    );
    assert_eq!(names(&dir), ["state.json"], "no temporary file stays");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    let second = load(&path);
    assert!(second.trouble.is_empty());
    assert_eq!(second.history, history());
}

#[test]
fn an_unwritable_path_is_reported_before_the_first_write() {
    let (dir, path) = place();
    let refused = load(&dir.path().join("missing/state.json")).refused;
    assert!(matches!(refused, Some(StateError::Write { .. })), "{refused:?}");
    assert!(load(&path).refused.is_none());
    assert!(names(&dir).is_empty(), "trying it out leaves nothing");
    let mut keeper = load(&path).keeper;
    let looked = History::restore([], [], [sample::ago(0)].into_iter().collect(), []);
    let saved = keeper.save_if_due(&looked, Instant::now()).expect("it writes");
    assert_eq!(saved, Saved::Written, "the first look is written immediately");
}

#[test]
fn an_empty_history_is_not_written() {
    let (dir, path) = place();
    let mut loaded = load(&path);
    let saved = loaded
        .keeper
        .save_if_due(&loaded.history, Instant::now() + Duration::from_secs(3_600));
    assert_eq!(saved.expect("nothing to do"), Saved::Unchanged);
    assert!(names(&dir).is_empty());
}

/// A crash may truncate a file at any byte.
#[test]
fn a_file_truncated_at_any_byte_is_refused_or_complete() {
    let bytes = encode(&history()).expect("it encodes");
    for end in 0..bytes.len() {
        match decode(&bytes[..end]) {
            Ok(read) => {
                assert_eq!(end, bytes.len() - 1, "only the last line feed may go");
                assert_eq!(read, history());
            }
            Err(DocumentError::Empty) => assert_eq!(end, 0),
            Err(DocumentError::Json(_)) => {}
            Err(other) => panic!("cut at {end}: {other}"),
        }
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let bytes = encode(&history()).expect("it encodes");
    for at in 0..bytes.len() {
        for byte in [b'9', b'"', 0xff] {
            let mut bad = bytes.clone();
            bad[at] = byte;
            if let Ok(read) = decode(&bad) {
                assert!(read.clients().count() + 1 >= history().clients().count());
            }
        }
    }
}

/// The temporary file has any part of the new state, and the file has all of the old one.
#[test]
fn a_kill_at_any_byte_of_a_write_keeps_the_earlier_state_and_leaves_no_file() {
    let (dir, path) = place();
    load(&path).keeper.save(&history(), Instant::now()).expect("it writes");
    let next = encode(&history().with_disuse(Some(count(17 * 86_400)))).expect("it encodes");
    for end in (0..next.len()).step_by(97).chain([next.len()]) {
        fs::write(dir.path().join(".state.json.a1B2c3"), &next[..end]).expect("it writes");
        let loaded = load(&path);
        assert!(loaded.trouble.is_empty(), "{:?}", loaded.trouble);
        assert_eq!(loaded.history, history(), "killed after {end} bytes");
        assert_eq!(names(&dir), ["state.json"]);
    }
    let others = [".state.json.backup-1", ".other.json.a1B2c3", "state.json.a1B2c3"];
    for other in others {
        fs::write(dir.path().join(other), "of somebody else").expect("it writes");
    }
    load(&path);
    assert_eq!(names(&dir).len(), 1 + others.len(), "{:?}", names(&dir));
}

#[test]
fn bad_documents_have_different_errors() {
    let entry = |first: &str, last: &str| {
        format!(
            "{{\"format\":\"castoff-state\",\"version\":1,\"clients\":[{{\"client\":{},\"firstSeen\":\"{first}\",\
             \"lastSeen\":\"{last}\",\"connects\":1}}]}}",
            serde_json::to_string(&sample::pod_client("p", None, 1).key).expect("a key serializes")
        )
    };
    let day = |d| format!("2026-11-{d}T12:00:00Z");
    decode(entry(&day(23), &day(24)).as_bytes()).expect("the table's frame is right");
    let cases = [
        (String::new(), "the file is empty"),
        ("{}".to_owned(), "not the expected JSON"),
        ("\0\0\0\0".to_owned(), "not the expected JSON"),
        ("[".repeat(100_000), "not the expected JSON"),
        (
            "{\"format\":\"other\",\"version\":1}".to_owned(),
            "the format is not castoff-state",
        ),
        (
            "{\"format\":\"castoff-state\",\"version\":9,\"clients\":{\"new\":\"form\"}}".to_owned(),
            "version 9 instead of 8",
        ),
        (
            entry(&day(24), &day(23)),
            "client 0 was last seen before it was first seen",
        ),
        (entry("1969-12-31T00:00:00Z", &day(23)), "not the expected JSON"),
        (entry("99999-12-31T00:00:00Z", &day(23)), "not the expected JSON"),
        (entry(&day(23), &day(24)) + "{}", "not the expected JSON"),
    ];
    for (text, error) in cases {
        let got = decode(text.as_bytes()).expect_err("it is bad");
        assert_eq!(got.to_string(), error, "{text:.100}");
    }
}

#[test]
fn a_corrupt_file_is_set_aside_reported_and_replaced() {
    let (dir, path) = place();
    for (round, content) in ["half a fi", "", "{\"format\":\"castoff-state\",\"version\":9}"]
        .iter()
        .enumerate()
    {
        fs::write(&path, content).expect("it writes");
        let mut loaded = load(&path);
        assert_eq!(loaded.history, History::default());
        let [trouble @ StateError::Corrupt { .. }] = loaded.trouble.as_slice() else {
            panic!("{:?}", loaded.trouble);
        };
        assert_eq!(trouble.reason(), Reason::Malformed);
        assert_eq!(trouble.gap().hides, Hides::Client);
        assert!(!path.exists());
        let aside = match round {
            0 => dir.path().join("state.json.corrupt"),
            n => dir.path().join(format!("state.json.corrupt.{}", n + 1)),
        };
        assert_eq!(fs::read_to_string(aside).expect("it is kept"), *content);
        loaded.keeper.save(&history(), Instant::now()).expect("it writes");
        assert_eq!(load(&path).history, history());
    }
}

#[test]
fn a_bad_file_that_cannot_be_set_aside_is_not_overwritten() {
    let (dir, path) = place();
    for n in 1..=9 {
        let suffix = if n == 1 { String::new() } else { format!(".{n}") };
        fs::write(dir.path().join(format!("state.json.corrupt{suffix}")), "old").expect("it writes");
    }
    fs::write(&path, "bad").expect("it writes");
    let mut loaded = load(&path);
    assert!(matches!(
        loaded.trouble.as_slice(),
        [StateError::Corrupt { .. }, StateError::SetAside { .. }]
    ));
    for _ in 0..2 {
        let error = loaded
            .keeper
            .save(&history(), Instant::now())
            .expect_err("something is in the way");
        assert!(matches!(error, StateError::SetAside { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("it stays"), "bad");
    }
    fs::remove_file(dir.path().join("state.json.corrupt.4")).expect("a person made room");
    loaded.keeper.save(&history(), Instant::now()).expect("it writes");
    assert_eq!(
        fs::read_to_string(dir.path().join("state.json.corrupt.4")).expect("it is kept"),
        "bad"
    );
    assert_eq!(load(&path).history, history());
}

#[test]
fn a_path_that_is_not_a_regular_file_is_neither_read_nor_replaced() {
    let (_dir, path) = place();
    let socket = std::os::unix::net::UnixListener::bind(&path).expect("it binds");
    let fifo = path.with_extension("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("it is made");
    let directory = path.with_extension("d");
    fs::create_dir(&directory).expect("it is made");
    for place in [&path, &fifo, &directory] {
        let kind = fs::symlink_metadata(place).expect("it is there").file_type();
        let mut loaded = load(place);
        assert_eq!(loaded.trouble.len(), 1, "{}", place.display());
        loaded
            .keeper
            .save(&history(), Instant::now())
            .expect_err("it is no file");
        assert_eq!(fs::symlink_metadata(place).expect("it stays").file_type(), kind);
    }
    drop(socket);
}

#[test]
fn a_failed_write_is_reported_each_time_and_changes_nothing() {
    let (dir, path) = place();
    fs::write(&path, "x").expect("it writes");
    for bad in [dir.path().join("missing/state.json"), path.join("below-a-file")] {
        let mut loaded = load(&bad);
        for _ in 0..3 {
            let error = loaded
                .keeper
                .save(&history(), Instant::now())
                .expect_err("nothing can be there");
            assert!(matches!(
                error,
                StateError::Write { .. } | StateError::Read { .. } | StateError::SetAside { .. }
            ));
            assert_eq!(error.gap().hides, Hides::Detail, "{error}");
        }
    }
    assert_eq!(names(&dir), ["state.json"]);
}

#[test]
fn a_link_stays_a_link_and_its_target_is_replaced() {
    let (dir, path) = place();
    let link = dir.path().join("link.json");
    load(&path).keeper.save(&history(), Instant::now()).expect("it writes");
    symlink(&path, &link).expect("it links");
    let mut loaded = load(&link);
    assert_eq!(loaded.history, history());
    loaded
        .keeper
        .save(&History::default(), Instant::now())
        .expect("it writes");
    assert!(link.is_symlink());
    assert_eq!(load(&path).history, History::default());
}

#[test]
fn clients_over_the_limit_are_cut_to_the_latest() {
    let mut text = String::from("{\"format\":\"castoff-state\",\"version\":1,\"clients\":[");
    for n in 0..5_000_u64 {
        let key = serde_json::to_string(&sample::pod_client(&format!("p{n}"), None, 1).key).expect("a key serializes");
        let time = Timestamp::from_unix(sample::NOW + n);
        if n > 0 {
            text.push(',');
        }
        let _ = write!(
            text,
            "{{\"client\":{key},\"firstSeen\":\"{time}\",\"lastSeen\":\"{time}\",\"connects\":1}}"
        );
    }
    text.push_str("]}");
    let read = decode(text.as_bytes()).expect("it is well-formed");
    assert_eq!(read.clients().count(), History::LIMIT);
    let oldest = read
        .clients()
        .map(|(_, seen)| seen.last.as_unix())
        .min()
        .expect("there are some");
    assert_eq!(oldest, sample::NOW + 5_000 - 2_048);
}

/// New clients are written immediately, changed figures after an interval, the rest at the end.
#[test]
fn the_file_is_written_when_due_and_not_more_often() {
    let (_dir, path) = place();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let Loaded {
        mut keeper,
        mut history,
        ..
    } = StateKeeper::load(&path, Duration::from_secs(60));
    let look = |history: &mut History, seconds: u64, pods: &[&str]| {
        let open: Vec<OpenClient> = pods
            .iter()
            .map(|pod| OpenClient {
                key: sample::pod_client(pod, None, 1).key,
                connections: 1,
                pending: 0,
                holders: Vec::new(),
                connectors: Vec::new(),
                sockets: BTreeSet::new(),
                connects: None,
            })
            .collect();
        history.record(Timestamp::from_unix(sample::NOW + seconds), &open);
    };
    let steps: [(u64, &[&str], Saved); 7] = [
        (0, &["a"], Saved::Written),
        (15, &["a"], Saved::NotDue),
        (30, &[], Saved::NotDue),
        (45, &["b"], Saved::Written),
        (60, &["a"], Saved::NotDue),
        (105, &["a"], Saved::Written),
        (106, &[], Saved::Unchanged),
    ];
    for (seconds, pods, saved) in steps {
        look(&mut history, seconds, pods);
        assert_eq!(
            keeper.save_if_due(&history, after(seconds)).expect("it writes"),
            saved,
            "at {seconds} s"
        );
    }
    look(&mut history, 110, &["a"]);
    assert_eq!(
        keeper.save_if_due(&history, after(110)).expect("it writes"),
        Saved::NotDue
    );
    assert_eq!(keeper.save(&history, after(110)).expect("it writes"), Saved::Written);
    let kept = load(&path).history;
    assert!(kept.clients().eq(history.clients()), "{kept:?}");
}

#[test]
fn every_kind_of_client_survives() {
    let kinds: BTreeSet<&str> = history().clients().map(|(key, _)| key.identity.code()).collect();
    assert_eq!(kinds.len(), ClientIdentity::CODES.len(), "the sample has every kind");
    assert_eq!(
        decode(&encode(&history()).expect("it encodes")).expect("it decodes"),
        history()
    );
}

/// A crash must not lose the end of a count: with the earlier file, the count would continue.
#[test]
fn a_count_is_written_immediately_if_it_ends_and_at_intervals_if_it_grows() {
    let (_dir, path) = place();
    let start = Instant::now();
    let mut keeper = load(&path).keeper;
    let mut save = |count: Count, seconds: u64| {
        let history = History::default().with_disuse(Some(count));
        let saved = keeper.save_if_due(&history, start + Duration::from_secs(seconds));
        saved.expect("it writes")
    };
    let with = |seconds, outcome| Count {
        outcome,
        ..count(seconds)
    };
    assert_eq!(save(with(0, LookOutcome::Whole), 0), Saved::Written);
    assert_eq!(save(with(15, LookOutcome::Whole), 15), Saved::Unchanged);
    assert_eq!(save(with(30, LookOutcome::Used), 30), Saved::Written);
    assert_eq!(save(with(45, LookOutcome::Whole), 45), Saved::NotDue);
    assert_eq!(
        save(with(60, LookOutcome::Used), 60),
        Saved::Unchanged,
        "the file says so still"
    );
    assert_eq!(save(with(75, LookOutcome::Whole), 100), Saved::Written);
    assert_eq!(save(with(90, LookOutcome::Hidden), 115), Saved::Written);
    assert_eq!(save(with(105, LookOutcome::Whole), 200), Saved::Written);
    assert_eq!(save(with(590, LookOutcome::Whole), 790), Saved::Unchanged);
    assert_eq!(save(with(610, LookOutcome::Whole), 810), Saved::Written);
    let kept = load(&path).history;
    assert_eq!(kept.disuse().count(), Some(&with(610, LookOutcome::Whole)));
}

#[test]
fn every_hour_of_a_week_survives() {
    let times = |step: usize| (0..168).step_by(step).map(|hours| sample::ago(hours * 3_600));
    for step in 1..40 {
        let history = History::restore([], [], times(step).collect(), []);
        let bytes = encode(&history).expect("it encodes");
        assert!(bytes.len() < 160, "{} bytes for a week", bytes.len());
        assert_eq!(decode(&bytes).expect("it decodes"), history, "every {step} hours");
    }
}

#[test]
fn impossible_hours_are_refused() {
    let with = |looked: &str| {
        let text = format!("{{\"format\":\"castoff-state\",\"version\":2,\"looked\":{looked},\"clients\":[]}}");
        decode(text.as_bytes())
    };
    with("{\"newest\":\"2026-11-24T12:00:00Z\",\"bits\":\"8\"}").expect("the frame is right");
    for bad in [
        "{\"newest\":\"2026-11-24T12:00:00Z\",\"bits\":\"8x\"}".to_owned(),
        "{\"newest\":\"1970-01-01T00:00:00Z\",\"bits\":\"c\"}".to_owned(),
        "{\"newest\":\"soon\",\"bits\":\"8\"}".to_owned(),
        "{\"newest\":\"2026-11-24T12:00:00Z\"}".to_owned(),
        "null".to_owned(),
        format!(
            "{{\"newest\":\"2026-11-24T12:00:00Z\",\"bits\":\"{}\"}}",
            "f".repeat(43)
        ),
    ] {
        let error = with(&bad).expect_err(&bad);
        assert_eq!(error.to_string(), "not the expected JSON", "{bad}");
    }
}
