//! Calls about what is taken of other devices, and where it goes.

use super::Answer;
use crate::receive::ReceiveService;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{ArrivalRequest, MessageInfo, ReceiveInfo, ReceiveRequest, ReceiveRule};
use std::sync::Arc;

type Ctx = State<Arc<ReceiveService>>;

/// The folder in which things arrive, what holds for all devices, and the rules about single ones.
#[utoipa::path(get, path = "/v1/receive", responses((status = 200, body = ReceiveInfo)))]
pub(super) async fn info(State(service): Ctx) -> Json<ReceiveInfo> {
    Json(service.info())
}

/// Sets what holds for a device or the members of a group, or ends that.
#[utoipa::path(post, path = "/v1/receive", request_body = ReceiveRequest, responses((status = 200, body = ReceiveRule)))]
pub(super) async fn set(
    State(service): Ctx,
    Json(request): Json<ReceiveRequest>,
) -> Answer<ReceiveRule> {
    Ok(Json(service.set_rule(request).await?))
}

/// The user's decision about a message whose files or share wait: it arrives, it is declined, or it
/// is left to the user.
#[utoipa::path(post, path = "/v1/inbox/{id}/decide", params(("id" = u64, Path)), request_body = ArrivalRequest, responses((status = 200, body = MessageInfo)))]
pub(super) async fn decide(
    State(service): Ctx,
    Path(id): Path<u64>,
    Json(request): Json<ArrivalRequest>,
) -> Answer<MessageInfo> {
    Ok(Json(service.decide(id, request.decision).await?))
}
