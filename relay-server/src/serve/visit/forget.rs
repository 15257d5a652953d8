//! Forgetting visits that are over and visitors that are gone.

use super::book::{LEFT_MS, Result, is_there, load, take_out_left_behind, visits_of};
use super::records::{VisitKey, VisitRecord, VisitorRecord, host_key};
use crate::serve::records::{bucket, first_device, mail_queue};
use crate::serve::registry::decode;
use crate::state::{Expect, MAX_PAGE, State, StateError};
use hither_proto::{DeviceId, UserId};

/// Forgets invitations that are over and visitors that are gone, where nothing of theirs is kept;
/// says how many.
pub(crate) async fn sweep(state: &dyn State, now_ms: u64) -> Result<usize> {
    Ok(sweep_visits(state, now_ms).await? + sweep_visitors(state, now_ms).await?)
}

async fn sweep_visits(state: &dyn State, now_ms: u64) -> Result<usize> {
    let (mut after, mut removed) = (None::<String>, 0);
    loop {
        let page = state
            .list(bucket::VISITS, "", after.as_deref(), MAX_PAGE)
            .await?;
        for found in &page.records {
            let record: VisitRecord = decode(&found.entry.value, "an invitation for visitors")?;
            let Some(key) = VisitKey::last(&found.key) else {
                continue;
            };
            if record.expires_ms > now_ms {
                continue;
            }
            take_out_left_behind(state, &key, now_ms).await?;
            removed += usize::from(forget(state, &key, now_ms).await?);
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(removed);
        }
    }
}

/// Removes an invitation that is over and of which nothing is kept.
async fn forget(state: &dyn State, key: &VisitKey, now_ms: u64) -> Result<bool> {
    let over = load(state, key)
        .await?
        .filter(|(_, record)| record.expires_ms <= now_ms && record.kept.is_empty());
    let Some((entry, record)) = over else {
        return Ok(false);
    };
    let expect = Expect::Revision(entry.revision);
    match state.delete(bucket::VISITS, &key.text(), expect).await {
        Ok(_) => {}
        Err(StateError::Conflict { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    if let (Ok(user), Ok(host)) = (
        UserId::from_slice(&record.user),
        DeviceId::from_slice(&record.host),
    ) {
        let listed = host_key(&user, &host, key);
        state
            .delete(bucket::VISIT_HOSTS, &listed, Expect::Any)
            .await?;
    }
    Ok(true)
}

async fn sweep_visitors(state: &dyn State, now_ms: u64) -> Result<usize> {
    let (mut after, mut removed) = (None::<String>, 0);
    loop {
        let page = state
            .list(bucket::VISITORS, "", after.as_deref(), MAX_PAGE)
            .await?;
        for found in &page.records {
            let (Some(visitor), Some(key)) = (first_device(&found.key), VisitKey::last(&found.key))
            else {
                continue;
            };
            let visit = load(state, &key).await?.map(|(_, record)| record);
            let stays = visit.is_some_and(|record| counts(&record, &visitor, now_ms));
            // It may have come just now, before it was counted.
            let new = decode::<VisitorRecord>(&found.entry.value, "a visitor")
                .is_ok_and(|record| record.since_ms.saturating_add(LEFT_MS) > now_ms);
            if stays || new {
                continue;
            }
            let expect = Expect::Revision(found.entry.revision);
            match state.delete(bucket::VISITORS, &found.key, expect).await {
                Ok(_) => removed += 1,
                Err(StateError::Conflict { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            if visits_of(state, &visitor).await?.is_empty() {
                state.ack(&mail_queue(&visitor), u64::MAX).await?;
            }
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(removed);
        }
    }
}

/// True while a visitor is not to be forgotten.
fn counts(record: &VisitRecord, visitor: &DeviceId, now_ms: u64) -> bool {
    let id = visitor.as_bytes();
    let keeps = record.kept.iter().any(|kept| kept.owner == id);
    let mut guests = record.guests.iter();
    let is_in = guests.any(|guest| guest.visitor == id && is_there(guest, now_ms));
    keeps || (is_in && record.expires_ms > now_ms)
}
