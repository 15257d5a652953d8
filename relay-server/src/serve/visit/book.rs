//! Invitations for visitors, who came with them, and what they left, in the state.
//!
//! Invariants: everything that is bounded of one invitation (its visitors, their shares, the bytes of
//! those) stands in one record and is changed by compare-and-set, so that what comes at one moment
//! stays within the bounds together. An entry that a node left behind when it died counts too much,
//! never too little, and is taken out before anybody is refused for it.

use super::records::{Guest, KeptShare, VisitKey, VisitRecord, VisitorRecord};
use super::records::{host_key, visitor_key};
use crate::serve::records::{ShareRecord, bucket, device_key, joined, share_key, user_key};
use crate::serve::registry::{RegistryError, decode, encode};
use crate::state::{Entry, Expect, MAX_PAGE, State, StateError};
use bytes::Bytes;
use hither_proto::{DeviceId, Invitation, ShareId, UserId};
use std::time::Duration;

/// Attempts at a change that others make at the same time.
const ATTEMPTS: usize = 64;
/// Most invitations of one host.
pub(crate) const MAX_VISITS: usize = 64;
/// Most shares that all visitors with one invitation leave.
pub(crate) const MAX_KEPT: usize = 512;
/// Most invitations that one visitor comes with.
const MAX_OF_VISITOR: usize = 8;
/// A visitor that was not there for so long does not count, and is forgotten.
const GONE_MS: u64 = 24 * 3600 * 1000;
/// An entry so old without a share was left behind.
pub(super) const LEFT_MS: u64 = 10 * 60 * 1000;

/// Reasons why something about visitors was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    /// Unknown or over.
    #[error("the invitation is not valid")]
    Over,
    /// It is another one's.
    #[error("the invitation is another one's")]
    NotYours,
    /// A bound is reached.
    #[error("too many or too much of one invitation or host")]
    Full,
    /// The state, or a record in it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<StateError> for VisitError {
    fn from(error: StateError) -> Self {
        Self::Registry(error.into())
    }
}

pub(super) type Result<T> = std::result::Result<T, VisitError>;

/// The host of a visit, and the user for whom it counts.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) device: DeviceId,
    pub(crate) user: UserId,
    /// The site of an asker; empty: it is a device.
    pub(crate) origin: String,
}

/// Bounds of an invitation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) valid: Duration,
    pub(crate) bytes: u64,
    pub(crate) most: u32,
}

/// Makes an invitation, or changes the bounds of the one that is there.
///
/// Errors: [`VisitError::NotYours`], [`VisitError::Full`] at [`MAX_VISITS`].
pub(crate) async fn invite(
    state: &dyn State,
    host: &Host,
    invitation: &Invitation,
    bounds: Bounds,
    now_ms: u64,
) -> Result<()> {
    let key = VisitKey::of(invitation);
    let valid = u64::try_from(bounds.valid.as_millis()).unwrap_or(u64::MAX);
    let expires_ms = now_ms.saturating_add(valid);
    for _ in 0..ATTEMPTS {
        let (expect, record) = match load(state, &key).await? {
            Some((_, old)) if old.host != host.device.as_bytes() => {
                return Err(VisitError::NotYours);
            }
            Some((entry, old)) => {
                let record = VisitRecord {
                    expires_ms,
                    bytes: bounds.bytes,
                    most: bounds.most,
                    ..old
                };
                (Expect::Revision(entry.revision), record)
            }
            // An unknown visit is over already.
            None if bounds.valid.is_zero() => return Ok(()),
            None => {
                list_host(state, host, &key).await?;
                let record = VisitRecord {
                    host: host.device.as_bytes().to_vec(),
                    user: host.user.as_bytes().to_vec(),
                    expires_ms,
                    bytes: bounds.bytes,
                    most: bounds.most,
                    origin: host.origin.clone(),
                    ..VisitRecord::default()
                };
                (Expect::Absent, record)
            }
        };
        if put(state, &key, &record, expect).await? {
            return Ok(());
        }
    }
    Err(crowded())
}

