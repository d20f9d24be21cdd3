//! The file, and when it is written.

use super::*;
use crate::model::publishing::Way;
use crate::model::reading::Reading;
use crate::sinks::sample;

fn file(directory: &Path) -> (FeatureFile, Ledger) {
    let ledger = Ledger::new(Way::Nfd);
    let prefix = Prefix::parse("castoff.dev").expect("a prefix");
    (FeatureFile::new(directory, prefix, ledger.clone()), ledger)
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(sample::NOW)
}

#[test]
fn the_file_is_what_nfd_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut file, ledger) = file(folder.path());
    file.wanted = file.settled.take_in(&sample::report());
    file.write_if_due(file.due, noon());
    let text = fs::read_to_string(folder.path().join(FILE)).expect("it was written");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# W")).collect();
    assert_eq!(lines[0], "# +expiry-time=2026-11-24T13:00:00Z");
    assert!(lines.contains(&"castoff.dev/docker-dependency=in-use"));
    assert!(lines.contains(&"castoff.dev/container-runtime-version=1.6.20_ds1"));
    assert!(lines.contains(&"castoff.dev/valid-until=1795543200"), "{lines:?}");
    assert_eq!(lines.len(), 8);
    assert!(matches!(ledger.read().labels, Reading::Known(_)));
    let others: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(others.len(), 1, "nothing else is left there");
    assert!(remove(folder.path()).expect("removable"));
    assert!(!remove(folder.path()).expect("nothing is no error"));
}

#[test]
fn it_is_written_when_a_label_changes_and_before_it_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut file, ledger) = file(folder.path());
    let start = file.due;
    let written = |file: &mut FeatureFile, report: &Report, after: Duration| {
        let before = ledger.read().requests.first().map_or(0, |r| r.count);
        file.wanted = file.settled.take_in(report);
        file.write_if_due(start + after, noon() + after);
        ledger.read().requests.first().map_or(0, |r| r.count) - before
    };
    let minute = Duration::from_secs(60);
    assert_eq!(written(&mut file, &sample::report(), Duration::ZERO), 1);
    assert_eq!(written(&mut file, &sample::report(), minute), 0);
    assert_eq!(written(&mut file, &sample::clear(), 2 * minute), 1);
    assert_eq!(written(&mut file, &sample::clear(), 31 * minute), 0);
    assert_eq!(written(&mut file, &sample::clear(), 33 * minute), 1);
}

#[test]
fn a_place_that_cannot_be_written_is_said_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("not-there-yet");
    let (mut file, ledger) = file(&directory);
    file.wanted = file.settled.take_in(&sample::report());
    let start = file.due;
    file.write_if_due(start, noon());
    assert_eq!(ledger.read().failing, Some(Outcome::HostError));
    file.write_if_due(start + RETRY / 2, noon());
    assert_eq!(ledger.read().requests[0].count, 1, "not before it is time");
    fs::create_dir(&directory).expect("a folder");
    file.write_if_due(start + RETRY, noon());
    assert_eq!(ledger.read().failing, None);
    fs::remove_file(directory.join(FILE)).expect("it was written");
    fs::create_dir(directory.join(FILE)).expect("a folder in its place");
    file.wanted = file.settled.take_in(&sample::clear());
    file.write_if_due(start + 2 * RETRY, noon());
    assert_eq!(
        ledger.read().failing,
        Some(Outcome::HostError),
        "what is not a file is not replaced"
    );
}
