//! `castoff run`: the agent's process: its configuration, log, signals and tasks.

use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;

use super::args::{Auth, HttpArgs, LogFormat, Run};
use super::check::look;
use super::labels::{access, events, publish};
use super::{FAILED, OK};
use crate::agent::service::{Service, serve};
use crate::config::{Look, Mistakes, Reader, Serve};
use crate::sinks::http::tls::Files;
use crate::telemetry::{self, Format};

pub(super) fn run(args: &Run) -> anyhow::Result<u8> {
    let (look, settings, filter) = resolve(args)?;
    telemetry::start(
        filter,
        if args.log_format == LogFormat::Json {
            Format::Json
        } else {
            Format::Text
        },
    );
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1) // the agent mostly waits; a cycle runs on other threads
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let outcome = runtime.block_on(until_stopped(look, settings));
    // A look that hangs in the kernel must not delay the end of the process.
    runtime.shutdown_background();
    outcome
}

/// Raises the limit of open files to its maximum: shells set 1024, which a thousand connections use up. If the host refuses,
/// fewer connections are served.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of descriptors could not be raised");
    }
}

/// Serves until the first signal, then drains within the grace; the second signal, or the end of the grace, aborts.
async fn until_stopped(look: Look, settings: Serve) -> anyhow::Result<u8> {
    let grace = settings.grace;
    let service = Service::start(look, settings).await?;
    let stopping = CancellationToken::new();
    let mut serving = tokio::spawn(serve(service, stopping.clone()));
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    tokio::select! {
        ended = &mut serving => {
            ended.context("the agent's tasks")??;
            bail!("the agent's tasks ended by themselves");
        }
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    stopping.cancel();
    tokio::select! {
        ended = serving => {
            ended.context("the agent's tasks")??;
            Ok(OK)
        }
        _ = terminate.recv() => forced("a second signal"),
        _ = interrupt.recv() => forced("a second signal"),
        () = tokio::time::sleep(grace) => forced("the end of the grace"),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an arm of a select whose others can fail")]
fn forced(by: &str) -> anyhow::Result<u8> {
    tracing::warn!(by, "stopped before everything was drained");
    Ok(FAILED)
}

fn resolve(args: &Run) -> Result<(Look, Serve, Targets), Mistakes> {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut reader = Reader::default();
    let mut look = look(&mut reader, &args.host);
    look.connect_events = args.connects.asked();
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    let serve = Serve {
        period: reader.duration("--period", &args.period, second, hour),
        window: reader.duration("--window", &args.window, second, 365 * DAY),
        ready_for: reader.targets("--for", &args.ready_for),
        listen: reader.address("--listen", &args.http.listen),
        state: reader.file("--state", args.state.as_deref()),
        grace: reader.duration("--grace", &args.grace, second, hour),
        labels: publish(&mut reader, args.way, &args.labels, look.node.as_deref()),
        tls: tls(&mut reader, &args.http),
        guard: (args.http.auth == Auth::Kubernetes).then(|| access(&mut reader, &args.labels, false)),
        events: args
            .events
            .then(|| events(&mut reader, &args.labels, look.node.as_deref()))
            .flatten(),
    };
    if serve.window < serve.period {
        let why = "a use would be forgotten before the next look; expected at least --period";
        reader.mistake((), format!("--window {}: {why} ({})", args.window, args.period));
    }
    let filter = telemetry::filter(&args.log).unwrap_or_else(|error| {
        reader.mistake(
            Targets::default(),
            format!("--log {:?}: {error}; expected info, debug, castoff=trace, …", args.log),
        )
    });
    reader.finish()?;
    Ok((look, serve, filter))
}

fn tls(reader: &mut Reader, args: &HttpArgs) -> Option<Files> {
    let certificate = reader.file("--tls-cert", args.tls_cert.as_deref());
    let key = reader.file("--tls-key", args.tls_key.as_deref());
    if args.tls_cert.is_some() != args.tls_key.is_some() {
        reader.mistake((), "--tls-cert and --tls-key: set both or neither".to_owned());
    }
    Some(Files {
        certificate: certificate?,
        key: key?,
    })
}
