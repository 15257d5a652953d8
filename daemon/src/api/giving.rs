//! The calls about what this device gives.

use super::{Answer, Failure};
use crate::failure;
use crate::giving::{self, GivingService};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse;
use futures::stream::{Stream, StreamExt};
use hither_api::{ApiError, ErrorCode, Event, GivingInfo};
use hither_proto::ShareId;
use std::convert::Infallible;
use std::sync::Arc;

type Ctx = State<Arc<GivingService>>;

/// The share that is asked about.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
pub(super) struct Which {
    /// Only those of this share, by its id.
    share: Option<String>,
}

impl Which {
    fn share(&self) -> Result<Option<ShareId>, Failure> {
        let Some(share) = &self.share else {
            return Ok(None);
        };
        let unknown = || ApiError::new(ErrorCode::BadRequest, "That is no id of a share.");
        Ok(Some(ShareId::from_hex(share).map_err(|_| unknown())?))
    }
}

/// Every device that fetches something of this one, or fetched it, those that do now first; at most
/// 1024. From before the daemon started those are known that came to have all of something.
#[utoipa::path(get, path = "/v1/giving", params(Which), responses((status = 200, body = [GivingInfo])))]
pub(super) async fn giving(
    State(service): Ctx,
    Query(which): Query<Which>,
) -> Answer<Vec<GivingInfo>> {
    let only = which.share()?;
    let list = tokio::task::spawn_blocking(move || service.list(only));
    Ok(Json(list.await.map_err(failure::internal)?))
}

/// Leaves those out of the list that fetch nothing now, until they fetch something again. Answers those
/// that are left.
#[utoipa::path(delete, path = "/v1/giving", responses((status = 200, body = [GivingInfo])))]
pub(super) async fn clear(State(service): Ctx) -> Answer<Vec<GivingInfo>> {
    let list = tokio::task::spawn_blocking(move || {
        service.clear()?;
        Ok::<_, hither_content::storage::StorageError>(service.list(None))
    });
    let list = list.await.map_err(failure::internal)?;
    Ok(Json(list.map_err(|error| failure::storage(&error))?))
}

/// The same as it changes: events `giving`, beginning with how everything stands, and `fetched`
/// when a device came to have all of something. Of one share until it ends.
#[utoipa::path(get, path = "/v1/giving/events", params(Which), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(service): Ctx,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let only = which.share()?;
    let stop = service.tasks.token.clone().cancelled_owned();
    let events = giving::watch(service, only).take_until(stop);
    Ok(Sse::new(events.map(|event| super::work::frame(&event))))
}
