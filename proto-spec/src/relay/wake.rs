//! The ways in which a relay wakes a device that is not connected: none of them carries content.

use crate::limits::{MAX_MAIL_ADDRESS, MAX_WAKE_URL};
use crate::message::MessageError;
use crate::wire;
use crate::wire::wake::Way;
use bytes::Bytes;
use std::fmt;

/// Bytes of an uncompressed point on P-256.
const POINT: usize = 65;
/// First byte of an uncompressed point (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;
/// Bytes of the authentication secret of a subscription (RFC 8291, section 3.2).
const AUTH: usize = 16;

/// An uncompressed point on P-256; whether it lies on the curve is not checked.
pub type PushKey = [u8; POINT];

/// A way in which the relay wakes a device.
#[derive(Clone, PartialEq, Eq)]
pub enum WakeChannel {
    /// A subscription of a browser (RFC 8030).
    WebPush {
        /// The place that the relay posts to: an `https` address of at most [`MAX_WAKE_URL`] bytes.
        endpoint: String,
        /// The browser's key.
        key: PushKey,
        /// Shared by browser and relay.
        auth: [u8; AUTH],
    },
    /// An address for mail, at most [`MAX_MAIL_ADDRESS`] bytes.
    Mail(String),
    /// An `https` address of at most [`MAX_WAKE_URL`] bytes that is posted to.
    Webhook(String),
}

impl fmt::Debug for WakeChannel {
    /// Says no address: whoever knows one may be able to wake the device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebPush { .. } => "WebPush(secret)",
            Self::Mail(_) => "Mail(secret)",
            Self::Webhook(_) => "Webhook(secret)",
        })
    }
}

impl WakeChannel {
    pub(super) fn parse(way: &Way) -> Result<Self, MessageError> {
        Ok(match way {
            Way::WebPush(push) => Self::WebPush {
                endpoint: https(&push.endpoint)?,
                key: point(&push.key)?,
                auth: push.auth[..]
                    .try_into()
                    .map_err(|_| MessageError::Value("secret of a subscription"))?,
            },
            Way::Mail(address) => Self::Mail(mail(address)?),
            Way::Webhook(url) => Self::Webhook(https(url)?),
        })
    }

    pub(super) fn to_wire(&self) -> Way {
        match self {
            Self::WebPush {
                endpoint,
                key,
                auth,
            } => Way::WebPush(wire::WebPush {
                endpoint: endpoint.clone(),
                key: Bytes::copy_from_slice(key),
                auth: Bytes::copy_from_slice(auth),
            }),
            Self::Mail(address) => Way::Mail(address.clone()),
            Self::Webhook(url) => Way::Webhook(url.clone()),
        }
    }
}

/// Kinds of ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeKind {
    /// Web push.
    WebPush,
    /// Mail.
    Mail,
    /// An address that is posted to.
    Webhook,
}

/// The ways that a relay has, and which of them the device has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeWays {
    /// The relay's key for web push (RFC 8292); `None`: it does not push.
    pub push_key: Option<PushKey>,
    /// It sends mail.
    pub mail: bool,
    /// It posts to addresses.
    pub webhook: bool,
    /// The way that is set.
    pub set: Option<WakeKind>,
}

impl WakeWays {
    pub(super) fn parse(ways: &wire::WakeWays) -> Result<Self, MessageError> {
        let push_key = match ways.push_key.as_ref() {
            [] => None,
            key => Some(point(key)?),
        };
        let set = match ways.set {
            1 => Some(WakeKind::WebPush),
            2 => Some(WakeKind::Mail),
            3 => Some(WakeKind::Webhook),
            _ => None,
        };
        Ok(Self {
            push_key,
            mail: ways.mail,
            webhook: ways.webhook,
            set,
        })
    }

    pub(super) fn to_wire(&self, request: u64) -> wire::WakeWays {
        wire::WakeWays {
            request,
            push_key: self
                .push_key
                .map(|key| Bytes::copy_from_slice(&key))
                .unwrap_or_default(),
            mail: self.mail,
            webhook: self.webhook,
            set: match self.set {
                None => 0,
                Some(WakeKind::WebPush) => 1,
                Some(WakeKind::Mail) => 2,
                Some(WakeKind::Webhook) => 3,
            },
        }
    }
}

fn point(bytes: &[u8]) -> Result<PushKey, MessageError> {
    let point: PushKey = bytes
        .try_into()
        .map_err(|_| MessageError::Value("key for web push"))?;
    if point[0] == UNCOMPRESSED {
        Ok(point)
    } else {
        Err(MessageError::Value("key for web push"))
    }
}

/// An address of printable ASCII that begins with `https://` and a host.
fn https(url: &str) -> Result<String, MessageError> {
    let fits = url.len() <= MAX_WAKE_URL && url.bytes().all(|byte| byte.is_ascii_graphic());
    let host = url.strip_prefix("https://").unwrap_or_default();
    if fits && !host.is_empty() && !host.starts_with('/') {
        Ok(url.to_owned())
    } else {
        Err(MessageError::Value("address"))
    }
}

/// An address of printable ASCII with one part before the last `@` and one behind it.
fn mail(address: &str) -> Result<String, MessageError> {
    let fits = address.len() <= MAX_MAIL_ADDRESS
        && address
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>,;".contains(&byte));
    let parts = address.rsplit_once('@');
    if fits && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()) {
        Ok(address.to_owned())
    } else {
        Err(MessageError::Value("address for mail"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push() -> WakeChannel {
        let mut key = [7; POINT];
        key[0] = UNCOMPRESSED;
        WakeChannel::WebPush {
            endpoint: "https://push.example.org/send/1".into(),
            key,
            auth: [9; AUTH],
        }
    }

    #[test]
    fn ways_come_out_as_they_went_in() {
        let webhook = WakeChannel::Webhook("https://hook.example.org".into());
        for channel in [push(), WakeChannel::Mail("a+b@example.org".into()), webhook] {
            assert_eq!(WakeChannel::parse(&channel.to_wire()), Ok(channel));
        }
        let WakeChannel::WebPush { key, .. } = push() else {
            unreachable!("made above")
        };
        for (push_key, set) in [
            (None, None),
            (Some(key), Some(WakeKind::WebPush)),
            (Some(key), Some(WakeKind::Mail)),
            (Some(key), Some(WakeKind::Webhook)),
        ] {
            let ways = WakeWays {
                push_key,
                mail: true,
                webhook: false,
                set,
            };
            assert_eq!(WakeWays::parse(&ways.to_wire(1)), Ok(ways));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("https://{}", "a".repeat(MAX_WAKE_URL));
        for url in [
            "",
            "http://a",
            "https://",
            "https:///a",
            "https://a b",
            "https://a\n",
            &long,
        ] {
            assert!(https(url).is_err(), "{url}");
        }
        for address in [
            "",
            "a",
            "@b",
            "a@",
            "a@b\r\nTo: c@d",
            "a b@c",
            "<a@b>",
            "a@b,c@d",
        ] {
            assert!(mail(address).is_err(), "{address}");
        }
        let Way::WebPush(mut wrong) = push().to_wire() else {
            unreachable!("made above")
        };
        wrong.key = Bytes::from_static(&[2; POINT]);
        assert!(WakeChannel::parse(&Way::WebPush(wrong)).is_err());
    }
}