async fn list_host(state: &dyn State, host: &Host, key: &VisitKey) -> Result<()> {
    let (own, prefix) = (
        host_key(&host.user, &host.device, key),
        format!(
            "{}/",
            joined(&user_key(&host.user), &device_key(&host.device))
        ),
    );
    let page = state
        .list(bucket::VISIT_HOSTS, &prefix, None, MAX_VISITS)
        .await?;
    let listed = page.records.iter().any(|record| record.key == own);
    if !listed && page.records.len() >= MAX_VISITS {
        return Err(VisitError::Full);
    }
    let mark = Bytes::from_static(&[1]);
    state
        .put(bucket::VISIT_HOSTS, &own, mark, Expect::Any)
        .await?;
    Ok(())
}

/// Lets a visitor in. Who was there within a day is in already.
///
/// Errors: [`VisitError::Over`], [`VisitError::Full`].
pub(crate) async fn enter(
    state: &dyn State,
    key: &VisitKey,
    visitor: &DeviceId,
    now_ms: u64,
) -> Result<VisitRecord> {
    let alive = |record: &VisitRecord| record.expires_ms > now_ms;
    let known = load(state, key).await?.filter(|(_, record)| alive(record));
    let (_, record) = known.ok_or(VisitError::Over)?;
    if record.host == visitor.as_bytes() {
        return Err(VisitError::NotYours);
    }
    // Before anything is written down: whoever has a link and makes keys leaves nothing behind.
    let known = |guest: &&Guest| guest.visitor == visitor.as_bytes();
    let there = record.guests.iter().filter(|guest| is_there(guest, now_ms));
    if !record.guests.iter().any(|guest| known(&guest)) && there.count() >= record.most as usize {
        return Err(VisitError::Full);
    }
    list_visitor(state, key, visitor, &record, now_ms).await?;
    change(state, key, |record| {
        if record.expires_ms <= now_ms {
            return Err(VisitError::Over);
        }
        let id = visitor.as_bytes();
        record
            .guests
            .retain(|guest| guest.visitor == id || is_there(guest, now_ms));
        let room = record.guests.len() < record.most as usize;
        match record.guests.iter_mut().find(|guest| guest.visitor == id) {
            Some(guest) => guest.seen_ms = now_ms,
            None if !room => return Err(VisitError::Full),
            None => record.guests.push(Guest {
                visitor: id.to_vec(),
                seen_ms: now_ms,
            }),
        }
        Ok(())
    })
    .await
}

pub(super) fn is_there(guest: &Guest, now_ms: u64) -> bool {
    guest.seen_ms.saturating_add(GONE_MS) > now_ms
}

async fn list_visitor(
    state: &dyn State,
    key: &VisitKey,
    visitor: &DeviceId,
    record: &VisitRecord,
    now_ms: u64,
) -> Result<()> {
    let (own, prefix) = (
        visitor_key(visitor, key),
        format!("{}/", device_key(visitor)),
    );
    let page = state
        .list(bucket::VISITORS, &prefix, None, MAX_OF_VISITOR)
        .await?;
    if page.records.iter().any(|record| record.key == own) {
        return Ok(());
    }
    if page.records.len() >= MAX_OF_VISITOR {
        return Err(VisitError::Full);
    }
    let value = encode(&VisitorRecord {
        host: record.host.clone(),
        since_ms: now_ms,
    });
    state
        .put(bucket::VISITORS, &own, value, Expect::Any)
        .await?;
    Ok(())
}

/// Writes down that a visitor is there.
pub(crate) async fn saw(
    state: &dyn State,
    key: &VisitKey,
    visitor: &DeviceId,
    now_ms: u64,
) -> Result<()> {
    let seen = |record: &mut VisitRecord| {
        let mut guests = record.guests.iter_mut();
        if let Some(guest) = guests.find(|guest| guest.visitor == visitor.as_bytes()) {
            guest.seen_ms = now_ms;
        }
        Ok(())
    };
    match change(state, key, seen).await {
        // It is over and forgotten.
        Ok(_) | Err(VisitError::Over) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Ciphertext that a visitor may leave altogether: what the others have left of it.
pub(crate) fn room(record: &VisitRecord, visitor: &DeviceId) -> u64 {
    let others = record
        .kept
        .iter()
        .filter(|kept| kept.owner != visitor.as_bytes());
    record.bytes.saturating_sub(sum(others))
}

fn sum<'a>(kept: impl Iterator<Item = &'a KeptShare>) -> u64 {
    kept.fold(0u64, |sum, kept| sum.saturating_add(kept.bytes))
}

/// A share of a visitor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) key: &'a VisitKey,
    pub(crate) owner: &'a DeviceId,
    pub(crate) share: &'a ShareId,
}

