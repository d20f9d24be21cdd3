//! `castoff cluster` as a user runs it, against an API server with a whole cluster that is controlled by a test.

mod api;
mod bad_reports;
mod nodes;
mod printed;
mod tokens;
mod watch;
mod workstation;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use castoff_tests::fake::api::FakeApi;
use castoff_tests::lab::castoff_binary;
use serde_json::Value;

/// castoff's output and exit code.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:?}"))
    }

    /// Returns the row of a node.
    fn row(&self, node: &str) -> Result<Value> {
        let document = self.json()?;
        let rows = document["nodes"].as_array().context("nodes")?;
        let row = rows.iter().find(|row| row["node"] == node);
        row.cloned().with_context(|| format!("{node} in {self:?}"))
    }
}

/// A user's machine: a home directory with a kubeconfig.
struct Person {
    home: tempfile::TempDir,
}

impl Person {
    /// Returns one whose kubeconfig leads to `api`.
    fn of(api: &FakeApi) -> Result<Self> {
        Self::with(&kubeconfig(&format!("http://{}", api.address())))
    }

    fn with(kubeconfig: &str) -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir(home.path().join(".kube"))?;
        std::fs::write(home.path().join(".kube/config"), kubeconfig)?;
        Ok(Self { home })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns `castoff cluster` with these arguments, as a command.
    fn command(&self, arguments: &[&str]) -> Result<tokio::process::Command> {
        let mut command = tokio::process::Command::new(castoff_binary()?);
        command.arg("cluster").args(arguments).env_clear();
        command
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        finish(self.command(arguments)?).await
    }
}

async fn finish(mut command: tokio::process::Command) -> Result<Ran> {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output());
    let output = output.await.context("castoff cluster does not end")??;
    Ok(Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         contexts: [{{name: here, context: {{cluster: k, user: u}}}}, {{name: there, context: {{cluster: gone, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{server}'}}}}, {{name: gone, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
         users: [{{name: u, user: {{token: secret}}}}]\n"
    )
}

/// Returns the schema of the document that castoff prints.
fn schema() -> Result<jsonschema::Validator> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/docs/fleet.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    Ok(jsonschema::validator_for(&schema)?)
}
