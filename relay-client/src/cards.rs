//! Device cards: what a device tells the user's other devices of itself, through a relay that
//! cannot read it.
//!
//! A card is sealed for each reader. It is sent when a connection begins, when what stands in it
//! changes, and for devices that are new. Invariant: a name that was read from a card is cleaned;
//! its addresses are hints, like any other.

use super::connection::RelayConnection;
use super::records::CardRecord;
use crate::client::RelayClient;
use hither_carrier::Identity;
use hither_carrier::seal::{self, SealPurpose};
use hither_proto::limits::MAX_DEVICES;
use hither_proto::{Card, DeviceEntry, DeviceId, DeviceName, MessageId, RelayMessage};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Most addresses taken from a card.
const MAX_ADDRESSES: usize = 8;

/// The card published on one connection, and the devices it is for.
#[derive(Debug, Default)]
pub(crate) struct Published {
    card: Option<CardRecord>,
    readers: HashSet<DeviceId>,
}

/// This device's card now, without a stamp.
fn own(client: &RelayClient) -> CardRecord {
    CardRecord {
        name: client.name.as_str().to_owned(),
        addresses: client.swarm.addresses(),
        tcp_port: client.swarm.endpoint().tcp_port(),
        made_ms: 0,
        catalogue: client.catalogue_digest(),
    }
}

/// Opens the card of an entry of the list; `None` when there is none, or none that can be trusted.
pub fn open(identity: &Identity, entry: &DeviceEntry) -> Option<CardRecord> {
    if entry.card.is_empty() || entry.device == identity.device_id() {
        return None;
    }
    let opened = seal::open(
        identity,
        entry.device,
        SealPurpose::Card,
        &MessageId::NONE,
        &entry.card,
    );
    let card = match opened {
        Ok(bytes) => {
            serde_json::from_slice::<CardRecord>(&bytes).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match card {
        Ok(card) => Some(cleaned(card)),
        Err(error) => {
            tracing::debug!(device = ?entry.device, error, "a device's card is ignored");
            None
        }
    }
}

fn cleaned(mut card: CardRecord) -> CardRecord {
    card.name = DeviceName::clean(&card.name).as_str().to_owned();
    card.addresses.retain(can_be_dialled);
    card.addresses.truncate(MAX_ADDRESSES);
    card.tcp_port = card.tcp_port.filter(|port| *port != 0);
    card
}

fn can_be_dialled(address: &SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback()
}

/// Sends the cards that the relay behind a connection does not have yet, for `readers`.
pub(crate) async fn publish(
    client: &Arc<RelayClient>,
    connection: &Arc<RelayConnection>,
    readers: Vec<DeviceId>,
) {
    let (of, to) = (Arc::clone(client), Arc::clone(connection));
    let sealed = tokio::task::spawn_blocking(move || seal_missing(&of, &to, readers)).await;
    let Ok(cards) = sealed else { return };
    if !cards.is_empty() {
        tracing::debug!(cards = cards.len(), "this device's card is sent");
        connection.tell(RelayMessage::Cards(cards)).await;
    }
}

fn seal_missing(
    client: &RelayClient,
    connection: &RelayConnection,
    readers: Vec<DeviceId>,
) -> Vec<Card> {
    let mut card = own(client);
    let mut published = connection.published.lock();
    let same = published.card.as_ref().is_some_and(|old| {
        CardRecord {
            made_ms: card.made_ms,
            ..old.clone()
        } == card
    });
    if !same {
        match client.stamps.next() {
            Ok(stamp) => card.made_ms = stamp,
            Err(error) => {
                tracing::error!(%error, "this device's card cannot be stamped");
                return Vec::new();
            }
        }
        *published = Published {
            card: Some(card),
            readers: HashSet::new(),
        };
    }
    let Some(bytes) = published
        .card
        .as_ref()
        .and_then(|card| serde_json::to_vec(card).ok())
    else {
        return Vec::new();
    };
    let mut cards = Vec::new();
    for reader in readers
        .into_iter()
        .filter(|reader| *reader != client.device)
        .take(MAX_DEVICES)
    {
        if !published.readers.insert(reader) {
            continue;
        }
        match seal::seal(
            &client.identity,
            reader,
            SealPurpose::Card,
            &MessageId::NONE,
            &bytes,
        ) {
            Ok(sealed) => cards.push(Card {
                reader,
                sealed: sealed.into(),
            }),
            Err(error) => {
                tracing::warn!(device = ?reader, %error, "this device's card cannot be sealed")
            }
        }
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str) -> CardRecord {
        CardRecord {
            name: name.into(),
            addresses: [
                "10.0.0.1:7",
                "0.0.0.0:7",
                "224.0.0.1:7",
                "127.0.0.1:7",
                "10.0.0.1:0",
                "[::1]:7",
            ]
            .map(|text| text.parse().unwrap())
            .to_vec(),
            tcp_port: Some(0),
            made_ms: 5,
            catalogue: None,
        }
    }

    #[test]
    fn what_a_card_says_is_cleaned() {
        let card = cleaned(card("a\u{1b}[2Jb"));
        assert_eq!(card.name, "a\u{fffd}[2Jb");
        assert_eq!(card.addresses, ["10.0.0.1:7".parse().unwrap()]);
        assert_eq!(card.tcp_port, None);
    }

    #[test]
    fn only_the_device_itself_can_say_who_it_is() {
        let (one, other, reader) = (
            Identity::generate().unwrap(),
            Identity::generate().unwrap(),
            Identity::generate().unwrap(),
        );
        let bytes = serde_json::to_vec(&card("laptop")).unwrap();
        let to = reader.device_id();
        let sealed = seal::seal(&one, to, SealPurpose::Card, &MessageId::NONE, &bytes).unwrap();
        let mut entry = DeviceEntry {
            device: one.device_id(),
            online: true,
            last_seen_ms: 1,
            card: sealed.into(),
            same_network: false,
            web: false,
        };
        assert_eq!(open(&reader, &entry).unwrap().name, "laptop");
        assert_eq!(open(&other, &entry), None, "sealed for somebody else");
        entry.device = other.device_id();
        assert_eq!(open(&reader, &entry), None, "under another device's name");
    }
}