impl Left<'_> {
    fn is(&self, kept: &KeptShare) -> bool {
        kept.owner == self.owner.as_bytes() && kept.share == self.share.as_bytes()
    }

    /// Keeps room for so many bytes of it, and says for how many there was before.
    ///
    /// Errors: [`VisitError::Over`], [`VisitError::Full`].
    pub(crate) async fn reserve(
        &self,
        state: &dyn State,
        bytes: u64,
        now_ms: u64,
    ) -> Result<Option<u64>> {
        match self.try_reserve(state, bytes, now_ms).await {
            Err(VisitError::Full) => {
                take_out_left_behind(state, self.key, now_ms).await?;
                self.try_reserve(state, bytes, now_ms).await
            }
            result => result,
        }
    }

    async fn try_reserve(&self, state: &dyn State, bytes: u64, now_ms: u64) -> Result<Option<u64>> {
        let mut before = None;
        change(state, self.key, |record| {
            if record.expires_ms <= now_ms {
                return Err(VisitError::Over);
            }
            let others = sum(record.kept.iter().filter(|kept| !self.is(kept)));
            if others.saturating_add(bytes) > record.bytes {
                return Err(VisitError::Full);
            }
            before = None;
            let room = record.kept.len() < MAX_KEPT;
            match record.kept.iter_mut().find(|kept| self.is(kept)) {
                Some(kept) => {
                    before = Some(kept.bytes);
                    (kept.bytes, kept.placed_ms) = (bytes, now_ms);
                }
                None if !room => return Err(VisitError::Full),
                None => record.kept.push(KeptShare {
                    owner: self.owner.as_bytes().to_vec(),
                    share: self.share.as_bytes().to_vec(),
                    bytes,
                    placed_ms: now_ms,
                }),
            }
            Ok(())
        })
        .await?;
        Ok(before)
    }

    /// There is room for so many bytes of it from now on; `None`: it is there no more.
    pub(crate) async fn set(&self, state: &dyn State, bytes: Option<u64>) -> Result<()> {
        let set = |record: &mut VisitRecord| {
            match bytes {
                None => record.kept.retain(|kept| !self.is(kept)),
                Some(bytes) => {
                    if let Some(kept) = record.kept.iter_mut().find(|kept| self.is(kept)) {
                        kept.bytes = bytes;
                    }
                }
            }
            Ok(())
        };
        match change(state, self.key, set).await {
            Ok(_) | Err(VisitError::Over) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Takes out entries of shares that are recorded nowhere.
pub(super) async fn take_out_left_behind(
    state: &dyn State,
    key: &VisitKey,
    now_ms: u64,
) -> Result<()> {
    let Some((_, record)) = load(state, key).await? else {
        return Ok(());
    };
    let old = record
        .kept
        .iter()
        .filter(|kept| kept.placed_ms.saturating_add(LEFT_MS) <= now_ms);
    let mut stale = Vec::new();
    for kept in old {
        if share_of(state, key, kept).await?.is_none() {
            stale.push((kept.owner.clone(), kept.share.clone(), kept.placed_ms));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let is_stale = |kept: &KeptShare| {
        let same = |(owner, share, at): &(Vec<u8>, Vec<u8>, u64)| {
            kept.owner == *owner && kept.share == *share && kept.placed_ms == *at
        };
        stale.iter().any(same)
    };
    change(state, key, |record| {
        record.kept.retain(|kept| !is_stale(kept));
        Ok(())
    })
    .await?;
    Ok(())
}

/// The record of a share that a visitor left, if it is still of that visit.
pub(crate) async fn share_of(
    state: &dyn State,
    key: &VisitKey,
    kept: &KeptShare,
) -> Result<Option<ShareRecord>> {
    let (Ok(owner), Ok(share)) = (
        DeviceId::from_slice(&kept.owner),
        ShareId::from_slice(&kept.share),
    ) else {
        return Ok(None);
    };
    let entry = state
        .get(bucket::SHARES, &share_key(&owner, &share))
        .await?;
    let record = entry
        .map(|entry| decode::<ShareRecord>(&entry.value, "a share"))
        .transpose()?;
    Ok(record.filter(|record| record.visit == key.as_bytes()))
}

/// An invitation that is not over; `None`: it is, or there is none.
pub(crate) async fn alive(
    state: &dyn State,
    key: &VisitKey,
    now_ms: u64,
) -> Result<Option<VisitRecord>> {
    let known = load(state, key).await?;
    Ok(known
        .map(|(_, record)| record)
        .filter(|record| record.expires_ms > now_ms))
}

/// The visits of a key, over ones too.
pub(crate) async fn visits_of(state: &dyn State, visitor: &DeviceId) -> Result<Vec<VisitKey>> {
    let prefix = format!("{}/", device_key(visitor));
    let page = state
        .list(bucket::VISITORS, &prefix, None, MAX_OF_VISITOR)
        .await?;
    let keys = page.records.iter();
    Ok(keys
        .filter_map(|record| VisitKey::last(&record.key))
        .collect())
}

/// The visit that a visitor pays to a host; of several the one of the latest contact.
pub(crate) async fn visit_to(
    state: &dyn State,
    host: &DeviceId,
    visitor: &DeviceId,
    now_ms: u64,
) -> Result<Option<VisitKey>> {
    let mut latest = None;
    for key in visits_of(state, visitor).await? {
        let Some(record) = alive(state, &key, now_ms).await? else {
            continue;
        };
        let mut guests = record.guests.iter();
        let guest = guests.find(|guest| guest.visitor == visitor.as_bytes());
        if record.host == host.as_bytes()
            && let Some(guest) = guest
        {
            latest = latest.max(Some((guest.seen_ms, *key.as_bytes())));
        }
    }
    Ok(latest.and_then(|(_, key)| VisitKey::from_slice(&key)))
}

/// The shares that visitors of a user's devices left: owner and share of each.
pub(crate) async fn left_with(state: &dyn State, user: &UserId) -> Result<Vec<ShareRecord>> {
    let mut shares = Vec::new();
    let prefix = format!("{}/", user_key(user));
    let mut after = None::<String>;
    loop {
        let page = state
            .list(bucket::VISIT_HOSTS, &prefix, after.as_deref(), MAX_PAGE)
            .await?;
        for key in page
            .records
            .iter()
            .filter_map(|record| VisitKey::last(&record.key))
        {
            let Some((_, record)) = load(state, &key).await? else {
                continue;
            };
            for kept in &record.kept {
                shares.extend(share_of(state, &key, kept).await?);
            }
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(shares);
        }
    }
}

/// Ends every invitation of a host.
pub(crate) async fn end_all_of(
    state: &dyn State,
    user: &UserId,
    host: &DeviceId,
    now_ms: u64,
) -> std::result::Result<(), RegistryError> {
    let prefix = format!("{}/", joined(&user_key(user), &device_key(host)));
    let page = state
        .list(bucket::VISIT_HOSTS, &prefix, None, MAX_PAGE)
        .await?;
    for key in page
        .records
        .iter()
        .filter_map(|record| VisitKey::last(&record.key))
    {
        let ended = change(state, &key, |record| {
            record.expires_ms = record.expires_ms.min(now_ms);
            Ok(())
        });
        match ended.await {
            Ok(_) | Err(VisitError::Over | VisitError::NotYours | VisitError::Full) => {}
            Err(VisitError::Registry(error)) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn load(
    state: &dyn State,
    key: &VisitKey,
) -> Result<Option<(Entry, VisitRecord)>> {
    let Some(entry) = state.get(bucket::VISITS, &key.text()).await? else {
        return Ok(None);
    };
    let record = decode(&entry.value, "an invitation for visitors")?;
    Ok(Some((entry, record)))
}

async fn put(
    state: &dyn State,
    key: &VisitKey,
    record: &VisitRecord,
    expect: Expect,
) -> Result<bool> {
    match state
        .put(bucket::VISITS, &key.text(), encode(record), expect)
        .await
    {
        Ok(_) => Ok(true),
        Err(StateError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Changes an invitation, and says what it is then; one that is unknown is over.
async fn change(
    state: &dyn State,
    key: &VisitKey,
    mut change: impl FnMut(&mut VisitRecord) -> Result<()>,
) -> Result<VisitRecord> {
    for _ in 0..ATTEMPTS {
        let (entry, before) = load(state, key).await?.ok_or(VisitError::Over)?;
        let mut record = before.clone();
        change(&mut record)?;
        let expect = Expect::Revision(entry.revision);
        if record == before || put(state, key, &record, expect).await? {
            return Ok(record);
        }
    }
    Err(crowded())
}

fn crowded() -> VisitError {
    StateError::Busy("changes of one record at a time".into()).into()
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
