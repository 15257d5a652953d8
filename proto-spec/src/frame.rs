//! Framing: a 4-byte big-endian length, then one protobuf `Frame` (or, on a stream to a relay after
//! its first frame, `RelayFrame`).
//!
//! Invariant: a length is checked against the caller's bound before anything is read or allocated
//! for it.

use crate::message::{Message, MessageError};
use crate::relay::RelayMessage;
use crate::wire;
use prost::Message as _;

/// Bytes of the length that stands before every frame.
pub const FRAME_PREFIX: usize = 4;

/// A frame longer than the reader accepts at this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes, where at most {max} are accepted")]
pub struct FrameError {
    /// Length claimed, bytes.
    pub length: usize,
    /// Bound in force, bytes.
    pub max: usize,
}

/// Length of the frame that follows `prefix`; fails beyond `max`.
pub fn frame_length(prefix: [u8; FRAME_PREFIX], max: usize) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > max {
        Err(FrameError { length, max })
    } else {
        Ok(length)
    }
}

/// The message as it goes over the wire, its length in front.
pub fn encode_frame(message: &Message) -> Vec<u8> {
    with_length(&wire::Frame {
        body: Some(message.to_wire()),
    })
}

/// The same for a message between a device and a relay.
pub fn encode_relay_frame(message: &RelayMessage) -> Vec<u8> {
    with_length(&wire::RelayFrame {
        body: Some(message.to_wire()),
    })
}

fn with_length(frame: &impl prost::Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_PREFIX + frame.encoded_len());
    out.extend_from_slice(&(frame.encoded_len() as u32).to_be_bytes());
    // A vector takes any length, so this cannot fail.
    let _ = frame.encode(&mut out);
    out
}

/// Parses one frame (without its length). `None` is a message of a later protocol version, to be
/// skipped.
pub fn decode_frame(bytes: &[u8]) -> Result<Option<Message>, MessageError> {
    let frame = wire::Frame::decode(bytes).map_err(|_| MessageError::Malformed)?;
    frame.body.map(Message::parse).transpose()
}

/// The same for a frame between a device and a relay.
pub fn decode_relay_frame(bytes: &[u8]) -> Result<Option<RelayMessage>, MessageError> {
    let frame = wire::RelayFrame::decode(bytes).map_err(|_| MessageError::Malformed)?;
    frame.body.map(RelayMessage::parse).transpose()
}
