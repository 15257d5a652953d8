//! The log of a group in the state, and what follows from it.
//!
//! An entry is appended by putting it under its number, if nothing is there: that orders what
//! several fronts and devices do at a time. What the log says is kept beside it, and may be one
//! entry behind when a node died in between: whoever loads it next catches up. Everything that
//! follows from an entry is made before the record that says it was, so that catching up repeats
//! it.

use super::forks;
use super::records::{
    Name, bucket, device_key, entry_key, group_key, group_prefix, keys_prefix, last_group,
    member_key, member_prefix, secret_key,
};
use crate::node::Node;
use crate::serve::records::last_device;
use crate::serve::registry::encode;
use crate::state::{Entry, Expect, MAX_PAGE, StateError};
use bytes::Bytes;
use hither_proto::limits::{MAX_GROUP_LOG, MAX_GROUPS};
use hither_proto::{Action, DeviceId, GroupId, Membership, NameSeal, Policy, SignedEntry};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Attempts at a change that others make at the same time.
const ATTEMPTS: usize = 16;

type Result<T> = std::result::Result<T, StateError>;

/// What came of an entry.
pub(super) enum Appended {
    /// It is in the log.
    Done,
    /// Somebody else was faster.
    Behind,
}

/// The content of a group's record.
pub(super) enum Record {
    /// The log says this.
    Log(Membership),
    /// The log is being exchanged for another branch from this number on; what it says then.
    Exchange { from: u64, after: Membership },
}

/// Begins the record of an exchange; no [`Membership::encode`] begins so.
const EXCHANGE: u8 = 0xff;

impl Record {
    /// Below 49 KiB.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Log(known) => known.encode(),
            Self::Exchange { from, after } => {
                [&[EXCHANGE][..], &from.to_be_bytes(), &after.encode()].concat()
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let membership = |bytes: &[u8]| Membership::decode(bytes).map_err(|_| damaged());
        let Some(exchange) = bytes.strip_prefix(&[EXCHANGE]) else {
            return Ok(Self::Log(membership(bytes)?));
        };
        let (from, after) = exchange.split_first_chunk::<8>().ok_or_else(damaged)?;
        Ok(Self::Exchange {
            from: u64::from_be_bytes(*from),
            after: membership(after)?,
        })
    }
}

/// What the log of a group says; `None`: there is no such group, or it has ended.
pub(super) async fn load(node: &Node, group: &GroupId) -> Result<Option<Arc<Membership>>> {
    Ok(load_with_revision(node, group)
        .await?
        .map(|(known, _)| known))
}

/// The same, and the revision of the record that says so.
pub(super) async fn load_with_revision(
    node: &Node,
    group: &GroupId,
) -> Result<Option<(Arc<Membership>, u64)>> {
    for _ in 0..ATTEMPTS {
        let kept = node.state.get(bucket::GROUPS, &group_key(group)).await?;
        let known = match &kept {
            Some(entry) => match read(node, group, entry).await? {
                Some(known) => Some((known, entry.revision)),
                // An exchange was under way, and is done.
                None => continue,
            },
            None => None,
        };
        let next = known.as_ref().map_or(0, |(known, _)| known.entries());
        let Some(entry) = node.state.get(bucket::LOG, &entry_key(group, next)).await? else {
            return match known {
                Some((ended, _)) if ended.members().is_empty() => {
                    remove(node, group, ended.entries()).await?;
                    Ok(None)
                }
                known => Ok(known),
            };
        };
        let signed = SignedEntry::open(&entry.value).map_err(|_| damaged())?;
        let revision = known.as_ref().map(|(_, revision)| *revision);
        catch_up(
            node,
            known.map(|(known, _)| (*known).clone()),
            revision,
            &signed,
        )
        .await?;
    }
    Err(StateError::Busy("entries of one group at a time".into()))
}

/// Returns what a record says; goes on with an exchange that it tells of, and has nothing to say
/// then.
async fn read(node: &Node, group: &GroupId, entry: &Entry) -> Result<Option<Arc<Membership>>> {
    if let Some(known) = node.services.groups.read(group, entry.revision) {
        return Ok(Some(known));
    }
    match Record::decode(&entry.value)? {
        Record::Log(known) => {
            let known = Arc::new(known);
            node.services.groups.keep(entry.revision, &known);
            Ok(Some(known))
        }
        Record::Exchange { from, after } => {
            forks::finish(node, group, entry.revision, from, &after).await?;
            Ok(None)
        }
    }
}

