//! The file and the key to set for each of Docker's settings.

use super::{RegistryPlace, RuntimeProgram, RuntimeSettings, Ulimit};
use crate::model::reading::Gap;

/// The directory that containerd's documents use for registries.
const HOSTS: &str = "/etc/containerd/certs.d";

/// The file that CRI-O reads registries from.
const REGISTRIES: &str = "/etc/containers/registries.conf";

/// Returns the advice for settings that could not be read.
pub(super) fn unread(gap: &Gap) -> String {
    format!("castoff could not compare it: {gap}.")
}

pub(super) fn mirror(runtime: &RuntimeSettings, mirror: &str) -> String {
    let address = mirror
        .split_once("://")
        .map_or(mirror, |(_, rest)| rest)
        .trim_end_matches('/');
    match &runtime.place {
        RegistryPlace::Directory(directory) => {
            format!("In {directory}/docker.io/hosts.toml, add [host.\"{mirror}\"].")
        }
        RegistryPlace::Unset => format!(
            "Set {}, then add [host.\"{mirror}\"] in {HOSTS}/docker.io/hosts.toml.",
            config_path(runtime)
        ),
        RegistryPlace::Tables => format!(
            "Add \"{mirror}\" to endpoint in [plugins.\"{}\".registry.mirrors.\"docker.io\"] of {}.",
            runtime.plugins[0], runtime.main_file
        ),
        RegistryPlace::Distribution(file) => {
            format!("Add \"{mirror}\" to endpoint of mirrors.\"docker.io\" in {file}.")
        }
        RegistryPlace::RegistriesConf => format!(
            "In {REGISTRIES}, add [[registry.mirror]] with location = \"{address}\" below the [[registry]] with \
             prefix = \"docker.io\"."
        ),
    }
}

pub(super) fn insecure(runtime: &RuntimeSettings, registry: &str) -> String {
    match &runtime.place {
        RegistryPlace::Directory(directory) => host_without_check(directory, registry),
        RegistryPlace::Unset => {
            let then = host_without_check(HOSTS, registry);
            format!("Set {}. {then}", config_path(runtime))
        }
        RegistryPlace::Tables => format!(
            "Set insecure_skip_verify = true in [plugins.\"{}\".registry.configs.\"{registry}\".tls] of {}, or an \
             endpoint with http:// for it.",
            runtime.plugins[0], runtime.main_file
        ),
        RegistryPlace::Distribution(file) => {
            format!(
                "Set insecure_skip_verify: true in configs.\"{registry}\".tls of {file}, or give it a mirror with http://."
            )
        }
        RegistryPlace::RegistriesConf => {
            format!("In {REGISTRIES}, add [[registry]] with location = \"{registry}\" and insecure = true.")
        }
    }
}

fn host_without_check(directory: &str, registry: &str) -> String {
    format!(
        "In {directory}/{registry}/hosts.toml, add [host.\"https://{registry}\"] with skip_verify = true, or \
         [host.\"http://{registry}\"] where it has no TLS."
    )
}

fn config_path(runtime: &RuntimeSettings) -> String {
    format!(
        "config_path = \"{HOSTS}\" in [plugins.\"{}\".registry] of {}",
        runtime.plugins[0], runtime.main_file
    )
}

pub(super) fn range(runtime: &RuntimeSettings) -> String {
    let way = match runtime.program {
        RuntimeProgram::Containerd => "a hosts.toml of its own",
        RuntimeProgram::CriO => "a [[registry]] of its own",
    };
    format!(
        "{} has no ranges of addresses: give each registry in it that pods use {way}.",
        runtime.program
    )
}

pub(super) fn log_driver(program: RuntimeProgram, driver: &str) -> String {
    match (program, driver) {
        (_, "json-file" | "local") => "Nothing is to be done: the runtime writes files below /var/log/pods.".to_owned(),
        (RuntimeProgram::CriO, "journald") => "Set log_to_journald = true in [crio.runtime] of crio.conf.".to_owned(),
        _ => format!(
            "CRI has no log drivers: collect the files below /var/log/pods with an agent that sends them to {driver}."
        ),
    }
}

