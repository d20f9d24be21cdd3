//! `nft`, which kube-proxy calls.

use std::fs::{self, File};

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;

use crate::lab::packages::{self, Programs};
use crate::lab::rooms;

/// Returns the program of this machine's Debian release, which the first call unpacks into the cache. Separate from the
/// daemons' packages, because only kube-proxy needs it.
pub(super) fn nft() -> Result<Programs> {
    let cache = rooms::cache()?;
    let tree = cache.join("nftables");
    let lock = File::create(cache.join("nftables.lock")).context("make the lock of nft's cache")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock nft's cache")?;
    if !tree.exists() {
        let fresh = tempfile::tempdir_in(&cache).context("make a folder for packages")?;
        packages::unpack_into(&["nftables"], fresh.path())?;
        fs::rename(fresh.keep(), &tree).context("put nft into the cache")?;
    }
    Ok(Programs::seen_at(tree))
}
