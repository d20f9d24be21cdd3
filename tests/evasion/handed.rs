//! Connections that are held by others than their makers, or that no table of descriptors shows.

use castoff_tests::lab::clients::{self, Connector};
use castoff_tests::lab::places::Place;

use crate::case::{Case, Said, UNIT};
use crate::paths::{keep, keep_with_mount};

const HOLDER: &str = "look: the holder";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "forked",
        title: "inherited by a child; the process that connected exits",
        how: HOLDER,
        set: |world, case| {
            let place = Place::unit(&case.unit())?;
            keep(clients::hand_by_fork(&world.socket(case), Connector::Leaves, place))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "passed",
        title: "passed by `SCM_RIGHTS`; the process that connected exits",
        how: HOLDER,
        set: |world, case| {
            let place = Place::unit(&case.unit())?;
            keep(clients::hand_by_message(&world.socket(case), Connector::Leaves, place))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "stolen",
        title: "taken out of another process by `pidfd_getfd`",
        how: HOLDER,
        set: |world, case| {
            let victim = clients::hold(&world.socket(case), Place::host())?;
            let pid = victim.holder().to_string();
            let thief = clients::start(Place::unit(&case.unit())?, &["stolen", &pid])?;
            keep(Ok((victim, thief)))
        },
        with: &[Said::Unit, Said::Program("client", 0)],
        without: &[Said::Unit, Said::Program("client", 0)],
    },
    Case {
        name: "in-flight",
        title: "sent by `SCM_RIGHTS` and never received",
        how: "events: the process; look: the connection",
        set: |world, case| keep(world.client(case, &["flight"])),
        with: &[Said::Unit, Said::Unnamed],
        without: &[Said::Unnamed],
    },
    Case {
        name: "registered",
        title: "kept only in io_uring's table of files",
        how: "events: the process; look: the connection",
        set: |world, case| keep(world.client(case, &["ring", "registered"])),
        with: &[Said::Unit, Said::Unnamed],
        without: &[Said::Unnamed],
    },
    Case {
        name: "own-table",
        title: "held by a thread with a table of descriptors of its own",
        how: "the kernel's iterator: the holder",
        set: |world, case| keep(world.client(case, &["thread"])),
        with: UNIT,
        without: &[Said::Unnamed],
    },
    Case {
        name: "shared-table",
        title: "held by a process with another's table of descriptors (`CLONE_FILES`)",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["table"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "left-network",
        title: "made in a network namespace that only a mount keeps",
        how: HOLDER,
        set: |world, case| {
            let file = world.beside(case, "net");
            let client = world.client(case, &["away", &file.to_string_lossy()]);
            keep_with_mount(client, file)
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "moved-group",
        title: "by a process that moves to another cgroup",
        how: "look: its current cgroup",
        set: |world, case| {
            let elsewhere =
                castoff_tests::lab::cgroups::UnitCgroup::make("/system.slice/castoff-evasion-elsewhere.service")?;
            let folders: Vec<String> = elsewhere.folders().iter().map(|f| f.display().to_string()).collect();
            let socket = world.socket(case).display().to_string();
            let mut mode = vec!["moved", &socket];
            mode.extend(folders.iter().map(String::as_str));
            // It may be seen between its connect and its move.
            world.may_have(case, vec![format!("unit {}", case.unit())]);
            let client = clients::start(Place::unit(&case.unit())?, &mode)?;
            keep(Ok((client, elsewhere)))
        },
        with: &[Said::OtherUnit("castoff-evasion-elsewhere.service")],
        without: &[Said::OtherUnit("castoff-evasion-elsewhere.service")],
    },
];
