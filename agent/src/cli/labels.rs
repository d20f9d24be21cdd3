//! `castoff labels`: shows the labels of this node, or removes them.

use std::fmt::Write as _;

use anyhow::{Context, bail};

use super::args::{LabelArgs, Labels, Way};
use super::check::{look, look_once};
use super::{OK, print};
use crate::apiserver::access::Access;
use crate::apiserver::pace::Paces;
use crate::config::{Mistakes, Publish, Reader};
use crate::sinks::publishing::events::event::Reporter;
use crate::sinks::publishing::events::sender::EventSettings;
use crate::sinks::publishing::labels::prefix::Prefix;
use crate::sinks::publishing::labels::summary::Summary;
use crate::sinks::publishing::labels::{ANNOTATION, values};
use crate::sinks::publishing::nfd;
use crate::sinks::publishing::node::remove::Removal;

/// The work of one call.
enum Task {
    Show(Box<crate::config::Look>, Prefix),
    RemoveFile(std::path::PathBuf),
    RemoveFromOne(Removal, String),
    RemoveFromAll(Removal),
}

pub(super) fn labels(args: &Labels) -> anyhow::Result<u8> {
    let task = resolve(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let outcome = runtime.block_on(carry_out(task));
    // A look that hangs in the kernel must not delay the answer.
    runtime.shutdown_background();
    print(&outcome?)?;
    Ok(OK)
}

async fn carry_out(task: Task) -> anyhow::Result<String> {
    match task {
        Task::Show(look, prefix) => {
            let report = look_once(*look).await;
            let mut text = String::new();
            for (name, value) in values(&report) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}={value}", prefix.key(&name));
            }
            let summary = Summary::of(&report, report.time);
            let _ = writeln!(text, "# annotation {}={summary}", prefix.key(ANNOTATION));
            Ok(text)
        }
        Task::RemoveFile(directory) => {
            let removed = nfd::remove(&directory).with_context(|| directory.display().to_string())?;
            let what = if removed { "removed the file from" } else { "no file in" };
            Ok(format!("{what} {}\n", directory.display()))
        }
        Task::RemoveFromOne(removal, node) => {
            let removed = removal.from_one(&node).await?;
            let what = if removed {
                "labels removed"
            } else {
                "has no castoff labels"
            };
            Ok(format!("node {node}: {what}\n"))
        }
        Task::RemoveFromAll(removal) => remove_from_all(&removal).await,
    }
}

async fn remove_from_all(removal: &Removal) -> anyhow::Result<String> {
    let removed = removal.from_all().await?;
    let failed: Vec<String> = removed
        .iter()
        .filter_map(|node| Some(format!("\n  {}", node.outcome.as_ref().err()?)))
        .collect();
    if !failed.is_empty() {
        bail!(
            "{} of {} nodes still have the labels:{}",
            failed.len(),
            removed.len(),
            failed.concat()
        );
    }
    let changed = removed.iter().filter(|node| matches!(node.outcome, Ok(true))).count();
    Ok(format!("labels removed from {changed} of {} nodes\n", removed.len()))
}

fn resolve(args: &Labels) -> Result<Task, Mistakes> {
    let mut reader = Reader::default();
    let prefix = reader.prefix("--label-prefix", &args.publish.label_prefix);
    let way = if args.remove { args.way } else { Way::Api };
    let mut task = None;
    if !args.remove {
        let look = look(&mut reader, &args.host);
        task = prefix.map(|prefix| Task::Show(Box::new(look), prefix));
    } else if way == Way::Off {
        reader.mistake(
            (),
            "--labels off: does not say where the labels are; expected api or nfd".to_owned(),
        );
    } else if way == Way::Nfd && args.all_nodes {
        reader.mistake((), "--all-nodes: a file is on one node only; run it there".to_owned());
    } else if way == Way::Nfd {
        let directory = reader.file("--nfd-directory", Some(&args.publish.nfd_directory));
        task = directory.map(Task::RemoveFile);
    } else {
        let access = access(&mut reader, &args.publish, true);
        let removal = prefix.map(|prefix| Removal { prefix, access });
        task = if args.all_nodes {
            removal.map(Task::RemoveFromAll)
        } else {
            let look = look(&mut reader, &args.host);
            let node = reader.node("--node-name", look.node.as_deref());
            removal
                .zip(node)
                .map(|(removal, node)| Task::RemoveFromOne(removal, node))
        };
    }
    match task {
        Some(task) => reader.finish().map(|()| task),
        None => Err(reader.refuse()),
    }
}

/// Reads the arguments of `castoff run` about labels.
pub(super) fn publish(reader: &mut Reader, way: Way, args: &LabelArgs, node: Option<&str>) -> Option<Publish> {
    let prefix = reader.prefix("--label-prefix", &args.label_prefix);
    match way {
        Way::Off => None,
        Way::Nfd => {
            let directory = reader.file("--nfd-directory", Some(&args.nfd_directory));
            Some(Publish::Nfd {
                prefix: prefix?,
                directory: directory?,
            })
        }
        Way::Api => {
            let node = reader.node("--node-name", node);
            let access = access(reader, args, false);
            Some(Publish::Api {
                node: node?,
                prefix: prefix?,
                access,
                paces: Paces::default(),
            })
        }
    }
}

/// Reads the arguments of `castoff run` about events; none if no events are to be made.
pub(super) fn events(reader: &mut Reader, args: &LabelArgs, node: Option<&str>) -> Option<EventSettings> {
    let node = reader.node("--node-name", node);
    let prefix = reader.prefix("--label-prefix", &args.label_prefix);
    let access = access(reader, args, false);
    let reporter = Reporter {
        node: node?,
        prefix: prefix?,
    };
    Some(EventSettings::new(reporter, access))
}

/// Reads the arguments for access to the API server.
pub(super) fn access(reader: &mut Reader, args: &LabelArgs, programs: bool) -> Access {
    match reader.file("--kubeconfig", args.kubeconfig.as_deref()) {
        Some(path) => Access::Kubeconfig { path, programs },
        None => Access::ServiceAccount,
    }
}
