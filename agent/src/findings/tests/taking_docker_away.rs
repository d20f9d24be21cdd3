//! The texts that people act on: the parts to remove, the parts to keep, and the obstacle to the next kubelet.

use super::*;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin};
use crate::model::process::Process;
use crate::model::runtime::RefusedEndpoint;
use crate::model::workload::{Membership, Unit};

fn find(report: &Report, code: Code) -> Option<&Finding> {
    report.findings.iter().find(|f| f.code == code)
}

fn advice(report: &Report) -> &str {
    &find(report, Code::EngineLeftOver).expect("Docker is left over").advice
}

#[test]
fn dockers_package_of_containerd_is_kept_where_the_kubelet_runs_on_it() {
    let mut node = left_over(LeftOverKind::Binary);
    known(&mut node.host).containerd_io = Reading::Known("/var/lib/dpkg/info/containerd.io.list".into());
    let report = judge(&node);
    let shared = find(&report, Code::SharedContainerd).expect("said");
    assert!(shared.message.contains("containerd.io.list"), "{}", shared.message);
    assert!(advice(&report).contains("keep containerd.io"), "{}", advice(&report));
    // Without any part of Docker there is nothing to remove.
    known(&mut node.host).left_overs = Reading::Absent;
    assert!(find(&judge(&node), Code::SharedContainerd).is_none());
}

fn server_of(node: &mut Snapshot) -> &mut Option<Process> {
    match &mut node.runtime_socket {
        Reading::Known(socket) => &mut socket.server.process,
        other => panic!("{other:?}"),
    }
}

/// The socket's path is a setting; the program and the unit are the package's.
#[test]
fn dockers_package_counts_by_the_program_that_serves_the_runtimes_socket() {
    const USUAL: &str = "/run/containerd/containerd.sock";
    const OTHER: &str = "/run/cd2/containerd.sock";
    const OWN: [&str; 4] = [
        "/run/k3s/containerd/containerd.sock",
        "/run/k0s/containerd.sock",
        "/var/snap/microk8s/common/run/containerd.sock",
        "/var/snap/k8s/common/run/containerd.sock",
    ];
    let shared = |path: &str, change: &dyn Fn(&mut Process)| {
        let mut node = left_over(LeftOverKind::Binary);
        known(&mut node.host).containerd_io = Reading::Known("/var/lib/dpkg/info/containerd.io.list".into());
        known(&mut node.runtime.runtime).canonical_path = path.into();
        change(server_of(&mut node).as_mut().expect("it is seen"));
        let with_server = judge(&node).shared_containerd.known().cloned();
        *server_of(&mut node) = None;
        (with_server, judge(&node).shared_containerd.known().is_some())
    };
    let runs = |program: &'static str| move |p: &mut Process| p.executable = Some(program.into());
    for path in [USUAL, OTHER] {
        assert!(shared(path, &|_| {}).0.is_some(), "{path}");
        assert!(shared(path, &runs("/usr/bin/python3")).0.is_some(), "{path}: a wrapper");
        assert!(shared(path, &|p| p.executable = None).0.is_some(), "{path}");
        assert!(shared(path, &|_| {}).1, "{path}: nobody is seen to serve it");
        assert_eq!(shared(path, &runs("/usr/local/bin/containerd")).0, None, "{path}");
        let in_unit = shared(path, &|p| {
            runs("/usr/local/bin/containerd")(p);
            p.membership.unit = Some(Unit::System {
                name: "containerd.service".into(),
            });
        });
        let why = in_unit.0.expect("the package has the unit");
        assert!(
            why.contains("its unit containerd.service is also in Docker's package"),
            "{why}"
        );
    }
    for path in OWN {
        let (of_package, without) = shared(path, &|_| {});
        assert!(of_package.is_some() && !without, "{path}");
        assert_eq!(
            shared(path, &runs("/var/lib/rancher/k3s/data/current/bin/containerd")).0,
            None
        );
        assert_eq!(shared(path, &runs("/usr/local/bin/k3s")).0, None);
        let in_container = shared(path, &|p| p.membership = Membership::of_container(id(1), None));
        assert_eq!(in_container.0, None, "{path}: its path is not the host's");
        assert_eq!(shared(path, &|p| p.uid = Some(1000)).0, None, "{path}: a user's");
    }
}

#[test]
fn a_dockerd_without_a_containerd_of_its_own_uses_the_kubelets() {
    let mut node = with_engine();
    known(&mut node.engines)[0].containerd = Containerd::Found;
    assert!(find(&judge(&node), Code::SharedContainerd).is_some());
    known(&mut node.runtime.runtime).canonical_path = "/run/k3s/containerd/containerd.sock".into();
    let report = judge(&node);
    assert!(find(&report, Code::SharedContainerd).is_none(), "k3s has its own");
    assert!(advice(&report).contains("remove the package"));
}

