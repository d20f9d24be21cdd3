//! Finds evidence of a Kubernetes node whose kubelet and runtime were not found. A program that contains a kubelet under
//! an unknown name is detected by its pods, and a kubelet that is down by the program that starts it.

use super::files::Files;
use crate::model::kubelet::KubeletProgram;
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::HostPaths;
use crate::sources::engines::supervises_pods;
use crate::sources::kernel::refusal::is_gone;
use crate::sources::processes::authority::{Authority, read_authority};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};

/// The default directory of the mounts of a kubelet's pods.
const PODS: &str = "/var/lib/kubelet/pods";

/// The files with the credentials of a kubelet that has joined a cluster: kubeadm's, and those of k3s, rke2 and k0s.
const CREDENTIALS: [&str; 4] = [
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    "/var/lib/k0s/kubelet.conf",
];

/// Finds a sign of pods on this node, and returns the gap that applies if no runtime answers. Without a sign this reads
/// one file of each process.
pub fn find_evidence(host: &HostPaths, reader: &ProcessReader, table: &ProcessTable) -> Option<Gap> {
    let supervisor = table.entries.iter().find(|entry| is_supervisor_of_pods(reader, entry));
    if let Some(entry) = supervisor {
        let (pid, name) = (entry.key.pid, &entry.name);
        return Some(sign(&format!("process {pid} ({name}) supervises containers of pods")));
    }
    if let Some(entry) = table.entries.iter().find(|entry| is_for_kubelet(reader, entry)) {
        let (pid, name) = (entry.key.pid, entry.program());
        return Some(sign(&format!("process {pid} ({name}) works for a kubelet")));
    }
    let files = Files::open(host);
    if let Some(path) = CREDENTIALS
        .into_iter()
        .find(|path| matches!(files.read(path), Ok(Some(_))))
    {
        return Some(sign(&format!("the kubelet's credentials are at {path}")));
    }
    match files.has_entries(PODS) {
        Ok(false) => {}
        Ok(true) => return Some(sign(&format!("{PODS} has pods"))),
        Err(gap) => return Some(gap),
    }
    let in_pod = table.entries.iter().find(|entry| is_in_pod(reader, entry))?;
    let what = format!("process {} is in the control group of a pod", in_pod.key.pid);
    Some(sign(&what))
}

fn is_supervisor_of_pods(reader: &ProcessReader, entry: &ProcessEntry) -> bool {
    // A process whose arguments may not be read may be a supervisor.
    supervises_pods(reader, entry).unwrap_or_else(|error| !is_gone(&error)) && is_of_node(reader, entry)
}

/// True if a process starts a kubelet, or serves CRI for one.
fn is_for_kubelet(reader: &ProcessReader, entry: &ProcessEntry) -> bool {
    let Some(program) = KubeletProgram::of(entry.program()) else {
        return false;
    };
    // A process whose arguments may not be read may be one.
    let arguments = reader.read_arguments(entry.key);
    let works = arguments.map_or_else(|error| !is_gone(&error), |words| program.works_for_kubelet(&words));
    works && is_of_node(reader, entry)
}

/// True if a process has the rights of the node itself. Any user may give a process any name.
fn is_of_node(reader: &ProcessReader, entry: &ProcessEntry) -> bool {
    let authority = reader.open(entry.key).and_then(|process| read_authority(&process));
    matches!(authority, Ok(Authority::Node))
}

/// True if a process is in a pod of this node itself. A process of a node in a container has that container around it.
fn is_in_pod(reader: &ProcessReader, entry: &ProcessEntry) -> bool {
    let membership = reader.describe(entry).map(|process| process.membership);
    membership.is_some_and(|m| m.pod_uid.is_some() && m.containers.len() <= 1)
}

fn sign(what: &str) -> Gap {
    let answer = format!("{what}, and no runtime was found");
    Gap::new(Reason::NotFound, Hides::Runtime, "the runtime of this node", answer)
}

#[cfg(test)]
mod tests;
