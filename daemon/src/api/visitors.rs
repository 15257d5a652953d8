//! Calls about links by which browsers of people without a device send to this one.

use super::Answer;
use crate::receive::ReceiveService;
use crate::visitors::VisitorService;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{InboxLinkInfo, InboxLinkRequest};
use std::sync::Arc;

type Ctx = State<Arc<VisitorService>>;

/// Every inbox link, oldest first: each is a secret.
#[utoipa::path(get, path = "/v1/inbox/links", responses((status = 200, body = [InboxLinkInfo])))]
pub(super) async fn list(State(service): Ctx) -> Json<Vec<InboxLinkInfo>> {
    Json(service.list())
}

/// Makes an inbox link: a secret. Waits a moment for its relay to hear of it.
#[utoipa::path(post, path = "/v1/inbox/links", request_body = InboxLinkRequest, responses((status = 200, body = InboxLinkInfo)))]
pub(super) async fn create(
    State(service): Ctx,
    Json(request): Json<InboxLinkRequest>,
) -> Answer<InboxLinkInfo> {
    Ok(Json(service.create(request).await?))
}

/// Ends an inbox link: nothing is taken by it any more. Waits a moment for its relay to hear of it.
#[utoipa::path(delete, path = "/v1/inbox/links/{link}", params(("link" = u64, Path)), responses((status = 200, body = InboxLinkInfo)))]
pub(super) async fn end(
    State(service): Ctx,
    State(receive): State<Arc<ReceiveService>>,
    Path(link): Path<u64>,
) -> Answer<InboxLinkInfo> {
    let ended = service.end(link).await?;
    receive.forget_link(link).await?;
    Ok(Json(ended))
}
