//! Forks of a group's log: finding where two histories part, and keeping the one that everybody
//! keeps.
//!
//! The rule is [`hither_proto::prevails`]. If the history that is known here prevails, the relay
//! is shown it; where the relay's does, it is taken, and what this device is to do again of its own
//! is kept with it in one step (see `redo.rs`).

use super::Groups;
use super::sync::{SyncError, blocking, page};
use crate::groups::GroupService;
use hither_proto::limits::{MAX_GROUP_LOG, MAX_GROUP_PAGE};
use hither_proto::{
    DeviceId, GroupAnswer, GroupBranch, GroupId, GroupRequest, LogError, Membership, Prevails,
    RelayRefusalCode, SignedEntry, prevails,
};
use hither_relay_client::{RelayConnection, RequestError};
use std::sync::Arc;

/// Something to be done about a fork.
enum Found {
    /// One log is the beginning of the other.
    None,
    /// The relay is to take this.
    Show(Vec<bytes::Bytes>),
    /// The relay's was taken in place of so many entries.
    Taken { given_up: usize },
}

/// The relay has other entries than are known here: decides which are kept. Afterwards the relay is
/// to be asked again.
pub(super) async fn heal(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
) -> Result<(), SyncError> {
    let theirs = whole(connection, group).await?;
    let found = blocking(service, move |service| {
        decide(&service.groups, service.device, group, &theirs)
    })
    .await?;
    match found {
        Found::None => Ok(()),
        Found::Taken { given_up } => {
            service
                .warnings
                .add(words(&service.groups.name(&group.to_string()), given_up));
            Ok(())
        }
        Found::Show(entries)
            if entries.iter().map(bytes::Bytes::len).sum::<usize>() > MAX_GROUP_PAGE =>
        {
            Err(SyncError::Forked)
        }
        Found::Show(entries) => {
            match connection
                .group(GroupRequest::Branch { group, entries })
                .await
            {
                // Behind: somebody was faster, which the next look shows.
                Ok(GroupAnswer::Done | GroupAnswer::Behind { .. }) => Ok(()),
                Ok(_) => Err(SyncError::Unexpected),
                Err(RequestError::Refused(refusal))
                    if matches!(
                        refusal.code,
                        RelayRefusalCode::Invalid | RelayRefusalCode::NotFound
                    ) =>
                {
                    Err(SyncError::Forked)
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// The whole log as the relay has it.
async fn whole(
    connection: &RelayConnection,
    group: GroupId,
) -> Result<Vec<bytes::Bytes>, SyncError> {
    let mut all = Vec::new();
    while (all.len() as u64) < MAX_GROUP_LOG {
        let (total, entries) = page(connection, group, all.len() as u64).await?;
        let none = entries.is_empty();
        all.extend(entries);
        if all.len() as u64 >= total {
            return Ok(all);
        }
        if none {
            break;
        }
    }
    Err(SyncError::Unexpected)
}

/// Decides between what is known here and what the relay has. Blocks.
fn decide(
    groups: &Groups,
    this: DeviceId,
    group: GroupId,
    theirs: &[bytes::Bytes],
) -> Result<Found, SyncError> {
    let most = usize::try_from(MAX_GROUP_LOG).unwrap_or(usize::MAX);
    let ours = groups.store.entries(group, 0, most)?;
    let common = ours
        .iter()
        .zip(theirs)
        .take_while(|(one, other)| one[..] == other[..])
        .count();
    if common == 0 {
        return Err(LogError::Chain.into());
    }
    if common == ours.len() || common == theirs.len() {
        return Ok(Found::None);
    }
    let open = |bytes: &[u8]| SignedEntry::open(bytes);
    let before = ours[..common]
        .iter()
        .map(|bytes| open(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let base = Membership::replay(group, &before)?;
    let kept = ours[common..]
        .iter()
        .map(|bytes| open(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let shown = theirs[common..]
        .iter()
        .map(|bytes| open(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let (kept, shown) = (
        GroupBranch::follow(&base, kept)?,
        GroupBranch::follow(&base, shown)?,
    );
    match prevails(&kept, &shown) {
        Prevails::Neither => Err(SyncError::Forked),
        Prevails::First => {
            let bytes = |entry: &SignedEntry| bytes::Bytes::copy_from_slice(entry.bytes());
            Ok(Found::Show(kept.entries().iter().map(bytes).collect()))
        }
        Prevails::Second => {
            let lost = groups.exchange(group, &kept, &shown, &this)?;
            tracing::info!(
                ?group,
                from = common,
                lost,
                "another branch of a forked log is kept"
            );
            Ok(Found::Taken {
                given_up: kept.entries().len(),
            })
        }
    }
}

/// Returns what the user is told of entries that were known here and count no more.
fn words(name: &str, lost: usize) -> String {
    let changes = if lost == 1 {
        "change".to_owned()
    } else {
        format!("{lost} changes")
    };
    format!(
        "The relay had lost the latest {changes} of the group \"{name}\", and took others meanwhile: these count now. \
         Whatever this device or an admin had changed is changed again."
    )
}
