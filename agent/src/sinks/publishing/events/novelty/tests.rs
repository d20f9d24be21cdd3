//! Consecutive reports, and the news in each.

use super::*;
use crate::model::engine::Scope;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::workload::owner::{Workload, WorkloadKind};
use crate::sinks::sample;

const HOUR: u64 = 3600;

/// The sample's report `seconds` later, with these clients.
fn report(seconds: u64, clients: Vec<Client>) -> Report {
    let mut report = sample::clear();
    report.time = Timestamp::from_unix(sample::NOW + seconds);
    report.clients = Reading::Known(clients);
    report
}

/// A client in a pod, first seen `first` seconds after the first report; `of` is the Deployment of the pod.
fn client(pod: &str, of: Option<&str>, first: u64) -> Client {
    let mut client = sample::pod_client(pod, Some("build"), 1);
    client.first_seen = Timestamp::from_unix(sample::NOW + first);
    client.pod_uid = Some(format!("uid-of-{pod}"));
    if let ClientIdentity::Pod(place) = &mut client.key.identity {
        place.workload = of.map(|name| Workload {
            kind: WorkloadKind::Deployment,
            name: name.to_owned(),
            certain: true,
        });
    }
    client
}

fn exposure(pod: &str, used: bool) -> Exposure {
    let report = sample::report();
    let mut exposure = report.exposures.known().expect("the sample has some")[0].clone();
    if let ClientIdentity::Pod(place) = &mut exposure.identity {
        place.pod = pod.to_owned();
        place.workload = None;
    }
    exposure.used = used;
    exposure
}

fn exposed(seconds: u64, exposures: Vec<Exposure>) -> Report {
    let mut report = report(seconds, Vec::new());
    report.exposures = Reading::Known(exposures);
    report
}

fn news(novelty: &mut Novelty, report: &Report) -> Vec<String> {
    let news = novelty.take_in(report);
    news.iter().map(|n| format!("{} {}", n.news, n.place.pod)).collect()
}

#[test]
fn the_first_report_contains_no_news() {
    let mut novelty = Novelty::default();
    let mut first = report(0, vec![client("old", None, 0), client("older", None, 0)]);
    first.exposures = Reading::Known(vec![exposure("could", false)]);
    assert_eq!(news(&mut novelty, &first), [""; 0]);
    first.time = Timestamp::from_unix(sample::NOW + 15);
    assert_eq!(news(&mut novelty, &first), [""; 0]);
}

#[test]
fn a_client_is_news_once() {
    let mut novelty = Novelty::default();
    news(&mut novelty, &report(0, vec![client("old", None, 0)]));
    let both = |first| vec![client("old", None, 0), client("new", None, first)];
    assert_eq!(news(&mut novelty, &report(15, both(15))), ["DockerSocketClient new"]);
    for seconds in [30, 45, HOUR, 23 * HOUR, 25 * HOUR, 49 * HOUR] {
        assert_eq!(
            news(&mut novelty, &report(seconds, both(15))),
            [""; 0],
            "after {seconds} s"
        );
    }
}

#[test]
fn a_rollout_is_not_news() {
    let mut novelty = Novelty::default();
    news(&mut novelty, &report(0, Vec::new()));
    let one = report(15, vec![client("builder-1", Some("builder"), 15)]);
    assert_eq!(news(&mut novelty, &one), ["DockerSocketClient builder-1"]);
    // The history gives the next pod the first one's time; even without it there is no news.
    for first in [15, 30] {
        let next = report(30, vec![client("builder-2", Some("builder"), first)]);
        assert_eq!(news(&mut novelty, &next), [""; 0]);
    }
}

#[test]
fn a_client_is_news_once_its_pod_is_known() {
    let mut novelty = Novelty::default();
    news(&mut novelty, &report(0, Vec::new()));
    let mut early = client("new", None, 15);
    early.pod_uid = None;
    assert_eq!(news(&mut novelty, &report(15, vec![early])), [""; 0]);
    let now = report(30, vec![client("new", None, 15)]);
    assert_eq!(news(&mut novelty, &now), ["DockerSocketClient new"]);
}

#[test]
fn only_open_connections_of_pods_to_docker_are_news() {
    let mut novelty = Novelty::default();
    news(&mut novelty, &report(0, Vec::new()));
    let mut of_cri = client("cri", None, 15);
    of_cri.key.api = Api::Cri;
    let mut closed = client("closed", None, 15);
    closed.connections = 0;
    let mut of_a_pod = client("dind", None, 15);
    of_a_pod.key.scope = Scope::Pod(sample::place("dind", None));
    let mut host = sample::host_client(None, "/usr/bin/docker", Some(0), 1);
    host.first_seen = Timestamp::from_unix(sample::NOW + 15);
    assert_eq!(
        news(&mut novelty, &report(15, vec![of_cri, closed, of_a_pod, host])),
        [""; 0]
    );
}

#[test]
fn an_exposure_is_news_once_a_day_and_not_if_it_is_used() {
    let mut novelty = Novelty::default();
    news(&mut novelty, &exposed(0, vec![exposure("old", false)]));
    let mut of_a_pod = exposure("of-a-pod", false);
    of_a_pod.scope = Scope::Pod(sample::place("dind", None));
    let all = || {
        vec![
            exposure("old", false),
            exposure("new", false),
            exposure("used", true),
            of_a_pod.clone(),
        ]
    };
    assert_eq!(news(&mut novelty, &exposed(15, all())), ["DockerSocketExposure new"]);
    assert_eq!(news(&mut novelty, &exposed(30, Vec::new())), [""; 0]);
    assert_eq!(news(&mut novelty, &exposed(23 * HOUR, all())), [""; 0]);
    assert_eq!(news(&mut novelty, &exposed(48 * HOUR, Vec::new())), [""; 0]);
    let again = news(&mut novelty, &exposed(48 * HOUR + 15, all()));
    assert_eq!(again, ["DockerSocketExposure old", "DockerSocketExposure new"]);
}

#[test]
fn clients_and_exposures_that_were_hidden_at_first_are_not_news() {
    let mut novelty = Novelty::default();
    let gap = || Gap::new(Reason::DeadlineExceeded, Hides::Client, "ListPodSandbox", "no answer");
    let mut blind = report(0, Vec::new());
    blind.clients = Reading::Unknown(gap());
    blind.exposures = Reading::Unknown(gap());
    assert_eq!(news(&mut novelty, &blind), [""; 0]);
    let mut seen = report(15, vec![client("old", None, 15)]);
    seen.exposures = Reading::Known(vec![exposure("could", false)]);
    assert_eq!(news(&mut novelty, &seen), [""; 0]);
}

#[test]
fn more_items_than_are_remembered_cause_no_burst() {
    let mut novelty = Novelty::default();
    news(&mut novelty, &exposed(0, Vec::new()));
    let many = |n: usize| (0..n).map(|i| exposure(&format!("p{i}"), false)).collect::<Vec<_>>();
    assert_eq!(news(&mut novelty, &exposed(15, many(LIMIT + 100))).len(), LIMIT);
    assert_eq!(news(&mut novelty, &exposed(30, many(LIMIT + 100))).len(), 0);
}
