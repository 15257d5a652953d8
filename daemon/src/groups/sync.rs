//! Asking a relay about groups, and believing only what can be checked.

use super::content::{self, Inner};
use super::store::{GroupRecord, Stands, Told};
use super::{Known, asker, forks, joining};
use crate::failure;
use crate::groups::GroupService;
use hither_carrier::group_seal::Place;
use hither_content::storage::StorageError;
use hither_proto::{
    Action, DeviceId, EntryError, GroupAnswer, GroupId, GroupNote, GroupRequest, GroupSealed,
    GroupStanding, LogError, Membership, NameSeal, RelayRefusalCode, SignedEntry, stamp,
};
use hither_relay_client::{RelayConnection, RequestError};
use hither_util::clock::unix_millis;
use hither_util::hex::Hex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pages of a log that are requested at once: more than the longest log has.
const MAX_PAGES: usize = 1024;
/// The same of a group that is not known yet (some 32 MiB).
const MAX_FRESH_PAGES: usize = 64;
/// Members whose notes one request covers.
const NOTES: usize = 64;
/// Entries that are brought back before the relay is queried again how far it is.
const BROUGHT_BACK: usize = 64;
/// The message shown when a relay has forgotten a request.
const FORGOTTEN: &str = "The request was not answered in time.";

/// Why something is not known as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    /// The relay.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The store here.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The relay's answer is no entry.
    #[error("the relay shows a log that cannot be: {0}")]
    Entry(#[from] EntryError),
    /// The entries do not follow from what is known.
    #[error("the relay shows a log that cannot be: {0}")]
    Log(#[from] LogError),
    /// The relay has fewer entries than it showed before, and others in their place.
    #[error("the relay has lost entries of the group's log")]
    Lost,
    /// Two histories of the group are known, and nobody but its admins can decide between them.
    #[error(
        "its history is forked: admins have removed each other, or the two parts are too long to compare. Its admins have to make a new group"
    )]
    Forked,
    /// The relay answered something else.
    #[error("the relay answered something else than expected")]
    Unexpected,
    /// The daemon ends.
    #[error("{0}")]
    Internal(String),
}

/// Runs what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    service: &Arc<GroupService>,
    work: impl FnOnce(&GroupService) -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    let of = Arc::clone(service);
    let done = tokio::task::spawn_blocking(move || work(&of)).await;
    done.map_err(|error| SyncError::Internal(failure::internal(error).message))?
}

/// Which groups this device is in, as the relay says; from then on the relay tells what changes.
pub(super) async fn mine(connection: &RelayConnection) -> Result<Vec<GroupId>, SyncError> {
    match connection.group(GroupRequest::Mine).await? {
        GroupAnswer::Mine(groups) => Ok(groups),
        _ => Err(SyncError::Unexpected),
    }
}

/// Learns the log of a group, and how this device stands with it.
pub(super) async fn log(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    relay: DeviceId,
    group: GroupId,
) -> Result<(), SyncError> {
    // Of a group that is not known yet: all of it says whether it is one to know.
    let mut held = Vec::new();
    for page in 0..MAX_PAGES {
        let known = service.groups.get(&group);
        let fresh = known.is_none();
        let at = known
            .and_then(|known| known.membership)
            .map(|m| (m.entries(), *m.last()));
        let next = at.map_or(held.len() as u64, |(next, _)| next);
        // The last entry that is known comes again: there the relay's log must be the same.
        let from = if at.is_some() {
            next.saturating_sub(1)
        } else {
            next
        };
        let answer = connection.group(GroupRequest::Log { group, from }).await?;
        let GroupAnswer::Log {
            standing,
            total,
            mut entries,
            sealed,
        } = answer
        else {
            return Err(SyncError::Unexpected);
        };
        if standing != GroupStanding::Member {
            return outsider(service, connection, group, standing, sealed).await;
        }
        if total < next {
            if is_known(service, connection, group, total).await? {
                bring_back(service, connection, group, total).await?;
            } else {
                forks::heal(service, connection, group).await?;
            }
            continue;
        }
        if let Some((_, last)) = at {
            if entries.is_empty() {
                return Err(SyncError::Unexpected);
            }
            if SignedEntry::open(&entries.remove(0))?.hash() != last {
                forks::heal(service, connection, group).await?;
                continue;
            }
        }
        let (from, got) = (next, entries.len() as u64);
        held.extend(entries);
        if fresh && from + got < total && got > 0 && page < MAX_FRESH_PAGES {
            continue;
        }
        let entries = std::mem::take(&mut held);
        blocking(service, move |service| {
            let opened = entries
                .iter()
                .map(|bytes| SignedEntry::open(bytes))
                .collect::<Result<Vec<_>, _>>()?;
            absorb(service, relay, group, &opened)?;
            if let Some(sealed) = sealed {
                take_key(service, group, &sealed)?;
            }
            Ok(())
        })
        .await?;
        if from + got >= total || service.groups.get(&group).is_none() {
            return Ok(());
        }
        if got == 0 {
            return Err(SyncError::Unexpected);
        }
    }
    Err(SyncError::Unexpected)
}

