//! Finding a group, asking to join it, and being refused.

use super::answer::{Answered, Refused, member};
use super::log_store;
use super::records::{Ask, Name, Sealed, bucket, device_key, group_prefix, last_group};
use crate::node::{Node, now_ms};
use crate::serve::records::last_device;
use crate::serve::registry::encode;
use crate::state::{Expect, MAX_PAGE, StateError};
use hither_proto::limits::{MAX_GROUP_ASKS, MAX_GROUP_FOUND, MAX_GROUP_MEMBERS, MAX_GROUP_READERS};
use hither_proto::{
    DeviceId, GroupAnswer, GroupAsked, GroupFound, GroupId, GroupJoin, GroupName, GroupNo,
    GroupSealed, GroupStanding, Joining, Membership, NameSeal, Policy, RelayRefusalCode, Role,
};
use prost::Message;

/// Most pages of names that one search looks at: later ones are not found.
const MAX_PAGES: usize = 10;
/// How long a request to join, or a refusal, is kept, milliseconds.
const KEEP_MS: u64 = 30 * 86_400_000;

/// Groups whose names contain a text, in any case.
pub(super) async fn find(node: &Node, text: &str) -> Answered {
    let wanted = text.trim().to_lowercase();
    let (mut found, mut after) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let page = node
            .state
            .list(bucket::NAMES, "", after.as_deref(), MAX_PAGE)
            .await?;
        for record in &page.records {
            let named = Name::decode(&record.entry.value[..]).ok();
            let checked = named.and_then(|named| {
                let name = GroupName::parse(&named.name).ok()?;
                Some((name, named.policy, named.members))
            });
            if let (Some((name, policy, members)), Some(group)) = (checked, last_group(&record.key))
                && name.as_str().to_lowercase().contains(&wanted)
            {
                let policy = match policy {
                    0 => GroupJoin::Open,
                    1 => GroupJoin::AllowList,
                    _ => GroupJoin::Approval,
                };
                found.push(GroupFound {
                    group,
                    name: Some(name),
                    policy,
                    members,
                });
            }
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            break;
        }
    }
    found.sort_by(|a, b| (&a.name, a.group).cmp(&(&b.name, b.group)));
    let more = found.len() > MAX_GROUP_FOUND;
    found.truncate(MAX_GROUP_FOUND);
    Ok(GroupAnswer::Found { found, more })
}

/// How one joins a group, and whom to seal the request for.
pub(super) async fn look(node: &Node, group: &GroupId) -> Answered {
    let Some(known) = log_store::load(node, group).await? else {
        return Err(RelayRefusalCode::NotFound.into());
    };
    let mut readers: Vec<DeviceId> = known.admins().take(MAX_GROUP_READERS).copied().collect();
    if readers.is_empty() {
        // Those who are to be admins have not joined yet: a member lets them in.
        readers = known
            .members()
            .keys()
            .take(MAX_GROUP_READERS)
            .copied()
            .collect();
    }
    let found = GroupFound {
        group: *group,
        name: match known.name() {
            NameSeal::Clear(name) => Some(name.clone()),
            NameSeal::Sealed(_) => None,
        },
        policy: match known.policy() {
            Policy::Open => GroupJoin::Open,
            Policy::AllowList(_) => GroupJoin::AllowList,
            Policy::Approval => GroupJoin::Approval,
        },
        members: known.members().len() as u32,
    };
    Ok(GroupAnswer::How {
        group: found,
        readers,
    })
}

