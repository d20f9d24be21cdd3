//! Serves a router on one listener until it is told to stop, then lets what is under way end, within a grace.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connections::{Bounded, PATIENCE, at_once};

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request under way was answered.
    All,
    /// The grace was over first.
    CutOff,
}

/// Serves until `shutdown` resolves; then accepts nothing more and waits at most `grace` for requests under way.
///
/// # Errors
/// What the listener reports as final. Errors of single connections are not among them.
pub async fn serve<L>(
    listener: L,
    router: Router,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<Drained>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = Bounded::new(listener, at_once(), PATIENCE);
    let serving = axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // A sender that is gone means the same: stop.
            let _ = stopped.await;
        })
        .into_future();
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.map(|()| Drained::All),
        () = shutdown => {}
    }
    // The receiver is gone only where serving ended in this very moment, which the next line finds.
    let _ = stop.send(());
    match timeout(grace, serving).await {
        Ok(ended) => ended.map(|()| Drained::All),
        Err(_) => Ok(Drained::CutOff),
    }
}
