//! The configuration of both kubelets of the lab: the one with dockershim and the one of the cluster's version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::cgroups;
use super::dockershim::NODE;
use super::kubernetes::Seat;
use super::rooms::Room;

/// Creates the cgroup below which a kubelet keeps its pods. Its keeper removes it.
pub(crate) fn cgroup(room: &Room) -> Result<PathBuf> {
    let cgroup = PathBuf::from(format!("/castoff-lab-{}", room.serial()));
    cgroups::make_everywhere(&cgroup)?;
    Ok(cgroup)
}

/// Adds the flags and the configuration file; `more` has the version's own settings. Without a seat the kubelet runs
/// static pods only.
pub(crate) fn configure(
    command: &mut Command,
    room: &Room,
    cgroup: &Path,
    seat: Option<&Seat>,
    more: Value,
) -> Result<()> {
    let mut configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": seat.map_or("127.0.0.1", |seat| &seat.address),
        "healthzPort": 0,
        "readOnlyPort": 0,
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "fileCheckFrequency": "1s",
        // Packet rules are kube-proxy's alone here.
        "makeIPTablesUtilChains": false,
        "evictionHard": { "memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
        "imageGCHighThresholdPercent": 100,
        // Lowering it needs CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        "staticPodPath": room.folder("pods")?,
    });
    if let (Some(settings), Value::Object(more)) = (configuration.as_object_mut(), more) {
        settings.extend(more);
    }
    let configuration = room.file("kubelet.yaml", configuration.to_string())?;
    command.arg(format!("--config={}", configuration.display()));
    for (flag, folder) in [("root-dir", "kubelet"), ("cert-dir", "certificates")] {
        command.arg(format!("--{flag}={}", room.join(folder).display()));
    }
    let name = seat.map_or(NODE, |seat| &seat.name);
    command.arg(format!("--hostname-override={name}"));
    if let Some(seat) = seat {
        command.arg(format!("--kubeconfig={}", seat.kubeconfig.display()));
        command.arg(format!("--node-ip={}", seat.address));
    }
    Ok(())
}
