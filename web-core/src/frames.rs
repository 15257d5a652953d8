//! Frames out of bytes that come in pieces of any size.
//!
//! Invariants: a frame's length is compared with the bound before its bytes are waited for; bytes
//! behind the frame that was asked for stay for whoever reads next.

use hither_proto::limits::{CHUNK_TAG, MAX_CHUNK, MAX_FRAME_UNPROVEN};
use hither_proto::{
    FRAME_PREFIX, FrameError, Message, MessageError, RelayMessage, decode_frame,
    decode_relay_frame, frame_length,
};

/// Bytes in front that were read already and are kept until moving the rest is worth it.
const KEPT: usize = 256 * 1024;

/// Reasons why a stream is of no use any more.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum FramesError {
    #[error(transparent)]
    TooLong(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("a chunk claims an impossible length")]
    Chunk,
}

/// Messages and chunks of a stream of the link protocol.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    Message(Message),
    /// A chunk with its bytes.
    Chunk {
        request: u64,
        position: u32,
        sealed: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Header {
    request: u64,
    position: u32,
    length: usize,
}

/// Cuts bytes into frames and payloads.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    at: usize,
    max: usize,
    chunk: Option<Header>,
}

impl Frames {
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            max: MAX_FRAME_UNPROVEN,
            chunk: None,
        }
    }

    /// Accepts frames of at most `max` bytes from the next one on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// True while the bytes of a chunk are coming.
    pub const fn is_in_chunk(&self) -> bool {
        self.chunk.is_some()
    }

    /// Takes the bytes that are left, for the next reader.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        (self.bytes, self.at) = (Vec::new(), 0);
        rest
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        if self.at >= self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        } else if self.at > KEPT {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
    }

    /// The next frame's bytes, when they are all there.
    fn frame(&mut self) -> Result<Option<std::ops::Range<usize>>, FramesError> {
        let Some(prefix) = self.rest().first_chunk::<FRAME_PREFIX>() else {
            return Ok(None);
        };
        let length = frame_length(*prefix, self.max)?;
        let start = self.at + FRAME_PREFIX;
        let range = start..start + length;
        Ok((range.end <= self.bytes.len()).then_some(range))
    }

    /// The next message or chunk, when it is all there. Messages of a later version are skipped.
    pub fn next(&mut self) -> Result<Option<Item>, FramesError> {
        loop {
            if let Some(Header {
                request,
                position,
                length,
            }) = self.chunk
            {
                let Some(sealed) = self.rest().get(..length).map(<[u8]>::to_vec) else {
                    return Ok(None);
                };
                self.chunk = None;
                self.consume(length);
                return Ok(Some(Item::Chunk {
                    request,
                    position,
                    sealed,
                }));
            }
            let Some(range) = self.frame()? else {
                return Ok(None);
            };
            let count = FRAME_PREFIX + range.len();
            let message = decode_frame(self.bytes.get(range).unwrap_or_default())?;
            self.consume(count);
            match message {
                None => {}
                Some(Message::Chunk {
                    request,
                    position,
                    length,
                }) => {
                    if !(1..=MAX_CHUNK + CHUNK_TAG).contains(&length) {
                        return Err(FramesError::Chunk);
                    }
                    let length = length as usize;
                    self.chunk = Some(Header {
                        request,
                        position,
                        length,
                    });
                }
                Some(message) => return Ok(Some(Item::Message(message))),
            }
        }
    }

    /// The next message of the relay protocol, when it is all there.
    pub fn next_of_relay(&mut self) -> Result<Option<RelayMessage>, FramesError> {
        loop {
            let Some(range) = self.frame()? else {
                return Ok(None);
            };
            let count = FRAME_PREFIX + range.len();
            let message = decode_relay_frame(self.bytes.get(range).unwrap_or_default())?;
            self.consume(count);
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::encode_frame;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(sizes in prop::collection::vec(1usize..50, 1..30)) {
            let ping = Message::Ping { nonce: 7 };
            let payload: Vec<u8> = (0..200).collect();
            let chunk = Message::Chunk { request: 3, position: 4, length: 200 };
            let unknown = vec![0, 0, 0, 3, 0xba, 0x03, 0x00]; // a body with field number 55, empty
            let bytes = [encode_frame(&ping), unknown, encode_frame(&chunk), payload.clone(), encode_frame(&ping)].concat();
            let (mut frames, mut items, mut rest) = (Frames::new(), Vec::new(), &bytes[..]);
            for size in sizes.into_iter().cycle() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                frames.push(piece);
                while let Some(item) = frames.next().unwrap() {
                    items.push(item);
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(items, vec![
                Item::Message(ping.clone()),
                Item::Chunk { request: 3, position: 4, sealed: payload },
                Item::Message(ping),
            ]);
        }

        #[test]
        fn garbage_is_an_error_or_waits(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut frames = Frames::new();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.next() {}
            let mut frames = Frames::new();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.next_of_relay() {}
        }
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused_before_it_has_come() {
        let mut frames = Frames::new();
        frames.push(&[0, 0, 4, 1]);
        assert!(matches!(frames.next(), Err(FramesError::TooLong(_))));
    }
}
