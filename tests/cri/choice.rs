//! The choice of the endpoint, and the report of the others.

use castoff::model::identity::{Pid, ProcessKey};
use castoff::model::kubelet::EndpointOrigin;
use castoff::model::reading::{Hides, Reading, Reason};
use castoff_tests::fake::cri::{Api, Broken, Fault, Manner, Method, Script};
use tonic::Code;

use crate::{CONTAINERD, Host, ask, kubelet_with, no_kubelet, reason_of};

fn docker() -> Script {
    Script::of("docker", "20.10.24", [Api::V1])
}

#[tokio::test]
async fn without_a_socket_the_runtime_is_absent() {
    let host = Host::new();
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert_eq!(seen.runtime.reading, Reading::Absent);
    assert_eq!(seen.pods.reading, Reading::Absent);
    assert_eq!(seen.containers.reading, Reading::Absent);
    assert_eq!(seen.refused, []);
}

#[tokio::test]
async fn the_kubelets_endpoint_is_never_replaced_by_another_that_answers() {
    let host = Host::new();
    let other = host.serve(CONTAINERD, Script::default());
    let hangs = Script::default().fault(Method::Version, Fault::Hang);
    let _kubelets = host.serve("run/cri-dockerd.sock", hangs);
    for (named, reason) in [
        ("/var/run/cri-dockerd.sock", Reason::DeadlineExceeded),
        ("/run/gone.sock", Reason::NotFound),
        ("/run/containerd", Reason::NotASocket),
        ("tcp://127.0.0.1:2375", Reason::NotASocket),
    ] {
        let seen = ask(&mut host.source(None), &kubelet_with(named)).await;
        assert_eq!(reason_of(&seen.runtime.reading), Some(reason), "{named}");
        assert_eq!(seen.refused.len(), 1);
        assert_eq!(
            (seen.refused[0].candidate.path.as_str(), seen.refused[0].refusal.reason),
            (named, reason)
        );
        assert_eq!(reason_of(&seen.containers.reading), Some(Reason::DependsOnAnother));
        assert_eq!(reason_of(&seen.pods.reading), Some(Reason::DependsOnAnother));
    }
    assert_eq!(other.calls_in(Api::V1), 0);
}

#[tokio::test]
async fn castoffs_own_setting_wins_and_a_different_one_of_the_kubelet_is_a_gap() {
    let host = Host::new();
    let _own = host.serve(CONTAINERD, Script::default());
    let _kubelets = host.serve("run/cri-dockerd.sock", docker());
    for (kubelets, gaps) in [
        ("/var/run/containerd/containerd.sock", vec![]),
        ("/run/cri-dockerd.sock", vec![Hides::Runtime]),
        ("/run/gone.sock", vec![Hides::Runtime]),
    ] {
        let mut source = host.source(Some("unix:///run/containerd/containerd.sock"));
        let seen = ask(&mut source, &kubelet_with(kubelets)).await;
        assert_eq!(seen.runtime.reading.known().expect("it answers").name, "containerd");
        let hidden: Vec<_> = seen.runtime.gaps.iter().map(|g| g.hides).collect();
        assert_eq!(hidden, gaps, "{kubelets}");
    }
}

#[tokio::test]
async fn castoffs_own_guess_is_not_the_kubelets_setting() {
    let host = Host::new();
    let _own = host.serve("run/crio/crio.sock", Script::of("cri-o", "1.33.4", [Api::V1]));
    let mut k3s = kubelet_with("/run/k3s/containerd/containerd.sock");
    if let Reading::Known(kubelet) = &mut k3s.reading {
        kubelet.endpoints[0].origin = EndpointOrigin::WellKnown { of: "k3s".to_owned() };
    }
    let seen = ask(&mut host.source(Some("/run/crio/crio.sock")), &k3s).await;
    assert_eq!(seen.runtime.reading.known().expect("it answers").name, "cri-o");
    assert_eq!(seen.runtime.gaps, []);
}

#[tokio::test]
async fn of_two_that_answer_the_one_for_docker_is_taken_with_a_gap() {
    let host = Host::new();
    let _one = host.serve(CONTAINERD, Script::default());
    let _other = host.serve("run/cri-dockerd.sock", docker());
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert_eq!(seen.runtime.reading.known().expect("both answer").name, "docker");
    let gaps: Vec<_> = seen.runtime.gaps.iter().map(|g| (g.reason, g.hides)).collect();
    assert_eq!(gaps, [(Reason::DependsOnAnother, Hides::Runtime)]);
    let seen = ask(&mut host.source(None), &kubelet_with("/run/containerd/containerd.sock")).await;
    assert_eq!(
        seen.runtime.reading.known().expect("the kubelet says which").name,
        "containerd"
    );
    assert_eq!(seen.runtime.gaps, []);
}

