//! The users of the cluster: a token for each, and a kubeconfig with it.
//!
//! These are static tokens. Only the server has a certificate, which it creates itself. The lab must never use them
//! anywhere but on a stage, which is not reachable.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::lab::rooms::Room;

/// The address at which pods and nodes reach the API server.
pub(super) const SERVER: &str = "10.214.0.1";
/// The port where it listens.
pub(super) const PORT: u16 = 6443;
/// The nodes that may join. kube-proxy uses the first one's name.
pub const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// The user of the lab itself and of the control plane's parts, with all rights.
pub(super) const ADMIN: &str = "admin";

/// Writes the file of tokens that the API server reads when it starts.
pub(super) fn write_tokens(room: &Room) -> Result<PathBuf> {
    let nodes = NODES.map(|name| (node_user(name), "system:nodes"));
    let all = [(ADMIN.to_owned(), "system:masters")].into_iter().chain(nodes);
    let lines: Vec<String> = all
        .map(|(user, group)| format!("{},{user},{user},\"{group}\"", token(&user)))
        .collect();
    room.file("tokens.csv", lines.join("\n"))
}

/// Returns the API server's name for the kubelet of a node.
pub(super) fn node_user(name: &str) -> String {
    format!("system:node:{name}")
}

/// Writes a kubeconfig for one of the users.
pub(super) fn write_kubeconfig(room: &Room, user: &str) -> Result<PathBuf> {
    let configuration = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lab", "cluster": {
            "server": format!("https://{SERVER}:{PORT}"),
            "certificate-authority": room.join("certificates/apiserver.crt"),
        } }],
        "users": [{ "name": user, "user": { "token": token(user) } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": user } }],
        "current-context": "lab",
    });
    room.file(
        &format!("{}.kubeconfig", user.replace(':', ".")),
        configuration.to_string(),
    )
}

/// Not secret: only the lab reaches the server.
fn token(user: &str) -> String {
    format!("lab-{}", user.replace(':', "-"))
}
