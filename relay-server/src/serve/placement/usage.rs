//! What each user keeps at each store.

use super::ATTEMPTS;
use crate::node::Node;
use crate::serve::records::{ShareRecord, Usage, bucket, joined, user_key};
use crate::serve::refuse;
use crate::serve::registry::{RegistryError, decode, encode};
use crate::serve::visit::book::{self, VisitError};
use crate::state::{Expect, MAX_PAGE, StateError};
use hither_proto::{RelayRefusal, RelayRefusalCode, UserId};
use std::collections::BTreeMap;

/// Sum of what a user keeps everywhere.
type Totals = BTreeMap<String, Usage>;

/// Counts `new` instead of `old`, if the user's quota allows.
pub(super) async fn exchange(
    node: &Node,
    user: &UserId,
    old: Option<&ShareRecord>,
    new: &ShareRecord,
) -> Result<(), RelayRefusal> {
    let state = |error: StateError| refuse::of_state(&error);
    if !fits(node, &read(node, user).await.map_err(state)?, old, new) {
        // Counts that are too high are corrected before anyone is refused for them.
        let counted = recount(node, user)
            .await
            .map_err(|error| super::super::device::refusal_of(&error))?;
        if !fits(node, &counted, old, new) {
            return Err(RelayRefusalCode::Quota.into());
        }
    }
    if let Some(old) = old {
        change(node, user, &old.store, |usage| less(usage, old))
            .await
            .map_err(state)?;
    }
    change(node, user, &new.store, |usage| more(usage, new))
        .await
        .map_err(state)
}

/// Takes an exchange back after the share could not be recorded.
pub(super) async fn exchange_back(
    node: &Node,
    user: &UserId,
    old: Option<&ShareRecord>,
    new: &ShareRecord,
) {
    let back = async {
        change(node, user, &new.store, |usage| less(usage, new)).await?;
        match old {
            Some(old) => change(node, user, &old.store, |usage| more(usage, old)).await,
            None => Ok(()),
        }
    };
    if let Err(error) = back.await {
        tracing::debug!(%error, "a user's usage is counted wrong until it is counted anew");
    }
}

/// Counts a share no longer.
pub(super) async fn subtract(node: &Node, user: &UserId, old: &ShareRecord) {
    if let Err(error) = change(node, user, &old.store, |usage| less(usage, old)).await {
        tracing::debug!(%error, "a user's usage is counted wrong until it is counted anew");
    }
}

fn more(usage: Usage, share: &ShareRecord) -> Usage {
    Usage {
        bytes: usage.bytes.saturating_add(share.bytes),
        shares: usage.shares.saturating_add(1),
    }
}

fn less(usage: Usage, share: &ShareRecord) -> Usage {
    Usage {
        bytes: usage.bytes.saturating_sub(share.bytes),
        shares: usage.shares.saturating_sub(1),
    }
}

fn fits(node: &Node, totals: &Totals, old: Option<&ShareRecord>, new: &ShareRecord) -> bool {
    let sum = totals.values().fold(Usage::default(), |sum, usage| Usage {
        bytes: sum.bytes.saturating_add(usage.bytes),
        shares: sum.shares.saturating_add(usage.shares),
    });
    let after = more(old.map_or(sum, |old| less(sum, old)), new);
    let config = &node.config.place;
    // A share that does not grow may always be placed again.
    let grows = old.is_none_or(|old| new.bytes > old.bytes);
    !grows
        || ((config.user_quota.0 == 0 || after.bytes <= config.user_quota.0)
            && after.shares <= config.user_shares)
}

async fn read(node: &Node, user: &UserId) -> Result<Totals, StateError> {
    let page = node
        .state
        .list(
            bucket::USAGE,
            &format!("{}/", user_key(user)),
            None,
            MAX_PAGE,
        )
        .await?;
    let of = |entry: &[u8]| decode::<Usage>(entry, "usage").unwrap_or_default();
    Ok(page
        .records
        .into_iter()
        .map(|record| (record.key, of(&record.entry.value)))
        .collect())
}

async fn change(
    node: &Node,
    user: &UserId,
    store: &[u8],
    change: impl Fn(Usage) -> Usage,
) -> Result<(), StateError> {
    let key = joined(&user_key(user), &crate::serve::records::hex(store));
    for _ in 0..ATTEMPTS {
        let entry = node.state.get(bucket::USAGE, &key).await?;
        let before = entry
            .as_ref()
            .map(|entry| decode::<Usage>(&entry.value, "usage").unwrap_or_default());
        let after = change(before.unwrap_or_default());
        let expect = entry.map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
        let changed = match after == Usage::default() {
            true if expect == Expect::Absent => return Ok(()),
            true => node
                .state
                .delete(bucket::USAGE, &key, expect)
                .await
                .map(drop),
            false => node
                .state
                .put(bucket::USAGE, &key, encode(&after), expect)
                .await
                .map(drop),
        };
        match changed {
            Err(StateError::Conflict { .. }) => {}
            result => return result,
        }
    }
    Err(StateError::Busy("changes of one record at a time".into()))
}

/// Counts what a user keeps from the records of the user's shares, and writes that down where
/// nobody changes it meanwhile.
pub(super) async fn recount(node: &Node, user: &UserId) -> Result<Totals, RegistryError> {
    let prefix = format!("{}/", user_key(user));
    let written = node
        .state
        .list(bucket::USAGE, &prefix, None, MAX_PAGE)
        .await?
        .records;
    let mut totals = Totals::new();
    for owner in node.registry.all_devices_of(user).await? {
        let prefix = format!("{}/", crate::serve::records::device_key(&owner));
        let mut after = None::<String>;
        loop {
            let page = node
                .state
                .list(bucket::SHARES, &prefix, after.as_deref(), MAX_PAGE)
                .await?;
            after = page.records.last().map(|record| record.key.clone());
            for record in &page.records {
                let share: ShareRecord = decode(&record.entry.value, "a share")?;
                if share.user == user.as_bytes() {
                    let key = joined(&user_key(user), &crate::serve::records::hex(&share.store));
                    let usage = totals.entry(key).or_default();
                    *usage = more(*usage, &share);
                }
            }
            if !page.more {
                break;
            }
        }
    }
    for share in book::left_with(node.state.as_ref(), user)
        .await
        .map_err(|error| match error {
            VisitError::Registry(error) => error,
            _ => RegistryError::Damaged("an invitation for visitors"),
        })?
    {
        if share.user == user.as_bytes() {
            let key = joined(&user_key(user), &crate::serve::records::hex(&share.store));
            let usage = totals.entry(key).or_default();
            *usage = more(*usage, &share);
        }
    }
    for record in written {
        let counted = totals.get(&record.key).copied().unwrap_or_default();
        let expect = Expect::Revision(record.entry.revision);
        match node
            .state
            .put(bucket::USAGE, &record.key, encode(&counted), expect)
            .await
        {
            Ok(_) | Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(totals)
}
