//! Messages of the link protocol between their types and the wire.

use super::{
    Announcement, Candidates, Claims, Delta, Holder, HolderKind, Introduction, Letter, Message,
    MessageError, Opened, Progress, ProofKind, Purpose, Refusal, Space, Terms, Want, device,
};
use crate::code::{code_from_wire, code_to_wire};
use crate::device::{DeviceId, DeviceName};
use crate::head::UncheckedHead;
use crate::ids::{ChunkToken, MessageId, ShareId};
use crate::limits::{
    CHUNK_TAG, MAX_CHUNK, MAX_CHUNK_TOKEN_MS, MAX_CLAIMS, MAX_HOLDERS, MAX_ROOT, MAX_SHARE,
    MAX_WANT,
};
use crate::price::Price;
use crate::proof::{BlindQuery, BlindReply, Proof};
use crate::range::Ranges;
use crate::relay::{RelayAddress, RelayPurpose};
use crate::wire;
use crate::wire::frame::Body;

impl Message {
    pub(crate) fn parse(body: Body) -> Result<Self, MessageError> {
        Ok(match body {
            Body::Open(m) => parse_open(&m)?,
            Body::Code(m) => Self::Code(Box::new(code_from_wire(m)?)),
            Body::BlindQuery(m) => Self::BlindQuery {
                protocol: m.protocol,
                query: BlindQuery::from_slice(&m.query)?,
            },
            Body::BlindReply(m) => Self::BlindReply {
                reply: BlindReply::from_slice(&m.reply)?,
            },
            Body::Opened(m) => Self::Opened(Box::new(parse_opened(m)?)),
            Body::Refused(m) => Self::Refused(parse_refusal(&m)),
            Body::Announce(m) => Self::Announce(Announcement::parse(&m)?),
            Body::HaveDelta(m) => Self::HaveDelta(Delta::parse(&m)?),
            Body::Claims(m) => Self::Claims(parse_claims(&m)?),
            Body::Terms(m) => Self::Terms(parse_terms(m)?),
            Body::Progress(m) => Self::Progress(parse_progress(m)?),
            Body::Want(m) => Self::Want(parse_want(&m)?),
            Body::Cancel(m) => Self::Cancel { request: m.request },
            Body::Chunk(m) => parse_chunk(&m)?,
            Body::Served(m) => Self::Served { request: m.request },
            Body::Busy(m) => Self::Busy {
                request: m.request,
                retry_after_ms: m.retry_after_ms,
            },
            Body::NotHeld(m) => Self::NotHeld {
                request: m.request,
                ranges: Ranges::parse(&m.ranges)?,
            },
            Body::ChunkTokenRequest(_) => Self::ChunkTokenRequest,
            Body::ChunkToken(m) => parse_chunk_token(&m)?,
            Body::NewHead(m) => Self::NewHead(UncheckedHead::from_wire(
                m.head.ok_or(MessageError::Malformed)?,
            )),
            Body::Ping(m) => Self::Ping { nonce: m.nonce },
            Body::Pong(m) => Self::Pong { nonce: m.nonce },
            Body::RelayOpen(m) => Self::RelayOpen {
                protocol: m.protocol,
                purpose: RelayPurpose::from_wire(m.purpose()),
            },
            Body::Elsewhere(m) => parse_elsewhere(m)?,
            Body::Candidates(m) => Self::Candidates(Box::new(Candidates::parse(m)?)),
            Body::DeviceOpen(m) => device::parse_open(&m),
            Body::Letter(m) => Self::Letter(Letter::parse(m)?),
            Body::LetterTaken(m) => Self::LetterTaken {
                id: MessageId::from_slice(&m.id)?,
            },
            Body::Introduction(m) => Self::Introduction(Introduction::parse(&m)),
            Body::Named(m) => Self::Named(DeviceName::clean(&m.device_name)),
        })
    }