/// Returns every entry of a log, in order.
pub(super) async fn entries(node: &Node, group: &GroupId) -> Result<Vec<Bytes>> {
    let (prefix, mut after, mut all) = (group_prefix(group), None::<String>, Vec::new());
    while (all.len() as u64) < MAX_GROUP_LOG {
        let page = node
            .state
            .list(bucket::LOG, &prefix, after.as_deref(), MAX_PAGE)
            .await?;
        after = page.records.last().map(|record| record.key.clone());
        all.extend(page.records.into_iter().map(|record| record.entry.value));
        if !page.more {
            break;
        }
    }
    Ok(all)
}

/// Puts an entry that may be appended at the end of the log.
pub(super) async fn append(node: &Node, signed: &SignedEntry) -> Result<Appended> {
    let (group, number) = (signed.group(), signed.entry().number);
    let value = Bytes::copy_from_slice(signed.bytes());
    match node
        .state
        .put(
            bucket::LOG,
            &entry_key(&group, number),
            value,
            Expect::Absent,
        )
        .await
    {
        Ok(_) => {}
        Err(StateError::Conflict { .. }) => {
            return Ok(match is_there(node, signed).await? {
                true => Appended::Done,
                false => Appended::Behind,
            });
        }
        Err(error) => return Err(error),
    }
    load(node, &group).await?;
    Ok(Appended::Done)
}

/// Whether this very entry is in the log already: whoever sent it did not hear so.
pub(super) async fn is_there(node: &Node, signed: &SignedEntry) -> Result<bool> {
    let (group, number) = (signed.group(), signed.entry().number);
    let there = node
        .state
        .get(bucket::LOG, &entry_key(&group, number))
        .await?;
    Ok(there.is_some_and(|entry| entry.value == signed.bytes()))
}

