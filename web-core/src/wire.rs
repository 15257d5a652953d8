//! One stream over one byte pipe: TLS with a relay, or with a device through a circuit that the relay joins.

use crate::frames::{Frames, FramesError};
use crate::tls::{Identity, Tls, TlsError};
use hither_proto::limits::PROTOCOL;
use hither_proto::{
    CircuitMessage, DeviceId, Knock, Message, RelayMessage, RelayPurpose, RelayRefusal,
    StreamBinding, encode_frame, encode_relay_frame,
};

/// Reasons why a stream is of no use (any more).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// The relay makes no circuit.
    #[error("the relay makes no circuit: {0}")]
    Refused(RelayRefusal),
    /// The device is at another node, which the page has no pipe to.
    #[error("the device is at a node that cannot be reached from a page")]
    Elsewhere,
    /// The relay said something else.
    #[error("the relay answered something else")]
    Unexpected,
}

/// The stage that a circuit has reached.
enum Circuit {
    /// The relay is asked for it, once TLS with it is up.
    Asking {
        to: DeviceId,
        knock: Knock,
        asked: bool,
        frames: Frames,
    },
    /// The relay passes everything on: TLS with the device.
    Joined(Box<Tls>),
}

/// A stream as its two ends see it.
pub(crate) struct Wire {
    relay: Tls,
    circuit: Option<Circuit>,
}

impl Wire {
    /// A stream to a relay's node.
    pub fn to_relay(identity: &Identity, relay: DeviceId) -> Result<Self, WireError> {
        Ok(Self {
            relay: identity.connect(relay)?,
            circuit: None,
        })
    }

    /// A stream to a device, through a relay.
    pub fn through(
        identity: &Identity,
        relay: DeviceId,
        to: DeviceId,
        knock: Knock,
    ) -> Result<Self, WireError> {
        Ok(Self {
            relay: identity.connect(relay)?,
            circuit: Some(Circuit::Asking {
                to,
                knock,
                asked: false,
                frames: Frames::new(),
            }),
        })
    }

    /// Takes bytes of the pipe, appends those of the stream to `plain`; returns whether the other end closed the stream.
    pub fn receive(
        &mut self,
        identity: &Identity,
        bytes: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<bool, WireError> {
        let Some(circuit) = &mut self.circuit else {
            return Ok(self.relay.receive(bytes, plain)?);
        };
        let mut of_relay = Vec::new();
        let ended = self.relay.receive(bytes, &mut of_relay)?;
        if let Circuit::Asking {
            to,
            knock,
            asked,
            frames,
        } = circuit
        {
            if !*asked && self.relay.binding().is_some() {
                *asked = true;
                let open = Message::RelayOpen {
                    protocol: PROTOCOL,
                    purpose: Some(RelayPurpose::Circuit),
                };
                let connect = CircuitMessage::Connect {
                    to: *to,
                    knock: *knock,
                };
                self.relay.send(&encode_frame(&open))?;
                self.relay
                    .send(&encode_relay_frame(&RelayMessage::Circuit(Box::new(
                        connect,
                    ))))?;
            }
            frames.push(&of_relay);
            match frames.next_of_relay()? {
                None => return Ok(ended),
                Some(RelayMessage::Circuit(message)) => match *message {
                    CircuitMessage::Connected => {}
                    CircuitMessage::At { .. } => return Err(WireError::Elsewhere),
                    _ => return Err(WireError::Unexpected),
                },
                Some(RelayMessage::Refused(refusal)) => return Err(WireError::Refused(refusal)),
                Some(_) => return Err(WireError::Unexpected),
            }
            of_relay = frames.take_rest();
            *circuit = Circuit::Joined(Box::new(identity.connect(*to)?));
        }
        let mut closed = ended;
        if let Circuit::Joined(device) = circuit {
            closed |= device.receive(&of_relay, plain)?;
        }
        Ok(closed)
    }

    /// The binding of proofs; `None` until the last handshake is done.
    pub fn binding(&self) -> Option<&StreamBinding> {
        match &self.circuit {
            None => self.relay.binding(),
            Some(Circuit::Asking { .. }) => None,
            Some(Circuit::Joined(device)) => device.binding(),
        }
    }

    /// Sends bytes on the stream.
    pub fn send(&mut self, plain: &[u8]) -> Result<(), WireError> {
        match &mut self.circuit {
            None => Ok(self.relay.send(plain)?),
            Some(Circuit::Joined(device)) => Ok(device.send(plain)?),
            Some(Circuit::Asking { .. }) => Err(WireError::Unexpected),
        }
    }

    /// Says that nothing more is sent.
    pub fn finish(&mut self) {
        if let Some(Circuit::Joined(device)) = &mut self.circuit {
            device.finish();
            let mut last = Vec::new();
            device.drain(&mut last);
            // The pipe closes in a moment: what does not fit any more is lost with it.
            let _ = self.relay.send(&last);
        }
        self.relay.finish();
    }

    /// Appends what is to be sent on the pipe.
    pub fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), WireError> {
        if let Some(Circuit::Joined(device)) = &mut self.circuit {
            let mut inner = Vec::new();
            device.drain(&mut inner);
            if !inner.is_empty() {
                self.relay.send(&inner)?;
            }
        }
        self.relay.drain(out);
        Ok(())
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}
