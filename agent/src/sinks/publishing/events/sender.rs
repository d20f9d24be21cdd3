//! The task that sends the events: one request for each event, as many in one burst as the pace allows, over one
//! connection that is closed afterwards.
//!
//! Waiting events are bounded in number and in time. A permanent refusal (a missing right, a deleted namespace) drops the one
//! event; a temporary one delays all events, longer each time.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use http::{Request, header};
use kube::client::Body;
use tokio::sync::watch;

use super::event::{Event, Reporter};
use super::novelty::Novelty;
use crate::apiserver::access::Access;
use crate::apiserver::connection::{ANSWER_LIMIT, Connection};
use crate::apiserver::pace::{Allowance, Need, Pace, Paces, chance};
use crate::apiserver::refusal::Refusal;
use crate::apiserver::sender::Sender;
use crate::findings::report::Report;
use crate::model::publishing::{Dropped, Events, Outcome};
use crate::model::reading::Gap;
use crate::model::time::Timestamp;

/// The maximum number of waiting events: the newest matter most, so the oldest is dropped first.
const WAITING_MAX: usize = 64;

/// The settings of the sender of events.
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// The reporting controller.
    pub reporter: Reporter,
    /// The access to the API server.
    pub access: Access,
    /// The pace; only the parts about writes and waits count.
    pub paces: Paces,
    /// The time for which an event is news. The API server keeps one for an hour by default.
    pub expiry: Duration,
}

impl EventSettings {
    /// Returns the usual pace: a burst of ten, then two a minute.
    pub fn new(reporter: Reporter, access: Access) -> Self {
        let writes = Allowance {
            burst: 10,
            refill: Duration::from_secs(30),
        };
        Self {
            reporter,
            access,
            paces: Paces {
                writes,
                ..Paces::default()
            },
            expiry: Duration::from_secs(3600),
        }
    }
}

/// Sends events.
#[derive(Debug)]
pub struct EventSender {
    settings: EventSettings,
    standing: watch::Sender<Events>,
    novelty: Novelty,
    waiting: VecDeque<(Instant, Event)>,
    failing: Option<Outcome>,
    pace: Pace,
}

impl EventSender {
    /// Makes a sender that has sent nothing yet, and the receiver of its state.
    pub fn new(settings: EventSettings) -> (Self, watch::Receiver<Events>) {
        let (standing, latest) = watch::channel(Events::default());
        let sender = Self {
            pace: Pace::new(settings.paces, chance, Instant::now()),
            settings,
            standing,
            novelty: Novelty::default(),
            waiting: VecDeque::new(),
            failing: None,
        };
        (sender, latest)
    }

    fn wait(&mut self, refusal: &Refusal) {
        self.pace.failed(Instant::now(), refusal.retry_after);
        self.say(refusal, "events wait for the API server");
    }

    fn drop_for(&mut self, reason: Dropped, refusal: &Refusal) {
        self.standing.send_modify(|standing| standing.drop_one(reason));
        match reason {
            Dropped::Forbidden => self.say(refusal, "events need the right to create events of events.k8s.io"),
            // The end of a pod or of its namespace is not a failure of castoff.
            Dropped::Gone => tracing::debug!(error = Gap::chain(refusal), "an event's namespace is gone"),
            Dropped::Rejected | Dropped::QueueFull | Dropped::TooOld => self.say(refusal, "an event is not accepted"),
        }
    }

    /// Logs each kind of failure once.
    fn say(&mut self, refusal: &Refusal, what: &'static str) {
        if self.failing.replace(refusal.outcome) != Some(refusal.outcome) {
            tracing::warn!(reason = %refusal.outcome, error = Gap::chain(refusal), "{what}");
        }
    }
}

impl Sender<Report> for EventSender {
    fn take_in(&mut self, report: &Report) {
        let now = Instant::now();
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < self.settings.expiry;
        while self.waiting.front().is_some_and(|(since, _)| !fresh(since)) {
            self.waiting.pop_front();
            self.standing.send_modify(|standing| standing.drop_one(Dropped::TooOld));
        }
        let news = self.novelty.take_in(report);
        let events = news.iter().filter_map(|n| Event::of(n, &self.settings.reporter));
        self.waiting.extend(events.map(|event| (now, event)));
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            self.standing
                .send_modify(|standing| standing.drop_one(Dropped::QueueFull));
        }
        self.standing
            .send_modify(|standing| standing.set_waiting(self.waiting.len()));
    }

    fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.pace.when(Need::Event))
    }

    /// Sends until no event waits, the allowance is spent, or the API server requests a wait.
    async fn send_due(&mut self) {
        let deadline = self.settings.paces.deadline;
        let mut connection = match Connection::prepare(&self.settings.access, deadline, 1).await {
            Ok(connection) => connection,
            Err(refusal) => {
                self.standing
                    .send_modify(|standing| standing.failing = Some(refusal.outcome));
                return self.wait(&refusal);
            }
        };
        while let Some((_, event)) = self.waiting.front() {
            if self.pace.when(Need::Event) > Instant::now() {
                return;
            }
            self.pace.wrote(Instant::now());
            let outcome = create(&mut connection, event).await;
            let counted = outcome.as_ref().map_or_else(|r| r.outcome, |()| Outcome::Succeeded);
            let now = Timestamp::from(SystemTime::now());
            self.standing.send_modify(|standing| standing.count(counted, now));
            match outcome {
                Ok(()) => {
                    self.pace.succeeded(Instant::now());
                    if self.failing.take().is_some() {
                        tracing::info!("events are made again");
                    }
                }
                Err(refusal) => match lost_by(&refusal) {
                    Some(reason) => self.drop_for(reason, &refusal),
                    None => return self.wait(&refusal),
                },
            }
            self.waiting.pop_front();
            self.standing
                .send_modify(|standing| standing.set_waiting(self.waiting.len()));
        }
    }
}

/// The reason why an event is dropped after `refusal`; none if the next attempt may succeed.
fn lost_by(refusal: &Refusal) -> Option<Dropped> {
    match refusal.outcome {
        // The API server also answers 403 for a namespace that is terminating (`NamespaceTerminating`).
        Outcome::Forbidden if refusal.answer.contains("being terminated") => Some(Dropped::Gone),
        Outcome::Forbidden => Some(Dropped::Forbidden),
        Outcome::NotFound => Some(Dropped::Gone),
        Outcome::Rejected => Some(Dropped::Rejected),
        _ => None,
    }
}

/// Creates one event. If one with its name exists, it is the same event.
async fn create(connection: &mut Connection, event: &Event) -> Result<(), Refusal> {
    let Event { namespace, name, body } = event;
    // Both are valid names: `Event::of` makes no others.
    let request = Request::post(format!(
        "/apis/events.k8s.io/v1/namespaces/{namespace}/events?fieldManager=castoff"
    ))
    .header(header::CONTENT_TYPE, "application/json")
    .header(header::ACCEPT, "application/json")
    .body(Body::from(body.clone().into_bytes()));
    let asked = format!("create event {namespace}/{name}");
    match connection.ask(&asked, request, ANSWER_LIMIT).await {
        Err(refusal) if refusal.outcome == Outcome::Conflict => Ok(()),
        answer => answer.map(|_| ()),
    }
}
