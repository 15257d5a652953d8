//! A share of a member by its name, so that it can be fetched without a ticket.

use super::Known;
use super::describe::{meant, name_of};
use super::store::Stands;
use crate::catalogue::Entry;
use crate::groups::GroupService;
use hither_api::{ApiError, ErrorCode, FoundShare, ListedShare};
use hither_proto::{DeviceId, GroupId, display_name};
use hither_util::clock::unix_seconds;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest wait for what a member is about to tell.
const PATIENCE: Duration = Duration::from_secs(3);

/// The groups of this device.
fn joined(service: &GroupService) -> Vec<(GroupId, Known)> {
    let all = service.groups.all().into_iter();
    all.filter(|(_, known)| known.record.stands == Stands::Member && known.membership.is_some())
        .collect()
}

/// The member of some group that a user means: by its id, short id or name, in this order.
pub(crate) fn member(service: &GroupService, wanted: &str) -> Option<Result<DeviceId, ApiError>> {
    let mut all: Vec<(DeviceId, String)> = Vec::new();
    for (_, known) in joined(service) {
        let members = known
            .membership
            .iter()
            .flat_map(|m| m.members().keys().copied());
        all.extend(
            members
                .filter(|one| *one != service.device)
                .map(|one| (one, name_of(service, &known, one))),
        );
    }
    meant(&all, wanted)
}

fn listed(
    service: &GroupService,
    known: &Known,
    owner: DeviceId,
    entry: &Entry,
) -> Option<ListedShare> {
    Some(ListedShare {
        device: owner.to_string(),
        device_name: name_of(service, known, owner),
        share: entry.checked(owner)?.to_string(),
        name: display_name(&entry.name),
        version: entry.version,
        files: entry.files,
        bytes: entry.bytes,
        published: entry.published,
        group: Some(known.name()),
        expires: entry.expires,
    })
}

/// Everything that members of groups share with them, without tickets.
pub(crate) fn shares(service: &GroupService) -> Vec<ListedShare> {
    let mut all = Vec::new();
    for (_, known) in joined(service) {
        for (owner, told) in &known.told {
            all.extend(
                live(&told.shares).filter_map(|entry| listed(service, &known, *owner, entry)),
            );
        }
    }
    all
}

fn live(shares: &[Entry]) -> impl Iterator<Item = &Entry> {
    let now = unix_seconds();
    shares
        .iter()
        .filter(move |entry| entry.expires.is_none_or(|at| at > now))
}

/// The share of a name that a member has; the newest, when there are several.
pub(crate) async fn find(
    service: &Arc<GroupService>,
    owner: DeviceId,
    name: &str,
) -> Result<FoundShare, ApiError> {
    let (mut changes, deadline) = (service.groups.changes(), Instant::now() + PATIENCE);
    loop {
        changes.mark_unchanged();
        let (found, behind) = look(service, owner, name);
        if let Some(found) = found {
            return Ok(found);
        }
        if !behind || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            return Err(missing(service, owner, name, behind));
        }
    }
}

/// The share of a name, and whether the member may have told something that is not known here.
fn look(service: &GroupService, owner: DeviceId, name: &str) -> (Option<FoundShare>, bool) {
    let (mut all, mut behind) = (Vec::new(), false);
    for (_, known) in joined(service) {
        let Some(told) = known.told.get(&owner) else {
            behind |= known
                .membership
                .as_ref()
                .is_some_and(|m| m.role(&owner).is_some());
            continue;
        };
        let digest = known.seen.get(&owner).and_then(|member| member.digest);
        behind |= digest.is_some_and(|digest| told.digest.0 != digest);
        for entry in live(&told.shares) {
            if (entry.name == name || display_name(&entry.name) == name)
                && let Some(share) = listed(service, &known, owner, entry)
                && !all
                    .iter()
                    .any(|(other, _): &(ListedShare, String)| other.share == share.share)
            {
                all.push((share, entry.ticket.clone()));
            }
        }
    }
    all.sort_by_key(|(share, _)| Reverse(share.published));
    let same_name = (all.len() as u64).saturating_sub(1);
    let found = all.into_iter().next().map(|(share, ticket)| FoundShare {
        share,
        ticket,
        same_name,
    });
    (found, behind)
}

fn missing(service: &GroupService, owner: DeviceId, name: &str, behind: bool) -> ApiError {
    let named = joined(service)
        .iter()
        .map(|(_, known)| name_of(service, known, owner))
        .find(|name| !name.is_empty());
    let (owner, name) = (named.unwrap_or_else(|| owner.short()), display_name(name));
    if behind {
        let message = format!("It is not known here yet whether {owner} shares \"{name}\".");
        return ApiError::new(ErrorCode::NoHolder, message)
            .with_hint("It is told when that device has been online. Until then, use a ticket.");
    }
    ApiError::new(
        ErrorCode::NotFound,
        format!("{owner} shares nothing called \"{name}\" with a group of this device."),
    )
    .with_hint("See what members share with: hither group members GROUP")
}
