//! Groups and their members as the local API shows them.

use super::store::Stands;
use super::{Asker, Known};
use crate::groups::GroupService;
use crate::nearby::MemberDirectory;
use hither_api::{
    ApiError, DeviceInfo, DeviceRelation, ErrorCode, GroupInfo, GroupMemberInfo, GroupPolicy,
    GroupRole, GroupShare, GroupState,
};
use hither_proto::{DeviceId, GroupId, GroupInvite, NameSeal, Policy, Role, display_name};
use hither_util::clock::unix_seconds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How this device stands with a group.
pub(super) const fn state(known: &Known) -> GroupState {
    match known.record.stands {
        Stands::Member => GroupState::Member,
        Stands::Asking => GroupState::Asking,
        Stands::Refused(_) => GroupState::Refused,
        Stands::Removed => GroupState::Removed,
    }
}

pub(super) const fn policy(policy: &Policy) -> GroupPolicy {
    match policy {
        Policy::Open => GroupPolicy::Open,
        Policy::AllowList(_) => GroupPolicy::AllowList,
        Policy::Approval => GroupPolicy::Approval,
    }
}

const fn role(role: Role) -> GroupRole {
    match role {
        Role::Admin => GroupRole::Admin,
        Role::Member => GroupRole::Member,
    }
}

/// One group.
pub(super) fn info(service: &GroupService, group: GroupId, known: &Known) -> GroupInfo {
    let membership = known.membership_of(&service.device);
    let relays = service.relays.all();
    let relay = relays
        .iter()
        .find(|relay| relay.url.key.to_string() == known.record.relay);
    let online = |device: &&DeviceId| {
        **device == service.device || known.seen.get(device).is_some_and(|m| m.online)
    };
    let own = own_shares(service, group).len();
    GroupInfo {
        group: group.to_string(),
        name: known.name(),
        state: state(known),
        role: membership.and_then(|m| m.role(&service.device)).map(role),
        policy: membership.map(|m| policy(m.policy())),
        allowed: match membership.map(|m| m.policy()) {
            Some(Policy::AllowList(allowed)) => allowed.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        },
        findable: membership.is_none_or(|m| matches!(m.name(), NameSeal::Clear(_))),
        members: membership.map_or(0, |m| m.members().len() as u64),
        online: membership.map_or(0, |m| m.members().keys().filter(online).count() as u64),
        shares: if membership.is_some() {
            (own + known
                .told
                .values()
                .map(|told| told.shares.len())
                .sum::<usize>()) as u64
        } else {
            0
        },
        asking: known.askers.len() as u64,
        generation: membership.map_or(0, |m| m.generation()),
        relay: relay
            .map(|relay| relay.url.at.to_string())
            .unwrap_or_default(),
        invite: GroupInvite(group).to_string(),
        reason: match &known.record.stands {
            Stands::Refused(reason) => Some(display_name(reason)),
            _ => None,
        },
    }
}

/// Every group of this device, by name.
pub(crate) async fn list(service: &Arc<GroupService>) -> Vec<GroupInfo> {
    service.relays.settle().await;
    let all = service.groups.all();
    let mut all: Vec<_> = all
        .iter()
        .map(|(group, known)| info(service, *group, known))
        .collect();
    all.sort_by_key(|group| (group.name.to_lowercase(), group.group.clone()));
    all
}

/// Returns the shares of this device with a group.
fn own_shares(service: &GroupService, group: GroupId) -> Vec<GroupShare> {
    let shown = |entry: &crate::catalogue::Entry| share(service.device, entry);
    service
        .tickets
        .shared_with(group)
        .iter()
        .filter_map(shown)
        .collect()
}

fn share(owner: DeviceId, entry: &crate::catalogue::Entry) -> Option<GroupShare> {
    Some(GroupShare {
        share: entry.checked(owner)?.to_string(),
        name: display_name(&entry.name),
        files: entry.files,
        bytes: entry.bytes,
        published: entry.published,
    })
}

/// Returns the name of a member: as it gave it to the group, or as an own device.
pub(super) fn name_of(service: &GroupService, known: &Known, device: DeviceId) -> String {
    let told = known.name_of(&device);
    if told.is_empty() {
        service.relays.name_of(device)
    } else {
        told
    }
}

