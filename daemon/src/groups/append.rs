//! Writing to the log of a group: an entry is made for the log as it is known, and made anew when
//! somebody was faster.

use super::content::{self, Inner};
use super::sync::{self, SyncError};
use super::{Known, group_name};
use crate::groups::GroupService;
use hither_carrier::seal::SealError;
use hither_proto::{
    Action, DeviceId, GroupAnswer, GroupId, GroupNo, GroupRequest, GroupSecret, KeyMark, LogError,
    Membership, RelayRefusalCode, SignedEntry,
};
use hither_relay_client::{RelayConnection, RequestError};
use hither_util::clock::unix_millis;
use std::sync::Arc;

/// Attempts at an entry while others write too.
const ATTEMPTS: usize = 16;

/// Why an entry was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    /// The rules of the group.
    #[error(transparent)]
    Rules(#[from] LogError),
    /// The relay refuses it.
    #[error(transparent)]
    No(GroupNo),
    /// The relay, or what it shows.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Somebody cannot be sealed for.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The group's secret has not reached this device.
    #[error("the group's secret has not reached this device yet")]
    NoSecret,
    /// Others were faster again and again.
    #[error("others change the group at the same time")]
    Crowded,
    /// There is no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

impl AppendError {
    /// Returns whether the same may work a moment later: it was not the group's rules, nor the
    /// relay's, that stood in the way.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Rules(_) | Self::No(_) => false,
            Self::Sync(SyncError::Request(RequestError::Refused(refusal))) => {
                use RelayRefusalCode::{Busy, NoSpace, Quota};
                matches!(refusal.code, Busy | NoSpace | Quota)
            }
            Self::Sync(_) | Self::Seal(_) | Self::NoSecret | Self::Crowded | Self::Random => true,
        }
    }
}

impl From<RequestError> for AppendError {
    fn from(error: RequestError) -> Self {
        Self::Sync(error.into())
    }
}

/// The change to write.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Add(DeviceId),
    Remove(DeviceId),
    Rotate,
    /// Any change that needs no secret to be given to anybody.
    Plain(Action),
}

/// A fresh secret.
pub(super) fn fresh_secret() -> Result<GroupSecret, AppendError> {
    random().map(GroupSecret::new)
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], AppendError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AppendError::Random)?;
    Ok(bytes)
}

/// Returns the data that members know, as it is known here.
pub(super) fn inner(known: &Known) -> Result<Inner, AppendError> {
    let secret = known.secret().ok_or(AppendError::NoSecret)?;
    let name = known
        .record
        .name
        .as_deref()
        .and_then(group_name)
        .ok_or(AppendError::NoSecret)?;
    let salt = known
        .record
        .salt
        .as_ref()
        .and_then(|salt| salt.0.clone().try_into().ok());
    Ok(Inner { secret, name, salt })
}

/// Writes an entry; what the log says then is known here when this returns.
pub(super) async fn append(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    relay: DeviceId,
    group: GroupId,
    change: Change,
) -> Result<(), AppendError> {
    let _turn = service.groups.turn.lock().await;
    for _ in 0..ATTEMPTS {
        let Some(known) = service.groups.get(&group) else {
            return Err(LogError::NotMember.into());
        };
        let membership = known.membership.clone().ok_or(LogError::NotMember)?;
        let (entry, after, next) = made(service, &known, &membership, &change)?;
        let to: Vec<DeviceId> = match &change {
            Change::Add(device) => vec![*device],
            Change::Remove(_) | Change::Rotate => after.members().keys().copied().collect(),
            Change::Plain(_) => Vec::new(),
        };
        let inner = match next {
            Some(secret) => Some(Inner {
                secret,
                ..inner(&known)?
            }),
            None if to.is_empty() => None,
            None => Some(inner(&known)?),
        };
        let of = Arc::clone(service);
        let sealing = tokio::task::spawn_blocking(move || match inner {
            Some(inner) => content::seal_keys(&of.identity, group, &inner, &to),
            None => Ok(Vec::new()),
        });
        let keys = sealing
            .await
            .map_err(|error| SyncError::Internal(error.to_string()))??;
        let entry = bytes::Bytes::copy_from_slice(entry.bytes());
        match connection
            .group(GroupRequest::Append { group, entry, keys })
            .await?
        {
            GroupAnswer::Done => {
                // The new secret comes back with the log: it was sealed for this device too.
                let ended = after.members().is_empty() || after.role(&service.device).is_none();
                return if ended {
                    Ok(())
                } else {
                    Ok(sync::log(service, connection, relay, group).await?)
                };
            }
            GroupAnswer::Behind { .. } => sync::log(service, connection, relay, group).await?,
            GroupAnswer::No(no) => return Err(AppendError::No(no)),
            _ => return Err(SyncError::Unexpected.into()),
        }
    }
    Err(AppendError::Crowded)
}

/// The entry for the end of the log, what the log says with it, and the secret that it begins.
fn made(
    service: &GroupService,
    known: &Known,
    membership: &Membership,
    change: &Change,
) -> Result<(SignedEntry, Membership, Option<GroupSecret>), AppendError> {
    let mut next = None;
    let mut begin = || -> Result<KeyMark, AppendError> {
        // Its members must learn the name with it.
        inner(known)?;
        let secret = fresh_secret()?;
        let mark = secret.mark();
        next = Some(secret);
        Ok(mark)
    };
    let action = match change {
        Change::Add(device) => Action::Add { device: *device },
        Change::Remove(device) => Action::Remove {
            device: *device,
            key: begin()?,
        },
        Change::Rotate => Action::Rotate { key: begin()? },
        Change::Plain(action) => action.clone(),
    };
    membership.allowed(&service.device, &action)?;
    let entry = membership.next_entry(service.device, unix_millis(), action);
    let entry = SignedEntry::sign(entry, |message| service.identity.sign(message));
    let mut after = membership.clone();
    after.apply(&entry)?;
    Ok((entry, after, next))
}
