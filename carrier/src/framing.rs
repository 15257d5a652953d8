//! Frames of the link protocol, and of the relay protocol, on a stream.
//!
//! Invariants: a frame's length is checked against the reader's bound before anything is allocated
//! for it; nothing is read beyond the frame or payload that was asked for, so the bytes behind it
//! belong to whoever reads next.

use crate::stream::{RecvHalf, SendHalf};
use bytes::{BufMut, Bytes, BytesMut};
use hither_proto::{
    FRAME_PREFIX, FrameError, Message, MessageError, RelayMessage, decode_frame,
    decode_relay_frame, encode_frame, encode_relay_frame, frame_length,
};
use std::io;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// The stream broke or ended in the middle of a frame.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// A frame is longer than accepted at this point.
    #[error(transparent)]
    TooLong(#[from] FrameError),
    /// A frame does not hold a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A payload was asked for where none follows.
    #[error("no payload follows here")]
    NoPayload,
}

/// The messages of a [`FrameReader`].
pub trait WireMessage: Sized {
    /// Parses one frame (without its length); `None` is a message of a later version.
    fn decode(frame: &[u8]) -> Result<Option<Self>, MessageError>;

    /// Bytes of payload that follow the message's frame.
    fn payload_length(&self) -> usize;
}

impl WireMessage for Message {
    fn decode(frame: &[u8]) -> Result<Option<Self>, MessageError> {
        decode_frame(frame)
    }

    fn payload_length(&self) -> usize {
        if let Self::Chunk { length, .. } = self {
            *length as usize
        } else {
            0
        }
    }
}

impl WireMessage for RelayMessage {
    fn decode(frame: &[u8]) -> Result<Option<Self>, MessageError> {
        decode_relay_frame(frame)
    }

    fn payload_length(&self) -> usize {
        if let Self::PutChunk { length, .. } = self {
            *length as usize
        } else {
            0
        }
    }
}

/// Sends one message. For a chunk use [`write_chunk_frame`].
pub async fn write_message(send: &mut SendHalf, message: &Message) -> io::Result<()> {
    send.send_bytes(encode_frame(message).into()).await
}

/// Sends a [`Message::Chunk`] and the payload that it announces, or the beginning of it, in one go
/// and without copying the payload on QUIC.
pub async fn write_chunk_frame(
    send: &mut SendHalf,
    header: &Message,
    payload: Bytes,
) -> io::Result<()> {
    debug_assert!(
        matches!(header, Message::Chunk { length, .. } if *length as usize >= payload.len())
    );
    send.send_all(&mut [encode_frame(header).into(), payload])
        .await
}

/// Sends one message between a device and a relay. For a chunk use [`write_put_chunk`].
pub async fn write_relay_message(send: &mut SendHalf, message: &RelayMessage) -> io::Result<()> {
    send.send_bytes(encode_relay_frame(message).into()).await
}

/// Sends a [`RelayMessage::PutChunk`] and the payload that it announces, like
/// [`write_chunk_frame`].
pub async fn write_put_chunk(
    send: &mut SendHalf,
    header: &RelayMessage,
    payload: Bytes,
) -> io::Result<()> {
    debug_assert!(
        matches!(header, RelayMessage::PutChunk { length, .. } if *length as usize == payload.len())
    );
    send.send_all(&mut [encode_relay_frame(header).into(), payload])
        .await
}

/// Bytes of a payload that must arrive within a reader's patience.
const PIECE: usize = 256 * 1024;

/// Reads the messages of the link protocol.
pub type MessageReader = FrameReader<Message>;

/// Reads the messages of the relay protocol.
pub type RelayReader = FrameReader<RelayMessage>;

/// Reads messages, and the payloads of chunks, from a stream.
///
/// Cancel safe: what has arrived stays in the reader when a future of it is dropped, so it can be
/// used in `select!`.
#[derive(Debug)]
pub struct FrameReader<M> {
    max: usize,
    /// The prefix, frame or payload that is being read, as far as it has arrived.
    partial: BytesMut,
    /// Length of the frame that is being read, once its prefix is complete.
    frame: Option<usize>,
    /// Bytes of payload that follow the last message and were not taken yet.
    payload: usize,
    reads: PhantomData<fn() -> M>,
}

