//! The operator's HTTP address: `/healthz`, `/readyz`, `/metrics`.
//!
//! Plain HTTP without a login: by default on the loopback address. It says how much there is of
//! everything and nothing about anybody.

use super::bounded::Bounded;
use super::health::{Inspect, Problem};
use super::metrics::{CONTENT_TYPE, Metrics};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Most connections at a time; the next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// Longest life of a connection; collectors come back by themselves.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a node may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the pages are made of.
#[derive(Clone)]
struct Pages {
    node: Arc<dyn Inspect>,
    metrics: Arc<Metrics>,
}

/// Answers on `listener` until `stop`; no connection is left when this returns, about a second
/// later at the latest.
pub async fn serve_http(
    listener: TcpListener,
    node: Arc<dyn Inspect>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page))
        .with_state(Pages { node, metrics });
    Bounded::new(listener, MAX_CONNECTIONS, LONGEST)
        .serve(router, stop)
        .await
}

/// Body of `/readyz`.
#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    problems: Vec<Problem>,
}

/// The process answers: it is not to be killed.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether devices should be sent here: 200, or 503 with what is wrong.
async fn readyz(State(pages): State<Pages>) -> Response {
    let problems = match tokio::time::timeout(PATIENCE, pages.node.problems()).await {
        Ok(problems) => problems,
        // Whatever hangs hangs on a disk or on the node that keeps the state.
        Err(_) => vec![Problem::State],
    };
    let status = if problems.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        axum::Json(Ready {
            ready: problems.is_empty(),
            problems,
        }),
    )
        .into_response()
}

async fn page(State(pages): State<Pages>) -> Response {
    // Without a sample the gauges keep their values; the counters are as good as ever.
    if let Ok(sample) = tokio::time::timeout(PATIENCE, pages.node.sample()).await {
        pages.metrics.set(&sample);
    }
    match pages.metrics.page() {
        Ok(page) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
