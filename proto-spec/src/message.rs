//! What devices say to each other on a stream, as types that can only hold what passed the checks.

use crate::device::DeviceName;
use crate::head::UncheckedHead;
use crate::ids::{IdError, ShareId};
use crate::limits::{CHUNK_TAG, MAX_CHUNK, MAX_ROOT, MAX_WANT};
use crate::proof::Proof;
use crate::range::{RangeError, Ranges};
use crate::wire;
use crate::wire::frame::Body;

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not protobuf of this type.
    #[error("a message is malformed")]
    Malformed,
    /// An id, proof or key of the wrong length.
    #[error("a message is malformed: {0}")]
    Field(#[from] IdError),
    /// Ranges beyond their bounds.
    #[error("a message is malformed: {0}")]
    Range(#[from] RangeError),
    /// A value that cannot be.
    #[error("a message has an impossible {0}")]
    Value(&'static str),
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Announcements and heads, both ways.
    Control,
    /// Wants one way, chunks the other.
    Bulk,
}

/// What is numbered by positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The encrypted root, one position.
    Root,
    /// The manifest's chunks.
    Manifest,
    /// The chunks of the files.
    Data,
}

/// Answer to an open whose proof holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The acceptor's proof that it knows the secret too.
    pub proof: Proof,
    /// Latest head known there, to be checked by the reader.
    pub head: UncheckedHead,
    /// What the device calls itself.
    pub device_name: DeviceName,
    /// TCP port of its bulk carrier.
    pub tcp_port: Option<u16>,
}

/// Why an open was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not held there, or the proof was wrong: the same answer on purpose.
    NotFound,
    /// The protocol version or purpose is not spoken there.
    Protocol,
    /// Too busy now; ask again after that many milliseconds.
    Busy(u32),
    /// The share ended or was withdrawn by its owner.
    Gone,
}

/// Everything that the sender holds of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The version spoken of.
    pub version: u64,
    /// Changes when the sender starts counting anew.
    pub epoch: u64,
    /// Number of this announcement within the epoch; deltas count on from it.
    pub seq: u64,
    /// All data chunks are held.
    pub complete: bool,
    /// Data positions held, when not complete.
    pub held: Ranges,
    /// Root and manifest can be served.
    pub has_manifest: bool,
}

/// What changed since the announcement or delta before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The version spoken of.
    pub version: u64,
    /// Epoch of the announcement that this continues.
    pub epoch: u64,
    /// One more than the number before.
    pub seq: u64,
    /// Positions now held.
    pub added: Ranges,
    /// Positions no longer held.
    pub removed: Ranges,
}

/// A request for chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Chosen by the asker, unique on its stream.
    pub request: u64,
    /// What the positions count.
    pub space: Space,
    /// The version they belong to.
    pub version: u64,
    /// Served in this order; at most [`MAX_WANT`] positions.
    pub ranges: Ranges,
}

/// One message on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// First message on a stream, from the side that opened it.
    Open {
        /// Protocol version spoken.
        protocol: u32,
        /// The share that the stream is about.
        share: ShareId,
        /// Proof of its secret.
        proof: Proof,
        /// What the stream is for; `None`: something of a later version.
        purpose: Option<Purpose>,
    },
    /// The open is granted.
    Opened(Box<Opened>),
    /// The open is refused.
    Refused(Refusal),
    /// Replaces what was announced before.
    Announce(Announcement),
    /// Changes what was announced before.
    HaveDelta(Delta),
    /// Asks for chunks.
    Want(Want),
    /// Takes a request back; what was sent already may still arrive.
    Cancel {
        /// The request.
        request: u64,
    },
    /// Header of one chunk; `length` bytes of ciphertext follow the frame.
    Chunk {
        /// The request it answers.
        request: u64,
        /// Its position in the request's space.
        position: u32,
        /// Length of the ciphertext, bytes.
        length: u32,
    },
    /// All of a request has been sent.
    Served {
        /// The request.
        request: u64,
    },
    /// The request was not taken; ask again later.
    Busy {
        /// The request.
        request: u64,
        /// After how many milliseconds.
        retry_after_ms: u32,
    },
    /// Some of a request is not held (any more).
    NotHeld {
        /// The request.
        request: u64,
        /// Which of its positions.
        ranges: Ranges,
    },
    /// The share has a new version.
    NewHead(UncheckedHead),
    /// Are you there?
    Ping {
        /// Comes back in the pong.
        nonce: u64,
    },
    /// I am.
    Pong {
        /// The ping's.
        nonce: u64,
    },
}

