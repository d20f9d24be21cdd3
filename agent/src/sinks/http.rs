//! The agent's HTTP server: metrics, health, the report, a landing page. Read-only: GET and HEAD, and a request's body is never
//! read. Knows the latest report, but not how it was made.

mod cache;
mod connections;
mod credential;
mod guard;
mod liveness;
mod refresh;
mod server;
pub mod tls;

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::views::json::render_json_line;
use super::views::metrics::cycles::CycleCounters;
use super::views::metrics::{self, Metrics};
use super::views::page;
use crate::findings::report::Report;
use crate::model::publishing::{Events, Publishing, Standing};
use crate::model::time::Timestamp;
use cache::{Held, TextCache};
pub use connections::Limits;
pub use guard::Guard;
pub use liveness::{Liveness, Stalled};
pub use server::{Drained, Server};

/// The paths that require the right to get them, where access is restricted.
pub const PAGES: [&str; 4] = ["/", "/style.css", "/metrics", "/api/v1/report"];
/// The paths that these rights name. Kubernetes allows every account to get `/api/*` (the role `system:discovery`), so the right
/// to the report names another path.
pub const RIGHTS: [&str; 4] = ["/", "/style.css", "/metrics", "/report"];

/// The data for the pages.
#[derive(Clone, Debug)]
pub struct Published {
    /// The latest report; none before the first.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// The state of the labels; none if castoff does not publish labels.
    pub labels: Option<watch::Receiver<Publishing>>,
    /// The state of the events; none if castoff does not make events.
    pub events: Option<watch::Receiver<Events>>,
    /// The counters of the agent since it started.
    pub cycles: Arc<Mutex<CycleCounters>>,
    /// The check that its cycle makes progress.
    pub liveness: Arc<Liveness>,
    /// The writer of metrics.
    pub metrics: Arc<Metrics>,
}

impl Published {
    fn report(&self) -> Option<Arc<Report>> {
        self.reports.borrow().clone()
    }

    fn standing(&self) -> Standing {
        Standing {
            publishing: self.labels.as_ref().map(|labels| labels.borrow().clone()),
            events: self.events.as_ref().map(|events| events.borrow().clone()),
        }
    }
}

/// The key of a cached text. The page and the metrics show the current state, so they are rendered again each second.
struct TextKey {
    report: Weak<Report>,
    standing: Standing,
    second: Option<Timestamp>,
    stalled: bool,
    refresh: Option<u32>,
}

impl PartialEq for TextKey {
    fn eq(&self, other: &Self) -> bool {
        let of = |key: &Self| (key.second, key.stalled, key.refresh);
        Weak::ptr_eq(&self.report, &other.report) && self.standing == other.standing && of(self) == of(other)
    }
}

/// The pages, and the texts that their readers share.
struct Pages {
    published: Published,
    page: TextCache<TextKey>,
    /// The page with a reload interval.
    reloading: TextCache<TextKey>,
    metrics: TextCache<TextKey>,
    json: TextCache<TextKey>,
}

impl Pages {
    fn new(published: Published) -> Self {
        let held = Held::default();
        Self {
            published,
            page: TextCache::new(&held),
            reloading: TextCache::new(&held),
            metrics: TextCache::new(&held),
            json: TextCache::new(&held),
        }
    }
}

/// The routes, for everyone who reaches the address, or for those whom `guard` admits. The kubelet's probes are open to everyone:
/// the kubelet has no token, and they show nothing of the node.
pub fn router(published: Published, guard: Option<Arc<Guard>>) -> Router {
    let [at_index, at_style, at_metrics, at_report] = PAGES;
    let pages = Router::new()
        .route(at_index, get(index))
        .route(at_style, get(style))
        .route(at_metrics, get(metrics))
        .route(at_report, get(report));
    let pages = match guard {
        Some(guard) => pages.route_layer(from_fn_with_state(guard, guard::admit)),
        None => pages,
    };
    pages
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(async || text(StatusCode::NOT_FOUND, "no such page\n"))
        .with_state(Arc::new(Pages::new(published)))
}