/// The members of a group, this device first, and those who ask to become one.
pub(crate) async fn members(
    service: &Arc<GroupService>,
    wanted: &str,
) -> Result<Vec<GroupMemberInfo>, ApiError> {
    service.relays.settle().await;
    let (group, known) = service.groups.resolve(wanted, &service.device)?;
    let Some(membership) = &known.membership else {
        return Ok(Vec::new());
    };
    let now = unix_seconds();
    let mut all = Vec::new();
    for (device, is) in membership.members() {
        let this = *device == service.device;
        let seen = known.seen.get(device);
        let online = this || seen.is_some_and(|seen| seen.online);
        let shares = match known.told.get(device) {
            _ if this => own_shares(service, group),
            Some(told) => {
                let live = told
                    .shares
                    .iter()
                    .filter(|entry| entry.expires.is_none_or(|at| at > now));
                live.filter_map(|entry| share(*device, entry)).collect()
            }
            None => Vec::new(),
        };
        let last = seen
            .map(|seen| seen.last_seen_ms / 1000)
            .filter(|last| *last > 0);
        all.push(GroupMemberInfo {
            group: group.to_string(),
            device: device.to_string(),
            short: device.short(),
            name: name_of(service, &known, *device),
            this,
            role: Some(role(*is)),
            asking: false,
            online,
            last_seen: if online { Some(now) } else { last },
            shares,
        });
    }
    all.sort_by_key(|one| {
        (
            !one.this,
            !one.online,
            one.name.to_lowercase(),
            one.device.clone(),
        )
    });
    for Asker {
        device,
        asked_ms,
        name,
    } in &known.askers
    {
        all.push(GroupMemberInfo {
            group: group.to_string(),
            device: device.to_string(),
            short: device.short(),
            name: if name.is_empty() {
                service.relays.name_of(*device)
            } else {
                display_name(name)
            },
            this: false,
            role: None,
            asking: true,
            online: false,
            last_seen: Some(asked_ms / 1000),
            shares: Vec::new(),
        });
    }
    Ok(all)
}

/// The device that `wanted` means of these with their names: by its id or short id or by its name,
/// in this order; a name in any case when no name is exactly that. `None`: none of them.
pub(super) fn meant(
    all: &[(DeviceId, String)],
    wanted: &str,
) -> Option<Result<DeviceId, ApiError>> {
    let lower = wanted.to_lowercase();
    let of = |is_meant: &dyn Fn(DeviceId, &str) -> bool| -> BTreeSet<DeviceId> {
        all.iter()
            .filter(|(device, name)| is_meant(*device, name))
            .map(|(device, _)| *device)
            .collect()
    };
    let mut found = of(&|device, _| device.to_string() == wanted || device.short() == wanted);
    if found.is_empty() {
        found = of(&|_, name| name == wanted);
    }
    if found.is_empty() {
        found = of(&|_, name| name.to_lowercase() == lower);
    }
    let mut ids = found.iter();
    match (ids.next(), ids.next()) {
        (None, _) => None,
        (Some(one), None) => Some(Ok(*one)),
        (Some(_), Some(_)) => {
            let ids: Vec<_> = found.iter().map(DeviceId::short).collect();
            let message = format!(
                "\"{}\" could be several devices: {}.",
                display_name(wanted),
                ids.join(", ")
            );
            Some(Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint("Give one of these ids instead.")))
        }
    }
}

/// The device that a user means: a member, or with `asking` one who asks or an own device.
pub(super) async fn device(
    service: &Arc<GroupService>,
    known: &Known,
    wanted: &str,
    asking: bool,
) -> Result<DeviceId, ApiError> {
    let members = known
        .membership
        .iter()
        .flat_map(|m| m.members().keys().copied());
    let all: Vec<(DeviceId, String)> = match asking {
        true => known
            .askers
            .iter()
            .map(|asker| (asker.device, asker.name.clone()))
            .collect(),
        false => members
            .map(|device| (device, name_of(service, known, device)))
            .collect(),
    };
    let found = meant(&all, wanted);
    if let Some(found) = found {
        return found;
    }
    // A device of the user needs not ask.
    if asking && let Ok(own) = service.relays.find(wanted).await {
        return own.device.parse().map_err(crate::failure::internal);
    }
    let what = if asking {
        "Nobody called"
    } else {
        "No member is called"
    };
    let rest = if asking { " asks to join." } else { "." };
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("{what} \"{}\"{rest}", display_name(wanted)),
    )
    .with_hint("See members and those who ask with: hither group members GROUP"))
}

impl MemberDirectory for GroupService {
    fn members(&self, listed: &[DeviceInfo]) -> Vec<DeviceInfo> {
        devices(self, listed)
    }
}

/// Members of this device's groups that are not the user's devices, by name.
pub(crate) fn devices(service: &GroupService, own: &[DeviceInfo]) -> Vec<DeviceInfo> {
    let mut all: BTreeMap<DeviceId, DeviceInfo> = BTreeMap::new();
    let nearby = service.swarm.links().nearby();
    for (_, known) in service.groups.all() {
        let Some(membership) = known.membership_of(&service.device) else {
            continue;
        };
        for device in membership
            .members()
            .keys()
            .filter(|device| **device != service.device)
        {
            let text = device.to_string();
            if own.iter().any(|one| one.device == text) {
                continue;
            }
            let seen = known.seen.get(device);
            let info = all.entry(*device).or_insert_with(|| DeviceInfo {
                device: text,
                short: device.short(),
                name: name_of(service, &known, *device),
                words: device.words(),
                relation: DeviceRelation::Member,
                ..DeviceInfo::default()
            });
            info.same_network = nearby.contains(device);
            info.online |= seen.is_some_and(|seen| seen.online) || info.same_network;
            let last = seen
                .map(|seen| seen.last_seen_ms / 1000)
                .filter(|last| *last > 0);
            info.last_seen = if info.online {
                Some(unix_seconds())
            } else {
                info.last_seen.max(last)
            };
            info.groups.push(known.name());
        }
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by_key(|one| (!one.online, one.name.to_lowercase(), one.device.clone()));
    all
}