#[test]
fn a_dockerd_with_a_configured_containerd_uses_that_one() {
    const K3S: &str = "/run/k3s/containerd/containerd.sock";
    let mut node = with_engine();
    let mut shared = |containerd: Containerd, kubelets: &str| {
        known(&mut node.engines)[0].containerd = containerd;
        known(&mut node.runtime.runtime).canonical_path = kubelets.into();
        let found = find(&judge(&node), Code::SharedContainerd).cloned();
        found.map(|finding| (finding.subject, finding.message))
    };
    let (subject, message) = shared(Containerd::Configured(K3S.into()), K3S).expect("both use k3s' containerd");
    assert_eq!(subject, K3S);
    assert!(message.contains("dockerd is configured to use it"), "{message}");
    let usual = "/run/containerd/containerd.sock";
    assert!(shared(Containerd::Configured(usual.into()), usual).is_some());
    assert_eq!(
        shared(Containerd::Configured("/run/docker-ctrd.sock".into()), usual),
        None
    );
    assert_eq!(shared(Containerd::Configured(usual.into()), K3S), None);
}

#[test]
fn a_dockerd_whose_settings_cannot_be_read_may_share_the_kubelets() {
    let mut node = with_engine();
    known(&mut node.engines)[0].containerd = Containerd::Unknown;
    let report = judge(&node);
    assert!(find(&report, Code::SharedContainerd).is_none());
    assert!(advice(&report).starts_with("First check"), "{}", advice(&report));
}

#[test]
fn if_it_is_unknown_the_advice_is_to_check_first() {
    let mut node = with_engine();
    assert!(!advice(&judge(&node)).contains("First check"));
    known(&mut node.host).containerd_io = Reading::Unknown(gap(Hides::Detail));
    let report = judge(&node);
    assert!(find(&report, Code::SharedContainerd).is_none());
    assert!(advice(&report).starts_with("First check"), "{}", advice(&report));
}

#[test]
fn a_cut_is_announced_or_enforced_and_names_its_source() {
    let message = |change: Change| {
        let mut node = clear_node();
        change(&mut node);
        find(&judge(&node), Code::KubeletCeiling).expect("said").message.clone()
    };
    let announced = message(|n| known(&mut n.runtime.runtime).cgroup_driver = Reading::Absent);
    assert!(
        announced.starts_with("Kubernetes announces that 1.38 will not start"),
        "{announced}"
    );
    assert!(
        announced.contains("KEP-4033") && announced.ends_with("1.37"),
        "{announced}"
    );
    let enforced = message(|n| known(&mut n.runtime.runtime).api = CriApi::V1alpha2);
    assert!(
        enforced.contains("since 2022-12-09") && !enforced.contains("announces"),
        "{enforced}"
    );
}

#[test]
fn cgroup_v1_is_judged_by_the_kubelets_setting() {
    let cgroup_v1 = |setting: Option<Reading<bool>>| {
        let mut node = clear_node();
        known(&mut node.host).cgroups = Reading::Known(CgroupVersion::V1);
        match setting {
            Some(setting) => known(&mut node.kubelet).fail_cgroup_v1 = setting,
            None => node.kubelet = Sighting::absent(),
        }
        find(&judge(&node), Code::CgroupV1).map(|f| (f.severity, f.message.clone()))
    };
    assert_eq!(cgroup_v1(None), None, "no kubelet refuses it here");
    for (setting, severity, words) in [
        (Reading::Known(true), Severity::Warning, "failCgroupV1 is true"),
        (Reading::Absent, Severity::Warning, "is not set to false"),
        (Reading::Known(false), Severity::Info, "because failCgroupV1 is false"),
        (Reading::Unknown(gap(Hides::Detail)), Severity::Warning, "cannot tell"),
    ] {
        let (found, message) = cgroup_v1(Some(setting)).expect("said");
        assert!(found == severity && message.contains(words), "{message}");
    }
}

#[test]
fn a_socket_without_cri_does_not_mean_that_there_is_no_runtime() {
    let mut node = clear_node();
    let candidate = EndpointCandidate {
        path: "/run/containerd/containerd.sock".into(),
        origin: EndpointOrigin::WellKnown {
            of: "containerd".into(),
        },
    };
    let refusal = Gap::new(Reason::Unimplemented, Hides::Runtime, "Version", "unknown service");
    node.runtime.refused.push(RefusedEndpoint { candidate, refusal });
    assert!(
        find(&judge(&node), Code::CriPluginOff).is_none(),
        "another runtime answers"
    );
    node.runtime.runtime = Sighting::absent();
    let report = judge(&node);
    let found = find(&report, Code::CriPluginOff).expect("said");
    assert!(found.advice.contains("disabled_plugins"), "{}", found.advice);
}

#[test]
fn a_line_with_backports_for_one_vendor_only_is_out_of_support() {
    let mut node = clear_node();
    known(&mut node.runtime.runtime).version = "2.0.6".into();
    let report = judge(&node);
    let message = &find(&report, Code::RuntimeEndOfLife).expect("said").message;
    assert!(
        message.contains("on 2025-11-07; only backports for GKE's Kubernetes 1.33 continue, until 2027-03-31"),
        "{message}"
    );
}

#[test]
fn no_advice_sends_anyone_to_an_archived_tool() {
    for &code in Code::ALL {
        for advice in catalogue::entry(code).instead {
            assert!(
                !advice.contains("kaniko") || advice.contains("kaniko is archived"),
                "{code}: {advice}"
            );
        }
    }
}
