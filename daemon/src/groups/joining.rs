//! Finding a group and asking to join it.

use super::append::AppendError;
use super::content;
use super::describe::{info, state};
use super::store::{GroupRecord, Stands};
use super::sync::{self, SyncError};
use super::work::{At, connected, failed, no_of, told};
use crate::failure;
use crate::groups::GroupService;
use hither_api::{ApiError, ErrorCode, FoundGroup, GroupInfo, GroupPolicy, GroupState, JoinGroup};
use hither_proto::limits::MAX_GROUP_NAME;
use hither_proto::{
    GroupAnswer, GroupFound, GroupId, GroupInvite, GroupJoin, GroupNo, GroupRequest,
    RelayRefusalCode, display_name,
};
use hither_relay_client::{RelayConnection, RequestError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long is waited to be let in by somebody who is there.
const PATIENCE: Duration = Duration::from_secs(5);

const fn policy(policy: GroupJoin) -> GroupPolicy {
    match policy {
        GroupJoin::Open => GroupPolicy::Open,
        GroupJoin::AllowList => GroupPolicy::AllowList,
        GroupJoin::Approval => GroupPolicy::Approval,
    }
}

/// Groups whose names contain a text, at every relay.
pub(crate) async fn search(
    service: &Arc<GroupService>,
    text: &str,
) -> Result<Vec<FoundGroup>, ApiError> {
    let mut all = Vec::new();
    for at in connected(service).await? {
        for found in find(&at, text).await? {
            let known = service.groups.get(&found.group);
            all.push(FoundGroup {
                group: found.group.to_string(),
                name: found
                    .name
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                policy: policy(found.policy),
                members: u64::from(found.members),
                relay: at.relay.url.at.to_string(),
                state: known.map(|known| state(&known)),
            });
        }
    }
    Ok(all)
}

async fn find(at: &At, text: &str) -> Result<Vec<GroupFound>, ApiError> {
    if text.len() > MAX_GROUP_NAME {
        return Ok(Vec::new());
    }
    match at
        .connection
        .group(GroupRequest::Find {
            text: text.to_owned(),
        })
        .await
    {
        Ok(GroupAnswer::Found { found, .. }) => Ok(found),
        Ok(_) => Err(failed(&SyncError::Unexpected.into())),
        Err(error) => Err(failed(&error.into())),
    }
}

/// Which group is meant, when this device has nothing to do with it yet.
async fn meant(all: &[At], wanted: &str) -> Result<Option<GroupId>, ApiError> {
    if let Ok(GroupInvite(group)) = wanted.parse() {
        return Ok(Some(group));
    }
    if let Ok(group) = GroupId::from_hex(wanted) {
        return Ok(Some(group));
    }
    let lower = wanted.to_lowercase();
    let mut found = Vec::new();
    for at in all {
        let named = find(at, wanted).await?.into_iter();
        found.extend(named.filter(|one| {
            one.name
                .as_ref()
                .is_some_and(|name| name.as_str().to_lowercase() == lower)
        }));
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.group)),
        several => {
            let ids: Vec<_> = several.iter().map(|one| one.group.to_string()).collect();
            let message = format!(
                "Several groups are called \"{}\": {}.",
                display_name(wanted),
                ids.join(", ")
            );
            Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint("Ask a member for the word of the right one, and give that or the id."))
        }
    }
}

/// Asks to join a group, and waits a moment for the answer.
pub(crate) async fn join(
    service: &Arc<GroupService>,
    request: &JoinGroup,
) -> Result<GroupInfo, ApiError> {
    let all = connected(service).await?;
    let wanted = request.group.trim();
    if let Ok((group, known)) = service.groups.resolve_any(wanted)
        && known.membership_of(&service.device).is_some()
    {
        return Ok(info(service, group, &known));
    }
    let group = match meant(&all, wanted).await? {
        Some(group) => group,
        None => service
            .groups
            .resolve_any(wanted)
            .map(|(group, _)| group)
            .map_err(|_| unknown(wanted))?,
    };
    let mut changes = service.groups.changes();
    let (at, name) = ask(service, all, group, wanted).await?;
    let record = GroupRecord {
        name,
        ..GroupRecord::new(at.relay.url.key, Stands::Asking)
    };
    let of = Arc::clone(service);
    let keep = move || {
        of.groups.insert(group, record.clone())?;
        of.groups.update(group, |known| {
            known.record.stands = Stands::Asking;
            known.record.name = record.name.or_else(|| known.record.name.take());
        })
    };
    let kept = tokio::task::spawn_blocking(keep)
        .await
        .map_err(failure::internal)?;
    kept.map_err(|error| failure::storage(&error))?;
    // The log may hold an answer from before the request was known here.
    sync::log(service, &at.connection, at.relay.url.key, group)
        .await
        .map_err(|error| failed(&AppendError::from(error)))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = told(service, group)?;
        match now.state {
            // A member that cannot read yet what the others say, and so does not know what the group
            // is called, is as good as none.
            GroupState::Member
                if service
                    .groups
                    .get(&group)
                    .is_some_and(|known| known.secret().is_some() && !known.name().is_empty()) =>
            {
                service.groups.wake();
                // Both may have come since `now` was looked at.
                return told(service, group);
            }
            GroupState::Refused => {
                let reason = now.reason.unwrap_or_default();
                return Err(ApiError::new(
                    ErrorCode::Refused,
                    format!("Refused: {reason}"),
                ));
            }
            _ => {}
        }
        if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            return told(service, group);
        }
    }
}

fn unknown(wanted: &str) -> ApiError {
    let message = format!(
        "There is no group \"{}\" that can be found by its name.",
        display_name(wanted)
    );
    ApiError::new(ErrorCode::NotFound, message)
        .with_hint("Search with: hither group search NAME. Of others a member has a word to join with: hither group list")
}

/// Leaves the request at the relay that keeps the group, which is found by asking all.
async fn ask(
    service: &Arc<GroupService>,
    all: Vec<At>,
    group: GroupId,
    wanted: &str,
) -> Result<(At, Option<String>), ApiError> {
    for at in all {
        match leave_request(service, &at.connection, group).await {
            Ok(None) => {}
            Ok(Some(Ok(found))) => {
                return Ok((at, found.name.map(|name| name.as_str().to_owned())));
            }
            Ok(Some(Err(no))) => return Err(no_of(no)),
            Err(error) => return Err(failed(&error.into())),
        }
    }
    Err(unknown(wanted))
}

/// Leaves a request to join at a relay. `None`: the relay has no such group; the group, or why it
/// is not taken.
pub(super) async fn leave_request(
    service: &GroupService,
    connection: &RelayConnection,
    group: GroupId,
) -> Result<Option<Result<GroupFound, GroupNo>>, SyncError> {
    let (found, readers) = match connection.group(GroupRequest::Look { group }).await {
        Ok(GroupAnswer::How { group, readers }) => (group, readers),
        Err(RequestError::Refused(refusal)) if refusal.code == RelayRefusalCode::NotFound => {
            return Ok(None);
        }
        Ok(_) => return Err(SyncError::Unexpected),
        Err(error) => return Err(error.into()),
    };
    let parts = content::seal_ask(&service.identity, group, &service.name, &readers);
    let parts = parts.map_err(|error| SyncError::Internal(error.to_string()))?;
    Ok(Some(
        match connection.group(GroupRequest::Ask { group, parts }).await? {
            // It is a member, and will learn so with the log.
            GroupAnswer::Done | GroupAnswer::No(GroupNo::Member) => Ok(found),
            GroupAnswer::No(no) => Err(no),
            _ => return Err(SyncError::Unexpected),
        },
    ))
}
