//! Long lists, and the request for each container.

use std::time::Duration;

use castoff::model::container::{Container, Pod};
use castoff::model::reading::{Hides, Reason};
use castoff_cri::v1;
use castoff_tests::fake::cri::{Api, FakeCri, Fault, Method, Script};
use tonic::Code;

use crate::{CONTAINERD, Host, ask, no_kubelet, reason_of};

fn many(containers: usize) -> Script {
    let mut script = Script::default().pod("sandbox", "ns", "pod", "uid");
    for nth in 0..containers {
        script = script.container("sandbox", &format!("{nth:064x}"), "main", &[("/var/lib/x", "/x")]);
    }
    script
}

fn status_calls(fake: &FakeCri) -> usize {
    fake.calls(Api::V1, Method::ContainerStatus)
}

#[tokio::test]
async fn a_containers_mounts_are_requested_once() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, many(30));
    let mut source = host.source(None);
    for _ in 0..3 {
        let seen = ask(&mut source, &no_kubelet()).await;
        let containers = seen.containers.reading.known().expect("containers");
        assert!(containers.len() == 30 && containers.iter().all(|c| c.mounts.known().is_some()));
    }
    assert_eq!(status_calls(&fake), 30);
    fake.edit(|script| *script = script.clone().container("sandbox", "new", "new", &[]));
    ask(&mut source, &no_kubelet()).await;
    assert_eq!(status_calls(&fake), 31, "the new one only");
    // A container that was gone for a cycle is dropped.
    let all = many(30);
    fake.edit(|script| *script = many(29));
    ask(&mut source, &no_kubelet()).await;
    fake.edit(|script| *script = all);
    ask(&mut source, &no_kubelet()).await;
    assert_eq!(status_calls(&fake), 32);
}

#[tokio::test]
async fn containers_that_wait_for_a_start_are_listed_apart_with_one_call() {
    let host = Host::new();
    let socket = [("/var/run/docker.sock", "/x")];
    let script = many(2)
        .container("sandbox", "exited", "ship", &socket)
        .state(v1::ContainerState::ContainerExited, 7)
        .container("sandbox", "older", "ship", &socket)
        .state(v1::ContainerState::ContainerExited, 6)
        .container("sandbox", "created", "next", &socket)
        .state(v1::ContainerState::ContainerCreated, 0);
    let fake = host.serve(CONTAINERD, script);
    let mut source = host.source(None);
    for looks in 1..3 {
        let seen = ask(&mut source, &no_kubelet()).await;
        assert_eq!(seen.containers.reading.known().map(Vec::len), Some(2));
        assert_eq!(seen.containers.gaps, []);
        let paths = |c: &Container| c.mounts.items().iter().map(|m| m.host_path.clone()).collect::<String>();
        let waiting: Vec<_> = seen.waiting.iter().map(|c| (c.id.0.as_str(), paths(c))).collect();
        let expected = ["exited", "created"].map(|id| (id, "/var/run/docker.sock".to_owned()));
        assert_eq!(waiting, expected);
        assert_eq!(fake.calls(Api::V1, Method::ListContainers), looks);
        assert_eq!(status_calls(&fake), 4, "asked once");
    }
    fake.edit(|script| {
        *script = script
            .clone()
            .fault(Method::ListPodSandbox, Fault::Error(Code::Internal, "no"));
    });
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(seen.waiting, []);
    let gaps: Vec<_> = seen.containers.gaps.iter().map(|g| (g.hides, g.count)).collect();
    assert_eq!(gaps, [(Hides::Exposure, 2)], "they may be of pods that have ended");
}

#[tokio::test]
async fn the_workload_of_a_pod_is_known_in_either_version() {
    for (api, at) in [(Api::V1, CONTAINERD), (Api::V1alpha2, "run/dockershim.sock")] {
        let host = Host::new();
        let script = Script::of("runtime", "1", [api])
            .pod("a", "ci", "builder-7d9c5b6f4-x2v8q", "1")
            .label(b"\xff\xfe", b"x")
            .label(b"x", b"\xff")
            .label(b"pod-template-hash", b"7d9c5b6f4")
            .annotation(b"\xc0", &vec![0xc0; 1 << 20])
            .pod("b", "ci", "backup-29925360-x2v8q", "2")
            .made(1_795_521_602)
            .label(b"job-name", b"backup-29925360")
            .pod("c", "kube-system", "etcd-worker-3", "3")
            .annotation(b"kubernetes.io/config.source", b"file")
            .pod("d", "ci", "debug", "4")
            .made(i64::MIN / 1_000_000_000);
        let _fake = host.serve(at, script);
        let seen = ask(&mut host.source(None), &no_kubelet()).await;
        assert_eq!(seen.pods.gaps, []);
        let pods = seen.pods.reading.known().expect("pods");
        let of = |pod: &Pod| pod.workload.as_ref().map(ToString::to_string);
        let of: Vec<_> = pods.iter().map(of).collect();
        let expected = ["Deployment builder", "CronJob backup", "StaticPod etcd"];
        assert_eq!(of[..3], expected.map(|w| Some(w.to_owned())));
        assert_eq!(of[3], None);
    }
}

