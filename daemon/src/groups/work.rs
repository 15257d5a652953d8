//! The actions of users on groups that they are in.

use super::append::{self, AppendError, Change, fresh_secret, random};
use super::content::{self, Inner};
use super::describe::info;
use super::store::{GroupRecord, Stands};
use super::sync::{self, SyncError};
use super::{Known, describe};
use crate::failure;
use crate::groups::GroupService;
use hither_api::{
    ApiError, CreateGroup, DecideGroup, ErrorCode, GroupDecision, GroupInfo, GroupPolicy,
    SetGroupPolicy,
};
use hither_proto::limits::{MAX_GROUP_ALLOWED, MAX_GROUP_NAMED};
use hither_proto::{
    Action, DeviceId, GroupAnswer, GroupEntry, GroupId, GroupName, GroupNo, GroupRequest, LogError,
    NameSeal, Policy, RelayRefusalCode, SignedEntry, display_name,
};
use hither_relay_client::{Relay, RelayConnection, RequestError};
use hither_util::clock::unix_millis;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A relay and the connection to it.
pub(super) struct At {
    pub relay: Arc<Relay>,
    pub connection: Arc<RelayConnection>,
}

/// Returns whether this device still belongs to the relay that keeps a group.
fn is_joined(service: &GroupService, known: &Known) -> bool {
    service
        .relays
        .all()
        .iter()
        .any(|relay| relay.url.key.to_string() == known.record.relay)
}

/// The relay that keeps a group; an error when it is not connected.
pub(super) async fn at(service: &GroupService, known: &Known) -> Result<At, ApiError> {
    service.relays.settle().await;
    let found = service
        .relays
        .all()
        .into_iter()
        .find(|relay| relay.url.key.to_string() == known.record.relay);
    let Some(relay) = found else {
        return Err(ApiError::new(
            ErrorCode::NoRelay,
            "This device has left the relay that keeps the group.",
        )
        .with_hint("Join it again with: hither relay add URL"));
    };
    let connection = relay.connection().ok_or_else(|| {
        ApiError::new(
            ErrorCode::NoRelay,
            format!(
                "The relay {} that keeps the group is not connected.",
                relay.url.at
            ),
        )
        .with_hint("See why with: hither relay list")
    })?;
    Ok(At { relay, connection })
}

/// Everything that is connected, in the order in which it was joined.
pub(super) async fn connected(service: &GroupService) -> Result<Vec<At>, ApiError> {
    service.relays.settle().await;
    let all = service.relays.all();
    if all.is_empty() {
        return Err(ApiError::new(
            ErrorCode::NoRelay,
            "Groups need a relay, and this device has joined none.",
        )
        .with_hint("Join one with: hither relay add URL"));
    }
    let at = |relay: Arc<Relay>| {
        Some(At {
            connection: relay.connection()?,
            relay,
        })
    };
    let connected: Vec<_> = all.into_iter().filter_map(at).collect();
    if connected.is_empty() {
        return Err(ApiError::new(ErrorCode::NoRelay, "No relay is connected.")
            .with_hint("See why with: hither relay list"));
    }
    Ok(connected)
}

/// Devices as users name them: ids, or the names of own ones.
async fn devices(
    service: &GroupService,
    wanted: &[String],
) -> Result<BTreeSet<DeviceId>, ApiError> {
    let mut found = BTreeSet::new();
    for wanted in wanted {
        let device = match wanted.parse() {
            Ok(device) => device,
            Err(_) => service.relays.find(wanted)
                .await
                .map_err(|error| {
                    failure::find_device(&error).with_hint("Give the whole id of a device of somebody else: hither status --json shows it there.")
                })?
                .device
                .parse()
                .map_err(failure::internal)?,
        };
        found.insert(device);
    }
    Ok(found)
}

fn too_many(what: &str, max: usize) -> ApiError {
    ApiError::new(
        ErrorCode::BadRequest,
        format!("A group has at most {max} {what}."),
    )
}

