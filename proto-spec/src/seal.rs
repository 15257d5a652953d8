//! Sealing: the layout and the checks of what one device writes to another through a relay, which
//! must neither read nor forge it (SPEC.md, "Sealed messages").
//!
//! HPKE (RFC 9180) in base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, to the
//! reader's ed25519 key mapped to X25519 (the birational map of RFC 7748, section 4.1, as age and
//! libsodium use it; that one key may do both is shown in <https://eprint.iacr.org/2021/509>). Base
//! mode proves no sender, so a signature of the sender is inside:
//!
//! ```text
//! sealed    = encapsulated key (32) ‖ AEAD(plaintext)
//! info      = "hither.v1 sealed" ‖ purpose            aad = sender ‖ reader ‖ message id
//! plaintext = signature (64) ‖ payload length (4, big-endian) ‖ payload ‖ zeros up to a padded length
//! signature = ed25519("hither sealed v1\0" ‖ purpose ‖ reader ‖ message id ‖ BLAKE3(payload))
//! ```
//!
//! A thief of the reader's secret half can read what was sealed before: there is no forward
//! secrecy, as with every message to someone who is away and has left nothing but a long-lived key.
//!
//! The cipher comes from outside ([`SealCipher`]): the daemon and a page have different libraries
//! for it, and it needs random bytes. Invariants: a payload comes out of [`open`] only if the sender
//! named in it signed it for this device, id and purpose; the map's secret half is wiped.

use crate::device::DeviceId;
use crate::ids::MessageId;
use crate::limits::{MAX_CARD, MAX_GROUP_SEALED, MAX_MESSAGE};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

const INFO: &[u8] = b"hither.v1 sealed";
/// Separates these signatures from anything else a device key ever signs.
const CONTEXT: &[u8] = b"hither sealed v1\0";
/// The X25519 key that the sender makes for one message, bytes.
pub const ENCAPSULATED: usize = 32;
/// Overhead of AES-GCM, bytes.
pub const TAG: usize = 16;
/// Signature and length before the payload, bytes.
const HEADER: usize = 64 + 4;
/// Everything shorter is padded to this length, bytes: short messages shall not be distinguishable
/// at all.
pub const SHORTEST: usize = 256;

/// The purpose of a sealed message; one of one purpose cannot be shown as one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealPurpose {
    /// A device's card, which has no id of its own: [`MessageId::NONE`].
    Card,
    /// A message.
    Message,
    /// The secret of a group, for a member. A message about a group has the group's
    /// [`GroupId::seal_id`] for its id.
    ///
    /// [`GroupId::seal_id`]: crate::GroupId::seal_id
    GroupKey,
    /// A request to join a group, for one of its members.
    GroupAsk,
    /// Why a device may not join a group.
    GroupRefusal,
}

impl SealPurpose {
    const fn byte(self) -> u8 {
        match self {
            Self::Card => 1,
            Self::Message => 2,
            Self::GroupKey => 3,
            Self::GroupAsk => 4,
            Self::GroupRefusal => 5,
        }
    }

    /// Longest sealed form, bytes.
    pub const fn max_sealed(self) -> usize {
        match self {
            Self::Card => MAX_CARD,
            Self::Message => MAX_MESSAGE,
            Self::GroupKey | Self::GroupAsk | Self::GroupRefusal => MAX_GROUP_SEALED,
        }
    }

    /// Longest payload, bytes.
    pub const fn max_payload(self) -> usize {
        let room = self.max_sealed() - ENCAPSULATED - TAG;
        // The longest padded length within the room.
        (room & !(step(room) - 1)) - HEADER
    }
}

/// Why something could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Beyond [`SealPurpose::max_payload`].
    #[error("{length} bytes are too long to be sealed, at most {max} are possible")]
    TooLong {
        /// Length of the payload, bytes.
        length: usize,
        /// Longest payload, bytes.
        max: usize,
    },
    /// The reader's key is not one that a device can have.
    #[error("nothing can be sealed for this device's key")]
    Reader,
    /// The cryptographic library failed.
    #[error("sealing failed")]
    Failed,
}

