//! Changes of a group that are made again, because a fork of its log was decided for the other
//! branch.
//!
//! A change is kept as the signed entry that was lost, so that it survives a restart, and becomes a
//! new entry at the end of the log that counts. It is done with when it has been done, by whomever,
//! or is not allowed any more.

use super::append::Change;
use super::{Groups, Known};
use hither_content::storage::StorageError;
use hither_proto::{
    Action, DeviceId, GroupBranch, GroupId, KeyMark, Membership, Role, SignedEntry,
};
use hither_util::hex::Hex;

/// Most changes of one group that wait to be made again: a fork is a matter of days.
const MOST: usize = 64;

/// Names one of them: the hash of the entry that was lost.
pub(super) type Lost = [u8; 32];

/// Returns what `device` has to see to when `branch` does not prevail.
pub(super) fn of(branch: &GroupBranch, device: &DeviceId) -> Vec<Hex> {
    branch
        .again(device)
        .map(|entry| Hex(entry.bytes().to_vec()))
        .collect()
}

/// Adds to what waits; the latest are kept.
pub(super) fn add(waiting: &mut Vec<Hex>, lost: Vec<Hex>) {
    waiting.extend(lost);
    let spare = waiting.len().saturating_sub(MOST);
    waiting.drain(..spare);
}

/// Everything of a group that this device can do again now.
pub(super) fn due(known: &Known, membership: &Membership, device: DeviceId) -> Vec<Lost> {
    let opened = known
        .record
        .again
        .iter()
        .filter_map(|bytes| SignedEntry::open(&bytes.0).ok());
    opened
        .filter(|lost| change(lost, membership, device).is_some())
        .map(|lost| lost.hash())
        .collect()
}

/// Returns what is to be written for one of them; nothing if that is done or not allowed.
pub(super) fn change_of(
    known: &Known,
    membership: &Membership,
    device: DeviceId,
    lost: &Lost,
) -> Option<Change> {
    let opened = known
        .record
        .again
        .iter()
        .filter_map(|bytes| SignedEntry::open(&bytes.0).ok());
    opened
        .filter(|entry| entry.hash() == *lost)
        .find_map(|entry| change(&entry, membership, device))
}

/// One of them is done, or cannot be: forgets it, and with it what is not to be done any more.
/// Blocks.
pub(super) fn done(
    groups: &Groups,
    group: GroupId,
    device: DeviceId,
    done: &Lost,
) -> Result<(), StorageError> {
    groups.update(group, |known| {
        let Some(membership) = known.membership.clone() else {
            return;
        };
        known.record.again.retain(|bytes| {
            let lost = SignedEntry::open(&bytes.0).ok();
            lost.is_some_and(|lost| {
                lost.hash() != *done && change(&lost, &membership, device).is_some()
            })
        });
    })
}

fn change(lost: &SignedEntry, membership: &Membership, device: DeviceId) -> Option<Change> {
    let entry = lost.entry();
    let own = entry.author == device;
    let plain = |action: Action| {
        (own && membership.allowed(&device, &action).is_ok()).then_some(Change::Plain(action))
    };
    match &entry.action {
        Action::Create { .. } => None,
        Action::Add { device: new } => {
            (own && membership.allowed(&device, &entry.action).is_ok()).then_some(Change::Add(*new))
        }
        Action::Remove { device: out, .. } => removal(membership, device, *out),
        Action::Leave => removal(membership, device, entry.author),
        Action::Promote { .. } | Action::SetPolicy { .. } => plain(entry.action.clone()),
        // The mark is another one: whether it is allowed does not depend on which.
        Action::Rotate { .. } => {
            let admin = membership.role(&device) == Some(Role::Admin);
            (own && (admin || membership.is_stale())).then_some(Change::Rotate)
        }
    }
}

/// A device that was put out, or left, is put out by any admin.
fn removal(membership: &Membership, device: DeviceId, out: DeviceId) -> Option<Change> {
    let action = Action::Remove {
        device: out,
        key: KeyMark::new([0; 32]),
    };
    membership
        .allowed(&device, &action)
        .is_ok()
        .then_some(Change::Remove(out))
}
