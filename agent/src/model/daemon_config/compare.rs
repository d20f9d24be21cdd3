//! Compares Docker's settings with the runtime's: one row for each value.

use super::advice;
use super::registry::{DOCKER_HUB, Endpoint, is_range};
use super::{
    Carried, ComparedSetting, DaemonConfig, DaemonSettings, DockerSetting, DockerSettings, PROXY_VARIABLES, Proxies,
    RuntimeConfig, RuntimeProgram, RuntimeSettings,
};
use crate::model::reading::{Gap, Reading};
use crate::model::runtime::CgroupDriver;

/// The maximum number of rows: a list of a hundred registries does not need a row for each.
const ROW_LIMIT: usize = 64;

/// The most bytes of a value that a row shows.
const VALUE_LIMIT: usize = 200;

/// The two names of Docker's default runtime, which every other runtime has too.
const RUNC: [&str; 2] = ["runc", "io.containerd.runc.v2"];

/// The directories of Docker and of containerd if nobody sets another.
const DEFAULT_ROOTS: [&str; 3] = ["/var/lib/docker", "/var/lib/containerd", "/var/lib/containers/storage"];

/// Compares the settings of both. `driver` is the control group driver as the runtime reports it, if it does.
pub fn compare(settings: &DaemonSettings, driver: Option<CgroupDriver>) -> DaemonConfig {
    let DaemonSettings { docker, runtime } = settings;
    let mut rows = Rows {
        docker,
        runtime,
        found: Vec::new(),
    };
    rows.add_registries();
    rows.add_logs();
    rows.add_runtimes();
    rows.add_cgroup_driver(driver);
    rows.add_ulimits();
    rows.add_proxies();
    rows.add_rest();
    let more = rows.found.len().saturating_sub(ROW_LIMIT);
    rows.found.truncate(ROW_LIMIT);
    DaemonConfig {
        docker: docker.from.clone(),
        runtime: runtime.program,
        serves_kubelet: runtime.serves_kubelet,
        runtime_files: runtime.files.clone(),
        settings: rows.found,
        more: u32::try_from(more).unwrap_or(u32::MAX),
        not_compared: docker.other.clone(),
    }
}

/// The counterpart of one value.
enum Counterpart {
    /// The runtime has the same.
    Same(String),
    /// The runtime has another value, or none.
    Other(Option<String>),
    /// The runtime has no such setting.
    NoSuch,
    /// It could not be read or compared.
    Unknown,
}

struct Rows<'a> {
    docker: &'a DockerSettings,
    runtime: &'a RuntimeSettings,
    found: Vec<ComparedSetting>,
}

impl<'a> Rows<'a> {
    fn add(&mut self, setting: DockerSetting, docker: &str, counterpart: Counterpart, advice: String) {
        let (runtime, state) = match counterpart {
            Counterpart::Same(value) => (Some(value), Carried::CarriedOver),
            Counterpart::Other(value) => (value, Carried::Missing),
            Counterpart::NoSuch => (None, Carried::NotApplicable),
            Counterpart::Unknown => (None, Carried::Unknown),
        };
        let advice = match state {
            Carried::CarriedOver => "Nothing is to be done.".to_owned(),
            _ => advice,
        };
        self.found.push(ComparedSetting {
            setting,
            docker: cut(docker),
            runtime: runtime.as_deref().map(cut),
            state,
            advice,
        });
    }

