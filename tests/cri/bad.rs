//! A runtime that refuses, hangs, answers garbage, breaks off, or restarts during a request.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Instant;

use castoff::model::reading::{Hides, Reading, Reason};
use castoff_tests::fake::cri::{Api, Broken, FakeCri, Fault, Manner, Method, Script};
use tonic::Code;

use crate::{CONTAINERD, DEADLINE, Host, ask, kubelet_with, no_kubelet, reason_of};

const NAMED: &str = "/run/containerd/containerd.sock";

fn script() -> Script {
    Script::default()
        .pod("s", "ns", "pod", "uid")
        .container("s", "c1", "main", &[("/run", "/run")])
}

#[tokio::test]
async fn another_service_is_a_protocol_error_and_silence_ends_at_the_deadline() {
    let http =
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request".to_vec();
    // An HTTP/2 settings frame that is truncated after its header of nine bytes.
    let truncated = vec![0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3];
    for (manner, reason) in [
        (Manner::Deaf, Reason::DeadlineExceeded),
        (Manner::Mute, Reason::DeadlineExceeded),
        (Manner::Says(http.clone()), Reason::ProtocolError),
        (Manner::SaysAndCloses(http), Reason::ProtocolError),
        (Manner::Says(vec![0xff; 4096]), Reason::ProtocolError),
        (Manner::SaysAndCloses(vec![0; 65_536]), Reason::ProtocolError),
        (Manner::SaysAndCloses(truncated), Reason::ProtocolError),
        (Manner::SaysAndCloses(Vec::new()), Reason::ProtocolError),
    ] {
        let host = Host::new();
        let _broken = Broken::start(host.at(CONTAINERD), manner.clone()).expect("a socket");
        for kubelet in [no_kubelet(), kubelet_with(NAMED)] {
            let started = Instant::now();
            let seen = ask(&mut host.source(None), &kubelet).await;
            assert_eq!(
                reason_of(&seen.runtime.reading),
                Some(reason),
                "{manner:?}: {:?}",
                seen.refused
            );
            assert_eq!(seen.refused.len(), 1);
            assert!(
                started.elapsed() < DEADLINE * 2,
                "one call, one deadline: {:?}",
                started.elapsed()
            );
        }
    }
}

#[tokio::test]
async fn a_dead_socket_and_one_of_another_type_are_refused() {
    let host = Host::new();
    drop(UnixListener::bind(host.at(CONTAINERD)).expect("a socket"));
    let seen = ask(&mut host.source(None), &kubelet_with(NAMED)).await;
    assert_eq!(reason_of(&seen.runtime.reading), Some(Reason::ConnectionRefused));
    std::fs::remove_file(host.at(CONTAINERD)).expect("it is there");
    let _datagrams = UnixDatagram::bind(host.at(CONTAINERD)).expect("a socket");
    let seen = ask(&mut host.source(None), &kubelet_with(NAMED)).await;
    assert_eq!(
        reason_of(&seen.runtime.reading),
        Some(Reason::ProtocolError),
        "{:?}",
        seen.refused
    );
}

#[tokio::test]
async fn a_failed_call_hides_only_its_own_facts() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, script());
    let broken = Fault::Error(Code::Internal, "disk");
    for (fault, reason) in [(broken, Reason::PeerError), (Fault::Hang, Reason::DeadlineExceeded)] {
        for method in [
            Method::Status,
            Method::RuntimeConfig,
            Method::ListMetricDescriptors,
            Method::ListPodSandbox,
            Method::ListContainers,
        ] {
            fake.edit(|s| *s = script().fault(method, fault.clone()));
            let seen = ask(&mut host.source(None), &no_kubelet()).await;
            let runtime = seen.runtime.reading.known().expect("Version is answered");
            let reasons = [
                (Method::Status, reason_of(&runtime.conditions)),
                (Method::Status, reason_of(&runtime.deprecations)),
                (Method::RuntimeConfig, reason_of(&runtime.cgroup_driver)),
                (Method::ListMetricDescriptors, reason_of(&runtime.pod_metrics)),
                (Method::ListPodSandbox, reason_of(&seen.pods.reading)),
                (Method::ListContainers, reason_of(&seen.containers.reading)),
            ];
            for (of, seen) in reasons {
                assert_eq!(seen, (of == method).then_some(reason), "{of:?} while {method:?} fails");
            }
        }
    }
}

#[tokio::test]
async fn empty_answers_are_not_taken_as_facts() {
    let host = Host::new();
    let script = script()
        .fault(Method::Status, Fault::Empty)
        .fault(Method::RuntimeConfig, Fault::Empty);
    let _fake = host.serve(CONTAINERD, script.fault(Method::ContainerStatus, Fault::Empty));
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    let runtime = seen.runtime.reading.known().expect("Version is answered");
    assert_eq!(reason_of(&runtime.conditions), Some(Reason::ProtocolError));
    assert_eq!(reason_of(&runtime.deprecations), Some(Reason::ProtocolError));
    assert_eq!(reason_of(&runtime.cgroup_driver), Some(Reason::ProtocolError));
    let mounts = &seen.containers.reading.known().expect("containers")[0].mounts;
    assert_eq!(reason_of(mounts), Some(Reason::ProtocolError));
    assert_eq!(seen.containers.gaps[0].hides, Hides::Exposure);
}