    pub(crate) fn to_wire(&self) -> Body {
        match self {
            Self::Open {
                protocol,
                share,
                proof,
                proof_kind,
                owner,
                purpose,
            } => Body::Open(wire::Open {
                protocol: *protocol,
                share: share.as_bytes().to_vec().into(),
                proof: proof.as_bytes().to_vec().into(),
                purpose: purpose_to_wire(*purpose).into(),
                proof_kind: match proof_kind {
                    ProofKind::Secret => wire::ProofKind::Secret,
                    ProofKind::ReadKey => wire::ProofKind::ReadKey,
                }
                .into(),
                owner: owner
                    .map(|owner| owner.as_bytes().to_vec().into())
                    .unwrap_or_default(),
            }),
            Self::Code(message) => Body::Code(code_to_wire(message)),
            Self::BlindQuery { protocol, query } => Body::BlindQuery(wire::BlindQuery {
                protocol: *protocol,
                query: query.as_bytes().to_vec().into(),
            }),
            Self::BlindReply { reply } => Body::BlindReply(wire::BlindReply {
                reply: reply.as_bytes().to_vec().into(),
            }),
            Self::Opened(m) => Body::Opened(wire::Opened {
                proof: m.proof.as_bytes().to_vec().into(),
                head: Some(m.head.to_wire()),
                device_name: m.device_name.as_str().to_owned(),
                tcp_port: m.tcp_port.map_or(0, u32::from),
            }),
            Self::Refused(refusal) => Body::Refused(refusal_to_wire(*refusal)),
            Self::Announce(m) => Body::Announce(m.to_wire()),
            Self::HaveDelta(m) => Body::HaveDelta(m.to_wire()),
            Self::Claims(m) => Body::Claims(wire::Claims {
                version: m.version,
                fetching: m.fetching,
                active: m.active.to_wire(),
                tentative: m.tentative.to_wire(),
            }),
            Self::Terms(m) => Body::Terms(wire::Terms {
                price: m.price.nanos_per_gib(),
                reluctant: m.reluctant,
            }),
            Self::Progress(m) => Body::Progress(wire::Progress {
                version: m.version,
                bytes: m.bytes,
                complete: m.complete,
            }),
            Self::Want(m) => Body::Want(wire::Want {
                request: m.request,
                space: space_to_wire(m.space).into(),
                version: m.version,
                ranges: m.ranges.to_wire(),
            }),
            Self::Cancel { request } => Body::Cancel(wire::Cancel { request: *request }),
            Self::Chunk {
                request,
                position,
                length,
            } => Body::Chunk(wire::Chunk {
                request: *request,
                position: *position,
                length: *length,
            }),
            Self::Served { request } => Body::Served(wire::Served { request: *request }),
            Self::Busy {
                request,
                retry_after_ms,
            } => Body::Busy(wire::Busy {
                request: *request,
                retry_after_ms: *retry_after_ms,
            }),
            Self::NotHeld { request, ranges } => Body::NotHeld(wire::NotHeld {
                request: *request,
                ranges: ranges.to_wire(),
            }),
            Self::ChunkTokenRequest => Body::ChunkTokenRequest(wire::ChunkTokenRequest {}),
            Self::ChunkToken { token, lives_ms } => Body::ChunkToken(wire::ChunkToken {
                token: token
                    .as_ref()
                    .map(|token| token.expose().to_vec().into())
                    .unwrap_or_default(),
                lives_ms: *lives_ms,
            }),
            Self::NewHead(head) => Body::NewHead(wire::NewHead {
                head: Some(head.to_wire()),
            }),
            Self::Ping { nonce } => Body::Ping(wire::Ping { nonce: *nonce }),
            Self::Pong { nonce } => Body::Pong(wire::Pong { nonce: *nonce }),
            Self::RelayOpen { protocol, purpose } => Body::RelayOpen(wire::RelayOpen {
                protocol: *protocol,
                purpose: RelayPurpose::to_wire(*purpose).into(),
            }),
            Self::Elsewhere { proof, holders } => Body::Elsewhere(wire::Elsewhere {
                proof: proof
                    .map(|proof| proof.as_bytes().to_vec().into())
                    .unwrap_or_default(),
                holders: holders
                    .iter()
                    .take(MAX_HOLDERS)
                    .map(holder_to_wire)
                    .collect(),
            }),
            Self::Candidates(candidates) => Body::Candidates(candidates.to_wire()),
            Self::DeviceOpen { protocol, purpose } => Body::DeviceOpen(wire::DeviceOpen {
                protocol: *protocol,
                purpose: device::purpose_to_wire(*purpose).into(),
            }),
            Self::Letter(letter) => Body::Letter(letter.to_wire()),
            Self::LetterTaken { id } => Body::LetterTaken(wire::LetterTaken {
                id: id.as_bytes().to_vec().into(),
            }),
            Self::Introduction(introduction) => Body::Introduction(introduction.to_wire()),
            Self::Named(name) => Body::Named(wire::Named {
                device_name: name.as_str().to_owned(),
            }),
        }
    }
}

