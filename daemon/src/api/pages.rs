//! Calls about pages for browsers: the one on this network, and the dashboard.

use super::Answer;
use crate::dashboard::DashboardService;
use crate::page::PageService;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{DashboardInfo, PageInfo, PageRequest};
use std::sync::Arc;

type Ctx = State<Arc<PageService>>;

/// The pages that are there for browsers on this network.
#[utoipa::path(get, path = "/v1/pages", responses((status = 200, body = [PageInfo])))]
pub(super) async fn list(State(service): Ctx) -> Json<Vec<PageInfo>> {
    Json(service.list())
}

/// Opens a page for browsers on this network.
#[utoipa::path(post, path = "/v1/pages", request_body = PageRequest, responses((status = 200, body = PageInfo)))]
pub(super) async fn open(
    State(service): Ctx,
    Json(request): Json<PageRequest>,
) -> Answer<PageInfo> {
    Ok(Json(service.open(request).await?))
}

/// Ends a page.
#[utoipa::path(delete, path = "/v1/pages/{page}", params(("page" = String, Path)), responses((status = 200, body = PageInfo)))]
pub(super) async fn end(State(service): Ctx, Path(page): Path<String>) -> Answer<PageInfo> {
    Ok(Json(service.end(&page)?))
}

/// An address at which this user's browser can open the dashboard, once.
#[utoipa::path(post, path = "/v1/dashboard", responses((status = 200, body = DashboardInfo)))]
pub(super) async fn dashboard(
    State(service): State<Arc<DashboardService>>,
) -> Answer<DashboardInfo> {
    Ok(Json(service.open().await?))
}
