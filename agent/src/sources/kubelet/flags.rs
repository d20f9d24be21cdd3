//! The flags that set the runtime of a kubelet, or of a program that embeds one. Nothing else of a command line is
//! kept.

use crate::sources::engines::is_true;
use crate::sources::systemd::joined;

/// Flags that were removed with dockershim in Kubernetes 1.24. A kubelet that runs with one of them is older
/// (kubernetes/kubernetes#106907; since 1.24 it exits immediately with "unknown flag").
const GONE_WITH_DOCKERSHIM: [&str; 9] = [
    "--cni-bin-dir",
    "--cni-cache-dir",
    "--cni-conf-dir",
    "--docker-endpoint",
    "--docker-tls",
    "--experimental-dockershim-root-directory",
    "--image-pull-progress-deadline",
    "--network-plugin",
    "--network-plugin-mtu",
];

/// The name of the flag for the endpoint.
pub(super) const ENDPOINT: &str = "--container-runtime-endpoint";

/// The name of the flag that passes another flag on to the kubelet.
const PASS_ON: &str = "kubelet-arg";

/// The values of the flags. The last one of a name wins, as everywhere in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// `--container-runtime`: `docker` or `remote`, up to 1.26.
    pub runtime: Option<String>,
    /// `--container-runtime-endpoint`.
    pub endpoint: Option<String>,
    /// `--config`: a file.
    pub config: Option<String>,
    /// `--config-dir`: a directory of drop-ins.
    pub config_dir: Option<String>,
    /// `--kubelet-args-file` of microk8s: a file of flags.
    pub args_file: Option<String>,
    /// `--docker` of k3s.
    pub docker: bool,
    /// `--data-dir` of k3s and rke2.
    pub data_dir: Option<String>,
    /// `--fail-cgroupv1`.
    pub fail_cgroup_v1: Option<bool>,
    /// A flag that only a kubelet with dockershim has.
    pub before_1_24: Option<&'static str>,
    /// The flags that k3s passes on to its kubelet with `--kubelet-arg`.
    pub of_kubelet: Option<Box<Flags>>,
}

