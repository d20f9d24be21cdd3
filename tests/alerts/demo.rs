//! `tests/run demo`, started and ended like by a user.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_demo_prints_its_addresses_and_ends_cleanly_on_ctrl_c() -> Result<()> {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_castoff-lab"))
        .arg("demo")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the demo")?;
    let room_of = format!("castoff-lab.{}x", demo.id());
    let mut errors = demo.stderr.take().context("a pipe")?;
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        errors.read_to_string(&mut said).map(|_| said)
    });
    let mut lines = BufReader::new(demo.stdout.take().context("a pipe")?).lines();
    let mut shown = Vec::new();
    for line in lines.by_ref() {
        shown.push(line?);
        if shown.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
            break;
        }
    }
    let address = |name: &str| -> Result<String> {
        let line = shown.iter().find(|line| line.trim_start().starts_with(name));
        let line = line.with_context(|| format!("{name} in {shown:?}"))?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        Ok(address.context("an address")?.to_owned())
    };
    let mut refused = Vec::new();
    for name in ["the page", "alerts"] {
        let address = address(name);
        if !address
            .as_ref()
            .is_ok_and(|address| std::net::TcpStream::connect(address).is_ok())
        {
            refused.push(format!("{name}: {address:?}"));
        }
    }
    kill_process(Pid::from_child(&demo), Signal::INT)?;
    let rest: Vec<String> = lines.collect::<Result<_, _>>()?;
    let status = demo.wait()?;
    let said = said.join().ok().context("reads")??;
    ensure!(refused.is_empty(), "{refused:?}\n{said}");
    ensure!(status.code() == Some(0), "{status}\n{said}\n{rest:?}");
    ensure!(
        rest.last().is_some_and(|line| line.contains("nothing is left")),
        "{rest:?}"
    );
    for entry in std::fs::read_dir(std::env::temp_dir())? {
        let name = entry?.file_name();
        ensure!(!name.to_string_lossy().starts_with(&room_of), "{name:?} is left");
    }
    Ok(())
}
