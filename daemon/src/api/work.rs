//! The long calls: they answer with events while the work goes on.
//!
//! A share ends with its listener; a fetch goes on without one.

use super::Failure;
use super::transfers::find;
use crate::failure;
use crate::publish::{self, Cancel, Publisher};
use crate::transfer::{self, Request, Transfer, TransferService};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::{self, Sse};
use futures::StreamExt;
use futures::stream::{self, Stream};
use hither_api::{
    ApiError, ErrorCode, Event, FetchRequest, ListingRequest, MAX_CELLS, ShareRequest, TransferView,
};
use hither_proto::{EntryName, Ticket};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// The interval at which progress is reported.
const PROGRESS: Duration = Duration::from_millis(200);

pub(super) fn frame(event: &impl Serialize) -> Result<sse::Event, Infallible> {
    let data = serde_json::to_string(event).unwrap_or_default();
    Ok(sse::Event::default().data(data))
}

/// Shares a file or folder, or several as one folder. The events end with `done` or `error`;
/// hanging up cancels the work.
#[utoipa::path(post, path = "/v1/shares", request_body = ShareRequest, responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn share(
    State(publisher): State<Arc<Publisher>>,
    Json(request): Json<ShareRequest>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let flag = Arc::new(AtomicBool::new(false));
    let guard = Cancel(Arc::clone(&flag));
    let of = Arc::clone(&publisher);
    publisher
        .tasks
        .spawn_forever(async move { publish::share(&of, request, sender, flag).await });
    // The guard lives in the stream: when the listener hangs up, the work is cancelled.
    let events = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        let event = receiver.recv().await?;
        Some((frame(&event), (receiver, guard)))
    });
    Sse::new(events)
}

/// How the upload of a share goes on: events `upload`, the last one when it is uploaded, or `error`
/// when nothing comes of it without somebody doing something.
#[utoipa::path(get, path = "/v1/shares/{share}/upload", params(("share" = String, Path)), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn upload(
    State(publisher): State<Arc<Publisher>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let share = super::shares::find_share(&publisher, &id)?.id;
    let stop = publisher.tasks.token.clone().cancelled_owned();
    let events =
        crate::store_upload::follow(Arc::clone(&publisher.store_uploads), share).take_until(stop);
    Ok(Sse::new(events.map(|event| frame(&event))))
}

/// Fetches what a ticket names. The events end with `done` or `error`; hanging up does not stop the
/// transfer.
#[utoipa::path(post, path = "/v1/fetches", request_body = FetchRequest, responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn fetch(
    State(service): State<Arc<TransferService>>,
    Json(request): Json<FetchRequest>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let ticket: Ticket = request.ticket.parse().map_err(|e| failure::ticket(&e))?;
    if request
        .folder
        .as_ref()
        .is_some_and(|folder| !folder.is_absolute() || folder.to_str().is_none())
    {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "The folder must be an absolute path in UTF-8.",
        )
        .into());
    }
    if request.follow && (ticket.pin.is_some() || request.folder.is_none()) {
        let why = "Only a whole share can be followed, into a folder: not one version, not to standard output.";
        return Err(ApiError::new(ErrorCode::BadRequest, why).into());
    }
    transfer::check_paths(&request.paths)?;
    let named = request
        .file_name
        .as_deref()
        .map(EntryName::parse)
        .transpose();
    let named = named.map_err(|error| {
        ApiError::new(
            ErrorCode::BadRequest,
            format!("That is no name for a file: {error}."),
        )
    })?;
    let request = Request {
        ticket,
        folder: request.folder,
        named,
        paths: request.paths,
        listing: false,
        from: request.from,
        existing: request.existing,
        accept: request.accept,
        follow: request.follow,
        mode: request.mode,
        max_cost: request.max_cost,
        umask: request.umask.unwrap_or_else(hither_api::umask) & 0o777,
        names: request.names,
        wait: request.wait_seconds.map(Duration::from_secs),
    };
    let transfer = transfer::begin(&service, request)?;
    Ok(Sse::new(follow(transfer)))
}

/// Lists what a ticket opens. The events end with `done` or `error`; hanging up ends the look.
#[utoipa::path(post, path = "/v1/listings", request_body = ListingRequest, responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn listing(
    State(service): State<Arc<TransferService>>,
    Json(request): Json<ListingRequest>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let ticket: Ticket = request.ticket.parse().map_err(|e| failure::ticket(&e))?;
    let wait = request.wait_seconds.map(Duration::from_secs);
    let events = transfer::listing::list(&service, ticket, request.paths, wait)?;
    Ok(Sse::new(events.map(|event| frame(&event))))
}

/// The events of a transfer, from now on.
#[utoipa::path(get, path = "/v1/transfers/{transfer}/events", params(("transfer" = String, Path)), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(service): State<Arc<TransferService>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    Ok(Sse::new(follow(find(&service, &id)?)))
}

/// How finely a transfer is looked at.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
pub(super) struct Looking {
    /// Most cells of the map, at most 4096; that many when absent.
    cells: Option<u32>,
}

/// A transfer as it is now: from whom how fast, and a map of what is here. Told again a few times a
/// second while it changes, until it is forgotten; hanging up changes nothing.
#[utoipa::path(get, path = "/v1/transfers/{transfer}/view", params(("transfer" = String, Path), Looking), responses((status = 200, body = TransferView, content_type = "text/event-stream")))]
pub(super) async fn view(
    State(service): State<Arc<TransferService>>,
    Path(id): Path<String>,
    Query(looking): Query<Looking>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let transfer = find(&service, &id)?;
    let stop = service.tasks.token.clone().cancelled_owned();
    let views = crate::live_view::watch(service, transfer, looking.cells.unwrap_or(MAX_CELLS));
    Ok(Sse::new(views.take_until(stop).map(|view| frame(&view))))
}

struct Follow {
    transfer: Arc<Transfer>,
    events: broadcast::Receiver<Event>,
    ended: bool,
}

/// Progress at intervals and events as they come, until the last one.
fn follow(transfer: Arc<Transfer>) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    // Earlier events are sent again: the last event decides nothing twice, an offer may still need
    // its answer.
    let (events, told) = transfer.listen();
    let follow = Follow {
        transfer,
        events,
        ended: false,
    };
    let live = stream::unfold(follow, |mut follow| async move {
        if follow.ended {
            return None;
        }
        let event = loop {
            tokio::select! {
                biased;
                event = follow.events.recv() => match event {
                    Ok(event) => break event,
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(PROGRESS) => break follow.transfer.progress(),
            }
        };
        follow.ended = event.is_last();
        Some((frame(&event), follow))
    });
    let ended = told.iter().any(Event::is_last);
    let told: Vec<_> = told.iter().map(frame).collect();
    stream::iter(told).chain(live.take_while(move |_| std::future::ready(!ended)))
}
