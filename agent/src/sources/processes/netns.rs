//! Network namespaces of processes whose `ns/net` may not be read.
//!
//! Any user may read the identity of a process's `net` tree in procfs, and processes of one namespace have the same
//! tree. So the namespace of a process is that of a readable process with the same tree, castoff itself at least.

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
    /// The process.
    pub pid: Pid,
    /// The error.
    pub error: io::Error,
}

/// Completes the rows in `refused_rows`, by ascending pid, and counts those that share no tree with a readable process.
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

/// A refusal alone hides no client: the search for clients reads such a namespace by other means, and reports a gap if
/// that fails too. After any other error the process counts as one without a namespace.
fn hides(error: &io::Error) -> Hides {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Hides::Detail,
        _ => Hides::Client,
    }
}

/// Reads the `net` tree of each namespace of a known row, until all of `wanted` are found.
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
