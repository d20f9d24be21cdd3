//! Comparisons row by row: each test names the settings of both sides and the expected states.

use std::collections::BTreeMap;

use super::*;
use crate::model::daemon_config::{Hidden, RegistryPlace, Ulimit};
use crate::model::reading::{Hides, Reason};

fn runtime(program: RuntimeProgram) -> RuntimeSettings {
    RuntimeSettings {
        program,
        serves_kubelet: true,
        main_file: "/etc/containerd/config.toml".to_owned(),
        files: vec!["/etc/containerd/config.toml".to_owned()],
        plugins: ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"],
        place: match program {
            RuntimeProgram::Containerd => RegistryPlace::Directory("/etc/containerd/certs.d".to_owned()),
            RuntimeProgram::CriO => RegistryPlace::RegistriesConf,
        },
        config: Reading::Known(RuntimeConfig::default()),
        registries: Reading::Known(BTreeMap::new()),
        proxies: Reading::Known(Proxies::new()),
    }
}

fn rows(docker: DockerSettings, runtime: RuntimeSettings, driver: Option<CgroupDriver>) -> Vec<ComparedSetting> {
    compare(&DaemonSettings { docker, runtime }, driver).settings
}

/// Returns the state and the runtime's value of each row.
fn states(rows: &[ComparedSetting]) -> Vec<(&'static str, &str, Carried, Option<&str>)> {
    let each = rows.iter();
    each.map(|row| {
        (
            row.setting.code(),
            row.docker.as_str(),
            row.state,
            row.runtime.as_deref(),
        )
    })
    .collect()
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn gap() -> Gap {
    Gap::new(
        Reason::Malformed,
        Hides::Detail,
        "/etc/containerd/config.toml",
        "line 3 is not TOML",
    )
}

#[test]
fn each_registry_is_judged_by_its_own_endpoints() {
    let docker = DockerSettings {
        mirrors: texts(&["https://mirror.test/", "https://other.test"]),
        insecure: texts(&["plain.test:5000", "checked.test", "10.0.0.0/8", "absent.test"]),
        ..DockerSettings::default()
    };
    let mut containerd = runtime(RuntimeProgram::Containerd);
    containerd.registries = Reading::Known(BTreeMap::from([
        (
            "docker.io".to_owned(),
            vec![Endpoint::new("https://mirror.test", false)],
        ),
        (
            "plain.test:5000".to_owned(),
            vec![Endpoint::new("http://plain.test:5000", false)],
        ),
        // An endpoint of another server without a check says nothing about this registry.
        (
            "checked.test".to_owned(),
            vec![
                Endpoint::new("http://mirror.test", false),
                Endpoint::new("https://checked.test", false),
            ],
        ),
    ]));
    let rows = rows(docker, containerd, None);
    #[rustfmt::skip]
    assert_eq!(states(&rows), [
        ("registry-mirrors", "https://mirror.test/", Carried::CarriedOver, Some("https://mirror.test")),
        ("registry-mirrors", "https://other.test", Carried::Missing, None),
        ("insecure-registries", "plain.test:5000", Carried::CarriedOver, Some("http://plain.test:5000 without a check")),
        ("insecure-registries", "checked.test", Carried::Missing, Some("https://checked.test")),
        ("insecure-registries", "10.0.0.0/8", Carried::Unknown, None),
        ("insecure-registries", "absent.test", Carried::Missing, None),
    ]);
    assert_eq!(
        rows[1].advice,
        "In /etc/containerd/certs.d/docker.io/hosts.toml, add [host.\"https://other.test\"]."
    );
}

#[test]
fn the_advice_names_the_file_and_the_key_for_each_way_to_configure_registries() {
    let docker = DockerSettings {
        mirrors: texts(&["https://m.test"]),
        insecure: texts(&["r.test"]),
        ..DockerSettings::default()
    };
    let advice = |program, place| {
        let runtime = RuntimeSettings {
            place,
            ..runtime(program)
        };
        let rows = rows(docker.clone(), runtime, None);
        rows.into_iter().map(|row| row.advice).collect::<Vec<_>>().join(" ")
    };
    let containerd = RuntimeProgram::Containerd;
    for (program, place, parts) in [
        (
            containerd,
            RegistryPlace::Unset,
            [
                "config_path = \"/etc/containerd/certs.d\" in [plugins.\"io.containerd.cri.v1.images\".registry]",
                "/etc/containerd/certs.d/r.test/hosts.toml",
            ],
        ),
        (
            containerd,
            RegistryPlace::Tables,
            ["registry.mirrors.\"docker.io\"", "registry.configs.\"r.test\".tls"],
        ),
        (
            containerd,
            RegistryPlace::Distribution("/etc/rancher/k3s/registries.yaml".to_owned()),
            [
                "mirrors.\"docker.io\" in /etc/rancher/k3s/registries.yaml",
                "insecure_skip_verify: true",
            ],
        ),
        (
            RuntimeProgram::CriO,
            RegistryPlace::RegistriesConf,
            [
                "/etc/containers/registries.conf",
                "location = \"r.test\" and insecure = true",
            ],
        ),
    ] {
        let text = advice(program, place);
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn logs_go_to_files_unless_cri_o_writes_to_the_journal() {
    let docker = |driver: &str| DockerSettings {
        log_driver: Some(driver.to_owned()),
        log_options: BTreeMap::from([
            ("max-size".to_owned(), Some("10m".to_owned())),
            ("splunk-token".to_owned(), None),
        ]),
        ..DockerSettings::default()
    };
    let crio = |journald| RuntimeSettings {
        config: Reading::Known(RuntimeConfig {
            journald,
            ..RuntimeConfig::default()
        }),
        ..runtime(RuntimeProgram::CriO)
    };
    for (driver, runtime, state) in [
        ("json-file", runtime(RuntimeProgram::Containerd), Carried::NotApplicable),
        ("fluentd", runtime(RuntimeProgram::Containerd), Carried::Missing),
        ("journald", runtime(RuntimeProgram::Containerd), Carried::Missing),
        ("journald", crio(true), Carried::CarriedOver),
        ("journald", crio(false), Carried::Missing),
        ("syslog", crio(true), Carried::Missing),
    ] {
        let rows = rows(docker(driver), runtime, None);
        assert_eq!(rows[0].state, state, "{driver}");
        let options = rows.get(1).map(|row| row.docker.as_str());
        assert_eq!(
            options,
            (driver == "json-file").then_some("max-size=10m, splunk-token"),
            "{driver}"
        );
    }
}

#[test]
fn a_runtime_is_known_by_its_name_or_by_its_program() {
    let docker = DockerSettings {
        runtimes: BTreeMap::from([
            ("gpu".to_owned(), "/usr/bin/nvidia-container-runtime".to_owned()),
            ("kata".to_owned(), "/usr/bin/kata".to_owned()),
            ("runsc".to_owned(), "io.containerd.runsc.v1".to_owned()),
        ]),
        default_runtime: Some("gpu".to_owned()),
        ..DockerSettings::default()
    };
    let with = |default: Option<&str>| RuntimeSettings {
        config: Reading::Known(RuntimeConfig {
            default_runtime: default.map(str::to_owned),
            runtimes: BTreeMap::from([
                ("nvidia".to_owned(), "/opt/bin/nvidia-container-runtime".to_owned()),
                ("runsc".to_owned(), "io.containerd.runsc.v1".to_owned()),
            ]),
            ..RuntimeConfig::default()
        }),
        ..runtime(RuntimeProgram::Containerd)
    };
    let of = |default| {
        let rows = rows(docker.clone(), with(default), None);
        rows.iter().map(|row| row.state).collect::<Vec<_>>()
    };
    let [same, missing] = [Carried::CarriedOver, Carried::Missing];
    assert_eq!(of(Some("nvidia")), [same, missing, same, same]);
    assert_eq!(of(Some("runc")), [same, missing, same, missing]);
    assert_eq!(of(None), [same, missing, same, missing]);
}

#[test]
fn the_reported_cgroup_driver_counts_before_the_file() {
    let docker = DockerSettings {
        cgroup_driver: Some("systemd".to_owned()),
        ..DockerSettings::default()
    };
    let state = |runtime, driver| rows(docker.clone(), runtime, driver)[0].state;
    let (containerd, crio) = (runtime(RuntimeProgram::Containerd), runtime(RuntimeProgram::CriO));
    assert_eq!(
        state(containerd.clone(), None),
        Carried::Missing,
        "containerd's default is cgroupfs"
    );
    assert_eq!(
        state(containerd.clone(), Some(CgroupDriver::Systemd)),
        Carried::CarriedOver
    );
    assert_eq!(
        state(crio.clone(), None),
        Carried::CarriedOver,
        "CRI-O's default is systemd"
    );
    assert_eq!(state(crio, Some(CgroupDriver::Cgroupfs)), Carried::Missing);
    // The answer of another runtime says nothing about the planned one.
    let planned = RuntimeSettings {
        serves_kubelet: false,
        ..containerd
    };
    assert_eq!(state(planned, Some(CgroupDriver::Systemd)), Carried::Missing);
}

#[test]
fn limits_are_compared_by_name_and_number() {
    let limit = |name: &str, soft, hard| Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    };
    let docker = DockerSettings {
        ulimits: vec![limit("core", 0, -1), limit("nofile", 1024, 4096), limit("nproc", 1, 1)],
        ..DockerSettings::default()
    };
    let runtime = RuntimeSettings {
        config: Reading::Known(RuntimeConfig {
            ulimits: vec![limit("nofile", 1024, 1024), limit("nproc", 1, 1)],
            ..RuntimeConfig::default()
        }),
        ..runtime(RuntimeProgram::CriO)
    };
    #[rustfmt::skip]
    assert_eq!(states(&rows(docker, runtime, None)), [
        ("default-ulimits", "core=0:-1", Carried::Missing, None),
        ("default-ulimits", "nofile=1024:4096", Carried::Missing, Some("nofile=1024:1024")),
        ("default-ulimits", "nproc=1:1", Carried::CarriedOver, Some("nproc=1:1")),
    ]);
}

#[test]
fn proxies_are_compared_and_never_shown() {
    let proxies = |rows: &[(&'static str, &str)]| -> Proxies {
        rows.iter()
            .map(|(name, value)| (*name, Hidden((*value).to_owned())))
            .collect()
    };
    let docker = DockerSettings {
        proxies: proxies(&[
            ("HTTP_PROXY", "http://u:hunter2@proxy.test"),
            ("HTTPS_PROXY", "http://proxy.test"),
            ("NO_PROXY", "a.test, .svc"),
        ]),
        ..DockerSettings::default()
    };
    let with = |proxies| RuntimeSettings {
        proxies,
        ..runtime(RuntimeProgram::Containerd)
    };
    let own = proxies(&[
        ("HTTP_PROXY", "http://proxy.test"),
        ("NO_PROXY", ".svc,10.0.0.1,a.test"),
    ]);
    let of_both = rows(docker.clone(), with(Reading::Known(own)), None);
    let of_both_states: Vec<Carried> = of_both.iter().map(|row| row.state).collect();
    assert_eq!(
        of_both_states,
        [Carried::Missing, Carried::Missing, Carried::CarriedOver]
    );
    let unknown = rows(docker.clone(), with(Reading::Unknown(gap())), None);
    assert!(unknown.iter().all(|row| row.state == Carried::Unknown));
    assert!(!format!("{of_both:?}{unknown:?}{docker:?}").contains("hunter2"));
}

#[test]
fn only_a_directory_that_was_moved_must_be_moved_again() {
    let states = |docker: &str, own: Option<&str>| {
        let docker = DockerSettings {
            data_root: Some(docker.to_owned()),
            live_restore: true,
            ..DockerSettings::default()
        };
        let runtime = RuntimeSettings {
            config: Reading::Known(RuntimeConfig {
                root: own.map(str::to_owned),
                ..RuntimeConfig::default()
            }),
            ..runtime(RuntimeProgram::Containerd)
        };
        let rows = rows(docker, runtime, None);
        rows.iter().map(|row| row.state).collect::<Vec<_>>()
    };
    let live_restore = Carried::NotApplicable;
    assert_eq!(states("/var/lib/docker", None), [live_restore]);
    assert_eq!(states("/data/docker", None), [live_restore, Carried::Missing]);
    assert_eq!(
        states("/data/docker", Some("/var/lib/containerd")),
        [live_restore, Carried::Missing]
    );
    assert_eq!(
        states("/data/docker", Some("/data/containerd")),
        [live_restore, Carried::CarriedOver]
    );
}

#[test]
fn settings_that_could_not_be_read_are_unknown_and_never_missing() {
    let docker = DockerSettings {
        mirrors: texts(&["https://m.test"]),
        insecure: texts(&["r.test"]),
        default_runtime: Some("nvidia".to_owned()),
        runtimes: BTreeMap::from([("nvidia".to_owned(), "nvidia-container-runtime".to_owned())]),
        cgroup_driver: Some("systemd".to_owned()),
        data_root: Some("/data".to_owned()),
        ..DockerSettings::default()
    };
    let runtime = RuntimeSettings {
        config: Reading::Unknown(gap()),
        registries: Reading::Unknown(gap()),
        ..runtime(RuntimeProgram::Containerd)
    };
    let rows = rows(docker, runtime, None);
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert_eq!(row.state, Carried::Unknown, "{row:?}");
        assert!(
            row.advice.contains("/etc/containerd/config.toml: line 3 is not TOML"),
            "{row:?}"
        );
    }
}

#[test]
fn many_values_are_cut_and_counted() {
    let docker = DockerSettings {
        insecure: (0..100)
            .map(|n| format!("r{n}.test"))
            .chain(["ä".repeat(300)])
            .collect(),
        ..DockerSettings::default()
    };
    let settings = DaemonSettings {
        docker,
        runtime: runtime(RuntimeProgram::Containerd),
    };
    let compared = compare(&settings, None);
    assert_eq!((compared.settings.len(), compared.more), (64, 37));
    assert!(cut(&"ä".repeat(300)).len() < 210);
}
