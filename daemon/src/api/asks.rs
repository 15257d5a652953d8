//! Calls about what devices ask each other for.

use super::Answer;
use crate::asks::{self, AskService, Choice};
use crate::failure;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{self, Sse};
use futures::stream::{self, Stream};
use hither_api::{
    AnswerRequest, ApiError, AskInfo, AskRequest, AsksInfo, CandidateInfo, ErrorCode, Event,
    GrantInfo, GrantRequest,
};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;

type Ctx = State<Arc<AskService>>;

/// Every request, of this device and of others. Those of others that wait count as seen.
#[utoipa::path(get, path = "/v1/asks", responses((status = 200, body = AsksInfo)))]
pub(super) async fn list(State(service): Ctx) -> Answer<AsksInfo> {
    let listed = tokio::task::spawn_blocking(move || asks::list(&service)).await;
    Ok(Json(listed.map_err(failure::internal)??))
}

/// Asks another device for something: the request is durable when this answers.
#[utoipa::path(post, path = "/v1/asks", request_body = AskRequest, responses((status = 200, body = AskInfo)))]
pub(super) async fn ask(State(service): Ctx, Json(request): Json<AskRequest>) -> Answer<AskInfo> {
    Ok(Json(service.ask(request).await?))
}

/// A request of this device.
#[utoipa::path(get, path = "/v1/asks/{ask}", params(("ask" = String, Path)), responses((status = 200, body = AskInfo)))]
pub(super) async fn show(State(service): Ctx, Path(ask): Path<String>) -> Answer<AskInfo> {
    Ok(Json(asks::show(&service, &ask)?))
}

/// Takes a request of this device back.
#[utoipa::path(delete, path = "/v1/asks/{ask}", params(("ask" = String, Path)), responses((status = 200, body = AskInfo)))]
pub(super) async fn cancel(State(service): Ctx, Path(ask): Path<String>) -> Answer<AskInfo> {
    Ok(Json(service.cancel(&ask).await?))
}

/// A request of this device as it goes on, beginning with how it is; ends when it does.
#[utoipa::path(get, path = "/v1/asks/{ask}/events", params(("ask" = String, Path)), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(service): Ctx,
    Path(ask): Path<String>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut changes = service.changes();
    changes.mark_changed();
    let following = Following {
        service,
        ask,
        changes,
        said: None,
    };
    Sse::new(stream::unfold(following, Following::next))
}

struct Following {
    service: Arc<AskService>,
    ask: String,
    changes: watch::Receiver<u64>,
    /// The last state that was told.
    said: Option<String>,
}

impl Following {
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        loop {
            if self.said.as_deref().is_some_and(is_final) {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.service.tasks.token.cancelled() => return None,
            }
            let event = match asks::show(&self.service, &self.ask) {
                Ok(info) if self.said.as_deref() == Some(info.state.as_str()) => continue,
                Ok(info) => {
                    self.said = Some(info.state.clone());
                    Event::Ask(Box::new(info))
                }
                Err(error) => {
                    self.said = Some("expired".into());
                    Event::Error(error)
                }
            };
            return Some((super::work::frame(&event), self));
        }
    }
}

fn is_final(state: &str) -> bool {
    matches!(state, "answered" | "refused" | "expired" | "cancelled")
}

/// The requests of other devices, whenever they change, beginning with how they are.
#[utoipa::path(get, path = "/v1/asks/events", responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn all_events(
    State(service): Ctx,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut changes = service.changes();
    changes.mark_changed();
    Sse::new(stream::unfold(
        (service, changes),
        |(service, mut changes)| async move {
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                () = service.tasks.token.cancelled() => return None,
            }
            let of = Arc::clone(&service);
            let listed = tokio::task::spawn_blocking(move || asks::list(&of)).await;
            let event = match listed.ok()? {
                Ok(info) => Event::Asks(Box::new(info)),
                Err(error) => Event::Error(error),
            };
            Some((super::work::frame(&event), (service, changes)))
        },
    ))
}

/// Answers a request of another device; with nothing in the body, what this device finds for it.
#[utoipa::path(post, path = "/v1/asks/{ask}/answer", params(("ask" = String, Path)), request_body = AnswerRequest, responses((status = 200)))]
pub(super) async fn answer(
    State(service): Ctx,
    Path(ask): Path<String>,
    Json(request): Json<AnswerRequest>,
) -> Answer<Value> {
    let choice = match (request.text, request.files) {
        (None, files) if files.is_empty() => Choice::Found,
        (None, files) if files.iter().all(|path| path.is_absolute()) => Choice::Files(files),
        (Some(text), files) if files.is_empty() && !text.is_empty() => Choice::Text(text),
        _ => {
            let message = "An answer is a text or files with absolute paths: one of them.";
            return Err(ApiError::new(ErrorCode::BadRequest, message).into());
        }
    };
    let words = service.accept(&ask, choice).await?;
    Ok(Json(json!({ "words": words })))
}

/// The latest files that may answer a request of another device.
#[utoipa::path(get, path = "/v1/asks/{ask}/candidates", params(("ask" = String, Path)), responses((status = 200, body = [CandidateInfo])))]
pub(super) async fn candidates(
    State(service): Ctx,
    Path(ask): Path<String>,
) -> Answer<Vec<CandidateInfo>> {
    Ok(Json(service.candidates(&ask).await?))
}

/// Refuses a request of another device.
#[utoipa::path(post, path = "/v1/asks/{ask}/refuse", params(("ask" = String, Path)), responses((status = 200)))]
pub(super) async fn refuse(State(service): Ctx, Path(ask): Path<String>) -> Answer<Value> {
    service.refuse(&ask).await?;
    Ok(Json(json!({})))
}

/// The requests that are answered without the user.
#[utoipa::path(get, path = "/v1/asks/grants", responses((status = 200, body = [GrantInfo])))]
pub(super) async fn grants(State(service): Ctx) -> Json<Vec<GrantInfo>> {
    Json(service.grants())
}

/// Allows requests of a device from now on.
#[utoipa::path(post, path = "/v1/asks/grants", request_body = GrantRequest, responses((status = 200, body = GrantInfo)))]
pub(super) async fn allow(
    State(service): Ctx,
    Json(request): Json<GrantRequest>,
) -> Answer<GrantInfo> {
    Ok(Json(service.allow(request).await?))
}

/// Ends an allowance.
#[utoipa::path(delete, path = "/v1/asks/grants/{grant}", params(("grant" = u64, Path)), responses((status = 200, body = GrantInfo)))]
pub(super) async fn revoke(State(service): Ctx, Path(grant): Path<u64>) -> Answer<GrantInfo> {
    Ok(Json(service.revoke(grant).await?))
}