impl Announcement {
    pub(crate) fn parse(m: &wire::Announce) -> Result<Self, MessageError> {
        Ok(Self {
            version: m.version,
            epoch: m.epoch,
            seq: m.seq,
            complete: m.complete,
            held: Ranges::parse(&m.held)?,
            has_manifest: m.has_manifest,
        })
    }

    pub(crate) fn to_wire(&self) -> wire::Announce {
        wire::Announce {
            version: self.version,
            epoch: self.epoch,
            seq: self.seq,
            complete: self.complete,
            held: self.held.to_wire(),
            has_manifest: self.has_manifest,
        }
    }
}

impl Delta {
    pub(crate) fn parse(m: &wire::HaveDelta) -> Result<Self, MessageError> {
        Ok(Self {
            version: m.version,
            epoch: m.epoch,
            seq: m.seq,
            added: Ranges::parse(&m.added)?,
            removed: Ranges::parse(&m.removed)?,
        })
    }

    pub(crate) fn to_wire(&self) -> wire::HaveDelta {
        wire::HaveDelta {
            version: self.version,
            epoch: self.epoch,
            seq: self.seq,
            added: self.added.to_wire(),
            removed: self.removed.to_wire(),
        }
    }
}

/// A kind of proof that this build does not know leaves the purpose open: what is wanted here is of
/// a later version.
fn parse_open(m: &wire::Open) -> Result<Message, MessageError> {
    let (proof_kind, known) = match wire::ProofKind::try_from(m.proof_kind) {
        Ok(wire::ProofKind::Secret) => (ProofKind::Secret, true),
        Ok(wire::ProofKind::ReadKey) => (ProofKind::ReadKey, true),
        Err(_) => (ProofKind::Secret, false),
    };
    let owner = if m.owner.is_empty() {
        None
    } else {
        Some(DeviceId::from_slice(&m.owner)?)
    };
    if proof_kind == ProofKind::ReadKey && owner.is_none() {
        return Err(MessageError::Value("lack of an owner"));
    }
    let purpose = match m.purpose() {
        wire::Purpose::Control => Some(Purpose::Control),
        wire::Purpose::Bulk => Some(Purpose::Bulk),
        wire::Purpose::Lookup => Some(Purpose::Lookup),
        wire::Purpose::Unspecified => None,
    };
    Ok(Message::Open {
        protocol: m.protocol,
        share: ShareId::from_slice(&m.share)?,
        proof: Proof::from_slice(&m.proof)?,
        proof_kind,
        owner,
        purpose: purpose.filter(|_| known),
    })
}

/// Returns what a stream is for, for the wire.
pub(crate) const fn purpose_to_wire(purpose: Option<Purpose>) -> wire::Purpose {
    match purpose {
        Some(Purpose::Control) => wire::Purpose::Control,
        Some(Purpose::Bulk) => wire::Purpose::Bulk,
        Some(Purpose::Lookup) => wire::Purpose::Lookup,
        None => wire::Purpose::Unspecified,
    }
}

/// Holders of a kind that this build does not know are left out: it could not ask them.
fn parse_elsewhere(m: wire::Elsewhere) -> Result<Message, MessageError> {
    if m.holders.len() > MAX_HOLDERS {
        return Err(MessageError::Value("number of holders"));
    }
    let proof = if m.proof.is_empty() {
        None
    } else {
        Some(Proof::from_slice(&m.proof)?)
    };
    let mut holders = Vec::with_capacity(m.holders.len());
    for holder in m.holders {
        let kind = match holder.kind() {
            wire::HolderKind::Device => HolderKind::Device,
            wire::HolderKind::Store => HolderKind::Store,
            wire::HolderKind::Unspecified => continue,
        };
        let address = RelayAddress::parse(holder.address.ok_or(MessageError::Malformed)?)?;
        holders.push(Holder { kind, address });
    }
    Ok(Message::Elsewhere { proof, holders })
}

fn holder_to_wire(holder: &Holder) -> wire::HolderAddress {
    let kind = match holder.kind {
        HolderKind::Device => wire::HolderKind::Device,
        HolderKind::Store => wire::HolderKind::Store,
    };
    wire::HolderAddress {
        kind: kind.into(),
        address: Some(holder.address.to_wire()),
    }
}

fn parse_opened(m: wire::Opened) -> Result<Opened, MessageError> {
    Ok(Opened {
        proof: Proof::from_slice(&m.proof)?,
        head: UncheckedHead::from_wire(m.head.ok_or(MessageError::Malformed)?),
        device_name: DeviceName::clean(&m.device_name),
        tcp_port: match m.tcp_port {
            0 => None,
            port => Some(u16::try_from(port).map_err(|_| MessageError::Value("TCP port"))?),
        },
    })
}