/// Why something sealed was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Shorter or longer than anything sealed for the purpose.
    #[error("{length} bytes are not the length of anything sealed")]
    Length {
        /// Its length, bytes.
        length: usize,
    },
    /// Sealed for another device, by another one, with another id or purpose, or damaged: the
    /// cipher cannot tell.
    #[error("it is not sealed for this device, or damaged")]
    Unreadable,
    /// It can be read, but the device it claims to be from did not sign it.
    #[error("it is not from the device it claims to be from")]
    Forged,
    /// It is signed, but not laid out as it should be.
    #[error("what was sealed is malformed")]
    Malformed,
    /// This device's key could not be used.
    #[error("this device's key could not be used")]
    Key,
}

/// The cipher did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherFailed;

/// HPKE in base mode with the suite of this module, by some library.
pub trait SealCipher {
    /// Seals for the X25519 key `reader`: the encapsulated key, and the ciphertext with its tag.
    ///
    /// Errors: the library, or its source of random bytes, failed.
    fn seal(
        &self,
        reader: &[u8; 32],
        info: &[u8],
        associated: &[u8],
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), CipherFailed>;

    /// Opens what was sealed for the reader whose X25519 secret is `secret`.
    ///
    /// Errors: it is not that.
    fn open(
        &self,
        secret: &[u8; 32],
        encapsulated: &[u8; ENCAPSULATED],
        info: &[u8],
        associated: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CipherFailed>;
}

/// Seals `payload` by the device `from`, whose signatures `sign` makes, for the device `to`. `id`
/// names it: 16 random bytes for a message, the same on every attempt, or [`MessageId::NONE`]. The
/// length of the result reveals how long the payload is up to about an eighth.
///
/// Errors: it is too long, or the reader has no usable key.
pub fn seal(
    cipher: &impl SealCipher,
    (from, sign): (DeviceId, impl FnOnce(&[u8]) -> [u8; 64]),
    to: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let signature = sign(&signed_part(to, purpose, id, payload));
    enclose(cipher, (from, &signature), to, purpose, id, payload)
}

/// Opens a message that the device `from` (as the relay names it) sealed for the device `to`, whose
/// secret half is `secret` ([`secret_half`]).
///
/// Errors: it is not that.
pub fn open(
    cipher: &impl SealCipher,
    (to, secret): (DeviceId, &[u8; 32]),
    from: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let length = sealed.len();
    if length < ENCAPSULATED + TAG + HEADER || length > purpose.max_sealed() {
        return Err(OpenError::Length { length });
    }
    let (encapsulated, ciphertext) = sealed
        .split_first_chunk::<ENCAPSULATED>()
        .ok_or(OpenError::Length { length })?;
    let aad = associated(from, to, id);
    let plaintext = cipher
        .open(secret, encapsulated, &info(purpose), &aad, ciphertext)
        .map(Zeroizing::new)
        .map_err(|_| OpenError::Unreadable)?;
    let Parts {
        signature,
        payload,
        padding,
    } = parts(&plaintext)?;
    // Under a weak key a signature of almost anything can be made up.
    let weak = public_half(from).is_none();
    if weak || !from.verify(&signed_part(to, purpose, id, payload), signature) {
        return Err(OpenError::Forged);
    }
    if padding.iter().any(|&byte| byte != 0) {
        return Err(OpenError::Malformed);
    }
    Ok(payload.to_vec())
}

/// Everything of [`seal`] but the signing.
///
/// Errors: as there.
pub fn enclose(
    cipher: &impl SealCipher,
    (from, signature): (DeviceId, &[u8; 64]),
    to: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (length, max) = (payload.len(), purpose.max_payload());
    if length > max {
        return Err(SealError::TooLong { length, max });
    }
    let reader = public_half(to).ok_or(SealError::Reader)?;
    let plaintext = laid_out(signature, payload, 0);
    let aad = associated(from, to, id);
    let (encapsulated, ciphertext) = cipher
        .seal(&reader, &info(purpose), &aad, &plaintext)
        .map_err(|_| SealError::Failed)?;
    Ok([encapsulated, ciphertext].concat())
}

/// The plaintext of whatever is signed and sealed: signature, length of the payload, payload, zeros.
/// `spare`: bytes that may be appended without another allocation.
pub fn laid_out(signature: &[u8; 64], payload: &[u8], spare: usize) -> Zeroizing<Vec<u8>> {
    let length = padded(HEADER + payload.len());
    let mut plaintext = Zeroizing::new(Vec::with_capacity(length + spare));
    plaintext.extend_from_slice(signature);
    plaintext.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    plaintext.extend_from_slice(payload);
    plaintext.resize(length, 0);
    plaintext
}

/// The parts that [`laid_out`] joins.
pub struct Parts<'a> {
    /// The sender's signature of [`signed_part`].
    pub signature: &'a [u8],
    /// The payload without its padding.
    pub payload: &'a [u8],
    /// The bytes behind the payload; zeros, if it was laid out as it must be.
    pub padding: &'a [u8],
}

