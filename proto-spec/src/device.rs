//! Who a device is: its ed25519 public key, and what it calls itself.
//!
//! Invariant: identity is the key that TLS proved; a [`DeviceName`] is shown to people and trusted
//! for nothing.

use crate::ids::{IdError, fixed};
use crate::limits::MAX_DEVICE_NAME;
use crate::name::{display_name, is_visible};
use libp2p_identity as libp2p;
use std::{fmt, str::FromStr};

/// A device's ed25519 public key. Its text form is the libp2p `PeerId` of that key (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 32]);

impl DeviceId {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Parses a public key from outside; fails unless it is 32 bytes that are a point of the curve.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let key = fixed("a device key", bytes)?;
        libp2p::ed25519::PublicKey::try_from_bytes(&key).map_err(|_| IdError {
            what: "a valid device key",
            expected: 32,
            actual: bytes.len(),
        })?;
        Ok(Self(key))
    }

    /// The public key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The last eight characters of the text form: what people are shown.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_owned()
    }

    /// Whether `signature` over `message` was made by this device.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        libp2p::ed25519::PublicKey::try_from_bytes(&self.0)
            .is_ok_and(|key| key.verify(message, signature))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match libp2p::ed25519::PublicKey::try_from_bytes(&self.0) {
            Ok(key) => fmt::Display::fmt(&libp2p::PublicKey::from(key).to_peer_id(), f),
            Err(_) => f.write_str("(invalid device key)"),
        }
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId(…{})", self.short())
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    /// Parses the `PeerId` text of an ed25519 key (the key itself is inside it, libp2p "identity"
    /// multihash).
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError {
            what: "a device id",
            expected: 52,
            actual: text.len(),
        };
        let peer = libp2p::PeerId::from_str(text).map_err(|_| wrong())?;
        // Identity multihash: 0x00, length 0x24, then the protobuf key: 08 01 (ed25519) 12 20 <32
        // bytes>.
        match peer
            .to_bytes()
            .strip_prefix(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20])
        {
            Some(key) => Self::from_slice(key),
            None => Err(wrong()),
        }
    }
}

/// The name that a device gives itself, made safe to show: no control or invisible characters, at
/// most [`MAX_DEVICE_NAME`] bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// Cleans any text into a device name; never fails, one that shows nothing becomes "unnamed
    /// device".
    pub fn clean(text: &str) -> Self {
        if !is_visible(text) {
            return Self("unnamed device".into());
        }
        let mut name = display_name(text.trim());
        while name.len() > MAX_DEVICE_NAME {
            name.pop();
        }
        Self(name)
    }

    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8032, section 7.1, test 1: the public key of the all-known secret key.
    const RFC8032_KEY: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ];

    #[test]
    fn text_is_a_peer_id_and_round_trips() {
        let id = DeviceId::from_slice(&RFC8032_KEY).unwrap();
        let text = id.to_string();
        assert!(text.starts_with("12D3KooW") && text.len() == 52, "{text}");
        assert_eq!(text.parse::<DeviceId>().unwrap(), id);
        assert!(text.ends_with(&id.short()));
    }

    #[test]
    fn text_that_is_no_ed25519_peer_id_is_refused() {
        for bad in [
            "",
            "12D3KooW",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        ] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rfc8032_signature_verifies() {
        let id = DeviceId::from_slice(&RFC8032_KEY).unwrap();
        let hex = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let signature: Vec<u8> = (0..64)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        assert!(id.verify(b"", &signature));
        assert!(!id.verify(b"x", &signature));
    }

    #[test]
    fn device_names_are_cleaned() {
        assert_eq!(
            DeviceName::clean(" a\x1b[31mb\n").as_str(),
            "a\u{fffd}[31mb"
        );
        assert_eq!(DeviceName::clean("\t ").as_str(), "unnamed device");
        assert!(DeviceName::clean(&"é".repeat(100)).as_str().len() <= MAX_DEVICE_NAME);
    }
}
