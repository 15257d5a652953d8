//! The list of a user's devices, as one of them sees it.

use crate::node::{Node, now_ms};
use crate::serve::front::Connection;
use crate::serve::records::{
    Presence, bucket, card_key, device_key, last_device, presence_key, user_key,
};
use crate::serve::registry::{RegistryError, user_of};
use crate::state::MAX_PAGE;
use bytes::Bytes;
use hither_proto::limits::MAX_DEVICES;
use hither_proto::{DeviceEntry, DeviceId};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, RegistryError>;

/// Every device of the reader's user, the reader among them.
pub(super) async fn everything(node: &Node, reader: &Connection) -> Result<Vec<DeviceEntry>> {
    let devices = node.registry.members_of(&reader.user).await?;
    let presences = presences(node, reader).await?;
    let mut cards = cards(node, reader).await?;
    let mut entries = Vec::with_capacity(devices.len());
    for (device, web) in devices.into_iter().take(MAX_DEVICES) {
        let presence = presences.get(&device);
        let card = cards.remove(&device).unwrap_or_default();
        entries.push(entry(node, reader, (device, web), presence, card).await?);
    }
    Ok(entries)
}

/// What is to be told of some devices: how they are now, and which are the user's no longer.
pub(super) async fn some(
    node: &Node,
    reader: &Connection,
    devices: &BTreeSet<DeviceId>,
) -> Result<(Vec<DeviceEntry>, Vec<DeviceId>)> {
    let (mut changed, mut removed) = (Vec::new(), Vec::new());
    for device in devices {
        let record = node.registry.device(device).await?;
        let theirs = record
            .as_ref()
            .filter(|record| !record.revoked)
            .map(user_of)
            .transpose()?;
        if theirs != Some(reader.user) {
            removed.push(*device);
            continue;
        }
        let found = node
            .state
            .get(bucket::PRESENCE, &presence_key(&reader.user, device))
            .await?;
        let presence = found.and_then(|entry| Presence::decode(&entry.value[..]).ok());
        let card = node
            .state
            .get(
                bucket::CARDS,
                &card_key(&reader.user, &reader.device, device),
            )
            .await?;
        let card = card.map(|entry| entry.value).unwrap_or_default();
        let web = record.is_some_and(|record| record.web);
        changed.push(entry(node, reader, (*device, web), presence.as_ref(), card).await?);
    }
    Ok((changed, removed))
}

async fn entry(
    node: &Node,
    reader: &Connection,
    (device, web): (DeviceId, bool),
    presence: Option<&Presence>,
    card: Bytes,
) -> Result<DeviceEntry> {
    let last_seen_ms = match presence {
        Some(_) => now_ms(),
        None => node.registry.seen(&device).await?,
    };
    Ok(DeviceEntry {
        device,
        online: presence.is_some(),
        last_seen_ms,
        card,
        same_network: presence.is_some_and(|presence| presence.network == reader.network),
        web,
    })
}

async fn presences(node: &Node, reader: &Connection) -> Result<BTreeMap<DeviceId, Presence>> {
    let prefix = format!("{}/", user_key(&reader.user));
    let page = node
        .state
        .list(bucket::PRESENCE, &prefix, None, MAX_PAGE)
        .await?;
    let read = page.records.iter().filter_map(|record| {
        Some((
            last_device(&record.key)?,
            Presence::decode(&record.entry.value[..]).ok()?,
        ))
    });
    Ok(read.collect())
}

/// The cards sealed for the reader; pages end at their bytes, so there may be several.
async fn cards(node: &Node, reader: &Connection) -> Result<BTreeMap<DeviceId, Bytes>> {
    let prefix = format!("{}/{}/", user_key(&reader.user), device_key(&reader.device));
    let (mut cards, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let page = node
            .state
            .list(bucket::CARDS, &prefix, after.as_deref(), MAX_DEVICES)
            .await?;
        after = page.records.last().map(|record| record.key.clone());
        cards.extend(
            page.records
                .into_iter()
                .filter_map(|card| Some((last_device(&card.key)?, card.entry.value))),
        );
        if !page.more || cards.len() >= MAX_DEVICES {
            return Ok(cards);
        }
    }
}

/// Changes of the list of devices.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) changed: Vec<DeviceEntry>,
    pub(super) removed: Vec<DeviceId>,
}

/// What changed; `told`: compare with everything, because anything may have.
pub(super) async fn update(
    node: &Node,
    connection: &Connection,
    changed: &BTreeSet<DeviceId>,
    told: Option<Vec<DeviceId>>,
) -> Result<Update> {
    let Some(told) = told else {
        let (changed, removed) = some(node, connection, changed).await?;
        return Ok(Update { changed, removed });
    };
    let changed = everything(node, connection).await?;
    let here: BTreeSet<_> = changed.iter().map(|entry| entry.device).collect();
    let removed = told
        .into_iter()
        .filter(|device| !here.contains(device))
        .collect();
    Ok(Update { changed, removed })
}
