//! Mounts of Docker's files.

use super::*;
use crate::model::exposure::{DockerFiles, FilesMount};
use crate::model::workload::Membership;

fn logs_mount() -> FilesMount {
    FilesMount {
        membership: Membership::of_container(id(1), None),
        files: DockerFiles::Logs,
        host_path: "/var/lib/docker/containers".into(),
        container_path: "/logs".into(),
    }
}

#[test]
fn a_mount_of_dockers_files_is_a_warning_while_docker_runs_and_changes_no_verdict() {
    for (mut node, severity, verdict) in [
        (with_engine(), Severity::Warning, Verdict::Idle),
        (clear_node(), Severity::Info, Verdict::Clear),
        (left_over(LeftOverKind::Data), Severity::Info, Verdict::Clear),
    ] {
        node.files_mounts.push(logs_mount());
        let report = judge(&node);
        let found = report.findings.iter().find(|f| f.code == Code::DockerFiles);
        let found = found.expect("the mount is a finding");
        assert_eq!((found.severity, report.verdict), (severity, verdict), "{found:?}");
        assert!(found.message.starts_with("mounts /var/lib/docker/containers as /logs"));
        assert!(found.subject.starts_with("pod "), "{found:?}");
    }
}
