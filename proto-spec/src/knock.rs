//! The proof that a device shows before another one opens a circuit to it: that it knows a share
//! the other may hold.
//!
//! `knock = salt (16) ‖ first 16 bytes of BLAKE3-keyed(derive(secret, "hither.v2 circuit knock"),
//! from ‖ to ‖ salt)`. It is bound to both devices in their roles, so that a relay that passes it
//! on can use it for nobody else, and no two are alike, so that a relay does not see that the same
//! share is asked for again. It only decides who is listened to: over the circuit everything is
//! proven as on any link.

use crate::code::{CodeName, Word};
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

    /// Length of the salt, bytes.
    pub const SALT: usize = 16;

    /// Makes what the device `from` shows the device `to`. The salt is random for each circuit.
    pub fn make(
        secret: &ShareSecret,
        from: &DeviceId,
        to: &DeviceId,
        salt: [u8; Self::SALT],
    ) -> Self {
        let key = Zeroizing::new(secret.derive("hither.v2 circuit knock"));
        Self::keyed(&key, from, to, salt)
    }

    /// Makes what the device `from` shows the device `to`, which shows a code that begins with
    /// `nameplate`: `derive(number of the word, "hither.v2 code knock")` in the place of what
    /// follows from a share's secret. The word is public, and so is this: it says what is wanted.
    pub fn for_code(
        nameplate: Word,
        from: &DeviceId,
        to: &DeviceId,
        salt: [u8; Self::SALT],
    ) -> Self {
        let number = nameplate.number().to_be_bytes();
        Self::keyed(
            &blake3::derive_key("hither.v2 code knock", &number),
            from,
            to,
            salt,
        )
    }

    /// Makes what the device `from` shows the device `to`, which shows a code for scanning with
    /// this name: `derive(name, "hither.v2 scanned code knock")`. The name is known to whoever saw
    /// the code, and says nothing of its secret.
    pub fn for_scanned(
        name: &[u8; CodeName::SCANNED],
        from: &DeviceId,
        to: &DeviceId,
        salt: [u8; Self::SALT],
    ) -> Self {
        let key = blake3::derive_key("hither.v2 scanned code knock", name);
        Self::keyed(&key, from, to, salt)
    }

    fn keyed(key: &[u8; 32], from: &DeviceId, to: &DeviceId, salt: [u8; Self::SALT]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher
            .update(from.as_bytes())
            .update(to.as_bytes())
            .update(&salt);
        let mut knock = [0; Self::LEN];
        let (front, back) = knock.split_at_mut(Self::SALT);
        front.copy_from_slice(&salt);
        hasher.finalize_xof().fill(back);
        Self(knock)
    }

    /// Returns whether it was made of this secret for these two, in constant time.
    pub fn verify(&self, secret: &ShareSecret, from: &DeviceId, to: &DeviceId) -> bool {
        let mut salt = [0; Self::SALT];
        salt.copy_from_slice(&self.0[..Self::SALT]);
        Self::make(secret, from, to, salt).0.ct_eq(&self.0).into()
    }

    /// Returns whether it was made for a code that begins with this word, for these two.
    pub fn is_for_code(&self, nameplate: Word, from: &DeviceId, to: &DeviceId) -> bool {
        let mut salt = [0; Self::SALT];
        salt.copy_from_slice(&self.0[..Self::SALT]);
        Self::for_code(nameplate, from, to, salt)
            .0
            .ct_eq(&self.0)
            .into()
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
        let knock = Knock::make(&secret, &one, &two, [7; 16]);
        assert!(knock.verify(&secret, &one, &two));
        assert!(!knock.verify(&secret, &two, &one));
        assert!(!knock.verify(&secret, &one, &one));
        assert!(!knock.verify(&ShareSecret::new([2; 16]), &one, &two));
        for at in 0..Knock::LEN {
            let mut changed = *knock.as_bytes();
            changed[at] ^= 1;
            assert!(
                !Knock(changed).verify(&secret, &one, &two),
                "byte {at} counts"
            );
        }
        assert!(Knock::from_slice(&knock.as_bytes()[1..]).is_err());
        assert_eq!(Knock::from_slice(knock.as_bytes()), Ok(knock));
    }

    #[test]
    fn no_two_knocks_about_one_share_are_alike() {
        let (secret, one, two) = (ShareSecret::new([1; 16]), key(), other_key());
        let knocks =
            [[7; 16], [8; 16]].map(|salt| *Knock::make(&secret, &one, &two, salt).as_bytes());
        assert_ne!(knocks[0][Knock::SALT..], knocks[1][Knock::SALT..]);
    }
}