/// Asks for entries of a log from a number on; with the number of all.
pub(super) async fn page(
    connection: &RelayConnection,
    group: GroupId,
    from: u64,
) -> Result<(u64, Vec<bytes::Bytes>), SyncError> {
    match connection.group(GroupRequest::Log { group, from }).await? {
        GroupAnswer::Log {
            standing: GroupStanding::Member,
            total,
            entries,
            ..
        } => Ok((total, entries)),
        _ => Err(SyncError::Unexpected),
    }
}

/// Returns whether the last of the `total` entries that the relay has is known here.
async fn is_known(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
    total: u64,
) -> Result<bool, SyncError> {
    let Some(last) = total.checked_sub(1) else {
        return Ok(true);
    };
    let (_, theirs) = page(connection, group, last).await?;
    let ours = blocking(service, move |service| {
        Ok(service.groups.store.entries(group, last, 1)?)
    })
    .await?;
    Ok(ours.first().map(Vec::as_slice) == theirs.first().map(|entry| &entry[..]))
}

/// The relay reports that this device is no member. When it knows nothing of why, it has lost that:
/// the device asks to be let in again.
async fn outsider(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
    standing: GroupStanding,
    sealed: Option<GroupSealed>,
) -> Result<(), SyncError> {
    let known = service.groups.get(&group);
    let lost = standing == GroupStanding::None
        && known
            .as_ref()
            .is_some_and(|known| known.membership_of(&service.device).is_some());
    if !lost {
        return blocking(service, move |service| {
            outside(service, group, standing, sealed)
        })
        .await;
    }
    if is_first_author(service, group).await? {
        return bring_back(service, connection, group, 0).await;
    }
    match joining::leave_request(service, connection, group).await? {
        Some(_) => {
            blocking(service, move |service| {
                outside(service, group, GroupStanding::Asking, None)
            })
            .await
        }
        // The creator of the group brings it back.
        None => Err(SyncError::Lost),
    }
}

/// Returns whether this device made the group.
async fn is_first_author(service: &Arc<GroupService>, group: GroupId) -> Result<bool, SyncError> {
    blocking(service, move |service| {
        let first = service.groups.store.entries(group, 0, 1)?;
        let first = first
            .first()
            .map(|bytes| SignedEntry::open(bytes))
            .transpose()?;
        Ok(first.is_some_and(|first| first.entry().author == service.device))
    })
    .await
}

