//! Connections that were made before the agents started. Nothing connects or is handed over afterwards.

use castoff_tests::lab::clients::{self, Connector};
use castoff_tests::lab::places::Place;

use crate::case::{Case, Said, UNIT};
use crate::paths::keep;

const HOLDER: &str = "look: the holder";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "before",
        title: "made before castoff started",
        how: HOLDER,
        set: |world, case| keep(world.client(case, &["hold"])),
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "passed-before",
        title: "made and passed by `SCM_RIGHTS` before castoff started; the process that connected has exited",
        how: HOLDER,
        set: |world, case| {
            let place = Place::unit(&case.unit())?;
            keep(clients::hand_by_message(&world.socket(case), Connector::Leaves, place))
        },
        with: UNIT,
        without: UNIT,
    },
    Case {
        name: "own-table-before",
        title: "held by a thread with a table of descriptors of its own since before castoff started",
        how: "the kernel's iterator: the holder",
        set: |world, case| keep(world.client(case, &["thread"])),
        with: UNIT,
        without: &[Said::Unnamed],
    },
    Case {
        name: "pod-before",
        title: "a pod that connected before castoff started",
        how: HOLDER,
        set: |world, case| keep(world.pod(case, &world.socket(case), "/x", "/x")),
        with: &[Said::Pod, Said::Exposed("socket")],
        without: &[Said::Pod, Said::Exposed("socket")],
    },
];
