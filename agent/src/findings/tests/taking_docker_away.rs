//! The texts that people act on: the parts to remove, the parts to keep, and the obstacle to the next kubelet.

use super::*;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin};
use crate::model::runtime::RefusedEndpoint;

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
