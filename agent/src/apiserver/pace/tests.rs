//! Simulates hours of an agent.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Simulates `hours` hours: every due request is sent immediately, and `answer` gives the response. Returns the times
/// of all reads.
fn play(
    hours: u32,
    chance: fn() -> f64,
    mut answer: impl FnMut(Duration) -> Result<(), Option<Duration>>,
) -> Vec<Duration> {
    let start = Instant::now();
    let mut pace = Pace::new(Paces::default(), chance, start);
    let (mut now, mut reads, mut known) = (start, Vec::new(), false);
    loop {
        now = now.max(pace.when(if known { Need::Verify } else { Need::Read }));
        if now - start > HOUR * hours {
            return reads;
        }
        pace.read(now);
        reads.push(now - start);
        match answer(now - start) {
            Ok(()) => {
                known = true;
                pace.succeeded(now);
            }
            Err(retry_after) => pace.failed(now, retry_after),
        }
    }
}

/// The most reads in any hour.
fn busiest(reads: &[Duration]) -> usize {
    let in_hour = |from: &Duration| reads.iter().filter(|at| **at >= *from && **at < *from + HOUR).count();
    reads.iter().map(in_hour).max().unwrap_or(0)
}

#[test]
fn a_quiet_node_is_read_a_few_times_an_hour() {
    for chance in [|| 0.0, || 0.5, || 1.0] as [fn() -> f64; 3] {
        let reads = play(24, chance, |_| Ok(()));
        assert!(busiest(&reads) <= 9, "{}", busiest(&reads));
        assert!(reads.len() >= 24, "at least one an hour");
    }
}

#[test]
fn never_more_than_a_dozen_reads_an_hour() {
    let mut turn = 0_u32;
    let away = play(48, chance, |_| Err(None));
    let flapping = play(48, chance, |_| {
        turn += 1;
        if turn.is_multiple_of(2) { Ok(()) } else { Err(None) }
    });
    for reads in [away, flapping] {
        assert!(busiest(&reads) <= 12, "{}", busiest(&reads));
        assert!(reads.len() >= 48, "and it does not give up");
    }
}

#[test]
fn a_server_that_was_away_for_a_minute_is_found_soon_and_without_a_burst() {
    let back = Duration::from_secs(60);
    let reads = play(1, || 0.5, |at| if at < back { Err(None) } else { Ok(()) });
    let found = reads.iter().position(|at| *at >= back).expect("it was found");
    assert!(reads[found] < 2 * back + Duration::from_secs(30), "{:?}", reads[found]);
    assert!(
        reads[found + 1] > reads[found] + Duration::from_secs(400),
        "no burst afterwards"
    );
}

#[test]
fn a_thousand_agents_do_not_come_back_together() {
    let back = HOUR * 3;
    let mut found: Vec<u64> = (0..1000)
        .map(|_| {
            let reads = play(4, chance, |at| if at < back { Err(None) } else { Ok(()) });
            reads.iter().find(|at| **at >= back).expect("it was found").as_secs() - back.as_secs()
        })
        .collect();
    found.sort_unstable();
    let crowd = found.chunk_by(|a, b| a / 10 == b / 10).map(<[u64]>::len).max();
    assert!(crowd < Some(100), "{crowd:?} of 1000 within ten seconds");
    assert!(found[999] <= 900, "all within the longest wait: {}", found[999]);
}

#[test]
fn the_wait_that_the_server_requests_is_kept() {
    let start = Instant::now();
    let mut pace = Pace::new(Paces::default(), || 0.0, start);
    pace.failed(start, Some(Duration::from_secs(100)));
    assert!(pace.when(Need::Read) >= start + Duration::from_secs(100));
    assert!(pace.when(Need::Labels) >= start + Duration::from_secs(100));
}

#[test]
fn a_flapping_label_and_a_moving_count_are_slowed_down() {
    let start = Instant::now();
    let mut pace = Pace::new(Paces::default(), || 0.5, start);
    pace.succeeded(start);
    let writes = |pace: &mut Pace, need| {
        let (mut now, mut written) = (start, 0);
        loop {
            now = now.max(pace.when(need));
            if now >= start + HOUR {
                return written;
            }
            pace.wrote(now);
            pace.succeeded(now);
            written += 1;
        }
    };
    let flapping = writes(&mut pace, Need::Labels);
    assert!((25..=35).contains(&flapping), "{flapping}");
    let mut pace = Pace::new(Paces::default(), || 0.5, start);
    pace.succeeded(start);
    assert_eq!(writes(&mut pace, Need::Annotation), 1);
}
