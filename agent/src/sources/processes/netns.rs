//! Network namespaces of processes whose `ns/net` may not be read.
//!
//! Any user may read which `net` tree of procfs a process has, and processes of one namespace have one tree. So a process is
//! placed by one that is alike and may be read, castoff itself at least.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::known::ProcessRow;
use super::refused;
use crate::model::identity::{NetNs, Pid};
use crate::model::reading::{Gap, Hides};
use crate::sources::kernel::netns::read_tree;

/// A row whose `ns/net` was refused.
pub(super) struct Refused {
    /// Whose.
    pub pid: Pid,
    /// With what.
    pub error: io::Error,
}

/// Completes the rows, by ascending pid, that `refused` names, and counts those that no readable process is alike with.
pub(super) fn find_alike(proc: &Path, rows: &mut [ProcessRow], refused_rows: Vec<Refused>, gaps: &mut Vec<Gap>) {
    if refused_rows.is_empty() {
        return;
    }
    let trees: Vec<Option<(u64, u64)>> = refused_rows.iter().map(|row| read_tree(proc, row.pid)).collect();
    let known = read_known(proc, rows, trees.iter().flatten().copied().collect());
    for (row, tree) in refused_rows.into_iter().zip(trees) {
        let alike = tree.and_then(|tree| known.iter().find(|(of, _)| *of == tree));
        let at = rows.binary_search_by_key(&row.pid, |row| row.entry.key.pid);
        match (alike, at) {
            (Some((_, netns)), Ok(at)) => rows[at].entry.netns = Some(*netns),
            _ => refused(row.pid, "ns/net", hides(&row.error), &row.error).fold_into(gaps),
        }
    }
}

/// A refusal hides no client by itself: who looks for clients looks into such a namespace by other means, and says so where
/// that fails too. Whatever else goes wrong they take for a process without a namespace.
fn hides(error: &io::Error) -> Hides {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Hides::Detail,
        _ => Hides::Client,
    }
}

/// The `net` tree of each namespace that some row is known to be in, until all of `wanted` are among them.
fn read_known(proc: &Path, rows: &[ProcessRow], mut wanted: BTreeSet<(u64, u64)>) -> Vec<((u64, u64), NetNs)> {
    let mut known: Vec<((u64, u64), NetNs)> = Vec::new();
    for ProcessRow { entry, .. } in rows {
        if wanted.is_empty() {
            break;
        }
        if let Some(netns) = entry.netns
            && !known.iter().any(|(_, of)| *of == netns)
            && let Some(tree) = read_tree(proc, entry.key.pid)
        {
            known.push((tree, netns));
            wanted.remove(&tree);
        }
    }
    known
}
