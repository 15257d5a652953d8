//! One stream of the relay protocol, over a byte pipe of its own.
//!
//! Invariant: nothing is said, and nothing that comes counts, before TLS has proven that the
//! expected relay is at the other end.

use crate::context::Context;
use crate::frames::Frames;
use crate::wire::{Wire, WireError};
use hither_engine::Time;
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    DeviceId, Message, RelayMessage, RelayPurpose, encode_frame, encode_relay_frame,
};

/// A stream to a relay's node.
pub(super) struct Stream {
    pub(super) pipe: u32,
    wire: Wire,
    frames: Frames,
    open: bool,
    /// When something came last, and when something was said.
    pub(super) heard: Time,
    pub(super) said: Time,
}

/// The outcome of bytes of the pipe.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// The relay is proven since now: the first message may be said.
    pub opened: bool,
    pub messages: Vec<RelayMessage>,
    pub ended: bool,
}

impl Stream {
    /// Opens a pipe to a relay; `None`: the page reaches no such relay.
    pub(super) fn open(relay: DeviceId, context: &mut Context<'_>) -> Option<Self> {
        let endpoint = context.endpoint_of(relay)?;
        let wire = Wire::to_relay(context.identity, relay).ok()?;
        let mut frames = Frames::new();
        // The speaker is the relay, or nobody: TLS sees to it.
        frames.set_max(MAX_RELAY_FRAME);
        let pipe = context.numbers.pipe();
        context.out.open_pipe(pipe, endpoint);
        Some(Self {
            pipe,
            wire,
            frames,
            open: false,
            heard: context.now,
            said: context.now,
        })
    }

    /// Takes bytes of the pipe.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Came, WireError> {
        let mut plain = Vec::new();
        let mut came = Came {
            ended: self.wire.receive(context.identity, bytes, &mut plain)?,
            ..Came::default()
        };
        self.heard = context.now;
        if !self.open && self.wire.binding().is_some() {
            self.open = true;
            came.opened = true;
        }
        self.frames.push(&plain);
        while let Some(message) = self.frames.next_of_relay()? {
            came.messages.push(message);
        }
        Ok(came)
    }

    /// Says what the stream is for, and the first message.
    pub(super) fn begin(
        &mut self,
        purpose: RelayPurpose,
        first: &RelayMessage,
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        let open = Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(purpose),
        };
        self.wire.send(&encode_frame(&open))?;
        self.tell(first, context)
    }

    /// Says something.
    pub(super) fn tell(
        &mut self,
        message: &RelayMessage,
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        self.wire.send(&encode_relay_frame(message))?;
        self.said = context.now;
        self.flush(context)
    }

    /// Says something that bytes follow.
    pub(super) fn tell_with(
        &mut self,
        message: &RelayMessage,
        payload: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        self.wire.send(&encode_relay_frame(message))?;
        // Less than what may wait to be encrypted.
        for part in payload.chunks(1024 * 1024) {
            self.wire.send(part)?;
            self.flush(context)?;
        }
        self.said = context.now;
        Ok(())
    }

    /// Sends what waits to be sent: also the handshake.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        self.wire.drain(&mut bytes)?;
        if !bytes.is_empty() {
            context.out.send(self.pipe, &bytes);
        }
        Ok(())
    }

    /// Ends it in order.
    pub(super) fn close(mut self, context: &mut Context<'_>) {
        self.wire.finish();
        // The pipe closes anyway.
        let _ = self.flush(context);
        context.out.close_pipe(self.pipe);
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("pipe", &self.pipe)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
