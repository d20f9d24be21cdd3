//! Processes that are not who they seem to be.

use castoff_tests::lab::cgroups::UnitCgroup;
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::places::Place;

use anyhow::Result;

use crate::case::{Case, Held, Said, UNIT};
use crate::paths::keep;
use crate::world::World;

const HOLDER: &str = "look: the holder";
/// The client program on the host, in no unit.
const PROGRAM: &[Said] = &[Said::Program("client", 0)];
/// The same, if a look comes between its connect and its execve(2).
const BEFORE_IT_EXECUTES: Said = Said::PerhapsProgram("client", 0);

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "reused",
        title: "exits, and a process of another unit gets its ID at once",
        how: "events: the process, by ID, start and cgroup; file times: the time",
        set: |world, case| reuse(world, case, "gone"),
        with: UNIT,
        without: &[Said::Unseen],
    },
    Case {
        name: "reused-passed",
        title: "passes its connection on and exits, and a process of another unit gets its ID at once",
        how: HOLDER,
        set: |world, case| reuse(world, case, "passed"),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "vforked",
        title: "connects after vfork(2), then executes another program",
        how: "look: what the holder executes",
        set: |world, case| on_host(world, case, "vforked"),
        with: &[Said::Program("executed", 0), BEFORE_IT_EXECUTES],
        without: &[Said::Program("executed", 0), BEFORE_IT_EXECUTES],
    },
    Case {
        name: "sibling",
        title: "held by a process that shares another's memory (`CLONE_VM`)",
        how: HOLDER,
        set: |world, case| on_host(world, case, "sibling"),
        with: PROGRAM,
        without: PROGRAM,
    },
    Case {
        name: "leaderless",
        title: "held by a thread of a process whose first thread has ended",
        how: "look: the remaining threads",
        set: |world, case| keep(world.client(case, &["leaderless"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "leaderless-host",
        title: "a thread of a host program outside of units, whose first thread has ended",
        how: "look: the remaining threads",
        set: |world, case| on_host(world, case, "leaderless"),
        with: PROGRAM,
        without: PROGRAM,
    },
    Case {
        name: "leaderless-away",
        title: "a thread in a network namespace of its own, whose first thread has ended",
        how: "look: the remaining threads",
        set: |world, case| {
            let place = Place::unit(&case.unit())?.network_namespace();
            let socket = world.socket(case).display().to_string();
            keep(clients::start(place, &["leaderless", &socket]))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "disguised",
        title: "takes the name and the arguments of a kubelet",
        how: "look: cgroup and program, never the name",
        set: |world, case| on_host(world, case, "disguised"),
        with: PROGRAM,
        without: PROGRAM,
    },
    Case {
        name: "undumpable",
        title: "a process whose files in procfs belong to root (`PR_SET_DUMPABLE`)",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["undumpable"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "root-group",
        title: "by a process that leaves its unit for the root cgroup",
        how: "look: its current cgroup",
        set: |world, case| {
            let unit = UnitCgroup::make(format!("/{}", case.unit()))?;
            let roots = unit.folders().iter().filter_map(|folder| folder.parent());
            let roots: Vec<String> = roots.map(|root| root.display().to_string()).collect();
            let socket = world.socket(case).display().to_string();
            let mut mode = vec!["moved", &socket];
            mode.extend(roots.iter().map(String::as_str));
            // It may be seen between its connect and its move.
            world.may_have(case, vec![format!("unit {}", case.unit())]);
            keep(clients::start(Place::host().cgroup(unit), &mode))
        },
        with: PROGRAM,
        without: PROGRAM,
    },
];

fn on_host(world: &World, case: &Case, mode: &str) -> Result<Held> {
    let socket = world.socket(case).display().to_string();
    keep(clients::start(Place::host(), &[mode, &socket]))
}

/// Runs a client of the case's unit whose ID a process of another unit gets.
fn reuse(world: &World, case: &Case, how: &str) -> Result<Held> {
    let other = UnitCgroup::make(format!("/system.slice/castoff-evasion-{}-later.service", case.name))?;
    let folders: Vec<String> = other
        .folders()
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let socket = world.socket(case).display().to_string();
    let mut mode = vec!["reused", &socket, how];
    mode.extend(folders.iter().map(String::as_str));
    let client: Client = clients::start(Place::unit(&case.unit())?, &mode)?;
    keep(Ok((client, other)))
}