/// Makes a group.
pub(crate) async fn create(
    service: &Arc<GroupService>,
    request: &CreateGroup,
) -> Result<GroupInfo, ApiError> {
    let name = GroupName::parse(&request.name).map_err(|error| {
        ApiError::new(
            ErrorCode::BadRequest,
            format!("The group cannot be called so: {error}."),
        )
    })?;
    let all = connected(service).await?;
    let at = match &request.relay {
        None => all.into_iter().next(),
        Some(wanted) => all.into_iter().find(|at| {
            let host = at.relay.url.at.to_string();
            host == *wanted
                || host
                    .rsplit_once(':')
                    .is_some_and(|(host, _)| host == wanted)
                || at.relay.url.key.to_string() == *wanted
        }),
    };
    let at = at.ok_or_else(|| {
        ApiError::new(ErrorCode::NoRelay, "That relay is not connected.")
            .with_hint("See them with: hither relay list")
    })?;
    let allowed = devices(service, &request.allow).await?;
    let mut admins = devices(service, &request.admins).await?;
    if admins.is_empty() {
        admins.insert(service.device);
    }
    if admins.len() > MAX_GROUP_NAMED {
        return Err(too_many("admins when it is made", MAX_GROUP_NAMED));
    }
    let policy = policy_of(request.policy, allowed)?;
    let group = write_first(service, &at, &name, request.findable, policy, &admins).await?;
    let own: Vec<DeviceId> = at.relay.with_devices(|list| list.ids());
    for admin in admins
        .iter()
        .filter(|admin| **admin != service.device && own.contains(admin))
    {
        append::append(
            service,
            &at.connection,
            at.relay.url.key,
            group,
            Change::Add(*admin),
        )
        .await
        .map_err(|error| failed(&error))?;
    }
    service.groups.wake();
    told(service, group)
}

fn policy_of(policy: GroupPolicy, allowed: BTreeSet<DeviceId>) -> Result<Policy, ApiError> {
    match policy {
        GroupPolicy::AllowList if allowed.len() > MAX_GROUP_ALLOWED => {
            Err(too_many("devices on its allow-list", MAX_GROUP_ALLOWED))
        }
        GroupPolicy::AllowList => Ok(Policy::AllowList(allowed)),
        _ if !allowed.is_empty() => Err(ApiError::new(
            ErrorCode::BadRequest,
            "Only a group with an allow-list has devices on it.",
        )
        .with_hint("Choose the policy allow-list.")),
        GroupPolicy::Open => Ok(Policy::Open),
        GroupPolicy::Approval => Ok(Policy::Approval),
    }
}

/// Writes the first entry of a log. Stopped in the middle, the group and its secret come back from
/// the relay.
async fn write_first(
    service: &Arc<GroupService>,
    at: &At,
    name: &GroupName,
    findable: bool,
    policy: Policy,
    admins: &BTreeSet<DeviceId>,
) -> Result<GroupId, ApiError> {
    let secret = fresh_secret().map_err(|error| failed(&error))?;
    let salt = if findable {
        None
    } else {
        Some(random::<32>().map_err(|error| failed(&error))?)
    };
    let seal = salt.map_or_else(
        || NameSeal::Clear(name.clone()),
        |salt| NameSeal::Sealed(name.mark(&salt)),
    );
    let action = Action::Create {
        name: seal,
        key: secret.mark(),
        policy,
        admins: admins.clone(),
    };
    let (group, previous, author) = (GroupId::new([0; 32]), [0; 32], service.device);
    let entry = GroupEntry {
        group,
        number: 0,
        previous,
        author,
        time_ms: unix_millis(),
        action,
    };
    let entry = SignedEntry::sign(entry, |message| service.identity.sign(message));
    let group = entry.group();
    let inner = Inner {
        secret,
        name: name.clone(),
        salt,
    };
    let keys = content::seal_keys(&service.identity, group, &inner, [&service.device])
        .map_err(failure::internal)?;
    let record = GroupRecord::new(at.relay.url.key, Stands::Member);
    let bytes = bytes::Bytes::copy_from_slice(entry.bytes());
    match at
        .connection
        .group(GroupRequest::Append {
            group,
            entry: bytes,
            keys,
        })
        .await
    {
        Ok(GroupAnswer::Done) => {}
        Ok(GroupAnswer::No(no)) => return Err(failed(&AppendError::No(no))),
        Ok(_) => return Err(failed(&SyncError::Unexpected.into())),
        Err(error) => return Err(failed(&error.into())),
    }
    let of = Arc::clone(service);
    let keep = move || of.groups.insert(group, record);
    let kept = tokio::task::spawn_blocking(keep)
        .await
        .map_err(failure::internal)?;
    kept.map_err(|error| failure::storage(&error))?;
    sync::log(service, &at.connection, at.relay.url.key, group)
        .await
        .map_err(|error| failed(&error.into()))?;
    Ok(group)
}

