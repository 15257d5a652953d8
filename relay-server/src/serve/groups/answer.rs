//! What a device asks about groups, and who may ask what.
//!
//! | request | member | admin | who has asked | anybody who knows the id |
//! |---|---|---|---|---|
//! | log, roll, notes, note, keys | yes | yes | how it stands only | how it stands only (log) |
//! | append, branch | what the log's rules allow | likewise | no | the first entry of a new group |
//! | look, ask, unask | yes | yes | yes | yes |
//! | refuse | no | yes | no | no |
//! | mine, find | yes | yes | yes | yes |
//!
//! "Not a member" and "no such group" are one answer.

use super::log_store::{self, Appended};
use super::records::{bucket, secret_key};
use super::{forks, joining, members};
use crate::node::Node;
use crate::ops::labels::{Request, Service};
use crate::serve::front::Connection;
use crate::serve::limits::Kind;
use crate::serve::refuse;
use crate::serve::registry::{RegistryError, encode, user_of};
use crate::state::{Expect, MAX_PAGE, StateError};
use bytes::Bytes;
use hither_proto::limits::{MAX_GROUP_LOG, MAX_GROUP_PAGE, MAX_GROUPS};
use hither_proto::{
    Action, DeviceId, GroupAnswer, GroupId, GroupNo, GroupRequest, GroupSealed, GroupStanding,
    LogError, Membership, RelayMessage, RelayRefusal, RelayRefusalCode, SignedEntry,
};
use std::sync::Arc;
use std::time::Instant;

/// What a request cannot have.
pub(super) enum Refused {
    /// In the relay's own words.
    Relay(RelayRefusal),
    /// The state failed.
    State(StateError),
}

impl From<StateError> for Refused {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<RelayRefusalCode> for Refused {
    fn from(code: RelayRefusalCode) -> Self {
        Self::Relay(code.into())
    }
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::State(error) => Self::State(error),
            _ => RelayRefusalCode::NotFound.into(),
        }
    }
}

pub(super) type Answered = Result<GroupAnswer, Refused>;

/// Does what is asked and says what came of it.
pub(crate) async fn answer(
    node: Arc<Node>,
    connection: Arc<Connection>,
    request: u64,
    what: GroupRequest,
    asked: Instant,
) -> RelayMessage {
    let limited = node
        .services
        .limiter
        .device_many(connection.device, Kind::Group, cost(&what));
    let answered = match limited {
        Ok(()) => work(&node, &connection, what).await,
        Err(wait) => {
            node.metrics.limited.add_one();
            Err(Refused::Relay(refuse::busy(wait)))
        }
    };
    let refusal = match answered {
        Ok(answer) => {
            node.metrics.requests.of(Request::Group).since(asked);
            return RelayMessage::GroupAnswered {
                request,
                answer: Box::new(answer),
            };
        }
        Err(Refused::Relay(refusal)) => refusal,
        Err(Refused::State(error)) => {
            tracing::debug!(%error, "a request about a group failed");
            refuse::of_state(&error)
        }
    };
    node.metrics.refused(Service::Device, refusal.code);
    RelayMessage::Failed { request, refusal }
}

/// How many of the ordinary requests it is worth.
fn cost(what: &GroupRequest) -> usize {
    match what {
        GroupRequest::Find { .. } | GroupRequest::Branch { .. } => 10,
        GroupRequest::Roll { .. } | GroupRequest::Ask { .. } => 4,
        GroupRequest::Append { keys, .. } | GroupRequest::Keys { keys, .. } => 2 + keys.len() / 16,
        _ => 1,
    }
}

async fn work(node: &Node, connection: &Connection, what: GroupRequest) -> Answered {
    let device = &connection.device;
    match what {
        GroupRequest::Mine => mine(node, connection).await,
        GroupRequest::Log { group, from } => log(node, device, &group, from).await,
        GroupRequest::Roll { group } => members::roll(node, device, &group).await,
        GroupRequest::Notes { group, devices } => {
            members::notes(node, device, &group, &devices).await
        }
        GroupRequest::Note { group, sealed } => members::note(node, device, &group, sealed).await,
        GroupRequest::Append { group, entry, keys } => {
            append(node, connection, &group, &entry, &keys).await
        }
        GroupRequest::Keys { group, mark, keys } => {
            let known = member(node, device, &group).await?;
            // Whoever sealed them knows another log than is kept by now.
            if mark != *known.key() {
                return Ok(GroupAnswer::Behind {
                    next: known.entries(),
                });
            }
            deposit(node, device, &known, &keys).await?;
            Ok(GroupAnswer::Done)
        }
        GroupRequest::Find { text } => joining::find(node, &text).await,
        GroupRequest::Look { group } => joining::look(node, &group).await,
        GroupRequest::Ask { group, parts } => joining::ask(node, device, &group, parts).await,
        GroupRequest::Unask { group } => joining::unask(node, device, &group).await,
        GroupRequest::Refuse { group, sealed } => {
            joining::refuse(node, device, &group, sealed).await
        }
        GroupRequest::Branch { group, entries } => {
            forks::take(node, device, &group, &entries).await
        }
    }
}

/// What the log says, to a member.
pub(super) async fn member(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
) -> Result<Arc<Membership>, Refused> {
    let known = log_store::load(node, group)
        .await?
        .filter(|known| known.role(device).is_some());
    known.ok_or_else(|| RelayRefusalCode::NotFound.into())
}

