//! A blocking read on a thread of its own, with a deadline, for a look that must not wait for a disk. A read that hangs in
//! the kernel cannot be cancelled: it keeps its thread until it ends, and no second one starts meanwhile.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

/// Runs one blocking read at a time.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Closed when the read that exceeded its deadline ends.
    hanging: Option<Receiver<()>>,
}

impl Aside {
    /// Runs `read` on a thread and waits for it until `deadline` has passed. None if it takes longer, if an earlier read
    /// still hangs, or if there is no thread for it.
    pub(crate) fn run<R: Send + 'static>(
        &mut self,
        deadline: Duration,
        read: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        if let Some(hanging) = &self.hanging
            && hanging.try_recv() == Err(TryRecvError::Empty)
        {
            return None;
        }
        let (end, ended) = sync_channel(0);
        let (send, receive) = sync_channel(1);
        let work = move || {
            let _ended = end;
            let _ = send.send(read()); // no receiver is left: the deadline has passed
        };
        thread::Builder::new().name("aside".to_owned()).spawn(work).ok()?;
        let answer = receive.recv_timeout(deadline);
        self.hanging = matches!(answer, Err(RecvTimeoutError::Timeout)).then_some(ended);
        answer.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_read_that_hangs_is_left_and_none_is_started_beside_it() {
        let mut aside = Aside::default();
        assert_eq!(aside.run(LONG, || 1), Some(1));
        let (release, hang) = mpsc::channel::<()>();
        assert_eq!(aside.run(Duration::from_millis(20), move || hang.recv().is_ok()), None);
        assert_eq!(aside.run(LONG, || 2), None, "the first still hangs");
        drop(release);
        let later = loop {
            if let Some(later) = aside.run(LONG, || 3) {
                break later;
            }
        };
        assert_eq!(later, 3);
    }

    #[test]
    fn a_read_that_panics_blocks_no_later_one() {
        let mut aside = Aside::default();
        assert_eq!(aside.run(LONG, || panic!("a defect")), None::<()>);
        assert_eq!(aside.run(LONG, || 1), Some(1));
    }
}
