//! `castoff cluster` against an API server with thousands of nodes, each agent 20 ms away: time, memory and requests,
//! and their growth. The server is simulated; castoff is the shipped program.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::fake::api::{FakeApi, report_clear, report_used_by};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::process::{cpu_time, peak_memory};
use serde_json::Value;

use crate::figures::{Figure, mebibytes, table, times};
use crate::tools::seconds;

/// The numbers of nodes.
const SIZES: [u32; 3] = [1_250, 5_000, 20_000];
/// The number of nodes of the largest cluster, which is measured as a table and takes minutes, and the minimum `--for`
/// in seconds for which it is measured.
const LARGEST: u32 = 100_000;
const LONG: u64 = 240;
/// The round trip from the API server to an agent.
const AWAY: Duration = Duration::from_millis(20);
/// The placeholder of a node's name in a report that was written once.
const NAME: &str = "@node@";

/// The measurements of one fleet.
#[derive(Debug)]
pub(crate) struct Measured {
    nodes: u32,
    format: &'static str,
    wall: Duration,
    /// The time until the first output.
    first: Duration,
    cpu: Duration,
    /// The peak in KiB.
    peak: usize,
    requests: u64,
    bytes: usize,
    /// The number of printed rows; none if the format has no row for each node.
    rows: Option<usize>,
}

/// Measures each size as table and JSON, and one as a page.
pub(crate) fn measure(say: impl Fn(&str)) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let api = runtime.block_on(FakeApi::start())?;
    api.script().forgets = true;
    api.script().fleet.delay = AWAY;
    api.script().fleet.report = report;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig())?;
    let mut all = Vec::new();
    for nodes in SIZES {
        grow(&api, nodes);
        for format in ["json", "table", "html"] {
            say(&format!("castoff cluster -o {format}, {nodes} nodes"));
            all.push(look(&api, &kubeconfig.to_string_lossy(), nodes, format)?);
        }
    }
    if seconds(0) >= LONG {
        grow(&api, LARGEST);
        say(&format!("castoff cluster -o table, {LARGEST} nodes"));
        all.push(look(&api, &kubeconfig.to_string_lossy(), LARGEST, "table")?);
    }
    Ok(all)
}

/// One node in fifty has no agent, and one in two hundred runs Windows.
fn grow(api: &FakeApi, nodes: u32) {
    let fleet = &mut api.script().fleet;
    for at in 0..nodes {
        let name = format!("node-{at:06}.pool-{}.example.internal", at % 7);
        match at {
            at if at % 200 == 3 => fleet.add_node(&name, &[("kubernetes.io/os", "windows")]),
            at if at % 50 == 7 => fleet.add_node(&name, &[("kubernetes.io/os", "linux")]),
            _ => fleet.add(&name),
        }
    }
}

/// One node in ten is in use, by one of some hundreds of workloads.
fn report(node: &str) -> String {
    static WRITTEN: OnceLock<[String; 2]> = OnceLock::new();
    let [clear, used] = WRITTEN.get_or_init(|| {
        let used = report_used_by(NAME, "team-@user@", "builder-@user@");
        [report_clear(NAME).to_string(), used.to_string()]
    });
    let number = node
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0_u32, |n, digit| n.wrapping_mul(10) + u32::from(digit - b'0'));
    if number.is_multiple_of(10) {
        used.replace(NAME, node)
            .replace("@user@", &(number / 10 % 300).to_string())
    } else {
        clear.replace(NAME, node)
    }
}

