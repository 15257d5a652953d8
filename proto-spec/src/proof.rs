//! Proof that a device knows a share's secret (or, towards a store, its read key), without sending it.
//!
//! `proof = BLAKE3-keyed(derive(secret, "hither.v1 link proof"), exporter ‖ side)`, where `exporter` is 32 bytes of
//! TLS keying material of the very connection (RFC 8446, section 7.5; the binding of RFC 9266 with our own label). A
//! device in the middle has another exporter towards each side and can replay nothing; the secret has 128 random
//! bits, so a proof cannot be guessed offline.
//!
//! A store does not know the secret; between it and a reader the key is `derive(read key, "hither.v1 store proof")`
//! instead. The contexts differ, so a proof of one kind is never one of the other.

use crate::ids::{IdError, ReadKey, ShareSecret, fixed};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Which end of the stream makes the proof, so that one end's proof is never the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that opened the stream.
    Opener,
    /// The end that accepted it.
    Acceptor,
}

/// 32 bytes that only a device with the share's secret can make for one connection and side.
#[derive(Clone, Copy)]
pub struct Proof([u8; 32]);

impl Proof {
    /// Makes the proof for one side of the connection whose TLS exporter is `exporter`.
    pub fn make(secret: &ShareSecret, exporter: &[u8; 32], side: Side) -> Self {
        Self::keyed(Zeroizing::new(secret.derive("hither.v1 link proof")), exporter, side)
    }

    /// Makes the proof of a share's read key, which a store and its readers show each other.
    pub fn make_with_read_key(key: &ReadKey, exporter: &[u8; 32], side: Side) -> Self {
        let key = blake3::derive_key("hither.v1 store proof", key.expose());
        Self::keyed(Zeroizing::new(key), exporter, side)
    }

    fn keyed(key: Zeroizing<[u8; 32]>, exporter: &[u8; 32], side: Side) -> Self {
        let mut input = [0u8; 33];
        input[..32].copy_from_slice(exporter);
        input[32] = match side {
            Side::Opener => 1,
            Side::Acceptor => 2,
        };
        Self(*blake3::keyed_hash(&key, &input).as_bytes())
    }

    /// Checks a proof from the other end, in constant time.
    pub fn verify(&self, secret: &ShareSecret, exporter: &[u8; 32], side: Side) -> bool {
        Self::make(secret, exporter, side).0.ct_eq(&self.0).into()
    }

    /// Checks a proof of a read key from the other end, in constant time.
    pub fn verify_with_read_key(&self, key: &ReadKey, exporter: &[u8; 32], side: Side) -> bool {
        Self::make_with_read_key(key, exporter, side).0.ct_eq(&self.0).into()
    }

    /// Parses a proof from outside.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        fixed("a proof", bytes).map(Self)
    }

    /// The bytes, as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(…)")
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_secret_connection_and_side_only() {
        let (secret, exporter) = (ShareSecret::new([1; 16]), [2; 32]);
        let proof = Proof::make(&secret, &exporter, Side::Opener);
        assert!(proof.verify(&secret, &exporter, Side::Opener));
        assert!(!proof.verify(&secret, &exporter, Side::Acceptor));
        assert!(!proof.verify(&secret, &[3; 32], Side::Opener));
        assert!(!proof.verify(&ShareSecret::new([9; 16]), &exporter, Side::Opener));
    }

    #[test]
    fn a_proof_of_a_read_key_holds_for_its_key_connection_and_side_only() {
        let (secret, exporter) = (ShareSecret::new([1; 16]), [2; 32]);
        let key = secret.read_key();
        let proof = Proof::make_with_read_key(&key, &exporter, Side::Opener);
        assert!(proof.verify_with_read_key(&key, &exporter, Side::Opener));
        assert!(!proof.verify_with_read_key(&key, &exporter, Side::Acceptor));
        assert!(!proof.verify_with_read_key(&key, &[3; 32], Side::Opener));
        assert!(!proof.verify_with_read_key(&ReadKey::new([9; 32]), &exporter, Side::Opener));
        // A store that was given the read key cannot pass for one who knows the secret.
        assert!(!proof.verify(&secret, &exporter, Side::Opener));
    }
}
