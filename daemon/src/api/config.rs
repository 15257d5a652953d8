//! The calls about the configuration.

use super::Answer;
use crate::failure;
use crate::settings::SettingsService;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{ApiError, ConfigChange, ConfigKeyInfo, ConfigRequest};
use std::sync::Arc;

type Ctx = State<Arc<SettingsService>>;

/// Every key of the configuration with its value, its default, and where the value comes from.
#[utoipa::path(get, path = "/v1/config", responses((status = 200, body = [ConfigKeyInfo])))]
pub(super) async fn list(State(service): Ctx) -> Answer<Vec<ConfigKeyInfo>> {
    Ok(Json(service.list()))
}

/// Gives a key another value, in the file too, and puts it into force where that is possible.
#[utoipa::path(post, path = "/v1/config", request_body = ConfigRequest, responses((status = 200, body = ConfigChange)))]
pub(super) async fn set(
    State(service): Ctx,
    Json(request): Json<ConfigRequest>,
) -> Answer<ConfigChange> {
    change(move || service.set(&request.key, &request.value)).await
}

/// Takes a key out of the file: its default is in force then, where that is possible.
#[utoipa::path(delete, path = "/v1/config/{key}", params(("key" = String, Path)), responses((status = 200, body = ConfigChange)))]
pub(super) async fn unset(State(service): Ctx, Path(key): Path<String>) -> Answer<ConfigChange> {
    change(move || service.unset(&key)).await
}

/// Reads the file anew and puts into force what is possible.
#[utoipa::path(post, path = "/v1/config/reload", responses((status = 200, body = ConfigChange)))]
pub(super) async fn reload(State(service): Ctx) -> Answer<ConfigChange> {
    change(move || service.reload()).await
}

async fn change(
    work: impl FnOnce() -> Result<ConfigChange, ApiError> + Send + 'static,
) -> Answer<ConfigChange> {
    let changed = tokio::task::spawn_blocking(work).await;
    Ok(Json(changed.map_err(failure::internal)??))
}
