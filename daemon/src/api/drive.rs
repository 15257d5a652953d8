//! Calls about folders that are exposed, here and elsewhere.

use super::Answer;
use crate::exposed::{ExposedService, Watching};
use crate::failure;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{self, Sse};
use futures::stream::{self, Stream};
use hither_api::{
    DriveInfo, DriveListRequest, DriveListing, DriveRequest, EndExposureRequest, Event,
    ExposeRequest, ExposureInfo,
};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;

type Ctx = State<Arc<ExposedService>>;

/// The folders that this device exposes.
#[utoipa::path(get, path = "/v1/exposures", responses((status = 200, body = [ExposureInfo])))]
pub(super) async fn exposures(State(service): Ctx) -> Json<Vec<ExposureInfo>> {
    Json(service.exposures())
}

/// Exposes a folder to a device or group.
#[utoipa::path(post, path = "/v1/exposures", request_body = ExposeRequest, responses((status = 200, body = ExposureInfo)))]
pub(super) async fn expose(
    State(service): Ctx,
    Json(request): Json<ExposeRequest>,
) -> Answer<ExposureInfo> {
    Ok(Json(service.expose(request).await?))
}

/// Ends an exposure, and what was shared out of it.
#[utoipa::path(post, path = "/v1/exposures/end", request_body = EndExposureRequest, responses((status = 200, body = ExposureInfo)))]
pub(super) async fn end(
    State(service): Ctx,
    Json(request): Json<EndExposureRequest>,
) -> Answer<ExposureInfo> {
    let ended = tokio::task::spawn_blocking(move || service.end_exposure(&request.name));
    Ok(Json(ended.await.map_err(failure::internal)??))
}

/// The contents of a folder that another device exposes.
#[utoipa::path(post, path = "/v1/drive/list", request_body = DriveListRequest, responses((status = 200, body = DriveListing)))]
pub(super) async fn list(
    State(service): Ctx,
    Json(request): Json<DriveListRequest>,
) -> Answer<DriveListing> {
    Ok(Json(service.list_there(request).await?))
}

/// The uploads that this device asked others for, the latest first.
#[utoipa::path(get, path = "/v1/drive/uploads", responses((status = 200, body = [DriveInfo])))]
pub(super) async fn uploads(State(service): Ctx) -> Json<Vec<DriveInfo>> {
    Json(service.uploads_there())
}

/// Makes another device share and upload something: the request is durable when this answers.
#[utoipa::path(post, path = "/v1/drive/uploads", request_body = DriveRequest, responses((status = 200, body = DriveInfo)))]
pub(super) async fn upload(
    State(service): Ctx,
    Json(request): Json<DriveRequest>,
) -> Answer<DriveInfo> {
    Ok(Json(service.upload_there(request).await?))
}

/// An upload that this device asked another one for.
#[utoipa::path(get, path = "/v1/drive/uploads/{upload}", params(("upload" = String, Path)), responses((status = 200, body = DriveInfo)))]
pub(super) async fn show(State(service): Ctx, Path(upload): Path<String>) -> Answer<DriveInfo> {
    Ok(Json(service.upload_info(&upload)?))
}

/// Takes an upload back that this device asked another one for.
#[utoipa::path(delete, path = "/v1/drive/uploads/{upload}", params(("upload" = String, Path)), responses((status = 200, body = DriveInfo)))]
pub(super) async fn cancel(State(service): Ctx, Path(upload): Path<String>) -> Answer<DriveInfo> {
    Ok(Json(service.cancel_there(&upload).await?))
}

/// An upload as it goes on, beginning with how it is; ends when it does. While somebody listens the
/// ticket is not put into the inbox.
#[utoipa::path(get, path = "/v1/drive/uploads/{upload}/events", params(("upload" = String, Path)), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(service): Ctx,
    Path(upload): Path<String>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut changes = service.changes();
    changes.mark_changed();
    let following = Following {
        _watching: service.watch(&upload),
        service,
        upload,
        changes,
        said: None,
        ended: false,
    };
    Sse::new(stream::unfold(following, Following::next))
}

struct Following {
    _watching: Option<Watching>,
    service: Arc<ExposedService>,
    upload: String,
    changes: watch::Receiver<u64>,
    /// The state that was told last.
    said: Option<DriveInfo>,
    ended: bool,
}

impl Following {
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        while !self.ended {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.service.tasks.token.cancelled() => return None,
            }
            let event = match self.service.upload_info(&self.upload) {
                Ok(info) if self.said.as_ref() == Some(&info) => continue,
                Ok(info) => {
                    self.ended = info.is_final();
                    self.said = Some(info.clone());
                    Event::Drive(Box::new(info))
                }
                Err(error) => {
                    self.ended = true;
                    Event::Error(error)
                }
            };
            return Some((super::work::frame(&event), self));
        }
        None
    }
}
