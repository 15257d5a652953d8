//! Files on their way to standard output: fetched into the daemon's own folder, and gone as soon as
//! they were read.
//!
//! Bounded: at most [`STOPPED`] that were stopped stay, so that they can go on, none longer than
//! [`STAYS`]; one that nobody reads to the end goes after [`UNREAD`], or with the service.

use super::end::discard;
use super::{Transfer, start};
use crate::failure;
use crate::records::{TransferRecord, TransferState};
use crate::transfer::TransferService;
use hither_api::ApiError;
use hither_util::clock::unix_seconds;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Fetches to standard output that were stopped and can go on.
const STOPPED: usize = 4;
/// How long they can.
const STAYS: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a file that is here whole waits for somebody to read it.
const UNREAD: Duration = Duration::from_secs(600);

/// A folder for one more; the oldest that were stopped make room.
pub(super) fn folder(service: &TransferService, id: &str) -> Result<PathBuf, ApiError> {
    clean(service, STOPPED - 1);
    let folder = service.paths.spool().join(id);
    hither_util::private_fs::create_folder(&folder).map_err(|e| failure::own_files(&e))?;
    Ok(folder)
}

/// Removes what is too old, and of what was stopped all but the latest.
fn clean(service: &TransferService, keep: usize) {
    let stopped = service
        .transfers
        .all()
        .into_iter()
        .filter(|t| !t.is_running() && t.record().spooled);
    for (number, old) in stopped.enumerate() {
        if number >= keep || is_old(&old.record()) {
            discard(service, &old);
        }
    }
}

fn is_old(record: &TransferRecord) -> bool {
    record
        .ended
        .is_some_and(|ended| ended.saturating_add(STAYS.as_secs()) < unix_seconds())
}

/// Returns whether a transfer of an earlier life of the daemon is of no use: whoever was to read it
/// is gone, or has been for long.
pub(super) fn is_left_over(record: &TransferRecord) -> bool {
    record.spooled && (record.state == TransferState::Done || is_old(record))
}

/// A file that is here whole and was not read goes after a while.
pub(super) fn expire(service: &Arc<TransferService>, transfer: &Arc<Transfer>) {
    let (of, transfer) = (Arc::clone(service), Arc::clone(transfer));
    service.tasks.spawn_forever(async move {
        tokio::time::sleep(UNREAD).await;
        let still = of
            .transfers
            .get(&transfer.id)
            .is_some_and(|t| t.record().state == TransferState::Done);
        if still
            && let Err(error) = tokio::task::spawn_blocking(move || discard(&of, &transfer)).await
        {
            tracing::warn!(%error, "a spooled file could not be removed");
        }
    });
}

/// A file that is here whole already, and that nobody has read to its end.
pub(super) fn unread(service: &TransferService, request: &start::Request) -> Option<Arc<Transfer>> {
    service.transfers.all().into_iter().find(|transfer| {
        let record = transfer.record();
        record.spooled
            && request.folder.is_none()
            && record.state == TransferState::Done
            && transfer.ticket.secret == request.ticket.secret
            && transfer.ticket.pin == request.ticket.pin
            && PathBuf::from(&record.path).is_file()
    })
}
