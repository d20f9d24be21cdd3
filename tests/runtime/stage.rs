//! A stage is a machine of its own, whatever is installed on the machine that runs the tests.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::stage::Stage;
use serde_json::Value;

/// Installs a Docker with the files of packages, the snap and Flatcar, on a private copy of the machine, and runs the
/// rest there.
const WITH_DOCKER: &str = r#"
mount -t tmpfs tmpfs /mnt
for folder in etc opt usr var; do
    mkdir -p /mnt/$folder/new /mnt/$folder/work
    mount -t overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/new,workdir=/mnt/$folder/work overlay /$folder
done
mkdir -p /etc/docker /etc/systemd/system/multi-user.target.wants /opt/bin /usr/local/sbin /usr/lib/systemd/system
mkdir -p /var/lib/docker/containers/x /var/snap/docker/common/var-lib-docker/x /var/snap/docker/current/config
for program in /usr/bin/dockerd /usr/sbin/dockerd /usr/bin/dockerd-ce /usr/bin/balena-engine-daemon /usr/local/bin/dockerd \
    /usr/local/sbin/dockerd /opt/bin/dockerd; do
    rm -f $program
    printf '#!/bin/sh\n' > $program
    chmod 755 $program
done
echo '{"data-root": "/var/lib/docker"}' > /etc/docker/daemon.json
cp /etc/docker/daemon.json /var/snap/docker/current/config
echo x > /var/lib/docker/containers/x/config.v2.json
echo x > /var/snap/docker/common/var-lib-docker/x/y
echo '[Service]' > /usr/lib/systemd/system/docker.service
ln -sf /usr/lib/systemd/system/docker.service /etc/systemd/system/multi-user.target.wants
exec "$@"
"#;

#[test]
fn a_docker_on_the_machine_is_invisible_on_a_stage() -> Result<()> {
    let mut again = Command::new("unshare");
    again.args(["--mount", "sh", "-ec", WITH_DOCKER, "sh"]);
    again.arg(env::current_exe().context("ask for this test's program")?);
    again.args(["--exact", "--ignored", "--nocapture", "stage::on_a_machine_with_docker"]);
    let output = again.env("CASTOFF_BIN", castoff_binary()?).output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

#[test]
#[ignore = "the test above runs it where a Docker is installed"]
fn on_a_machine_with_docker() -> Result<()> {
    for file in ["/usr/bin/dockerd", "/etc/docker/daemon.json"] {
        ensure!(Path::new(file).is_file(), "no {file} is on this machine");
    }
    let stage = Stage::start(&[])?;
    let output = stage
        .command(castoff_binary()?)
        .args(["check", "-o", "json"])
        .output()?;
    let report: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    // Without a kubelet on the stage castoff takes it for a container, so the verdict proves nothing here.
    let seen = report["findings"].as_array().context("a report has findings")?;
    let left_over = seen.iter().find(|finding| finding["code"] == "engine-left-over");
    ensure!(left_over.is_none(), "seen on the stage: {left_over:?}");
    Ok(())
}
