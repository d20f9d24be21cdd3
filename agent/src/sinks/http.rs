//! The agent's HTTP side: metrics, health, the report, a landing page. Read-only: GET and HEAD, and a request's body is
//! never read. Knows the latest report and nothing of how it was made.

mod connections;
mod guard;
mod liveness;
mod refresh;
mod server;
pub mod tls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
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
pub use connections::Limits;
pub use guard::Guard;
pub use liveness::{Liveness, Stalled};
pub use server::{Drained, Server};

/// The paths that a reader needs the right to get, where readers need one.
pub const PAGES: [&str; 4] = ["/", "/style.css", "/metrics", "/api/v1/report"];

/// What the pages are made of.
#[derive(Clone, Debug)]
pub struct Published {
    /// The latest report; none before the first.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// What the agent counted since it started.
    pub cycles: Arc<Mutex<CycleCounters>>,
    /// Whether its cycle still moves.
    pub liveness: Arc<Liveness>,
    /// How metrics are written.
    pub metrics: Arc<Metrics>,
}

impl Published {
    fn report(&self) -> Option<Arc<Report>> {
        self.reports.borrow().clone()
    }
}

/// The routes, for everybody who reaches the address, or for those whom `guard` lets in. The kubelet's probes are for
/// everybody: it has no token, and they tell nothing of the node.
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
        .with_state(published)
}

async fn index(State(published): State<Published>, RawQuery(query): RawQuery) -> Response {
    let refresh = match refresh::asked(query.as_deref()) {
        Ok(refresh) => refresh,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let report = published.report();
    let page = page::render(&page::Looked {
        report: report.as_deref(),
        stalled: published.liveness.check().err(),
        now: SystemTime::now().into(),
        refresh,
    });
    match page {
        Ok(body) => {
            let mut page = answer(StatusCode::OK, "text/html; charset=utf-8", body);
            if let Some(seconds) = refresh {
                page.headers_mut().insert(header::REFRESH, seconds.into());
            }
            page
        }
        Err(error) => {
            tracing::error!(%error, "the page could not be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n")
        }
    }
}

async fn style() -> Response {
    answer(StatusCode::OK, "text/css; charset=utf-8", page::STYLE.to_owned())
}

async fn metrics(State(published): State<Published>) -> Response {
    // A cycle that panicked while it counted leaves the counters readable.
    let cycles = published.cycles.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match published.metrics.render(published.report().as_deref(), &cycles) {
        Ok(body) => answer(StatusCode::OK, metrics::CONTENT_TYPE, body),
        Err(error) => {
            tracing::error!(%error, "metrics could not be encoded");
            text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n")
        }
    }
}

async fn livez(State(published): State<Published>) -> Response {
    match published.liveness.check() {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(stalled) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{stalled}\n")),
    }
}

async fn readyz(State(published): State<Published>) -> Response {
    match published.report() {
        Some(_) => text(StatusCode::OK, "ok\n"),
        None => text(StatusCode::SERVICE_UNAVAILABLE, NO_REPORT),
    }
}

async fn report(State(published): State<Published>) -> Response {
    let Some(report) = published.report() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, NO_REPORT);
    };
    match render_json_line(&report) {
        Ok(body) => answer(StatusCode::OK, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "the report could not be written as JSON");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the report could not be written as JSON\n",
            )
        }
    }
}

const NO_REPORT: &str = "no report yet: the first look at the node is not finished\n";

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    answer(status, "text/plain; charset=utf-8", body.into())
}

/// No script, no frame, no form, and castoff's own style: the page is text, drawings and links.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let fixed = |value: &'static str| HeaderValue::from_static(value);
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, fixed(content_type)),
        (header::CACHE_CONTROL, fixed("no-store")),
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests;
