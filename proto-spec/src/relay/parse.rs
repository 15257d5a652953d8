//! From the wire to [`RelayMessage`]: the only place where a relay's or device's values are
//! believed to be in bounds.

use super::{
    Card, CircuitMessage, CodeAnswer, CodeRequest, DeviceEntry, IndexMessage, Nearness, OwnAnswer,
    OwnRequest, Put, PutRecord, RelayAddress, RelayMessage, RelayRefusal, Visiting, WebAddress,
    Welcome,
};
use crate::device::DeviceId;
use crate::head::UncheckedHead;
use crate::ids::{ChunkId, Invitation, MessageId, ReadKey, ShareId, UserId};
use crate::limits::{
    CHUNK_TAG, MAX_CARD, MAX_CHUNK, MAX_CHUNKS, MAX_CIPHERTEXT, MAX_DEVICES, MAX_MESSAGE,
    MAX_PUT_LIST, MAX_RANGES, MAX_RELAYS, MAX_ROOT, RELAY_PING_MS,
};
use crate::message::{MessageError, Space, parse_space};
use crate::range::Ranges;
use crate::wire;
use crate::wire::relay_frame::Body;
use bytes::Bytes;

type Parsed<T> = Result<T, MessageError>;

impl RelayMessage {
    pub(crate) fn parse(body: Body) -> Parsed<Self> {
        Ok(match body {
            Body::Refused(m) => Self::Refused(RelayRefusal::from_wire(m.code(), m.retry_after_ms)),
            Body::Ping(m) => Self::Ping { nonce: m.nonce },
            Body::Pong(m) => Self::Pong { nonce: m.nonce },
            Body::Assign(_) => Self::Assign,
            Body::Assigned(m) => Self::Assigned {
                relays: relays(m.relays)?,
            },
            Body::Hello(m) => Self::Hello {
                invitation: invitation(&m.invitation)?,
                instance: m.instance,
            },
            Body::Welcome(m) => Self::Welcome(Box::new(welcome(m)?)),
            Body::DevicesChanged(m) => Self::DevicesChanged {
                changed: devices(m.changed)?,
                removed: few(&m.removed, MAX_DEVICES, "number of devices")?
                    .iter()
                    .map(|device| DeviceId::from_slice(device))
                    .collect::<Result<_, _>>()?,
            },
            Body::Cards(m) => Self::Cards(cards(m.cards)?),
            Body::Move(m) => Self::Move {
                relays: relays(m.relays)?,
            },
            Body::Send(m) => Self::Send {
                request: m.request,
                to: DeviceId::from_slice(&m.to)?,
                id: MessageId::from_slice(&m.id)?,
                sealed: sealed(m.sealed, MAX_MESSAGE)?,
                keep_s: m.keep_s,
            },
            Body::Sent(m) => Self::Sent {
                request: m.request,
                forwarded: m.forwarded,
            },
            Body::Deliver(m) => Self::Deliver {
                seq: m.seq,
                from: DeviceId::from_slice(&m.from)?,
                id: MessageId::from_slice(&m.id)?,
                sealed: sealed(m.sealed, MAX_MESSAGE)?,
                taken_ms: m.taken_ms,
            },
            Body::Received(m) => Self::Received { seq: m.seq },
            Body::Place(m) => place(&m)?,
            Body::Placed(m) => Self::Placed {
                request: m.request,
                store: address(m.store)?,
            },
            Body::Release(m) => Self::Release {
                request: m.request,
                share: ShareId::from_slice(&m.share)?,
            },
            Body::Released(m) => Self::Released { request: m.request },
            Body::Failed(m) => Self::Failed {
                request: m.request,
                refusal: RelayRefusal::from_wire(m.code(), m.retry_after_ms),
            },
            Body::Put(m) => Self::Put(Box::new(put(m)?)),
            Body::PutList(m) => put_list(&m)?,
            Body::Missing(m) => missing(&m)?,
            Body::PutChunk(m) => put_chunk(&m)?,
            Body::Stored(m) => Self::Stored {
                space: parse_space(m.space())?,
                ranges: Ranges::parse(&m.ranges)?,
            },
            Body::PutEnd(_) => Self::PutEnd,
            Body::PutDone(_) => Self::PutDone,
            body @ (Body::Connect(_)
            | Body::Connected(_)
            | Body::ConnectAt(_)
            | Body::Incoming(_)
            | Body::Accept(_)
            | Body::Decline(_)) => Self::Circuit(Box::new(CircuitMessage::parse(body)?)),
            Body::GroupRequest(m) => super::group::parse_request(m)?,
            Body::GroupAnswer(m) => super::group::parse_answer(m)?,
            Body::GroupNews(m) => super::group::parse_news(m)?,
            body @ (Body::ShowCode(_) | Body::FindCode(_) | Body::Invite(_)) => {
                let (request, what) = CodeRequest::parse(&body)?;
                Self::Code { request, what }
            }
            body @ (Body::CodeShown(_) | Body::CodeFound(_) | Body::Invited(_)) => {
                let (request, answer) = CodeAnswer::parse(&body)?;
                Self::CodeAnswered { request, answer }
            }
            Body::Visit(m) => Self::Visit {
                invitation: invitation(&m.invitation)?,
            },
            Body::Visiting(m) => Self::Visiting(Box::new(Visiting::parse(m)?)),
            body @ (Body::InviteDevices(_)
            | Body::RemoveDevice(_)
            | Body::Contacts(_)
            | Body::InviteVisitors(_)
            | Body::ReleaseVisitor(_)
            | Body::AskWake(_)
            | Body::Wake(_)) => {
                let (request, what) = OwnRequest::parse(&body)?;
                Self::Own { request, what }
            }
            body @ (Body::DevicesInvited(_)
            | Body::DeviceRemoved(_)
            | Body::ContactsKept(_)
            | Body::VisitorsInvited(_)
            | Body::VisitorReleased(_)
            | Body::WakeWays(_)
            | Body::WakeKept(_)) => {
                let (request, answer) = OwnAnswer::parse(&body)?;
                Self::OwnAnswered { request, answer }
            }
            Body::Fetches(m) => super::fetches::parse_fetches(&m)?,
            Body::FetchesReceived(m) => super::fetches::parse_received(&m)?,
            body => Self::Index(Box::new(IndexMessage::parse(body)?)),
        })
    }
}

