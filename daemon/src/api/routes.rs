//! The short calls.

use super::{Answer, Failure};
use crate::daemon::Daemon;
use crate::failure;
use crate::transfer::{self, Agreement, Control, Transfer};
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{
    AcceptRequest, ApiError, ErrorCode, Finding, LeftOut, LinkInfo, ShareInfo, Status, TicketInfo,
    TransferInfo, Why,
};
use hither_carrier::CarrierKind;
use hither_proto::ShareId;
use hither_relay_client::carrier_name;
use hither_swarm::Share;
use serde_json::{Value, json};
use std::sync::Arc;

type Ctx = State<Arc<Daemon>>;

/// The daemon and its links.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(daemon): Ctx) -> Json<Status> {
    let links = daemon
        .swarm
        .links()
        .open()
        .into_iter()
        .map(|link| LinkInfo {
            device: link.device().to_string(),
            name: daemon
                .swarm
                .links()
                .name(link.device())
                .map(|n| n.to_string())
                .unwrap_or_default(),
            carrier: carrier_name(link.carrier()).into(),
            relay: (link.carrier() == CarrierKind::Relayed)
                .then(|| daemon.swarm.links().relay_to(link.device()))
                .flatten(),
            address: link.remote().to_string(),
            rtt_ms: link.rtt().as_secs_f64() * 1000.0,
        });
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        device: daemon.device.to_string(),
        short: daemon.device.short(),
        name: daemon.name.to_string(),
        pid: std::process::id(),
        uptime: daemon.swarm.core().clock.uptime().as_secs(),
        udp_port: daemon.config.quic.then(|| daemon.swarm.endpoint().port()),
        tcp_port: daemon.swarm.endpoint().tcp_port(),
        home: daemon.paths.data.display().to_string(),
        shares: daemon.share_records().len() as u64,
        uploads: daemon.uploads(),
        transfers: daemon
            .transfers
            .all()
            .iter()
            .filter(|t| t.is_running())
            .count() as u64,
        nearby: daemon.swarm.links().nearby().len() as u64,
        links: links.collect(),
        relays: daemon
            .relays
            .all()
            .iter()
            .map(|relay| relay.info())
            .collect(),
        unread: daemon.mail.inbox.unread(),
        outgoing: daemon.mail.outbox.len() as u64,
        world: daemon.swarm.host_state().info(),
        limits: daemon.swarm.throttles().info(),
        losses: daemon.losses.told(),
        warnings: daemon.all_warnings(),
    })
}

/// Stops the daemon, in order.
#[utoipa::path(post, path = "/v1/shutdown", responses((status = 200)))]
pub(super) async fn shutdown(State(daemon): Ctx) -> Json<Value> {
    daemon.tasks.token.cancel();
    Json(json!({}))
}

/// The user has read what was lost: it is not told any more.
#[utoipa::path(post, path = "/v1/losses/acknowledge", responses((status = 200)))]
pub(super) async fn acknowledge(State(daemon): Ctx) -> Answer<Value> {
    let acknowledged = tokio::task::spawn_blocking(move || daemon.losses.acknowledge()).await;
    acknowledged
        .map_err(failure::internal)?
        .map_err(failure::internal)?;
    Ok(Json(json!({})))
}

/// What works, what does not, and what could be done about it.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = [Finding])))]
pub(super) async fn doctor(State(daemon): Ctx) -> Answer<Vec<Finding>> {
    Ok(Json(crate::doctor::examine(&daemon).await))
}

/// Every share on this device.
#[utoipa::path(get, path = "/v1/shares", responses((status = 200, body = [ShareInfo])))]
pub(super) async fn shares(State(daemon): Ctx) -> Answer<Vec<ShareInfo>> {
    let infos = tokio::task::spawn_blocking(move || {
        let mut infos: Vec<ShareInfo> = Vec::new();
        for (share, record) in daemon.share_records() {
            // Files may have changed since: what is told is what can be given now.
            if let Some(version) = share.current() {
                let held = daemon.recheck(&share, &version);
                infos.push(info(&daemon, &share, &record, &version, held));
            }
        }
        infos.sort_by_key(|info| std::cmp::Reverse(info.published));
        infos
    });
    Ok(Json(infos.await.map_err(failure::internal)?))
}

fn info(
    daemon: &Daemon,
    share: &Share,
    record: &crate::records::ShareRecord,
    version: &hither_swarm::Version,
    held: u64,
) -> ShareInfo {
    let head = version.head.head();
    let health = daemon.health.of(share.id);
    let told = |of: &crate::records::LeftOutRecord| -> Vec<LeftOut> {
        let told = of.first.iter();
        told.map(|(path, reason)| LeftOut {
            path: path.clone(),
            reason: reason.clone(),
        })
        .collect()
    };
    ShareInfo {
        share: share.id.to_string(),
        name: record.name.clone(),
        path: record.parent.join(&record.file_name).display().to_string(),
        more_paths: record
            .paths()
            .iter()
            .skip(1)
            .map(|path| path.display().to_string())
            .collect(),
        mine: share.owner == daemon.device,
        owner: share.owner.to_string(),
        version: head.version,
        files: record.files,
        bytes: head.bytes,
        chunks: u64::from(head.chunks),
        held,
        published: head.published_ms / 1000,
        expires: record.expires.map(|at| daemon.time.to_wall(at)),
        group: record
            .group
            .as_ref()
            .map(|of| daemon.groups.name(&of.group)),
        watched: record.watch.is_some(),
        state: health.state,
        trouble: daemon.watches.trouble(share.id).or(health.words),
        left_out: told(&record.left_out),
        left_out_total: record.left_out.total,
        unportable: told(&record.unportable),
        unportable_total: record.unportable.total,
        upload: daemon.upload_info(share),
    }
}

