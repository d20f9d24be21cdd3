//! skopeo, which copies images between archives, directories and registries: Debian's package, unpacked into the cache.

use std::process::Command;

use anyhow::Result;

use super::packages;
use super::rooms;

/// Returns a command that runs it without a policy of signatures, which is a file of the host.
///
/// # Errors
/// `apt-get` reaches no archive, with the end of its output.
pub fn skopeo() -> Result<Command> {
    let folder = rooms::tool("skopeo-1", |folder| packages::unpack_into(&["skopeo"], folder))?;
    let mut command = Command::new(folder.join("usr/bin/skopeo"));
    command
        .arg("--insecure-policy")
        .env("LD_LIBRARY_PATH", packages::library_path(&folder));
    Ok(command)
}
