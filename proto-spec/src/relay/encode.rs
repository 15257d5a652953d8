//! From [`RelayMessage`] to the wire.

use super::{
    Card, DeviceEntry, Nearness, Put, PutRecord, RelayAddress, RelayMessage, RelayRefusal,
    WebAddress, Welcome,
};
use crate::device::DeviceId;
use crate::ids::{Invitation, MessageId, ShareId};
use crate::message::space_to_wire;
use crate::wire;
use crate::wire::relay_frame::Body;
use bytes::Bytes;

impl RelayMessage {
    pub(crate) fn to_wire(&self) -> Body {
        match self {
            Self::Refused(refusal) => Body::Refused(refused(*refusal)),
            Self::Ping { nonce } => Body::Ping(wire::RelayPing { nonce: *nonce }),
            Self::Pong { nonce } => Body::Pong(wire::RelayPong { nonce: *nonce }),
            Self::Assign => Body::Assign(wire::Assign {}),
            Self::Assigned { relays } => Body::Assigned(wire::Assigned {
                relays: addresses(relays),
            }),
            Self::Hello {
                invitation,
                instance,
            } => Body::Hello(hello(invitation.as_ref(), *instance)),
            Self::Welcome(welcome) => Body::Welcome(welcome_to_wire(welcome)),
            Self::Visit { invitation } => Body::Visit(wire::Visit {
                invitation: shown(invitation.as_ref()),
            }),
            Self::Visiting(visiting) => Body::Visiting(visiting.to_wire()),
            Self::DevicesChanged { changed, removed } => {
                Body::DevicesChanged(wire::DevicesChanged {
                    changed: changed.iter().map(entry).collect(),
                    removed: removed.iter().map(key).collect(),
                })
            }
            Self::Cards(cards) => Body::Cards(wire::Cards {
                cards: cards.iter().map(card).collect(),
            }),
            Self::Move { relays } => Body::Move(wire::Move {
                relays: addresses(relays),
            }),
            Self::Send {
                request,
                to,
                id,
                sealed,
                keep_s,
            } => Body::Send(wire::Send {
                request: *request,
                to: key(to),
                id: message_id(id),
                sealed: sealed.clone(),
                keep_s: *keep_s,
            }),
            Self::Sent { request, forwarded } => Body::Sent(wire::Sent {
                request: *request,
                forwarded: *forwarded,
            }),
            Self::Deliver {
                seq,
                from,
                id,
                sealed,
                taken_ms,
            } => Body::Deliver(wire::Deliver {
                seq: *seq,
                from: key(from),
                id: message_id(id),
                sealed: sealed.clone(),
                taken_ms: *taken_ms,
            }),
            Self::Received { seq } => Body::Received(wire::Received { seq: *seq }),
            Self::Place {
                request,
                share,
                bytes,
                near,
            } => Body::Place(wire::Place {
                request: *request,
                share: share_id(share),
                bytes: *bytes,
                near: near.iter().map(nearness).collect(),
            }),
            Self::Placed { request, store } => Body::Placed(wire::Placed {
                request: *request,
                store: Some(store.to_wire()),
            }),
            Self::Release { request, share } => Body::Release(wire::Release {
                request: *request,
                share: share_id(share),
            }),
            Self::Released { request } => Body::Released(wire::Released { request: *request }),
            Self::Failed { request, refusal } => Body::Failed(failed(*request, *refusal)),
            Self::Put(put) => Body::Put(put_to_wire(put)),
            Self::PutList {
                space,
                first,
                records,
            } => Body::PutList(wire::PutList {
                space: space_to_wire(*space).into(),
                first: *first,
                records: records_to_wire(records),
            }),
            Self::Missing {
                root,
                manifest,
                data,
            } => Body::Missing(wire::Missing {
                root: *root,
                manifest: manifest.to_wire(),
                data: data.to_wire(),
            }),
            Self::PutChunk {
                space,
                position,
                length,
            } => Body::PutChunk(wire::PutChunk {
                space: space_to_wire(*space).into(),
                position: *position,
                length: *length,
            }),
            Self::Stored { space, ranges } => Body::Stored(wire::Stored {
                space: space_to_wire(*space).into(),
                ranges: ranges.to_wire(),
            }),
            Self::PutEnd => Body::PutEnd(wire::PutEnd {}),
            Self::PutDone => Body::PutDone(wire::PutDone {}),
            Self::Index(message) => message.to_wire(),
            Self::Circuit(message) => message.to_wire(),
            Self::Group { request, what } => Body::GroupRequest(what.to_wire(*request)),
            Self::GroupAnswered { request, answer } => Body::GroupAnswer(answer.to_wire(*request)),
            Self::Code { request, what } => what.to_wire(*request),
            Self::CodeAnswered { request, answer } => answer.to_wire(*request),
            Self::Own { request, what } => what.to_wire(*request),
            Self::OwnAnswered { request, answer } => answer.to_wire(*request),
            Self::Fetches(fetches) => Body::Fetches(super::fetches::fetches_to_wire(fetches)),
            Self::FetchesReceived(received) => {
                Body::FetchesReceived(super::fetches::received_to_wire(received))
            }
            Self::GroupNews { changes, all } => {
                Body::GroupNews(super::group::news_to_wire(changes, *all))
            }
        }
    }
}