#[tokio::test]
async fn a_kubelet_that_was_wholly_read_and_names_no_endpoint_uses_containerd() {
    let host = Host::new();
    let _one = host.serve(CONTAINERD, Script::default());
    let _other = host.serve("run/cri-dockerd.sock", docker());
    let mut kubelet = kubelet_with("");
    if let Reading::Known(kubelet) = &mut kubelet.reading {
        kubelet.endpoints.clear();
        kubelet.process = Some(ProcessKey { pid: Pid(1), start: 1 });
    }
    let seen = ask(&mut host.source(None), &kubelet).await;
    assert_eq!(seen.runtime.reading.known().expect("both answer").name, "containerd");
    assert_eq!(seen.runtime.gaps, []);
}

#[tokio::test]
async fn a_silent_runtime_leaves_a_gap_and_a_dead_one_does_not() {
    let host = Host::new();
    let _one = host.serve(CONTAINERD, Script::default());
    let mut other = host.serve(
        "run/crio/crio.sock",
        Script::default().fault(Method::Version, Fault::Hang),
    );
    let mut source = host.source(None);
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(seen.runtime.reading.known().expect("it answers").name, "containerd");
    assert_eq!(
        seen.runtime.gaps.iter().map(|g| g.reason).collect::<Vec<_>>(),
        [Reason::DeadlineExceeded]
    );
    other.stop();
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(seen.runtime.gaps, []);
    assert_eq!(seen.refused[0].refusal.reason, Reason::ConnectionRefused);
}

#[tokio::test]
async fn dockers_own_containerd_without_cri_is_not_a_runtime() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, Script::of("containerd", "1.7.34", []));
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert_eq!(seen.runtime.reading, Reading::Absent);
    assert_eq!(seen.refused[0].refusal.reason, Reason::Unimplemented);
    assert_eq!((fake.calls_in(Api::V1), fake.calls_in(Api::V1alpha2)), (1, 1));
    let seen = ask(&mut host.source(None), &kubelet_with("/run/containerd/containerd.sock")).await;
    assert_eq!(
        reason_of(&seen.runtime.reading),
        Some(Reason::Unimplemented),
        "a kubelet cannot use it"
    );
}

#[tokio::test]
async fn no_other_answer_than_unimplemented_leads_to_v1alpha2() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, Script::default());
    for (fault, reason) in [
        (
            Fault::Error(Code::Unavailable, "server is not initialized yet"),
            Reason::PeerError,
        ),
        (Fault::Error(Code::Internal, "disk"), Reason::PeerError),
        (Fault::Error(Code::Unknown, "no"), Reason::PeerError),
        (Fault::Error(Code::NotFound, "no"), Reason::PeerError),
        (Fault::Error(Code::PermissionDenied, "no"), Reason::PermissionDenied),
        (Fault::Error(Code::DeadlineExceeded, "late"), Reason::DeadlineExceeded),
        (Fault::Error(Code::ResourceExhausted, "too much"), Reason::TooLarge),
        (Fault::Empty, Reason::ProtocolError),
        (Fault::Hang, Reason::DeadlineExceeded),
    ] {
        fake.edit(|script| *script = Script::default().fault(Method::Version, fault.clone()));
        let seen = ask(&mut host.source(None), &no_kubelet()).await;
        assert_eq!(reason_of(&seen.runtime.reading), Some(reason), "{fault:?}");
    }
    assert_eq!(fake.calls_in(Api::V1alpha2), 0);
}

#[tokio::test]
async fn a_runtime_that_does_not_answer_is_unknown_and_not_absent() {
    let host = Host::new();
    std::fs::create_dir(host.at(CONTAINERD)).expect("a directory in the socket's place");
    std::os::unix::fs::symlink("gone", host.at("run/crio/crio.sock")).expect("a link");
    std::fs::write(host.at("run/dockershim.sock"), "").expect("a file");
    let _http = Broken::start(host.at("run/cri-dockerd.sock"), Manner::Mute).expect("a socket");
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert!(seen.runtime.reading.gap().is_some());
    let refused: Vec<_> = seen
        .refused
        .iter()
        .map(|r| (r.candidate.path.as_str(), r.refusal.reason))
        .collect();
    assert_eq!(
        refused,
        [
            ("/run/containerd/containerd.sock", Reason::NotASocket),
            ("/run/crio/crio.sock", Reason::NotASocket),
            ("/run/dockershim.sock", Reason::NotASocket),
            ("/run/cri-dockerd.sock", Reason::DeadlineExceeded),
        ]
    );
}
