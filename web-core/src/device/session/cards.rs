//! The user's other devices, and what they and this page say of themselves.
//!
//! Invariant: a name is cleaned, whoever it is of; each device gets the page's card once for a
//! connection and a name.

use super::Session;
use crate::context::Context;
use crate::device::event::{DeviceJson, Event};
use crate::device::seal;
use hither_proto::seal::SealPurpose;
use hither_proto::{Card, DeviceEntry, DeviceName, MessageId, RelayMessage};

/// Longest card, bytes of JSON.
const MAX_NAME_JSON: usize = 1024;

impl Session {
    pub(super) fn know(&mut self, entries: Vec<DeviceEntry>, context: &mut Context<'_>) {
        for entry in entries {
            if entry.device == context.identity.device() {
                continue;
            }
            let name = card_name(&entry, context);
            let known = self.devices.get(&entry.device);
            let name = name.or_else(|| known.map(|known| known.name.clone()));
            let json = DeviceJson {
                id: entry.device.to_string(),
                name: name.unwrap_or_default(),
                online: entry.online,
                web: entry.web,
                last_seen_ms: entry.last_seen_ms,
            };
            self.devices.insert(entry.device, json);
        }
        self.send_cards(context);
    }

    pub(super) fn tell_devices(&self, context: &mut Context<'_>) {
        let devices = self.devices.values().cloned().collect();
        Event::Devices { devices }.tell(context.out);
    }

    /// The page calls itself something else.
    pub(in crate::device) fn rename(
        &mut self,
        name: &str,
        made_ms: u64,
        context: &mut Context<'_>,
    ) {
        (self.name, self.made_ms) = (DeviceName::clean(name), made_ms);
        self.has_card.clear();
        if self.ready {
            self.send_cards(context);
        }
    }

    fn send_cards(&mut self, context: &mut Context<'_>) {
        if !self.role.is_device() {
            return;
        }
        let name = self.name.as_str();
        let card = serde_json::json!({ "name": name, "addresses": [], "made_ms": self.made_ms });
        let card = card.to_string().into_bytes();
        if card.len() > MAX_NAME_JSON {
            return;
        }
        let mut cards = Vec::new();
        for reader in self.devices.keys() {
            if !self.has_card.insert(*reader) {
                continue;
            }
            let (none, purpose) = (MessageId::NONE, SealPurpose::Card);
            // A device whose key is none gets no card.
            if let Ok(sealed) = seal::seal(context.identity, *reader, purpose, &none, &card) {
                cards.push(Card {
                    reader: *reader,
                    sealed: sealed.into(),
                });
            }
        }
        if !cards.is_empty() {
            self.tell(&RelayMessage::Cards(cards), context);
        }
    }
}

/// The name that a device's card has; `None`: there is no card that can be trusted.
fn card_name(entry: &DeviceEntry, context: &Context<'_>) -> Option<String> {
    if entry.card.is_empty() {
        return None;
    }
    let (none, purpose) = (MessageId::NONE, SealPurpose::Card);
    let card = seal::open(context.identity, entry.device, purpose, &none, &entry.card).ok()?;
    let card: serde_json::Value = serde_json::from_slice(&card).ok()?;
    let name = DeviceName::clean(card.get("name")?.as_str()?);
    Some(name.as_str().to_owned())
}