impl MessageReader {
    /// Goes on as a reader of the relay protocol, with frames of at most `max` bytes: after
    /// [`Message::RelayOpen`]. Nothing is lost, not even what has arrived of the next frame.
    pub fn into_relay(self, max: usize) -> RelayReader {
        let Self {
            partial,
            frame,
            payload,
            ..
        } = self;
        FrameReader {
            max,
            partial,
            frame,
            payload,
            reads: PhantomData,
        }
    }
}

impl<M: WireMessage> FrameReader<M> {
    /// A reader that accepts frames of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            partial: BytesMut::new(),
            frame: None,
            payload: 0,
            reads: PhantomData,
        }
    }

    /// Accepts frames of at most `max` bytes from the next one on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Bytes that have arrived of the frame or payload that is being read: it grows while a long
    /// one is on its way.
    pub fn arrived(&self) -> usize {
        self.partial.len()
            + if self.frame.is_some() {
                FRAME_PREFIX
            } else {
                0
            }
    }

    /// The next message, or `None` when the stream ended between messages. Messages of a later
    /// protocol version are skipped, and so is the payload of the chunk before if it was not
    /// taken.
    ///
    /// After an error the stream is out of step and of no use any more.
    pub async fn next(&mut self, recv: &mut RecvHalf) -> Result<Option<M>, FramingError> {
        self.next_from(recv).await
    }

    /// The payload of the chunk whose message [`next`](Self::next) has just given.
    pub async fn payload(&mut self, recv: &mut RecvHalf) -> Result<BytesMut, FramingError> {
        self.payload_from(recv).await
    }

    /// The same, appended to a buffer of the caller's that can be reused. Not cancel safe: give the
    /// stream up then.
    ///
    /// Fails with `TimedOut` when less than 256 KiB arrives within `patience`: a link may be thin,
    /// however long a chunk is.
    pub async fn payload_into(
        &mut self,
        recv: &mut RecvHalf,
        buffer: &mut Vec<u8>,
        patience: Duration,
    ) -> Result<(), FramingError> {
        if self.payload == 0 {
            return Err(FramingError::NoPayload);
        }
        let mut missing = std::mem::take(&mut self.payload);
        buffer.reserve(missing);
        while missing > 0 {
            let piece = async {
                let until = missing.saturating_sub(PIECE);
                while missing > until {
                    match recv.read_buf(&mut (&mut *buffer).limit(missing)).await? {
                        0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                        read => missing -= read,
                    }
                }
                Ok(())
            };
            timeout(patience, piece)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    }

    /// The same into a buffer that has just the payload's length; another length is
    /// [`FramingError::NoPayload`].
    pub async fn payload_to(
        &mut self,
        recv: &mut RecvHalf,
        buffer: &mut [u8],
    ) -> Result<(), FramingError> {
        if self.payload == 0 || self.payload != buffer.len() {
            return Err(FramingError::NoPayload);
        }
        self.payload = 0;
        recv.read_exact(buffer).await?;
        Ok(())
    }

    async fn next_from<R: AsyncRead + Unpin>(
        &mut self,
        recv: &mut R,
    ) -> Result<Option<M>, FramingError> {
        self.skip_payload(recv).await?;
        loop {
            let length = match self.frame {
                Some(length) => length,
                None => {
                    if !fill(recv, &mut self.partial, FRAME_PREFIX).await? {
                        return Ok(None);
                    }
                    let mut prefix = [0; FRAME_PREFIX];
                    prefix.copy_from_slice(&self.partial);
                    let length = frame_length(prefix, self.max)?;
                    self.partial.clear();
                    self.frame = Some(length);
                    length
                }
            };
            if length > 0 && !fill(recv, &mut self.partial, length).await? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let message = M::decode(&self.partial);
            self.partial.clear();
            self.frame = None;
            if let Some(message) = message? {
                self.payload = message.payload_length();
                return Ok(Some(message));
            }
        }
    }

    async fn payload_from<R: AsyncRead + Unpin>(
        &mut self,
        recv: &mut R,
    ) -> Result<BytesMut, FramingError> {
        if self.payload == 0 {
            return Err(FramingError::NoPayload);
        }
        // A buffer of the payload's own, not the one that frames are read into: it leaves with the
        // payload.
        if self.partial.is_empty() {
            self.partial = BytesMut::with_capacity(self.payload);
        }
        if !fill(recv, &mut self.partial, self.payload).await? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.payload = 0;
        Ok(std::mem::take(&mut self.partial))
    }

    /// Reads and drops what is left of a payload that was not taken.
    async fn skip_payload<R: AsyncRead + Unpin>(
        &mut self,
        recv: &mut R,
    ) -> Result<(), FramingError> {
        const PIECE: usize = 64 * 1024;
        if self.payload > 0 {
            self.payload -= self.partial.len(); // the part that was read before `payload` was given up
            self.partial.clear();
        }
        while self.payload > 0 {
            self.partial.reserve(PIECE);
            let limit = self.payload.min(PIECE);
            let read = recv.read_buf(&mut (&mut self.partial).limit(limit)).await?;
            self.partial.clear();
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.payload -= read;
        }
        Ok(())
    }
}