/// From now on the connection hears of its groups.
async fn mine(node: &Node, connection: &Connection) -> Answered {
    // First: what changes while the list is made is told.
    node.services.groups.listen(connection.device);
    let groups = log_store::groups_of(node, &connection.device).await?;
    node.services.groups.belongs(connection.device, &groups);
    Ok(GroupAnswer::Mine(groups))
}

async fn log(node: &Node, device: &DeviceId, group: &GroupId, from: u64) -> Answered {
    let known = log_store::load(node, group).await?;
    let was_removed = known
        .as_ref()
        .is_some_and(|known| known.was_removed(device));
    let Some(known) = known.filter(|known| known.role(device).is_some()) else {
        let (mut standing, sealed) = joining::standing(node, device, group).await?;
        if was_removed && standing == GroupStanding::None {
            standing = GroupStanding::Removed;
        }
        return Ok(GroupAnswer::Log {
            standing,
            total: 0,
            entries: Vec::new(),
            sealed,
        });
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    if from < known.entries() {
        let prefix = super::records::group_prefix(group);
        let after = from
            .checked_sub(1)
            .map(|before| super::records::entry_key(group, before));
        let page = node
            .state
            .list(bucket::LOG, &prefix, after.as_deref(), MAX_PAGE)
            .await?;
        for record in page.records {
            bytes += record.entry.value.len();
            if bytes > MAX_GROUP_PAGE || from + entries.len() as u64 >= known.entries() {
                break;
            }
            entries.push(record.entry.value);
        }
    }
    let key = node
        .state
        .get(bucket::KEYS, &secret_key(group, known.key(), device))
        .await?;
    let sealed = key.and_then(|entry| joining::read_sealed(&entry.value));
    let total = known.entries().min(MAX_GROUP_LOG);
    Ok(GroupAnswer::Log {
        standing: GroupStanding::Member,
        total,
        entries,
        sealed,
    })
}

async fn append(
    node: &Node,
    connection: &Connection,
    group: &GroupId,
    bytes: &Bytes,
    keys: &[GroupSealed],
) -> Answered {
    let invalid = || Refused::from(RelayRefusalCode::Invalid);
    let signed = SignedEntry::open(bytes).map_err(|_| invalid())?;
    let device = &connection.device;
    if signed.group() != *group {
        return Err(invalid());
    }
    // An entry of another member is brought back by any member, when this relay has lost it: it
    // fits in its place only.
    let own = signed.entry().author == *device;
    if log_store::is_there(node, &signed).await? {
        // It may have been put by a front that died then.
        log_store::load(node, group).await?;
        return Ok(GroupAnswer::Done);
    }
    let known = log_store::load(node, group).await?;
    let after = match (known, &signed.entry().action) {
        (None, Action::Create { .. }) if own => {
            if log_store::listed(node, device).await?.len() >= MAX_GROUPS {
                return Ok(GroupAnswer::No(GroupNo::TooManyGroups));
            }
            Membership::begin(&signed).map_err(|_| invalid())?
        }
        (Some(known), action) if known.role(device).is_some() => {
            let mut known = (*known).clone();
            if signed.entry().number != known.entries() {
                return Ok(GroupAnswer::Behind {
                    next: known.entries(),
                });
            }
            match known.apply(&signed) {
                Ok(()) => {}
                Err(LogError::Full) => return Ok(GroupAnswer::No(GroupNo::Full)),
                Err(_) => return Err(invalid()),
            }
            if own
                && let Action::Add { device: new } = action
                && let Some(no) = may_add(node, connection, group, new).await?
            {
                return Ok(GroupAnswer::No(no));
            }
            known
        }
        _ => return Err(RelayRefusalCode::NotFound.into()),
    };
    // First, so that nobody is a member without it for long.
    deposit(node, device, &after, keys).await?;
    match log_store::append(node, &signed).await? {
        Appended::Done => Ok(GroupAnswer::Done),
        Appended::Behind => {
            let known = member(node, device, group).await?;
            Ok(GroupAnswer::Behind {
                next: known.entries(),
            })
        }
    }
}

/// Nobody is made a member of what it has not asked for, except by its own user.
async fn may_add(
    node: &Node,
    connection: &Connection,
    group: &GroupId,
    new: &DeviceId,
) -> Result<Option<GroupNo>, Refused> {
    let record = node
        .registry
        .device(new)
        .await?
        .filter(|record| !record.revoked);
    let record = record.ok_or_else(|| Refused::from(RelayRefusalCode::NotFound))?;
    let own = user_of(&record)? == connection.user;
    if !own && joining::standing(node, new, group).await?.0 == GroupStanding::None {
        return Err(RelayRefusalCode::NotFound.into());
    }
    let full = log_store::listed(node, new).await?.len() >= MAX_GROUPS;
    Ok(full.then_some(GroupNo::TooManyGroups))
}

/// Keeps the secret of this generation for members. The first that was left for a member counts,
/// but for an admin's.
async fn deposit(
    node: &Node,
    from: &DeviceId,
    of: &Membership,
    keys: &[GroupSealed],
) -> Result<(), Refused> {
    let admin = of.admins().any(|admin| admin == from);
    for key in keys {
        if of.role(&key.device).is_none() {
            return Err(RelayRefusalCode::Invalid.into());
        }
        let record = super::records::Sealed {
            device: from.as_bytes().to_vec(),
            sealed: key.sealed.to_vec(),
        };
        let at = secret_key(&of.group(), of.key(), &key.device);
        let expect = if admin { Expect::Any } else { Expect::Absent };
        match node
            .state
            .put(bucket::KEYS, &at, encode(&record), expect)
            .await
        {
            Ok(_) | Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