impl Flags {
    /// Parses arguments. Accepts `--flag=value` and `--flag value`; ends at `--`.
    pub(super) fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = Self::default();
        flags.add(arguments);
        flags
    }

    fn add<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            // A kubelet accepts underscores instead of dashes (WordSepNormalizeFunc of component-base).
            let name = name.replace('_', "-");
            if self.set_without_value(&name, value) {
                continue;
            }
            let mut follows = || arguments.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            self.set(&name, value, &mut follows);
        }
    }

    /// Adds one flag that is passed on to the kubelet, without its dashes. A kubelet passes nothing on, so a chain of
    /// such flags is not followed further.
    pub(super) fn pass_on(&mut self, flag: &str) {
        let of_kubelet = self.of_kubelet.get_or_insert_default();
        let name = flag.split('=').next().unwrap_or_default();
        if name.replace('_', "-") != PASS_ON {
            of_kubelet.add([format!("--{flag}").as_str()]);
        }
    }

    /// Parses a file for a shell or systemd: `NAME="--flag=value --flag value"`, or bare flags. A later value of a variable
    /// replaces an earlier one. Comments are skipped.
    pub(super) fn parse_file(content: &str) -> Self {
        let mut values: Vec<(Option<String>, String)> = Vec::new();
        for (_, line) in joined(content) {
            let line = line.trim();
            match line.split_once('=') {
                _ if line.starts_with(';') => {}
                Some((name, value)) if !name.starts_with('-') => {
                    let name = Some(name.to_owned());
                    values.retain(|(known, _)| *known != name);
                    values.push((name, value.to_owned()));
                }
                _ => values.push((None, line.to_owned())),
            }
        }
        // The quotes may be around the whole, a word or a value.
        let words = values.iter().flat_map(|(_, value)| value.split_whitespace());
        let words: Vec<String> = words.map(|word| word.replace(['"', '\''], "")).collect();
        Self::parse(words.iter().map(String::as_str))
    }

    /// Returns the flag whose value or presence shows that the kubelet runs dockershim.
    pub(super) fn evidence_of_dockershim(&self) -> &'static str {
        match (&self.runtime, self.before_1_24) {
            (None, Some(flag)) => flag,
            _ => "--container-runtime",
        }
    }

    fn set_without_value(&mut self, name: &str, value: Option<&str>) -> bool {
        if name == "docker" {
            self.docker = value.is_none_or(is_true);
            return true;
        }
        if name == "fail-cgroupv1" {
            self.fail_cgroup_v1 = Some(value.is_none_or(is_true));
            return true;
        }
        match GONE_WITH_DOCKERSHIM
            .into_iter()
            .find(|gone| gone.trim_start_matches('-') == name)
        {
            Some(gone) => self.before_1_24 = Some(gone),
            None => return false,
        }
        true
    }

    fn set<'a>(&mut self, name: &str, value: Option<&'a str>, follows: &mut dyn FnMut() -> &'a str) {
        let field = match name {
            "container-runtime" => &mut self.runtime,
            "container-runtime-endpoint" => &mut self.endpoint,
            "config" | "c" => &mut self.config,
            "config-dir" => &mut self.config_dir,
            "kubelet-args-file" => &mut self.args_file,
            "data-dir" | "d" => &mut self.data_dir,
            PASS_ON => return self.pass_on(value.unwrap_or_else(follows)),
            _ => return,
        };
        let value = value.unwrap_or_else(follows);
        *field = Some(value.to_owned()).filter(|v| !v.is_empty());
    }

    /// Applies flags that win over these.
    pub(super) fn apply(&mut self, winner: Self) {
        self.runtime = winner.runtime.or(self.runtime.take());
        self.endpoint = winner.endpoint.or(self.endpoint.take());
        self.config = winner.config.or(self.config.take());
        self.config_dir = winner.config_dir.or(self.config_dir.take());
        self.args_file = winner.args_file.or(self.args_file.take());
        self.docker |= winner.docker;
        self.data_dir = winner.data_dir.or(self.data_dir.take());
        self.fail_cgroup_v1 = winner.fail_cgroup_v1.or(self.fail_cgroup_v1);
        self.before_1_24 = winner.before_1_24.or(self.before_1_24);
        if let Some(winner) = winner.of_kubelet {
            self.of_kubelet.get_or_insert_default().apply(*winner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_on_for_each_true_of_go() {
        for (value, on) in [
            ("", true),
            ("=1", true),
            ("=t", true),
            ("=T", true),
            ("=TRUE", true),
            ("=True", true),
        ] {
            let flag = format!("--fail-cgroupv1{value}");
            assert_eq!(Flags::parse([flag.as_str()]).fail_cgroup_v1, Some(on), "{flag}");
        }
        for value in ["=0", "=f", "=false", "=False", "=no"] {
            let flag = format!("--fail-cgroupv1{value}");
            assert_eq!(Flags::parse([flag.as_str()]).fail_cgroup_v1, Some(false), "{flag}");
        }
    }

    #[test]
    fn both_notations_are_read_and_the_last_wins() {
        for (line, endpoint) in [
            ("kubelet --container-runtime-endpoint=unix:///a", Some("unix:///a")),
            (
                "kubelet --container-runtime-endpoint unix:///a --v 2",
                Some("unix:///a"),
            ),
            ("kubelet --container_runtime_endpoint=/a", Some("/a")),
            (
                "kubelet --container-runtime-endpoint=/a --container-runtime-endpoint /b",
                Some("/b"),
            ),
            ("kubelet --container-runtime-endpoint= --v=2", None),
            ("kubelet --container-runtime-endpoint --v=2", None),
            ("kubelet --container-runtime-endpoint", None),
            ("kubelet -- --container-runtime-endpoint=/a", None),
            ("kubelet --container-runtime-endpoints=/a", None),
            ("k3s agent --kubelet-arg=container-runtime-endpoint=/a", None),
            ("", None),
        ] {
            assert_eq!(Flags::parse(line.split(' ')).endpoint.as_deref(), endpoint, "{line}");
        }
    }

    #[test]
    fn each_flag_has_its_field() {
        let line = "kubelet --config=/c --config-dir /d --container-runtime docker --network-plugin=cni --docker";
        let flags = Flags::parse(line.split(' '));
        assert_eq!(
            (flags.config.as_deref(), flags.config_dir.as_deref()),
            (Some("/c"), Some("/d"))
        );
        assert_eq!(flags.runtime.as_deref(), Some("docker"));
        assert_eq!((flags.before_1_24, flags.docker), (Some("--network-plugin"), true));
        assert!(!Flags::parse(["--docker=false"]).docker);
    }

    #[test]
    fn flags_that_are_passed_on_are_the_kubelets_own() {
        for line in [
            "k3s agent --kubelet-arg=container-runtime-endpoint=/a --kubelet-arg=v=2",
            "k3s agent --kubelet-arg container-runtime-endpoint=/b --kubelet-arg container-runtime-endpoint=/a",
            "k3s agent --kubelet-arg container-runtime-endpoint=/a --container-runtime-endpoint=/own -d /srv/k3s",
        ] {
            let flags = Flags::parse(line.split(' '));
            let inner = flags
                .of_kubelet
                .as_ref()
                .and_then(|kubelet| kubelet.endpoint.as_deref());
            assert_eq!(inner, Some("/a"), "{line}");
            assert_ne!(flags.endpoint.as_deref(), Some("/a"), "{line}");
        }
        assert_eq!(Flags::parse(["-d", "/srv/k3s"]).data_dir.as_deref(), Some("/srv/k3s"));
    }

    /// A kubelet has no such flag, and any user can write a chain of them on a command line.
    #[test]
    fn a_passed_on_flag_passes_nothing_on() {
        for links in [1, 5_000] {
            let chain = "kubelet-arg=".repeat(links);
            for flag in ["--kubelet-arg=", "--kubelet_arg="] {
                let flags = Flags::parse([format!("{flag}{chain}container-runtime=docker").as_str()]);
                let passed_on = flags.of_kubelet.expect("a flag is handed on");
                assert_eq!(passed_on.of_kubelet, None, "{links} links");
                assert_eq!(passed_on.runtime, None);
            }
        }
    }

    #[test]
    fn files_of_flags_are_read_as_a_shell_would() {
        let kubeadm =
            "KUBELET_KUBEADM_ARGS=\"--container-runtime=remote --container-runtime-endpoint=unix:///a --x=y\"\n";
        let flags = Flags::parse_file(kubeadm);
        assert_eq!(
            (flags.runtime.as_deref(), flags.endpoint.as_deref()),
            (Some("remote"), Some("unix:///a"))
        );
        let first = Flags::parse_file("ARGS='--container-runtime-endpoint /b'\r\n# --container-runtime-endpoint=/c\n");
        assert_eq!(first.endpoint.as_deref(), Some("/b"));
        let quoted =
            Flags::parse_file("--container-runtime-endpoint=\"/c\"\nX='--container-runtime-endpoint \"/d\"'\n");
        assert_eq!(quoted.endpoint.as_deref(), Some("/d"));
        let snap =
            Flags::parse_file("--kubeconfig=${SNAP_DATA}/x\n--container-runtime-endpoint=${SNAP_COMMON}/run/y\n");
        assert_eq!(snap.endpoint.as_deref(), Some("${SNAP_COMMON}/run/y"));
        let reset = "X=\"--container-runtime-endpoint=/e\"\n; Y=--container-runtime=docker\nX=\"\"\n";
        assert_eq!(Flags::parse_file(reset), Flags::default());
        let continued = Flags::parse_file("X=\"--v=2 \\\n --container-runtime-endpoint=/f\"\n");
        assert_eq!(continued.endpoint.as_deref(), Some("/f"));
        assert_eq!(
            Flags::parse_file("KUBELET_EXTRA_ARGS=\n\n\"\n=\n--\n"),
            Flags::default()
        );
    }
}
