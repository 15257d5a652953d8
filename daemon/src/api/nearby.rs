//! Calls about devices: all that are known or seen here, and the strangers among them.

use super::Answer;
use crate::groups::GroupService;
use crate::nearby::{self, NearbyService};
use crate::own_devices::OwnDevices;
use crate::receive::ReceiveService;
use axum::Json;
use axum::extract::State;
use axum::response::sse::{self, Sse};
use futures::stream::{self, Stream};
use hither_api::{
    DeviceInfo, DeviceRequest, Event, NearbyAnswer, NearbyInfo, NearbyRequest, RemovedInfo,
    RenameRequest,
};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

type Ctx = State<Arc<NearbyService>>;

/// The user's devices, this one first, then those that the user said yes to, members of its groups,
/// and devices on this network that show their names. Waits a moment for relays that are being
/// connected, and for names.
#[utoipa::path(get, path = "/v1/devices", responses((status = 200, body = [DeviceInfo])))]
pub(super) async fn devices(
    State(service): Ctx,
    State(groups): State<Arc<GroupService>>,
) -> Json<Vec<DeviceInfo>> {
    service.relays.settle().await;
    let mut devices = service.relays.devices();
    devices.extend(crate::groups::devices(&groups, &devices));
    devices.extend(service.strangers(&devices).await);
    Json(devices)
}

/// Forgets a device that the user said yes to.
#[utoipa::path(post, path = "/v1/devices/forget", request_body = DeviceRequest, responses((status = 200, body = DeviceInfo)))]
pub(super) async fn forget(
    State(service): Ctx,
    State(receive): State<Arc<ReceiveService>>,
    Json(request): Json<DeviceRequest>,
) -> Answer<DeviceInfo> {
    let forgotten = nearby::forget(&service, &request.device).await?;
    // A rule about a device that was known holds for no stranger.
    receive.forget(&forgotten.device).await?;
    Ok(Json(forgotten))
}

/// Removes one of the user's devices: at relays, and on the user's other devices.
#[utoipa::path(post, path = "/v1/devices/remove", request_body = DeviceRequest, responses((status = 200, body = RemovedInfo)))]
pub(super) async fn remove(
    State(service): State<Arc<OwnDevices>>,
    Json(request): Json<DeviceRequest>,
) -> Answer<RemovedInfo> {
    Ok(Json(service.remove(&request.device).await?))
}

/// Gives a device another name on this one.
#[utoipa::path(post, path = "/v1/devices/rename", request_body = RenameRequest, responses((status = 200, body = DeviceInfo)))]
pub(super) async fn rename(
    State(service): Ctx,
    Json(request): Json<RenameRequest>,
) -> Answer<DeviceInfo> {
    Ok(Json(
        nearby::rename(&service, &request.device, &request.name).await?,
    ))
}

/// The devices that see this device, and the strangers that wait for an answer.
#[utoipa::path(get, path = "/v1/nearby", responses((status = 200, body = NearbyInfo)))]
pub(super) async fn show(State(service): Ctx) -> Json<NearbyInfo> {
    Json(nearby::info(&service))
}

/// Shows this device to everybody on this network for ten minutes, or ends that.
#[utoipa::path(post, path = "/v1/nearby", request_body = NearbyRequest, responses((status = 200, body = NearbyInfo)))]
pub(super) async fn set_visible(
    State(service): Ctx,
    Json(request): Json<NearbyRequest>,
) -> Json<NearbyInfo> {
    nearby::set_visible(&service, request.visible);
    Json(nearby::info(&service))
}

/// Answers a stranger that waits.
#[utoipa::path(post, path = "/v1/nearby/answer", request_body = NearbyAnswer, responses((status = 200)))]
pub(super) async fn answer(
    State(service): Ctx,
    Json(request): Json<NearbyAnswer>,
) -> Answer<Value> {
    let name = nearby::answer(&service, &request).await?;
    Ok(Json(json!({ "name": name })))
}

/// The same as it changes, beginning with how it is. Ends with the service.
#[utoipa::path(get, path = "/v1/nearby/events", responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(service): Ctx,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut changes = service.changes();
    changes.mark_changed();
    Sse::new(stream::unfold((service, changes), next))
}

type Following = (Arc<NearbyService>, watch::Receiver<u64>);

async fn next(
    (service, mut changes): Following,
) -> Option<(Result<sse::Event, Infallible>, Following)> {
    // The end of a window is news too.
    let ends = service.visibility.left().unwrap_or(Duration::MAX);
    tokio::select! {
        changed = changes.changed() => changed.ok()?,
        _ = tokio::time::timeout(ends, std::future::pending::<()>()) => {}
        () = service.tasks.token.cancelled() => return None,
    }
    let event = super::work::frame(&Event::Nearby(nearby::info(&service)));
    Some((event, (service, changes)))
}
