//! `tests/run demo`, started and ended like by a user: its addresses, its page, and the report of the README.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::browser::Browser;
use castoff_tests::lab::packages;
use rustix::process::{Pid, Signal, kill_process};

use crate::{DESK, axe_reports_nothing, pictures, text};

/// The report of the README has clients that come and go. All of them connect within this time.
const ALL_CLIENTS: [&str; 2] = ["--sample", "16s"];
/// Parts of paths that only this machine has.
const OF_THE_LAB: [&str; 4] = ["castoff-lab", "/tmp/", "/target/", ".cache"];

#[test]
fn the_demo_has_usual_paths_and_ends_cleanly_on_ctrl_c() -> Result<()> {
    let before = traces()?;
    let demo = Demo::start()?;
    let seen = look_at(&demo);
    demo.end()?;
    seen?;
    ensure!(traces()? == before, "{before:#?}\n{:#?}", traces()?);
    Ok(())
}

fn look_at(demo: &Demo) -> Result<()> {
    for name in ["the page", "alerts"] {
        TcpStream::connect(demo.address(name)?).with_context(|| name.to_owned())?;
    }
    let said = demo.check(&ALL_CLIENTS)?;
    without_paths_of_the_lab(&said)?;
    rows_of_the_readme_are_in(&said)?;

    let browser = Browser::start()?;
    browser.show(false, DESK.0, DESK.1)?;
    browser.load(&format!("http://{}/", demo.address("the page")?))?;
    let shown = text(&browser)?;
    without_paths_of_the_lab(&shown)?;
    for words in ["Node worker-1", "registry-gc.service", "unknown for 13 h"] {
        ensure!(shown.contains(words), "no {words:?} in {shown}");
    }
    axe_reports_nothing(&browser, "of the demo")?;
    // agent/docs/page.png is a copy of it.
    let picture = pictures()?.join("demo.png");
    browser.photograph_down_to(".clients", &picture)?;
    println!("see {}", picture.display());
    Ok(())
}

fn without_paths_of_the_lab(said: &str) -> Result<()> {
    let is_of_the_lab = |line: &&str| OF_THE_LAB.iter().any(|part| line.contains(part));
    let lines: Vec<&str> = said.lines().filter(is_of_the_lab).collect();
    ensure!(lines.is_empty(), "{lines:#?}");
    Ok(())
}

/// The README's report has the same names in its tables as that of the demo. Versions are those of the machine's Debian.
fn rows_of_the_readme_are_in(said: &str) -> Result<()> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).context("read the README")?;
    let (_, sample) = readme.split_once("$ castoff check\n").context("a report")?;
    let tables = |text: &str| {
        let lines = text.lines().skip_while(|line| *line != "ENGINES");
        let lines = lines.take_while(|line| *line != "FINDINGS");
        let lines = lines.filter(|line| line.starts_with("  ")).map(names);
        lines.collect::<BTreeSet<_>>()
    };
    let (told, seen) = (tables(sample), tables(said));
    ensure!(told.len() > 10, "{told:#?}");
    let missing: Vec<_> = told.difference(&seen).collect();
    ensure!(missing.is_empty(), "in the README alone: {missing:#?}\n{said}");
    Ok(())
}

/// Returns the first two columns of a row. The ID of a container is another one each time.
fn names(row: &str) -> Vec<String> {
    let columns = row.split("  ").map(str::trim).filter(|column| !column.is_empty());
    let is_id = |column: &str| column.len() == 12 && column.bytes().all(|byte| byte.is_ascii_hexdigit());
    columns
        .take(2)
        .map(|column| if is_id(column) { "ID" } else { column }.to_owned())
        .collect()
}

/// Returns what the demo would leave behind: mounts, and files at the paths that it covers.
fn traces() -> Result<(String, Vec<BTreeSet<String>>)> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let folders = ["/etc", "/run", "/usr/local/bin", "/var/lib"].map(|folder| {
        let entries = fs::read_dir(folder).with_context(|| folder.to_owned())?;
        entries
            .map(|entry| Ok(entry?.path().display().to_string()))
            .collect::<Result<BTreeSet<_>>>()
    });
    Ok((mounts, folders.into_iter().collect::<Result<_>>()?))
}

/// A running demo. It is killed if it is dropped before its end.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    shown: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

impl Demo {
    /// Starts it and waits until it has printed its addresses.
    fn start() -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_castoff-lab"))
            .arg("demo")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the demo")?;
        let mut errors = child.stderr.take().context("a pipe")?;
        let errors = std::thread::spawn(move || {
            let mut said = String::new();
            let _ = errors.read_to_string(&mut said);
            said
        });
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let mut demo = Self {
            child,
            lines,
            shown: Vec::new(),
            errors: Some(errors),
        };
        while let Some(line) = demo.lines.next() {
            demo.shown.push(line?);
            if demo.shown.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
                return Ok(demo);
            }
        }
        demo.end()?;
        anyhow::bail!("it has ended by itself")
    }

    /// Returns the rest of the line that begins with this name.
    fn value(&self, name: &str) -> Result<&str> {
        let mut lines = self.shown.iter().map(|line| line.trim_start());
        let value = lines.find_map(|line| line.strip_prefix(name));
        Ok(value.with_context(|| format!("{name} in {:?}", self.shown))?.trim())
    }

    /// Returns the host and port of an address.
    fn address(&self, name: &str) -> Result<&str> {
        let address = self.value(name)?.strip_prefix("http://").context("an address")?;
        address.split('/').next().context("a host and a port")
    }

    /// Runs `castoff check` as the demo says.
    fn check(&self, options: &[&str]) -> Result<String> {
        let command = format!("{} {} || [ $? = 1 ]", self.value("once more")?, options.join(" "));
        packages::output(Command::new("sh").args(["-c", &command]))
    }

    /// Ends it with Ctrl-C.
    fn end(mut self) -> Result<()> {
        let room_of = format!("castoff-lab.{}x", self.child.id());
        // It may have ended already, with the reason among its errors.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let rest: Vec<String> = self.lines.by_ref().collect::<Result<_, _>>()?;
        let status = self.child.wait()?;
        let said = self.errors.take().and_then(|errors| errors.join().ok());
        ensure!(status.code() == Some(0), "{status}\n{said:?}\n{rest:?}");
        let last = rest.last().map_or("", String::as_str);
        ensure!(last.contains("nothing is left"), "{rest:?}");
        for entry in fs::read_dir(std::env::temp_dir())? {
            let name = entry?.file_name().display().to_string();
            ensure!(!name.starts_with(&room_of), "{name} is left");
        }
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
