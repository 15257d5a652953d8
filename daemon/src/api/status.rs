//! Calls about the daemon itself.

use super::Answer;
use crate::diagnostics::Diagnostics;
use crate::failure;
use axum::Json;
use axum::extract::State;
use hither_api::{Finding, Status};
use serde_json::{Value, json};
use std::sync::Arc;

type Ctx = State<Arc<Diagnostics>>;

/// The daemon and its links.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(diagnostics): Ctx) -> Json<Status> {
    Json(diagnostics.status())
}

/// Stops the daemon, in order.
#[utoipa::path(post, path = "/v1/shutdown", responses((status = 200)))]
pub(super) async fn shutdown(State(diagnostics): Ctx) -> Json<Value> {
    diagnostics.tasks.token.cancel();
    Json(json!({}))
}

/// The user has read the losses: they are not reported any more.
#[utoipa::path(post, path = "/v1/losses/acknowledge", responses((status = 200)))]
pub(super) async fn acknowledge(State(diagnostics): Ctx) -> Answer<Value> {
    let acknowledged = tokio::task::spawn_blocking(move || diagnostics.losses.acknowledge()).await;
    acknowledged
        .map_err(failure::internal)?
        .map_err(failure::internal)?;
    Ok(Json(json!({})))
}

/// Reports the things that work, those that do not, and possible remedies.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = [Finding])))]
pub(super) async fn doctor(State(diagnostics): Ctx) -> Answer<Vec<Finding>> {
    Ok(Json(crate::doctor::examine(&diagnostics).await))
}