/// Makes what follows from the next entry, then says so.
async fn catch_up(
    node: &Node,
    known: Option<Membership>,
    revision: Option<u64>,
    signed: &SignedEntry,
) -> Result<()> {
    let group = signed.group();
    let before = known.as_ref().map(|known| *known.key());
    let after = match known {
        Some(mut known) => {
            known.apply(signed).map_err(|_| damaged())?;
            known
        }
        None => Membership::begin(signed).map_err(|_| damaged())?,
    };
    let author = signed.entry().author;
    match &signed.entry().action {
        Action::Create { .. } => list(node, &author, &group).await?,
        Action::Add { device } => {
            list(node, device, &group).await?;
            node.state
                .delete(bucket::ASKS, &device_key(&group, device), Expect::Any)
                .await?;
        }
        Action::Remove { device, .. } => forget(node, &group, device, &after).await?,
        Action::Leave => forget(node, &group, &author, &after).await?,
        Action::Promote { .. } | Action::SetPolicy { .. } | Action::Rotate { .. } => {}
    }
    name(node, &after).await?;
    let expect = revision.map_or(Expect::Absent, Expect::Revision);
    match node
        .state
        .put(
            bucket::GROUPS,
            &group_key(&group),
            after.encode().into(),
            expect,
        )
        .await
    {
        Ok(_) => {}
        // Somebody else caught up.
        Err(StateError::Conflict { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    // What is left behind here takes room and opens nothing: the next generation sweeps it too.
    if before.is_some_and(|before| before != *after.key()) {
        let kept = keys_prefix(&group, after.key());
        sweep(node, bucket::KEYS, &group_prefix(&group), |key| {
            !key.starts_with(&kept)
        })
        .await?;
    }
    Ok(())
}

/// Writes down how a group is found, when its name is in the clear.
pub(super) async fn name(node: &Node, after: &Membership) -> Result<()> {
    if let NameSeal::Clear(name) = after.name() {
        let policy = match after.policy() {
            Policy::Open => 0,
            Policy::AllowList(_) => 1,
            Policy::Approval => 2,
        };
        let record = Name {
            name: name.as_str().into(),
            policy,
            members: after.members().len() as u32,
        };
        node.state
            .put(
                bucket::NAMES,
                &group_key(&after.group()),
                encode(&record),
                Expect::Any,
            )
            .await?;
    }
    Ok(())
}

/// Has the lists of a group follow from who is a member, whoever was one before.
pub(super) async fn follow_from(
    node: &Node,
    group: &GroupId,
    members: &BTreeSet<DeviceId>,
) -> Result<()> {
    for device in members {
        list(node, device, group).await?;
        node.state
            .delete(bucket::ASKS, &device_key(group, device), Expect::Any)
            .await?;
    }
    for bucket in [bucket::NOTES, bucket::DIGESTS] {
        let is_out = |key: &str| !last_device(key).is_some_and(|device| members.contains(&device));
        sweep(node, bucket, &group_prefix(group), is_out).await?;
    }
    Ok(())
}

async fn list(node: &Node, device: &DeviceId, group: &GroupId) -> Result<()> {
    node.state
        .put(
            bucket::MEMBERS,
            &member_key(device, group),
            Bytes::from_static(&[1]),
            Expect::Any,
        )
        .await?;
    Ok(())
}

/// A device is no member any more.
async fn forget(node: &Node, group: &GroupId, device: &DeviceId, after: &Membership) -> Result<()> {
    node.state
        .delete(bucket::MEMBERS, &member_key(device, group), Expect::Any)
        .await?;
    node.state
        .delete(
            bucket::KEYS,
            &secret_key(group, after.key(), device),
            Expect::Any,
        )
        .await?;
    for bucket in [bucket::NOTES, bucket::DIGESTS] {
        node.state
            .delete(bucket, &device_key(group, device), Expect::Any)
            .await?;
    }
    Ok(())
}

/// Removes everything of a group that has ended; the record that says so last, so that it can be
/// gone on with.
async fn remove(node: &Node, group: &GroupId, entries: u64) -> Result<()> {
    let prefix = group_prefix(group);
    for bucket in [bucket::KEYS, bucket::NOTES, bucket::DIGESTS, bucket::ASKS] {
        sweep(node, bucket, &prefix, |_| true).await?;
    }
    sweep(node, bucket::BRANCHES, &prefix, |_| true).await?;
    node.state
        .delete(bucket::NAMES, &group_key(group), Expect::Any)
        .await?;
    for number in 0..entries {
        node.state
            .delete(bucket::LOG, &entry_key(group, number), Expect::Any)
            .await?;
    }
    node.state
        .delete(bucket::GROUPS, &group_key(group), Expect::Any)
        .await?;
    Ok(())
}

/// Removes the keys of a bucket below `prefix` that are meant.
pub(super) async fn sweep(
    node: &Node,
    bucket: &str,
    prefix: &str,
    meant: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut after = None::<String>;
    loop {
        let page = node
            .state
            .list(bucket, prefix, after.as_deref(), MAX_PAGE)
            .await?;
        for record in page.records.iter().filter(|record| meant(&record.key)) {
            node.state.delete(bucket, &record.key, Expect::Any).await?;
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(());
        }
    }
}

/// The groups that a device is a member of.
pub(super) async fn groups_of(node: &Node, device: &DeviceId) -> Result<Vec<GroupId>> {
    let mut groups = Vec::new();
    for group in listed(node, device).await? {
        if load(node, &group)
            .await?
            .is_some_and(|known| known.role(device).is_some())
        {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// The groups that a device may be a member of: one that it has left just now may be among them.
pub(super) async fn listed(node: &Node, device: &DeviceId) -> Result<Vec<GroupId>> {
    // A few that are about to be forgotten may be listed beside a full number.
    let page = node
        .state
        .list(
            bucket::MEMBERS,
            &member_prefix(device),
            None,
            MAX_GROUPS + 16,
        )
        .await?;
    Ok(page
        .records
        .iter()
        .filter_map(|record| last_group(&record.key))
        .take(MAX_GROUPS)
        .collect())
}

pub(super) fn damaged() -> StateError {
    StateError::Storage("a record of a group is damaged".into())
}
