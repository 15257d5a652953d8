//! The records of waking in the state: the way of each device, and the relay's key for web push.

use hither_proto::{WakeChannel, WakeKind};
use prost::Message;

/// How a device is woken.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct WakeRecord {
    /// The endpoint, mail address, or webhook. Secret: never log it.
    #[prost(string, tag = "1")]
    pub(super) address: String,
    /// As in `WakeWays.set`.
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    /// Of web push: the browser's key, 65 bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key: Vec<u8>,
    /// Of web push: the shared secret, 16 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) auth: Vec<u8>,
    /// When it was woken, since it was connected last, Unix milliseconds; 0: it was not.
    #[prost(uint64, tag = "5")]
    pub(super) woken_ms: u64,
}

impl WakeRecord {
    pub(super) fn of(channel: &WakeChannel) -> Self {
        match channel {
            WakeChannel::WebPush {
                endpoint,
                key,
                auth,
            } => Self {
                address: endpoint.clone(),
                kind: 1,
                key: key.to_vec(),
                auth: auth.to_vec(),
                woken_ms: 0,
            },
            WakeChannel::Mail(address) => Self::plain(address, 2),
            WakeChannel::Webhook(url) => Self::plain(url, 3),
        }
    }

    fn plain(address: &str, kind: u32) -> Self {
        Self {
            address: address.to_owned(),
            kind,
            ..Self::default()
        }
    }

    /// The way; `None`: the record is damaged.
    pub(super) fn channel(&self) -> Option<WakeChannel> {
        let address = self.address.clone();
        Some(match self.kind {
            1 => WakeChannel::WebPush {
                endpoint: address,
                key: self.key[..].try_into().ok()?,
                auth: self.auth[..].try_into().ok()?,
            },
            2 => WakeChannel::Mail(address),
            3 => WakeChannel::Webhook(address),
            _ => return None,
        })
    }

    pub(super) fn kind(&self) -> Option<WakeKind> {
        match self.kind {
            1 => Some(WakeKind::WebPush),
            2 => Some(WakeKind::Mail),
            3 => Some(WakeKind::Webhook),
            _ => None,
        }
    }
}