fn look(api: &FakeApi, kubeconfig: &str, nodes: u32, format: &'static str) -> Result<Measured> {
    let before = api.script().requests;
    let start = Instant::now();
    let mut child = Command::new(castoff_binary()?)
        .args(["cluster", "-o", format, "--kubeconfig", kubeconfig])
        .stdout(Stdio::piped())
        .spawn()
        .context("castoff cluster")?;
    let mut out = child.stdout.take().context("a pipe")?;
    let reader = thread::spawn(move || {
        let mut text = vec![0];
        out.read_exact(&mut text)?;
        let first = start.elapsed();
        out.read_to_end(&mut text)?;
        Ok::<_, std::io::Error>((first, String::from_utf8_lossy(&text).into_owned()))
    });
    let (mut peak, mut cpu) = (0, Duration::ZERO);
    let status = loop {
        // Of the program alone: the value of wait4(2) would include this process's own.
        peak = peak.max(peak_memory(child.id()).unwrap_or(0));
        cpu = cpu.max(cpu_time(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let wall = start.elapsed();
    let (first, text) = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    ensure!(
        status.code() == Some(1),
        "castoff cluster ended with {status}: {text:.2000}"
    );
    Ok(Measured {
        nodes,
        format,
        wall,
        first,
        cpu,
        peak,
        requests: api.script().requests - before,
        bytes: text.len(),
        rows: rows(format, &text)?,
    })
}

fn rows(format: &str, text: &str) -> Result<Option<usize>> {
    Ok(match format {
        "json" => {
            let document: Value = serde_json::from_str(text)?;
            document["nodes"].as_array().map(Vec::len)
        }
        "table" => {
            let (rows, _) = text.split_once("\n\n").context("rows, then what holds for all")?;
            Some(rows.lines().count() - 1)
        }
        _ => None,
    })
}

/// Fails unless every node has its row.
pub(crate) fn ensure_none_is_left_out(all: &[Measured]) -> Result<()> {
    for one in all {
        let rows = one.rows.unwrap_or(one.nodes as usize);
        ensure!(
            rows == one.nodes as usize,
            "of {} nodes {rows} have a row in {}",
            one.nodes,
            one.format
        );
    }
    Ok(())
}

pub(crate) fn print(all: &[Measured]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            vec![
                format!("{} nodes, {}", one.nodes, one.format),
                format!("{:.2} s", one.wall.as_secs_f64()),
                format!("{:.2} s", one.first.as_secs_f64()),
                format!("{:.2} s", one.cpu.as_secs_f64()),
                format!("{:.1} MiB", one.mebibytes()),
                one.requests.to_string(),
                format!("{} KiB", one.bytes / 1024),
            ]
        })
        .collect();
    let heading = [
        "castoff cluster",
        "time",
        "first line",
        "CPU",
        "peak",
        "requests",
        "printed",
    ];
    table("A whole cluster, each agent 20 ms away, 50 at a time", &heading, &rows)
}

impl Measured {
    fn mebibytes(&self) -> f64 {
        mebibytes(self.peak as u64 * 1024)
    }
}

pub(crate) fn figures(all: &[Measured]) -> Vec<Figure> {
    let of = |nodes, format| all.iter().find(|one| one.nodes == nodes && one.format == format);
    let mut figures = Vec::new();
    if let (Some(small), Some(large)) = (of(SIZES[1], "table"), of(SIZES[2], "table")) {
        figures.push(Figure::at_most(
            "first line of 5,000 nodes",
            small.first.as_secs_f64(),
            1.0,
            "s",
        ));
        figures.push(Figure::at_most(
            "first line of 20,000 nodes",
            large.first.as_secs_f64(),
            1.0,
            "s",
        ));
        figures.push(Figure::at_most(
            "time, 20,000 nodes beside 5,000",
            times(large.wall, small.wall),
            4.4,
            "×",
        ));
        figures.push(Figure::at_most(
            "memory, 20,000 nodes beside 5,000",
            large.mebibytes() / small.mebibytes(),
            1.5,
            "×",
        ));
        let each = f64::from(u32::try_from(large.requests).unwrap_or(u32::MAX)) / f64::from(large.nodes);
        figures.push(Figure::at_most("requests for each node", each, 1.02, ""));
        if let Some(largest) = of(LARGEST, "table") {
            let growth = largest.mebibytes() / small.mebibytes();
            figures.push(Figure::at_most("memory, 100,000 nodes beside 5,000", growth, 1.5, "×"));
        }
    }
    figures
}
