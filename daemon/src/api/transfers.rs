//! The short calls about transfers.

use super::{Answer, Failure};
use crate::failure;
use crate::transfer::{self, Agreement, Control, Transfer, TransferService};
use axum::Json;
use axum::extract::{Path, State};
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
        all.iter().map(|t| t.full_info(&service)).collect()
    };
    Ok(Json(
        tokio::task::spawn_blocking(all)
            .await
            .map_err(failure::internal)?,
    ))
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
    transfer.control(Control::Accept(Agreement::Offer(request.head)));
    Ok(Json(json!({})))
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
