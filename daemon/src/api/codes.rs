//! Calls about codes of three words.

use super::work::frame;
use super::{Answer, Failure};
use crate::code::{self, CodeService, EVENTS, Showing};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{self, Sse};
use futures::StreamExt;
use futures::stream::{self, Stream};
use hither_api::{AnswerCode, ApiError, EnterCode, ErrorCode, Event, ShowCode};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;

type Ctx = State<Arc<CodeService>>;

/// Shows a code for a share, or for pairing. The first event is `code`, the last one `done` or
/// `error`; hanging up withdraws the code.
#[utoipa::path(post, path = "/v1/codes", request_body = ShowCode, responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn show(
    State(service): Ctx,
    Json(request): Json<ShowCode>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let (showing, events) = code::show(&service, &request)?;
    let stop = service.tasks.token.clone().cancelled_owned();
    Ok(Sse::new(until_last(events, Some(showing)).take_until(stop)))
}

/// Enters a code that another device shows. The last event is `done` or `error`.
#[utoipa::path(post, path = "/v1/codes/enter", request_body = EnterCode, responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn enter(
    State(service): Ctx,
    Json(request): Json<EnterCode>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (sender, events) = mpsc::channel(EVENTS);
    let (of, gone) = (Arc::clone(&service), sender.clone());
    service.tasks.spawn_forever(async move {
        tokio::select! {
            () = code::enter(of, request, sender) => {}
            // The client that entered it does not wait any more.
            () = gone.closed() => {}
        }
    });
    Sse::new(until_last(events, None))
}

/// Answers what a code asks before it grants anything.
#[utoipa::path(post, path = "/v1/codes/{id}/answer", params(("id" = String, Path)), request_body = AnswerCode, responses((status = 200, body = AnswerCode)))]
pub(super) async fn answer(
    State(service): Ctx,
    Path(id): Path<String>,
    Json(answer): Json<AnswerCode>,
) -> Answer<AnswerCode> {
    if !service.shown.answer(&id, answer.yes) {
        let message = "There is no such question (any more).";
        return Err(ApiError::new(ErrorCode::NotFound, message).into());
    }
    Ok(Json(answer))
}

/// The events up to the last one. `showing` lives as long as somebody listens.
fn until_last(
    events: mpsc::Receiver<Event>,
    showing: Option<Showing>,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let begin = (events, showing, false);
    stream::unfold(begin, |(mut events, showing, ended)| async move {
        if ended {
            return None;
        }
        let event = events.recv().await?;
        let ended = event.is_last();
        Some((frame(&event), (events, showing, ended)))
    })
}
