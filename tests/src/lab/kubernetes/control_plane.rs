//! The daemons of a cluster that belong to no node: etcd, API server, controller manager, scheduler, and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::identities::{ADMIN, NODES, PORT, SERVER, write_kubeconfig, write_tokens};
use super::tools;
use crate::lab::daemon::Daemon;
use crate::lab::keeper::Keeper;
use crate::lab::packages;
use crate::lab::rooms::Room;
use crate::lab::stage::Stage;

/// The address range of Services; the API server's own is the first.
const SERVICES: &str = "10.96.0.0/16";
/// The address of etcd.
const ETCD: &str = "http://127.0.0.1:2379";

/// The running daemons. Dropping it ends them.
#[derive(Debug)]
pub(super) struct ControlPlane {
    others: Vec<Daemon>,
    // None while it is killed.
    api_server: Option<Daemon>,
    _etcd: Daemon,
    program: PathBuf,
    room: Room,
    // After the daemons, whose files are in the room that it removes.
    _keeper: Keeper,
    stage: Arc<Stage>,
}

impl ControlPlane {
    /// Starts all of them and waits until the API server is ready.
    pub(super) fn start(stage: &Arc<Stage>, program: &Path) -> Result<Self> {
        let room = Room::make("kube")?;
        let keeper = Keeper::start_on(Some(stage), &room, None, std::time::Duration::ZERO)?;
        write_tokens(&room)?;
        write_kubeconfig(&room, ADMIN)?;
        // Tests count the requests of each user, so every request is recorded once.
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{ "level": "Metadata" }],
        });
        room.file("audit.yaml", policy.to_string())?;
        let etcd = start_etcd(stage, program)?;
        let mut this = Self {
            others: Vec::new(),
            api_server: None,
            _etcd: etcd,
            program: program.to_owned(),
            room,
            _keeper: keeper,
            stage: Arc::clone(stage),
        };
        this.start_api_server()?;
        this.others = vec![this.start_controllers()?, this.start_scheduler()?, this.start_proxy()?];
        Ok(this)
    }

    /// Returns the kubeconfig of the administrator.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.room.join(format!("{ADMIN}.kubeconfig"))
    }

    pub(super) fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        write_kubeconfig(&self.room, user)
    }

    /// Returns a `kubectl` command as the administrator.
    pub(super) fn kubectl(&self) -> Command {
        let mut kubectl = self.stage.command(&self.program);
        kubectl.arg("kubectl").env("KUBECONFIG", self.kubeconfig());
        // It would cache the server's API in the user's home directory.
        kubectl.env("KUBECACHEDIR", self.room.join("kubectl.cache"));
        kubectl
    }

    /// Starts the API server and waits until it is ready.
    pub(super) fn start_api_server(&mut self) -> Result<()> {
        let room = Room::make("apiserver")?;
        let mut command = self.component("kube-apiserver");
        let here = self.room.path().display();
        let key = format!("{here}/certificates/apiserver.key");
        for (flag, value) in [
            ("etcd-servers", ETCD.to_owned()),
            ("bind-address", "0.0.0.0".to_owned()),
            ("secure-port", PORT.to_string()),
            ("advertise-address", SERVER.to_owned()),
            // It creates its certificate there, and uses it again after a restart.
            ("cert-dir", format!("{here}/certificates")),
            ("token-auth-file", format!("{here}/tokens.csv")),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("service-cluster-ip-range", SERVICES.to_owned()),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local".to_owned(),
            ),
            ("service-account-key-file", key.clone()),
            ("service-account-signing-key-file", key),
            ("allow-privileged", "true".to_owned()),
            // No resolver knows the names of nodes.
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("audit-policy-file", format!("{here}/audit.yaml")),
            ("audit-log-path", format!("{here}/audit.log")),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        let daemon = Daemon::start_on(Some(&self.stage), "kube-apiserver", &room, &command, &[])?;
        daemon.wait_until(|| packages::run(self.kubectl().args(["get", "--raw", "/readyz"])))?;
        self.api_server = Some(daemon);
        Ok(())
    }

    /// Kills the API server; its clients are not notified.
    pub(super) fn kill_api_server(&mut self) -> Result<()> {
        let daemon = self.api_server.take().context("the API server does not run")?;
        let pid = daemon.pid().to_string();
        packages::run(self.stage.command("kill").args(["-KILL", &pid]))
    }

    /// Returns the audit log so far, with one event for each request that was answered.
    pub(super) fn read_audit(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.room.join("audit.log")).context("read the audit log")?;
        // The last line may be incomplete.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("an event of the audit log: {line}")))
            .collect()
    }

    /// Returns the end of each daemon's log.
    pub(super) fn logs(&self) -> String {
        let all = self.others.iter().chain(&self.api_server);
        let ends: Vec<String> = all
            .map(|daemon| format!("--- {}\n{}\n", daemon.log().display(), daemon.log_tail()))
            .collect();
        ends.concat()
    }

    fn start_controllers(&self) -> Result<Daemon> {
        let certificates = self.room.join("certificates");
        let mut command = self.component("kube-controller-manager");
        command.arg(format!("--kubeconfig={}", self.kubeconfig().display()));
        command.arg(format!(
            "--service-account-private-key-file={}/apiserver.key",
            certificates.display()
        ));
        command.arg(format!("--root-ca-file={}/apiserver.crt", certificates.display()));
        command.args(["--leader-elect=false", "--secure-port=0"]);
        self.start_other("kube-controller-manager", &command)
    }

    fn start_scheduler(&self) -> Result<Daemon> {
        let mut command = self.component("kube-scheduler");
        command.arg(format!("--kubeconfig={}", self.kubeconfig().display()));
        command.args(["--leader-elect=false", "--secure-port=0"]);
        self.start_other("kube-scheduler", &command)
    }

    /// Starts one for the whole stage. It ends itself when its node is added, removed or moved, and is restarted like
    /// in a pod.
    fn start_proxy(&self) -> Result<Daemon> {
        let configuration = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": { "kubeconfig": self.kubeconfig() },
            "hostnameOverride": NODES[0],
            "nodePortAddresses": ["primary"],
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            // These would change settings of the whole machine.
            "conntrack": { "maxPerCore": 0, "min": 0 },
        });
        let configuration = self.room.file("proxy.yaml", configuration.to_string())?;
        let again = r#"while :; do "$@" || :; sleep 1; done"#;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", again, "sh"]).arg(&self.program);
        command.args(["kube-proxy", &format!("--config={}", configuration.display())]);
        for (variable, value) in tools::nft()?.environment() {
            command.env(variable, value);
        }
        self.start_other("kube-proxy", &command)
    }

    fn start_other(&self, name: &'static str, command: &Command) -> Result<Daemon> {
        Daemon::start_on(Some(&self.stage), name, &Room::make(name)?, command, &[])
    }

    fn component(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name);
        command
    }
}

fn start_etcd(stage: &Arc<Stage>, program: &Path) -> Result<Daemon> {
    let room = Room::make("etcd")?;
    let mut command = Command::new(program);
    command.args(["etcd", "--unsafe-no-fsync", "--log-level=warn"]);
    command.arg(format!("--data-dir={}", room.join("data").display()));
    command.arg(format!("--listen-client-urls={ETCD}"));
    command.arg(format!("--advertise-client-urls={ETCD}"));
    Daemon::start_on(Some(stage), "etcd", &room, &command, &[])
}
