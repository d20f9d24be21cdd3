//! The whole exposition, and the series that it must never contain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::findings::report::{KubeletCeiling, Verdict};
use crate::model::client::{Client, ClientIdentity};
use crate::model::engine::Api;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::workload::Unit;
use crate::sinks::{golden, sample};

const BUILD: Build = Build {
    version: "0.1.0",
    revision: "abc1234",
};

fn exposition(report: Option<&Report>, cycles: &CycleCounters) -> String {
    let standing = report.map_or_else(Standing::default, |_| sample::standing());
    encode(&families(BUILD, report, &standing, cycles)).expect("every family has series and a name")
}

fn of(report: &Report) -> String {
    exposition(Some(report), &CycleCounters::default())
}

/// Each sample's series (name and labels) and value; panics if one is duplicated or before its TYPE.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let mut samples = BTreeMap::new();
    let mut typed = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(typed.insert(name), "{name} is described twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            assert!(
                typed.iter().any(|t| name.starts_with(t)),
                "{name} stands before its type"
            );
            assert!(samples.insert(series, value).is_none(), "{series} stands twice");
        }
    }
    samples
}

#[test]
fn the_sample_matches_the_golden_file() {
    let report = sample::report();
    let mut cycles = CycleCounters::default();
    cycles.record_cycle(&report, Duration::from_millis(64), 0);
    cycles.record_cycle(&report, Duration::from_millis(7), 3);
    cycles.record_state_write(true);
    let text = exposition(Some(&report), &cycles);
    samples(&text);
    golden::hold("src/sinks/views/metrics/golden.prom", &text);
}

#[test]
fn the_catalogue_and_the_sample_name_the_same_families() {
    let text = of(&sample::report()) + &of(&sample::asked());
    let mut cycles = CycleCounters::default();
    cycles.record_cycle(&sample::report(), Duration::ZERO, 0);
    let text = text + &exposition(Some(&sample::report()), &cycles);
    let described: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let catalogue: BTreeSet<&str> = catalogue::ALL.iter().map(|d| d.name).collect();
    assert_eq!(described, catalogue);
}

#[test]
fn before_the_first_report_the_verdict_is_unknown_and_nothing_is_claimed() {
    let text = exposition(None, &CycleCounters::default());
    let samples = samples(&text);
    assert_eq!(samples["castoff_node_verdict{verdict=\"unknown\"}"], "1");
    for family in [
        "castoff_engines",
        "castoff_clients{",
        "castoff_findings",
        "castoff_source_up",
        "castoff_report",
    ] {
        assert!(!samples.keys().any(|s| s.starts_with(family)), "{family}");
    }
    assert_eq!(samples["castoff_cycles_total"], "0");
}

#[test]
fn exactly_one_answer_holds_for_each_target() {
    let text = of(&sample::asked());
    let holding: Vec<&str> = samples(&text)
        .into_iter()
        .filter(|(s, v)| s.starts_with("castoff_ready{") && *v == "1")
        .map(|(s, _)| s)
        .collect();
    let expected = [
        "castoff_ready{target=\"containerd=1.7\",answer=\"cannot-tell\"}",
        "castoff_ready{target=\"docker=removed\",answer=\"ready\"}",
        "castoff_ready{target=\"kubelet=1.38\",answer=\"not-ready\"}",
    ];
    assert_eq!(holding, expected);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("castoff_ready{")).count(),
        9
    );
    assert!(!of(&sample::report()).contains("castoff_ready"));
}

#[test]
fn exactly_one_verdict_holds() {
    for verdict in Verdict::ALL {
        let mut report = sample::clear();
        report.verdict = *verdict;
        let text = of(&report);
        let holding: Vec<&str> = samples(&text)
            .into_iter()
            .filter(|(s, v)| s.starts_with("castoff_node_verdict{") && *v == "1")
            .map(|(s, _)| s)
            .collect();
        assert_eq!(holding, [format!("castoff_node_verdict{{verdict=\"{verdict}\"}}")]);
    }
}