/// Keeps a request to join.
pub(super) async fn ask(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
    parts: Vec<GroupSealed>,
) -> Answered {
    let Some(known) = log_store::load(node, group).await? else {
        return Err(RelayRefusalCode::NotFound.into());
    };
    match known.joining(device) {
        Joining::Member => return Ok(GroupAnswer::No(GroupNo::Member)),
        Joining::NotListed => return Ok(GroupAnswer::No(GroupNo::NotListed)),
        Joining::Free | Joining::Approval | Joining::Removed => {}
    }
    if known.members().len() >= MAX_GROUP_MEMBERS {
        return Ok(GroupAnswer::No(GroupNo::Full));
    }
    let at = device_key(group, device);
    match ask_slot(&asks(node, group).await?, device) {
        AskSlot::Free => {}
        AskSlot::InPlaceOf(refused) => {
            node.state
                .delete(bucket::ASKS, &device_key(group, &refused), Expect::Any)
                .await?;
        }
        AskSlot::None => return Ok(GroupAnswer::No(GroupNo::TooManyAsks)),
    }
    let parts = parts
        .into_iter()
        .filter(|part| known.role(&part.device).is_some());
    let parts = parts.map(|part| Sealed {
        device: part.device.as_bytes().to_vec(),
        sealed: part.sealed.to_vec(),
    });
    let record = Ask {
        asked_ms: now_ms(),
        parts: parts.collect(),
        refused: None,
    };
    node.state
        .put(bucket::ASKS, &at, encode(&record), Expect::Any)
        .await?;
    Ok(GroupAnswer::Done)
}

/// Whether there is room for one more request.
#[derive(Debug, PartialEq, Eq)]
enum AskSlot {
    Free,
    /// The oldest refusal is forgotten for it.
    InPlaceOf(DeviceId),
    None,
}

/// Returns the room for a request of `device`. Requests that wait have [`MAX_GROUP_ASKS`] places,
/// and refusals as many of their own: what an admin has refused keeps nobody from asking.
fn ask_slot(kept: &[(DeviceId, Ask)], device: &DeviceId) -> AskSlot {
    let others = || kept.iter().filter(|(asker, _)| asker != device);
    if others().filter(|(_, ask)| ask.refused.is_none()).count() >= MAX_GROUP_ASKS {
        return AskSlot::None;
    }
    if others().count() < 2 * MAX_GROUP_ASKS {
        return AskSlot::Free;
    }
    let refused = others().filter(|(_, ask)| ask.refused.is_some());
    let oldest = refused.min_by_key(|(_, ask)| ask.asked_ms);
    oldest.map_or(AskSlot::None, |(asker, _)| AskSlot::InPlaceOf(*asker))
}

/// Forgets the request of a device.
pub(super) async fn unask(node: &Node, device: &DeviceId, group: &GroupId) -> Answered {
    node.state
        .delete(bucket::ASKS, &device_key(group, device), Expect::Any)
        .await?;
    Ok(GroupAnswer::Done)
}

/// An admin says no, and why.
pub(super) async fn refuse(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
    sealed: GroupSealed,
) -> Answered {
    let known = member(node, device, group).await?;
    if known.role(device) != Some(Role::Admin) {
        return Err(RelayRefusalCode::NotFound.into());
    }
    let at = device_key(group, &sealed.device);
    let kept = node.state.get(bucket::ASKS, &at).await?;
    let Some(entry) = kept else {
        return Err(RelayRefusalCode::NotFound.into());
    };
    let refused = Sealed {
        device: device.as_bytes().to_vec(),
        sealed: sealed.sealed.to_vec(),
    };
    let record = Ask {
        asked_ms: now_ms(),
        parts: Vec::new(),
        refused: Some(refused),
    };
    match node
        .state
        .put(
            bucket::ASKS,
            &at,
            encode(&record),
            Expect::Revision(entry.revision),
        )
        .await
    {
        Ok(_) => Ok(GroupAnswer::Done),
        // It was let in, has asked anew or gave up meanwhile.
        Err(StateError::Conflict { .. }) => Err(RelayRefusalCode::NotFound.into()),
        Err(error) => Err(error.into()),
    }
}

/// How a device that is no member stands, and the reason when it was refused.
pub(super) async fn standing(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
) -> Result<(GroupStanding, Option<GroupSealed>), Refused> {
    let kept = node
        .state
        .get(bucket::ASKS, &device_key(group, device))
        .await?;
    let Some(record) = kept.and_then(|entry| Ask::decode(&entry.value[..]).ok()) else {
        return Ok((GroupStanding::None, None));
    };
    Ok(match record.refused {
        None => (GroupStanding::Asking, None),
        Some(refused) => (GroupStanding::Refused, opened(&refused)),
    })
}

