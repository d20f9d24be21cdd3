//! `castoff check`: one look at this node, or many within `--sample`.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Check, Colour, HostArgs, Output};
use super::{CANNOT_TELL, FOUND, OK, print};
use crate::agent::Agent;
use crate::config::{DEFAULT_WINDOW, Look, Mistakes, Reader};
use crate::findings::Settings;
use crate::findings::report::{Report, Verdict};
use crate::model::history::History;
use crate::model::reading::Hides;
use crate::sinks::render::json::render_json;
use crate::sinks::render::style::Style;
use crate::sinks::render::table::render_table;
use crate::sources::HostPaths;

/// From the end of one look of a sample to the start of the next: what comes and goes within it is missed, and a look
/// costs a few milliseconds.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn check(args: &Check) -> anyhow::Result<u8> {
    let (look, sample) = resolve(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let report = runtime.block_on(look_for(look, sample))?;
    // A walk that hangs in the kernel must not keep the answer.
    runtime.shutdown_background();
    print(&match args.output {
        Output::Table => render_table(&report, &style(args.colour, false)),
        Output::Wide => render_table(&report, &style(args.colour, true)),
        Output::Json => render_json(&report).context("writing the report as JSON")?,
    })?;
    Ok(exit_code(&report, &args.fail_on))
}

async fn look_for(look: Look, sample: Duration) -> anyhow::Result<Report> {
    let settings = Settings {
        node: look.node.clone(),
        window: DEFAULT_WINDOW,
    };
    let mut agent = Agent::new(look, settings, History::default());
    let end = Instant::now() + sample;
    let mut report = agent.look().await;
    // Until now there was nothing to print, and an interrupt simply ended castoff.
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for an interrupt")?;
    while Instant::now() < end {
        let next = async {
            tokio::time::sleep(PAUSE).await;
            agent.look().await
        };
        tokio::select! {
            biased;
            _ = interrupt.recv() => break, // what was seen until now is an answer
            seen = next => report = seen,
        }
    }
    Ok(report)
}

/// One look.
pub(super) async fn look_once(look: Look) -> Report {
    let settings = Settings {
        node: look.node.clone(),
        window: DEFAULT_WINDOW,
    };
    Agent::new(look, settings, History::default()).look().await
}

fn resolve(args: &Check) -> Result<(Look, Duration), Mistakes> {
    let mut reader = Reader::default();
    let look = look(&mut reader, &args.host);
    let most = Duration::from_secs(3600);
    let sample = args
        .sample
        .as_ref()
        .map_or(Duration::ZERO, |s| reader.duration("--sample", s, Duration::ZERO, most));
    reader.finish()?;
    Ok((look, sample))
}

/// What the arguments of every looking command mean.
pub(super) fn look(reader: &mut Reader, args: &HostArgs) -> Look {
    let proc = reader.directory("--proc", &args.proc);
    let root = match &args.host_root {
        Some(root) => reader.directory("--host-root", root),
        None => HostPaths::find_root(&proc),
    };
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    Look {
        runtime_endpoint: reader.text("--runtime-endpoint", args.runtime_endpoint.as_deref()),
        runtime_timeout: reader.duration("--runtime-timeout", &args.runtime_timeout, least, most),
        node: reader.text("--node-name", args.node_name.as_deref()).or_else(node_name),
        host: HostPaths { proc, root },
    }
}

fn node_name() -> Option<String> {
    let downward = std::env::var("NODE_NAME").ok().filter(|name| !name.trim().is_empty());
    downward.or_else(|| rustix::system::uname().nodename().to_str().ok().map(str::to_owned))
}

fn style(colour: Colour, wide: bool) -> Style {
    let terminal = io::stdout().is_terminal();
    let colour = match colour {
        Colour::Always => true,
        Colour::Never => false,
        // https://no-color.org
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    Style {
        colour,
        wide,
        width: terminal.then(terminal_width).flatten(),
    }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// The exit code, a contract: see [`super`].
fn exit_code(report: &Report, fail_on: &str) -> u8 {
    let bar = Verdict::ALL.iter().position(|v| v.code() == fail_on);
    let at = Verdict::ALL.iter().position(|v| *v == report.verdict);
    match report.verdict {
        Verdict::Unknown => CANNOT_TELL,
        // Worst first: at or before the bar is at or above it.
        _ if at <= bar => FOUND,
        // The one verdict that is given with sights missing: what hides the runtime may hide the one worse.
        Verdict::InUse if hides_the_runtime(report) => CANNOT_TELL,
        _ => OK,
    }
}

fn hides_the_runtime(report: &Report) -> bool {
    let mut gaps = report.sources.iter().flat_map(|source| &source.gaps);
    gaps.any(|gap| gap.hides == Hides::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::{Gap, Reason};
    use crate::sinks::sample;

    #[test]
    fn the_exit_code_is_by_verdict_and_bar() {
        for (verdict, bar, code) in [
            (Verdict::Runtime, "runtime", FOUND),
            (Verdict::InUse, "runtime", OK),
            (Verdict::InUse, "in-use", FOUND),
            (Verdict::InUse, "exposed", FOUND),
            (Verdict::Exposed, "exposed", FOUND),
            (Verdict::Exposed, "in-use", OK),
            (Verdict::Idle, "exposed", OK),
            (Verdict::Idle, "idle", FOUND),
            (Verdict::Clear, "idle", OK),
            (Verdict::Clear, "clear", FOUND),
            (Verdict::Unknown, "runtime", CANNOT_TELL),
            (Verdict::Unknown, "clear", CANNOT_TELL),
        ] {
            let report = Report {
                verdict,
                ..sample::clear()
            };
            assert_eq!(exit_code(&report, bar), code, "{verdict} with --fail-on {bar}");
        }
    }

    #[test]
    fn a_runtime_that_is_hidden_may_be_docker() {
        let mut report = sample::clear();
        report.verdict = Verdict::InUse;
        report.sources[0].gaps = vec![Gap::new(Reason::DeadlineExceeded, Hides::Runtime, "Version", "nothing")];
        for (bar, code) in [("runtime", CANNOT_TELL), ("in-use", FOUND)] {
            assert_eq!(exit_code(&report, bar), code, "--fail-on {bar}");
        }
    }
}
