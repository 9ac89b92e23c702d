//! `/metrics`, and counting what is asked over HTTP.
//!
//! INVARIANT: behind the guard like every path: without a good token nobody reads a figure. Who may read which is not decided here.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::domain::{Measured, Meter, Principal};
use crate::mcp::Metrics;

use super::sessions::Sessions;

/// What Prometheus is told that it gets.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the text comes from, and what only this face knows.
pub(super) struct Handed {
    pub(super) metrics: Option<Arc<dyn Metrics>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) meter: Arc<dyn Meter>,
}

/// The figures that whoever asks may know.
pub(super) async fn hand_out(State(handed): State<Arc<Handed>>, whom: Extension<Principal>, request: Request) -> Response {
    let Some(metrics) = &handed.metrics else { return super::nothing_here(request).await };
    handed.meter.tell(Measured::Sessions(handed.sessions.count()));
    ([(CONTENT_TYPE, TEXT)], metrics.text(&whom).await).into_response()
}

/// Counts a request by the status of its answer.
pub(super) async fn count(State(meter): State<Arc<dyn Meter>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    meter.tell(Measured::Request { status: answer.status().as_u16() });
    answer
}