async fn index(State(pages): State<Arc<Pages>>, RawQuery(query): RawQuery) -> Response {
    let refresh = match refresh::asked(query.as_deref()) {
        Ok(refresh) => refresh,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let published = &pages.published;
    let (report, standing) = (published.report(), published.standing());
    let (stalled, now) = (published.liveness.check().err(), SystemTime::now().into());
    let key = TextKey {
        report: report.as_ref().map(Arc::downgrade).unwrap_or_default(),
        standing: standing.clone(),
        second: Some(now),
        stalled: stalled.is_some(),
        refresh,
    };
    let shelf = if refresh.is_some() {
        &pages.reloading
    } else {
        &pages.page
    };
    let page = shelf.get(
        key,
        |of| of.refresh == refresh,
        || {
            page::render(&page::PageData {
                report: report.as_deref(),
                standing: &standing,
                stalled,
                now,
                refresh,
            })
        },
    );
    let mut page = shared("text/html; charset=utf-8", page);
    if let Some(seconds) = refresh {
        page.headers_mut().insert(header::REFRESH, seconds.into());
    }
    page
}

async fn style() -> Response {
    answer(StatusCode::OK, "text/css; charset=utf-8", page::STYLE)
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    let published = &pages.published;
    let (report, standing) = (published.report(), published.standing());
    let key = TextKey {
        report: report.as_ref().map(Arc::downgrade).unwrap_or_default(),
        standing: standing.clone(),
        second: Some(SystemTime::now().into()),
        stalled: false,
        refresh: None,
    };
    let metrics = pages.metrics.get(
        key,
        |_| true,
        || {
            // The counters stay readable even if a cycle panicked while it changed them.
            let cycles = published.cycles.lock().unwrap_or_else(PoisonError::into_inner).clone();
            published.metrics.render(report.as_deref(), &standing, &cycles)
        },
    );
    shared(metrics::CONTENT_TYPE, metrics)
}

async fn livez(State(pages): State<Arc<Pages>>) -> Response {
    match pages.published.liveness.check() {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(stalled) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{stalled}\n")),
    }
}

async fn readyz(State(pages): State<Arc<Pages>>) -> Response {
    match pages.published.report() {
        Some(_) => text(StatusCode::OK, "ok\n"),
        None => text(StatusCode::SERVICE_UNAVAILABLE, NO_REPORT),
    }
}

async fn report(State(pages): State<Arc<Pages>>) -> Response {
    let published = &pages.published;
    let Some(report) = published.report() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, NO_REPORT);
    };
    let standing = published.standing();
    let key = TextKey {
        report: Arc::downgrade(&report),
        standing: standing.clone(),
        second: None,
        stalled: false,
        refresh: None,
    };
    let json = pages.json.get(key, |_| true, || render_json_line(&report, &standing));
    shared("application/json", json)
}

/// Returns a response with a shared text.
fn shared<E: Display>(content_type: &'static str, text: Result<Option<Bytes>, E>) -> Response {
    match text {
        Ok(Some(body)) => answer(StatusCode::OK, content_type, body),
        Ok(None) => {
            let mut busy = self::text(StatusCode::SERVICE_UNAVAILABLE, "too many readers at the same time\n");
            let soon = HeaderValue::from_static("5");
            busy.headers_mut().insert(header::RETRY_AFTER, soon);
            busy
        }
        Err(error) => {
            tracing::error!(%error, content_type, "the answer could not be written");
            self::text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written\n")
        }
    }
}

const NO_REPORT: &str = "no report yet: the first look at the node is not finished\n";

fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", body)
}

/// No script, no frame, no form, and only castoff's own style: the page is text, drawings and links.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let fixed = |value: &'static str| HeaderValue::from_static(value);
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, fixed(content_type)),
        (header::CACHE_CONTROL, fixed("no-store")),
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
    ];
    (status, headers, body.into()).into_response()
}

#[cfg(test)]
mod tests;