/// The parts of such a plaintext: none of them is checked.
///
/// Errors: it is laid out otherwise.
pub fn parts(plaintext: &[u8]) -> Result<Parts<'_>, OpenError> {
    let (signature, rest) = plaintext.split_at_checked(64).ok_or(OpenError::Malformed)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(OpenError::Malformed)?;
    let (payload, padding) = rest
        .split_at_checked(u32::from_be_bytes(*length) as usize)
        .ok_or(OpenError::Malformed)?;
    Ok(Parts {
        signature,
        payload,
        padding,
    })
}

/// The context of HPKE for a purpose.
pub fn info(purpose: SealPurpose) -> Vec<u8> {
    [INFO, &[purpose.byte()]].concat()
}

/// The data that is authenticated beside the plaintext.
pub fn associated(from: DeviceId, to: DeviceId, id: &MessageId) -> Vec<u8> {
    [&from.as_bytes()[..], to.as_bytes(), id.as_bytes()].concat()
}

/// The bytes that the sender signs.
pub fn signed_part(to: DeviceId, purpose: SealPurpose, id: &MessageId, payload: &[u8]) -> Vec<u8> {
    let digest = blake3::hash(payload);
    [
        CONTEXT,
        &[purpose.byte()],
        to.as_bytes(),
        id.as_bytes(),
        digest.as_bytes(),
    ]
    .concat()
}

/// A device's key as X25519 takes it; `None` for a point of small order, whose secrets everybody
/// knows.
pub fn public_half(device: DeviceId) -> Option<[u8; 32]> {
    let key = VerifyingKey::from_bytes(device.as_bytes())
        .ok()
        .filter(|key| !key.is_weak())?;
    Some(key.to_montgomery().to_bytes())
}

/// The secret half for X25519 of the device with this seed: the first half of SHA-512 of the seed
/// (RFC 8032, section 5.1.5), which X25519 itself clamps (RFC 7748, section 5).
pub fn secret_half(seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(SigningKey::from_bytes(seed).to_scalar_bytes())
}

/// The multiple that a length is rounded up to: Padmé (PURBs, <https://arxiv.org/abs/1806.03160>,
/// section 4). A length of n bits keeps about log n bits of its information, for at most 12 % more
/// bytes.
const fn step(length: usize) -> usize {
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    1 << (exponent - kept)
}

/// The length that `length` is padded to.
pub const fn padded(length: usize) -> usize {
    if length <= SHORTEST {
        SHORTEST
    } else {
        length.next_multiple_of(step(length))
    }
}