#[tokio::test]
async fn a_container_that_vanished_is_left_out_and_a_failed_request_is_repeated() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, many(3));
    fake.edit(|script| {
        script.mounts.remove(&format!("{:064x}", 1));
    });
    let mut source = host.source(None);
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(seen.containers.reading.known().map(Vec::len), Some(2));
    assert_eq!(seen.containers.gaps, [], "a container may vanish at any time");

    fake.edit(|script| *script = many(5).fault(Method::ContainerStatus, Fault::Error(Code::Unavailable, "busy")));
    let seen = ask(&mut source, &no_kubelet()).await;
    let containers = seen.containers.reading.known().expect("containers");
    let unknown = containers
        .iter()
        .filter(|c| reason_of(&c.mounts) == Some(Reason::PeerError));
    assert_eq!((containers.len(), unknown.count()), (5, 3), "two are known from before");
    let gaps: Vec<_> = seen
        .containers
        .gaps
        .iter()
        .map(|g| (g.reason, g.hides, g.count))
        .collect();
    assert_eq!(gaps, [(Reason::PeerError, Hides::Exposure, 3)]);

    fake.edit(|script| script.faults.clear());
    let seen = ask(&mut source, &no_kubelet()).await;
    assert!(
        seen.containers
            .reading
            .known()
            .expect("containers")
            .iter()
            .all(|c| c.mounts.known().is_some())
    );
    assert_eq!(seen.containers.gaps, []);
}

#[tokio::test]
async fn a_runtime_that_hangs_on_each_container_does_not_exceed_the_deadline() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, many(200).fault(Method::ContainerStatus, Fault::Hang));
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    let containers = seen.containers.reading.known().expect("they are listed");
    assert_eq!(containers.len(), 200);
    assert!(
        containers
            .iter()
            .all(|c| reason_of(&c.mounts) == Some(Reason::DeadlineExceeded))
    );
    assert_eq!(seen.containers.gaps[0].count, 200);
    assert!(
        status_calls(&fake) <= 8 * 4,
        "where no time is left nothing is asked: {}",
        status_calls(&fake)
    );
}

/// The answers within the time of one cycle are kept, the rest is counted, and the next cycles continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_containers_are_complete_after_some_cycles() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, many(20_000));
    let mut source = host.source_within(None, Duration::from_secs(2));
    let mut unknown_before = 20_000;
    for _ in 0..200 {
        let seen = source.query(&no_kubelet()).await;
        let containers = seen.containers.reading.known().expect("the list is within 16 MiB");
        assert_eq!(containers.len(), 20_000);
        let unknown = containers
            .iter()
            .filter(|c| reason_of(&c.mounts) == Some(Reason::DeadlineExceeded))
            .count();
        let counted: u32 = seen.containers.gaps.iter().map(|g| g.count).sum();
        assert_eq!(usize::try_from(counted), Ok(unknown));
        assert!(unknown < unknown_before, "each cycle learns some");
        unknown_before = unknown;
        if unknown == 0 {
            // A call whose deadline passed may have been counted and is repeated.
            let calls = status_calls(&fake);
            assert!((20_000..20_000 + 200 * 8).contains(&calls), "{calls}");
            return;
        }
    }
    panic!("{unknown_before} are still unknown");
}

#[tokio::test]
async fn an_answer_over_16_mib_is_too_large() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, many(1));
    fake.edit(|script| script.containers[0].image.as_mut().expect("it has an image").image = vec![b'x'; 17 << 20]);
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert_eq!(reason_of(&seen.containers.reading), Some(Reason::TooLarge));
    assert!(seen.runtime.reading.known().is_some() && seen.pods.reading.known().is_some());
    fake.edit(|script| script.containers[0].image.as_mut().expect("it has an image").image = vec![b'x'; 15 << 20]);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert!(
        seen.containers.reading.known().is_some()
            || reason_of(&seen.containers.reading) == Some(Reason::DeadlineExceeded),
        "{:?}",
        reason_of(&seen.containers.reading)
    );
}

#[tokio::test]
async fn entries_that_cannot_be_identified_are_left_out_and_counted() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, many(4));
    fake.edit(|script| {
        script.containers[0].id.clear();
        script.containers[1].id = b"not an id\n".to_vec();
        script.containers[2].metadata = None;
        let again = script.containers[3].clone();
        script.containers.push(again);
        let mut exited = script.containers[3].clone();
        exited.id = b"exited".to_vec();
        exited.state = v1::ContainerState::ContainerExited as i32;
        script.containers.push(exited);
        script.pods.push(v1::PodSandbox::default());
    });
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    let containers = seen.containers.reading.known().expect("containers");
    let names: Vec<_> = containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["000000000000", "main"], "one without a name goes by its id");
    assert_eq!(seen.containers.gaps[0].count, 3);
    assert_eq!(seen.pods.reading.known().map(Vec::len), Some(1));
    assert_eq!(
        (seen.pods.gaps[0].reason, seen.pods.gaps[0].count),
        (Reason::ProtocolError, 1)
    );
}