/// The relay has lost entries, as one that was restored from a backup: they are appended again, in
/// order.
async fn bring_back(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
    from: u64,
) -> Result<(), SyncError> {
    let lost = blocking(service, move |service| {
        Ok(service.groups.store.entries(group, from, BROUGHT_BACK)?)
    })
    .await?;
    tracing::info!(
        ?group,
        entries = lost.len(),
        "entries that the relay has lost are brought back"
    );
    if lost.is_empty() {
        return Err(SyncError::Lost);
    }
    for entry in lost {
        let what = GroupRequest::Append {
            group,
            entry: entry.into(),
            keys: Vec::new(),
        };
        match connection.group(what).await {
            Ok(GroupAnswer::Done) => {}
            // Another member is doing the same.
            Ok(GroupAnswer::Behind { .. }) => return Ok(()),
            Ok(_) => return Err(SyncError::Unexpected),
            // Others are in their place, or it is this device's own addition of one that has not
            // asked, as far as the relay knows: any other member brings that back.
            Err(RequestError::Refused(refusal))
                if matches!(
                    refusal.code,
                    RelayRefusalCode::Invalid | RelayRefusalCode::NotFound
                ) =>
            {
                return Err(SyncError::Lost);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The relay reports that this device is no member. Blocks.
fn outside(
    service: &GroupService,
    group: GroupId,
    standing: GroupStanding,
    sealed: Option<GroupSealed>,
) -> Result<(), SyncError> {
    let reason = sealed.and_then(|sealed| content::open_refusal(&service.identity, group, &sealed));
    service.groups.update(group, |known| {
        known.record.stands = match (standing, known.record.stands.clone()) {
            (GroupStanding::Refused, _) => {
                Stands::Refused(reason.unwrap_or_else(|| "An admin declined.".into()))
            }
            (GroupStanding::Asking, _) => Stands::Asking,
            (_, Stands::Asking) => Stands::Refused(FORGOTTEN.into()),
            (_, Stands::Member) => {
                tracing::info!(?group, "this device is no member of a group any more");
                Stands::Removed
            }
            (_, other) => other,
        };
        if !known.record.is_member() {
            // The notes of members are not for this device any more, and open nothing new.
            known.told.clear();
            known.unreadable.clear();
            known.seen.clear();
            known.askers.clear();
        }
    })?;
    Ok(())
}

/// Returns whether this device is in a group that it knows nothing of by its own doing, or by that
/// of another device of its user: its store was rebuilt, or the other device let it in.
fn agreed(service: &GroupService, relay: DeviceId, entries: &[SignedEntry]) -> bool {
    let this = service.device;
    let by = entries
        .iter()
        .rev()
        .map(SignedEntry::entry)
        .find_map(|entry| match entry.action {
            Action::Create { .. } if entry.author == this => Some(this),
            Action::Add { device } if device == this => Some(entry.author),
            _ => None,
        });
    let relays = service.relays.all();
    let relay = relays.iter().find(|one| one.url.key == relay);
    let own =
        |by: DeviceId| relay.is_some_and(|relay| relay.with_devices(|list| list.get(by).is_some()));
    by.is_some_and(|by| by == this || own(by))
}

/// Takes entries that follow what is known; those that are known are passed over. They are durable
/// when this returns. Blocks.
fn absorb(
    service: &GroupService,
    relay: DeviceId,
    group: GroupId,
    entries: &[SignedEntry],
) -> Result<(), SyncError> {
    if service.groups.get(&group).is_none() && !agreed(service, relay, entries) {
        tracing::warn!(
            ?group,
            "a group names this device, which has not asked for that; ignored"
        );
        return Ok(());
    }
    service
        .groups
        .insert(group, GroupRecord::new(relay, Stands::Member))?;
    let mut all = service.groups.lock();
    let Some(known) = all.get_mut(&group) else {
        return Ok(());
    };
    let before = known.membership.clone();
    let next = before.as_ref().map_or(0, Membership::entries);
    let new: Vec<_> = entries
        .iter()
        .filter(|entry| entry.entry().number >= next)
        .cloned()
        .collect();
    let after = match before {
        Some(mut membership) => {
            new.iter().try_for_each(|entry| membership.apply(entry))?;
            membership
        }
        None => Membership::replay(group, &new)?,
    };
    if !new.is_empty() {
        let out: Vec<_> = known
            .told
            .keys()
            .filter(|device| after.role(device).is_none())
            .copied()
            .collect();
        service.groups.store.put_log(&after, &new, &out)?;
        known.drop_outsiders(&after);
        tracing::debug!(
            ?group,
            entries = after.entries(),
            members = after.members().len(),
            "a group's log"
        );
    }
    let clear = match after.name() {
        NameSeal::Clear(name) => Some(name.as_str().to_owned()),
        NameSeal::Sealed(_) => None,
    };
    let stands = if after.role(&service.device).is_some() {
        Stands::Member
    } else {
        Stands::Removed
    };
    known.membership = Some(after);
    drop(all);
    service.groups.update(group, |known| {
        known.record.stands = stands;
        known.record.name = clear.or_else(|| known.record.name.take());
    })?;
    Ok(())
}

/// Takes the secret that a member sealed for this device. Blocks.
fn take_key(service: &GroupService, group: GroupId, sealed: &GroupSealed) -> Result<(), SyncError> {
    let Some(known) = service.groups.get(&group) else {
        return Ok(());
    };
    let Some(membership) = known
        .membership
        .as_ref()
        .filter(|_| known.secret().is_none())
    else {
        return Ok(());
    };
    match content::open_key(&service.identity, membership, sealed) {
        Some(inner) => keep_inner(service, group, &inner)?,
        None => {
            tracing::warn!(?group, from = ?sealed.device, "a secret for a group is not that of its log")
        }
    }
    Ok(())
}

/// Keeps what members know. Blocks.
pub(super) fn keep_inner(
    service: &GroupService,
    group: GroupId,
    inner: &Inner,
) -> Result<(), StorageError> {
    service.groups.update(group, |known| {
        known.record.secret = Some(Hex(inner.secret.expose().to_vec()));
        known.record.name = Some(inner.name.as_str().to_owned());
        known.record.salt = inner.salt.map(|salt| Hex(salt.to_vec()));
        known.unreadable.clear();
    })
}

/// Learns who is there, who asks, and what members say that is new.
pub(super) async fn roll(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
) -> Result<(), SyncError> {
    let answer = connection.group(GroupRequest::Roll { group }).await?;
    let GroupAnswer::Members { members, askers } = answer else {
        return Err(SyncError::Unexpected);
    };
    blocking(service, move |service| {
        let askers: Vec<_> = askers
            .iter()
            .map(|asked| asker(&service.identity, group, asked))
            .collect();
        service.groups.update(group, |known| {
            let Known {
                membership: Some(membership),
                ..
            } = known
            else {
                return;
            };
            let member = |device: &DeviceId| membership.role(device).is_some();
            known.seen = members
                .iter()
                .filter(|one| member(&one.device))
                .map(|one| (one.device, one.clone()))
                .collect();
            known.askers = askers
                .into_iter()
                .filter(|asker| !member(&asker.device))
                .collect();
        })?;
        Ok(())
    })
    .await?;
    notes(service, connection, group).await
}

/// Members whose notes are others than those that are known here.
fn stale_notes(service: &GroupService, known: &Known) -> Vec<DeviceId> {
    let others = known
        .seen
        .values()
        .filter(|member| member.device != service.device);
    let stale = others.filter(|member| {
        let Some(digest) = &member.digest else {
            return false;
        };
        let told = known
            .told
            .get(&member.device)
            .map(|told| told.digest.0.as_slice());
        let unreadable = known.unreadable.get(&member.device).map(Vec::as_slice);
        told != Some(&digest[..]) && unreadable != Some(&digest[..])
    });
    stale.map(|member| member.device).collect()
}

/// Learns what members say that is new.
async fn notes(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
) -> Result<(), SyncError> {
    loop {
        let Some(known) = service.groups.get(&group) else {
            return Ok(());
        };
        let Some(secret) = known.secret() else {
            return Ok(());
        };
        let mut devices = stale_notes(service, &known);
        devices.truncate(NOTES);
        if devices.is_empty() {
            return Ok(());
        }
        let wanted = devices.clone();
        let GroupAnswer::Notes(notes) = connection
            .group(GroupRequest::Notes { group, devices })
            .await?
        else {
            return Err(SyncError::Unexpected);
        };
        let none = notes.is_empty();
        blocking(service, move |service| {
            let generation = known.membership.as_ref().map_or(0, Membership::generation);
            read(
                service,
                &known,
                Place {
                    group,
                    generation,
                    secret: &secret,
                },
                &notes,
                &wanted,
            )
        })
        .await?;
        if none {
            return Ok(());
        }
    }
}

/// Opens notes and keeps what they say. Blocks.
fn read(
    service: &GroupService,
    known: &Known,
    place: Place<'_>,
    notes: &[GroupNote],
    wanted: &[DeviceId],
) -> Result<(), SyncError> {
    let mut fresh: Vec<(DeviceId, Told)> = Vec::new();
    let (mut unreadable, now) = (BTreeMap::new(), unix_millis());
    for note in notes.iter().filter(|note| wanted.contains(&note.device)) {
        let digest =
            blake3::hash(&note.sealed).as_bytes()[..hither_proto::limits::GROUP_DIGEST].to_vec();
        let before = known.told.get(&note.device).map_or(0, |told| told.made_ms);
        match content::open_note(place, note.device, &note.sealed) {
            // A relay may be behind, or pretend to be: an older note changes nothing.
            Ok(told) if stamp::replaces(before, told.made_ms, now) => {
                fresh.push((note.device, told))
            }
            Ok(_) => drop(unreadable.insert(note.device, digest.clone())),
            Err(error) => {
                // Of an earlier generation, until that member seals it anew.
                tracing::debug!(from = ?note.device, %error, "what a member told cannot be read");
                unreadable.insert(note.device, digest.clone());
            }
        }
        // The roll of the relay may be of another moment: the note as read counts.
        if let Some(seen) = known.seen.get(&note.device)
            && let Some(rolled) = seen.digest
            && digest != rolled
        {
            unreadable
                .entry(note.device)
                .or_insert_with(|| rolled.to_vec());
        }
    }
    service.groups.store.put_told(place.group, &fresh)?;
    service.groups.update(place.group, |known| {
        known.unreadable.extend(unreadable);
        known.told.extend(fresh);
    })?;
    Ok(())
}