/// The list, when it has at most `max` elements.
pub(super) fn few<'a, T>(list: &'a [T], max: usize, what: &'static str) -> Parsed<&'a [T]> {
    if list.len() > max {
        Err(MessageError::Value(what))
    } else {
        Ok(list)
    }
}

pub(super) fn address(address: Option<wire::RelayAddress>) -> Parsed<RelayAddress> {
    RelayAddress::parse(address.ok_or(MessageError::Malformed)?)
}

pub(super) fn relays(list: Vec<wire::RelayAddress>) -> Parsed<Vec<RelayAddress>> {
    few(&list, MAX_RELAYS, "number of relays")?;
    list.into_iter().map(RelayAddress::parse).collect()
}

fn invitation(token: &[u8]) -> Parsed<Option<Invitation>> {
    if token.is_empty() {
        Ok(None)
    } else {
        Ok(Some(Invitation::from_slice(token)?))
    }
}

/// Something sealed: never empty, at most `max` bytes.
pub(super) fn sealed(bytes: Bytes, max: usize) -> Parsed<Bytes> {
    if bytes.is_empty() || bytes.len() > max {
        return Err(MessageError::Value("length of sealed data"));
    }
    Ok(bytes)
}

fn devices(list: Vec<wire::DeviceEntry>) -> Parsed<Vec<DeviceEntry>> {
    few(&list, MAX_DEVICES, "number of devices")?;
    list.into_iter().map(device).collect()
}

fn device(m: wire::DeviceEntry) -> Parsed<DeviceEntry> {
    Ok(DeviceEntry {
        device: DeviceId::from_slice(&m.device)?,
        online: m.online,
        last_seen_ms: m.last_seen_ms,
        card: if m.card.is_empty() {
            m.card
        } else {
            sealed(m.card, MAX_CARD)?
        },
        same_network: m.same_network,
        web: m.web,
    })
}

pub(super) fn web(text: &str) -> Parsed<Option<WebAddress>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| MessageError::Value("web address"))
}

