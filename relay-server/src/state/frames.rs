//! Frames on a stream between nodes: four bytes of length, big-endian, then a [`NodeFrame`].

use super::wire::proto::{NodeFrame, node_frame::Body};
use bytes::{Buf, BufMut, BytesMut};
use prost::Message;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Longest frame, bytes: a page or a read at its bound, with room to spare.
pub(super) const MAX_FRAME: usize = 8 * 1024 * 1024;
/// Frames that wait for the stream; whoever makes more of them waits.
pub(super) const QUEUE: usize = 1024;
/// Bytes encoded at a time before they are written.
const WRITE_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// A frame on its way out.
pub(super) struct Outgoing {
    pub frame: NodeFrame,
    /// Given back when the frame was encoded: what bounds the memory of large answers.
    pub held: Option<OwnedSemaphorePermit>,
}

impl Outgoing {
    pub(super) fn new(id: u64, body: Body) -> Self {
        Self {
            frame: NodeFrame {
                id,
                body: Some(body),
            },
            held: None,
        }
    }
}

/// Reads frames. [`Self::next`] may be dropped and called again without losing anything.
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(READ_BYTES),
        }
    }

    /// The next frame; `None` at the end of the stream, which may come between frames only.
    pub(super) async fn next(&mut self) -> io::Result<Option<NodeFrame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<NodeFrame>> {
        let Some(length) = self.buffer.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(invalid("a frame is too long"));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let frame = self.buffer.split_to(length).freeze();
        NodeFrame::decode(frame)
            .map(Some)
            .map_err(|_| invalid("not a frame"))
    }
}

/// Writes frames until there are no senders any more or the stream fails. Frames that wait together
/// are written together.
pub(super) async fn write_frames<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut frames: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(first) = frames.recv().await {
        put(&mut buffer, first)?;
        while buffer.len() < WRITE_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            put(&mut buffer, frame)?;
        }
        stream.write_all(&buffer).await?;
        stream.flush().await?;
        buffer.clear();
    }
    stream.shutdown().await
}

fn put(buffer: &mut BytesMut, outgoing: Outgoing) -> io::Result<()> {
    let Outgoing { frame, held } = outgoing;
    let length = frame.encoded_len();
    if length > MAX_FRAME {
        return Err(invalid("a frame is too long"));
    }
    buffer.reserve(4 + length);
    buffer.put_u32(u32::try_from(length).map_err(|_| invalid("a frame is too long"))?);
    frame
        .encode(buffer)
        .map_err(|_| invalid("a frame is too long"))?;
    drop(held);
    Ok(())
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::super::wire::proto::Nothing;
    use super::*;

    #[tokio::test]
    async fn frames_come_through_in_pieces() {
        let (near, far) = tokio::io::duplex(3);
        let (send, frames) = mpsc::channel(4);
        tokio::spawn(write_frames(near, frames));
        let mut reader = FrameReader::new(far);
        for id in 0..3 {
            send.send(Outgoing::new(id, Body::Stop(Nothing {})))
                .await
                .unwrap();
        }
        drop(send);
        for id in 0..3 {
            assert_eq!(reader.next().await.unwrap().unwrap().id, id);
        }
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn refuses_what_is_no_frame() {
        for bytes in [
            &[0xff, 0, 0, 0][..],
            &[0, 0, 0, 2, 0xff, 0xff],
            &[0, 0, 0, 2, 0],
        ] {
            FrameReader::new(bytes).next().await.unwrap_err();
        }
    }
}