impl Message {
    pub(crate) fn parse(body: Body) -> Result<Self, MessageError> {
        Ok(match body {
            Body::Open(m) => Self::Open {
                protocol: m.protocol,
                share: ShareId::from_slice(&m.share)?,
                proof: Proof::from_slice(&m.proof)?,
                purpose: match m.purpose() {
                    wire::Purpose::Control => Some(Purpose::Control),
                    wire::Purpose::Bulk => Some(Purpose::Bulk),
                    wire::Purpose::Unspecified => None,
                },
            },
            Body::Opened(m) => Self::Opened(Box::new(parse_opened(m)?)),
            Body::Refused(m) => Self::Refused(parse_refusal(&m)),
            Body::Announce(m) => Self::Announce(Announcement {
                version: m.version,
                epoch: m.epoch,
                seq: m.seq,
                complete: m.complete,
                held: Ranges::parse(&m.held)?,
                has_manifest: m.has_manifest,
            }),
            Body::HaveDelta(m) => Self::HaveDelta(Delta {
                version: m.version,
                epoch: m.epoch,
                seq: m.seq,
                added: Ranges::parse(&m.added)?,
                removed: Ranges::parse(&m.removed)?,
            }),
            Body::Want(m) => Self::Want(parse_want(&m)?),
            Body::Cancel(m) => Self::Cancel { request: m.request },
            Body::Chunk(m) => parse_chunk(&m)?,
            Body::Served(m) => Self::Served { request: m.request },
            Body::Busy(m) => Self::Busy { request: m.request, retry_after_ms: m.retry_after_ms },
            Body::NotHeld(m) => Self::NotHeld { request: m.request, ranges: Ranges::parse(&m.ranges)? },
            Body::NewHead(m) => {
                Self::NewHead(UncheckedHead::from_wire(m.head.ok_or(MessageError::Malformed)?))
            }
            Body::Ping(m) => Self::Ping { nonce: m.nonce },
            Body::Pong(m) => Self::Pong { nonce: m.nonce },
        })
    }

