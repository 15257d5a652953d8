//! Another branch of a forked log in place of the one that is kept here.
//!
//! A log forks where this relay lost entries, as after a restore from a backup, and took others
//! before the lost ones were brought back. A member that has the lost ones shows them; which branch
//! is kept is decided by [`hither_proto::prevails`], as every member decides it.
//!
//! The exchange survives the death of the node at any moment: the entries are staged under a key of
//! their own, then the group's record says in one step that they are to be put into the log
//! ([`Record::Exchange`]), and whoever loads the group goes on with it ([`finish`]), which may be
//! done any number of times.

use super::answer::{Answered, Refused};
use super::log_store::{self, Record, damaged, follow_from, is_there, sweep};
use super::records::{
    branch_key, branch_prefix, bucket, entry_key, group_key, group_prefix, keys_prefix, member_key,
};
use crate::node::Node;
use crate::state::{Expect, StateError};
use bytes::Bytes;
use hither_proto::{
    DeviceId, GroupAnswer, GroupBranch, GroupId, Membership, Prevails, RelayRefusalCode,
    SignedEntry, prevails,
};
use std::collections::BTreeSet;

/// Takes a branch that a member shows, if it prevails.
pub(super) async fn take(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
    entries: &[Bytes],
) -> Answered {
    let invalid = || Refused::from(RelayRefusalCode::Invalid);
    let shown = opened(entries.to_vec()).await?.ok_or_else(invalid)?;
    let from = shown.first().ok_or_else(invalid)?.entry().number;
    if from == 0 || shown.iter().any(|entry| entry.group() != *group) {
        return Err(invalid());
    }
    let (known, revision) = log_store::load_with_revision(node, group)
        .await?
        .ok_or(RelayRefusalCode::NotFound)?;
    if let Some(last) = shown.last()
        && is_there(node, last).await?
    {
        return Ok(GroupAnswer::Done);
    }
    if from >= known.entries() {
        return Ok(GroupAnswer::Behind {
            next: known.entries(),
        });
    }
    let kept = log_store::entries(node, group).await?;
    let (kept, device) = (opened(kept).await?.ok_or_else(damaged)?, *device);
    let decided = blocking({
        let group = *group;
        move || decide(group, from, &kept, shown, &device)
    })
    .await?;
    match decided {
        Decided::Invalid => Err(invalid()),
        Decided::Stranger => Err(RelayRefusalCode::NotFound.into()),
        Decided::Kept => Ok(GroupAnswer::Behind {
            next: known.entries(),
        }),
        Decided::Taken(branch) => exchange(node, group, from, revision, &known, &branch).await,
    }
}

enum Decided {
    /// It is no branch of this log, or nobody may decide.
    Invalid,
    /// The device that shows it is a member in neither.
    Stranger,
    /// The one that is kept prevails.
    Kept,
    Taken(Box<GroupBranch>),
}

fn decide(
    group: GroupId,
    from: u64,
    kept: &[SignedEntry],
    shown: Vec<SignedEntry>,
    by: &DeviceId,
) -> Decided {
    let Some((before, rest)) = usize::try_from(from)
        .ok()
        .and_then(|from| kept.split_at_checked(from))
    else {
        return Decided::Invalid;
    };
    if rest.first() == shown.first() {
        return Decided::Invalid;
    }
    let Ok(base) = Membership::replay(group, before) else {
        return Decided::Invalid;
    };
    let (Ok(kept), Ok(shown)) = (
        GroupBranch::follow(&base, rest.to_vec()),
        GroupBranch::follow(&base, shown),
    ) else {
        return Decided::Invalid;
    };
    if kept.after().role(by).is_none() && shown.after().role(by).is_none() {
        return Decided::Stranger;
    }
    match prevails(&shown, &kept) {
        Prevails::First => Decided::Taken(Box::new(shown)),
        Prevails::Second => Decided::Kept,
        Prevails::Neither => Decided::Invalid,
    }
}

/// Stages the entries, says that they are to be put in place, and puts them there.
async fn exchange(
    node: &Node,
    group: &GroupId,
    from: u64,
    revision: u64,
    before: &Membership,
    branch: &GroupBranch,
) -> Answered {
    let after = branch.after();
    for entry in branch.entries() {
        let at = branch_key(group, after.last(), entry.entry().number);
        node.state
            .put(
                bucket::BRANCHES,
                &at,
                Bytes::copy_from_slice(entry.bytes()),
                Expect::Any,
            )
            .await?;
    }
    let record = Record::Exchange {
        from,
        after: after.clone(),
    };
    match node
        .state
        .put(
            bucket::GROUPS,
            &group_key(group),
            record.encode().into(),
            Expect::Revision(revision),
        )
        .await
    {
        Ok(_) => {}
        // Somebody wrote meanwhile: it is to be decided anew.
        Err(StateError::Conflict { .. }) => {
            return Ok(GroupAnswer::Behind {
                next: before.entries(),
            });
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(
        ?group,
        from,
        entries = branch.entries().len(),
        "another branch of a forked log is kept"
    );
    log_store::load(node, group).await?;
    // An entry that is listed in vain, when the node dies before this, does no harm: the log says
    // who is a member.
    let out = before
        .members()
        .keys()
        .filter(|device| after.role(device).is_none());
    for device in out {
        node.state
            .delete(bucket::MEMBERS, &member_key(device, group), Expect::Any)
            .await?;
    }
    Ok(GroupAnswer::Done)
}

/// Goes on with an exchange that the record at `revision` says is under way.
pub(super) async fn finish(
    node: &Node,
    group: &GroupId,
    revision: u64,
    from: u64,
    after: &Membership,
) -> Result<(), StateError> {
    for number in from..after.entries() {
        let staged = node
            .state
            .get(bucket::BRANCHES, &branch_key(group, after.last(), number))
            .await?;
        // Another node is done with it: the record is another one by now.
        let Some(staged) = staged else { return Ok(()) };
        node.state
            .put(
                bucket::LOG,
                &entry_key(group, number),
                staged.value,
                Expect::Any,
            )
            .await?;
    }
    let end = entry_key(group, after.entries());
    sweep(node, bucket::LOG, &group_prefix(group), |key| {
        key >= end.as_str()
    })
    .await?;
    let members: BTreeSet<DeviceId> = after.members().keys().copied().collect();
    follow_from(node, group, &members).await?;
    log_store::name(node, after).await?;
    let kept = keys_prefix(group, after.key());
    sweep(node, bucket::KEYS, &group_prefix(group), |key| {
        !key.starts_with(&kept)
    })
    .await?;
    let record = Record::Log(after.clone()).encode().into();
    match node
        .state
        .put(
            bucket::GROUPS,
            &group_key(group),
            record,
            Expect::Revision(revision),
        )
        .await
    {
        // Only its own: another branch may be about to be staged.
        Ok(_) => {
            sweep(
                node,
                bucket::BRANCHES,
                &branch_prefix(group, after.last()),
                |_| true,
            )
            .await
        }
        Err(StateError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks the form and the signature of entries; `None`: one is none.
async fn opened(entries: Vec<Bytes>) -> Result<Option<Vec<SignedEntry>>, StateError> {
    blocking(move || {
        entries
            .iter()
            .map(|bytes| SignedEntry::open(bytes).ok())
            .collect()
    })
    .await
}

/// A long log takes a second of signatures.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StateError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StateError::Closed)
}
