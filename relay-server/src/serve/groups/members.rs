//! The members of a group, as one of them is told: who is there, and what each says of itself under
//! the group's seal.

use super::answer::{Answered, Refused, member};
use super::joining;
use super::records::{bucket, device_key, group_prefix, keys_prefix};
use crate::node::{Node, now_ms};
use crate::serve::records::{bucket as common, last_device, presence_key};
use crate::serve::registry::user_of;
use crate::state::{Expect, MAX_PAGE};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use hither_proto::limits::{GROUP_DIGEST, MAX_GROUP_PAGE};
use hither_proto::{DeviceId, GroupAnswer, GroupId, GroupMember, GroupNote};
use std::collections::{BTreeMap, BTreeSet};

/// Members that are looked at at the same time.
const LOOKS: usize = 32;

/// Who is a member, who is there, who asks.
pub(super) async fn roll(node: &Node, device: &DeviceId, group: &GroupId) -> Answered {
    let known = member(node, device, group).await?;
    let digests: BTreeMap<_, _> = list(node, bucket::DIGESTS, &group_prefix(group))
        .await?
        .into_iter()
        .collect();
    let keys: BTreeSet<_> = list(node, bucket::KEYS, &keys_prefix(group, known.key()))
        .await?
        .into_iter()
        .map(|(device, _)| device)
        .collect();
    let looks = known.members().keys().copied().map(|device| {
        let digest = digests
            .get(&device)
            .and_then(|digest| digest[..].try_into().ok());
        let key = keys.contains(&device);
        async move {
            presence(node, device).await.map(|there| GroupMember {
                digest,
                key,
                ..there
            })
        }
    });
    let members = futures::stream::iter(looks)
        .buffered(LOOKS)
        .try_collect()
        .await?;
    let askers = joining::askers(node, &known, device).await?;
    Ok(GroupAnswer::Members { members, askers })
}

/// Whether a device is there. Only for who is a member of a group with it.
pub(super) async fn presence(node: &Node, device: DeviceId) -> Result<GroupMember, Refused> {
    let record = node
        .registry
        .device(&device)
        .await?
        .filter(|record| !record.revoked);
    let online = match record {
        Some(record) => {
            let key = presence_key(&user_of(&record)?, &device);
            node.state.get(common::PRESENCE, &key).await?.is_some()
        }
        None => false,
    };
    let last_seen_ms = if online {
        now_ms()
    } else {
        node.registry.seen(&device).await?
    };
    Ok(GroupMember {
        device,
        online,
        last_seen_ms,
        digest: None,
        key: false,
    })
}

async fn list(node: &Node, bucket: &str, prefix: &str) -> Result<Vec<(DeviceId, Bytes)>, Refused> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = node
            .state
            .list(bucket, prefix, after.as_deref(), MAX_PAGE)
            .await?;
        after = page.records.last().map(|record| record.key.clone());
        let found = page.records.into_iter();
        all.extend(
            found.filter_map(|record| Some((last_device(&record.key)?, record.entry.value))),
        );
        if !page.more {
            return Ok(all);
        }
    }
}

/// What some members say, as much of it as fits.
pub(super) async fn notes(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
    of: &[DeviceId],
) -> Answered {
    let known = member(node, device, group).await?;
    let (mut notes, mut bytes) = (Vec::new(), 0);
    for device in of.iter().filter(|device| known.role(device).is_some()) {
        let Some(entry) = node
            .state
            .get(bucket::NOTES, &device_key(group, device))
            .await?
        else {
            continue;
        };
        bytes += entry.value.len();
        notes.push(GroupNote {
            device: *device,
            sealed: entry.value,
        });
        if bytes >= MAX_GROUP_PAGE {
            break;
        }
    }
    Ok(GroupAnswer::Notes(notes))
}

/// Keeps what a member says of itself. What it said before is forgotten.
pub(super) async fn note(
    node: &Node,
    device: &DeviceId,
    group: &GroupId,
    sealed: Bytes,
) -> Answered {
    member(node, device, group).await?;
    let digest = Bytes::copy_from_slice(&blake3::hash(&sealed).as_bytes()[..GROUP_DIGEST]);
    let key = device_key(group, device);
    node.state
        .put(bucket::NOTES, &key, sealed, Expect::Any)
        .await?;
    // Others are told when this changes.
    node.state
        .put(bucket::DIGESTS, &key, digest, Expect::Any)
        .await?;
    Ok(GroupAnswer::Done)
}
