//! The short calls about transfers.

use super::{Answer, Failure};
use crate::failure;
use crate::transfer::outlet::Window;
use crate::transfer::{self, Agreement, Control, Transfer, TransferService};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::stream;
use hither_api::{AcceptRequest, ApiError, ErrorCode, TransferInfo, Why};
use serde_json::{Value, json};
use std::sync::Arc;

type Ctx = State<Arc<TransferService>>;

pub(super) fn find(service: &TransferService, id: &str) -> Result<Arc<Transfer>, Failure> {
    let transfer = service.transfers.get(id);
    transfer.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "There is no such transfer.").into())
}

/// Every transfer, the latest first.
#[utoipa::path(get, path = "/v1/transfers", responses((status = 200, body = [TransferInfo])))]
pub(super) async fn transfers(State(service): Ctx) -> Answer<Vec<TransferInfo>> {
    let all = move || {
        let all = service.transfers.all();
        let shown = all.iter().filter(|t| !t.is_listing());
        shown.map(|t| t.full_info(&service)).collect()
    };
    Ok(Json(
        tokio::task::spawn_blocking(all)
            .await
            .map_err(failure::internal)?,
    ))
}

/// Forgets the transfers that are done, or failed and cannot go on; what was fetched stays. Answers
/// those that are left.
#[utoipa::path(delete, path = "/v1/transfers", responses((status = 200, body = [TransferInfo])))]
pub(super) async fn clear(State(service): Ctx) -> Answer<Vec<TransferInfo>> {
    let of = Arc::clone(&service);
    let cleared = tokio::task::spawn_blocking(move || of.transfers.clear(&of));
    cleared
        .await
        .map_err(failure::internal)?
        .map_err(|error| failure::storage(&error))?;
    transfers(State(service)).await
}

/// One transfer.
#[utoipa::path(get, path = "/v1/transfers/{transfer}", params(("transfer" = String, Path)), responses((status = 200, body = TransferInfo)))]
pub(super) async fn transfer(State(service): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let found = find(&service, &id)?;
    let info = tokio::task::spawn_blocking(move || found.full_info(&service));
    Ok(Json(info.await.map_err(failure::internal)?))
}

/// Accepts what was offered: writing begins. Refused when that is not what is offered now.
#[utoipa::path(post, path = "/v1/transfers/{transfer}/accept", params(("transfer" = String, Path)), request_body = AcceptRequest, responses((status = 200)))]
pub(super) async fn accept(
    State(service): Ctx,
    Path(id): Path<String>,
    Json(request): Json<AcceptRequest>,
) -> Answer<Value> {
    let transfer = find(&service, &id)?;
    if request.head.is_empty() {
        let why = "An answer must name what was offered: head of the event offer.";
        return Err(ApiError::new(ErrorCode::BadRequest, why).into());
    }
    if !transfer.is_running() || transfer.offered().as_ref() != Some(&request.head) {
        return Err(ApiError::new(
            ErrorCode::OfferChanged,
            "The share has changed: what was accepted is not what is offered now.",
        )
        .with_hint("Look at what is offered now, and accept that.")
        .into());
    }
    transfer.control(Control::Accept(Agreement::Offer(
        request.head,
        request.existing,
    )));
    Ok(Json(json!({})))
}

/// The content of a single file that is got in order, while it is got; only once, and only of a fetch
/// without a folder. Hanging up ends the transfer.
#[utoipa::path(get, path = "/v1/transfers/{transfer}/content", params(("transfer" = String, Path)), responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn content(
    State(service): Ctx,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let transfer = find(&service, &id)?;
    let flow = transfer.outlet.take(|| transfer.is_running()).await?;
    let length = flow.bytes;
    let pieces = stream::unfold((flow, None), |(mut flow, window)| async move {
        let mut window: Window = match window {
            Some(window) => window,
            None => flow.windows.recv().await?,
        };
        let read = tokio::task::spawn_blocking(move || window.piece().map(|piece| (piece, window)));
        match read.await.map_err(std::io::Error::other).flatten() {
            Ok((Some(piece), window)) => Some((Ok(piece), (flow, Some(window)))),
            Ok((None, _)) => Some((Ok(Vec::new()), (flow, None))),
            Err(error) => Some((Err(error), (flow, None))),
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Stops a transfer so that it can go on later.
#[utoipa::path(post, path = "/v1/transfers/{transfer}/pause", params(("transfer" = String, Path)), responses((status = 200, body = TransferInfo)))]
pub(super) async fn pause(State(service): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let transfer = find(&service, &id)?;
    ended(&transfer, Control::Pause).await;
    transfer.pause_waiting(&service)?;
    Ok(Json(transfer.info(&service)))
}

/// Tells a transfer to end and waits until it has.
async fn ended(transfer: &Transfer, control: Control) {
    let mut events = transfer.events.subscribe();
    if transfer.control(control) {
        while let Ok(event) = events.recv().await {
            if event.is_last() {
                break;
            }
        }
    }
}

/// Goes on with a stopped or failed transfer.
#[utoipa::path(post, path = "/v1/transfers/{transfer}/resume", params(("transfer" = String, Path)), responses((status = 200, body = TransferInfo)))]
pub(super) async fn resume(State(service): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let found = find(&service, &id)?;
    transfer::resume(&service, &found)?;
    Ok(Json(found.info(&service)))
}

/// Ends a transfer and removes what it left; a finished one is only forgotten, its files stay.
#[utoipa::path(delete, path = "/v1/transfers/{transfer}", params(("transfer" = String, Path)), responses((status = 200, body = TransferInfo)))]
pub(super) async fn cancel(State(service): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let transfer = find(&service, &id)?;
    let (of, at) = (Arc::clone(&transfer), Arc::clone(&service));
    let info = tokio::task::spawn_blocking(move || of.full_info(&at))
        .await
        .map_err(failure::internal)?;
    if transfer.is_running() {
        ended(&transfer, Control::Cancel).await;
    } else {
        let of = Arc::clone(&service);
        tokio::task::spawn_blocking(move || transfer::discard(&of, &transfer))
            .await
            .map_err(failure::internal)?;
    }
    Ok(Json(info))
}

/// Why a transfer's bytes came from where they came.
#[utoipa::path(get, path = "/v1/transfers/{transfer}/why", params(("transfer" = String, Path)), responses((status = 200, body = Why)))]
pub(super) async fn why(State(service): Ctx, Path(id): Path<String>) -> Answer<Why> {
    Ok(Json(crate::why::why(&service, &*find(&service, &id)?)))
}
