//! Limits the engines and listeners of each user and container, so that a flood of one cannot displace another's
//! engine.

use std::collections::BTreeMap;

use crate::model::engine::EngineSighting;
use crate::model::process::Owner;
use crate::model::reading::{Gap, Hides, Reason};

/// The most listeners that are kept of one user or one container.
const LISTENERS_OF_ONE: usize = 64;

/// The most engines that are kept of one user or one container.
const ENGINES_OF_ONE: usize = 64;

/// The most listeners that are kept of root outside of containers, who alone runs the node's own engines. The same
/// limit applies to engines.
const OF_THE_NODE: usize = 4096;

#[derive(Default)]
struct Kept {
    engines: usize,
    listeners: usize,
    left_out: usize,
}

/// Removes what exceeds the limits of its owner, and adds a gap.
pub(super) fn bound(engines: &mut Vec<EngineSighting>, gaps: &mut Vec<Gap>) {
    let mut kept: BTreeMap<Owner, Kept> = BTreeMap::new();
    engines.retain_mut(|engine| {
        let owner = engine.owner();
        let (most_engines, most_listeners) = if owner.is_node() {
            (OF_THE_NODE, OF_THE_NODE)
        } else {
            (ENGINES_OF_ONE, LISTENERS_OF_ONE)
        };
        let kept = kept.entry(owner).or_default();
        let had = engine.listeners.len();
        engine.listeners.truncate(most_listeners - kept.listeners);
        kept.listeners += engine.listeners.len();
        kept.left_out += had - engine.listeners.len();
        kept.engines += 1;
        kept.engines <= most_engines && (had == 0 || !engine.listeners.is_empty())
    });
    for (owner, kept) in kept {
        let engines_left_out = kept.engines.saturating_sub(ENGINES_OF_ONE);
        if kept.left_out == 0 && (owner.is_node() || engines_left_out == 0) {
            continue;
        }
        let hides = if owner.is_node() { Hides::Engine } else { Hides::Detail };
        let asked = format_args!("engines of {owner}");
        let answer = format_args!(
            "{} engines with {} listeners, {} listeners are kept",
            kept.engines,
            kept.listeners + kept.left_out,
            kept.listeners
        );
        Gap::new(Reason::LimitReached, hides, asked, answer).fold_into(gaps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::ContainerId;
    use crate::model::process::Process;
    use crate::model::sample::{dockerd, process};
    use crate::model::workload::Membership;

    fn of(uid: u32, pid: u32, listeners: usize) -> EngineSighting {
        let mut engine = dockerd();
        let mut owner = process(pid, "/usr/bin/dockerd");
        owner.uid = Some(uid);
        engine.process = Some(owner);
        engine.listeners = vec![engine.listeners[0].clone(); listeners];
        engine
    }

    /// An engine that only root's systemd listens for.
    fn unheld() -> EngineSighting {
        EngineSighting {
            process: None,
            ..dockerd()
        }
    }

    #[test]
    fn a_flood_of_one_user_displaces_no_other_engine() {
        let mut engines = vec![of(1000, 5, 2_100)];
        engines.extend((10..210).map(|pid| {
            let mut engine = of(1001, pid, 1);
            let of_user = Membership::of_container(ContainerId(format!("{pid:064x}")), Some(1001));
            engine.process = engine.process.map(|process| Process {
                membership: of_user,
                ..process
            });
            engine
        }));
        engines.extend((0..5_000).map(|_| EngineSighting {
            process: None,
            awaited_by: Some(1003),
            ..dockerd()
        }));
        engines.extend([of(0, 800, 2), of(1002, 900, 1), unheld()]);
        let mut gaps = Vec::new();
        bound(&mut engines, &mut gaps);
        let kept = |uid| {
            let of = engines.iter().filter(|e| e.owner().uid == uid);
            of.map(|e| e.listeners.len()).collect::<Vec<_>>()
        };
        assert_eq!(kept(Some(1000)), [64]);
        assert_eq!(
            kept(Some(1001)).len(),
            64,
            "a user's own names of cgroups are no other owners"
        );
        assert_eq!((kept(Some(0)), kept(Some(1002))), (vec![2], vec![1]));
        assert_eq!((kept(Some(1003)).len(), kept(None).len()), (64, 1));
        let hidden: Vec<_> = gaps.iter().map(|gap| (gap.hides, gap.count)).collect();
        assert_eq!(hidden, [(Hides::Detail, 3)]);
    }
}
