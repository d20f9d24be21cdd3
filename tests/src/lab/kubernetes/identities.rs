//! Who may talk to the cluster: a token for each, and a kubeconfig with it.
//!
//! Static tokens, and no certificate for anybody but the server: it makes that itself. The lab must never use them
//! anywhere but on a stage, which nobody reaches.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::lab::rooms::Room;

/// The address that pods and nodes reach the API server at.
pub(super) const SERVER: &str = "10.214.0.1";
/// Where it listens.
pub(super) const PORT: u16 = 6443;
/// The nodes that may join. kube-proxy takes the first one's name.
pub const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// The lab itself and the control plane's parts: may do everything.
pub(super) const ADMIN: &str = "admin";

/// The file of tokens that the API server reads when it starts.
pub(super) fn write_tokens(room: &Room) -> Result<PathBuf> {
    let nodes = NODES.map(|name| (node_user(name), "system:nodes"));
    let all = [(ADMIN.to_owned(), "system:masters")].into_iter().chain(nodes);
    let lines: Vec<String> = all
        .map(|(user, group)| format!("{},{user},{user},\"{group}\"", token(&user)))
        .collect();
    room.file("tokens.csv", lines.join("\n"))
}

/// What the API server calls the kubelet of a node.
pub(super) fn node_user(name: &str) -> String {
    format!("system:node:{name}")
}

/// A kubeconfig for one of them.
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

/// No secret: whoever reaches the server is the lab.
fn token(user: &str) -> String {
    format!("lab-{}", user.replace(':', "-"))
}
