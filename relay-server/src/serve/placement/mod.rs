//! Which store keeps a share: placing it, and giving its place back.
//!
//! Two records are changed one after the other: what the user keeps at the store first, then the
//! share. A node that dies in between leaves the first too high; who is refused for a quota is
//! counted anew, so that this refuses nobody.

mod expiry;
mod releases;
mod reservations;
mod usage;

pub(crate) use reservations::Reservations;

/// Begins what the store of this node does by itself.
pub(crate) fn start(node: &std::sync::Arc<Node>) {
    releases::start(node);
    expiry::start(node);
}

use super::records::{ShareRecord, bucket, first_device, last_share, share_key};
use super::refuse;
use super::registry::{decode, encode};
use super::visit::book::{Left, VisitError};
use super::visit::{self, Visit, VisitKey};
use crate::node::{Node, now_ms};
use crate::state::{Entry, Expect, StateError};
use hither_proto::{
    DeviceId, Nearness, RelayAddress, RelayRefusal, RelayRefusalCode, ShareId, UserId,
};

/// Attempts at a change that others make at the same time.
const ATTEMPTS: usize = 16;
/// When to come back while no store is there.
const NO_STORE: std::time::Duration = std::time::Duration::from_secs(30);
/// Round trips below this are alike, microseconds; above it each class is twice as far as the one
/// before.
const NEAR_US: u32 = 2_000;
/// Class of a store that the device did not measure: behind all that it did.
const UNMEASURED: u32 = 64;

/// What is to be placed.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) user: UserId,
    pub(crate) owner: DeviceId,
    pub(crate) share: ShareId,
    /// Ciphertext, bytes.
    pub(crate) bytes: u64,
    pub(crate) near: &'a [Nearness],
    /// The owner is a visitor.
    pub(crate) visit: Option<&'a Visit>,
}

impl Wanted<'_> {
    /// Its share among those that visitors leave; `None`: it is a device's.
    fn left(&self) -> Option<Left<'_>> {
        Some(Left {
            key: &self.visit?.key,
            owner: &self.owner,
            share: &self.share,
        })
    }
}

type Result<T> = std::result::Result<T, RelayRefusal>;

/// Finds a store for a share and records it. A share stays where it is while that store lives.
pub(crate) async fn place(node: &Node, wanted: &Wanted<'_>) -> Result<RelayAddress> {
    let key = share_key(&wanted.owner, &wanted.share);
    for _ in 0..ATTEMPTS {
        let before = read(node, &key).await?;
        let store = match stays(node, wanted, before.as_ref()) {
            Some(store) => store,
            None => choose(node, wanted, before.as_ref())?,
        };
        if record(node, wanted, before.as_ref(), &store).await? {
            node.services
                .reservations
                .reserve(store.key, &key, wanted.bytes);
            node.metrics.placed.add_one();
            return Ok(store);
        }
    }
    Err(refuse::busy(refuse::TROUBLE))
}

/// Forgets a share; its store is told.
pub(crate) async fn release(
    node: &Node,
    user: &UserId,
    owner: &DeviceId,
    share: &ShareId,
) -> Result<()> {
    let key = share_key(owner, share);
    for _ in 0..ATTEMPTS {
        let Some((entry, record)) = read(node, &key).await? else {
            return Err(RelayRefusalCode::NotFound.into());
        };
        if record.user != user.as_bytes() {
            return Err(RelayRefusalCode::NotFound.into());
        }
        let kept = releases::Kept {
            user,
            owner,
            share,
            key: &key,
            record: &record,
            revision: entry.revision,
        };
        if kept
            .give_up(node)
            .await
            .map_err(|error| refuse::of_state(&error))?
        {
            return Ok(());
        }
    }
    Err(refuse::busy(refuse::TROUBLE))
}

