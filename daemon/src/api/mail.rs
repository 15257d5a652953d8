//! Calls about messages between the user's devices.

use super::{Answer, Failure};
use crate::mail::MailService;
use crate::{failure, mail};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::{self, Sse};
use futures::stream::{self, Stream};
use hither_api::{
    ApiError, ErrorCode, Event, MessageInfo, OutgoingInfo, SaveRequest, SavedInfo, SendRequest,
    SentInfo,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

type Ctx = State<Arc<MailService>>;

/// Runs what blocks.
async fn blocking<T: Send + 'static>(
    service: &Arc<MailService>,
    work: impl FnOnce(&MailService) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, Failure> {
    let of = Arc::clone(service);
    Ok(tokio::task::spawn_blocking(move || work(&of))
        .await
        .map_err(failure::internal)??)
}

/// Sends a message to another device: it is durable here, and perhaps on its way, when this
/// answers.
#[utoipa::path(post, path = "/v1/messages", request_body = SendRequest, responses((status = 200, body = SentInfo)))]
pub(super) async fn send(
    State(service): Ctx,
    Json(request): Json<SendRequest>,
) -> Answer<SentInfo> {
    Ok(Json(mail::send(&service, request).await?))
}

/// The time for which an answer is waited for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub(super) struct SentWait {
    /// Seconds that the answer may wait for the reader's word; at most 30.
    #[serde(default)]
    wait: u64,
}

/// Longest wait for the word of a reader in one call, seconds.
const MAX_WAIT: u64 = 30;

/// Gives the state of a sent message; waits, if that is wanted, until its reader has taken or
/// declined it, or it cannot be sent.
#[utoipa::path(get, path = "/v1/messages/{message}", params(("message" = String, Path), SentWait), responses((status = 200, body = SentInfo)))]
pub(super) async fn sent(
    State(service): Ctx,
    Path(message): Path<String>,
    Query(SentWait { wait }): Query<SentWait>,
) -> Answer<SentInfo> {
    let unknown = || ApiError::new(ErrorCode::BadRequest, "That is no id of a message.");
    let id = mail::stored_id(&message).ok_or_else(unknown)?;
    let wait = Duration::from_secs(wait.min(MAX_WAIT));
    let stop = service.tasks.token.clone();
    tokio::select! {
        info = mail::sent(&service, id, wait) => Ok(Json(info?)),
        () = stop.cancelled() => Ok(Json(mail::sent(&service, id, Duration::ZERO).await?)),
    }
}

/// Lists the messages that no relay has taken yet, oldest first.
#[utoipa::path(get, path = "/v1/outbox", responses((status = 200, body = [OutgoingInfo])))]
pub(super) async fn outbox(State(service): Ctx) -> Json<Vec<OutgoingInfo>> {
    Json(mail::outgoing(&service))
}

/// Takes a message back that no relay has taken yet.
#[utoipa::path(delete, path = "/v1/outbox/{id}", params(("id" = u64, Path)), responses((status = 200)))]
pub(super) async fn take_back(State(service): Ctx, Path(id): Path<u64>) -> Answer<Value> {
    blocking(&service, move |service| mail::take_back(service, id)).await?;
    Ok(Json(json!({})))
}

/// Every message that arrived, oldest first. Waits a moment for relays that are being connected.
#[utoipa::path(get, path = "/v1/inbox", responses((status = 200, body = [MessageInfo])))]
pub(super) async fn inbox(State(service): Ctx) -> Answer<Vec<MessageInfo>> {
    mail::settle(&service).await;
    Ok(Json(
        blocking(&service, |service| mail::list(service, 0)).await?,
    ))
}

/// One message, whole; with the ticket of a share that is offered: a secret.
#[utoipa::path(get, path = "/v1/inbox/{id}", params(("id" = u64, Path)), responses((status = 200, body = MessageInfo)))]
pub(super) async fn message(State(service): Ctx, Path(id): Path<u64>) -> Answer<MessageInfo> {
    Ok(Json(
        blocking(&service, move |service| mail::get(service, id)).await?,
    ))
}

/// Takes note that a message was looked at.
#[utoipa::path(post, path = "/v1/inbox/{id}/read", params(("id" = u64, Path)), responses((status = 200)))]
pub(super) async fn mark_read(State(service): Ctx, Path(id): Path<u64>) -> Answer<Value> {
    blocking(&service, move |service| mail::mark_read(service, id)).await?;
    Ok(Json(json!({})))
}

/// Writes the files of a message into a folder, never over others.
#[utoipa::path(post, path = "/v1/inbox/{id}/save", params(("id" = u64, Path)), request_body = SaveRequest, responses((status = 200, body = SavedInfo)))]
pub(super) async fn save(
    State(service): Ctx,
    Path(id): Path<u64>,
    Json(request): Json<SaveRequest>,
) -> Answer<SavedInfo> {
    Ok(Json(
        blocking(&service, move |service| {
            mail::save(service, id, &request.folder)
        })
        .await?,
    ))
}

/// Removes a message.
#[utoipa::path(delete, path = "/v1/inbox/{id}", params(("id" = u64, Path)), responses((status = 200, body = MessageInfo)))]
pub(super) async fn delete(State(service): Ctx, Path(id): Path<u64>) -> Answer<MessageInfo> {
    Ok(Json(
        blocking(&service, move |service| mail::delete(service, id)).await?,
    ))
}

/// The position to begin at.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    /// Only messages with a higher number.
    #[serde(default)]
    after: u64,
}

/// The messages behind a number as they arrive, those that are there already first. Ends with the
/// service.
#[utoipa::path(get, path = "/v1/inbox/events", params(("after" = Option<u64>, Query)), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(service): Ctx,
    Query(After { after }): Query<After>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut latest = service.inbox.latest();
    latest.mark_changed(); // what is there already is looked at
    Sse::new(stream::unfold(
        Arrivals {
            service,
            latest,
            after,
            queue: VecDeque::new(),
        },
        Arrivals::next,
    ))
}

struct Arrivals {
    service: Arc<MailService>,
    latest: watch::Receiver<u64>,
    after: u64,
    queue: VecDeque<MessageInfo>,
}

impl Arrivals {
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        while self.queue.is_empty() {
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.service.tasks.token.cancelled() => return None,
            }
            let after = self.after;
            self.queue = blocking(&self.service, move |service| mail::list(service, after))
                .await
                .ok()?
                .into();
        }
        let message = self.queue.pop_front()?;
        self.after = message.id;
        Some((super::work::frame(&Event::Message(message)), self))
    }
}