    /// Returns the runtime's own settings, its defaults if it has no file, or the gap.
    fn config(&self) -> Result<RuntimeConfig, &'a Gap> {
        match &self.runtime.config {
            Reading::Known(config) => Ok(config.clone()),
            Reading::Absent => Ok(RuntimeConfig::default()),
            Reading::Unknown(gap) => Err(gap),
        }
    }

    /// Adds a row whose counterpart is in the runtime's own settings.
    fn add_with(
        &mut self,
        setting: DockerSetting,
        docker: &str,
        judge: impl FnOnce(&RuntimeConfig) -> Counterpart,
        advice: String,
    ) {
        match self.config() {
            Ok(config) => self.add(setting, docker, judge(&config), advice),
            Err(gap) => self.add(setting, docker, Counterpart::Unknown, advice::unread(gap)),
        }
    }

    fn add_registries(&mut self) {
        for mirror in &self.docker.mirrors {
            let advice = advice::mirror(self.runtime, mirror);
            let judge = |endpoints: &[Endpoint]| match endpoints.iter().find(|endpoint| endpoint.is_at(mirror)) {
                Some(endpoint) => Counterpart::Same(endpoint.url.clone()),
                None => Counterpart::Other(None),
            };
            self.add_registry(DockerSetting::RegistryMirrors, mirror, DOCKER_HUB, judge, advice);
        }
        for registry in &self.docker.insecure {
            let setting = DockerSetting::InsecureRegistries;
            if is_range(registry) {
                let advice = advice::range(self.runtime);
                self.add(setting, registry, Counterpart::Unknown, advice);
                continue;
            }
            let advice = advice::insecure(self.runtime, registry);
            let judge = |endpoints: &[Endpoint]| {
                let own = endpoints.iter().filter(|endpoint| endpoint.is_of(registry));
                match own.clone().find(|endpoint| endpoint.unverified) {
                    Some(endpoint) => Counterpart::Same(format!("{} without a check", endpoint.url)),
                    None => Counterpart::Other(own.map(|endpoint| endpoint.url.clone()).next()),
                }
            };
            self.add_registry(setting, registry, registry, judge, advice);
        }
    }

    fn add_registry(
        &mut self,
        setting: DockerSetting,
        docker: &str,
        registry: &str,
        judge: impl FnOnce(&[Endpoint]) -> Counterpart,
        advice: String,
    ) {
        match &self.runtime.registries {
            Reading::Known(registries) => {
                let endpoints = registries.get(registry).map_or(&[][..], Vec::as_slice);
                self.add(setting, docker, judge(endpoints), advice);
            }
            Reading::Absent => self.add(setting, docker, Counterpart::Other(None), advice),
            Reading::Unknown(gap) => self.add(setting, docker, Counterpart::Unknown, advice::unread(gap)),
        }
    }

    fn add_logs(&mut self) {
        let driver = self.docker.log_driver.as_deref();
        let writes_files = matches!(driver, None | Some("json-file" | "local"));
        if let Some(driver) = driver {
            let advice = advice::log_driver(self.runtime.program, driver);
            let journald = driver == "journald" && self.runtime.program == RuntimeProgram::CriO;
            let judge = |config: &RuntimeConfig| match (writes_files, config.journald) {
                (true, _) => Counterpart::NoSuch,
                (false, true) if journald => Counterpart::Same("log_to_journald = true".to_owned()),
                (false, _) => Counterpart::Other(Some("files below /var/log/pods".to_owned())),
            };
            if journald {
                self.add_with(DockerSetting::LogDriver, driver, judge, advice);
            } else {
                let counterpart = judge(&RuntimeConfig::default());
                self.add(DockerSetting::LogDriver, driver, counterpart, advice);
            }
        }
        // The options of another driver go with the driver.
        if writes_files && !self.docker.log_options.is_empty() {
            let options = self.docker.log_options.iter();
            let options: Vec<String> = options
                .map(|(name, value)| {
                    value
                        .as_ref()
                        .map_or_else(|| name.clone(), |value| format!("{name}={value}"))
                })
                .collect();
            let advice = advice::log_options();
            self.add(
                DockerSetting::LogOptions,
                &options.join(", "),
                Counterpart::NoSuch,
                advice,
            );
        }
    }

    fn add_runtimes(&mut self) {
        for (name, program) in &self.docker.runtimes {
            let advice = advice::runtime(self.runtime, name, program);
            let judge = |config: &RuntimeConfig| {
                let found = config
                    .runtimes
                    .iter()
                    .find(|(handler, own)| is_same_runtime((name, program), (handler, own)));
                found.map_or(Counterpart::Other(None), |(handler, own)| {
                    Counterpart::Same(format!("{handler} ({own})"))
                })
            };
            self.add_with(DockerSetting::Runtimes, &format!("{name} ({program})"), judge, advice);
        }
        let Some(name) = self.docker.default_runtime.as_deref() else {
            return;
        };
        let program = self.docker.runtimes.get(name).map_or(name, String::as_str);
        let advice = advice::default_runtime(self.runtime, name);
        let judge = |config: &RuntimeConfig| match config.default_runtime.as_deref() {
            Some(handler) => {
                let own = config.runtimes.get(handler).map_or(handler, String::as_str);
                if is_same_runtime((name, program), (handler, own)) {
                    Counterpart::Same(handler.to_owned())
                } else {
                    Counterpart::Other(Some(handler.to_owned()))
                }
            }
            None if RUNC.contains(&name) => Counterpart::Same("its default".to_owned()),
            None => Counterpart::Other(None),
        };
        self.add_with(DockerSetting::DefaultRuntime, name, judge, advice);
    }

    fn add_cgroup_driver(&mut self, reported: Option<CgroupDriver>) {
        let Some(driver) = self.docker.cgroup_driver.as_deref() else {
            return;
        };
        let advice = advice::cgroup_driver(self.runtime, driver);
        let judge = |own: &str| {
            if own == driver {
                Counterpart::Same(own.to_owned())
            } else {
                Counterpart::Other(Some(own.to_owned()))
            }
        };
        let setting = DockerSetting::CgroupDriver;
        if let Some(reported) = reported.filter(|_| self.runtime.serves_kubelet) {
            self.add(setting, driver, judge(reported.code()), advice);
            return;
        }
        let default = match self.runtime.program {
            RuntimeProgram::Containerd => "cgroupfs",
            RuntimeProgram::CriO => "systemd",
        };
        let judge = |config: &RuntimeConfig| judge(config.cgroup_driver.as_deref().unwrap_or(default));
        self.add_with(setting, driver, judge, advice);
    }

    fn add_ulimits(&mut self) {
        for limit in &self.docker.ulimits {
            let advice = advice::ulimit(self.runtime, limit);
            let judge = |config: &RuntimeConfig| match config.ulimits.iter().find(|own| own.name == limit.name) {
                Some(own) if own == limit => Counterpart::Same(own.to_string()),
                own => Counterpart::Other(own.map(ToString::to_string)),
            };
            self.add_with(DockerSetting::DefaultUlimits, &limit.to_string(), judge, advice);
        }
    }

    fn add_proxies(&mut self) {
        for variable in PROXY_VARIABLES {
            let Some(docker) = self.docker.proxies.get(variable) else {
                continue;
            };
            let advice = advice::proxy(self.runtime, variable);
            let (counterpart, advice) = match &self.runtime.proxies {
                Reading::Known(own) => (of_proxy(own, variable, &docker.0), advice),
                Reading::Absent => (Counterpart::Unknown, advice),
                Reading::Unknown(gap) => (Counterpart::Unknown, advice::unread(gap)),
            };
            self.add(
                DockerSetting::Proxies,
                &format!("{variable} is set"),
                counterpart,
                advice,
            );
        }
    }

    fn add_rest(&mut self) {
        if self.docker.live_restore {
            let advice = advice::live_restore();
            self.add(DockerSetting::LiveRestore, "true", Counterpart::NoSuch, advice);
        }
        if let Some(root) = self
            .docker
            .data_root
            .as_deref()
            .filter(|root| !DEFAULT_ROOTS.contains(root))
        {
            let advice = advice::data_root(self.runtime);
            let judge = |config: &RuntimeConfig| match config.root.as_deref() {
                // Another directory on the same disk would be sufficient, but castoff does not know which disk is
                // intended.
                Some(own) if !DEFAULT_ROOTS.contains(&own) => Counterpart::Same(own.to_owned()),
                own => Counterpart::Other(own.map(str::to_owned)),
            };
            self.add_with(DockerSetting::DataRoot, root, judge, advice);
        }
    }
}

/// True if Docker's runtime and the runtime's handler have one name, or run one program.
fn is_same_runtime((name, program): (&str, &str), (handler, own): (&str, &str)) -> bool {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    name == handler || base(program) == base(own)
}

/// Compares one proxy. The order of the hosts without a proxy has no meaning, and more of them are no loss.
fn of_proxy(own: &Proxies, variable: &str, docker: &str) -> Counterpart {
    let Some(own) = own.get(variable) else {
        return Counterpart::Other(None);
    };
    let hosts = |list: &str| list.split(',').map(|host| host.trim().to_owned()).collect::<Vec<_>>();
    let same = if variable == "NO_PROXY" {
        let own = hosts(&own.0);
        hosts(docker).iter().all(|host| own.contains(host))
    } else {
        own.0 == docker
    };
    if same {
        Counterpart::Same("set to the same".to_owned())
    } else {
        Counterpart::Other(Some("set to something else".to_owned()))
    }
}

fn cut(value: &str) -> String {
    if value.len() <= VALUE_LIMIT {
        return value.to_owned();
    }
    let end = (0..=VALUE_LIMIT)
        .rev()
        .find(|at| value.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &value[..end])
}

#[cfg(test)]
mod tests;