/// A refusal of a kind that this build does not know is taken as "not found": there is nothing to
/// get here.
fn parse_refusal(m: &wire::Refused) -> Refusal {
    match m.code() {
        wire::RefusalCode::Protocol => Refusal::Protocol,
        wire::RefusalCode::Busy => Refusal::Busy(m.retry_after_ms),
        wire::RefusalCode::Gone => Refusal::Gone,
        wire::RefusalCode::NotFound | wire::RefusalCode::Unspecified => Refusal::NotFound,
    }
}

fn refusal_to_wire(refusal: Refusal) -> wire::Refused {
    let (code, retry_after_ms) = match refusal {
        Refusal::NotFound => (wire::RefusalCode::NotFound, 0),
        Refusal::Protocol => (wire::RefusalCode::Protocol, 0),
        Refusal::Busy(ms) => (wire::RefusalCode::Busy, ms),
        Refusal::Gone => (wire::RefusalCode::Gone, 0),
    };
    wire::Refused {
        code: code.into(),
        retry_after_ms,
    }
}

fn parse_claims(m: &wire::Claims) -> Result<Claims, MessageError> {
    if m.active.len() + m.tentative.len() > MAX_CLAIMS {
        return Err(MessageError::Value("number of claims"));
    }
    let (active, tentative) = (Ranges::parse(&m.active)?, Ranges::parse(&m.tentative)?);
    let claims = !active.is_empty() || !tentative.is_empty();
    if claims && !m.fetching {
        return Err(MessageError::Value("claim of who does not fetch"));
    }
    Ok(Claims {
        version: m.version,
        fetching: m.fetching,
        active,
        tentative,
    })
}

fn parse_terms(m: wire::Terms) -> Result<Terms, MessageError> {
    let price = Price::from_nanos(m.price).ok_or(MessageError::Value("price"))?;
    Ok(Terms {
        price,
        reluctant: m.reluctant,
    })
}

fn parse_progress(m: wire::Progress) -> Result<Progress, MessageError> {
    if m.bytes > MAX_SHARE {
        return Err(MessageError::Value("number of bytes"));
    }
    Ok(Progress {
        version: m.version,
        bytes: m.bytes,
        complete: m.complete,
    })
}

fn parse_want(m: &wire::Want) -> Result<Want, MessageError> {
    let space = parse_space(m.space())?;
    let ranges = Ranges::parse(&m.ranges)?;
    if ranges.total() > u64::from(MAX_WANT) {
        return Err(MessageError::Value("number of wanted positions"));
    }
    Ok(Want {
        request: m.request,
        space,
        version: m.version,
        ranges,
    })
}

/// An empty token is a no, and lives for no time.
fn parse_chunk_token(m: &wire::ChunkToken) -> Result<Message, MessageError> {
    let token = match m.token.is_empty() {
        true => None,
        false => Some(ChunkToken::from_slice(&m.token)?),
    };
    if m.lives_ms > MAX_CHUNK_TOKEN_MS || token.is_none() && m.lives_ms > 0 {
        return Err(MessageError::Value("life of a token"));
    }
    Ok(Message::ChunkToken {
        token,
        lives_ms: m.lives_ms,
    })
}

/// What is numbered, from the wire.
pub(crate) fn parse_space(space: wire::Space) -> Result<Space, MessageError> {
    match space {
        wire::Space::Root => Ok(Space::Root),
        wire::Space::Manifest => Ok(Space::Manifest),
        wire::Space::Data => Ok(Space::Data),
        wire::Space::Unspecified => Err(MessageError::Value("space")),
    }
}

/// What is numbered, for the wire.
pub(crate) fn space_to_wire(space: Space) -> wire::Space {
    match space {
        Space::Root => wire::Space::Root,
        Space::Manifest => wire::Space::Manifest,
        Space::Data => wire::Space::Data,
    }
}

fn parse_chunk(m: &wire::Chunk) -> Result<Message, MessageError> {
    const LONGEST: u32 = if MAX_CHUNK + CHUNK_TAG > MAX_ROOT {
        MAX_CHUNK + CHUNK_TAG
    } else {
        MAX_ROOT
    };
    if m.length <= CHUNK_TAG || m.length > LONGEST {
        return Err(MessageError::Value("chunk length"));
    }
    Ok(Message::Chunk {
        request: m.request,
        position: m.position,
        length: m.length,
    })
}

#[cfg(test)]
mod tests;