pub(super) fn key(device: &DeviceId) -> Bytes {
    Bytes::copy_from_slice(device.as_bytes())
}

fn share_id(share: &ShareId) -> Bytes {
    Bytes::copy_from_slice(share.as_bytes())
}

fn message_id(id: &MessageId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub(super) fn addresses(relays: &[RelayAddress]) -> Vec<wire::RelayAddress> {
    relays.iter().map(RelayAddress::to_wire).collect()
}

fn refused(refusal: RelayRefusal) -> wire::RelayRefused {
    wire::RelayRefused {
        code: refusal.code_to_wire(),
        retry_after_ms: refusal.retry_after_ms,
    }
}

fn failed(request: u64, refusal: RelayRefusal) -> wire::Failed {
    wire::Failed {
        request,
        code: refusal.code_to_wire(),
        retry_after_ms: refusal.retry_after_ms,
    }
}

fn shown(invitation: Option<&Invitation>) -> Bytes {
    invitation
        .map(|invitation| Bytes::copy_from_slice(invitation.expose()))
        .unwrap_or_default()
}

fn hello(invitation: Option<&Invitation>, instance: u64) -> wire::Hello {
    wire::Hello {
        invitation: shown(invitation),
        instance,
    }
}

fn entry(entry: &DeviceEntry) -> wire::DeviceEntry {
    wire::DeviceEntry {
        device: key(&entry.device),
        online: entry.online,
        last_seen_ms: entry.last_seen_ms,
        card: entry.card.clone(),
        same_network: entry.same_network,
        web: entry.web,
    }
}

fn welcome_to_wire(welcome: &Welcome) -> wire::Welcome {
    wire::Welcome {
        user: Bytes::copy_from_slice(welcome.user.as_bytes()),
        ping_ms: welcome.ping_ms,
        devices: welcome.devices.iter().map(entry).collect(),
        stores: addresses(&welcome.stores),
        front: welcome.front.as_ref().map(RelayAddress::to_wire),
        max_message: welcome.max_message,
        web: welcome
            .web
            .as_ref()
            .map(WebAddress::to_string)
            .unwrap_or_default(),
    }
}

fn card(card: &Card) -> wire::Card {
    wire::Card {
        reader: key(&card.reader),
        sealed: card.sealed.clone(),
    }
}

fn nearness(near: &Nearness) -> wire::Nearness {
    wire::Nearness {
        store: key(&near.store),
        rtt_us: near.rtt_us,
    }
}

fn put_to_wire(put: &Put) -> wire::Put {
    wire::Put {
        share: share_id(&put.share),
        head: Some(put.head.to_wire()),
        read_key: Bytes::copy_from_slice(put.read_key.expose()),
        keep_s: put.keep_s,
    }
}

fn records_to_wire(records: &[PutRecord]) -> Bytes {
    let mut bytes = Vec::with_capacity(records.len() * PutRecord::LEN);
    records
        .iter()
        .for_each(|record| bytes.extend(record.to_bytes()));
    bytes.into()
}
