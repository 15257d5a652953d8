//! What a device shows before another one opens a circuit to it: that it knows a share the other may hold.
//!
//! `knock = BLAKE3-keyed(derive(secret, "hither.v1 circuit knock"), from ‖ to)`. It is bound to both devices, so that who
//! overhears one can neither use it nor see that two devices ask for the same share. It only decides who is listened to:
//! over the circuit everything is proven as on any link.

use crate::device::DeviceId;
use crate::ids::{IdError, ShareSecret, fixed};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// 32 bytes that only who knows a share's secret can make for two devices.
#[derive(Clone, Copy)]
pub struct Knock([u8; 32]);

impl Knock {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// What the device `from` shows the device `to`.
    pub fn make(secret: &ShareSecret, from: &DeviceId, to: &DeviceId) -> Self {
        let key = Zeroizing::new(secret.derive("hither.v1 circuit knock"));
        let mut both = [0; 2 * DeviceId::LEN];
        both[..DeviceId::LEN].copy_from_slice(from.as_bytes());
        both[DeviceId::LEN..].copy_from_slice(to.as_bytes());
        Self(*blake3::keyed_hash(&key, &both).as_bytes())
    }

    /// Whether it was made of this secret for these two, in constant time.
    pub fn verify(&self, secret: &ShareSecret, from: &DeviceId, to: &DeviceId) -> bool {
        Self::make(secret, from, to).0.ct_eq(&self.0).into()
    }

    /// Parses what came from outside.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        fixed("a knock", bytes).map(Self)
    }

    /// The bytes, as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl std::fmt::Debug for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Knock(…)")
    }
}

impl PartialEq for Knock {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Knock {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::samples::{key, other_key};

    #[test]
    fn a_knock_holds_for_its_share_and_these_two_only() {
        let (one, two) = (key(), other_key());
        let secret = ShareSecret::new([1; 16]);
        let knock = Knock::make(&secret, &one, &two);
        assert!(knock.verify(&secret, &one, &two));
        assert!(!knock.verify(&secret, &two, &one));
        assert!(!knock.verify(&secret, &one, &one));
        assert!(!knock.verify(&ShareSecret::new([2; 16]), &one, &two));
        assert!(Knock::from_slice(&knock.as_bytes()[1..]).is_err());
        assert_eq!(Knock::from_slice(knock.as_bytes()), Ok(knock));
    }
}
