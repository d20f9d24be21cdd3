//! Obstacles to another release of the node's own runtime.

use super::answer::{Certainty, Effect, Obstacle, RuleSource};
use super::{Grounds, hidden, of_catalogue, of_table};
use crate::findings::releases::{self, Version};
use crate::findings::report::Code;
use crate::findings::runtime::{is_gone, named};
use crate::model::reading::Reading;
use crate::model::runtime::{Deprecation, Runtime};

/// The prefix of containerd's ids of deprecated uses.
const DEPRECATION: &str = "io.containerd.deprecation/";

/// The page on which containerd lists the upgrades that it supports and the features that it removes.
const POLICY: &str = "https://github.com/containerd/containerd/blob/main/RELEASES.md";

fn policy(certainty: Certainty, date: &'static str) -> RuleSource {
    RuleSource {
        certainty,
        date,
        source: POLICY,
    }
}

pub(super) fn add(grounds: &Grounds, product: &str, version: Version, found: &mut Vec<Obstacle>) {
    let path = |effect, message: String| Obstacle::new(effect, Code::RuntimeUpgradePath, of_table(product), message);
    let runtime = match &grounds.runtime {
        Reading::Known(runtime) if runtime.name == product => runtime,
        Reading::Known(runtime) => {
            let message = format!(
                "the node's runtime is {}: castoff judges upgrades of {product}, not a move to it",
                named(runtime)
            );
            return found.push(path(Effect::MayBlock, message));
        }
        Reading::Absent => {
            let message = format!("no {product} was found that could be upgraded");
            return found.push(path(Effect::MayBlock, message));
        }
        Reading::Unknown(gap) => {
            let unseen = hidden(Code::RuntimeUpgradePath, of_table(product), "the runtime", gap);
            return found.push(unseen);
        }
    };
    let Some(installed) = releases::line(product, &runtime.version) else {
        let message = format!("the version of {} could not be read", named(runtime));
        return found.push(path(Effect::MayBlock, message));
    };
    if version < installed {
        let message = format!("{} is newer: no project supports a downgrade", named(runtime));
        found.push(path(Effect::MayBlock, message));
    }
    if product == "containerd" {
        add_shims(grounds, found);
    }
    if product == "containerd" && version > installed {
        found.extend(hops(runtime, installed, version));
        add_deprecations(runtime, version, found);
    }
}

/// Containers that do not survive the restart that each upgrade needs.
fn add_shims(grounds: &Grounds, found: &mut Vec<Obstacle>) {
    let code = Code::ShimOrphan;
    match &grounds.orphaned_shims {
        Reading::Known(shims) => found.extend(shims.iter().map(|shim| {
            let message = format!("{} {}", shim.path, is_gone(shim));
            Obstacle::new(Effect::Blocks, code, of_catalogue(code), message)
        })),
        Reading::Absent => {}
        Reading::Unknown(gap) => found.push(hidden(code, of_catalogue(code), "the shims of running containers", gap)),
    }
}

fn hops(runtime: &Runtime, installed: Version, version: Version) -> Option<Obstacle> {
    let hops = releases::hops(installed, version);
    let rule_source = policy(Certainty::Stated, releases::table().as_of);
    let message = match hops.as_slice() {
        [_] => return None,
        // One of the lines is not in the table. If that line is the target, it is reported already.
        [] => format!("castoff does not know if containerd supports an upgrade from {installed} to {version}"),
        [between @ .., _] => {
            let between: Vec<String> = between.iter().map(Version::to_string).collect();
            let message = format!(
                "containerd supports no upgrade from {} to {version} in one step: go by {}",
                runtime.version,
                between.join(", then ")
            );
            return Some(Obstacle::new(
                Effect::Blocks,
                Code::RuntimeUpgradePath,
                rule_source,
                message,
            ));
        }
    };
    Some(Obstacle::new(
        Effect::MayBlock,
        Code::RuntimeUpgradePath,
        rule_source,
        message,
    ))
}

/// Deprecated uses that the release has removed.
fn add_deprecations(runtime: &Runtime, version: Version, found: &mut Vec<Obstacle>) {
    let code = Code::RuntimeDeprecation;
    let installed = releases::line(&runtime.name, &runtime.version);
    let removals = &releases::table().containerd_removals;
    let removes = |line: Version| line <= version && Some(line) > installed;
    match &runtime.deprecations {
        Reading::Known(uses) => found.extend(uses.iter().map(|used| deprecation(used, version))),
        Reading::Unknown(gap) => found.push(hidden(code, of_catalogue(code), "the deprecated features in use", gap)),
        Reading::Absent if removals.iter().any(|removal| removes(removal.removed_in)) => {
            let message = format!(
                "{} does not report the deprecated uses that {version} removes",
                named(runtime)
            );
            found.push(Obstacle::new(Effect::MayBlock, code, of_catalogue(code), message));
        }
        Reading::Absent => {}
    }
    if !runtime.silenced_deprecations.is_empty() {
        let ids = runtime.silenced_deprecations.join(", ");
        let message = format!("containerd does not report {ids} (ignore_deprecation_warnings)");
        found.push(Obstacle::new(Effect::MayBlock, code, of_catalogue(code), message));
    }
}

/// The runtime's own text, with the release from castoff's table, because the texts name outdated releases.
fn deprecation(used: &Deprecation, version: Version) -> Obstacle {
    let id = used.id.strip_prefix(DEPRECATION).unwrap_or(&used.id);
    let code = Code::RuntimeDeprecation;
    let mut removals = releases::table().containerd_removals.iter();
    let Some(removal) = removals.find(|removal| removal.id == id) else {
        let message = format!(
            "{id} is in use, and castoff knows no date of its removal; the runtime says: {}",
            used.message
        );
        return Obstacle::new(Effect::MayBlock, code, of_catalogue(code), message);
    };
    let line = removal.removed_in;
    let (effect, verb) = match (removal.certainty, line <= version) {
        (_, false) => (Effect::Note, "is removed in"),
        (Certainty::Enforced | Certainty::Stated, true) => (Effect::Blocks, "was removed in"),
        (Certainty::Announced, true) => (Effect::Blocks, "is announced to be removed in"),
    };
    let message = format!(
        "{id} is in use, which {verb} containerd {line}; the runtime says: {}",
        used.message
    );
    Obstacle::new(effect, code, policy(removal.certainty, removal.date), message)
}
