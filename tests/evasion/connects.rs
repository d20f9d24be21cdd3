//! Connections that are short, hidden behind a name, or not made by connect(2) of the C library.

use castoff_tests::lab::cgroups::UnitCgroup;
use castoff_tests::lab::clients;
use castoff_tests::lab::places::{ORDINARY_UID, Place};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::case::{Case, Said, UNIT};
use crate::paths::keep;

const HOLDER: &str = "look: the holder";
const CLOCK: &str = "events: the process; file times: the time";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "short",
        title: "a process that connects and exits at once",
        how: CLOCK,
        set: |world, case| {
            let path = world.socket(case).display().to_string();
            keep(clients::start(Place::unit(&case.unit())?, &["burst", &path, "5"]))
        },
        with: UNIT,
        without: &[Said::Unseen],
    },
    Case {
        name: "wiped",
        title: "the socket's times are set back after a short use",
        how: "events: the process",
        set: |world, case| keep(world.client(case, &["wiped"])),
        with: UNIT,
        without: &[Said::NoMark],
    },
    Case {
        name: "io-uring",
        title: "connects through io_uring",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["ring", "connect"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "compat",
        title: "connects by the system calls of 32-bit programs",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["compat"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "half",
        title: "shuts down one direction of its connection",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["half"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "wrong-kind",
        title: "connects as a datagram or `SOCK_SEQPACKET` socket, which the kernel refuses",
        how: "the engine was not used",
        set: |world, case| keep(world.client(case, &["wrong"])),
        with: &[],
        without: &[],
    },
    Case {
        name: "called",
        title: "calls itself `ctr`",
        how: "look: cgroup and program, never the name",
        set: |world, case| keep(world.client(case, &["called", "ctr"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "unlinked",
        title: "removes its own program",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["unlinked"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "memory",
        title: "runs from memory (`memfd`) under the name `ctr`",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["memory", "ctr"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "user",
        title: "an ordinary user in a user and a network namespace of his own",
        how: HOLDER,
        set: |world, case| {
            let socket = world.socket(case);
            fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
            keep(clients::hold(&socket, Place::rootless().network_namespace()))
        },
        with: &[Said::Program("client", ORDINARY_UID)],
        without: &[Said::Program("client", ORDINARY_UID)],
    },
    Case {
        name: "deep",
        title: "user, process, mount and network namespaces of its own",
        how: HOLDER,
        set: |world, case| {
            // The root of its own user namespace has no rights over the machine's files.
            fs::set_permissions(world.socket(case), Permissions::from_mode(0o666))?;
            keep(world.client(case, &["deep"]))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "ssh",
        title: "a login session of `docker -H ssh://`",
        how: HOLDER,
        set: |world, case| {
            let session = UnitCgroup::make("/user.slice/user-61234.slice/session-7.scope")?;
            let place = Place::host().cgroup(session);
            keep(clients::hold(&world.socket(case), place))
        },
        with: &[Said::Session(61_234)],
        without: &[Said::Session(61_234)],
    },
];
