//! The node: Debian's packages with the files in `root`, started by `init`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use castoff_tests::lab::guests::{Answers, Guest, debian};
use castoff_tests::lab::image::Image;
use castoff_tests::lab::images;
use castoff_tests::lab::kernels;
use castoff_tests::lab::modules::{self, Module};
use castoff_tests::lab::packages::Programs;
use castoff_tests::lab::suites::Suite;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/castoff.service");
/// The release whose kernel, systemd, containerd and Docker the node has.
const SUITE: Suite = Suite::Bookworm;

/// Boots the node and returns its results.
pub(crate) fn run() -> Result<Answers> {
    let kernel = kernels::kernel(SUITE)?;
    let kubelet = modules::build(Module::Kubernetes)?.join("kubernetes");
    let folder = tempfile::tempdir().context("make a folder for images")?;
    let client = images::client()?;
    let files = [
        ("init", PathBuf::from(HERE).join("init")),
        ("opt/unix_diag.ko", kernel.unix_diag.clone()),
        ("opt/pause.tar", images::write_pause(folder.path())?),
        ("opt/lab.tar", images::write_lab(folder.path(), &Programs::debian()?)?),
        ("usr/bin/kubelet", kubelet),
        ("usr/bin/client", client),
        ("usr/local/bin/castoff", Image::of_this_tree()?.program()),
        ("etc/systemd/system/castoff.service", PathBuf::from(UNIT)),
    ];
    let guest = Guest {
        kernel: &kernel,
        // Docker needs a program of AppArmor's package where the kernel has AppArmor.
        parameters: "rdinit=/init apparmor=0 systemd.unit=test.target",
        memory: 2560,
        trees: &[debian::tree(SUITE)?, PathBuf::from(HERE).join("root")],
        files: &files,
    };
    guest.run().context("the node")
}
