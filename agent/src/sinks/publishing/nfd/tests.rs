//! The file, and the times at which it is written.

use super::*;
use crate::model::publishing::Way;
use crate::model::reading::Reading;
use crate::sinks::sample;

fn file(directory: &Path) -> (FeatureFile, watch::Receiver<Publishing>) {
    let (standing, latest) = watch::channel(Publishing::new(Way::Nfd));
    let prefix = Prefix::parse("castoff.dev").expect("a prefix");
    (FeatureFile::new(directory, prefix, standing), latest)
}

/// Writes if that is due at `now`.
fn write_if_due(file: &mut FeatureFile, now: Instant, clock: SystemTime) {
    if file.due().is_some_and(|due| due <= now) {
        let (wanted, text) = file.text(clock).expect("something is due");
        let written = write(&file.path, &text);
        file.record(&wanted, written, now, clock);
    }
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(sample::NOW)
}

#[test]
fn the_file_has_the_format_of_nfd() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut file, standing) = file(folder.path());
    file.take_in(&sample::report());
    let now = file.due;
    write_if_due(&mut file, now, noon());
    let text = fs::read_to_string(folder.path().join(FILE)).expect("it was written");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# W")).collect();
    assert_eq!(lines[0], "# +expiry-time=2026-11-24T13:00:00Z");
    assert!(lines.contains(&"castoff.dev/docker-dependency=in-use"));
    assert!(lines.contains(&"castoff.dev/container-runtime-version=1.6.20_ds1"));
    assert!(lines.contains(&"castoff.dev/valid-until=1795543200"), "{lines:?}");
    assert_eq!(lines.len(), 9);
    assert!(matches!(standing.borrow().labels, Reading::Known(_)));
    let others: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(others.len(), 1, "nothing else is left there");
    assert!(remove(folder.path()).expect("removable"));
    assert!(!remove(folder.path()).expect("nothing is no error"));
}

#[test]
fn it_is_written_when_a_label_changes_and_before_it_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut file, standing) = file(folder.path());
    let start = file.due;
    let written = |file: &mut FeatureFile, report: &Report, after: Duration| {
        let before = standing.borrow().requests.first().map_or(0, |r| r.count);
        file.take_in(report);
        write_if_due(file, start + after, noon() + after);
        standing.borrow().requests.first().map_or(0, |r| r.count) - before
    };
    let minute = Duration::from_secs(60);
    assert_eq!(written(&mut file, &sample::report(), Duration::ZERO), 1);
    assert_eq!(written(&mut file, &sample::report(), minute), 0);
    assert_eq!(written(&mut file, &sample::clear(), 2 * minute), 1);
    assert_eq!(written(&mut file, &sample::clear(), 31 * minute), 0);
    assert_eq!(written(&mut file, &sample::clear(), 33 * minute), 1);
}

#[test]
fn a_failed_write_is_reported_and_retried() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("not-there-yet");
    let (mut file, standing) = file(&directory);
    file.take_in(&sample::report());
    let start = file.due;
    write_if_due(&mut file, start, noon());
    assert_eq!(standing.borrow().failing, Some(Outcome::HostError));
    write_if_due(&mut file, start + RETRY / 2, noon());
    assert_eq!(standing.borrow().requests[0].count, 1, "not before it is time");
    fs::create_dir(&directory).expect("a folder");
    write_if_due(&mut file, start + RETRY, noon());
    assert_eq!(standing.borrow().failing, None);
    fs::remove_file(directory.join(FILE)).expect("it was written");
    fs::create_dir(directory.join(FILE)).expect("a folder in its place");
    file.take_in(&sample::clear());
    write_if_due(&mut file, start + 2 * RETRY, noon());
    assert_eq!(
        standing.borrow().failing,
        Some(Outcome::HostError),
        "what is not a file is not replaced"
    );
}

#[tokio::test]
async fn a_disk_that_hangs_is_reported_and_blocks_one_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut file, standing) = file(folder.path());
    file.take_in(&sample::report());
    let (release, hang) = std::sync::mpsc::channel::<()>();
    let hanging = spawn_blocking(move || hang.recv().map_err(io::Error::other));
    file.writing = file.wanted.clone().map(|wanted| (wanted, hanging));
    file.deadline = Duration::from_millis(20);
    for said in 1..=2 {
        file.send_due().await;
        assert_eq!(standing.borrow().failing, Some(Outcome::HostError));
        assert_eq!(standing.borrow().requests[0].count, said);
        assert!(!folder.path().join(FILE).exists(), "a second thread has written");
    }
    release.send(()).expect("it hangs");
    file.deadline = Duration::from_secs(60);
    file.send_due().await;
    assert_eq!(standing.borrow().failing, None);
}