pub(super) fn find_share(daemon: &Daemon, id: &str) -> Result<Arc<Share>, Failure> {
    let id = ShareId::from_hex(id).ok();
    let share = id
        .and_then(|id| daemon.swarm.shares().get(id))
        .filter(|share| share.current().is_some());
    share.ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            "There is no such share on this device.",
        )
        .into()
    })
}

/// Ends a share on this device; its files stay.
#[utoipa::path(delete, path = "/v1/shares/{share}", params(("share" = String, Path)), responses((status = 200, body = ShareInfo)))]
pub(super) async fn unshare(State(daemon): Ctx, Path(id): Path<String>) -> Answer<ShareInfo> {
    let share = find_share(&daemon, &id)?;
    if daemon.transfers.running(share.id).is_some() {
        return Err(ApiError::new(
            ErrorCode::AlreadyFetching,
            "This share is being fetched at the moment.",
        )
        .with_hint("Stop that first: hither transfers cancel")
        .into());
    }
    let record = daemon
        .share_records()
        .into_iter()
        .find(|(s, _)| s.id == share.id)
        .map(|(_, record)| record);
    let (Some(record), Some(version)) = (record, share.current()) else {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "There is no such share on this device.",
        )
        .into());
    };
    let told = info(&daemon, &share, &record, &version, 0);
    let of = Arc::clone(&daemon);
    tokio::task::spawn_blocking(move || of.unshare(&share))
        .await
        .map_err(failure::internal)??;
    Ok(Json(told))
}

/// The ticket of a share: a secret.
#[utoipa::path(get, path = "/v1/shares/{share}/ticket", params(("share" = String, Path)), responses((status = 200, body = TicketInfo)))]
pub(super) async fn ticket(State(daemon): Ctx, Path(id): Path<String>) -> Answer<TicketInfo> {
    let share = find_share(&daemon, &id)?;
    Ok(Json(TicketInfo {
        ticket: daemon.ticket(&share).to_string(),
    }))
}

pub(super) fn find(daemon: &Daemon, id: &str) -> Result<Arc<Transfer>, Failure> {
    let transfer = daemon.transfers.get(id);
    transfer.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "There is no such transfer.").into())
}

/// Every transfer, the latest first.
#[utoipa::path(get, path = "/v1/transfers", responses((status = 200, body = [TransferInfo])))]
pub(super) async fn transfers(State(daemon): Ctx) -> Json<Vec<TransferInfo>> {
    Json(
        daemon
            .transfers
            .all()
            .iter()
            .map(|t| t.info(&daemon))
            .collect(),
    )
}

/// One transfer.
#[utoipa::path(get, path = "/v1/transfers/{transfer}", params(("transfer" = String, Path)), responses((status = 200, body = TransferInfo)))]
pub(super) async fn transfer(State(daemon): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    Ok(Json(find(&daemon, &id)?.info(&daemon)))
}

/// Accepts what was offered: writing begins. Refused when that is not what is offered now.
#[utoipa::path(post, path = "/v1/transfers/{transfer}/accept", params(("transfer" = String, Path)), request_body = AcceptRequest, responses((status = 200)))]
pub(super) async fn accept(
    State(daemon): Ctx,
    Path(id): Path<String>,
    Json(request): Json<AcceptRequest>,
) -> Answer<Value> {
    let transfer = find(&daemon, &id)?;
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
pub(super) async fn pause(State(daemon): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let transfer = find(&daemon, &id)?;
    ended(&transfer, Control::Pause).await;
    Ok(Json(transfer.info(&daemon)))
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
pub(super) async fn resume(State(daemon): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let found = find(&daemon, &id)?;
    transfer::resume(&daemon, &found)?;
    Ok(Json(found.info(&daemon)))
}

/// Ends a transfer and removes what it left; a finished one is only forgotten, its files stay.
#[utoipa::path(delete, path = "/v1/transfers/{transfer}", params(("transfer" = String, Path)), responses((status = 200, body = TransferInfo)))]
pub(super) async fn cancel(State(daemon): Ctx, Path(id): Path<String>) -> Answer<TransferInfo> {
    let transfer = find(&daemon, &id)?;
    let info = transfer.info(&daemon);
    if transfer.is_running() {
        ended(&transfer, Control::Cancel).await;
    } else {
        let of = Arc::clone(&daemon);
        tokio::task::spawn_blocking(move || transfer::discard(&of, &transfer))
            .await
            .map_err(failure::internal)?;
    }
    Ok(Json(info))
}

/// Why a transfer's bytes came from where they came.
#[utoipa::path(get, path = "/v1/transfers/{transfer}/why", params(("transfer" = String, Path)), responses((status = 200, body = Why)))]
pub(super) async fn why(State(daemon): Ctx, Path(id): Path<String>) -> Answer<Why> {
    Ok(Json(crate::why::why(&daemon, &*find(&daemon, &id)?)))
}
