//! Calls about relays.

use super::{Answer, Failure};
use crate::failure;
use crate::own_devices::OwnDevices;
use crate::wake;
use axum::Json;
use axum::extract::{Path, Query, State};
use hither_api::{
    ApiError, ErrorCode, InviteInfo, InviteRequest, RelayInfo, RelayRequest, WakeInfo, WakeRequest,
};
use hither_proto::{RelayUrl, display_name};
use hither_relay_client::{Relay, RelayClient};
use std::sync::Arc;

type Ctx = State<Arc<RelayClient>>;

/// Every relay that this device joined, and how it stands.
#[utoipa::path(get, path = "/v1/relays", responses((status = 200, body = [RelayInfo])))]
pub(super) async fn relays(State(relays): Ctx) -> Json<Vec<RelayInfo>> {
    Json(relays.all().iter().map(|relay| relay.info()).collect())
}

/// Joins a relay: answers when the relay has taken this device in.
#[utoipa::path(post, path = "/v1/relays", request_body = RelayRequest, responses((status = 200, body = RelayInfo)))]
pub(super) async fn join(
    State(relays): Ctx,
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
        relays
            .join(&url)
            .await
            .map_err(|e| failure::join(&e))?
            .info(),
    ))
}

/// An invitation for more of the user's devices: a secret.
#[utoipa::path(post, path = "/v1/relays/invite", request_body = InviteRequest, responses((status = 200, body = InviteInfo)))]
pub(super) async fn invite(
    State(service): State<Arc<OwnDevices>>,
    Json(request): Json<InviteRequest>,
) -> Answer<InviteInfo> {
    Ok(Json(service.invite(&request).await?))
}

/// The relay that is meant.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
pub(super) struct RelayNamed {
    /// Host, with or without port, or key of the relay; absent: the only one.
    relay: Option<String>,
}

/// By what ways a relay can wake this device when something waits for it there, and which is set.
#[utoipa::path(get, path = "/v1/relays/wake", params(RelayNamed), responses((status = 200, body = WakeInfo)))]
pub(super) async fn wake(
    State(relays): Ctx,
    Query(RelayNamed { relay }): Query<RelayNamed>,
) -> Answer<WakeInfo> {
    Ok(Json(wake::show(&relays, relay.as_deref()).await?))
}

/// Sets the way in which a relay wakes this device, or ends it.
#[utoipa::path(post, path = "/v1/relays/wake", request_body = WakeRequest, responses((status = 200, body = WakeInfo)))]
pub(super) async fn set_wake(
    State(relays): Ctx,
    Json(request): Json<WakeRequest>,
) -> Answer<WakeInfo> {
    Ok(Json(wake::set(&relays, request).await?))
}

/// Leaves a relay: it is forgotten on this device.
#[utoipa::path(delete, path = "/v1/relays/{relay}", params(("relay" = String, Path)), responses((status = 200, body = RelayInfo)))]
pub(super) async fn leave(State(relays): Ctx, Path(id): Path<String>) -> Answer<RelayInfo> {
    let found = find(&relays, &id)?;
    let info = found.info();
    relays
        .leave(&found)
        .await
        .map_err(|e| failure::relay_storage(&e))?;
    Ok(Json(info))
}

fn find(relays: &RelayClient, id: &str) -> Result<Arc<Relay>, Failure> {
    let found = relays
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
