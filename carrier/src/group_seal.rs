//! Sealing for a group: what a member writes to all others, kept by a relay that must neither read
//! nor forge it.
//!
//! ```text
//! sealed    = salt (16, random) ‖ AES-256-GCM(plaintext), all-zero nonce, aad = group ‖ generation (8) ‖ author
//! key       = BLAKE3, derive-key mode "hither.v1 group note", over the group's secret of the generation ‖ salt
//! plaintext = signature (64) ‖ payload length (4, big-endian) ‖ payload ‖ zeros up to a padded length
//! signature = ed25519("hither group note v1\0" ‖ group ‖ generation (8) ‖ BLAKE3(payload)) of the author
//! ```
//!
//! Invariants: a key encrypts one plaintext, because its salt is random: that is what makes the
//! fixed nonce safe; a payload comes out of [`open`] only if its author signed it for this group
//! and generation, so that members cannot speak for each other.

use crate::identity::Identity;
use crate::seal::{OpenError, Parts, SealError, laid_out, parts};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hither_proto::limits::MAX_GROUP_NOTE;
use hither_proto::{DeviceId, GroupId, GroupSecret};
use zeroize::Zeroizing;

/// Separates these signatures from anything else a device key ever signs.
const CONTEXT: &[u8] = b"hither group note v1\0";
const SALT: usize = 16;
const TAG: usize = 16;
/// Signature and length before the payload, bytes.
const HEADER: usize = 64 + 4;

/// Longest payload, bytes: padded it stays below the bound.
pub const MAX_PAYLOAD: usize = 40 * 1024;

/// Where a note belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The group.
    pub group: GroupId,
    /// Generation of the secret.
    pub generation: u64,
    /// The secret of that generation.
    pub secret: &'a GroupSecret,
}

/// Seals a message of this device to a group. `salt`: 16 random bytes, never used before.
pub fn seal(
    identity: &Identity,
    place: Place<'_>,
    salt: [u8; SALT],
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (length, max) = (payload.len(), MAX_PAYLOAD);
    if length > max {
        return Err(SealError::TooLong { length, max });
    }
    let author = identity.device_id();
    let signature = identity.sign(&signed_part(place, payload));
    let mut plaintext = laid_out(&signature, payload, TAG);
    let key = key(place, &salt).ok_or(SealError::Failed)?;
    key.seal_in_place_append_tag(
        nonce(),
        Aad::from(associated(place, author)),
        &mut *plaintext,
    )
    .map_err(|_| SealError::Failed)?;
    Ok([&salt[..], &plaintext].concat())
}

/// Opens a message of the member `author` (as the relay names it).
pub fn open(place: Place<'_>, author: DeviceId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let length = sealed.len();
    if !(SALT + HEADER + TAG..=MAX_GROUP_NOTE).contains(&length) {
        return Err(OpenError::Length { length });
    }
    let (salt, ciphertext) = sealed
        .split_first_chunk::<SALT>()
        .ok_or(OpenError::Length { length })?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let key = key(place, salt).ok_or(OpenError::Unreadable)?;
    let plaintext = key
        .open_in_place(nonce(), Aad::from(associated(place, author)), &mut buffer)
        .map_err(|_| OpenError::Unreadable)?;
    let Parts {
        signature,
        payload,
        padding,
    } = parts(plaintext)?;
    if !author.verify(&signed_part(place, payload), signature) {
        return Err(OpenError::Forged);
    }
    if padding.iter().any(|&byte| byte != 0) {
        return Err(OpenError::Malformed);
    }
    Ok(payload.to_vec())
}

fn key(place: Place<'_>, salt: &[u8; SALT]) -> Option<LessSafeKey> {
    let key = Zeroizing::new(place.secret.note_key(salt));
    UnboundKey::new(&AES_256_GCM, &key[..])
        .ok()
        .map(LessSafeKey::new)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn associated(place: Place<'_>, author: DeviceId) -> Vec<u8> {
    [
        &place.group.as_bytes()[..],
        &place.generation.to_be_bytes(),
        author.as_bytes(),
    ]
    .concat()
}

fn signed_part(place: Place<'_>, payload: &[u8]) -> Vec<u8> {
    let digest = blake3::hash(payload);
    [
        CONTEXT,
        place.group.as_bytes(),
        &place.generation.to_be_bytes(),
        digest.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_each_other_and_nobody_else_or_for_another() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (secret, later) = (GroupSecret::new([1; 32]), GroupSecret::new([2; 32]));
        let place = Place {
            group: GroupId::new([7; 32]),
            generation: 3,
            secret: &secret,
        };
        let sealed = seal(&one, place, [5; 16], b"hello").unwrap();
        let from = one.device_id();
        assert_eq!(open(place, from, &sealed).unwrap(), b"hello");
        assert!(!sealed.windows(5).any(|window| window == b"hello"));
        for wrong in [
            Place {
                secret: &later,
                ..place
            },
            Place {
                generation: 4,
                ..place
            },
            Place {
                group: GroupId::new([8; 32]),
                ..place
            },
        ] {
            assert!(matches!(
                open(wrong, from, &sealed),
                Err(OpenError::Unreadable)
            ));
        }
        assert!(matches!(
            open(place, other.device_id(), &sealed),
            Err(OpenError::Unreadable)
        ));
        // A member that knows the secret seals in the name of another: the signature does not
        // verify.
        let mut forged = Zeroizing::new(vec![0; 256]);
        forged[..64].copy_from_slice(&other.sign(&signed_part(place, b"")));
        let with = key(place, &[9; 16]).unwrap();
        with.seal_in_place_append_tag(nonce(), Aad::from(associated(place, from)), &mut *forged)
            .unwrap();
        let forged = [&[9; 16][..], &forged].concat();
        assert!(matches!(open(place, from, &forged), Err(OpenError::Forged)));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(place, from, &damaged).is_err());
        }
        assert!(open(place, from, &sealed[..40]).is_err());
        let longest = seal(&one, place, [6; 16], &vec![7; MAX_PAYLOAD]).unwrap();
        assert!(longest.len() <= MAX_GROUP_NOTE);
        assert_eq!(open(place, from, &longest).unwrap().len(), MAX_PAYLOAD);
        assert!(seal(&one, place, [6; 16], &vec![7; MAX_PAYLOAD + 1]).is_err());
    }
}
