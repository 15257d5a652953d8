//! Shares whose time is over, and places that nobody ever filled: the store that has them gives
//! them back.

use super::releases::Kept;
use crate::node::{Node, now_ms};
use crate::serve::records::{ShareRecord, bucket, first_device, last_share};
use crate::serve::registry::decode;
use crate::state::{MAX_PAGE, Record, StateError};
use hither_proto::UserId;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks through all shares.
const LOOK: Duration = Duration::from_secs(600);
/// A place into which nothing complete was uploaded for so long is free again.
const UNFILLED_MS: u64 = 7 * 24 * 3600 * 1000;
/// The same of a visitor, whose place takes from what others with its invitation may leave.
const VISITOR_UNFILLED_MS: u64 = 6 * 3600 * 1000;

/// Begins to look.
pub(super) fn start(node: &Arc<Node>) {
    node.spawn_every(LOOK, |node| async move {
        match sweep(&node, now_ms()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "shares whose time is over were given up"),
            Err(error) => tracing::debug!(%error, "shares could not be looked through"),
        }
    });
}

/// Gives up what is at this node's store and over; says how many shares.
pub(crate) async fn sweep(node: &Node, now_ms: u64) -> Result<usize, StateError> {
    let (mut after, mut count) = (None::<String>, 0);
    loop {
        let page = node
            .state
            .list(bucket::SHARES, "", after.as_deref(), MAX_PAGE)
            .await?;
        for record in &page.records {
            count += usize::from(give_up(node, record, now_ms).await?);
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(count);
        }
    }
}

async fn give_up(node: &Node, record: &Record, now_ms: u64) -> Result<bool, StateError> {
    let Ok(share) = decode::<ShareRecord>(&record.entry.value, "a share") else {
        return Ok(false);
    };
    if share.store != node.id().as_bytes() || !is_over(&share, now_ms) {
        return Ok(false);
    }
    let (Some(owner), Some(id)) = (first_device(&record.key), last_share(&record.key)) else {
        return Ok(false);
    };
    let Ok(user) = UserId::from_slice(&share.user) else {
        return Ok(false);
    };
    let kept = Kept {
        user: &user,
        owner: &owner,
        share: &id,
        key: &record.key,
        record: &share,
        revision: record.entry.revision,
    };
    // Something newer about the share, such as another upload, keeps it.
    kept.give_up(node).await
}

fn is_over(share: &ShareRecord, now_ms: u64) -> bool {
    match (share.stored_ms, share.keep_s) {
        (0, _) if !share.visit.is_empty() => {
            share.placed_ms.saturating_add(VISITOR_UNFILLED_MS) <= now_ms
        }
        (0, _) => share.placed_ms.saturating_add(UNFILLED_MS) <= now_ms,
        (_, 0) => false,
        (stored_ms, keep_s) => stored_ms.saturating_add(keep_s.saturating_mul(1000)) <= now_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_over_when_its_time_is_or_when_nothing_ever_came() {
        let share = |placed_ms, stored_ms, keep_s| ShareRecord {
            placed_ms,
            stored_ms,
            keep_s,
            ..ShareRecord::default()
        };
        assert!(
            !is_over(&share(1000, 2000, 0), u64::MAX),
            "kept until released"
        );
        assert!(
            !is_over(&share(1000, 2000, 10), 11_999) && is_over(&share(1000, 2000, 10), 12_000)
        );
        assert!(
            !is_over(&share(1000, 0, 10), UNFILLED_MS)
                && is_over(&share(1000, 0, 10), UNFILLED_MS + 1000)
        );
        assert!(!is_over(&share(1000, 2000, u64::MAX), u64::MAX - 1));
    }
}
