//! Calls about relays and the user's devices.

use super::{Answer, Failure};
use crate::daemon::Daemon;
use crate::failure;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{ApiError, DeviceInfo, ErrorCode, RelayInfo, RelayRequest};
use hither_proto::{RelayUrl, display_name};
use hither_relay_client::Relay;
use std::sync::Arc;

type Ctx = State<Arc<Daemon>>;

/// Every relay that this device joined, and how it stands.
#[utoipa::path(get, path = "/v1/relays", responses((status = 200, body = [RelayInfo])))]
pub(super) async fn relays(State(daemon): Ctx) -> Json<Vec<RelayInfo>> {
    Json(
        daemon
            .relays
            .all()
            .iter()
            .map(|relay| relay.info())
            .collect(),
    )
}

/// Joins a relay: answers when the relay has taken this device in.
#[utoipa::path(post, path = "/v1/relays", request_body = RelayRequest, responses((status = 200, body = RelayInfo)))]
pub(super) async fn join(
    State(daemon): Ctx,
    Json(request): Json<RelayRequest>,
) -> Answer<RelayInfo> {
    // The error never repeats the URL: it may be almost an invitation.
    let url: RelayUrl = request.url.parse().map_err(|error| {
        ApiError::new(
            ErrorCode::BadRequest,
            format!("That is no relay URL: {error}."),
        )
        .with_hint("Copy all of it, from \"hither://\" to its last letter, in quotes.")
    })?;
    Ok(Json(
        daemon
            .relays
            .join(&url)
            .await
            .map_err(|e| failure::join(&e))?
            .info(),
    ))
}

/// Leaves a relay: it is forgotten on this device.
#[utoipa::path(delete, path = "/v1/relays/{relay}", params(("relay" = String, Path)), responses((status = 200, body = RelayInfo)))]
pub(super) async fn leave(State(daemon): Ctx, Path(id): Path<String>) -> Answer<RelayInfo> {
    let found = find(&daemon, &id)?;
    let info = found.info();
    daemon
        .relays
        .leave(&found)
        .await
        .map_err(|e| failure::relay_storage(&e))?;
    Ok(Json(info))
}

fn find(daemon: &Daemon, id: &str) -> Result<Arc<Relay>, Failure> {
    let found = daemon
        .relays
        .all()
        .into_iter()
        .find(|relay| relay.url.key.to_string() == id);
    found.ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            format!("This device has not joined a relay {}.", display_name(id)),
        )
        .into()
    })
}

/// The user's devices, this one first, then members of its groups. Waits a moment for relays that
/// are being connected.
#[utoipa::path(get, path = "/v1/devices", responses((status = 200, body = [DeviceInfo])))]
pub(super) async fn devices(State(daemon): Ctx) -> Json<Vec<DeviceInfo>> {
    daemon.relays.settle().await;
    let mut devices = daemon.relays.devices();
    devices.extend(crate::groups::devices(&daemon, &devices));
    Json(devices)
}
