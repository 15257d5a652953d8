//! The short calls about shares.

use super::{Answer, Failure};
use crate::failure;
use crate::publish::Publisher;
use crate::transfer::TransferService;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{ApiError, ErrorCode, LeftOut, ShareInfo, TicketInfo};
use hither_proto::ShareId;
use hither_swarm::Share;
use std::sync::Arc;

type Ctx = State<Arc<Publisher>>;

/// Every share on this device.
#[utoipa::path(get, path = "/v1/shares", responses((status = 200, body = [ShareInfo])))]
pub(super) async fn shares(
    State(publisher): Ctx,
    State(transfers): State<Arc<TransferService>>,
) -> Answer<Vec<ShareInfo>> {
    let infos = tokio::task::spawn_blocking(move || {
        let mut infos: Vec<ShareInfo> = Vec::new();
        for (share, record) in publisher.library.share_records() {
            // Files may have changed since: the answer covers the files that can be given now.
            if let Some(version) = share.current() {
                let held = publisher.library.recheck(&share, &version);
                let info = info(&publisher, &share, &record, &version, held);
                infos.push(ShareInfo {
                    follow: transfers.follow_of(share.id),
                    ..info
                });
            }
        }
        infos.sort_by_key(|info| std::cmp::Reverse(info.published));
        infos
    });
    Ok(Json(infos.await.map_err(failure::internal)?))
}

fn info(
    publisher: &Publisher,
    share: &Share,
    record: &crate::records::ShareRecord,
    version: &hither_swarm::Version,
    held: u64,
) -> ShareInfo {
    let head = version.head.head();
    let health = publisher.library.health.of(share.id);
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
        mine: share.owner == publisher.device,
        owner: share.owner.to_string(),
        version: head.version,
        files: record.files,
        bytes: head.bytes,
        chunks: u64::from(head.chunks),
        held,
        published: head.published_ms / 1000,
        expires: record.expires.map(|at| publisher.library.time.to_wall(at)),
        group: record
            .group
            .as_ref()
            .map(|of| publisher.groups.name(&of.group)),
        watched: record.watch.is_some(),
        once: record.once,
        piped: record.piped,
        exclude: record.exclude.clone(),
        state: health.state,
        trouble: publisher.watches.trouble(share.id).or(health.words),
        left_out: told(&record.left_out),
        left_out_total: record.left_out.total,
        unportable: told(&record.unportable),
        unportable_total: record.unportable.total,
        follow: None,
        upload: publisher.store_uploads.upload_info(share),
    }
}

pub(super) fn find_share(publisher: &Publisher, id: &str) -> Result<Arc<Share>, Failure> {
    let id = ShareId::from_hex(id).ok();
    let share = id
        .and_then(|id| publisher.swarm.shares().get(id))
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
pub(super) async fn unshare(State(publisher): Ctx, Path(id): Path<String>) -> Answer<ShareInfo> {
    let share = find_share(&publisher, &id)?;
    if publisher.swarm.core().routes.is_fetched(share.id) {
        return Err(ApiError::new(
            ErrorCode::AlreadyFetching,
            "This share is being fetched at the moment.",
        )
        .with_hint("Stop that first: hither transfers cancel")
        .into());
    }
    let record = publisher
        .library
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
    let told = info(&publisher, &share, &record, &version, 0);
    let of = Arc::clone(&publisher);
    tokio::task::spawn_blocking(move || of.library.unshare(&share))
        .await
        .map_err(failure::internal)??;
    Ok(Json(told))
}

/// The ticket of a share: a secret.
#[utoipa::path(get, path = "/v1/shares/{share}/ticket", params(("share" = String, Path)), responses((status = 200, body = TicketInfo)))]
pub(super) async fn ticket(State(publisher): Ctx, Path(id): Path<String>) -> Answer<TicketInfo> {
    let share = find_share(&publisher, &id)?;
    Ok(Json(TicketInfo {
        ticket: publisher.tickets.ticket(&share).to_string(),
    }))
}
