//! Messages between devices and a relay about circuits: two streams of two devices that the
//! relay joins.
//!
//! On a stream of purpose circuit: [`Connect`](CircuitMessage::Connect) or
//! [`Accept`](CircuitMessage::Accept), answered with [`Connected`](CircuitMessage::Connected),
//! after which both streams belong to the devices; or with [`At`](CircuitMessage::At) or a refusal.
//! On the long connection: [`Incoming`](CircuitMessage::Incoming) and
//! [`Decline`](CircuitMessage::Decline).

use super::RelayAddress;
use super::encode::key;
use super::parse::address;
use crate::device::DeviceId;
use crate::ids::CircuitId;
use crate::knock::Knock;
use crate::message::MessageError;
use crate::wire;
use crate::wire::relay_frame::Body;
use bytes::Bytes;

type Parsed<T> = Result<T, MessageError>;

/// One message about a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CircuitMessage {
    /// Join this stream with one of that device.
    Connect {
        /// The device.
        to: DeviceId,
        /// Shows the device that the sender knows one of its shares.
        knock: Knock,
    },
    /// From here on everything on the stream is the other device's, both ways.
    Connected,
    /// The device is connected to another node: ask there.
    At {
        /// That node.
        front: RelayAddress,
    },
    /// A device asks for a circuit.
    Incoming {
        /// Chosen by the relay.
        circuit: CircuitId,
        /// Its key, as it proved it to the relay.
        from: DeviceId,
        /// As it came.
        knock: Knock,
    },
    /// Join this stream with the one of the device that asked.
    Accept {
        /// As the relay called it.
        circuit: CircuitId,
    },
    /// No.
    Decline {
        /// As the relay called it.
        circuit: CircuitId,
    },
}

impl CircuitMessage {
    pub(super) fn parse(body: Body) -> Parsed<Self> {
        match body {
            Body::Connect(m) => connect(&m),
            Body::Connected(_) => Ok(Self::Connected),
            Body::ConnectAt(m) => Ok(Self::At {
                front: address(m.front)?,
            }),
            Body::Incoming(m) => incoming(&m),
            Body::Accept(m) => Ok(Self::Accept {
                circuit: circuit(&m.circuit)?,
            }),
            Body::Decline(m) => Ok(Self::Decline {
                circuit: circuit(&m.circuit)?,
            }),
            // The others are messages of another kind.
            _ => Err(MessageError::Malformed),
        }
    }

    pub(super) fn to_wire(&self) -> Body {
        match self {
            Self::Connect { to, knock } => Body::Connect(wire::Connect {
                to: key(to),
                knock: bytes(knock.as_bytes()),
            }),
            Self::Connected => Body::Connected(wire::Connected {}),
            Self::At { front } => Body::ConnectAt(wire::ConnectAt {
                front: Some(front.to_wire()),
            }),
            Self::Incoming {
                circuit,
                from,
                knock,
            } => Body::Incoming(wire::Incoming {
                circuit: bytes(circuit.as_bytes()),
                from: key(from),
                knock: bytes(knock.as_bytes()),
            }),
            Self::Accept { circuit } => Body::Accept(wire::Accept {
                circuit: bytes(circuit.as_bytes()),
            }),
            Self::Decline { circuit } => Body::Decline(wire::Decline {
                circuit: bytes(circuit.as_bytes()),
            }),
        }
    }
}

fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn circuit(bytes: &[u8]) -> Parsed<CircuitId> {
    Ok(CircuitId::from_slice(bytes)?)
}

fn connect(m: &wire::Connect) -> Parsed<CircuitMessage> {
    Ok(CircuitMessage::Connect {
        to: DeviceId::from_slice(&m.to)?,
        knock: Knock::from_slice(&m.knock)?,
    })
}

fn incoming(m: &wire::Incoming) -> Parsed<CircuitMessage> {
    Ok(CircuitMessage::Incoming {
        circuit: circuit(&m.circuit)?,
        from: DeviceId::from_slice(&m.from)?,
        knock: Knock::from_slice(&m.knock)?,
    })
}