/// Reads until `buffer` holds `length` bytes; `false` if the stream ended before the first of them.
async fn fill<R: AsyncRead + Unpin>(
    recv: &mut R,
    buffer: &mut BytesMut,
    length: usize,
) -> io::Result<bool> {
    while buffer.len() < length {
        let missing = length - buffer.len();
        buffer.reserve(missing);
        if recv.read_buf(&mut (&mut *buffer).limit(missing)).await? == 0 {
            return if buffer.is_empty() {
                Ok(false)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use hither_proto::{RelayPurpose, Space};
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// Gives its pieces one by one, and is not ready between any two of them.
    struct Trickle(VecDeque<Vec<u8>>, bool);

    impl Trickle {
        fn new(bytes: &[u8], sizes: &[usize]) -> Self {
            let mut rest = bytes;
            let mut pieces = VecDeque::new();
            let mut sizes = sizes.iter().copied().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
                pieces.push_back(piece.to_vec());
                rest = after;
            }
            Self(pieces, false)
        }
    }

    impl AsyncRead for Trickle {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            to: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 = !self.1;
            if self.1 {
                return Poll::Pending; // nobody wakes: the test gives the future up and begins a new one
            }
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(to.remaining()));
                to.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Calls until ready, with a new future each time: what `select!` does at worst.
    macro_rules! impatiently {
        ($call:expr) => {
            loop {
                if let Some(result) = $call.now_or_never() {
                    break result;
                }
            }
        };
    }

    fn chunk(payload: &[u8]) -> Vec<u8> {
        let header = Message::Chunk {
            request: 1,
            position: 2,
            length: payload.len() as u32,
        };
        [encode_frame(&header), payload.to_vec()].concat()
    }

    proptest! {
        #[test]
        fn messages_survive_any_split_and_any_cancellation(sizes in prop::collection::vec(1usize..40, 1..20), take: bool) {
            let ping = Message::Ping { nonce: 7 };
            let payload: Vec<u8> = (0..100).collect();
            let unknown = [0, 0, 0, 3, 0xba, 0x03, 0x00]; // a body with field number 55, empty
            let bytes = [encode_frame(&ping), unknown.to_vec(), chunk(&payload), encode_frame(&ping)].concat();
            let mut from = Trickle::new(&bytes, &sizes);
            let mut reader = MessageReader::new(1024);
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), Some(ping.clone()));
            let header = impatiently!(reader.next_from(&mut from)).unwrap();
            let is_chunk = matches!(header, Some(Message::Chunk { length: 100, .. }));
            prop_assert!(is_chunk);
            if take {
                prop_assert_eq!(&impatiently!(reader.payload_from(&mut from)).unwrap()[..], &payload[..]);
            } else {
                let _ = reader.payload_from(&mut from).now_or_never(); // taken in part, then given up
            }
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), Some(ping));
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), None);
        }

        #[test]
        fn a_stream_to_a_relay_survives_any_split_and_any_cancellation(
            sizes in prop::collection::vec(1usize..40, 1..20),
            take: bool,
            hurry: bool,
        ) {
            let open = Message::RelayOpen { protocol: 1, purpose: Some(RelayPurpose::Upload) };
            let ping = RelayMessage::Ping { nonce: 7 };
            let payload: Vec<u8> = (0..100).collect();
            let header = RelayMessage::PutChunk { space: Space::Data, position: 2, length: 100 };
            let unknown = [0, 0, 0, 4, 0xc2, 0x3e, 0x01, 0x00]; // a body with field number 1000
            let bytes = [
                encode_frame(&open),
                encode_relay_frame(&ping),
                unknown.to_vec(),
                encode_relay_frame(&header),
                payload.clone(),
                encode_relay_frame(&RelayMessage::PutEnd),
            ]
            .concat();
            let mut from = Trickle::new(&bytes, &sizes);
            let mut reader = MessageReader::new(1024);
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), Some(open));
            if hurry {
                // Part of the next frame may have arrived when the reader changes its protocol.
                let _ = fill(&mut from, &mut reader.partial, 3).now_or_never();
                let _ = fill(&mut from, &mut reader.partial, 3).now_or_never();
            }
            let mut reader = reader.into_relay(2048);
            prop_assert_eq!(reader.max, 2048);
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), Some(ping));
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), Some(header));
            if take {
                prop_assert_eq!(&impatiently!(reader.payload_from(&mut from)).unwrap()[..], &payload[..]);
            } else {
                let _ = reader.payload_from(&mut from).now_or_never(); // taken in part, then given up
            }
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), Some(RelayMessage::PutEnd));
            prop_assert_eq!(impatiently!(reader.next_from(&mut from)).unwrap(), None);
        }

        #[test]
        fn garbage_is_an_error_or_an_end_and_never_a_large_buffer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut from = Trickle::new(&bytes, &[7]);
            let mut reader = MessageReader::new(1024);
            while let Ok(Some(_)) = impatiently!(reader.next_from(&mut from)) {}
            prop_assert!(reader.partial.capacity() <= 64 * 1024);
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_read() {
        let mut reader = MessageReader::new(10);
        let mut from = Trickle::new(&[0xff; 8], &[8]);
        let result = impatiently!(reader.next_from(&mut from));
        assert!(matches!(
            result,
            Err(FramingError::TooLong(FrameError {
                length: 0xffff_ffff,
                max: 10
            }))
        ));
        let mut reader = MessageReader::new(10);
        reader.set_max(20);
        let mut from = Trickle::new(&[0, 0, 0, 21], &[4]);
        assert!(matches!(
            impatiently!(reader.next_from(&mut from)),
            Err(FramingError::TooLong(_))
        ));
    }

    #[test]
    fn ends_in_the_middle_are_errors_and_payloads_need_a_chunk() {
        let whole = chunk(b"a payload longer than the tag of sixteen bytes");
        for cut in 1..whole.len() {
            let mut from = Trickle::new(&whole[..cut], &[5]);
            let mut reader = MessageReader::new(1024);
            let result = match impatiently!(reader.next_from(&mut from)) {
                Ok(Some(_)) => impatiently!(reader.payload_from(&mut from)).map(drop),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            assert!(matches!(result, Err(FramingError::Io(_))), "{cut}");
        }
        let mut reader = MessageReader::new(1024);
        let result = impatiently!(reader.payload_from(&mut Trickle::new(&[], &[])));
        assert!(matches!(result, Err(FramingError::NoPayload)));
    }
}