fn welcome(m: wire::Welcome) -> Parsed<Welcome> {
    if !RELAY_PING_MS.contains(&m.ping_ms) {
        return Err(MessageError::Value("time between pings"));
    }
    Ok(Welcome {
        user: UserId::from_slice(&m.user)?,
        ping_ms: m.ping_ms,
        devices: devices(m.devices)?,
        stores: relays(m.stores)?,
        front: m.front.map(RelayAddress::parse).transpose()?,
        max_message: m.max_message.min(MAX_MESSAGE as u32),
        web: web(&m.web)?,
    })
}

fn cards(list: Vec<wire::Card>) -> Parsed<Vec<Card>> {
    few(&list, MAX_DEVICES, "number of cards")?;
    list.into_iter()
        .map(|card| {
            Ok(Card {
                reader: DeviceId::from_slice(&card.reader)?,
                sealed: sealed(card.sealed, MAX_CARD)?,
            })
        })
        .collect()
}

fn place(m: &wire::Place) -> Parsed<RelayMessage> {
    if m.bytes > MAX_CIPHERTEXT {
        return Err(MessageError::Value("size of a share"));
    }
    let near = few(&m.near, MAX_RELAYS, "number of stores")?
        .iter()
        .map(|near| {
            Ok(Nearness {
                store: DeviceId::from_slice(&near.store)?,
                rtt_us: near.rtt_us,
            })
        })
        .collect::<Parsed<_>>()?;
    Ok(RelayMessage::Place {
        request: m.request,
        share: ShareId::from_slice(&m.share)?,
        bytes: m.bytes,
        near,
    })
}

fn put(m: wire::Put) -> Parsed<Put> {
    Ok(Put {
        share: ShareId::from_slice(&m.share)?,
        head: UncheckedHead::from_wire(m.head.ok_or(MessageError::Malformed)?),
        read_key: ReadKey::from_slice(&m.read_key)?,
        keep_s: m.keep_s,
    })
}

fn put_list(m: &wire::PutList) -> Parsed<RelayMessage> {
    let space = parse_space(m.space())?;
    if space == Space::Root {
        return Err(MessageError::Value("space"));
    }
    let (records, rest) = m.records.as_chunks::<{ PutRecord::LEN }>();
    let count = records.len();
    if !rest.is_empty() || count == 0 || count > MAX_PUT_LIST {
        return Err(MessageError::Value("number of chunk records"));
    }
    if u64::from(m.first) + count as u64 > MAX_CHUNKS {
        return Err(MessageError::Value("position"));
    }
    let records = records
        .iter()
        .map(PutRecord::from_bytes)
        .collect::<Parsed<_>>()?;
    Ok(RelayMessage::PutList {
        space,
        first: m.first,
        records,
    })
}

fn missing(m: &wire::Missing) -> Parsed<RelayMessage> {
    if m.manifest.len() + m.data.len() > MAX_RANGES {
        return Err(MessageError::Value("number of missing ranges"));
    }
    Ok(RelayMessage::Missing {
        root: m.root,
        manifest: Ranges::parse(&m.manifest)?,
        data: Ranges::parse(&m.data)?,
    })
}

fn put_chunk(m: &wire::PutChunk) -> Parsed<RelayMessage> {
    let space = parse_space(m.space())?;
    let (positions, longest) = match space {
        Space::Root => (1, MAX_ROOT),
        Space::Manifest | Space::Data => (MAX_CHUNKS, MAX_CHUNK + CHUNK_TAG),
    };
    if u64::from(m.position) >= positions {
        return Err(MessageError::Value("position"));
    }
    if m.length <= CHUNK_TAG || m.length > longest {
        return Err(MessageError::Value("chunk length"));
    }
    Ok(RelayMessage::PutChunk {
        space,
        position: m.position,
        length: m.length,
    })
}

impl PutRecord {
    /// Length on the wire, bytes.
    pub const LEN: usize = 36;

    /// Parses 32 bytes of id and 4 bytes of length, big-endian; refuses a length that no chunk has.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, MessageError> {
        let (id, length) = bytes.split_at(32);
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        if length <= CHUNK_TAG || length > MAX_CHUNK + CHUNK_TAG {
            return Err(MessageError::Value("chunk length"));
        }
        Ok(Self {
            id: ChunkId::from_slice(id)?,
            length,
        })
    }

    /// The bytes that [`from_bytes`](Self::from_bytes) parses.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..32].copy_from_slice(self.id.as_bytes());
        bytes[32..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}