/// Unknown makes no series; absent and empty make zeros.
#[test]
fn unknown_is_never_zero() {
    let families = ["castoff_engines{", "castoff_shadow_containers{", "castoff_clients{"];
    let blind = of(&sample::blind());
    for family in families {
        assert!(!blind.contains(family), "{family}");
    }
    for family in [
        "castoff_runtime_info",
        "castoff_kubelet_ceiling_minor",
        "castoff_pod_exposure{",
    ] {
        assert!(!samples(&blind).keys().any(|s| s.starts_with(family)), "{family}");
    }
    assert!(blind.contains("castoff_source_up{source=\"engines\"} 0\n"));

    let mut absent = sample::clear();
    absent.engines = Reading::Absent;
    absent.clients = Reading::Absent;
    absent.shadow_containers = Reading::Absent;
    for text in [of(&absent), of(&sample::clear())] {
        for family in families {
            let zeros = samples(&text)
                .into_iter()
                .filter(|(s, v)| s.starts_with(family) && *v == "0")
                .count();
            assert!(zeros >= 3, "{family}");
        }
    }
    let mut unlimited = sample::clear();
    unlimited.kubelet_ceiling = Reading::Known(KubeletCeiling::None);
    assert!(!of(&unlimited).contains("castoff_kubelet_ceiling_minor"));
}

#[test]
fn a_family_is_bounded_and_counts_the_series_it_left_out() {
    let mut report = sample::clear();
    report.clients = Reading::Known(
        (0..700)
            .map(|n| sample::pod_client(&format!("p{n}"), Some("c"), 1))
            .collect(),
    );
    let text = of(&report);
    let samples = samples(&text);
    let count = |family: &str| samples.keys().filter(|s| s.starts_with(family)).count();
    assert_eq!(count("castoff_pod_client_connections{"), 500);
    assert_eq!(
        samples["castoff_series_dropped{family=\"castoff_pod_client_connections\"}"],
        "200"
    );
    assert_eq!(
        samples["castoff_series_dropped{family=\"castoff_host_client_connections\"}"],
        "0"
    );
    assert_eq!(samples["castoff_clients{who=\"pod\",state=\"connected\"}"], "700");
}

/// The number of classes in the requests of the sample's client, each of which has a series.
const OPERATIONS: usize = 3;

/// An ordinary user makes ten thousand of each kind, beside one client of the system and one of another user.
#[test]
fn a_flood_of_one_user_displaces_no_series_of_another_client() {
    let session = |uid| Some(Unit::Session { uid });
    let mut clients: Vec<Client> = (0..10_000)
        .map(|n| sample::host_client(session(1000), &format!("/home/u/docker{n}"), Some(1000), 1))
        .collect();
    let backup = Some(Unit::System {
        name: "backup.service".to_owned(),
    });
    clients.push(sample::host_client(backup, "/usr/bin/docker", Some(0), 0));
    clients.push(sample::host_client(session(1001), "/usr/bin/docker", Some(1001), 0));
    let mut report = sample::clear();
    report.clients = Reading::Known(clients);
    let text = of(&report);
    for honest in ["unit=\"backup.service\"", "unit=\"session of user 1001\""] {
        let series = text.lines().filter(|line| line.contains(honest)).count();
        assert_eq!(series, 4 + OPERATIONS, "{honest}");
    }
}

#[test]
fn clients_with_equal_labels_are_added_up() {
    let long = "x".repeat(5_000);
    let mut earlier = sample::host_client(None, &format!("/{long}/b"), None, 2);
    earlier.first_seen = sample::ago(9_999_999);
    earlier.last_seen = sample::ago(99);
    let mut report = sample::clear();
    report.clients = Reading::Known(vec![sample::host_client(None, &format!("/{long}/a"), None, 1), earlier]);
    let text = of(&report);
    let hosts: Vec<_> = samples(&text)
        .into_iter()
        .filter(|(s, _)| s.starts_with("castoff_host_client"))
        .collect();
    assert_eq!(hosts.len(), 4 + OPERATIONS, "{hosts:?}");
    let executable = hosts[0]
        .0
        .split("executable=\"")
        .nth(1)
        .and_then(|s| s.split('"').next())
        .expect("a label");
    assert_eq!(executable.len(), 256);
    let values: Vec<&str> = hosts.iter().map(|(_, v)| *v).collect();
    let (first, last) = ((sample::NOW - 9_999_999).to_string(), sample::NOW.to_string());
    assert_eq!(values, ["3", "14", &first, &last, "4", "10", "14"]);
}

