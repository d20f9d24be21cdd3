//! Nothing that a test starts is left behind, however the test ends: tests of the keeper program, which the kernel
//! informs when a test dies.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::wait;

const KEEPER: &str = env!("CARGO_BIN_EXE_castoff-lab");
/// Ignores SIGTERM, and orphans a child in a session of its own, like a stubborn daemon's shim.
const STUBBORN: &str = r#"trap "" TERM
(setsid sleep 1000 & echo $! > orphan)
echo $$ > daemon
while true; do sleep 1; done"#;

#[test]
fn a_stubborn_daemon_and_its_orphans_end_with_their_starter() -> Result<()> {
    let room = room("stubborn")?;
    let keeper = keep(&room, &["/bin/sh", "-c", STUBBORN])?;
    let daemon = read_pid(&room.join("daemon"))?;
    let orphan = read_pid(&room.join("orphan"))?;

    end(keeper, "")?;
    assert!(!lives(daemon) && !lives(orphan));
    assert!(!room.exists());
    Ok(())
}

#[test]
fn a_mount_is_removed_before_the_room_and_its_source_stays() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    fs::write(elsewhere.path().join("precious"), "")?;
    let room = room("mounted")?;
    fs::create_dir(room.join("mount"))?;
    let mount = format!(
        "mount --bind {} mount; touch ready; sleep 1000",
        elsewhere.path().display()
    );
    let keeper = keep(&room, &["/bin/sh", "-c", &mount])?;
    wait_for(&room.join("ready"))?;

    end(keeper, "")?;
    assert!(!room.exists());
    assert!(elsewhere.path().join("precious").exists());
    Ok(())
}

#[test]
fn a_thing_that_cannot_be_removed_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let room = room("named")?;
    let keeper = keep(&room, &[])?;

    // A directory is not a file.
    let refusal = end(keeper, &format!("file {}\n", folder.path().display()));
    let refusal = refusal
        .err()
        .context("the keeper claims to have removed it")?
        .to_string();
    assert!(refusal.contains(&folder.path().display().to_string()), "{refusal}");
    Ok(())
}

fn room(name: &str) -> Result<PathBuf> {
    let room = std::env::temp_dir().join(format!("castoff-keeper.{}-{name}", std::process::id()));
    fs::create_dir(&room)?;
    Ok(room)
}

fn keep(room: &Path, daemon: &[&str]) -> Result<Child> {
    let mut keeper = Command::new(KEEPER)
        .arg("keep")
        .arg(room)
        .arg("100")
        .args(daemon)
        .current_dir(room)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut answer = String::new();
    BufReader::new(keeper.stdout.take().context("a pipe")?).read_line(&mut answer)?;
    ensure!(answer.starts_with("keeping "), "{answer}");
    Ok(keeper)
}

/// Sends the keeper its last tasks and closes the pipe, like the kernel does when the starter dies.
fn end(mut keeper: Child, orders: &str) -> Result<()> {
    let mut pipe = keeper.stdin.take().context("a pipe")?;
    pipe.write_all(orders.as_bytes())?;
    drop(pipe);
    let mut errors = String::new();
    keeper.stderr.take().context("a pipe")?.read_to_string(&mut errors)?;
    ensure!(keeper.wait()?.success(), "{errors}");
    Ok(())
}

fn read_pid(file: &Path) -> Result<u32> {
    wait_for(file)?;
    Ok(fs::read_to_string(file)?.trim().parse()?)
}

fn wait_for(file: &Path) -> Result<()> {
    wait::until(&file.display().to_string(), Duration::from_secs(10), || {
        let content = fs::read_to_string(file)?;
        ensure!(content.ends_with('\n') || file.ends_with("ready"), "it is not whole");
        Ok(())
    })
}

fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).join("exe").exists()
}
