//! Messages on their way to the device: written while the loop goes on reading, so that two sides
//! that both have much to say cannot wait for each other.

use bytes::BytesMut;
use hither_carrier::SendHalf;
use hither_proto::{RelayMessage, encode_relay_frame};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

/// With more than this, bytes, nothing more is read of the device until it has read.
const FULL: usize = 1024 * 1024;

/// Frames not written yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    buffer: BytesMut,
    /// Since when nothing could be written although there was something.
    stuck_since: Option<Instant>,
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn push(&mut self, message: &RelayMessage) {
        let frame = encode_relay_frame(message);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::from(bytes::Bytes::from(frame));
        } else {
            self.buffer.extend_from_slice(&frame);
        }
        self.stuck_since.get_or_insert_with(Instant::now);
    }

    /// Whether there is anything to write.
    pub(super) fn is_waiting(&self) -> bool {
        !self.buffer.is_empty() || self.unflushed
    }

    /// Whether so much waits that nothing should be asked for that makes it more.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Bytes that may still be added before it is full.
    pub(super) fn room(&self) -> usize {
        FULL.saturating_sub(self.buffer.len())
    }

    /// Since when nothing could be written although there was something.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since
    }

    /// Writes some of it. Cancel safe.
    pub(super) async fn write(&mut self, send: &mut SendHalf) -> io::Result<()> {
        if !self.buffer.is_empty() {
            if send.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unflushed = true;
            self.stuck_since = Some(Instant::now());
        }
        if self.buffer.is_empty() {
            send.flush().await?;
            // An idle connection holds no buffer.
            *self = Self::default();
        }
        Ok(())
    }
}