/// Those who ask, and may be let in by `reader`.
pub(super) async fn askers(
    node: &Node,
    known: &Membership,
    reader: &DeviceId,
) -> Result<Vec<GroupAsked>, Refused> {
    let admin = known.role(reader) == Some(Role::Admin);
    let asked = asks(node, &known.group())
        .await?
        .into_iter()
        .filter_map(|(device, record)| {
            let may = admin || known.joining(&device) == Joining::Free;
            if record.refused.is_some() || !may || known.role(&device).is_some() {
                return None;
            }
            let part = record
                .parts
                .into_iter()
                .find(|part| part.device == reader.as_bytes());
            let sealed = part.map(|part| part.sealed.into()).unwrap_or_default();
            Some(GroupAsked {
                device,
                asked_ms: record.asked_ms,
                sealed,
            })
        });
    Ok(asked.take(MAX_GROUP_ASKS).collect())
}

/// What is asked of a group; what is too old is forgotten.
async fn asks(node: &Node, group: &GroupId) -> Result<Vec<(DeviceId, Ask)>, StateError> {
    let (prefix, mut after, mut all) = (group_prefix(group), None::<String>, Vec::new());
    loop {
        let page = node
            .state
            .list(bucket::ASKS, &prefix, after.as_deref(), MAX_PAGE)
            .await?;
        after = page.records.last().map(|record| record.key.clone());
        for record in page.records {
            let ask = Ask::decode(&record.entry.value[..]).ok();
            let young = |ask: &Ask| now_ms().saturating_sub(ask.asked_ms) < KEEP_MS;
            match (last_device(&record.key), ask.filter(young)) {
                (Some(device), Some(ask)) => all.push((device, ask)),
                _ => {
                    let expect = Expect::Revision(record.entry.revision);
                    match node.state.delete(bucket::ASKS, &record.key, expect).await {
                        Ok(_) | Err(StateError::Conflict { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        if !page.more {
            return Ok(all);
        }
    }
}

/// What stands behind a key of sealed things.
pub(super) fn read_sealed(bytes: &[u8]) -> Option<GroupSealed> {
    opened(&Sealed::decode(bytes).ok()?)
}

fn opened(record: &Sealed) -> Option<GroupSealed> {
    let device = DeviceId::from_slice(&record.device).ok()?;
    Some(GroupSealed {
        device,
        sealed: record.sealed.clone().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    fn asked(asked_ms: u64, refused: bool) -> (DeviceId, Ask) {
        let refused = refused.then(Sealed::default);
        (
            device(),
            Ask {
                asked_ms,
                parts: Vec::new(),
                refused,
            },
        )
    }

    #[test]
    fn field_d8_refused_requests_keep_nobody_from_asking() {
        let asker = device();
        let mut kept: Vec<_> = (0..MAX_GROUP_ASKS as u64)
            .map(|at| asked(10 + at, true))
            .collect();
        assert_eq!(
            ask_slot(&kept, &asker),
            AskSlot::Free,
            "all of them were refused"
        );
        kept.extend((1..MAX_GROUP_ASKS as u64).map(|at| asked(at, false)));
        assert_eq!(ask_slot(&kept, &asker), AskSlot::Free);
        kept.push(asked(5, true));
        let oldest = kept.last().unwrap().0;
        assert_eq!(ask_slot(&kept, &asker), AskSlot::InPlaceOf(oldest));
        kept.push(asked(1, false));
        assert_eq!(
            ask_slot(&kept, &asker),
            AskSlot::None,
            "as many wait as there are places"
        );
        let waiting = kept.last().unwrap().0;
        assert_eq!(
            ask_slot(&kept, &waiting),
            AskSlot::InPlaceOf(oldest),
            "whoever asks again has a place"
        );
    }
}