/// Wherever the connection ends, there is a reason and no partial answer.
#[tokio::test]
async fn an_incomplete_answer_is_not_used() {
    let host = Host::new();
    let mut whole = script();
    for nth in 0..200 {
        whole = whole.container("s", &format!("more-{nth}"), "more", &[]);
    }
    let fake = host.serve(CONTAINERD, whole);
    let full = ask(&mut host.source(None), &no_kubelet()).await;
    let mut broken = 0;
    for bytes in [0, 1, 9, 20, 60, 100, 150, 200, 300, 500, 1000, 4000, 9000, 15_000] {
        fake.edit(|script| script.close_after = Some(bytes));
        let seen = ask(&mut host.source(None), &no_kubelet()).await;
        let reason = reason_of(&seen.runtime.reading).or(reason_of(&seen.containers.reading));
        match reason {
            Some(Reason::ProtocolError | Reason::DependsOnAnother) => broken += 1,
            None => assert_eq!(
                seen.containers.reading.known().map(Vec::len),
                full.containers.reading.known().map(Vec::len),
                "after {bytes} bytes"
            ),
            Some(other) => panic!("after {bytes} bytes: {other}"),
        }
    }
    assert!(broken >= 8, "{broken}");
}

#[tokio::test]
async fn a_runtime_that_restarts_is_asked_again_in_the_next_cycle() {
    let host = Host::new();
    let mut fake = host.serve(CONTAINERD, script());
    let mut source = host.source(None);
    assert!(ask(&mut source, &no_kubelet()).await.runtime.reading.known().is_some());
    fake.stop();
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(reason_of(&seen.runtime.reading), Some(Reason::ConnectionRefused));
    fake.edit(|script| "2.0.0".clone_into(&mut script.version));
    fake.restart().expect("the same path");
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(seen.runtime.reading.known().expect("it is back").version, "2.0.0");
    assert_eq!(seen.containers.reading.known().map(Vec::len), Some(1));
    // A restart between two cycles has no effect.
    for _ in 0..20 {
        fake.restart().expect("the same path");
        let seen = ask(&mut source, &no_kubelet()).await;
        assert!(seen.runtime.reading.known().is_some(), "{:?}", seen.refused);
    }
}

#[tokio::test]
async fn a_restart_between_two_calls_leaves_a_gap_for_one_cycle() {
    let host = Host::new();
    let mut fake = host.serve(CONTAINERD, script().fault(Method::ListContainers, Fault::Hang));
    let mut source = host.source(None);
    let kubelet = no_kubelet();
    let restart = async {
        while fake.calls(Api::V1, Method::ListContainers) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // In this order: the call is counted before it hangs, and would be answered if the script was changed in between.
        fake.restart().expect("the same path");
        fake.edit(|script| script.faults.clear());
    };
    let (seen, ()) = tokio::join!(ask(&mut source, &kubelet), restart);
    assert_eq!(
        reason_of(&seen.containers.reading),
        Some(Reason::ProtocolError),
        "{seen:?}"
    );
    let seen = ask(&mut source, &kubelet).await;
    assert_eq!(seen.containers.reading.known().map(Vec::len), Some(1));
    assert_eq!(seen.containers.gaps, []);
}

#[tokio::test]
async fn names_that_are_not_text_hide_nothing_but_a_path_that_is_not_text_does() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, script().container("s", "c2", "other", &[("/run", "/run")]));
    fake.edit(|script| {
        script.name = "contain\u{1b}[31merd\n".to_owned();
        script.pods[0].metadata.as_mut().expect("it has metadata").name = b"po\xffd".to_vec();
        script.containers[0].metadata.as_mut().expect("it has metadata").name = vec![b'x'; 1 << 20];
        script.mounts.get_mut("c2").expect("it has mounts")[0].host_path = b"/run/\xff".to_vec();
    });
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    let runtime = seen.runtime.reading.known().expect("it answers");
    assert!(!runtime.name.contains(char::is_control), "{:?}", runtime.name);
    assert_eq!(seen.pods.reading.known().expect("pods")[0].name, "po\u{fffd}d");
    let containers = seen.containers.reading.known().expect("containers");
    assert!(containers[0].name.len() < 1000);
    assert!(containers[0].mounts.known().is_some());
    assert_eq!(reason_of(&containers[1].mounts), Some(Reason::Malformed));
    assert_eq!(seen.containers.gaps.len(), 1);
}

#[tokio::test]
async fn a_named_endpoint_that_fails_is_in_the_refusals() {
    let host = Host::new();
    let _fake: FakeCri = host.serve("run/other.sock", script());
    let seen = ask(&mut host.source(Some("/run/none.sock")), &no_kubelet()).await;
    assert_eq!(reason_of(&seen.runtime.reading), Some(Reason::NotFound));
    assert_eq!(seen.refused[0].refusal.reason, Reason::NotFound);
    assert_ne!(seen.pods.reading, Reading::Absent);
}
