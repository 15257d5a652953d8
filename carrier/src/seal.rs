//! Sealing: what one device writes to another through a relay, which must neither read nor forge
//! it. The layout and the checks are [`hither_proto::seal`]'s, which pages use too; the cipher here
//! is the one that TLS has.
//!
//! Invariants: a payload comes out of [`open`] only if the sender named in it signed it for this
//! device, id and purpose; only libraries do cryptography here; the secret half is wiped.

use crate::identity::Identity;
use hither_proto::seal::{CipherFailed, ENCAPSULATED, SealCipher};
pub use hither_proto::seal::{OpenError, SealError, SealPurpose};
pub(crate) use hither_proto::seal::{Parts, laid_out, parts};
use hither_proto::{DeviceId, MessageId, seal};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128 as HPKE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

/// HPKE of the library below TLS.
struct Cipher;

impl SealCipher for Cipher {
    fn seal(
        &self,
        reader: &[u8; 32],
        info: &[u8],
        associated: &[u8],
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), CipherFailed> {
        let reader = HpkePublicKey(reader.to_vec());
        let sealed = HPKE.seal(info, associated, plaintext, &reader);
        let (encapsulated, ciphertext) = sealed.map_err(|_| CipherFailed)?;
        Ok((encapsulated.0, ciphertext))
    }

    fn open(
        &self,
        secret: &[u8; 32],
        encapsulated: &[u8; ENCAPSULATED],
        info: &[u8],
        associated: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CipherFailed> {
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let secret = HpkePrivateKey::from(secret.to_vec());
        HPKE.open(&encapsulated, info, associated, ciphertext, &secret)
            .map_err(|_| CipherFailed)
    }
}

/// Seals `payload` by this device for the device `to`. `id` names it: 16 random bytes for a
/// message, the same on every attempt, or [`MessageId::NONE`]. The length of the result reveals how
/// long the payload is up to about an eighth.
pub fn seal(
    identity: &Identity,
    to: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let from = (identity.device_id(), |message: &[u8]| {
        identity.sign(message)
    });
    seal::seal(&Cipher, from, to, purpose, id, payload)
}

/// Opens a message that the device `from` (as the relay names it) sealed for this one.
pub fn open(
    identity: &Identity,
    from: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let secret = secret_half(identity)?;
    let to = (identity.device_id(), &*secret);
    seal::open(&Cipher, to, from, purpose, id, sealed)
}

/// This device's secret half for X25519.
fn secret_half(identity: &Identity) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let seed = identity.seed().map_err(|_| OpenError::Key)?;
    Ok(seal::secret_half(&seed))
}

#[cfg(test)]
mod tests;
