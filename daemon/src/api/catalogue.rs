//! Calls about what the user's other devices share.

use super::Answer;
use crate::catalogue;
use crate::catalogue::CatalogueService;
use axum::Json;
use axum::extract::State;
use hither_api::{FindRequest, FoundShare, ListedShare};
use std::sync::Arc;

type Ctx = State<Arc<CatalogueService>>;

/// Lists the shares of the user's other devices, as far as they are known; without tickets.
#[utoipa::path(get, path = "/v1/catalogue", responses((status = 200, body = [ListedShare])))]
pub(super) async fn list(State(service): Ctx) -> Answer<Vec<ListedShare>> {
    Ok(Json(catalogue::list(&service).await?))
}

/// A share by the names of its owner and its own, with its ticket: a secret.
#[utoipa::path(post, path = "/v1/catalogue/find", request_body = FindRequest, responses((status = 200, body = FoundShare)))]
pub(super) async fn find(
    State(service): Ctx,
    Json(request): Json<FindRequest>,
) -> Answer<FoundShare> {
    Ok(Json(catalogue::find(&service, &request).await?))
}