/// Leaves a group, or gives up asking; it is forgotten on this device.
pub(crate) async fn leave(
    service: &Arc<GroupService>,
    wanted: &str,
) -> Result<GroupInfo, ApiError> {
    let (group, known) = service.groups.resolve_any(wanted)?;
    let info = info(service, group, &known);
    match &known.record.stands {
        // Its relay was left: nothing more can be sent there.
        _ if !is_joined(service, &known) => {}
        Stands::Member => {
            let at = at(service, &known).await?;
            let leaving = Change::Plain(Action::Leave);
            match append::append(service, &at.connection, at.relay.url.key, group, leaving).await {
                Ok(()) => {}
                // The relay knows no such group of this device any more: there is nothing to leave.
                Err(AppendError::Sync(SyncError::Request(RequestError::Refused(refusal))))
                    if refusal.code == RelayRefusalCode::NotFound => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Stands::Asking => {
            let at = at(service, &known).await?;
            let answer = at.connection.group(GroupRequest::Unask { group }).await;
            answer.map_err(|error| failed(&error.into()))?;
        }
        Stands::Refused(_) | Stands::Removed => {}
    }
    let of = Arc::clone(service);
    let forgotten = tokio::task::spawn_blocking(move || of.groups.forget(group)).await;
    forgotten
        .map_err(failure::internal)?
        .map_err(|error| failure::storage(&error))?;
    Ok(info)
}

/// Decides about a device: whether it may join, is out, or becomes an admin.
pub(crate) async fn decide(
    service: &Arc<GroupService>,
    wanted: &str,
    request: &DecideGroup,
) -> Result<GroupInfo, ApiError> {
    let (group, known) = service.groups.resolve(wanted, &service.device)?;
    let at = at(service, &known).await?;
    let asked = request.what == GroupDecision::Approve || request.what == GroupDecision::Refuse;
    if asked {
        // Somebody may have applied just now.
        sync::roll(service, &at.connection, group)
            .await
            .map_err(|error| failed(&error.into()))?;
    }
    let known = service.groups.get(&group).unwrap_or(known);
    let device = describe::device(service, &known, &request.device, asked).await?;
    let change = match request.what {
        GroupDecision::Approve => Change::Add(device),
        GroupDecision::Remove => Change::Remove(device),
        GroupDecision::Promote => Change::Plain(Action::Promote { device }),
        GroupDecision::Refuse => {
            refuse(
                service,
                &at,
                group,
                device,
                request.reason.as_deref().unwrap_or_default(),
            )
            .await?;
            return told(service, group);
        }
    };
    let done = append::append(service, &at.connection, at.relay.url.key, group, change).await;
    done.map_err(|error| failed(&error))?;
    sync::roll(service, &at.connection, group)
        .await
        .map_err(|error| failed(&error.into()))?;
    service.groups.wake();
    told(service, group)
}

async fn refuse(
    service: &Arc<GroupService>,
    at: &At,
    group: GroupId,
    device: DeviceId,
    reason: &str,
) -> Result<(), ApiError> {
    if reason.len() > content::MAX_REASON {
        let message = format!("The reason is longer than {} bytes.", content::MAX_REASON);
        return Err(ApiError::new(ErrorCode::TooLong, message));
    }
    let sealed = content::seal_refusal(&service.identity, group, device, reason)
        .map_err(failure::internal)?;
    match at
        .connection
        .group(GroupRequest::Refuse { group, sealed })
        .await
    {
        Ok(GroupAnswer::Done) => {}
        Ok(_) => return Err(failed(&SyncError::Unexpected.into())),
        Err(RequestError::Refused(refusal)) if refusal.code == RelayRefusalCode::NotFound => {
            return Err(ApiError::new(
                ErrorCode::Refused,
                "Only an admin may refuse, and only who has asked.",
            )
            .with_hint("See who asks with: hither group members GROUP"));
        }
        Err(error) => return Err(failed(&error.into())),
    }
    sync::roll(service, &at.connection, group)
        .await
        .map_err(|error| failed(&error.into()))
}

/// Changes who may join.
pub(crate) async fn set_policy(
    service: &Arc<GroupService>,
    wanted: &str,
    request: &SetGroupPolicy,
) -> Result<GroupInfo, ApiError> {
    let (group, known) = service.groups.resolve(wanted, &service.device)?;
    let at = at(service, &known).await?;
    let Some(membership) = &known.membership else {
        return told(service, group);
    };
    let (add, take) = (
        devices(service, &request.allow).await?,
        devices(service, &request.disallow).await?,
    );
    let before = match membership.policy() {
        Policy::AllowList(allowed) => allowed.clone(),
        Policy::Open | Policy::Approval => BTreeSet::new(),
    };
    let kind = request
        .policy
        .unwrap_or_else(|| describe::policy(membership.policy()));
    let allowed = match kind {
        GroupPolicy::AllowList => before
            .union(&add)
            .filter(|device| !take.contains(device))
            .copied()
            .collect(),
        GroupPolicy::Open | GroupPolicy::Approval => add,
    };
    let policy = policy_of(kind, allowed)?;
    if policy != *membership.policy() {
        let change = Change::Plain(Action::SetPolicy { policy });
        let done = append::append(service, &at.connection, at.relay.url.key, group, change).await;
        done.map_err(|error| failed(&error))?;
    }
    // Some of those who ask may get in now.
    sync::roll(service, &at.connection, group)
        .await
        .map_err(|error| failed(&error.into()))?;
    service.groups.wake();
    told(service, group)
}

/// How a group stands now.
pub(super) fn told(service: &GroupService, group: GroupId) -> Result<GroupInfo, ApiError> {
    let known = service.groups.get(&group);
    known
        .map(|known| info(service, group, &known))
        .ok_or_else(|| failure::internal("a group is gone"))
}

/// Why something about a group was not done, in words.
pub(super) fn failed(error: &AppendError) -> ApiError {
    let refused =
        |message: &str, hint: &str| ApiError::new(ErrorCode::Refused, message).with_hint(hint);
    match error {
        AppendError::Rules(LogError::NotAdmin) => {
            refused("Only an admin of the group may do that.", "See who they are with: hither group members GROUP")
        }
        AppendError::Rules(LogError::LastAdmin) => refused(
            "This device is the last admin of the group and cannot leave it to members who could let nobody in or out.",
            "Make another member an admin first: hither group promote GROUP DEVICE",
        ),
        AppendError::Rules(LogError::NotMember) => {
            refused("This device is no member of the group.", "See how it stands with: hither group list")
        }
        AppendError::Rules(LogError::MayNotJoin) => refused(
            "The group's rules do not let that device in; only an admin may.",
            "See who they are with: hither group members GROUP",
        ),
        AppendError::Rules(LogError::Nothing) => {
            ApiError::new(ErrorCode::BadRequest, "That changes nothing: it is so already, or there is no such member.")
        }
        AppendError::Rules(error @ (LogError::Full | LogError::Ended)) => {
            ApiError::new(ErrorCode::OverQuota, format!("That is not possible: {error}."))
        }
        AppendError::No(no) => no_of(*no),
        AppendError::NoSecret => {
            ApiError::new(ErrorCode::NoRelay, "The group's secret has not reached this device yet.")
                .with_hint("It comes when another member is online. Try again then.")
        }
        AppendError::Sync(SyncError::Request(RequestError::Refused(refusal))) => match refusal.code {
            RelayRefusalCode::NotFound => ApiError::new(
                ErrorCode::NotFound,
                "The relay knows no such group, or this device may not see it, or the device named has not asked to join.",
            )
            .with_hint("See how things stand with: hither group list"),
            RelayRefusalCode::Quota | RelayRefusalCode::NoSpace => {
                ApiError::new(ErrorCode::OverQuota, format!("The relay refused: {refusal}."))
            }
            RelayRefusalCode::Busy | RelayRefusalCode::GoingAway => {
                ApiError::new(ErrorCode::NoRelay, format!("The relay refused: {refusal}."))
                    .with_hint("Try again in a moment.")
            }
            _ => ApiError::new(ErrorCode::Refused, format!("The relay refused: {refusal}.")),
        },
        AppendError::Sync(SyncError::Request(RequestError::TimedOut)) => {
            ApiError::new(ErrorCode::NoRelay, "The relay did not answer in time.")
                .with_hint("Is it up to date? Groups need version 0.1 or later.")
        }
        AppendError::Sync(SyncError::Request(error)) => {
            ApiError::new(ErrorCode::NoRelay, format!("The relay cannot be asked: {error}.")).with_hint("Try again.")
        }
        AppendError::Sync(SyncError::Storage(error)) => failure::storage(error),
        error => ApiError::new(ErrorCode::Internal, format!("The group could not be changed: {error}."))
            .with_hint("Try again. The daemon's log tells more."),
    }
}

/// Why the relay does not take something, in words.
pub(super) fn no_of(no: GroupNo) -> ApiError {
    let hint = match no {
        GroupNo::NotListed => "Give an admin of the group this device's id: hither status --json",
        GroupNo::TooManyGroups => "Leave one: hither group leave GROUP",
        GroupNo::TooManyAsks => "Try again later.",
        GroupNo::Member | GroupNo::Full | GroupNo::Other => "",
    };
    ApiError::new(
        ErrorCode::Refused,
        format!("Refused: {}.", display_name(&no.to_string())),
    )
    .with_hint(hint)
}