#[test]
fn deceptive_names_stay_within_their_line() {
    let name = "a\"} 1\ncastoff_node_verdict{verdict=\"clear\"} 1\n\\\u{1b}[0m\u{2028}";
    let mut report = sample::clear();
    report.node = Some(name.to_owned());
    report.clients = Reading::Known(vec![
        sample::host_client(None, name, None, 1),
        sample::pod_client(name, Some(name), 1),
    ]);
    let text = of(&report);
    assert_eq!(
        samples(&text).len(),
        samples(&of(&sample::clear())).len() + 2 * (4 + OPERATIONS)
    );
    assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{text}");
}

#[test]
fn no_label_of_a_pod_is_empty() {
    let mut report = sample::clear();
    report.clients = Reading::Known(vec![sample::pod_client("", None, 1)]);
    let text = of(&report);
    assert!(text.contains("castoff_pod_client_connections{namespace=\"ci\",pod=\"(unknown)\",container=\"(unknown)\""));
    assert!(!text.contains("=\"\""), "an empty label is filled in by the scraper");
}

#[test]
fn clients_of_the_runtimes_own_socket_do_not_count_as_docker_clients() {
    let mut report = sample::clear();
    let mut client = sample::pod_client("p", Some("c"), 1);
    client.key.api = Api::Cri;
    report.runtime_clients = Reading::Known(vec![client]);
    let (with, without) = (of(&report), of(&sample::clear()));
    let is_docker = |line: &&str| !line.contains("castoff_runtime_socket_");
    assert!(with.lines().filter(is_docker).eq(without.lines().filter(is_docker)));
    assert!(
        with.contains("castoff_runtime_socket_clients{who=\"pod\",state=\"connected\"} 1"),
        "{with}"
    );
}

#[test]
fn every_kind_of_identity_is_counted() {
    for client in sample::report().clients.known().expect("the sample has clients") {
        assert!(ClientIdentity::CODES.contains(&client.key.identity.code()));
    }
}

#[test]
fn a_failing_source_counts_its_reason_and_keeps_its_last_success() {
    let good = sample::clear();
    let mut bad = sample::clear();
    bad.time = crate::model::time::Timestamp::from_unix(sample::NOW + 15);
    bad.sources[2].up = false;
    bad.sources[2].gaps = vec![Gap::new(
        Reason::DeadlineExceeded,
        Hides::Runtime,
        "Version",
        "timed out",
    )];
    let mut cycles = CycleCounters::default();
    cycles.record_cycle(&good, Duration::from_millis(30), 0);
    cycles.record_cycle(&bad, Duration::from_secs(11), 0);
    let text = exposition(Some(&bad), &cycles);
    let samples = samples(&text);
    for (series, value) in [
        ("castoff_source_up{source=\"runtime\"}", "0"),
        (
            "castoff_source_failures_total{source=\"runtime\",reason=\"deadline-exceeded\"}",
            "1",
        ),
        (
            "castoff_source_failures_total{source=\"runtime\",reason=\"not-found\"}",
            "0",
        ),
        (
            "castoff_source_gaps{source=\"runtime\",reason=\"deadline-exceeded\"}",
            "1",
        ),
        (
            "castoff_source_last_success_timestamp_seconds{source=\"runtime\"}",
            "1795521600",
        ),
        (
            "castoff_source_last_success_timestamp_seconds{source=\"mounts\"}",
            "1795521615",
        ),
        ("castoff_cycle_duration_seconds_bucket{le=\"0.025\"}", "0"),
        ("castoff_cycle_duration_seconds_bucket{le=\"0.05\"}", "1"),
        ("castoff_cycle_duration_seconds_bucket{le=\"10\"}", "1"),
        ("castoff_cycle_duration_seconds_bucket{le=\"+Inf\"}", "2"),
        ("castoff_cycles_total", "2"),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
}

#[test]
fn the_agents_own_process_is_measured() {
    let text = Metrics::new(BUILD)
        .render(None, &Standing::default(), &CycleCounters::default())
        .expect("it encodes");
    let samples = samples(&text);
    assert!(samples.contains_key("process_resident_memory_bytes"), "{text}");
    // No test process has used whole seconds to the nanosecond.
    let used: f64 = samples["process_cpu_seconds_total"].parse().expect("a number");
    assert!(used > 0.0 && used.fract() > 0.0, "{used}");
}
