//! The answer to a page that is no device of any user: a visitor of a device, or an asker of a site.

use super::encode::{addresses, key};
use super::parse::{relays, web};
use super::{RelayAddress, WebAddress};
use crate::device::DeviceId;
use crate::limits::{MAX_MESSAGE, RELAY_PING_MS};
use crate::message::MessageError;
use crate::wire;

/// The page may stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visiting {
    /// As in [`Welcome`](super::Welcome).
    pub ping_ms: u32,
    /// The device that the visitor may write to; `None` for an asker.
    pub host: Option<DeviceId>,
    /// The site that the host, or the asker itself, is of; `None`: of none.
    pub origin: Option<WebAddress>,
    /// For how long it may stay, seconds.
    pub seconds: u32,
    /// Ciphertext that it may leave at a store altogether, bytes.
    pub bytes: u64,
    /// Longest sealed message, bytes; at most [`MAX_MESSAGE`].
    pub max_message: u32,
    /// Nodes that store; at most [`MAX_RELAYS`](crate::limits::MAX_RELAYS).
    pub stores: Vec<RelayAddress>,
    /// The host is connected.
    pub online: bool,
}

impl Visiting {
    pub(super) fn parse(m: wire::Visiting) -> Result<Self, MessageError> {
        if !RELAY_PING_MS.contains(&m.ping_ms) {
            return Err(MessageError::Value("time between pings"));
        }
        let host = match m.host.as_ref() {
            [] => None,
            host => Some(DeviceId::from_slice(host)?),
        };
        Ok(Self {
            ping_ms: m.ping_ms,
            host,
            origin: web(&m.origin)?,
            seconds: m.seconds,
            bytes: m.bytes,
            max_message: m.max_message.min(MAX_MESSAGE as u32),
            stores: relays(m.stores)?,
            online: m.online,
        })
    }

    pub(super) fn to_wire(&self) -> wire::Visiting {
        wire::Visiting {
            ping_ms: self.ping_ms,
            host: self.host.as_ref().map(key).unwrap_or_default(),
            origin: self
                .origin
                .as_ref()
                .map(WebAddress::to_string)
                .unwrap_or_default(),
            seconds: self.seconds,
            bytes: self.bytes,
            max_message: self.max_message,
            stores: addresses(&self.stores),
            online: self.online,
        }
    }
}