    pub(crate) fn to_wire(&self) -> Body {
        match self {
            Self::Open { protocol, share, proof, purpose } => Body::Open(wire::Open {
                protocol: *protocol,
                share: share.as_bytes().to_vec().into(),
                proof: proof.as_bytes().to_vec().into(),
                purpose: match purpose {
                    Some(Purpose::Control) => wire::Purpose::Control,
                    Some(Purpose::Bulk) => wire::Purpose::Bulk,
                    None => wire::Purpose::Unspecified,
                }
                .into(),
            }),
            Self::Opened(m) => Body::Opened(wire::Opened {
                proof: m.proof.as_bytes().to_vec().into(),
                head: Some(m.head.to_wire()),
                device_name: m.device_name.as_str().to_owned(),
                tcp_port: m.tcp_port.map_or(0, u32::from),
            }),
            Self::Refused(refusal) => Body::Refused(refusal_to_wire(*refusal)),
            Self::Announce(m) => Body::Announce(wire::Announce {
                version: m.version,
                epoch: m.epoch,
                seq: m.seq,
                complete: m.complete,
                held: m.held.to_wire(),
                has_manifest: m.has_manifest,
            }),
            Self::HaveDelta(m) => Body::HaveDelta(wire::HaveDelta {
                version: m.version,
                epoch: m.epoch,
                seq: m.seq,
                added: m.added.to_wire(),
                removed: m.removed.to_wire(),
            }),
            Self::Want(m) => Body::Want(wire::Want {
                request: m.request,
                space: space_to_wire(m.space).into(),
                version: m.version,
                ranges: m.ranges.to_wire(),
            }),
            Self::Cancel { request } => Body::Cancel(wire::Cancel { request: *request }),
            Self::Chunk { request, position, length } => {
                Body::Chunk(wire::Chunk { request: *request, position: *position, length: *length })
            }
            Self::Served { request } => Body::Served(wire::Served { request: *request }),
            Self::Busy { request, retry_after_ms } => {
                Body::Busy(wire::Busy { request: *request, retry_after_ms: *retry_after_ms })
            }
            Self::NotHeld { request, ranges } => {
                Body::NotHeld(wire::NotHeld { request: *request, ranges: ranges.to_wire() })
            }
            Self::NewHead(head) => Body::NewHead(wire::NewHead { head: Some(head.to_wire()) }),
            Self::Ping { nonce } => Body::Ping(wire::Ping { nonce: *nonce }),
            Self::Pong { nonce } => Body::Pong(wire::Pong { nonce: *nonce }),
        }
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

/// A refusal of a kind that this build does not know is taken as "not found": there is nothing to get here.
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
    wire::Refused { code: code.into(), retry_after_ms }
}

fn parse_want(m: &wire::Want) -> Result<Want, MessageError> {
    let space = match m.space() {
        wire::Space::Root => Space::Root,
        wire::Space::Manifest => Space::Manifest,
        wire::Space::Data => Space::Data,
        wire::Space::Unspecified => return Err(MessageError::Value("space")),
    };
    let ranges = Ranges::parse(&m.ranges)?;
    if ranges.total() > u64::from(MAX_WANT) {
        return Err(MessageError::Value("number of wanted positions"));
    }
    Ok(Want { request: m.request, space, version: m.version, ranges })
}

fn space_to_wire(space: Space) -> wire::Space {
    match space {
        Space::Root => wire::Space::Root,
        Space::Manifest => wire::Space::Manifest,
        Space::Data => wire::Space::Data,
    }
}

fn parse_chunk(m: &wire::Chunk) -> Result<Message, MessageError> {
    const LONGEST: u32 = if MAX_CHUNK + CHUNK_TAG > MAX_ROOT { MAX_CHUNK + CHUNK_TAG } else { MAX_ROOT };
    if m.length <= CHUNK_TAG || m.length > LONGEST {
        return Err(MessageError::Value("chunk length"));
    }
    Ok(Message::Chunk { request: m.request, position: m.position, length: m.length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FRAME_PREFIX, decode_frame, encode_frame, frame_length};
    use crate::ids::ShareSecret;
    use crate::proof::Side;
    use proptest::prelude::*;

    fn samples() -> Vec<Message> {
        let proof = Proof::make(&ShareSecret::new([1; 16]), &[2; 32], Side::Opener);
        let ranges: Ranges = [(0, 3), (9, 1)]
            .into_iter()
            .filter_map(|(s, n)| crate::range::PositionRange::new(s, n))
            .collect();
        vec![
            Message::Open {
                protocol: 1,
                share: ShareSecret::new([1; 16]).share_id(),
                proof,
                purpose: Some(Purpose::Bulk),
            },
            Message::Opened(Box::new(Opened {
                proof,
                head: UncheckedHead::default(),
                device_name: DeviceName::clean("laptop"),
                tcp_port: Some(47447),
            })),
            Message::Refused(Refusal::Busy(250)),
            Message::Announce(Announcement {
                version: 1,
                epoch: 2,
                seq: 3,
                complete: false,
                held: ranges.clone(),
                has_manifest: true,
            }),
            Message::HaveDelta(Delta {
                version: 1,
                epoch: 2,
                seq: 4,
                added: ranges.clone(),
                removed: Ranges::default(),
            }),
            Message::Want(Want { request: 1, space: Space::Data, version: 1, ranges: ranges.clone() }),
            Message::Cancel { request: 1 },
            Message::Chunk { request: 1, position: 9, length: 65552 },
            Message::Served { request: 1 },
            Message::Busy { request: 1, retry_after_ms: 100 },
            Message::NotHeld { request: 1, ranges },
            Message::NewHead(UncheckedHead::default()),
            Message::Ping { nonce: 5 },
            Message::Pong { nonce: 5 },
        ]
    }

    #[test]
    fn every_message_round_trips() {
        for message in samples() {
            let bytes = encode_frame(&message);
            let prefix = bytes[..FRAME_PREFIX].try_into().unwrap();
            assert_eq!(frame_length(prefix, 1 << 20), Ok(bytes.len() - FRAME_PREFIX));
            assert_eq!(decode_frame(&bytes[FRAME_PREFIX..]), Ok(Some(message)));
        }
    }

    #[test]
    fn a_message_of_a_later_version_is_skipped() {
        // Field 31, length-delimited, two bytes: no body that this version knows.
        assert_eq!(decode_frame(&[0xfa, 0x01, 0x02, 0x08, 0x01]), Ok(None));
    }

    #[test]
    fn impossible_values_are_refused() {
        let chunk = |length| parse_chunk(&wire::Chunk { request: 1, position: 0, length });
        assert!(chunk(0).is_err() && chunk(16).is_err() && chunk(u32::MAX).is_err() && chunk(17).is_ok());
        let want = |space, count| {
            parse_want(&wire::Want {
                request: 1,
                space,
                version: 1,
                ranges: vec![wire::Range { start: 0, count }],
            })
        };
        assert!(
            want(0, 1).is_err()
                && want(99, 1).is_err()
                && want(3, MAX_WANT + 1).is_err()
                && want(3, 1).is_ok()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_frame(&bytes);
        }

        #[test]
        fn damaged_frames_are_parsed_or_refused_without_panic(which in 0usize..14, at in 0usize..200, xor in 1u8..) {
            let mut bytes = encode_frame(&samples()[which]);
            let at = FRAME_PREFIX + at % (bytes.len() - FRAME_PREFIX);
            bytes[at] ^= xor;
            let _ = decode_frame(&bytes[FRAME_PREFIX..]);
        }
    }
}
