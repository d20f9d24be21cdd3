//! The loop of every sender: takes in news as they come, and sends due requests, one at a time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep_until;

/// A sender that turns news into requests.
pub trait Sender<N> {
    /// Takes in the latest news.
    fn take_in(&mut self, news: &N);

    /// The time at which the next request is due; none if there is nothing to send.
    fn due(&self) -> Option<Instant>;

    /// Sends the due request. May be cancelled midway when castoff stops.
    fn send_due(&mut self) -> impl Future<Output = ()> + Send;
}

/// Runs `sender` until `stop`, or until no more news can come.
pub async fn run<N>(
    mut sender: impl Sender<N>,
    mut latest: watch::Receiver<Option<Arc<N>>>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    latest.mark_changed();
    loop {
        let due = sender.due();
        tokio::select! {
            () = &mut stop => return,
            changed = latest.changed() => {
                if changed.is_err() {
                    return;
                }
                if let Some(news) = latest.borrow_and_update().clone() {
                    sender.take_in(&news);
                }
                continue;
            }
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
        }
        tokio::select! {
            () = &mut stop => return,
            () = sender.send_due() => {}
        }
    }
}