pub(super) fn log_options() -> String {
    "The kubelet rotates the files: set containerLogMaxSize (10Mi by default) and containerLogMaxFiles (5) in its \
     configuration; other options have no counterpart."
        .to_owned()
}

pub(super) fn runtime(runtime: &RuntimeSettings, name: &str, program: &str) -> String {
    let file = &runtime.main_file;
    let for_gpus = if name == "nvidia" || program.contains("nvidia") {
        " `nvidia-ctk runtime configure` writes it."
    } else {
        ""
    };
    match runtime.program {
        RuntimeProgram::Containerd => format!(
            "Add [plugins.\"{}\".containerd.runtimes.{name}] with its BinaryName to {file}, and a RuntimeClass.{for_gpus}",
            runtime.plugins[1]
        ),
        RuntimeProgram::CriO => {
            format!("Add [crio.runtime.runtimes.{name}] with runtime_path to {file}, and a RuntimeClass.{for_gpus}")
        }
    }
}

pub(super) fn default_runtime(runtime: &RuntimeSettings, name: &str) -> String {
    let file = &runtime.main_file;
    match runtime.program {
        RuntimeProgram::Containerd => format!(
            "Set default_runtime_name = \"{name}\" in [plugins.\"{}\".containerd] of {file}, or give the pods that need \
             it a RuntimeClass.",
            runtime.plugins[1]
        ),
        RuntimeProgram::CriO => format!(
            "Set default_runtime = \"{name}\" in [crio.runtime] of {file}, or give the pods that need it a RuntimeClass."
        ),
    }
}

pub(super) fn cgroup_driver(runtime: &RuntimeSettings, driver: &str) -> String {
    let file = &runtime.main_file;
    match runtime.program {
        RuntimeProgram::Containerd => format!(
            "Set SystemdCgroup = {} in [plugins.\"{}\".containerd.runtimes.runc.options] of {file}; the kubelet's \
             cgroupDriver must be the same.",
            driver == "systemd",
            runtime.plugins[1]
        ),
        RuntimeProgram::CriO => format!(
            "Set cgroup_manager = \"{driver}\" in [crio.runtime] of {file}; the kubelet's cgroupDriver must be the same."
        ),
    }
}

pub(super) fn ulimit(runtime: &RuntimeSettings, limit: &Ulimit) -> String {
    let file = &runtime.main_file;
    match runtime.program {
        RuntimeProgram::Containerd => format!(
            "Put RLIMIT_{} in the rlimits of a base_runtime_spec, and name it in \
             [plugins.\"{}\".containerd.runtimes.runc] of {file}; without one, containers have the limits of \
             containerd's unit.",
            limit.name.to_ascii_uppercase(),
            runtime.plugins[1]
        ),
        RuntimeProgram::CriO => format!("Add \"{limit}\" to default_ulimits in [crio.runtime] of {file}."),
    }
}

pub(super) fn proxy(runtime: &RuntimeSettings, variable: &str) -> String {
    let place = match (&runtime.place, runtime.program) {
        (RegistryPlace::Distribution(file), _) if file.contains("rke2") => "/etc/default/rke2-server or rke2-agent",
        (RegistryPlace::Distribution(_), _) => "/etc/systemd/system/k3s.service.env",
        (_, RuntimeProgram::Containerd) => "/etc/systemd/system/containerd.service.d/http-proxy.conf",
        (_, RuntimeProgram::CriO) => "/etc/systemd/system/crio.service.d/http-proxy.conf",
    };
    format!("Set {variable} as for dockerd in {place}, and restart.")
}

pub(super) fn live_restore() -> String {
    "Nothing is to be done: containers run on while the runtime restarts.".to_owned()
}

pub(super) fn data_root(runtime: &RuntimeSettings) -> String {
    let file = &runtime.main_file;
    match runtime.program {
        RuntimeProgram::Containerd => format!("Set root in {file} to a directory on the same disk."),
        RuntimeProgram::CriO => format!("Set root in [crio] of {file} to a directory on the same disk."),
    }
}
