//! Followed copies: how they stand, what of the user's stays in them, and going on after trouble.

use super::start::start;
use super::{Transfer, TransferService};
use crate::records::{ConflictRecord, TransferRecord, TransferState};
use hither_api::{ApiError, ErrorCode, FollowInfo, FollowState, Phase};
use hither_content::Kept;
use hither_proto::display_name;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Most conflicts that are remembered one by one.
const MAX_CONFLICTS: usize = 200;
/// Pause before a follow that met trouble is tried again: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Returns whether anything is at a path.
fn is_there(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}

impl ConflictRecord {
    /// Returns whether it is still there: the copy beside, or what stayed.
    fn stands(&self) -> bool {
        is_there(self.copy.as_deref().unwrap_or(&self.path))
    }
}

/// Remembers what stayed when a version was written, with what is known of before.
pub(super) fn add_conflicts(record: &mut TransferRecord, kept: &[Kept], more: u64) {
    for kept in kept {
        let one = ConflictRecord {
            path: kept.path.display().to_string(),
            copy: kept.copy.as_ref().map(|copy| copy.display().to_string()),
        };
        if let Some(known) = record
            .conflicts
            .iter_mut()
            .find(|known| known.path == one.path)
        {
            known.copy = one.copy.or(known.copy.take());
            continue;
        }
        if record.conflicts.len() < MAX_CONFLICTS {
            record.conflicts.push(one);
        } else {
            record.conflicts_more += 1;
        }
    }
    record.conflicts_more += more;
}

/// The file system's word on a copy.
struct Seen {
    there: bool,
    solved: Vec<ConflictRecord>,
}

impl Transfer {
    /// How a followed copy stands; `None` for a fetch of one version. Asks the file system, and
    /// forgets conflicts that are solved. Blocks, but for no disk that does not answer.
    pub(crate) fn follow_info(&self, service: &TransferService) -> Option<FollowInfo> {
        let record = self.record();
        record.follow.then_some(())?;
        let (path, conflicts) = (record.path.clone(), record.conflicts.clone());
        let look = move || Seen {
            there: is_there(&path),
            solved: conflicts.into_iter().filter(|one| !one.stands()).collect(),
        };
        let paths = [record.path.clone().into()];
        let seen = service.library.disks.patiently(self.share.id, &paths, look);
        let there = seen.as_ref().is_some_and(|seen| seen.there);
        if let Some(seen) = seen.filter(|seen| seen.there && !seen.solved.is_empty()) {
            let forgotten = self.update(service, |record| {
                record.conflicts.retain(|one| !seen.solved.contains(one));
            });
            if let Err(error) = forgotten {
                tracing::warn!(%error, "solved conflicts could not be forgotten");
            }
        }
        Some(self.stands(service, there))
    }

    fn stands(&self, service: &TransferService, there: bool) -> FollowInfo {
        let record = self.record();
        let newest = self
            .share
            .newest()
            .map_or(0, |head| head.head().version)
            .max(record.followed.unwrap_or(0));
        let state = self.follow_state(&record, newest, there);
        // Trouble of its own is nobody else's.
        let waits = state == FollowState::Waiting && (self.is_running() || record.reason.is_none());
        FollowInfo {
            transfer: record.id.clone(),
            state,
            version: record.followed,
            newest,
            waiting_for: waits.then(|| self.owner_name(service)),
            conflicts: record.conflict_count(),
            reason: record.reason,
        }
    }

    fn follow_state(&self, record: &TransferRecord, newest: u64, there: bool) -> FollowState {
        let phase = self.meter().phase;
        match record.state {
            TransferState::Paused => FollowState::Paused,
            TransferState::Failed | TransferState::Done => FollowState::Failed,
            TransferState::Active if record.followed.is_some() && !there => {
                FollowState::TargetMissing
            }
            TransferState::Active if !self.is_running() => FollowState::Waiting,
            TransferState::Active => match (phase, record.followed) {
                (Phase::Following, Some(here)) if here >= newest => FollowState::UpToDate,
                (Phase::Connecting, Some(here)) if here >= newest => FollowState::UpToDate,
                (Phase::Waiting | Phase::Connecting, _) => FollowState::Waiting,
                _ => FollowState::Behind,
            },
        }
    }

    fn owner_name(&self, service: &TransferService) -> String {
        let owner = self.share.owner;
        let name = service
            .swarm
            .links()
            .name(owner)
            .map(|name| name.to_string());
        let name = name.filter(|name| !name.is_empty());
        display_name(&name.unwrap_or_else(|| owner.short()))
    }

    /// The warning for the user about conflicts in a followed copy, in a sentence.
    pub(crate) fn conflict_warning(&self) -> Option<String> {
        let record = self.record();
        let name = display_name(&record.name);
        match record.conflict_count() {
            _ if !record.follow => None,
            0 => None,
            1 => Some(format!(
                "\"{name}\": one thing that is not what was fetched stays as it is (hither list)."
            )),
            number => Some(format!(
                "\"{name}\": {number} things that are not what was fetched stay as they are (hither list)."
            )),
        }
    }
}

impl TransferService {
    /// The followed copy of a share, if it is one.
    pub(crate) fn follow_of(&self, share: hither_proto::ShareId) -> Option<FollowInfo> {
        let all = self.transfers.all();
        let of = all
            .iter()
            .filter(|transfer| transfer.share.id == share && transfer.record().follow);
        let best = of.min_by_key(|transfer| !transfer.is_running())?;
        best.follow_info(self)
    }
}

/// Returns whether a follow goes on by itself after this: the trouble may pass, and the user has
/// agreed to what is fetched.
pub(super) fn goes_on(record: &TransferRecord, error: &ApiError) -> bool {
    let begun = record.followed.is_some() || (record.partial.is_some() && record.accepted);
    let passes = !matches!(
        error.code,
        ErrorCode::BadTicket | ErrorCode::Refused | ErrorCode::HostileShare | ErrorCode::Declined
    );
    record.follow && begun && passes
}

/// Tries a follow again after a pause that grows, unless it was ended, or begun again, meanwhile.
pub(super) fn go_on_later(service: &Arc<TransferService>, transfer: &Arc<Transfer>) {
    let (of, transfer) = (Arc::clone(service), Arc::clone(transfer));
    let failures = transfer.fail_once_more();
    let pause = AGAIN.0.saturating_mul(1 << failures.min(8)).min(AGAIN.1);
    service.tasks.spawn_forever(async move {
        tokio::time::sleep(pause).await;
        let still = of
            .transfers
            .get(&transfer.id)
            .is_some_and(|known| Arc::ptr_eq(&known, &transfer));
        let waits = !transfer.is_running() && transfer.record().state == TransferState::Active;
        let free = of.transfers.running(transfer.share.id).is_none();
        if still && waits && free && transfer.failures() == failures {
            tracing::info!(transfer = transfer.id, "a follow is tried again");
            start(&of, &transfer, None);
        }
    });
}