/// Removes the record of a share and what it counts for; `false`: it has changed meanwhile.
async fn remove(
    node: &Node,
    user: &UserId,
    key: &str,
    record: &ShareRecord,
    revision: u64,
) -> std::result::Result<bool, StateError> {
    match node
        .state
        .delete(bucket::SHARES, key, Expect::Revision(revision))
        .await
    {
        Ok(_) => {
            usage::subtract(node, user, record).await;
            forget_left(node, key, &record.visit).await;
            node.services.reservations.forget(key);
            Ok(true)
        }
        Err(StateError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Counts a share no longer among those that visitors left.
async fn forget_left(node: &Node, key: &str, visit: &[u8]) {
    let (owner, share) = (first_device(key), last_share(key));
    let (Some(visit), Some(owner), Some(share)) = (VisitKey::from_slice(visit), owner, share)
    else {
        return;
    };
    let left = Left {
        key: &visit,
        owner: &owner,
        share: &share,
    };
    if let Err(error) = left.set(node.state.as_ref(), None).await {
        tracing::debug!(%error, "what a visitor left is counted until it is looked through");
    }
}

/// Returns the record of a share.
pub(crate) async fn recorded(
    node: &Node,
    owner: &DeviceId,
    share: &ShareId,
) -> Result<Option<ShareRecord>> {
    let found = read(node, &share_key(owner, share)).await?;
    Ok(found.map(|(_, record)| record))
}

async fn read(node: &Node, key: &str) -> Result<Option<(Entry, ShareRecord)>> {
    let entry = node
        .state
        .get(bucket::SHARES, key)
        .await
        .map_err(|error| refuse::of_state(&error))?;
    let Some(entry) = entry else { return Ok(None) };
    let record =
        decode(&entry.value, "a share").map_err(|error| super::device::refusal_of(&error))?;
    Ok(Some((entry, record)))
}

/// The store where the share is, if it lives.
fn stays(
    node: &Node,
    wanted: &Wanted<'_>,
    before: Option<&(Entry, ShareRecord)>,
) -> Option<RelayAddress> {
    let (_, record) = before?;
    let store = DeviceId::from_slice(&record.store).ok()?;
    (record.user == wanted.user.as_bytes())
        .then(|| node.services.fleet.address_of(&store))
        .flatten()
}

/// The nearest store with room; of those about as near, the one with most room.
fn choose(
    node: &Node,
    wanted: &Wanted<'_>,
    before: Option<&(Entry, ShareRecord)>,
) -> Result<RelayAddress> {
    if before.is_some_and(|(_, record)| record.user != wanted.user.as_bytes()) {
        // The device was someone else's before it was registered anew; what it kept there is not
        // this user's.
        return Err(RelayRefusalCode::NotFound.into());
    }
    let stores = node.services.fleet.stores();
    if stores.is_empty() {
        return Err(refuse::busy(NO_STORE));
    }
    let class = |store: &DeviceId| {
        let near = wanted.near.iter().find(|near| near.store == *store);
        near.map_or(UNMEASURED, |near| nearness_class(near.rtt_us))
    };
    stores
        .into_iter()
        .map(|store| {
            (
                class(&store.address.key),
                node.services.reservations.left(&store),
                store,
            )
        })
        .filter(|(_, left, _)| *left >= wanted.bytes)
        .min_by_key(|(class, left, _)| (*class, u64::MAX - *left))
        .map(|(.., store)| store.address)
        .ok_or_else(|| RelayRefusalCode::NoSpace.into())
}

fn nearness_class(rtt_us: u32) -> u32 {
    (rtt_us / NEAR_US)
        .checked_ilog2()
        .map_or(0, |class| class + 1)
}

/// Writes a placement down; `false`: something changed meanwhile.
async fn record(
    node: &Node,
    wanted: &Wanted<'_>,
    before: Option<&(Entry, ShareRecord)>,
    store: &RelayAddress,
) -> Result<bool> {
    let old = before.map(|(_, record)| record);
    let same = old.filter(|old| old.store == store.key.as_bytes());
    let mut new = ShareRecord {
        user: wanted.user.as_bytes().to_vec(),
        store: store.key.as_bytes().to_vec(),
        bytes: wanted.bytes,
        placed_ms: now_ms(),
        ..ShareRecord::default()
    };
    if let Some(same) = same {
        // What was uploaded stays readable while the next version comes.
        (new.read_key, new.keep_s, new.stored_ms) =
            (same.read_key.clone(), same.keep_s, same.stored_ms);
        // A smaller version takes less room only when it has replaced the one before.
        new.bytes = if same.stored_ms > 0 {
            wanted.bytes.max(same.bytes)
        } else {
            wanted.bytes
        };
    }
    if let Some(visit) = wanted.visit {
        new.visit = visit.key.as_bytes().to_vec();
        new.host = visit.host.as_bytes().to_vec();
    }
    let reserved = reserve(node, wanted, new.bytes).await?;
    if let Err(refusal) = usage::exchange(node, &wanted.user, old, &new).await {
        reserved.back(node).await;
        return Err(refusal);
    }
    let expect = before.map_or(Expect::Absent, |(entry, _)| {
        Expect::Revision(entry.revision)
    });
    let key = share_key(&wanted.owner, &wanted.share);
    match node
        .state
        .put(bucket::SHARES, &key, encode(&new), expect)
        .await
    {
        Ok(_) => {
            if let Some(before) = old.filter(|old| old.visit != new.visit) {
                // It came with another invitation then.
                forget_left(node, &key, &before.visit).await;
            }
            let moved = old
                .filter(|old| old.store != new.store)
                .and_then(|old| DeviceId::from_slice(&old.store).ok());
            if let Some(elsewhere) = moved {
                // It was at a store that is gone; should that come back, it may forget it.
                let ordered =
                    releases::order(node, &elsewhere, &wanted.user, &wanted.owner, &wanted.share)
                        .await;
                ordered.map_err(|error| refuse::of_state(&error))?;
            }
            Ok(true)
        }
        Err(error) => {
            usage::exchange_back(node, &wanted.user, old, &new).await;
            reserved.back(node).await;
            match error {
                StateError::Conflict { .. } => Ok(false),
                error => Err(refuse::of_state(&error)),
            }
        }
    }
}

/// Room that was kept in what visitors may leave, with what was there before.
struct Reserved<'a>(Option<(Left<'a>, Option<u64>)>);

/// Keeps room for a visitor's share within what its invitation allows.
async fn reserve<'a>(node: &Node, wanted: &'a Wanted<'_>, bytes: u64) -> Result<Reserved<'a>> {
    let Some(left) = wanted.left() else {
        return Ok(Reserved(None));
    };
    let before = left.reserve(node.state.as_ref(), bytes, now_ms()).await;
    let before = before.map_err(|error: VisitError| visit::refusal_of(&error))?;
    Ok(Reserved(Some((left, before))))
}

impl Reserved<'_> {
    /// Gives it back, when the share could not be recorded.
    async fn back(self, node: &Node) {
        let Some((left, before)) = self.0 else { return };
        if let Err(error) = left.set(node.state.as_ref(), before).await {
            tracing::debug!(%error, "what a visitor may leave is counted wrong for a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_comes_in_classes_of_doubling() {
        for (rtt_us, class) in [
            (0, 0),
            (1_999, 0),
            (2_000, 1),
            (3_999, 1),
            (4_000, 2),
            (50_000, 5),
            (u32::MAX, 22),
        ] {
            assert_eq!(nearness_class(rtt_us), class, "{rtt_us}");
            assert!(class < UNMEASURED);
        }
    }
}
